//! Tar, as far as a shard of a dataset needs it: files with bytes, all of the same owner and time.

/// A block of an archive.
const BLOCK: usize = 512;

/// What ends an archive: two empty blocks.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Appends a file to an archive. A name of more than 100 bytes is cut: ours are shorter.
pub fn append(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    // Owner and group: nobody in particular, so that archives are the same whoever makes them.
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o} ", bytes.len()).as_bytes());
    put(136, b"00000000000 ");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_lists_what_was_appended() {
        let mut archive = Vec::new();
        append(&mut archive, "000001.a.jpg", &[1; 700]);
        append(&mut archive, "000001.json", b"{}");
        archive.extend(END);
        assert_eq!(archive.len() % BLOCK, 0);
        let mut tar = Command::new("tar")
            .args(["tvf", "-", "--numeric-owner", "--utc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar is everywhere");
        tar.stdin.take().expect("piped").write_all(&archive).expect("it reads");
        let said = tar.wait_with_output().expect("it ends");
        let said = String::from_utf8(said.stdout).expect("text");
        let lines: Vec<Vec<&str>> =
            said.lines().map(|line| line.split_whitespace().collect()).collect();
        let expected = |bytes, name| vec!["-rw-r--r--", "0/0", bytes, "1970-01-01", "00:00", name];
        assert_eq!(lines, [expected("700", "000001.a.jpg"), expected("2", "000001.json")]);
    }
}
