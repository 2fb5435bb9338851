//! A certificate authority of a lab: certificates for its coordinators and hosts.
//!
//! Each party gets a folder of its own with what its machine needs and nothing more. A host's
//! certificate is good for being called and a coordinator's for calling, so that a host whose disk
//! is stolen commands no other.

use crate::error::{Error, Result};
use crate::hosts::link::{Address, CA, CERTIFICATE, COORDINATOR, KEY};
use crate::hosts::name::HostName;
use crate::record::{give_name, is_taken, part_path};
use jiff::ToSpan;
use jiff::civil::Date;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The secret of the authority: who has it can make a certificate for any name.
const CA_KEY: &str = "ca.key";

/// How long certificates are valid, from the day before they are made: the clock of a machine
/// without a network may be off. An installation of cameras stands for years, and a take must not
/// fail by a forgotten renewal.
const CA_YEARS: i32 = 10;
const PARTY_YEARS: i32 = 5;

/// Modes of files: everybody may know a certificate, nobody but its owner a key.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

type Authority = Issuer<'static, KeyPair>;

/// Makes an authority in the new folder `output`, with a certificate for the coordinator and one
/// for each of `hosts`, which are reached at the addresses or domain names given (and within their
/// own machine). An authority that this made before gets more hosts.
///
/// In `output`: `ca.pem`, `ca.key`, and for each party (`coordinator`, and hosts by their names) a
/// folder with `ca.pem`, `cert.pem` and `key.pem`. Keys are ECDSA of P-256, and only their owner
/// may read them.
///
/// # Errors
/// `Usage` when a host is named twice or `coordinator`, has no address or one that is none, or has
/// a certificate already, or when `output` is there and no authority; `File` when that authority
/// cannot be read; `Disk` when something cannot be written. Then nothing half made has its name.
pub fn make(output: &Path, hosts: &[(HostName, Vec<String>)]) -> Result<()> {
    let mut named = BTreeSet::from([COORDINATOR]);
    let mut parties = Vec::new();
    for (name, addresses) in hosts {
        if !named.insert(name.as_ref()) {
            return Err(Error::Usage(match name.as_ref() {
                COORDINATOR => format!("no host may be called {COORDINATOR}: name it otherwise"),
                name => format!("host {name} is given twice: give all its addresses at once"),
            }));
        }
        parties.push((name.as_ref(), Some(names_of(name, addresses)?)));
    }
    if is_taken(output) {
        return add(output, &parties);
    }
    parties.push((COORDINATOR, None));
    in_new_folder(output, |folder| {
        let authority = found(folder)?;
        parties.iter().try_for_each(|(name, reached)| {
            in_new_folder(&folder.join(name), |party| {
                write_party(party, &authority, &folder.join(CA), name, reached.as_deref())
            })
        })
    })
}

/// Adds hosts to the authority in `output`.
fn add(output: &Path, parties: &[(&str, Option<Vec<SanType>>)]) -> Result<()> {
    let authority = authority(output)?;
    for (name, _) in parties {
        if is_taken(&output.join(name)) {
            return Err(Error::Usage(format!(
                "{} exists and is not overwritten: host {name} has its certificate; name others",
                output.join(name).display()
            )));
        }
    }
    parties.iter().try_for_each(|(name, reached)| {
        in_new_folder(&output.join(name), |party| {
            write_party(party, &authority, &output.join(CA), name, reached.as_deref())
        })
    })
}

/// What the certificate of a host says where it is.
fn names_of(name: &HostName, addresses: &[String]) -> Result<Vec<SanType>> {
    if addresses.is_empty() {
        return Err(Error::Usage(format!(
            "host {name} has no address: give it as {name}=10.0.0.2"
        )));
    }
    let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut all: BTreeSet<Address> = own.map(Address::Ip).into();
    all.insert(Address::Domain("localhost".to_owned()));
    for text in addresses {
        let address = text.parse();
        all.insert(address.map_err(|cause| Error::Usage(format!("host {name}: {cause}")))?);
    }
    let to_san = |address| match address {
        Address::Ip(address) => Ok(SanType::IpAddress(address)),
        Address::Domain(domain) => {
            let domain = domain.as_str().try_into();
            domain.map(SanType::DnsName).map_err(|cause| cannot_make(name, &cause))
        }
    };
    all.into_iter().map(to_san).collect()
}

