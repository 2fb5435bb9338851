//! Recorders that are killed at random moments: what is on disk opens, and little of it is lost.
//!
//! `GENLOCK_KILLS=2000` kills more often, and `GENLOCK_SEED=7` at other moments.

mod support;

use genlock_formats::k4a::{Recording, TrackName, track_number};
use genlock_formats::take::Take;
use genlock_formats::triggers::{Cell, Triggers};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use support::judges::official_reads;

/// Kills where nobody asks for more.
const KILLS: u64 = 208;

/// Kills until the files are judged and removed.
const ROUND: u64 = 52;

/// Recorders side by side. Each has devices of its own, and they share the machine.
const SIDE_BY_SIDE: usize = 4;

/// What a kill may cost: a second, and a cluster.
const LOST_MAX_S: f64 = 1.0 + 0.032;

/// What half of all kills may cost at most.
const LOST_MEDIAN_MAX_S: f64 = 0.3;

/// What is recorded.
struct Kind {
    name: &'static str,
    devices: u64,
    options: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind { name: "one device", devices: 1, options: "-c 720p -d NFOV_2X2BINNED" },
    Kind { name: "two devices", devices: 2, options: "-c 720p -d NFOV_2X2BINNED" },
    Kind { name: "5 fps", devices: 1, options: "-c 720p -d NFOV_2X2BINNED -r 5" },
    Kind { name: "no IMU", devices: 1, options: "-c 720p -d NFOV_2X2BINNED --imu off" },
    Kind { name: "depth only", devices: 1, options: "-c OFF -d NFOV_2X2BINNED" },
    Kind { name: "color only", devices: 1, options: "-c 720p -d OFF" },
    Kind {
        name: "compact",
        devices: 1,
        options: "-c 720p_NV12 -d NFOV_2X2BINNED --profile compact",
    },
];

impl Kind {
    /// Whether Microsoft's library knows what is in its files.
    fn is_official(&self) -> bool {
        !self.options.contains("compact")
    }

    /// One device goes into a file, several into a folder.
    fn output(&self, folder: &Path) -> PathBuf {
        folder.join(if self.devices == 1 { "take.mkv" } else { "take" })
    }

    /// Its files, as they are called while they grow.
    fn parts(&self, folder: &Path) -> Vec<PathBuf> {
        let output = self.output(folder);
        let of_take = |number| output.join(format!("{number:012}.mkv.part"));
        match self.devices {
            1 => vec![output.with_extension("mkv.part")],
            devices => (1..=devices).map(of_take).collect(),
        }
    }

    fn start(&self, output: &Path, more: &[&str]) -> Child {
        let devices = self.devices.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
        command.args(["record", "--quiet", "--emulated", &devices]).args(more);
        command.args(self.options.split(' ')).arg(output);
        command.stderr(Stdio::null()).spawn().expect("the binary was built with this test")
    }
}

/// A file as it was seen to grow: its lengths, and when each was there.
type Growth = Vec<(u64, Instant)>;

