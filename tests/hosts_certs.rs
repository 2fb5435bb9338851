//! Certificates of a lab: what is made, what is never touched, and what is said of bad ones.
#![cfg(feature = "hosts")]

mod hosts_link_support;

use genlock::error::Error;
use genlock::hosts::certs;
use genlock::hosts::link::Identity;
use hosts_link_support::{lab, name, write_identity};
use rcgen::ExtendedKeyUsagePurpose;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of a folder with its mode and what is in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.append(&mut files(&path));
            continue;
        }
        let mode = path.metadata().expect("a file").permissions().mode() & 0o777;
        let bytes = std::fs::read(&path).expect("a file");
        found.insert(path, (mode, bytes));
    }
    found
}

fn make(out: &Path, hosts: &[(&str, &[&str])]) -> Result<(), Error> {
    let hosts: Vec<_> = hosts
        .iter()
        .map(|(host, at)| (name(host), at.iter().map(|&text| text.to_owned()).collect()))
        .collect();
    certs::make(out, &hosts)
}

#[test]
fn each_machine_gets_what_it_needs_and_nothing_more() {
    let (_folder, out) = lab(&["a", "b"]);
    let made = files(&out);
    let names: Vec<_> =
        made.keys().map(|path| path.strip_prefix(&out).expect("within").to_owned()).collect();
    let mut expected = vec![PathBuf::from("ca.key"), PathBuf::from("ca.pem")];
    for party in ["a", "b", "coordinator"] {
        expected.extend(["ca.pem", "cert.pem", "key.pem"].map(|name| Path::new(party).join(name)));
    }
    expected.sort();
    assert_eq!(names, expected);
    for (path, (mode, bytes)) in &made {
        let is_secret = String::from_utf8_lossy(bytes).contains("PRIVATE KEY");
        assert_eq!(*mode, if is_secret { 0o600 } else { 0o644 }, "{}", path.display());
        assert_eq!(is_secret, path.ends_with("key.pem") || path.ends_with("ca.key"));
    }
    for party in ["a", "b", "coordinator"] {
        Identity::open(&out.join(party)).expect("an identity");
    }
}

#[test]
fn openssl_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("certs");
    make(&out, &[("b", &["10.0.0.2", "fd00::2", "studio-2.lan"])]).expect("certificates");
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(&out).output().ok()?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Some((output.status.success(), stdout + &String::from_utf8_lossy(&output.stderr)))
    };
    if openssl(&["version"]).is_none() {
        eprintln!("not compared: openssl is not installed");
        return;
    }
    let verify = |args: &[&str]| {
        openssl(&[&["verify", "-x509_strict", "-CAfile", "ca.pem"], args].concat()).expect("it ran")
    };
    for (address, option) in [
        ("10.0.0.2", "-verify_ip"),
        ("127.0.0.1", "-verify_ip"),
        ("fd00::2", "-verify_ip"),
        ("studio-2.lan", "-verify_hostname"),
        ("localhost", "-verify_hostname"),
    ] {
        let (is_good, said) = verify(&["-purpose", "sslserver", option, address, "b/cert.pem"]);
        assert!(is_good, "{address}: {said}");
    }
    let (is_good, said) = verify(&["-purpose", "sslclient", "coordinator/cert.pem"]);
    assert!(is_good, "{said}");
    // A host calls nobody, a coordinator is called by nobody, a host is nowhere else.
    for bad in [
        ["-purpose", "sslclient", "b/cert.pem"].as_slice(),
        &["-purpose", "sslserver", "coordinator/cert.pem"],
        &["-verify_ip", "10.0.0.3", "b/cert.pem"],
    ] {
        assert!(!verify(bad).0, "{bad:?}");
    }
    let shown = openssl(&["x509", "-noout", "-subject", "-in", "b/cert.pem"]).expect("it ran").1;
    assert_eq!(shown.replace(' ', ""), "subject=CN=b\n");
}

