//! `genlock completions` and `genlock man`: what the shell and the manual know of the command line,
//! made from the same text as its help.

use super::{Cli, Verdict, print, tell};
use crate::error::{Error, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::path::PathBuf;

/// Options of `genlock completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Options of `genlock man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go; those that are there already are replaced
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "genlock", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Verdict::Whole)
}

pub(super) fn man(args: &ManArgs) -> Result<Verdict> {
    let folder = &args.folder;
    let failed = |cause| Error::disk("cannot write pages to", folder, &cause);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    tell(&format!("man -l {} shows the first of them", folder.join("genlock.1").display()));
    Ok(Verdict::Whole)
}
