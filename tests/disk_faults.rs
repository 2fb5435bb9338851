//! A disk that fails at any call that changes something on it.
//!
//! A healthy take is counted first; then the same take is recorded once for each of its calls and
//! each kind of fault. `GENLOCK_FAULTS=all` takes all kinds for all rigs.
#![cfg(target_arch = "x86_64")]

mod support;

use genlock::frame::Cause;
use genlock_formats::k4a::Recording;
use genlock_formats::take::{Device, Outcome, Take};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::faulty::{self, EINTR, EINVAL, EIO, ENOSPC, Fault, Run};
use support::judges::official_reads;
use support::turn;
use support::unfinished::{frames, small};

/// Recorders side by side: each waits for its devices most of the time.
const SIDE_BY_SIDE: usize = 4;

/// A take, and where it goes.
struct Rig {
    output: &'static str,
    options: &'static [&'static str],
}

const ONE: Rig = Rig { output: "take", options: &["--emulated", "1"] };
const TWO: Rig = Rig { output: "take", options: &["--emulated", "2"] };
const FILE: Rig = Rig { output: "a.mkv", options: &["--emulated", "1"] };

impl Rig {
    fn args(&self, frames: &'static str) -> Vec<&'static str> {
        let small = ["record", "--quiet", "-c", "720p", "-d", "NFOV_2X2BINNED"];
        [&small[..], self.options, &["--frames", frames]].concat()
    }

    /// Records with a fault. A recorder that a busy machine left without a core for so long that
    /// its devices dropped frames has more to tell than the fault's: such a run is done again.
    fn run(&self, fault: Fault) -> Run {
        let run = || faulty::run(&self.args("12"), self.output, fault);
        let starved = |run: &Run| run.stderr.contains(&Cause::NotSent.to_string());
        let first = run();
        (0..5).fold(first, |last, _| if starved(&last) { run() } else { last })
    }

    /// How many calls a healthy take makes.
    fn calls(&self) -> u64 {
        let run = self.run(Fault::default());
        assert_eq!(run.status.code(), Some(0), "{}", run.about());
        assert!(run.calls.len() > 15, "{}", run.about());
        run.calls.len() as u64
    }
}

/// Does `work` for each item, a few side by side.
fn side_by_side<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = work(item);
                    done.lock().expect("nobody panics with it").push(one);
                }
            });
        }
    });
    done.into_inner().expect("nobody panics with it")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn is_recording(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".mkv") || name.ends_with(".mkv.part")
}