/// Watches files grow until `enough` of them, or their recorder has ended.
fn watch(child: &mut Child, files: &[PathBuf], enough: impl Fn(&[Growth]) -> bool) -> Vec<Growth> {
    let mut seen = vec![Growth::new(); files.len()];
    while !enough(&seen) {
        for (file, seen) in files.iter().zip(&mut seen) {
            let len = fs::metadata(file).map_or(0, |data| data.len());
            if len > seen.last().map_or(0, |(len, _)| *len) {
                seen.push((len, Instant::now()));
            }
        }
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    seen
}

/// Device times of the frames in a file, in seconds: of each image track the last, and of each
/// cluster its end in the file and the first of an image.
struct Times {
    last_s: BTreeMap<u64, f64>,
    clusters: Vec<(u64, f64)>,
}

fn times(bytes: &[u8]) -> Times {
    let recording = Recording::open(bytes).expect("it opens");
    let configuration = recording.configuration();
    let imu = track_number(configuration, TrackName::Imu);
    let offset_ns = configuration.start_offset_ns as i64;
    let mut times = Times { last_s: BTreeMap::new(), clusters: Vec::new() };
    for cluster in recording.demuxer().clusters() {
        let Ok(cluster) = cluster else { continue };
        let mut first_s = None;
        for block in cluster.blocks().flatten().filter(|block| Some(block.track) != imu) {
            let at_s = (offset_ns + block.time_ns) as f64 / 1e9;
            first_s.get_or_insert(at_s);
            times.last_s.insert(block.track, at_s);
        }
        times.clusters.extend(first_s.map(|at_s| (cluster.end(), at_s)));
    }
    times
}

/// Whether each image track of a file has an image.
fn has_images(file: &Path) -> bool {
    let bytes = fs::read(file).expect("a file");
    let imu = |name: &TrackName| *name == TrackName::Imu;
    let tracks = Recording::open(&bytes).expect("it opens").tracks().filter(|n| !imu(n)).count();
    times(&bytes).last_s.len() == tracks
}

/// When device time 0 was, had every frame been seen in the file at once: the earliest moment that
/// any cluster gives. One that was late to be written does not move it.
fn zero_seen(clusters: &[(u64, f64)], growth: &Growth, since: Instant) -> f64 {
    let seen = |end: u64| growth.iter().find(|(len, _)| *len >= end);
    let zero = |(end, at_s): &(u64, f64)| {
        seen(*end).map(|(_, seen)| seen.duration_since(since).as_secs_f64() - at_s)
    };
    clusters.iter().filter_map(zero).fold(f64::INFINITY, f64::min)
}

/// How long a frame that has arrived takes to be seen in the file, at least: from a take that is
/// let end, whose `triggers.csv` says when its frames arrived.
fn delay_s(kind: &Kind) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (take, since, utc) = (folder.path().join("take"), Instant::now(), SystemTime::now());
    let mut child = kind.start(&take, &["-l", "2s"]);
    let file = |number| take.join(format!("{number:012}.mkv.part"));
    let parts: Vec<_> = (1..=kind.devices).map(file).collect();
    let growths = watch(&mut child, &parts, |_| false);
    let code = child.wait().expect("it ended").code();
    assert!(code == Some(0) || code == Some(3), "{}: {code:?}", kind.name);
    let text = |name| fs::read_to_string(take.join(name)).expect(name);
    let toml = Take::from_toml(&text("take.toml")).expect("it reads");
    let zero: jiff::Timestamp = toml.host.expect("a host").utc_at_zero.parse().expect("a time");
    let since_zero = jiff::Timestamp::try_from(utc).expect("a time").duration_since(zero);
    let triggers = Triggers::from_csv(&text("triggers.csv")).expect("it reads");
    let mut delay_s: f64 = 0.0;
    for (part, growth) in parts.iter().zip(&growths) {
        let mut times = times(&fs::read(part.with_extension("")).expect("a recording"));
        // The last frames wait for no later ones.
        let last_s = times.last_s.values().fold(0.0, |a: f64, b| a.max(*b));
        times.clusters.retain(|(_, at_s)| *at_s < last_s - 0.4);
        let name = part.file_name().expect("a name").to_string_lossy();
        let track = if toml.devices[0].color_mode == "OFF" { "depth" } else { "color" };
        let column = |what| triggers.column(&name.replace("mkv.part", what)).expect("a column");
        let zeros = column("host").zip(column(track)).filter_map(|cells| match cells {
            (Cell::At(host_us), Cell::At(us)) => Some(*host_us as f64 / 1e6 - *us as f64 / 1e6),
            _ => None,
        });
        let zero_arrived = zeros.fold(f64::INFINITY, f64::min) - since_zero.as_secs_f64();
        delay_s = delay_s.max(zero_seen(&times.clusters, growth, since) - zero_arrived);
    }
    assert!((0.0..1.0).contains(&delay_s), "{}: {delay_s} s", kind.name);
    delay_s
}

/// Says of which kill it was that an assertion failed: the same seed kills at the same moment.
struct Told(u64, u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, number) = self;
            let _ = writeln!(std::io::stderr(), "kill {number} of GENLOCK_SEED={seed}");
        }
    }
}

/// One kill, and what was seen before it.
struct Killed {
    seed: u64,
    number: u64,
    kind: &'static Kind,
    folder: tempfile::TempDir,
    since: Instant,
    killed: Instant,
    growths: Vec<Growth>,
}

