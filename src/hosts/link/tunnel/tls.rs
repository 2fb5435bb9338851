//! TLS 1.3 between coordinators and agents.

use crate::hosts::link::identity::name_in;
use crate::hosts::link::{Endpoint, Identity};
use crate::hosts::name::HostName;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Lets in who shows a certificate of the authority that is good for calling.
pub fn acceptor(identity: &Identity) -> io::Result<TlsAcceptor> {
    let roots = identity.authorities();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier.map_err(io::Error::other)?);
    let shown = SingleCertAndKey::from(identity.certified());
    let mut config = config.with_cert_resolver(Arc::new(shown));
    // Whoever comes shows its certificate, each time.
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What a coordinator calls one host by.
pub struct Caller {
    host: HostName,
    endpoint: Endpoint,
    server: ServerName<'static>,
    connector: TlsConnector,
}

impl Caller {
    pub fn new(host: &HostName, endpoint: &Endpoint, identity: &Identity) -> io::Result<Arc<Self>> {
        let server = ServerName::try_from(endpoint.address().to_string());
        let shown = SingleCertAndKey::from(identity.certified());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(identity.authorities())
            .with_client_cert_resolver(Arc::new(shown));
        config.resumption = Resumption::disabled();
        Ok(Arc::new(Self {
            host: host.clone(),
            endpoint: endpoint.clone(),
            server: server.map_err(io::Error::other)?,
            connector: TlsConnector::from(Arc::new(config)),
        }))
    }

    /// Calls the host: that it is reached at that address its certificate says, and that it is the
    /// host of that name.
    pub async fn call(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.endpoint.socket()).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(self.server.clone(), stream).await?;
        let stream = TlsStream::from(stream);
        check(&stream, self.host.as_ref())?;
        Ok(stream)
    }
}

/// Checks that the other end is `name` by its certificate.
pub fn check(stream: &TlsStream<TcpStream>, name: &str) -> io::Result<()> {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let named = shown.and_then(|certificate| name_in(certificate)).unwrap_or_default();
    if named == name {
        return Ok(());
    }
    Err(io::Error::other(format!("the certificate shown there is of {named:?}, not of {name:?}")))
}
