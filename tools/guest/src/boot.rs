//! Starts the guest, runs a program in it, and waits for its end.

use crate::image::Image;
use crate::kernel::output;
use crate::{Guest, failed};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";

/// What the guest prints when its kernel is up. Some boots in a hundred hang before it.
const UP: &str = "guest: up";
const UP_WITHIN: Duration = Duration::from_secs(60);
const BOOTS: u32 = 3;

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it and the guest printed.
    pub output: String,
}

/// That there is a QEMU.
pub fn version() -> io::Result<String> {
    let said = output(QEMU, &["--version"], Path::new("/"));
    said.map_err(|cause| failed(format!("{cause}; install the package qemu-system-x86")))
}

/// See [`Guest::run`].
pub fn run(
    guest: &Guest,
    image: &Image,
    program: &Path,
    arguments: &[&str],
    share: &Path,
) -> io::Result<Outcome> {
    version()?;
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let program = program.to_string_lossy();
    let words = [&*program].into_iter().chain(arguments.iter().copied());
    let line: Vec<_> = words.map(quoted).collect();
    fs::write(share.join("job"), format!("exec {}\n", line.join(" ")))?;
    for _ in 1..BOOTS {
        if let Some(outcome) = Boot::start(guest, image, share)?.watch(guest)? {
            return Ok(outcome);
        }
    }
    let outcome = Boot::start(guest, image, share)?.watch(guest)?;
    outcome.ok_or_else(|| failed(format!("the guest did not come up, {BOOTS} times")))
}

struct Boot {
    qemu: Child,
    lines: Receiver<String>,
}

impl Boot {
    fn start(guest: &Guest, image: &Image, share: &Path) -> io::Result<Self> {
        let folder = |path: &Path, tag: &str, more: &str| {
            let path = path.to_string_lossy().replace(',', ",,");
            format!("local,path={path},mount_tag={tag},security_model=none,{more}")
        };
        let room_mb = guest.memory_mb / 2;
        let flag = u8::from;
        let line = format!(
            "console=ttyS0 quiet panic=-1 no_timer_check guest.usbfs_memory_mb={} \
             guest.long_transfers={} guest.uvcvideo={} guest.room_mb={room_mb}",
            guest.usbfs_memory_mb,
            flag(guest.long_transfers),
            flag(guest.uvcvideo)
        );
        let mut command = Command::new(QEMU);
        // Translated code has no fast string instructions: the kernel must not prefer them.
        command.args(["-M", "pc", "-accel", "tcg", "-cpu", "max,-erms,-fsrm", "-smp", "1"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        command.args(["-m", &guest.memory_mb.to_string(), "-append", &line]);
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.files);
        let root = folder(Path::new("/"), "host", "readonly=on,multidevs=remap");
        command.args(["-virtfs", &root, "-virtfs", &folder(share, "share", "multidevs=remap")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut qemu =
            command.spawn().map_err(|cause| failed(format!("cannot run {QEMU}: {cause}")))?;
        let (to_us, lines) = channel();
        if let Some(console) = qemu.stdout.take() {
            let read = move || {
                let mut console = BufReader::new(console);
                let mut line = Vec::new();
                while console.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    line.clear();
                    if to_us.send(text).is_err() {
                        return;
                    }
                }
            };
            std::thread::spawn(read);
        }
        Ok(Self { qemu, lines })
    }

    /// Waits for its end; none where it did not come up.
    fn watch(mut self, guest: &Guest) -> io::Result<Option<Outcome>> {
        let mut begun = Instant::now();
        let mut output = String::new();
        let mut is_up = false;
        loop {
            let limit = if is_up { guest.limit } else { UP_WITHIN };
            match self.lines.recv_timeout(limit.saturating_sub(begun.elapsed())) {
                Ok(line) => {
                    if !is_up && line.contains(UP) {
                        (is_up, begun) = (true, Instant::now());
                    }
                    if guest.shown {
                        eprintln!("{line}");
                    }
                    output += &line;
                    output.push('\n');
                }
                Err(RecvTimeoutError::Timeout) if is_up => {
                    let seconds = guest.limit.as_secs();
                    let what = format!("the guest took longer than {seconds} s:\n{output}");
                    return Err(failed(what));
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let code = self.qemu.wait()?.code();
        match code {
            Some(code) if code & 1 == 1 && is_up => Ok(Some(Outcome { code: code >> 1, output })),
            _ if !is_up => {
                let mut said = String::new();
                if let Some(mut stderr) = self.qemu.stderr.take() {
                    stderr.read_to_string(&mut said)?;
                }
                // What QEMU itself refuses, it will refuse again.
                if said.is_empty() { Ok(None) } else { Err(failed(format!("{QEMU}: {said}"))) }
            }
            _ => Err(failed(format!("the guest died ({code:?}):\n{output}"))),
        }
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // It is gone already where all went well.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
