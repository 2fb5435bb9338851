//! The `genlock` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    genlock::cli::main()
}
