//! Sessions as a person meets them: takes made from a plan, killed, stopped and gone on with.

mod support;

use genlock_formats::session::{Session, Standing, Take};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use support::turn;

/// What makes an emulated take quick.
const QUICK: &str = "name = \"{subject}_{number:02}\"\nframes = 3\nemulated = 1\n\
                     set = [\"color_mode=720p\", \"depth_mode=NFOV_2X2BINNED\"]\n";

/// A take that does not end by itself while a test looks.
const LONG: &str = "[[take]]\nsubject = \"long\"\nlength = \"2m\"\n";

/// The same, of three frames.
const SHORT: &str = "[[take]]\nsubject = \"long\"\n";

/// A rig of a device that nobody has.
const ABSENT: &str = "[[device]]\nserial = \"000000000666\"\n";

/// A folder with a plan in it.
struct Study(tempfile::TempDir);

impl Study {
    /// A plan of quick takes, and what is written below.
    fn quick(below: &str) -> Self {
        Self::of(&format!("{QUICK}{below}"))
    }

    fn of(plan: &str) -> Self {
        let study = Self(tempfile::tempdir().expect("a folder"));
        study.plan(plan);
        fs::write(study.path("absent.toml"), ABSENT).expect("a rig file");
        study
    }

    fn plan(&self, text: &str) {
        fs::write(self.path("study.toml"), text).expect("a plan");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_genlock"));
        command.arg("batch").arg(self.path("study.toml")).args(more).stdin(Stdio::null());
        command
    }

    /// Runs the batch, which must exit with one of `codes`; gives what it printed and told.
    fn ends(&self, codes: &[i32], more: &[&str]) -> (String, String) {
        let output = self.command(more).output().expect("the binary was built with this test");
        let Output { status, stdout, stderr } = output;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(stdout), text(stderr));
        assert!(codes.contains(&status.code().unwrap_or(-1)), "{status}: {stdout}{stderr}");
        (stdout, stderr)
    }

    /// Starts the batch in a process group of its own.
    fn start(&self) -> Child {
        let mut command = self.command(&[]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().expect("the binary was built with this test")
    }

    fn session(&self) -> Session {
        let text = fs::read_to_string(self.path("study/session.toml")).expect("a session");
        Session::from_toml(&text).expect("it reads")
    }

    fn take(&self, name: &str) -> Take {
        let session = self.session();
        session.takes.into_iter().find(|take| take.name == name).expect(name)
    }

    /// Waits until a recording grows in the folder of a take.
    fn records(&self, take: &str) {
        let part = self.path(&format!("study/{take}/000000000001.mkv.part"));
        wait_for(|| fs::metadata(&part).is_ok_and(|data| data.len() > 0), take);
    }

    /// Names in the folder of the session, but for its own files.
    fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("study")).expect("a folder").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("session.")).collect();
        names.sort();
        names
    }

    /// Every file of the takes, with its bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folders = self.folders().into_iter().map(|name| self.path("study").join(name));
        let files = folders.flat_map(|folder| fs::read_dir(folder).expect("a folder").flatten());
        let bytes = |path: &Path| fs::read(path).expect("a file");
        files.map(|entry| entry.path()).map(|path| (path.clone(), bytes(&path))).collect()
    }
}

fn wait_for(mut there: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "a minute without {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_for(
        || {
            status = child.try_wait().expect("a child");
            status.is_some()
        },
        "an end",
    );
    status.expect("it ended")
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whole or, where the machine was busy, with losses.
const DONE: &[i32] = &[0, 3];