#[test]
fn hosts_are_added_and_nothing_is_overwritten() {
    let (folder, out) = lab(&["a"]);
    let before = files(&out);
    for (hosts, why) in [
        ([("b", ["10.0.0.2"].as_slice()), ("a", &["10.0.0.1"])].as_slice(), "has its certificate"),
        (&[("b", &["10.0.0.2"]), ("b", &["10.0.0.3"])], "given twice"),
        (&[("coordinator", &["10.0.0.2"])], "no host may be called coordinator"),
        (&[("b", &["10.0.0.2"]), ("c", &["10.0.0"])], "\"10.0.0\" is neither an address"),
        (&[("b", &["../lan"])], "neither an address"),
        (&[("b", &[])], "has no address"),
    ] {
        let new = folder.path().join("new");
        for output in [&out, &new] {
            // That a has one is so in the authority that is there.
            if output == &new && why == "has its certificate" {
                continue;
            }
            let refused = make(output, hosts).expect_err(why);
            assert!(matches!(refused, Error::Usage(_)), "{refused:?}");
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(!new.exists(), "{why}");
        assert_eq!(files(&out), before, "{why}");
        assert_eq!(std::fs::read_dir(&out).expect("a folder").count(), 4, "{why}");
    }
    make(&out, &[("b", &["10.0.0.2"]), ("2", &["studio-2.lan"])]).expect("more hosts");
    let after = files(&out);
    assert!(before.iter().all(|(path, file)| after.get(path) == Some(file)));
    assert_eq!(after.len(), before.len() + 6);
    for host in ["a", "b", "2"] {
        Identity::open(&out.join(host)).expect("an identity");
    }
}

#[test]
fn a_folder_that_is_no_authority_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("certs");
    std::fs::create_dir(&out).expect("a folder");
    std::fs::write(out.join("ca.pem"), "mine").expect("a file");
    let refused = make(&out, &[("b", &["10.0.0.2"])]).expect_err("an authority");
    assert!(refused.to_string().contains("is no authority"), "{refused}");
    std::fs::write(out.join("ca.key"), "mine").expect("a file");
    let refused = make(&out, &[("b", &["10.0.0.2"])]).expect_err("an authority");
    assert!(matches!(refused, Error::File(_)), "{refused:?}");
    assert_eq!(files(&out).len(), 2);
    // What a run left that was cut off.
    std::fs::create_dir(folder.path().join("new.part")).expect("a folder");
    let refused = make(&folder.path().join("new"), &[("b", &["10.0.0.2"])]).expect_err("a rest");
    assert!(refused.to_string().contains("remove it"), "{refused}");
}

#[test]
fn what_is_wrong_with_an_identity_is_told() {
    let (folder, out) = lab(&["b", "c"]);
    let (_other_folder, other) = lab(&["b"]);
    let said = |party: &Path| Identity::open(party).expect_err("an identity").to_string();
    let b = out.join("b");
    let key = b.join("key.pem");

    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).expect("a mode");
    let command = format!("chmod 600 {}", key.canonicalize().expect("a path").display());
    assert!(said(&b).contains(&command), "{}", said(&b));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
    Identity::open(&b).expect("an identity");

    let secret = std::fs::read(&key).expect("a file");
    std::fs::write(&key, std::fs::read(out.join("c/key.pem")).expect("a file")).expect("a file");
    assert!(said(&b).contains("key.pem is not the key of cert.pem"), "{}", said(&b));
    std::fs::write(&key, "not a key").expect("a file");
    assert!(said(&b).contains("no secret key"), "{}", said(&b));
    std::fs::write(&key, secret).expect("a file");

    std::fs::copy(other.join("ca.pem"), b.join("ca.pem")).expect("a file");
    assert!(said(&b).contains("did not sign"), "{}", said(&b));
    std::fs::write(b.join("ca.pem"), "").expect("a file");
    assert!(said(&b).contains("ca.pem: no certificate"), "{}", said(&b));
    std::fs::remove_file(b.join("ca.pem")).expect("a file");
    assert!(said(&b).contains("genlock agent certs"), "{}", said(&b));
    let nowhere = folder.path().join("nowhere");
    assert!(said(&nowhere).contains("nowhere"), "{}", said(&nowhere));

    let usages = [ExtendedKeyUsagePurpose::ServerAuth];
    let old = write_identity(&out, &folder.path().join("old"), "b", &usages, 2020);
    let text = said(&old);
    assert!(text.contains("expired at 2020-12-31T00:00:00Z: make new ones"), "{text}");
}
