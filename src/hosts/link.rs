//! Sessions of Zenoh between coordinator and agents, and who may speak in them.
//!
//! Agents listen, a coordinator calls, and that is all: nobody is looked for on the network, and
//! nothing is passed on from one to another. Within a machine they speak in the clear. Beyond it
//! both ends show certificates of one authority, and the names in them count: an agent lets in the
//! coordinator only, and a coordinator has a session of its own with each host, that none but this
//! host can answer in. What stands in docs/hosts.md under security is held here.

mod endpoint;
mod identity;
mod talk;
mod tunnel;

pub use endpoint::{Address, Endpoint, Transport};
pub use identity::{CA, CERTIFICATE, Identity, KEY};
pub use talk::{ANSWER_BYTES_MAX, QUESTION_BYTES_MAX, Serving, Silence, ask, is_alive, serve};

use crate::error::{Error, Result};
use crate::hosts::name::HostName;
use serde_json::{Value, json};
use std::fmt::Display;
use std::time::Duration;
use tunnel::Tunnel;
use zenoh::{Session, Wait};

/// Whom the certificate of a coordinator names.
pub const COORDINATOR: &str = "coordinator";

/// When the other end is taken for gone if nothing comes from it: it sends four signs of life in
/// that time. Where packets are lost and take 200 ms, three in a row must be lost for that.
const LEASE: Duration = Duration::from_secs(4);

/// How long a call may take until both ends know each other.
const CALL_MAX: Duration = Duration::from_secs(5);

/// After how long a host that cannot be reached is called again, at first and later.
const AGAIN_MS: [u64; 2] = [500, 1_000];

/// Bytes of a message at most, as it arrives: what is larger is not put together.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// Sessions at most that an agent has at a time: one is a coordinator's, another that of one which
/// died lately.
const SESSIONS_MAX: usize = 16;

/// A session of Zenoh, and its way to another machine if it leads there.
#[derive(Debug)]
pub struct Link {
    // Closed first.
    session: Session,
    tunnel: Option<Tunnel>,
}

impl Link {
    /// Why the last call did not reach a host of another machine; none after one did.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.tunnel.as_ref().and_then(Tunnel::trouble)
    }
}

/// Opens the session of the agent on host `name`, which listens at `endpoint`.
///
/// # Errors
/// `Usage` when the endpoint needs an identity that is not given or not this host's; `Device` when
/// it cannot be listened at.
pub fn open_agent(
    name: &HostName,
    endpoint: &Endpoint,
    identity: Option<&Identity>,
) -> Result<Link> {
    let failed = |cause: &dyn Display| {
        Error::Device(format!(
            "cannot listen at {endpoint}: {cause}: is this an address of this machine, and does \
             no other agent listen there?"
        ))
    };
    let tunnel = match admit(endpoint, identity)? {
        Some(identity) => {
            identity.check_name(name.as_ref())?;
            Some(Tunnel::of_agent(endpoint, identity).map_err(|cause| failed(&cause))?)
        }
        None => None,
    };
    let mut config = config();
    config["listen"]["endpoints"] = json!([locator(endpoint, tunnel.as_ref())]);
    let session = open(&config).map_err(|cause| failed(&cause))?;
    Ok(Link { session, tunnel })
}

/// Opens the session of a coordinator with host `name`. That it cannot be reached is no error: it
/// is called again and again, also when it was there and vanished.
///
/// # Errors
/// `Usage` when the endpoint needs an identity that is not given or not a coordinator's; `Device`
/// when the session cannot be opened.
pub fn open_coordinator(
    name: &HostName,
    endpoint: &Endpoint,
    identity: Option<&Identity>,
) -> Result<Link> {
    let failed = |cause: &dyn Display| {
        Error::Device(format!("cannot open a session with host {name}: {cause}"))
    };
    let tunnel = match admit(endpoint, identity)? {
        Some(identity) => {
            identity.check_name(COORDINATOR)?;
            let made = Tunnel::of_coordinator(name, endpoint, identity);
            Some(made.map_err(|cause| failed(&cause))?)
        }
        None => None,
    };
    let mut config = config();
    config["connect"]["endpoints"] = json!([locator(endpoint, tunnel.as_ref())]);
    let session = open(&config).map_err(|cause| failed(&cause))?;
    Ok(Link { session, tunnel })
}

fn locator(endpoint: &Endpoint, tunnel: Option<&Tunnel>) -> String {
    tunnel.map_or_else(|| endpoint.locator(), Tunnel::locator)
}

fn open(config: &Value) -> std::result::Result<Session, String> {
    let opened = zenoh::Config::from_json5(&config.to_string())
        .and_then(|config| zenoh::open(config).wait());
    opened.map_err(|cause| {
        // Behind its words Zenoh names the line of its source.
        let text = cause.to_string();
        text.split_once(" at /").map_or(text.clone(), |(words, _)| words.to_owned())
    })
}

/// Whether an endpoint may be used, and the identity that is shown there.
fn admit<'a>(endpoint: &Endpoint, identity: Option<&'a Identity>) -> Result<Option<&'a Identity>> {
    match endpoint.transport() {
        Transport::Tcp if endpoint.address().is_loopback() => Ok(None),
        Transport::Tcp => Err(Error::Usage(format!(
            "{endpoint} leaves this machine, and anybody there could command the cameras: make \
             certificates with genlock agent certs, and use tls/ in its place"
        ))),
        Transport::Tls if identity.is_none() => Err(Error::Usage(format!(
            "{endpoint} needs certificates: make them with genlock agent certs, and name the \
             folder of this machine, with --certs for an agent, and certs = \"...\" at the top of \
             the rig file for a coordinator"
        ))),
        Transport::Tls => Ok(identity),
    }
}

/// What is common to all sessions. Anything not said here is off or Zenoh's default, see its
/// DEFAULT_CONFIG.json5.
fn config() -> Value {
    json!({
        "mode": "peer",
        "scouting": { "multicast": { "enabled": false }, "gossip": { "enabled": false } },
        "adminspace": { "enabled": false, "permissions": { "read": false, "write": false } },
        "listen": { "timeout_ms": 0, "endpoints": [], "exit_on_failure": true },
        "connect": {
            "timeout_ms": -1,
            "endpoints": [],
            "exit_on_failure": false,
            "retry": {
                "period_init_ms": AGAIN_MS[0],
                "period_max_ms": AGAIN_MS[1],
                "period_increase_factor": 2,
            },
        },
        // Whoever opens a session asks who is there before anything else.
        "open": { "return_conditions": { "connect_scouted": false, "declares": true } },
        "transport": {
            "unicast": {
                "open_timeout": CALL_MAX.as_millis() as u64,
                "accept_timeout": CALL_MAX.as_millis() as u64,
                "accept_pending": SESSIONS_MAX,
                "max_sessions": SESSIONS_MAX,
                "max_links": 1,
            },
            "link": {
                "protocols": ["tcp", "unixsock-stream"],
                "tx": { "lease": LEASE.as_millis() as u64, "keep_alive": 4 },
                "rx": { "max_message_size": MESSAGE_BYTES_MAX },
            },
            "shared_memory": { "enabled": false },
        },
    })
}
