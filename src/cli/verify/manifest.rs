//! The files of a take against the lengths and checksums that `take.toml` lists of them.

use super::super::target::Target;
use super::super::{Verdict, lossy};
use super::word;
use crate::map::read_through;
use crate::record::{TAKE, elsewhere};
use genlock_formats::take::{File, Take};
use serde::Serialize;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// What `verify --quick` found in a take.
#[derive(Debug, Serialize)]
pub(super) struct Quick {
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    pub verdict: &'static str,
    /// Files that are as they were written.
    pub same: Vec<String>,
    pub problems: Vec<String>,
    /// What is in the folder and not of the take.
    pub others: Vec<String>,
}

/// Holds the files of a take against the list, and looks at nothing else.
pub(super) fn quick(target: &Target) -> (Verdict, Quick) {
    let (mut same, mut problems, mut others) = (Vec::new(), Vec::new(), Vec::new());
    match &target.take {
        None if target.is_folder => {
            problems.push("take.toml is missing: the take was not finished".to_owned());
        }
        None => problems.push("a file alone has no list to hold it against".to_owned()),
        Some(take) if take.files.is_empty() => problems.push(NO_LIST.to_owned()),
        Some(take) => {
            for listed in &take.files {
                match problem(&target.path, listed) {
                    None => same.push(listed.name.clone()),
                    Some(problem) => problems.push(problem),
                }
            }
            strangers(target, take, &mut problems, &mut others);
            if !problems.is_empty() {
                problems.extend(elsewhere(&target.path));
            }
        }
    }
    let verdict = if problems.is_empty() { Verdict::Whole } else { Verdict::Failed };
    let path = target.path.clone();
    (verdict, Quick { path, verdict: word(verdict), same, problems, others })
}

/// What there is to say of a take of before there was a list.
pub(super) const NO_LIST: &str = "take.toml lists no checksums of the files: an older genlock \
                                  recorded the take";

fn problem(folder: &Path, listed: &File) -> Option<String> {
    let name = &listed.name;
    // The list must not lead out of the folder.
    if Path::new(name).file_name() != Some(OsStr::new(name)) {
        return Some(format!("{name}: take.toml lists it, and it is no name of a file"));
    }
    let path = folder.join(name);
    if path.symlink_metadata().is_err() {
        return Some(missing(name));
    }
    match read_through(&path) {
        Ok((bytes, crc32)) => difference(listed, bytes, crc32),
        Err(cause) => Some(cause.to_string()),
    }
}

pub(super) fn missing(name: &str) -> String {
    format!("{name}: is missing")
}

/// How a file with this length and checksum differs from what is listed.
pub(super) fn difference(listed: &File, bytes: u64, crc32: u32) -> Option<String> {
    let (found, name) = (File::new(&listed.name, bytes, crc32), &listed.name);
    if found.bytes != listed.bytes {
        let said = listed.bytes;
        return Some(format!("{name}: has a size of {bytes}, take.toml lists {said}"));
    }
    (!listed.has_bytes_of(&found)).then(|| {
        format!(
            "{name}: does not have the bytes that were written: its CRC-32 is {}, take.toml lists \
             {}",
            found.crc32, listed.crc32
        )
    })
}

/// What is in the folder and not on the list: recordings are a problem, anything else is told of.
fn strangers(target: &Target, take: &Take, problems: &mut Vec<String>, others: &mut Vec<String>) {
    for device in &take.devices {
        let Some(name) = &device.file else { continue };
        if take.files.iter().all(|listed| listed.name != *name) {
            problems.push(format!("{name}: take.toml lists no checksum of it"));
        }
    }
    let entries = fs::read_dir(&target.path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let listed = take.files.iter().any(|listed| OsStr::new(&listed.name) == name);
        if listed || name == TAKE {
            continue;
        }
        let shown = name.display();
        match target.files.contains(&target.path.join(&name)) {
            true => problems.push(format!("{shown}: is in the folder, take.toml does not name it")),
            false => others.push(format!("{shown}: is in the folder, and not of the take")),
        }
    }
}

/// Lines for people.
pub(super) fn words(quick: &Quick) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", quick.path.display(), quick.verdict)];
    lines.extend(quick.problems.iter().map(|problem| format!("  {problem}")));
    lines.extend(quick.same.iter().map(|name| format!("    {name}: as it was written")));
    lines.extend(quick.others.iter().map(|other| format!("    note: {other}")));
    lines
}