/// Numbers in 0 to 1, the same for the same seed (splitmix64).
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Records, and kills at a moment that the seed and the number give.
fn kill(seed: u64, number: u64) -> Killed {
    let _told = Told(seed, number);
    let mut state = seed << 32 | number;
    let kind = &KINDS[number as usize % KINDS.len()];
    let folder = tempfile::tempdir().expect("a folder");
    let since = Instant::now();
    let mut child = kind.start(&kind.output(folder.path()), &[]);
    // One in eight dies while it begins; the others after their first bytes.
    let begins = random(&mut state) < 0.125;
    let wait = Duration::from_secs_f64(random(&mut state) * if begins { 0.8 } else { 2.2 });
    let enough = |seen: &[Growth]| match (begins, seen[0].first()) {
        (true, _) => since.elapsed() >= wait,
        (false, Some((_, first))) => first.elapsed() >= wait,
        (false, None) => false,
    };
    let growths = watch(&mut child, &kind.parts(folder.path()), enough);
    child.kill().expect("it runs");
    // Not before: what it still wrote meanwhile would pass for less lost.
    let killed = Instant::now();
    let status = child.wait().expect("it was killed");
    assert_eq!(status.code(), None, "it ended by itself: {status}");
    Killed { seed, number, kind, folder, since, killed, growths }
}

/// Does `work` for each number, a few side by side, and gives what came of it in any order.
fn side_by_side<T: Send>(numbers: std::ops::Range<u64>, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicU64::new(numbers.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if !numbers.contains(&number) {
                        break;
                    }
                    let one = work(number);
                    done.lock().expect("nobody panics with it").push(one);
                }
            });
        }
    });
    done.into_inner().expect("nobody panics with it")
}

