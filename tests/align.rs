//! Files that Microsoft's library recorded, one for each device of an emulated rig, become a take.

mod support;

use genlock_formats::take::{Outcome, Take, Verdict};
use genlock_formats::triggers::{Cell, Triggers};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::judges::{oracle_script, root};
use support::{genlock, genlock_exits};

const FRAMES: usize = 40;
const SERIALS: [&str; 3] = ["000000000001", "000000000002", "000000000003"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A take of three devices; a busy machine may need more than one try for a whole one.
fn whole_take(folder: &Path) -> PathBuf {
    for name in ["first", "second", "third", "fourth"] {
        let take = folder.join(name);
        let frames = FRAMES.to_string();
        let modes = ["-c", "720p", "-d", "NFOV_2X2BINNED", "-r", "30"];
        let args = ["record", "--emulated", "3", "--quiet", "--frames", &frames, text(&take)];
        if genlock(args.iter().chain(&modes)).status.success() {
            return take;
        }
    }
    panic!("four takes with losses");
}

/// Records files again with Microsoft's library: where to, how many captures are left out in front,
/// and how many are recorded.
fn record_again(take: &Path, files: &[(PathBuf, usize, usize)]) -> Option<()> {
    let (python, oracle) = oracle_script()?;
    let mut command = std::process::Command::new("timeout");
    command.args([Path::new("120"), &python, &root().join("tests/support/record_again.py")]);
    let mut child = command.arg(&oracle).stdin(Stdio::piped()).spawn().expect("a Python");
    let mut list = child.stdin.take().expect("piped");
    for ((to, skip, count), serial) in files.iter().zip(SERIALS) {
        let from = take.join(format!("{serial}.mkv"));
        writeln!(list, "{} {} {skip} {count}", text(&from), text(to)).expect("it reads the list");
    }
    drop(list);
    assert!(child.wait().expect("it ends").success(), "Microsoft's library records");
    Some(())
}

fn triggers(take: &Path) -> Triggers {
    let text = fs::read_to_string(take.join("triggers.csv")).expect("a table");
    Triggers::from_csv(&text).expect("triggers")
}

fn told(take: &Path) -> Take {
    Take::from_toml(&fs::read_to_string(take.join("take.toml")).expect("take.toml"))
        .expect("a take")
}

/// The cells of the image tracks of a take.
fn cells(triggers: &Triggers, serial: &str, track: &str) -> Vec<Cell> {
    triggers.column(&format!("{serial}.{track}")).expect("a column").cloned().collect()
}

#[test]
fn files_of_k4arecorder_become_one_take_with_all_triggers() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = whole_take(folder.path());
    let file = |name: &str| folder.path().join(name);
    let all: Vec<_> = ["m.mkv", "a.mkv", "b.mkv"].map(|name| (file(name), 0, FRAMES)).into();
    let Some(()) = record_again(&take, &all) else { return };
    let aligned = file("aligned");
    // In any order: the files say which is the master's.
    let names = [1, 0, 2].map(|at: usize| text(&all[at].0));
    let mut args = vec!["align", "-o", text(&aligned)];
    args.extend(names);
    let output = genlock_exits(0, &args);
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("whole, sync pass"), "{said}");
    let (ours, theirs) = (triggers(&take), triggers(&aligned));
    assert_eq!((ours.first, ours.rows.len()), (theirs.first, theirs.rows.len()));
    for (serial, track) in
        SERIALS.into_iter().flat_map(|s| ["color", "depth", "ir"].map(|t| (s, t)))
    {
        assert_eq!(cells(&ours, serial, track), cells(&theirs, serial, track), "{serial} {track}");
    }
    let told = told(&aligned);
    assert_eq!((told.outcome, told.verdict), (Outcome::Whole, Some(Verdict::Pass)));
    // Its files are where they were, and it can be moved with them.
    assert!(fs::symlink_metadata(aligned.join("000000000001.mkv")).expect("a file").is_symlink());
    genlock_exits(0, &["verify", text(&aligned)]);
    genlock_exits(0, &["verify", "--quick", text(&aligned)]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    for name in ["m.mkv", "a.mkv", "b.mkv", "aligned"] {
        let moved = std::process::Command::new("mv").arg(file(name)).arg(elsewhere.path()).status();
        assert!(moved.expect("mv is part of every Linux").success());
    }
    genlock_exits(0, &["verify", text(&elsewhere.path().join("aligned"))]);
}

