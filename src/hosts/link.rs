//! Sessions of Zenoh between coordinator and agents, and who may speak in them.
//!
//! Agents listen, a coordinator calls, and that is all: nobody is looked for on the network, and
//! nothing is passed on from one to another. Within a machine they speak in the clear. Beyond it
//! both ends show certificates of one authority, and what they may say depends on the names in
//! them: an agent listens to the coordinator only, and a coordinator believes of each host what
//! that host says of itself. What stands in docs/hosts.md under security is held here.

mod endpoint;
mod identity;
mod talk;

pub use endpoint::{Address, Endpoint, Transport};
pub use identity::{CA, CERTIFICATE, Identity, KEY};
pub use talk::{
    ANSWER_BYTES_MAX, QUESTION_BYTES_MAX, Serving, Silence, alive, ask, missing, serve,
};

use crate::error::{Error, Result};
use crate::hosts::name::HostName;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::Command;
use zenoh::{Session, Wait};

/// Whom the certificate of a coordinator names.
pub const COORDINATOR: &str = "coordinator";

/// When the other end is taken for gone if nothing comes from it: it sends four signs of life in
/// that time. Where packets are lost and take 200 ms, three in a row must be lost for that.
const LEASE_MS: u64 = 4_000;

/// How long a call may take until both ends know each other.
const CALL_MS: u64 = 5_000;

/// After how long a host that cannot be reached is called again, at first and later.
const AGAIN_MS: [u64; 2] = [500, 1_000];

/// Bytes of a message at most, as it arrives: what is larger is not put together.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// Sessions at most that an agent has at a time: one is a coordinator's, another that of one which
/// died lately.
const AGENT_SESSIONS_MAX: usize = 16;

/// The environment variable by which Zenoh is told its threads, and what it is told: what reads a
/// connection runs where what writes it does, on one thread.
const THREADS: (&str, &str) = ("ZENOH_RUNTIME", "(rx: (handover: tx))");

/// Starts this program anew, with its arguments, where its environment does not give Zenoh one
/// thread for its connections; call it before anything else. On two, the TLS link of Zenoh 1.10.2
/// uses one TLS session at once, without a lock (its issue 2557, open): the connection breaks within
/// some hundred messages. The variable is read once and cannot be set from within safely.
pub fn one_thread() {
    let (variable, threads) = THREADS;
    if std::env::var_os(variable).is_none() {
        let mut command = Command::new("/proc/self/exe");
        // Where it cannot be, connections that break are made again.
        let _ = command.args(std::env::args_os().skip(1)).env(variable, threads).exec();
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
) -> Result<Session> {
    let identity = admit(endpoint, identity)?;
    let mut config = config(&[endpoint], identity, AGENT_SESSIONS_MAX);
    config["listen"]["endpoints"] = json!([endpoint.locator()]);
    if let Some(identity) = identity {
        identity.check_name(name.as_ref())?;
        config["access_control"] = rules_of_agent();
    }
    open(&config).map_err(|cause| {
        Error::Device(format!(
            "cannot listen at {endpoint}: {cause}: is this an address of this machine, and does \
             no other agent listen there?"
        ))
    })
}

/// Opens the session of a coordinator of `hosts`. Hosts that cannot be reached are no error: they
/// are called again and again, also when they were there and vanish. [`missing`] tells of them.
///
/// # Errors
/// `Usage` when an endpoint needs an identity that is not given or not a coordinator's; `Device`
/// when the session cannot be opened.
pub fn open_coordinator(
    hosts: &[(HostName, Endpoint)],
    identity: Option<&Identity>,
) -> Result<Session> {
    let endpoints: Vec<&Endpoint> = hosts.iter().map(|(_, endpoint)| endpoint).collect();
    let mut used = None;
    for endpoint in &endpoints {
        used = used.or(admit(endpoint, identity)?);
    }
    let mut config = config(&endpoints, used, hosts.len() + AGENT_SESSIONS_MAX);
    let locators: Vec<String> = endpoints.iter().map(|endpoint| endpoint.locator()).collect();
    config["connect"]["endpoints"] = json!(locators);
    if let Some(identity) = used {
        identity.check_name(COORDINATOR)?;
        config["access_control"] = rules_of_coordinator(hosts);
    }
    open(&config)
        .map_err(|cause| Error::Device(format!("cannot open a session to the hosts: {cause}")))
}

fn open(config: &Value) -> zenoh::Result<Session> {
    zenoh::open(zenoh::Config::from_json5(&config.to_string())?).wait()
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
             folder of this machine"
        ))),
        Transport::Tls => Ok(identity),
    }
}

