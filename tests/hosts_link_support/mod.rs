//! A lab on this machine: agents, strangers, and a cable between them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use genlock::hosts::certs;
use genlock::hosts::link::{Endpoint, Identity, Link, Serving, open_agent, serve};
use genlock::hosts::name::HostName;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zenoh::{Session, Wait};

/// Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn name(text: &str) -> HostName {
    HostName::try_from(text.to_owned()).expect("a name")
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub fn endpoint(host: &str, port: u16) -> Endpoint {
    format!("{host}:{port}").parse().expect("an endpoint")
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "half a minute without: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Certificates for hosts on this machine, in a folder that vanishes.
pub fn lab(hosts: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("certs");
    let all = hosts.iter().map(|host| (name(host), vec!["127.0.0.2".to_owned()]));
    certs::make(&out, &all.collect::<Vec<_>>()).expect("certificates");
    (folder, out)
}

/// Answers what was asked, backwards.
pub fn echo(question: &[u8]) -> Vec<u8> {
    question.iter().rev().copied().collect()
}

/// An agent with certificates.
pub struct Party {
    pub at: Endpoint,
    pub port: u16,
    pub asked: Arc<AtomicUsize>,
    _serving: Serving,
    _link: Link,
}

impl Party {
    pub fn new(out: &Path, host: &str, address: &str) -> Self {
        Self::new_at(out, host, endpoint(address, free_port()))
    }

    pub fn new_at(out: &Path, host: &str, at: Endpoint) -> Self {
        let identity = Identity::open(&out.join(host)).expect("an identity");
        let link = open_agent(&name(host), &at, Some(&identity)).expect("a session");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let answer = move |question: &[u8]| {
            counted.fetch_add(1, Ordering::Relaxed);
            echo(question)
        };
        let serving = serve(&link, &name(host), answer).expect("an agent");
        let port = at.to_string().rsplit(':').next().and_then(|port| port.parse().ok());
        Self { at, port: port.expect("a port"), asked, _serving: serving, _link: link }
    }
}

/// A session of Zenoh as anybody opens one.
pub fn stranger(at: &str) -> Session {
    let config = json!({
        "mode": "peer",
        "scouting": { "multicast": { "enabled": false }, "gossip": { "enabled": false } },
        "listen": { "endpoints": [] },
        "connect": { "endpoints": [at], "retry": { "period_init_ms": 100 } },
    });
    let config = zenoh::Config::from_json5(&config.to_string()).expect("settings");
    zenoh::open(config).wait().expect("a session")
}

/// Whether anybody answers it at all.
pub fn is_answered(session: &Session, within: Duration) -> bool {
    let replies = session.get("**").payload("abc").timeout(within).wait().expect("a question");
    replies.into_iter().any(|reply| reply.result().is_ok())
}

/// A certificate of the authority `out` for `host` that is good for calling too, as people make
/// them by hand.
pub fn certificate_for_both(out: &Path, folder: &Path, host: &str) -> PathBuf {
    let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    write_identity(out, &folder.join("both"), host, &usages, 2090)
}

/// A certificate of the authority `out` that is valid until the end of `year`, in a folder of its
/// own.
pub fn write_identity(
    out: &Path,
    folder: &Path,
    host: &str,
    usages: &[ExtendedKeyUsagePurpose],
    year: i32,
) -> PathBuf {
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("a file");
    let ca_key = KeyPair::from_pem(&read("ca.key")).expect("a key");
    let ca = Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).expect("an authority");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("addresses");
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = usages.to_vec();
    params.not_after = date_time_ymd(year, 12, 31);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &ca).expect("a certificate");
    std::fs::create_dir(folder).expect("a folder");
    std::fs::write(folder.join("ca.pem"), read("ca.pem")).expect("a file");
    std::fs::write(folder.join("cert.pem"), certificate.pem()).expect("a file");
    std::fs::copy(out.join("ca.key"), folder.join("key.pem")).expect("a file of mode 600");
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("a file");
    folder.to_owned()
}

/// What becomes of somebody who comes to an agent.
#[derive(Debug, PartialEq)]
pub enum Welcome {
    /// It is let in.
    Open,
    /// It is told why not, by TLS.
    Refused,
    /// It is told nothing.
    Closed,
}

/// Comes to an agent with the certificate `shown`.
pub fn knock(at: &Endpoint, ca: &Path, shown: Option<&Path>) -> Welcome {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = builder.with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(folder) => {
            let chain = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a file");
            let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a file");
            builder.with_client_auth_cert(vec![chain], key).expect("a certificate")
        }
    };
    let server = ServerName::try_from("127.0.0.1").expect("an address");
    let tls = rustls::ClientConnection::new(Arc::new(config), server).expect("a connection");
    let at = at.to_string();
    let socket = TcpStream::connect(at.trim_start_matches("tls/")).expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
    let mut stream = rustls::StreamOwned::new(tls, socket);
    // A server tells what it thinks of a certificate with the first that it says.
    match stream.write_all(b"hello").and_then(|()| stream.read(&mut [0; 16])) {
        Err(cause) if cause.kind() == ErrorKind::InvalidData => Welcome::Refused,
        // It waits for the rest of what was said.
        Err(cause) if cause.kind() == ErrorKind::WouldBlock => Welcome::Open,
        _ => Welcome::Closed,
    }
}

/// A cable to a port of this machine, that can be made to pass nothing.
pub struct Cable {
    /// Where it begins, and where it ends.
    pub port: u16,
    pub beyond: u16,
    is_frozen: Arc<AtomicBool>,
}

impl Cable {
    pub fn to(beyond: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let is_frozen = Arc::new(AtomicBool::new(false));
        let frozen = is_frozen.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("a socket");
                let Ok(far) = TcpStream::connect(("127.0.0.1", beyond)) else { continue };
                let pair = [(&near, &far), (&far, &near)]
                    .map(|(from, to)| (from.try_clone(), to.try_clone()));
                for (from, to) in pair {
                    let (from, to, frozen) = (from.expect("one"), to.expect("one"), frozen.clone());
                    std::thread::spawn(move || pass(from, to, &frozen));
                }
            }
        });
        Self { port, beyond, is_frozen }
    }

    pub fn freeze(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::Relaxed);
    }
}

/// Passes on what comes; what comes to a frozen cable is lost, also that an end is closed.
fn pass(mut from: TcpStream, mut to: TcpStream, is_frozen: &AtomicBool) {
    let mut bytes = [0; 1 << 16];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        while is_frozen.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        if read == 0 || to.write_all(&bytes[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
    }
}