#[test]
fn a_session_of_twenty_takes_killed_with_all_its_processes_ends_complete() {
    let _turn = turn();
    let takes = |middle: &str| {
        let some = |subject, count| format!("[[take]]\nsubject = \"{subject}\"\ncount = {count}\n");
        format!("{QUICK}{}{middle}{}", some("a", 8), some("b", 11))
    };
    let study = Study::of(&takes(LONG));
    let mut child = study.start();
    study.records("long_01");
    kill_process_group(pid(&child), Signal::KILL).expect("it is there");
    ended(&mut child);
    let before = study.files();
    assert_eq!(study.take("long_01").standing, Standing::Recording);
    assert_eq!(study.folders().len(), 9, "{:?}", study.folders());

    // The plan may change what is not done.
    study.plan(&takes(SHORT));
    let (stdout, stderr) = study.ends(DONE, &[]);
    assert!(stderr.contains("take 9 of 20: long_01_retake1"), "{stderr}");
    assert!(!stderr.contains("take 8 of 20"), "what is done is not done again: {stderr}");
    let session = study.session();
    let names: Vec<_> = session.takes.iter().map(|take| take.name.as_str()).collect();
    let of = |subject, count| (1..=count).map(move |n| format!("{subject}_{n:02}"));
    let expected: Vec<_> = of("a", 8).chain(of("long", 1)).chain(of("b", 11)).collect();
    assert_eq!(names, expected);
    assert!(session.ended.is_some() && session.takes.iter().all(|t| t.standing.is_done()));
    for take in &session.takes {
        let folder = take.folder.as_ref().expect("a folder");
        let toml = study.path("study").join(folder).join("take.toml");
        assert!(toml.exists(), "{folder} was concluded");
        assert!(stdout.contains(folder.as_str()), "{stdout}");
        assert!(take.best().is_some_and(|tried| tried.triggers == 3 && tried.bytes > 0));
    }
    assert_eq!(study.folders().len(), 21, "{:?}", study.folders());
    // What was there is there, byte for byte, also what the killed take left.
    let after = study.files();
    assert_eq!(before.len(), 8 * 3 + 1);
    for (path, bytes) in &before {
        assert!(after.get(path) == Some(bytes), "{}", path.display());
    }
    let long = study.take("long_01");
    let tried: Vec<_> = long.tries.iter().map(|t| (t.folder.as_deref(), t.standing)).collect();
    assert_eq!(tried[0], (Some("long_01"), Standing::Interrupted));
    assert_eq!(tried[1], (Some("long_01_retake1"), long.standing));
    assert!(long.tries[0].reason.as_ref().is_some_and(|why| why.contains("genlock repair")));
}

#[test]
fn a_take_that_outlives_its_batch_is_waited_for_and_counts() {
    let _turn = turn();
    let middle = "[[take]]\nsubject = \"b\"\nframes = 45\n";
    let takes = format!("[[take]]\nsubject = \"a\"\n{middle}[[take]]\nsubject = \"c\"\n");
    let study = Study::quick(&takes);
    let mut child = study.start();
    study.records("b_01");
    kill_process(pid(&child), Signal::KILL).expect("it is there");
    ended(&mut child);
    study.ends(DONE, &[]);
    assert_eq!(study.folders(), ["a_01", "b_01", "c_01"]);
    let take = study.take("b_01");
    assert!(take.standing.is_done() && take.tries.len() == 1, "{take:?}");
    // Nobody was there to see its exit code.
    assert_eq!((take.tries[0].triggers, take.tries[0].exit_code), (45, None));
    assert!(study.session().takes.iter().all(|take| take.standing.is_done()));
}

