//! What a host may offer. Its list comes over the network: what is not as ours are is refused
//! before anything is written.

use crate::error::{Error, Result};
use crate::record::{TAKE, TRIGGERS};
use genlock_formats::take::File;
use std::collections::BTreeSet;

/// Files of one host at most.
const FILES_MAX: usize = 256;

/// Letters of a name at most.
const LETTERS_MAX: usize = 128;

/// Bytes of a file at most: what an object of S3 holds.
const BYTES_MAX: u64 = 5 << 40;

/// A recording to move.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Its place in the host's list.
    pub index: usize,
    pub name: String,
    pub bytes: u64,
    pub crc32: u32,
}

/// The recordings of a host's list. Its `triggers.csv` and `take.toml` are of its part alone.
///
/// # Errors
/// `File`, naming the host, when the list is none.
pub(super) fn recordings(host: &str, files: &[File]) -> Result<Vec<Wanted>> {
    let refused = |why: String| Error::File(format!("host {host}: {why}: nothing was taken of it"));
    if files.len() > FILES_MAX {
        let text = format!("offers {} files, and {FILES_MAX} are the most", files.len());
        return Err(refused(text));
    }
    let mut names = BTreeSet::new();
    let mut wanted = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let name = &file.name;
        if !is_recording(name) && !is_text(name) {
            return Err(refused(format!("{name:?} is no name of a recording")));
        }
        // Two names that differ by case would be one file on some disks.
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(refused(format!("offers {name} twice")));
        }
        if file.bytes > BYTES_MAX {
            return Err(refused(format!("{name} has {} bytes, it says", file.bytes)));
        }
        let crc32 = u32::from_str_radix(&file.crc32, 16);
        let crc32 = crc32.ok().filter(|_| file.crc32.len() == 8 && !file.crc32.starts_with('+'));
        let crc32 = crc32.ok_or_else(|| {
            refused(format!("{name}: {:?} is no CRC-32 of eight digits", file.crc32))
        })?;
        if is_recording(name) {
            wanted.push(Wanted { index, name: name.clone(), bytes: file.bytes, crc32 });
        }
    }
    Ok(wanted)
}

fn is_recording(name: &str) -> bool {
    let stem = name.strip_suffix(".mkv").filter(|stem| !stem.is_empty());
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= LETTERS_MAX && stem.is_some_and(|stem| stem.chars().all(is_letter))
}

/// Whether this is a name of one of the two lists that a take has beside its recordings.
pub(super) fn is_text(name: &str) -> bool {
    [TRIGGERS, TAKE].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_ours_are_is_refused() {
        let refusal =
            |files: &[File]| recordings("b", files).map(|_| ()).map_err(|e| e.to_string());
        let long = "a".repeat(LETTERS_MAX) + ".mkv";
        let names = [
            "",
            ".mkv",
            "..",
            "../a.mkv",
            "/a.mkv",
            "a/b.mkv",
            "a\\b.mkv",
            "a.b.mkv",
            "a.mkv.part",
            "a.MKV",
            "a\0.mkv",
            "a\n.mkv",
            "ä.mkv",
            "a-b.mkv",
            "take.toml/",
            "a.mkv ",
            &long,
        ];
        for name in names {
            let text = refusal(&[File::of("fine.mkv", b""), File::of(name, b"")]).expect_err(name);
            assert!(text.starts_with("host b: ") && text.contains("no name"), "{text}");
        }
        let twice = refusal(&[File::of("a.mkv", b""), File::of("A.mkv", b"")]);
        assert!(twice.is_err_and(|text| text.contains("offers A.mkv twice")));
        assert!(refusal(&[File::new("a.mkv", BYTES_MAX, 0)]).is_ok());
        let large = refusal(&[File::new("a.mkv", BYTES_MAX + 1, 0)]);
        assert!(large.is_err_and(|text| text.contains("5497558138881 bytes")));
        let many: Vec<_> = (0..257).map(|i| File::of(&format!("{i}.mkv"), b"")).collect();
        assert!(refusal(&many[1..]).is_ok());
        assert!(refusal(&many).is_err_and(|text| text.contains("offers 257 files")));
        for crc32 in ["", "0", "000000000", "+1234567", "xyzxyzxy"] {
            let file = File { crc32: crc32.to_owned(), ..File::of("a.mkv", b"") };
            assert!(refusal(&[file]).is_err_and(|text| text.contains("no CRC-32")), "{crc32}");
        }
    }

    #[test]
    fn lists_of_the_part_stay_where_they_are() {
        let files =
            ["triggers.csv", "a_1.mkv", "take.toml"].map(|name| File::of(name, b"123456789"));
        let wanted = recordings("b", &files).expect("a list");
        assert_eq!((wanted.len(), wanted[0].index, wanted[0].crc32), (1, 1, 0xCBF4_3926));
    }
}
