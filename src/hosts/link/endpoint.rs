//! Where an agent is reached.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

/// Letters of a domain name at most, and of what stands between two of its dots (RFC 1035).
const DOMAIN_LETTERS_MAX: usize = 253;
const LABEL_LETTERS_MAX: usize = 63;

/// A machine as the network knows it: an address, or a domain name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `10.0.0.2`, `fd00::2`.
    Ip(IpAddr),
    /// `studio-2.lan`
    Domain(String),
}

/// How the two ends of an endpoint speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// In the clear, and only within one machine.
    Tcp,
    /// Encrypted, and both ends show a certificate.
    Tls,
}

/// Where an agent listens: `tcp/127.0.0.1:7447` within one machine, `tls/10.0.0.2:7447`,
/// `tls/[fd00::2]:7447` or `tls/studio-2.lan:7447` beyond it. Zenoh's notation, and of it nothing
/// else: what may follow there (`?` and `#`) could change how the ends trust each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    transport: Transport,
    address: Address,
    port: NonZeroU16,
}

impl Address {
    /// Whether it never leaves this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.is_loopback(),
            Self::Domain(name) => name == "localhost",
        }
    }
}

/// Whether `text` is a name that a resolver and a certificate take. A last part of digits only is
/// that of a mistyped address.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let edges = label.starts_with('-') || label.ends_with('-');
        letters && !edges && !label.is_empty() && label.len() <= LABEL_LETTERS_MAX
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit());
    text.len() <= DOMAIN_LETTERS_MAX && text.split('.').all(is_label) && !is_number
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        match is_domain(text) {
            true => Ok(Self::Domain(text.to_ascii_lowercase())),
            false => Err(format!("{text:?} is neither an address nor the name of a machine")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Domain(name) => f.write_str(name),
        }
    }
}

impl Endpoint {
    /// How its ends speak.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The machine.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What a socket is opened at.
    pub(super) fn socket(&self) -> (String, u16) {
        (self.address.to_string(), self.port.get())
    }

    /// What Zenoh is to open within this machine. `localhost` becomes an address, so that no
    /// resolver is believed.
    pub(super) fn locator(&self) -> String {
        match &self.address {
            Address::Domain(_) => format!("tcp/{}:{}", Ipv4Addr::LOCALHOST, self.port),
            Address::Ip(_) => self.to_string(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = |cause: &str| {
            format!(
                "{text:?} is no endpoint: {cause}; one is tls/10.0.0.2:7447 or tcp/127.0.0.1:7447"
            )
        };
        let (transport, rest) = match text.split_once('/') {
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("tls", rest)) => (Transport::Tls, rest),
            _ => return Err(why("it begins with neither tls/ nor tcp/")),
        };
        let (address, port) = rest.rsplit_once(':').ok_or_else(|| why("it has no port"))?;
        let is_port = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_port);
        let port = port.ok_or_else(|| why("its port is none of 1 to 65535"))?;
        let within = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let parsed = within.unwrap_or(address).parse::<Address>().map_err(|cause| why(&cause))?;
        let is_v6 = matches!(parsed, Address::Ip(IpAddr::V6(_)));
        match is_v6 == within.is_some() {
            true => Ok(Self { transport, address: parsed, port }),
            false => Err(why("brackets are for addresses of IPv6, as [fd00::2]")),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, address, port } = self;
        match address {
            Address::Ip(IpAddr::V6(address)) => write!(f, "{transport}/[{address}]:{port}"),
            address => write!(f, "{transport}/{address}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_what_it_was_written_as() {
        for text in [
            "tcp/127.0.0.1:7447",
            "tcp/localhost:1",
            "tls/10.0.0.2:7447",
            "tls/[fd00::2]:65535",
            "tls/studio-2.lan:7447",
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), text);
            let json = serde_json::to_string(&endpoint).expect("JSON");
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Endpoint>(&json).expect("JSON"), endpoint);
        }
    }

    #[test]
    fn nothing_else_of_zenoh_gets_through() {
        for text in [
            "",
            "tls",
            "tls/",
            "10.0.0.2:7447",
            "tls/10.0.0.2",
            "tls/10.0.0.2:",
            "tls/10.0.0.2:0",
            "tls/10.0.0.2:+7",
            "tls/10.0.0.2:65536",
            "tls/:7447",
            "tls/10.0.0:7447",
            "tls/300.0.0.2:7447",
            "tls/fd00::2:7447",
            "tls/[10.0.0.2]:7447",
            "tls/[fe80::1%eth0]:7447",
            "tls/[lan]:7447",
            "tls/-a.lan:7447",
            "tls/a..lan:7447",
            "tls/a_b.lan:7447",
            "tls/é.lan:7447",
            "TLS/10.0.0.2:7447",
            "udp/10.0.0.2:7447",
            "quic/10.0.0.2:7447",
            "unixsock-stream/tmp/a:1",
            "tls/10.0.0.2:7447?rel=0",
            "tls/10.0.0.2:7447#verify_name_on_connect=false",
            "tls/lan#enable_mtls=false:7447",
            "tls/lan?a=b:7447",
            "tls/a/b:7447",
            " tls/10.0.0.2:7447",
            "tls/10.0.0.2:7447 ",
            &format!("tls/{}:7447", "a.".repeat(126) + "abc"),
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_what_cannot_leave_the_machine() {
        let is_loopback = |text: &str| text.parse::<Address>().expect(text).is_loopback();
        for text in ["127.0.0.1", "127.200.3.4", "::1", "localhost", "LOCALHOST"] {
            assert!(is_loopback(text), "{text}");
        }
        let beyond =
            ["0.0.0.0", "::", "10.0.0.2", "::ffff:127.0.0.1", "localhost.lan", "128.0.0.1"];
        for text in beyond {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