/// Runs genlock; recordings of others may run meanwhile.
fn genlock(args: &[&str], path: &Path) -> (Option<i32>, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
    let output = command.args(args).arg(path).output().expect("it was built with this test");
    (output.status.code(), output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

impl Killed {
    /// Its files that hold anything, and their places.
    fn written(&self) -> Vec<(usize, PathBuf)> {
        let parts = self.kind.parts(self.folder.path()).into_iter().enumerate();
        parts.filter(|(_, part)| fs::metadata(part).is_ok_and(|data| data.len() > 0)).collect()
    }

    /// Seconds that each of its files lacks: from when the last frame in it arrived, of the image
    /// track that ends first, to the kill. A frame that had not arrived yet counts too.
    fn lost_s(&self, delay_s: f64) -> Vec<f64> {
        let lost_s = |(place, part): (usize, PathBuf)| {
            let times = times(&fs::read(part).expect("a file"));
            let last_s = times.last_s.values().fold(f64::INFINITY, |a, b| a.min(*b));
            let zero_s = zero_seen(&times.clusters, &self.growths[place], self.since) - delay_s;
            // Bytes that came in the last millisecond were not seen.
            let seen = zero_s.is_finite();
            seen.then(|| (self.killed - self.since).as_secs_f64() - zero_s - last_s)
        };
        self.written().into_iter().filter_map(lost_s).collect()
    }

    /// Nothing but its files is there, none has the name of a whole one, and every cluster but the
    /// last is sound. Gives the number of files whose last one is cut.
    fn holds_what_was_promised(&self) -> usize {
        let mut cut = 0;
        let _told = Told(self.seed, self.number);
        let output = self.kind.output(self.folder.path());
        let within = if self.kind.devices == 1 { self.folder.path() } else { &output };
        let parts = self.kind.parts(self.folder.path());
        for entry in fs::read_dir(within).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            assert!(parts.contains(&path), "{}", path.display());
        }
        for (_, part) in self.written() {
            let bytes = fs::read(&part).expect("a file");
            let recording = Recording::open(&bytes).expect("our reader opens it");
            let clusters: Vec<_> = recording.demuxer().clusters().collect();
            let (last, whole) = clusters.split_last().expect("a file has a cluster");
            assert!(whole.iter().flatten().all(|cluster| cluster.is_complete()));
            assert!(whole.iter().all(Result::is_ok) && last.is_ok());
            cut += last.iter().filter(|cluster| !cluster.is_complete()).count();
            let (code, output) = genlock(&["verify"], &part);
            assert!(code == Some(1) && said(&output).contains("unfinished"), "{}", said(&output));
        }
        cut
    }

    /// Repair finishes it, in the place where it lies, and verify then holds nothing against it but
    /// what the kill did.
    fn can_be_repaired(&self) {
        let _told = Told(self.seed, self.number);
        let output = self.kind.output(self.folder.path());
        let written = self.written().len();
        if written == 0 {
            // There is nothing to repair, and nothing is made of it.
            let path = self.kind.parts(self.folder.path()).remove(0);
            let path = if self.kind.devices == 1 { path } else { output.clone() };
            let (code, told) = genlock(&["repair", "--in-place"], &path);
            assert!(code == Some(1) && !said(&told).is_empty(), "{code:?}: {}", said(&told));
            assert!(!output.join("take.toml").exists() && !output.is_file());
        } else if self.kind.devices == 1 {
            let part = self.kind.parts(self.folder.path()).remove(0);
            let (code, told) = genlock(&["repair", "--in-place"], &part);
            assert!(code == Some(0) || code == Some(3), "{code:?}: {}", said(&told));
            assert!(!part.exists());
            let images = has_images(&output);
            let (code, told) = genlock(&["verify"], &output);
            // A kill between the first samples and the first image leaves a track without any, and
            // a busy machine a gap that was there before the kill.
            let fine = code == Some(3) || images && code == Some(0);
            assert!(fine, "{code:?}: {}", said(&told));
        } else {
            let (code, told) = genlock(&["repair", "--in-place"], &output);
            assert!(code == Some(0) || code == Some(3), "{code:?}: {}", said(&told));
            let (code, told) = genlock(&["verify", "--json"], &output);
            let verdict: Value = serde_json::from_slice(&told.stdout).expect("JSON");
            let problems = verdict[0]["problems"].as_array().expect("problems");
            let about_the_kill = |problem: &Value| {
                let problem = problem.as_str().unwrap_or_default();
                let empty = written < 2 && problem.contains(".mkv.part");
                problem.contains("did not come to finish") || empty
            };
            assert!(code == Some(1) && problems.iter().all(about_the_kill), "{verdict}");
        }
    }
}

fn number_of(variable: &str, usual: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Half of all values are at most this one.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[test]
fn a_kill_at_any_moment_costs_less_than_a_second_and_leaves_files_that_open() {
    let (kills, seed) = (number_of("GENLOCK_KILLS", KILLS), number_of("GENLOCK_SEED", 1));
    let begun = Instant::now();
    let delays: Vec<_> = KINDS.iter().map(delay_s).collect();
    let (mut lost, mut unreadable, mut empty, mut cut) = (Vec::new(), Vec::new(), 0, 0);
    for round in (0..kills).step_by(ROUND as usize) {
        let killed = side_by_side(round..kills.min(round + ROUND), |number| kill(seed, number));
        let mut files = Vec::new();
        for one in &killed {
            cut += one.holds_what_was_promised();
            let delay_s = delays[one.number as usize % KINDS.len()];
            lost.extend(one.lost_s(delay_s).into_iter().map(|lost_s| (lost_s, one.number)));
            let written = one.written();
            empty += u64::from(written.is_empty());
            if one.kind.is_official() {
                files.extend(written.into_iter().map(|(_, part)| (one.number, part)));
            }
        }
        let paths: Vec<_> = files.iter().map(|(_, part)| part).collect();
        for (place, read) in official_reads(&paths).into_iter().flatten().enumerate() {
            let (number, part) = &files[place];
            let none = |read: &Value| read["captures"] == 0 && has_images(part);
            if let Some(why) = read.map_or_else(Some, |r| none(&r).then(|| "nothing".to_owned())) {
                unreadable.push(format!("kill {number}: {}: {why}", part.display()));
            }
        }
        side_by_side(0..killed.len() as u64, |place| killed[place as usize].can_be_repaired());
    }
    lost.sort_by(|a, b| a.0.total_cmp(&b.0));
    let seconds: Vec<_> = lost.iter().map(|(lost_s, _)| *lost_s).collect();
    let (most, of_kill) = lost.last().copied().unwrap_or_default();
    let delays: Vec<_> = delays.iter().map(|delay_s| format!("{delay_s:.3}")).collect();
    let figures = format!(
        "{kills} kills of seed {seed} in {:.0} s, {empty} before the first byte; {} files, {cut} \
         with a cut cluster: lost {:.3} s in the median, {most:.3} s at most (kill {of_kill}); {} \
         unreadable by Microsoft's library; frames are in the file after {} s",
        begun.elapsed().as_secs_f64(),
        lost.len(),
        median(&seconds),
        unreadable.len(),
        delays.join(", ")
    );
    // Not by a macro: the harness would swallow it.
    let _ = writeln!(std::io::stderr(), "{figures}");
    assert_eq!(unreadable, [""; 0], "{figures}");
    assert!(lost.len() as u64 >= kills * 3 / 4, "most kills find a file: {figures}");
    assert!(most <= LOST_MAX_S && median(&seconds) < LOST_MEDIAN_MAX_S, "{figures}");
}
