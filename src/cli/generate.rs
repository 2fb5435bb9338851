//! `genlock completions` and `genlock man`: what the shell and the manual know of the command line,
//! made from the same text as its help.

use super::{Cli, Verdict, print, tell};
use crate::error::{Error, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Options of `genlock completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Options of `genlock man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where the pages go; those that are there already are replaced, and links by pages
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
    fs::create_dir_all(folder).map_err(failed)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, folder).map_err(failed)?;
    tell(&format!("man -l {} shows the first of them", folder.join("genlock.1").display()));
    Ok(Verdict::Whole)
}

/// The page of a command, and those of the commands below it.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let page = page.source(concat!("genlock ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    let path = folder.join(page.get_filename());
    // A link is replaced itself: what it leads to is not ours to write.
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    file.write_all(text.as_bytes())
}
