//! Who this machine is to the others of its rig.

use crate::error::{Error, Result};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of an identity.
pub const CA: &str = "ca.pem";
/// Its certificate.
pub const CERTIFICATE: &str = "cert.pem";
/// Its secret.
pub const KEY: &str = "key.pem";

/// Who a machine is, shown to those it talks to: a folder with its certificate, the secret key of
/// it, and the certificate of the authority that signed it and all others of the rig.
#[derive(Debug)]
pub struct Identity {
    folder: PathBuf,
    authorities: Arc<RootCertStore>,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Opens the identity in `folder`.
    ///
    /// # Errors
    /// `File` when a file of it is missing, cannot be read or is none, when others than its owner
    /// may read the key, or when the certificate is not of the key, not signed by the authority
    /// beside it, expired, or not yet valid.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut authorities = RootCertStore::empty();
        let path = folder.join(CA);
        for authority in certificates(&path)? {
            authorities.add(authority).map_err(|cause| Error::file(&path, &cause))?;
        }
        let authorities = Arc::new(authorities);
        let path = folder.join(CERTIFICATE);
        let chain = certificates(&path)?;
        let key = key(&folder.join(KEY))?;
        let provider = ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|cause| {
            Error::file(folder, &format!("{KEY} is not the key of {CERTIFICATE} ({cause})"))
        })?;
        verify(&authorities, &certified.cert, provider).map_err(|cause| refused(&path, &cause))?;
        Ok(Self { folder: folder.to_owned(), authorities, certified: Arc::new(certified) })
    }

    /// Checks that it is the identity of `name`.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        let named = self.certified.cert.first().and_then(name_in).unwrap_or_default();
        if named == name {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{}: this certificate is of {named:?}, not of {name:?}, and the others would not \
             believe it: use the folder that genlock agent certs made for {name}",
            self.folder.join(CERTIFICATE).display(),
        )))
    }

    /// Whose signatures are believed.
    pub(super) fn authorities(&self) -> Arc<RootCertStore> {
        self.authorities.clone()
    }

    /// What is shown to others.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

/// Whom a certificate names: its first common name.
pub(super) fn name_in(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let named = parsed.subject().iter_common_name().next()?;
    named.as_str().ok().map(ToOwned::to_owned)
}

fn cannot_read(path: &Path, cause: &std::io::Error) -> Error {
    Error::File(format!(
        "cannot read {}: {cause}: certificates are a folder with {CA}, {CERTIFICATE} and {KEY}, \
         made by genlock agent certs",
        path.display()
    ))
}

/// The certificates in a file: one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(path).map_err(|cause| cannot_read(path, &cause))?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::file(path, &"no certificate is in it")),
        Err(cause) => Err(Error::file(path, &format!("no certificate: {cause}"))),
    }
}

/// The secret key in a file that only its owner may read.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let data = path.metadata().map_err(|cause| cannot_read(path, &cause))?;
    if data.permissions().mode() & 0o077 != 0 {
        return Err(Error::File(format!(
            "{0}: others than its owner can read this secret key: chmod 600 {0}",
            path.display()
        )));
    }
    let text = std::fs::read(path).map_err(|cause| cannot_read(path, &cause))?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|cause| Error::file(path, &format!("no secret key: {cause}")))
}

/// Whether an authority of `authorities` signed the certificate, and it is valid now. One of a host
/// is for servers, a coordinator's for clients.
fn verify(
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    provider: CryptoProvider,
) -> std::result::Result<(), rustls::Error> {
    let (certificate, between) = (&chain[0], &chain[1..]);
    let now = UnixTime::now();
    let algorithms = provider.signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(certificate)?;
    let as_server =
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, algorithms);
    let Err(rustls::Error::InvalidCertificate(
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
    )) = as_server
    else {
        return as_server;
    };
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), Arc::new(provider));
    let clients = clients.build().map_err(|cause| rustls::Error::General(cause.to_string()))?;
    clients.verify_client_cert(certificate, between, now).map(drop)
}

/// Why a certificate is refused, in words.
fn refused(path: &Path, cause: &rustls::Error) -> Error {
    let day = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
    };
    let rustls::Error::InvalidCertificate(flaw) = cause else {
        return Error::file(path, cause);
    };
    match flaw {
        CertificateError::ExpiredContext { not_after, .. } => Error::file(
            path,
            &format!(
                "this certificate expired at {}: make new ones with genlock agent certs",
                day(not_after)
            ),
        ),
        CertificateError::NotValidYetContext { not_before, .. } => Error::file(
            path,
            &format!(
                "this certificate is valid from {} on, later than this machine's clock: is the \
                 clock right?",
                day(not_before)
            ),
        ),
        CertificateError::UnknownIssuer => Error::file(
            path,
            &format!("the authority in {CA} did not sign this certificate: copy both from one run"),
        ),
        flaw => Error::file(path, &format!("{flaw}")),
    }
}