#[test]
fn what_one_process_missed_at_its_ends_is_listed_and_nothing_shifts() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = whole_take(folder.path());
    let file = |name: &str| folder.path().join(name);
    // The master was begun last, and stopped first.
    let parts = [
        (file("m.mkv"), 3, FRAMES - 8),
        (file("a.mkv"), 0, FRAMES - 2),
        (file("b.mkv"), 1, FRAMES - 1),
    ];
    let Some(()) = record_again(&take, &parts) else { return };
    let aligned = file("aligned");
    let mut args = vec!["align", "--copy", "-o", text(&aligned)];
    args.extend(parts.iter().map(|(path, ..)| text(path)));
    genlock_exits(3, &args);
    let (ours, theirs) = (triggers(&take), triggers(&aligned));
    assert_eq!((theirs.first, theirs.rows.len()), (ours.first, FRAMES));
    for ((_, skip, count), serial) in parts.iter().zip(SERIALS) {
        let there = *skip..skip + count;
        let (ours, theirs) = (cells(&ours, serial, "color"), cells(&theirs, serial, "color"));
        for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            match theirs {
                Cell::At(_) => assert_eq!((ours, there.contains(&place)), (theirs, true)),
                Cell::Lost(cause) if place < there.start => {
                    assert_eq!(cause, "before the beginning of its file");
                }
                Cell::Lost(cause) => {
                    assert_eq!(
                        (cause.as_str(), place >= there.end),
                        ("behind the end of its file", true)
                    );
                }
            }
        }
    }
    for ((path, ..), serial) in parts.iter().zip(SERIALS) {
        let copy = aligned.join(format!("{serial}.mkv"));
        assert!(!fs::symlink_metadata(&copy).expect("a file").is_symlink());
        assert_eq!(fs::read(path).expect("a file"), fs::read(copy).expect("a copy"));
    }
    genlock_exits(3, &["verify", text(&aligned)]);
}

#[test]
fn files_of_no_one_take_are_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = whole_take(folder.path());
    let file = |name: &str| folder.path().join(name);
    let of_take = |at: usize| take.join(format!("{}.mkv", SERIALS[at]));
    let alone = file("alone.mkv");
    genlock(["record", "--emulated", "1", "--quiet", "--frames", "5", text(&alone)]);
    let slow = file("slow");
    let args = ["record", "--emulated", "2", "--quiet", "--frames", "5", "-r", "15", text(&slow)];
    genlock(args);
    let killed = file("killed.mkv");
    let bytes = fs::read(of_take(1)).expect("a recording");
    fs::write(&killed, &bytes[..bytes.len() * 2 / 3]).expect("a disk");
    let out = file("out");
    let refused = |code: i32, files: &[&Path], why: &str| {
        let mut args = vec!["align", "-o", text(&out)];
        args.extend(files.iter().map(|path| text(path)));
        let said = genlock_exits(code, &args).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(why), "{said}");
        assert!(fs::symlink_metadata(&out).is_err(), "something is left");
    };
    let (master, other) = (of_take(0), of_take(1));
    let second = slow.join(format!("{}.mkv", SERIALS[0]));
    let slower = slow.join(format!("{}.mkv", SERIALS[1]));
    refused(2, &[&master, &alone], "recorded standalone");
    refused(2, &[&master, &second], "second master");
    refused(2, &[&master, &slower], "another rate");
    refused(2, &[&other, &other], "two files are of the device 000000000002");
    refused(1, &[&master, &killed], "genlock repair makes it whole");
    refused(1, &[&master, &file("none.mkv")], "none.mkv");
    let flipped = file("flipped.mkv");
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&flipped, changed).expect("a disk");
    refused(1, &[&master, &flipped], "is damaged");
    refused(1, &[&master, &take], "is a folder");
    let within = take.join("out");
    genlock_exits(2, &["align", "-o", text(&within), text(&master), text(&other)]);
    // What is there is not touched.
    fs::create_dir(&out).expect("a folder");
    genlock_exits(2, &["align", "-o", text(&out), text(&master), text(&other)]);
    assert_eq!(fs::read_dir(&out).expect("a folder").count(), 0);
}

#[test]
fn subordinates_whose_master_has_no_file_are_aligned_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = whole_take(folder.path());
    let out = folder.path().join("out");
    let [_, first, second] = SERIALS.map(|serial| take.join(format!("{serial}.mkv")));
    let output = genlock_exits(0, &["align", "-o", text(&out), text(&first), text(&second)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no file of the master"), "{said}");
    let (ours, theirs) = (triggers(&take), triggers(&out));
    assert_eq!(cells(&ours, SERIALS[2], "color"), cells(&theirs, SERIALS[2], "color"));
}