fn verify(path: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    let output = command.arg("verify").arg(path).output().expect("the binary was built");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The calls that failed and that a take depends on. It does not on room that the system cannot
/// keep free, unless that says twice that there is none; nor on giving back what a finished file
/// does not need.
fn failed(run: &Run) -> impl Iterator<Item = &faulty::Call> {
    let calls = &run.calls;
    let at = |place: Option<usize>| place.and_then(|place| calls.get(place));
    let no_room =
        |call: &faulty::Call| call.name == "fallocate" && call.result == -i64::from(ENOSPC);
    let matters = move |&(place, call): &(usize, &faulty::Call)| {
        let before = at(place.checked_sub(1)).filter(|before| before.path == call.path);
        let next = at(Some(place + 1));
        match &*call.name {
            _ if call.path.to_string_lossy().contains(".reserve") => false,
            "fallocate" => no_room(call) && before.is_some_and(no_room),
            "ftruncate" => next.is_none_or(|next| next.name != "renameat2"),
            _ => true,
        }
    };
    let negative = calls.iter().enumerate().filter(|(_, call)| call.result < 0);
    negative.filter(matters).map(|(_, call)| call)
}

/// What holds after every fault.
fn holds(rig: &Rig, run: &Run) {
    let about = || run.about();
    let code = run.status.code();
    assert!(matches!(code, Some(0 | 1 | 3)), "{}", about());
    assert!(!run.stderr.contains("panicked"), "{}", about());
    let mut cut_failed = false;
    if let Some(first) = failed(run).next() {
        assert_ne!(code, Some(0), "a call failed: {}", about());
        let why = std::io::Error::from_raw_os_error(-first.result as i32).to_string();
        let why = why.split(" (os").next().unwrap_or_default();
        assert!(run.stderr.contains(why), "it does not say {why:?}: {}", about());
        let named = |call: &faulty::Call| {
            let name = call.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            run.stderr.contains(&name)
        };
        assert!(failed(run).any(named), "it does not name the file: {}", about());
        cut_failed = failed(run).any(|call| call.name == "ftruncate");
    }
    let output = run.there().join(rig.output);
    if code == Some(0) {
        let (verified, said) = verify(&output);
        assert_eq!(verified, Some(0), "it passed for whole: {said}: {}", about());
    }
    for path in files(&run.there()).iter().filter(|path| is_recording(path)) {
        recording(path, cut_failed, &about);
    }
    let toml = output.join("take.toml");
    if let Ok(text) = fs::read_to_string(toml) {
        let take = Take::from_toml(&text).expect("take.toml is whole or not there");
        accounts(&take, &about);
        others_go_on(run, &take);
        // Its own name may be what failed; then it was written before, and says the truth.
        let of_itself = failed(run).all(|call| !is_recording(&call.path));
        assert!(of_itself || take.outcome != Outcome::Whole, "{text}: {}", about());
    }
}

/// What one file suffers costs the others nothing, and the exit code tells what is left.
fn others_go_on(run: &Run, take: &Take) {
    let whole = |device: &&Device| device.losses.is_empty();
    let hit = |device: &Device| {
        let of_it = |call: &faulty::Call| call.path.to_string_lossy().contains(&device.serial);
        failed(run).any(of_it)
    };
    let (hit, spared): (Vec<_>, Vec<_>) = take.devices.iter().partition(|device| hit(device));
    assert!(spared.iter().all(whole), "{}", run.about());
    let code = match (hit.iter().all(whole), spared.is_empty()) {
        // Its file could not be finished, or got no name: nothing in it is missing.
        (true, _) => return,
        (false, true) => Some(1),
        (false, false) => Some(3),
    };
    assert_eq!(run.status.code(), code, "{}", run.about());
}

/// A file that was left is worth its name: it opens, it ends with a whole cluster, and one without
/// `.part` is finished.
fn recording(path: &Path, cut_failed: bool, about: &dyn Fn() -> String) {
    let (bytes, name) = (fs::read(path).expect("a file"), path.display());
    let recording = Recording::open(&bytes);
    let recording = recording.unwrap_or_else(|e| panic!("{name}: {e}: {}", about()));
    let clusters: Vec<_> = recording.demuxer().clusters().collect();
    assert!(!clusters.is_empty(), "{name}: {}", about());
    let whole = clusters.iter().flatten().filter(|cluster| cluster.is_complete()).count();
    let torn = usize::from(cut_failed);
    assert!(whole + torn >= clusters.len() && whole > 0, "{name} is torn: {}", about());
    if path.extension().is_some_and(|extension| extension == "mkv") {
        assert!(recording.demuxer().is_finished(), "{name}: {}", about());
        let (code, said) = verify(path);
        assert_eq!(code, Some(0), "{name}: {said}: {}", about());
    }
}

/// Every trigger of every image track is a frame or a loss.
fn accounts(take: &Take, about: &dyn Fn() -> String) {
    for device in &take.devices {
        let mut count: BTreeMap<&str, u64> = BTreeMap::new();
        let tracks = [
            ("color", &device.color_mode),
            ("depth", &device.depth_mode),
            ("ir", &device.depth_mode),
        ];
        for (track, _) in tracks.iter().filter(|(_, mode)| *mode != "OFF") {
            count.insert(track, device.frames.get(*track).copied().unwrap_or(0));
        }
        for loss in &device.losses {
            if let Some(count) = count.get_mut(loss.track.as_str()) {
                *count += loss.count();
            }
        }
        assert_eq!(count.len(), 3);
        for (track, count) in count {
            let serial = &device.serial;
            assert_eq!(count, device.trigger_count, "{serial}: {track}: {}", about());
        }
    }
}

/// Records once with each of these faults, and holds what comes of it against the rules. Gives the
/// number of runs.
fn each(rig: &Rig, faults: &[Fault]) -> usize {
    let runs = side_by_side(faults, |fault| {
        let run = rig.run(*fault);
        holds(rig, &run);
        run
    });
    let left = |run: &Run| files(&run.there()).into_iter().filter(|path| is_recording(path));
    // The official library crashes on a cluster that could not be cut off.
    let cut = |run: &&Run| !failed(run).any(|call| call.name == "ftruncate");
    let left: Vec<_> =
        runs.iter().filter(cut).flat_map(|run| left(run).map(move |p| (run, p))).collect();
    let paths: Vec<_> = left.iter().map(|(_, path)| path).collect();
    for (read, (run, path)) in official_reads(&paths).into_iter().flatten().zip(&left) {
        let captures = read.map(|read| read["captures"].as_u64().unwrap_or(0));
        assert!(
            captures.as_ref().is_ok_and(|count| *count > 0),
            "{}: {captures:?}: {}",
            path.display(),
            run.about()
        );
    }
    let hit = runs.iter().filter(|run| failed(run).next().is_some()).count();
    assert!(hit >= runs.len() * 3 / 4, "{hit} of {} runs had a fault", runs.len());
    runs.len()
}

fn is_all() -> bool {
    std::env::var_os("GENLOCK_FAULTS").is_some()
}

/// A fault of each kind at each of `calls` calls, and at two that a take with losses may make
/// beyond.
fn at_each(calls: u64, step: usize, kinds: &[(&'static str, i32)]) -> Vec<Fault> {
    let step = if is_all() { 1 } else { step };
    let fault = |(kind, errno), at| Fault { kind, at, errno, ..Fault::default() };
    let kinds = kinds.iter().enumerate();
    let faults = kinds.flat_map(|(place, kind)| {
        let places = (1 + place as u64 % step as u64..=calls + 2).step_by(step);
        places.map(move |at| fault(*kind, at))
    });
    faults.collect()
}

const ALL: [(&str, i32); 6] = [
    ("once", EIO),
    ("once", ENOSPC),
    ("full", ENOSPC),
    ("dead", EIO),
    ("torn", ENOSPC),
    ("torn", EIO),
];

fn tell(text: &str) {
    // Not by a macro: the harness would swallow it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn a_disk_that_fails_at_any_call_leaves_what_it_took_and_is_told_of() {
    let _turn = turn();
    for (name, rig, step) in [("a device", &ONE, 1), ("a file", &FILE, 2), ("two devices", &TWO, 4)]
    {
        let calls = rig.calls();
        let some = [ALL[0], ALL[2], ALL[3], ALL[4]];
        let kinds = if is_all() { &ALL[..] } else { &some[..] };
        let runs = each(rig, &at_each(calls, step, kinds));
        tell(&format!("{name}: {calls} calls of a healthy take, {runs} faulty ones"));
    }
}

#[test]
fn a_write_that_is_cut_short_or_interrupted_costs_nothing() {
    let _turn = turn();
    let mut faults = at_each(ONE.calls() - 1, 1, &[("short", 0)]);
    let named = |call| Fault { kind: "once", at: call, errno: EINTR, ..Fault::default() };
    faults.extend((3..15).map(named));
    let runs = side_by_side(&faults, |fault| ONE.run(*fault));
    let is_cut = |call: &faulty::Call| call.result >= 0 && call.result < call.bytes;
    let hit = runs.iter().filter(|run| run.calls.iter().any(|c| is_cut(c) || c.result < 0));
    assert!(hit.count() > 24);
    for run in runs {
        assert_eq!(run.status.code(), Some(0), "{}", run.about());
        let (code, said) = verify(&run.there().join(ONE.output));
        assert_eq!(code, Some(0), "{said}: {}", run.about());
        holds_but_for_interruptions(&run);
    }
}

fn holds_but_for_interruptions(run: &Run) {
    let bytes = |name: &str| -> i64 {
        run.calls.iter().filter(|c| c.name == name && c.result > 0).map(|c| c.result).sum()
    };
    let left: u64 = files(&run.there()).iter().map(|p| p.metadata().expect("a file").len()).sum();
    assert_eq!(left, bytes("writev") as u64, "every byte once: {}", run.about());
}

/// Network file systems do not know how to rename without overwriting.
#[test]
fn a_file_system_that_cannot_rename_to_free_names_takes_whole_takes() {
    let _turn = turn();
    let call = "renameat2";
    let run = ONE.run(Fault { kind: "named", errno: EINVAL, call, ..Fault::default() });
    assert_eq!(run.status.code(), Some(0), "{}", run.about());
    assert!(failed(&run).count() >= 3, "{}", run.about());
    let (code, said) = verify(&run.there().join(ONE.output));
    assert_eq!(code, Some(0), "{said}");
}

/// Neither way of renaming overwrites what somebody else put there while we recorded.
#[test]
fn a_name_that_somebody_took_meanwhile_stays_theirs() {
    let _turn = turn();
    for errno in [0, EINVAL] {
        let kind = if errno == 0 { "" } else { "named" };
        let fault = Fault { kind, errno, call: "renameat2", ..Fault::default() };
        let mut running = faulty::start(&FILE.args("12"), FILE.output, fault);
        running.until(|calls| calls.iter().any(|call| call.name == "writev"));
        let taken = running.there().join(FILE.output);
        fs::write(&taken, "precious").expect("a file");
        let run = running.end();
        assert_eq!(run.status.code(), Some(1), "{}", run.about());
        assert_eq!(fs::read(&taken).expect("it is still there"), b"precious");
        assert!(run.stderr.contains("a.mkv.part"), "{}", run.about());
        let part = fs::read(taken.with_extension("mkv.part")).expect("ours is beside it");
        assert!(Recording::open(&part).expect("it opens").demuxer().is_finished());
    }
}

/// Each write takes as long as three frames: what the lanes cannot hold is lost, and listed.
#[test]
fn a_disk_that_is_too_slow_costs_frames_that_are_listed() {
    let _turn = turn();
    let fault = Fault { kind: "slow", at: 4, wait_ms: 100, ..Fault::default() };
    let rigs = [ONE, TWO];
    let runs = side_by_side(&rigs, |rig| faulty::run(&rig.args("150"), rig.output, fault));
    for run in runs {
        let toml = fs::read_to_string(run.there().join("take/take.toml")).expect("take.toml");
        let take = Take::from_toml(&toml).expect("it reads");
        accounts(&take, &|| run.about());
        let lost: u64 = take.devices.iter().map(Device::lost).sum();
        assert!(lost > 0, "nothing is lost at ten writes a second: {toml}");
        assert_eq!(run.status.code(), Some(3), "{}", run.about());
        let (code, said) = verify(&run.there().join("take"));
        assert_eq!(code, Some(3), "{said}: {}", run.about());
    }
}

/// Memory of a recorder, in bytes at most, while each of its writes takes so long.
fn memory(wait_ms: u64) -> (u64, Run) {
    let kind = if wait_ms > 0 { "slow" } else { "" };
    let fault = Fault { kind, at: 8, wait_ms, ..Fault::default() };
    let loud: Vec<_> = TWO.args("100").into_iter().filter(|word| *word != "--quiet").collect();
    let mut running = faulty::start(&loud, TWO.output, fault);
    let status = format!("/proc/{}/status", running.child.id());
    let mut most = 0;
    while running.child.try_wait().expect("a child").is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    (most, running.end())
}

#[test]
fn a_disk_that_stands_still_fills_no_more_memory_than_was_told() {
    let _turn = turn();
    let ((healthy, _), (stalled, run)) = (memory(0), memory(250));
    let told = run.stderr.lines().find_map(|line| line.strip_prefix("buffers: "));
    let told: u64 = told.and_then(|told| told.split(' ').next()?.parse().ok()).expect("a number");
    let mb = |bytes: u64| bytes as f64 / 1e6;
    tell(&format!("buffers {told} MB, {:.0} MB at most, {:.0} healthy", mb(stalled), mb(healthy)));
    assert!(run.stderr.contains("too slow"), "{}", run.about());
    assert!(mb(stalled) <= told as f64 && stalled <= healthy + healthy / 10, "{}", run.about());
}

/// A disk that fails at any call of a repair: what is left has every frame, and whoever tries again
/// gets there. What a repair into a new file began goes, and the old file stays as it was.
#[test]
fn a_disk_that_fails_at_any_call_of_a_repair_makes_no_file_worse() {
    let (bytes, clusters) = small(5);
    let bytes = &bytes[..clusters[4] + 60];
    let before = frames(bytes);
    for how in [&["repair"][..], &["repair", "--in-place"]] {
        let repair =
            |fault| faulty::start_beside(how, "a.mkv.part", fault, &[("a.mkv.part", bytes)]).end();
        let healthy = repair(Fault::default());
        assert_eq!(healthy.status.code(), Some(3), "{}", healthy.about());
        // Images without a partner: the last cluster was cut.
        let (verified, _) = verify(&healthy.there().join("a.mkv"));
        let faults = at_each(healthy.calls.len() as u64, 1, &ALL);
        let faults: Vec<_> =
            faults.into_iter().filter(|f| f.at <= healthy.calls.len() as u64).collect();
        assert!(faults.len() > 40, "{}", healthy.about());
        let judged = tempfile::tempdir().expect("a folder");
        let (mut judging, mut abouts) = (Vec::new(), Vec::new());
        for run in side_by_side(&faults, |fault| repair(*fault)) {
            let hit = failed(&run).next();
            assert_eq!(
                run.status.code(),
                Some(if hit.is_some() { 1 } else { 3 }),
                "{}",
                run.about()
            );
            assert!(hit.is_none() || run.stderr.contains("error: "), "{}", run.about());
            let there = run.there();
            let (part, own) = (there.join("a.mkv.part"), there.join("a.mkv"));
            let left = if part.exists() { &part } else { &own };
            let left = fs::read(left).expect("it is there under one of its names");
            assert!(frames(&left) == before, "other frames: {}", run.about());
            if how.len() == 1 {
                assert!(left == bytes, "the old file stays as it was: {}", run.about());
            }
            let kept = judged.path().join(judging.len().to_string());
            fs::write(&kept, &left).expect("a file");
            judging.push(kept);
            abouts.push(run.about());
            let new = there.join("a.repaired.mkv");
            assert!(!new.with_added_extension("repairing").exists(), "{}", run.about());
            if how.len() == 2 {
                let left = if part.exists() { &part } else { &own };
                let again =
                    Command::new(env!("CARGO_BIN_EXE_genlock")).args(how).arg(left).output();
                let code = again.expect("the binary was built").status.code();
                assert!(matches!(code, Some(0 | 3)), "again: {code:?}: {}", run.about());
                // Half of a cluster's new head keeps its frames, and leaves it a checksum that is
                // neither the old one nor the new.
                let half = run.fault.kind == "torn";
                let (code, _) = verify(&own);
                assert!(code == verified || half && code == Some(1), "{code:?}: {}", run.about());
                assert!(frames(&fs::read(&own).expect("it is whole")) == before);
            }
            if new.exists() {
                let new = fs::read(new).expect("a file");
                assert!(frames(&new) == before, "other frames: {}", run.about());
            }
        }
        // It opens no file whose front points at an index that is not there.
        for (read, about) in official_reads(&judging).into_iter().flatten().zip(abouts) {
            let captures = read.map(|read| read["captures"].as_u64().unwrap_or(0));
            assert!(captures.as_ref().is_ok_and(|count| *count >= 4), "{captures:?}: {about}");
        }
    }
}

/// A power cut keeps what was made durable. While a take goes on that is done each second. At its
/// end, all is before the front says that it is there, and before a file gets its name; and then
/// the name is.
#[test]
fn what_was_written_is_made_durable_in_time_and_in_order() {
    let _turn = turn();
    let run = faulty::run(&ONE.args("100"), ONE.output, Fault::default());
    assert_eq!(run.status.code(), Some(0), "{}", run.about());
    let part = run.there().join("take/000000000001.mkv.part");
    let is_sync = |call: &&faulty::Call| matches!(&*call.name, "fdatasync" | "fsync");
    let place = |path: &Path, name: &str| {
        let found = run.calls.iter().position(|call| call.path == path && call.name == name);
        found.unwrap_or_else(|| panic!("no {name} of {}: {}", path.display(), run.about()))
    };
    // 100 triggers are 3.3 s.
    let front = place(&part, "pwrite64");
    let syncs = run.calls[..front].iter().filter(is_sync).filter(|call| call.path == part);
    assert!(syncs.count() >= 3, "two in mid-take, and one of the index: {}", run.about());
    assert!(is_sync(&&run.calls[front - 1]), "the index before the front: {}", run.about());
    for name in ["000000000001.mkv", "triggers.csv", "take.toml"] {
        let path = run.there().join("take").join(name);
        let named = place(&path, "renameat2");
        // A recording gives back in between what it does not need.
        let before = run.calls[..named].iter().rfind(|call| call.name != "ftruncate");
        let (before, after) = (before.expect("a call"), &run.calls[named + 1]);
        assert!(is_sync(&before) && before.path == path.with_added_extension("part"), "{name}");
        assert!(is_sync(&after) && path.parent() == Some(&after.path), "{name}: {}", run.about());
    }
    // And the names are, before there is anything under them.
    let first = place(&part, "writev");
    for path in [&run.there().join("take"), &part] {
        let of_folder = |call: &faulty::Call| is_sync(&call) && Some(&*call.path) == path.parent();
        let made = run.calls.iter().position(|call| call.path == *path).expect("it was made");
        assert!(run.calls[made..first].iter().any(of_folder), "{}", run.about());
    }
    let order = ["000000000001.mkv", "triggers.csv", "take.toml"];
    let places = order.map(|name| place(&run.there().join("take").join(name), "renameat2"));
    assert!(places.is_sorted(), "take.toml comes last: {places:?}");
}
