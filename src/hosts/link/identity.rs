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

/// Signs that Zenoh's settings are made of: no path may hold one.
const SETTING_SIGNS: [char; 5] = ['=', ';', '|', '?', '#'];

/// Who a machine is, shown to those it talks to: a folder with its certificate, the secret key of
/// it, and the certificate of the authority that signed it and all others of the rig.
#[derive(Debug, Clone)]
pub struct Identity {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
}

impl Identity {
    /// Opens the identity in `folder`.
    ///
    /// # Errors
    /// `File` when a file of it is missing, cannot be read or is none, when others than its owner
    /// may read the key, or when the certificate is not of the key, not signed by the authority
    /// beside it, expired, or not yet valid.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().map_err(|cause| cannot_read(folder, &cause))?;
        if folder.to_str().is_none_or(|text| text.contains(SETTING_SIGNS)) {
            return Err(Error::Usage(format!(
                "{}: the path of certificates is of letters without {}: move them",
                folder.display(),
                SETTING_SIGNS.iter().collect::<String>()
            )));
        }
        let authorities = certificates(&folder.join(CA))?;
        let chain = certificates(&folder.join(CERTIFICATE))?;
        let key = key(&folder.join(KEY))?;
        let certificate = chain[0].clone();
        let provider = ring::default_provider();
        CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|cause| {
            Error::file(&folder, &format!("{KEY} is not the key of {CERTIFICATE} ({cause})"))
        })?;
        let path = folder.join(CERTIFICATE);
        verify(&authorities, &chain, provider).map_err(|cause| refused(&path, &cause))?;
        Ok(Self { folder, certificate })
    }

    /// Checks that it is the identity of `name`: whom its certificate names first, as Zenoh reads
    /// it.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        let path = self.folder.join(CERTIFICATE);
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.certificate)
            .map_err(|cause| Error::file(&path, &cause))?;
        let named = parsed.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
        match named {
            Some(named) if named == name => Ok(()),
            named => Err(Error::Usage(format!(
                "{}: this certificate is of {:?}, not of {name:?}, and the others would not \
                 believe it: use the folder that genlock agent certs made for {name}",
                path.display(),
                named.unwrap_or_default()
            ))),
        }
    }

    /// The path of a file of it, for Zenoh's settings.
    pub(super) fn path(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }
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
    authorities: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    provider: CryptoProvider,
) -> std::result::Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let (certificate, between) = (&chain[0], &chain[1..]);
    let now = UnixTime::now();
    let algorithms = provider.signature_verification_algorithms.all;
    let parsed = ParsedCertificate::try_from(certificate)?;
    let as_server =
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, between, now, algorithms);
    let Err(rustls::Error::InvalidCertificate(
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
    )) = as_server
    else {
        return as_server;
    };
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::new(provider));
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
