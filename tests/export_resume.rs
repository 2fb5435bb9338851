//! Exports that are interrupted and go on, takes with holes and damage, and folders that are not to
//! be touched.

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::small_disk::SmallDisk;
use support::{genlock, genlock_exits, tree};

const FORMATS: [&str; 5] = ["png", "mcap", "tum", "webdataset", "ply"];

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A take of two devices, recorded once for all tests.
fn take() -> &'static Path {
    static TAKE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, take) = TAKE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let take = folder.path().join("take");
        let args = ["record", "--quiet", "--emulated", "2", "-c", "720p", "-d", "NFOV_2X2BINNED"];
        genlock_exits(0, &[&args[..], &["-r", "15", "--frames", "16", text(&take)]].concat());
        (folder, take)
    });
    take
}

/// What a test exports: small shards, so that there are several.
fn arguments<'a>(from: &'a Path, to: &'a Path, format: &'a str) -> Vec<&'a str> {
    let mut args = vec!["export", "--quiet", text(from), text(to), "--to", format];
    if format == "webdataset" {
        args.extend(["--shard-size", "3"]);
    }
    args
}

fn start(out: &Path, format: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    command.args(arguments(take(), out, format)).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary was built with this test")
}

/// Bytes of the files of an export, as far as it is.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |path: PathBuf| match path.is_dir() {
        true => bytes(&path),
        false => path.metadata().map_or(0, |data| data.len()),
    };
    entries.map(|entry| of(entry.path())).sum()
}

/// Waits until an export has so many bytes, or ended.
fn grown_to(child: &mut Child, out: &Path, wanted: u64) -> bool {
    let begun = Instant::now();
    while bytes(out) < wanted {
        if child.try_wait().expect("it is ours").is_some() {
            return false;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute without {wanted} bytes");
        std::thread::park_timeout(Duration::from_micros(200));
    }
    true
}

#[test]
fn a_killed_export_goes_on_and_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let whole = folder.path().join(format!("{format}-whole"));
        genlock_exits(0, &arguments(take(), &whole, format));
        let (expected, all) = (tree(&whole), bytes(&whole));
        let mut killed = 0;
        for part in [0, 10, 45, 80] {
            let out = folder.path().join(format!("{format}-{part}"));
            // It is killed here, a little later once more, and then let go.
            for percent in [part, part + 7] {
                let mut child = start(&out, format);
                killed += u32::from(grown_to(&mut child, &out, all * percent / 100));
                child.kill().expect("it is ours");
                child.wait().expect("it was killed");
            }
            let output = genlock(arguments(take(), &out, format));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{format} at {part} %: {said}");
            let found = tree(&out);
            let names: Vec<_> = found.keys().collect();
            assert!(found == expected, "{format} killed at {part} %: {names:?}");
        }
        assert!(killed > 2, "{format}: killed {killed} times in its midst");
    }
}

#[test]
fn what_is_complete_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let all = {
        let whole = folder.path().join("whole");
        genlock_exits(0, &arguments(take(), &whole, "tum"));
        bytes(&whole)
    };
    let mut child = start(&out, "tum");
    assert!(grown_to(&mut child, &out, all / 2));
    child.kill().expect("it is ours");
    child.wait().expect("it was killed");
    let written = |out: &Path| {
        let modified = |name: &PathBuf| out.join(name).metadata().and_then(|data| data.modified());
        let files = tree(out).into_keys().filter(|name| name.ends_with_extension("jpg"));
        files.map(|name| (modified(&name).expect("a time"), name)).collect::<Vec<_>>()
    };
    let journal = fs::read_to_string(out.join("export.journal")).expect("a journal");
    let complete = journal.lines().filter(|line| line.starts_with("done ")).count();
    assert!(complete > 0, "{journal}");
    let before = written(&out);
    genlock_exits(0, &arguments(take(), &out, "tum"));
    let after = written(&out);
    let kept = before.iter().filter(|file| after.contains(file)).count();
    assert!(kept >= complete * 2, "{kept} files of {complete} triggers of two devices");
    // Once whole, nothing is made at all.
    let args = [&arguments(take(), &out, "tum")[..], &["--json"]].concat();
    let said: Value = serde_json::from_slice(&genlock_exits(0, &args).stdout).expect("JSON");
    assert_eq!((&said["was_whole"], &said["triggers"]), (&true.into(), &16.into()));
    assert_eq!(written(&out), after);
}

trait Extension {
    fn ends_with_extension(&self, extension: &str) -> bool;
}

impl Extension for PathBuf {
    fn ends_with_extension(&self, extension: &str) -> bool {
        self.extension().is_some_and(|found| found == extension)
    }
}

