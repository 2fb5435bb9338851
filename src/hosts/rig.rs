//! The hosts of a rig, as their coordinator sees them.

use super::link::{self, Endpoint, Identity, Link};
use super::messages::{Answer, Ask, Refusal, Request, VERSION, answer_from_bytes, to_bytes};
use super::name::HostName;
use crate::config;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long an agent may take to answer what it answers at once.
pub const SOON: Duration = Duration::from_secs(3);

/// How long hosts are looked for before a take, or anything else that needs all of them.
const FIND_MAX: Duration = Duration::from_secs(10);

/// How often somebody who is silent is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Sessions with the agents of a rig: one with each, so that none can answer for another.
pub struct Hosts {
    from: String,
    all: Vec<Host>,
}

struct Host {
    name: HostName,
    endpoint: Endpoint,
    link: Link,
}

/// Why a question has no answer that helps.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// Nobody answers, and what that may be.
    Silent(String),
    /// The answer is no.
    Refused(Refusal),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => f.write_str(why),
            Self::Refused(refusal) => f.write_str(&refusal.why),
        }
    }
}

impl Trouble {
    /// The same as an error, told of a host.
    #[must_use]
    pub fn of(self, host: &HostName) -> Error {
        match self {
            Self::Silent(why) => Error::Device(format!("host {host}: {why}")),
            Self::Refused(refusal) => refusal.of(host),
        }
    }
}

/// An answer, with the bytes of a file that came with it.
pub type Answered = std::result::Result<(Answer, Vec<u8>), Trouble>;

impl Hosts {
    /// Opens sessions with the hosts of a rig, whether they are there or not; `certs` is the folder
    /// with the coordinator's certificate.
    ///
    /// # Errors
    /// `Usage` when a name or an endpoint is none, or the certificate is missing or cannot be used.
    pub fn open(hosts: &[config::Host], certs: Option<&Path>) -> Result<Self> {
        let identity = certs.map(Identity::open).transpose()?;
        let host = |host: &config::Host| {
            let at = |why: String| Error::Usage(format!("{}: {why}", host.at));
            let name = HostName::try_from(host.name.clone()).map_err(at)?;
            let endpoint: Endpoint = host.endpoint.parse().map_err(at)?;
            let link = link::open_coordinator(&name, &endpoint, identity.as_ref())?;
            Ok(Host { name, endpoint, link })
        };
        let all = hosts.iter().map(host).collect::<Result<Vec<_>>>()?;
        Ok(Self { from: who(), all })
    }

    fn host(&self, name: &HostName) -> Option<&Host> {
        self.all.iter().find(|host| host.name == *name)
    }

    /// Asks a host once.
    ///
    /// # Errors
    /// Why there is no answer that helps.
    pub fn ask(&self, host: &HostName, ask: Ask, patience: Duration) -> Answered {
        let request = Request { version: VERSION, from: self.from.clone(), ask };
        let known = self.host(host);
        let known = known.ok_or_else(|| Trouble::Silent("the rig has no such host".to_owned()))?;
        let bytes = link::ask(&known.link, host, &to_bytes(&request), patience)
            .map_err(|silence| Trouble::Silent(silence.to_string()))?;
        match answer_from_bytes(&bytes).map_err(Trouble::Silent)? {
            (Answer::Refused(refusal), _) => Err(Trouble::Refused(refusal)),
            (answer, data) => Ok((answer, data.to_vec())),
        }
    }

    /// Asks a host until it answers, or so long has passed: any question may be asked again.
    ///
    /// # Errors
    /// As [`Hosts::ask`].
    pub fn insist(&self, host: &HostName, ask: &Ask, within: Duration) -> Answered {
        let begun = Instant::now();
        loop {
            let left = within.saturating_sub(begun.elapsed());
            match self.ask(host, ask.clone(), left.clamp(ASK_AGAIN, SOON)) {
                Err(Trouble::Silent(_)) if begun.elapsed() < within => {
                    thread::park_timeout(ASK_AGAIN);
                }
                answered => return answered,
            }
        }
    }

    /// Does something with each of these hosts at once.
    pub fn each<'h, T: Send>(
        &self,
        hosts: impl IntoIterator<Item = &'h HostName>,
        of: impl Fn(&HostName) -> T + Sync,
    ) -> BTreeMap<HostName, T> {
        thread::scope(|scope| {
            let of = &of;
            let threads: Vec<_> =
                hosts.into_iter().map(|host| (host, scope.spawn(move || of(host)))).collect();
            let done = threads.into_iter();
            done.filter_map(|(host, thread)| Some((host.clone(), thread.join().ok()?))).collect()
        })
    }

    /// Waits until all of these hosts answer.
    ///
    /// # Errors
    /// `Device` with those that do not.
    pub fn find(&self, hosts: &[HostName]) -> Result<()> {
        let answers = self.each(hosts, |host| self.insist(host, &Ask::Status, FIND_MAX));
        let silent = answers.into_iter().filter_map(|(name, answer)| {
            let trouble = answer.err()?;
            Some(match (trouble, self.host(&name)) {
                (Trouble::Silent(_), Some(host)) => host.why_silent(),
                (trouble, _) => trouble.of(&name).to_string(),
            })
        });
        let silent: Vec<_> = silent.collect();
        if silent.is_empty() { Ok(()) } else { Err(Error::Device(silent.join("\n       "))) }
    }
}

impl Host {
    /// What may be the matter with a host that does not answer.
    fn why_silent(&self) -> String {
        let Self { name, endpoint, link } = self;
        if link::is_alive(link, name, ASK_AGAIN) {
            return format!(
                "host {name} is there at {endpoint}, and does not answer: see the output of its \
                 agent"
            );
        }
        let cause = link.trouble().map(|cause| format!(" ({cause})")).unwrap_or_default();
        format!(
            "host {name} does not answer at {endpoint}{cause}: check that `genlock agent` runs \
             there, the network, and that both have certificates of one authority"
        )
    }
}

/// Who asks: a person, a machine, and a number that no other coordinator has.
fn who() -> String {
    let user = std::env::var("USER").unwrap_or_default();
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let number = RandomState::new().build_hasher().finish();
    let user: String = user.chars().filter(|c| c.is_ascii_graphic()).take(32).collect();
    let user = if user.is_empty() { "somebody".to_owned() } else { user };
    format!("{user}@{machine} ({number:016x})")
}