#[test]
fn whoever_comes_second_waits() {
    let _turn = turn();
    let study = Study::quick("[[take]]\nsubject = \"a\"\n");
    fs::create_dir(study.path("study")).expect("a folder");
    let lock = File::create(study.path("study/session.lock")).expect("a file");
    lock.try_lock().expect("nobody has it");
    let mut command = study.command(&[]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("genlock");
    let mut told = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    told.read_line(&mut line).expect("text");
    assert!(line.starts_with("waiting: "), "{line}");
    assert_eq!(study.folders(), [""; 0]);
    drop(lock);
    while told.read_line(&mut line).expect("text") > 0 {}
    assert!(DONE.contains(&ended(&mut child).code().unwrap_or(-1)), "{line}");
    assert_eq!(study.folders(), ["a_01"]);
}

#[test]
fn a_signal_finishes_the_take_and_ends_the_session() {
    let _turn = turn();
    let takes = |first: &str| format!("{QUICK}{first}[[take]]\nsubject = \"next\"\n");
    // To the batch alone; and as Ctrl-C does, to all its processes at once.
    for group in [false, true] {
        let study = Study::of(&takes(LONG));
        let mut child = study.start();
        study.records("long_01");
        match group {
            false => kill_process(pid(&child), Signal::TERM),
            true => kill_process_group(pid(&child), Signal::INT),
        }
        .expect("it is there");
        assert_eq!(ended(&mut child).code(), Some(1));
        let take = study.take("long_01");
        assert_eq!(take.standing, Standing::Interrupted);
        let reason = take.tries[0].reason.as_deref().unwrap_or_default();
        assert!(reason.contains("stopped after"), "{reason}");
        assert!(study.path("study/long_01/take.toml").exists(), "the take was finished");
        assert_eq!(study.take("next_01").standing, Standing::Pending);
        // Nothing of the session is left running.
        File::open(study.path("study/session.lock")).expect("a file").try_lock().expect("free");
        study.plan(&takes(SHORT));
        study.ends(DONE, &[]);
        assert_eq!(study.folders(), ["long_01", "long_01_retake1", "next_01"]);
    }
}

#[test]
fn a_take_that_crashes_fails_alone() {
    let _turn = turn();
    let study = Study::quick(&format!("{LONG}[[take]]\nsubject = \"next\"\n"));
    let mut child = study.start();
    study.records("long_01");
    let batch = child.id();
    let children = fs::read_to_string(format!("/proc/{batch}/task/{batch}/children"));
    let recorder = children.expect("the kernel says").trim().parse().expect("one child");
    let recorder = Pid::from_raw(recorder).expect("a process");
    kill_process(recorder, Signal::KILL).expect("it is there");
    assert_eq!(ended(&mut child).code(), Some(1));
    let tried = &study.take("long_01").tries[0];
    let why = tried.reason.as_deref().unwrap_or_default();
    assert_eq!((tried.standing, tried.exit_code), (Standing::Failed, None));
    assert!(why.contains("signal 9: genlock repair"), "{why}");
    assert!(study.path("study/long_01/000000000001.mkv.part").exists(), "it is kept");
    assert!(study.take("next_01").standing.is_done());
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let _turn = turn();
    let hook = "after = \"echo $$ > pid.part; mv pid.part pid; exec sleep 1000\"\n\
                hook_limit = \"1h\"\n";
    let study = Study::of(&format!("{hook}{QUICK}{LONG}"));
    let mut child = study.start();
    study.records("long_01");
    let again = || kill_process(pid(&child), Signal::TERM).expect("it is there");
    again();
    let file = study.path("pid");
    wait_for(|| file.exists(), "the hook behind the take");
    let hook = fs::read_to_string(&file).expect("a file");
    let mut status = None;
    wait_for(
        || {
            std::thread::park_timeout(Duration::from_millis(100));
            status = child.try_wait().expect("a child");
            if status.is_none() {
                kill_process(pid(&child), Signal::TERM).expect("it is there");
            }
            status.is_some()
        },
        "an end",
    );
    assert_eq!(status.expect("it ended").signal(), Some(15));
    assert!(!Path::new("/proc").join(hook.trim()).exists(), "the hook has ended too");
    assert_eq!(study.take("long_01").standing, Standing::Interrupted);
}

#[test]
fn a_take_that_fails_is_done_again_and_the_session_goes_on() {
    let _turn = turn();
    let study = Study::quick(
        "[[take]]\nsubject = \"absent\"\nrig = \"absent.toml\"\nretakes = 2\n\
         [[take]]\nsubject = \"there\"\n",
    );
    let (stdout, stderr) = study.ends(&[1], &[]);
    let take = study.take("absent_01");
    assert_eq!((take.standing, take.folder.as_deref()), (Standing::Failed, None));
    assert_eq!(take.tries.len(), 3);
    for tried in &take.tries {
        assert!(matches!(tried.exit_code, Some(1 | 2)), "{tried:?}");
        assert_eq!((tried.standing, &tried.folder), (Standing::Failed, &None));
        assert!(tried.reason.is_some(), "{tried:?}");
    }
    assert!(study.take("there_01").standing.is_done());
    assert_eq!(study.folders(), ["there_01"], "nothing is left of what was not recorded");
    assert!(stderr.contains("absent_01: failed: "), "{stderr}");
    assert!(stdout.contains("2 takes: ") && stdout.contains("1 failed"), "{stdout}");

    // Run again, what failed is tried again, with what the plan has by then.
    study.plan(&format!("{QUICK}[[take]]\nsubject = \"absent\"\n[[take]]\nsubject = \"there\"\n"));
    study.ends(DONE, &[]);
    assert_eq!(study.take("absent_01").folder.as_deref(), Some("absent_01"));
    assert_eq!(study.take("absent_01").tries.len(), 4);
}

#[test]
fn a_take_with_losses_is_done_again_under_another_name() {
    let _turn = turn();
    let study = Study::quick(
        "[[take]]\nsubject = \"a\"\nframes = 20\nretakes = 1\n\
         set = [\"faults.hit_per_mille=300\"]\n",
    );
    let (stdout, _) = study.ends(&[3], &["--json"]);
    let json: Value = serde_json::from_str(&stdout).expect("JSON alone on standard output");
    assert_eq!(json["take"][0]["standing"], "losses");
    assert_eq!(study.folders(), ["a_01", "a_01_retake1"]);
    let take = study.take("a_01");
    assert!(take.tries.iter().all(|tried| tried.losses > 0 && tried.exit_code == Some(3)));
    let fewest = take.tries.iter().map(|tried| tried.losses).min();
    assert_eq!(take.best().map(|tried| tried.losses), fewest);
    assert!(take.tries.iter().all(|tried| tried.reason.is_some()), "{take:?}");
    // It is done: nothing more comes of running it again.
    study.ends(&[3], &[]);
    assert_eq!(study.folders().len(), 2);
}

#[test]
fn hooks_are_told_what_they_are_run_for() {
    let _turn = turn();
    let tell = "echo $GENLOCK_NAME $GENLOCK_SUBJECT $GENLOCK_NUMBER $GENLOCK_TRY \
                $GENLOCK_OUTCOME $GENLOCK_EXIT_CODE $(ls -d $GENLOCK_TAKE/take.toml) >> hooks.txt";
    let study = Study::of(&format!(
        "before_session = \"echo begin >> hooks.txt\"\n\
         after_session = \"echo end $GENLOCK_OUTCOME $GENLOCK_SESSION >> hooks.txt\"\n\
         before = \"test $GENLOCK_NUMBER != 2\"\nafter = '{tell}; exit 7'\n\
         {QUICK}[[take]]\nsubject = \"a\"\ncount = 2\n"
    ));
    let (_, stderr) = study.ends(&[1], &[]);
    let whole = study.take("a_01");
    let toml = study.path("study/a_01/take.toml");
    let code = if whole.standing == Standing::Whole { 0 } else { 3 };
    // Of the second nothing was recorded, so there is nothing behind it.
    let expected = format!(
        "begin\na_01 a 1 1 {} {code} {}\nend failed {}\n",
        whole.standing,
        toml.display(),
        study.path("study").display()
    );
    assert_eq!(fs::read_to_string(study.path("hooks.txt")).expect("a file"), expected);
    let warning = whole.tries[0].warning.as_deref().unwrap_or_default();
    assert!(warning.contains("the hook after ended with exit code 7"), "{warning}");
    assert!(stderr.contains("warning: the hook after ended"), "{stderr}");
    let refused = study.take("a_02");
    let why = refused.tries[0].reason.as_deref().unwrap_or_default();
    assert_eq!((refused.standing, refused.folder), (Standing::Failed, None));
    assert!(why.contains("the hook before ended with exit code 1: nothing was recorded"), "{why}");
    assert_eq!(study.folders(), ["a_01"]);
}

#[test]
fn hooks_have_a_limit_and_that_of_the_session_comes_first() {
    let _turn = turn();
    let study = Study::quick(
        "hook_limit = 0.2\nbefore = \"sleep 1000 & sleep 1000\"\n[[take]]\nsubject = \"a\"\n",
    );
    study.ends(&[1], &[]);
    let take = study.take("a_01");
    let why = take.tries[0].reason.as_deref().unwrap_or_default();
    assert!(why.contains("longer than 0.2 s (hook_limit)"), "{why}");
    let study = Study::quick("before_session = \"exit 4\"\n[[take]]\nsubject = \"a\"\n");
    let (_, stderr) = study.ends(&[1], &[]);
    assert!(stderr.contains("the hook before_session ended with exit code 4"), "{stderr}");
    assert_eq!(study.folders(), [""; 0]);
    assert!(study.session().ended.is_some());
}

#[test]
fn behind_what_recorded_nothing_there_is_no_hook_and_no_folder() {
    let _turn = turn();
    let after = "after = \"echo $GENLOCK_TAKE >> after.txt\"\n";
    // Nothing is recorded of a device that nobody has, nor into a folder that a hook has made.
    let study = Study::of(&format!(
        "{after}{QUICK}[[take]]\nsubject = \"absent\"\nrig = \"absent.toml\"\n\
         [[take]]\nsubject = \"made\"\nbefore = 'mkdir \"$GENLOCK_TAKE\"'\n"
    ));
    let (_, stderr) = study.ends(&[1], &["--quiet"]);
    assert!(!study.path("after.txt").exists());
    let made = study.take("made_01");
    assert_eq!((made.standing, made.folder.as_deref()), (Standing::Failed, None));
    assert_eq!(made.tries[0].folder, None);
    assert!(stderr.contains("made_01: failed: ") && stderr.contains("hook before"), "{stderr}");
}

#[test]
fn a_session_that_cannot_be_written_down_ends_in_order_and_goes_on() {
    let _turn = turn();
    let study = Study::quick("[[take]]\nsubject = \"a\"\n[[take]]\nsubject = \"b\"\n");
    let text = fs::read_to_string(study.path("study.toml")).expect("a plan");
    // As a full disk does, a folder of this name keeps the file from being written.
    let hooks = "before = \"mkdir -p study/session.toml.part\"\nafter = \"touch after\"\n\
                 after_session = \"echo $GENLOCK_OUTCOME > end\"\n";
    study.plan(&format!("{hooks}{text}"));
    let (stdout, stderr) = study.ends(&[1], &[]);
    assert!(stderr.contains("run the same command again"), "{stderr}");
    assert!(stdout.contains("2 takes: ") && stdout.contains("1 pending"), "{stdout}");
    assert_eq!(fs::read_to_string(study.path("end")).expect("a file"), "pending\n");
    assert!(study.path("after").exists());
    fs::remove_dir(study.path("study/session.toml.part")).expect("an empty folder");
    study.plan(&text);
    study.ends(DONE, &[]);
    assert_eq!(study.folders(), ["a_01", "b_01"]);
}

#[test]
fn a_session_stops_where_it_is_told_to() {
    let _turn = turn();
    let study = Study::quick(
        "on_fail = \"stop\"\n[[take]]\nsubject = \"absent\"\nrig = \"absent.toml\"\n\
         [[take]]\nsubject = \"there\"\n",
    );
    let (stdout, _) = study.ends(&[1], &[]);
    assert!(stdout.contains("1 failed, 1 pending"), "{stdout}");
    assert_eq!(study.take("there_01").tries.len(), 0);
    assert_eq!(study.folders(), [""; 0]);
}

#[test]
fn a_take_that_does_not_end_is_ended() {
    let _turn = turn();
    // It waits for a master that nobody has.
    let study = Study::quick(
        "[[take]]\nsubject = \"a\"\novertime = 3\n\
         set = [\"warm_up=\\\"10m\\\"\"]\n",
    );
    study.ends(&[1], &[]);
    let take = study.take("a_01");
    assert_eq!(take.standing, Standing::Failed);
    let why = take.tries[0].reason.as_deref().unwrap_or_default();
    assert!(why.contains("(overtime)"), "{why}");
}

#[test]
fn seconds_are_counted_and_heard() {
    let _turn = turn();
    let study = Study::quick(
        "countdown = 1\nsound = true\n[[take]]\nsubject = \"a\"\n\
         [[take]]\nsubject = \"b\"\nsound = \"touch heard\"\n",
    );
    let (_, stderr) = study.ends(DONE, &["--quiet"]);
    assert!(stderr.starts_with("1\n\u{7}1\n"), "{stderr:?}");
    assert!(study.path("heard").exists());
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let study = Study::quick("pause = \"10s\"\n[[take]]\nsubject = \"a\"\ncount = 3\n");
    let (stdout, _) = study.ends(&[0], &["--dry-run"]);
    for words in ["a_01", "a_03", "1 emulated", "pending", "3 takes", "30.3 s", "are free"] {
        assert!(stdout.contains(words), "{stdout} lacks {words}");
    }
    assert!(!study.path("study").exists());
    let (stdout, _) = study.ends(&[0], &["--dry-run", "--json"]);
    let json: Value = serde_json::from_str(&stdout).expect("JSON");
    let (takes, bytes) = (json["takes"].as_array().expect("a list"), &json["bytes"]);
    let sum: u64 = takes.iter().filter_map(|take| take["bytes"].as_u64()).sum();
    assert!(takes.len() == 3 && sum > 0 && bytes.as_u64() == Some(sum), "{json}");
    // A take of three frames needs room for five seconds more: `genlock record` asks for that.
    assert!(json["reserve_bytes"].as_u64() > Some(sum), "{json}");

    study.plan(&format!("{QUICK}[[take]]\nsubject = \"a\"\nlength = \"168h\"\ncount = 1000\n"));
    let (stdout, _) = study.ends(&[1], &["--dry-run"]);
    assert!(stdout.contains("free some space"), "{stdout}");
    assert!(!study.path("study").exists());
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused_with_their_line() {
    let refused = |plan: &str, words: &[&str]| {
        let study = Study::of(plan);
        let (stdout, stderr) = study.ends(&[2], &[]);
        for word in words {
            assert!(stderr.contains(word), "{plan}\n{stderr:?} lacks {word:?}");
        }
        assert!(stderr.starts_with("error: ") && stdout.is_empty(), "{stderr}");
        assert!(!study.path("study").exists(), "{plan}: leaves nothing behind");
    };
    let quick = |below: &str, words: &[&str]| refused(&format!("{QUICK}{below}"), words);
    refused("frames = \n", &["study.toml:1:10: "]);
    refused("frames = 3\n", &["study.toml: no [[take]]", "docs/batch.md"]);
    refused("[take]\nframes = 3\n", &["study.toml:1:1: ", "[[take]]"]);
    refused("take = [3]\n", &["study.toml:1:9: take = [3]: ", "[[take]]"]);
    refused("[[take]]\n", &["study.toml:1:1: [[take]]: ", "add length or frames"]);
    refused("frames = 3\nlength = 3\n[[take]]\n", &["study.toml:1:1: ", "length is there too"]);
    quick("[[take]]\ncont = 3\n", &["study.toml:6:1: cont = 3: ", "did you mean count?"]);
    quick("[[take]]\nfolder = \"x\"\n", &["study.toml:6:1: ", "put it at the top"]);
    quick("count = 3\n[[take]]\n", &["study.toml:5:1: ", "put it under its [[take]]"]);
    quick("[[take]]\nframes = \"many\"\n", &["study.toml:6:1: frames = \"many\": frames takes"]);
    quick("[[take]]\ncount = 0\n", &["count takes a whole number from 1"]);
    quick("[[take]]\ncount = 9999\n[[take]]\ncount = 9\n", &["more than 10000 takes"]);
    quick("[[take]]\nsubject = \"../a\"\n", &["study.toml:6:1: subject = \"../a\": ", "without /"]);
    quick("[[take]]\nsubject = \"..\"\n", &["study.toml:6:1: ", "begins with none of"]);
    quick("[[take]]\n", &["study.toml:5:1: ", "the take has none: add subject"]);
    quick("[[take]]\nsubject = 7\n", &["study.toml:6:1: ", "takes a text in quotes"]);
    quick("[[take]]\nname = \"{nr}\"\n", &["study.toml:6:1: ", "unknown part {nr}"]);
    quick("[[take]]\nname = \"../x\"\n", &["study.toml:5:1: ", "one folder"]);
    quick("[[take]]\nname = \"x\"\ncount = 2\n", &["study.toml:5:1: ", "put {number}"]);
    quick(
        "[[take]]\nsubject = \"a\"\n[[take]]\nsubject = \"b\"\nname = \"a_01\"\n",
        &["study.toml:7:1: ", "as one of ", "study.toml:5:1: put"],
    );
    quick("[[take]]\nset = [\"rate=31\"]\n", &["study.toml:6:1: ", "rate=31: takes 30, 15 or 5"]);
    quick("[[take]]\nset = [\"rat\"]\n", &["study.toml:6:1: ", "KEY=VALUE"]);
    quick("[[take]]\nset = [\"rat=30\"]\n", &["study.toml:6:1: ", "did you mean rate?"]);
    quick("[[take]]\nset = \"rate=30\"\n", &["study.toml:6:1: ", "list of texts"]);
    quick("[[take]]\nsubject = \"a\"\nset = [\"9.gain=3\"]\n", &["study.toml:5:1: ", "9.gain=3"]);
    quick("[[take]]\non_fail = \"halt\"\n", &["takes \"go on\" or \"stop\""]);
    quick("[[take]]\nemulated = 33\n", &["study.toml:6:1: ", "1 to 32"]);
    quick("[[take]]\nsubject = \"a\"\nrig = \"no.toml\"\n", &["study.toml:5:1: ", "no.toml"]);
    quick("[[take]]\nprofile = \"k4\"\n", &["study.toml:6:1: ", "\"k4a\" or \"compact\""]);
    quick("[[take]]\nsound = 3\n", &["study.toml:6:1: ", "bell"]);
    quick("[[take]]\nbefore = \" \"\n", &["study.toml:6:1: ", "a command"]);
    quick("[[take]]\npause = -1\n", &["study.toml:6:1: ", "a week"]);
    quick("[[take]]\nname = \"\"\n", &["study.toml:5:1: ", "cannot be empty"]);
    quick("[[take]]\novertime = 0\n", &["study.toml:6:1: ", "more than 0"]);
}

#[test]
fn what_is_there_is_nobodys_to_overwrite_or_to_contradict() {
    let _turn = turn();
    let one = "[[take]]\nsubject = \"a\"\n";
    let study = Study::quick(one);
    fs::create_dir_all(study.path("study/a_01")).expect("a folder");
    for more in [&[][..], &["--dry-run"]] {
        let (_, stderr) = study.ends(&[2], more);
        assert!(stderr.contains("a_01 is there already"), "{stderr}");
    }
    fs::remove_dir(study.path("study/a_01")).expect("an empty folder");
    study.ends(DONE, &[]);
    let before = study.files();
    study.plan(&format!("{QUICK}{one}frames = 4\n"));
    for more in [&[][..], &["--dry-run"]] {
        let (_, stderr) = study.ends(&[2], more);
        let words = ["study.toml:5:1: ", "a_01 is done", "--frames 3", "--frames 4", "change it"];
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    }
    // What the plan has no longer stays, and what is new is added.
    study.plan(&format!("{QUICK}[[take]]\nsubject = \"b\"\n"));
    let (stdout, _) = study.ends(DONE, &[]);
    assert!(stdout.contains("not in the plan") && stdout.contains("1 take: "), "{stdout}");
    assert_eq!(study.folders(), ["a_01", "b_01"]);
    assert!(before.iter().all(|(path, bytes)| study.files().get(path) == Some(bytes)));

    let toml = study.path("study/session.toml");
    let text = fs::read_to_string(&toml).expect("a session").replace("format = 1", "format = 2");
    fs::write(&toml, text).expect("a file");
    let (_, stderr) = study.ends(&[2], &[]);
    assert!(stderr.contains("newer") && stderr.contains("restore it from a copy"), "{stderr}");
    fs::write(&toml, "").expect("a file");
    let (_, stderr) = study.ends(&[2], &["--dry-run"]);
    assert!(stderr.contains("session.toml: line 1: ") && !stderr.contains('|'), "{stderr}");
    fs::remove_file(&toml).expect("a file");
    let (_, stderr) = study.ends(&[2], &[]);
    assert!(stderr.contains("session.toml is missing"), "{stderr}");
}

#[test]
fn a_take_that_is_done_and_gone_is_told_and_not_done_again() {
    let _turn = turn();
    let study = Study::quick("[[take]]\nsubject = \"a\"\ncount = 2\n");
    study.ends(DONE, &[]);
    fs::rename(study.path("study/a_02"), study.path("elsewhere")).expect("a folder");
    for more in [&["--dry-run"][..], &[], &["--quiet"]] {
        let (stdout, stderr) = study.ends(&[1], more);
        assert!(
            stderr.contains("warning: a_02 was recorded") && stdout.contains("gone"),
            "{stderr}"
        );
    }
    assert_eq!(study.folders(), ["a_01"]);
    fs::rename(study.path("elsewhere"), study.path("study/a_02")).expect("a folder");
    study.ends(DONE, &[]);
}

#[test]
fn a_dry_run_looks_whether_the_folder_can_be_made() {
    let study = Study::quick("[[take]]\nsubject = \"a\"\n");
    for (folder, word) in [("study.toml/x", "is no folder"), ("/proc/self", "cannot be written")] {
        study.plan(&format!("folder = {folder:?}\n{QUICK}[[take]]\nsubject = \"a\"\n"));
        let (_, stderr) = study.ends(&[1], &["--dry-run"]);
        assert!(stderr.contains(word) && stderr.contains("choose another folder"), "{stderr}");
    }
}
