//! `genlock-guest`: runs a program of this machine in a virtual machine with a Linux USB stack.

use clap::Parser;
use genlock_guest::Guest;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Runs a program of this machine in a virtual machine with a Linux USB stack, and ends with its
/// exit code. The guest sees all files, read-only; /run is its own memory, and /mnt the shared
/// folder.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that the guest may write to, as /mnt
    #[arg(long, value_name = "FOLDER", default_value = "target/guest/share")]
    share: PathBuf,
    /// What the kernel lends to USB programs, in MB
    #[arg(long, value_name = "MB", default_value_t = 200)]
    usbfs_memory: u32,
    /// Let one USB transfer be longer than 512 KiB: Microsoft's library needs it
    #[arg(long)]
    long_transfers: bool,
    /// Load the kernel's driver for webcams, which takes color cameras
    #[arg(long)]
    uvcvideo: bool,
    /// How long the program may take, in seconds
    #[arg(long, value_name = "S", default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// The program, with its arguments
    #[arg(required = true, trailing_var_arg = true)]
    program: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<i32> {
    let guest = Guest {
        usbfs_memory_mb: arguments.usbfs_memory,
        long_transfers: arguments.long_transfers,
        uvcvideo: arguments.uvcvideo,
        limit: Duration::from_secs(arguments.limit),
        shown: true,
        ..Guest::new(Path::new("target"))
    };
    std::fs::create_dir_all(&arguments.share)?;
    let words: Vec<_> = arguments.program.iter().map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else {
        return Ok(0);
    };
    Ok(guest.run(Path::new(program), rest, &arguments.share)?.code)
}