#[test]
fn after_a_restart_of_the_machine_it_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let [out, whole] = ["out", "whole"].map(|name| folder.path().join(name));
    genlock_exits(0, &arguments(take(), &whole, "tum"));
    let mut child = start(&out, "tum");
    assert!(grown_to(&mut child, &out, bytes(&whole) / 2));
    child.kill().expect("it is ours");
    child.wait().expect("it was killed");
    let journal = out.join("export.journal");
    let text = fs::read_to_string(&journal).expect("a journal");
    assert!(text.starts_with("boot ") && text.contains("\ndone "), "{text}");
    fs::write(&journal, text.replace("boot ", "boot another ")).expect("a journal");
    // A power cut left a file without its bytes.
    let color = out.join("000000000001/rgb");
    let first = tree(&color).into_keys().next().expect("an image");
    fs::write(color.join(first), "").expect("a file");
    genlock_exits(0, &arguments(take(), &out, "tum"));
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn a_signal_stops_it_and_it_says_how_to_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [out, whole] = ["out", "whole"].map(|name| folder.path().join(name));
    genlock_exits(0, &arguments(take(), &whole, "tum"));
    let mut child = start(&out, "tum");
    assert!(grown_to(&mut child, &out, bytes(&whole) / 3));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the same command again goes on"), "{said}");
    genlock_exits(0, &arguments(take(), &out, "tum"));
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let refused = |args: &[&str], told: &str| {
        let before = tree(&out);
        let said = genlock_exits(2, args).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(told), "{said}");
        assert!(tree(&out) == before, "{args:?}");
    };
    fs::create_dir(&out).expect("a folder");
    fs::write(out.join("mine.txt"), "mine").expect("a file");
    refused(&arguments(take(), &out, "png"), "it holds mine.txt");
    fs::remove_file(out.join("mine.txt")).expect("it is there");
    genlock_exits(0, &arguments(take(), &out, "ply"));
    refused(&arguments(take(), &out, "png"), "holds another export");
    let other = [&arguments(take(), &out, "ply")[..], &["--every", "2"]].concat();
    refused(&other, "with other options");
    let file = take().join("000000000001.mkv");
    refused(&arguments(&file, &out, "ply"), "of another take");
    // One that was interrupted is as much somebody's as one that was not.
    fs::remove_file(out.join("export.toml")).expect("it is there");
    refused(&arguments(take(), &out, "ply"), "is not empty and no export");
    let named = folder.path().join("named");
    fs::write(&named, "mine").expect("a file");
    let said = genlock_exits(2, &arguments(take(), &named, "png")).stderr;
    assert!(String::from_utf8_lossy(&said).contains("is no folder"));
    assert_eq!(fs::read(&named).expect("a file"), b"mine");
}

#[test]
fn two_exports_do_not_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let mut child = start(&out, "tum");
    assert!(grown_to(&mut child, &out, 1 << 20));
    // Stopped, so that it surely holds the folder.
    let pid = child.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().expect("kill runs");
    assert!(signal("-STOP").success());
    let output = genlock(arguments(take(), &out, "tum"));
    assert!(signal("-CONT").success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another export writes to"), "{said}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// A copy of the take, to be spoiled.
fn copy(folder: &Path) -> PathBuf {
    let copy = folder.join("copy");
    fs::create_dir(&copy).expect("a folder");
    for (name, bytes) in tree(take()) {
        fs::write(copy.join(name), bytes).expect("a file");
    }
    copy
}

#[test]
fn holes_are_listed_and_shift_no_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let spoiled = copy(folder.path());
    let path = spoiled.join("triggers.csv");
    let table = fs::read_to_string(&path).expect("a table");
    let mut rows: Vec<Vec<String>> =
        table.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let column = rows[0].iter().position(|name| name == "000000000002.depth").expect("a column");
    rows[3][column] = "lane full".to_owned();
    let trigger = rows[3][0].clone();
    let lines: Vec<_> = rows.iter().map(|row| row.join(",")).collect();
    fs::write(&path, lines.join("\n") + "\n").expect("a table");
    // The manifest is of the table that was written.
    let toml = spoiled.join("take.toml");
    let told = fs::read_to_string(&toml).expect("take.toml");
    fs::write(&toml, told.split("[[file]]").next().expect("a beginning")).expect("a disk");
    let number = format!("{:08}", trigger.parse::<u64>().expect("a number"));
    for format in FORMATS {
        let out = folder.path().join(format);
        let args = [&arguments(&spoiled, &out, format)[..], &["--json"]].concat();
        let said: Value = serde_json::from_slice(&genlock_exits(3, &args).stdout).expect("JSON");
        assert_eq!((&said["lost"], &said["verdict"]), (&1.into(), &"exported, with losses".into()));
        let losses = fs::read_to_string(out.join("losses.csv")).expect("a list");
        let expected =
            format!("trigger,device,track,cause\n{trigger},000000000002,depth,lane full\n");
        assert_eq!(losses, expected, "{format}");
        // A second look at a whole export tells of its losses too.
        genlock_exits(3, &args);
        let whole = folder.path().join(format!("{format}-whole"));
        genlock_exits(0, &arguments(take(), &whole, format));
        let lists = ["toml", "csv", "txt", "tar", "mcap"];
        let files = |out: &Path| -> Vec<(PathBuf, Vec<u8>)> {
            let keep = |name: &PathBuf| !lists.iter().any(|end| name.ends_with_extension(end));
            tree(out).into_iter().filter(|(name, _)| keep(name)).collect()
        };
        let found = files(&out);
        let mut expected = files(&whole);
        expected.retain(|(name, _)| {
            let name = name.to_string_lossy();
            !(name.starts_with("000000000002/") && name.contains(&number))
                || name.contains("color")
                || name.contains("rgb")
                || name.contains("ir/")
        });
        assert!(found == expected, "{format}");
    }
    let json = folder.path().join("webdataset");
    let shard = fs::read(json.join("000000.tar")).expect("a shard");
    let said = String::from_utf8_lossy(&shard).into_owned();
    assert!(said.contains("\"depth\":{\"lost\":\"lane full\"}"), "no word of it in the sample");
}