fn cannot_make(of: &impl Display, cause: &rcgen::Error) -> Error {
    Error::File(format!("cannot make the certificate of {of}: {cause}"))
}

/// What all certificates of genlock have: a name, and years from yesterday on.
fn params(name: &str, years: i32) -> Result<CertificateParams> {
    let today = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
    let span = |cause: jiff::Error| Error::Usage(format!("this machine's clock is off: {cause}"));
    let yesterday = today.yesterday().map_err(span)?;
    let end = yesterday.checked_add(years.years()).map_err(span)?;
    let day = |date: Date| {
        let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = day(yesterday);
    params.not_after = day(end);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Makes an authority in `folder`.
fn found(folder: &Path) -> Result<Authority> {
    // Two authorities of one name would be taken for each other where both are known.
    let name = format!("genlock of {}", jiff::Timestamp::now());
    let why = |cause| cannot_make(&"the authority", &cause);
    let key = KeyPair::generate().map_err(why)?;
    let mut params = params(&name, CA_YEARS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(why)?;
    write(&folder.join(CA_KEY), &key.serialize_pem(), SECRET)?;
    write(&folder.join(CA), &certificate.pem(), PUBLIC)?;
    Ok(Issuer::new(params, key))
}

/// The authority that was made in `folder` before.
fn authority(folder: &Path) -> Result<Authority> {
    let [certificate, key] = [CA, CA_KEY].map(|name| folder.join(name));
    if !certificate.is_file() || !key.is_file() {
        return Err(Error::Usage(format!(
            "{} exists and is no authority with {CA} and {CA_KEY}: name a folder that is not there",
            folder.display()
        )));
    }
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|cause| Error::disk("cannot read", path, &cause))
    };
    let pair = KeyPair::from_pem(&read(&key)?).map_err(|cause| Error::file(&key, &cause))?;
    Issuer::from_ca_cert_pem(&read(&certificate)?, pair)
        .map_err(|cause| Error::file(&certificate, &cause))
}

/// Writes what a party needs: a host that is `reached` at those, or else a coordinator.
fn write_party(
    folder: &Path,
    authority: &Authority,
    ca: &Path,
    name: &str,
    reached: Option<&[SanType]>,
) -> Result<()> {
    let why = |cause| cannot_make(&name, &cause);
    let mut params = params(name, PARTY_YEARS)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match reached {
        Some(_) => ExtendedKeyUsagePurpose::ServerAuth,
        None => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.subject_alt_names = reached.unwrap_or_default().to_vec();
    let key = KeyPair::generate().map_err(why)?;
    let certificate = params.signed_by(&key, authority).map_err(why)?;
    let ca = std::fs::read_to_string(ca).map_err(|cause| Error::disk("cannot read", ca, &cause))?;
    write(&folder.join(KEY), &key.serialize_pem(), SECRET)?;
    write(&folder.join(CERTIFICATE), &certificate.pem(), PUBLIC)?;
    write(&folder.join(CA), &ca, PUBLIC)
}

/// Makes a folder that has its name once `fill` has filled it, and else is gone.
fn in_new_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let part = part_path(path);
    if is_taken(&part) {
        return Err(Error::Disk(format!(
            "{} was left by a run that was cut off: remove it",
            part.display()
        )));
    }
    let made = DirBuilder::new().mode(0o700).create(&part);
    made.map_err(|cause| Error::disk("cannot create", &part, &cause))?;
    let filled = fill(&part).and_then(|()| give_name(&part, path));
    if filled.is_err() {
        // What is told is why it failed; that something is left to remove, the next run tells.
        let _ = std::fs::remove_dir_all(&part);
    }
    filled
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|cause| Error::disk("cannot write", path, &cause))
}