/// What is common to all sessions. Anything not said here is off or Zenoh's default, see its
/// DEFAULT_CONFIG.json5.
fn config(endpoints: &[&Endpoint], identity: Option<&Identity>, sessions_max: usize) -> Value {
    let mut protocols: Vec<String> = Vec::new();
    protocols.extend(endpoints.iter().map(|endpoint| endpoint.transport().to_string()));
    protocols.sort();
    protocols.dedup();
    let tls = identity.map(|identity| {
        let [ca, certificate, key] = [CA, CERTIFICATE, KEY].map(|file| identity.path(file));
        json!({
            "root_ca_certificate": ca,
            "listen_certificate": certificate,
            "listen_private_key": key,
            "connect_certificate": certificate,
            "connect_private_key": key,
            "enable_mtls": true,
            "verify_name_on_connect": true,
            // A take goes on when a certificate expires in it.
            "close_link_on_expiration": false,
        })
    });
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
                "open_timeout": CALL_MS,
                "accept_timeout": CALL_MS,
                "accept_pending": AGENT_SESSIONS_MAX,
                "max_sessions": sessions_max,
                "max_links": 1,
            },
            "link": {
                "protocols": protocols,
                "tx": { "lease": LEASE_MS, "keep_alive": 4 },
                "rx": { "max_message_size": MESSAGE_BYTES_MAX },
                "tls": tls.unwrap_or_else(|| json!({})),
            },
            "shared_memory": { "enabled": false },
        },
    })
}

/// All that is said between a coordinator and an agent.
const MESSAGES: [&str; 6] = [
    "query",
    "reply",
    "declare_queryable",
    "liveliness_token",
    "liveliness_query",
    "declare_liveliness_subscriber",
];

/// An agent hears nobody but the coordinator, and is heard by nobody else.
fn rules_of_agent() -> Value {
    json!({
        "enabled": true,
        "default_permission": "deny",
        "rules": [rule("all", &MESSAGES, &["genlock/**".to_owned()])],
        "subjects": [{ "id": COORDINATOR, "cert_common_names": [COORDINATOR] }],
        "policies": [{ "rules": ["all"], "subjects": [COORDINATOR] }],
    })
}

/// A coordinator hears each host only of itself. That is more than care: when it calls, Zenoh 1.10
/// takes the certificates of public authorities too, and none of them names a host so.
fn rules_of_coordinator(hosts: &[(HostName, Endpoint)]) -> Value {
    let asking = ["liveliness_query", "declare_liveliness_subscriber"];
    // No host has this name.
    let who = "*";
    let mut rules = vec![rule(who, &asking, &[talk::alive_key("*")])];
    let (mut subjects, mut policies) = (Vec::new(), Vec::new());
    for (name, endpoint) in hosts {
        let name = name.as_ref();
        rules.push(rule(name, &MESSAGES, &[talk::host_key(name), talk::alive_key(name)]));
        subjects.push(match endpoint.transport() {
            Transport::Tls => json!({ "id": name, "cert_common_names": [name] }),
            Transport::Tcp => json!({ "id": name, "link_protocols": ["tcp"] }),
        });
        policies.push(json!({ "rules": [who, name], "subjects": [name] }));
    }
    json!({
        "enabled": true,
        "default_permission": "deny",
        "rules": rules,
        "subjects": subjects,
        "policies": policies,
    })
}

fn rule(id: &str, messages: &[&str], keys: &[String]) -> Value {
    json!({
        "id": id,
        "messages": messages,
        "flows": ["ingress", "egress"],
        "permission": "allow",
        "key_exprs": keys,
    })
}