#[test]
fn an_image_that_is_none_is_a_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let spoiled = copy(folder.path());
    let path = spoiled.join("000000000001.mkv");
    let mut bytes = fs::read(&path).expect("a file");
    // The begin of the third JPEG, and a part within the fifth.
    let begins: Vec<_> = (0..bytes.len() - 3)
        .filter(|at| bytes[*at..].starts_with(&[0xFF, 0xD8, 0xFF, 0xE0]))
        .collect();
    assert!(begins.len() >= 16, "{}", begins.len());
    bytes[begins[2]] = 0;
    bytes[begins[4] + 2..begins[4] + 600].fill(0xFF);
    fs::write(&path, bytes).expect("a file");
    let rows = |format: &str| {
        let out = folder.path().join(format);
        genlock_exits(3, &arguments(&spoiled, &out, format));
        let losses = fs::read_to_string(out.join("losses.csv")).expect("a list");
        losses.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    for format in ["png", "mcap", "tum", "webdataset"] {
        let rows = rows(format);
        assert_eq!(rows.len(), 1, "{format}: {rows:?}");
        assert!(rows[0].ends_with("000000000001,color,no whole JPEG"), "{format}: {rows:?}");
    }
    // Whoever wants its colors has to decode it.
    let rows = rows("ply");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.contains(",000000000001,color,")), "{rows:?}");
    let clouds = tree(&folder.path().join("ply/000000000001"));
    let clouds: Vec<_> =
        clouds.into_iter().filter(|(name, _)| name.ends_with_extension("ply")).collect();
    let is_colored = |bytes: &[u8]| bytes.windows(5).take(400).any(|part| part == b"uchar");
    assert_eq!(clouds.len(), 16);
    assert_eq!(clouds.iter().filter(|(_, bytes)| is_colored(bytes)).count(), 14);
}

#[test]
fn a_take_without_its_calibration_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let spoiled = copy(folder.path());
    let path = spoiled.join("000000000001.mkv");
    let mut bytes = fs::read(&path).expect("a file");
    let word = b"CalibrationInformation";
    let at = bytes.windows(word.len()).position(|part| part == word).expect("a calibration");
    bytes[at] = b'X';
    fs::write(&path, bytes).expect("a file");
    for format in ["tum", "ply"] {
        let out = folder.path().join(format);
        let said = genlock_exits(1, &arguments(&spoiled, &out, format)).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("000000000001.mkv") && said.contains("--device"), "{said}");
        assert!(!out.exists());
        let other =
            [&arguments(&spoiled, &out, format)[..], &["--device", "000000000002"]].concat();
        genlock_exits(0, &other);
    }
    genlock_exits(0, &arguments(&spoiled, &folder.path().join("mcap"), "mcap"));
}

#[test]
fn a_full_disk_is_said_and_gone_on_from() {
    let Some(disk) = SmallDisk::mount("tmpfs", 2) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let (out, whole) = (disk.path().join(format), folder.path().join(format));
        let said = genlock_exits(1, &arguments(take(), &out, format)).stderr;
        let said = String::from_utf8_lossy(&said);
        let names = said.contains(text(&out)) && said.contains("No space left");
        assert!(names, "{format}: {said}");
        genlock_exits(0, &arguments(take(), &whole, format));
        // Room is given by moving to another disk: what there is goes along.
        let moved = folder.path().join(format!("{format}-moved"));
        for (name, bytes) in tree(&out) {
            let path = moved.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        genlock_exits(0, &arguments(take(), &moved, format));
        assert!(tree(&moved) == tree(&whole), "{format}");
        fs::remove_dir_all(&out).expect("it is there");
    }
}
