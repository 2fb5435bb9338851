//! What genlock says of itself: its help, its manual pages, what shells complete.

mod support;

use std::fs;
use std::process::Command;
use support::{genlock_exits, tool};

/// Commands in the order of their use; those of `rig` and `agent` behind them.
const COMMANDS: &[&str] = &[
    "list",
    "rig",
    "check",
    "record",
    "batch",
    "info",
    "verify",
    "repair",
    "convert",
    "export",
    "replay",
    "align",
    #[cfg(feature = "hosts")]
    "agent",
    #[cfg(feature = "hosts")]
    "gather",
    "completions",
    "man",
];

fn printed(args: &[&str]) -> String {
    String::from_utf8(genlock_exits(0, args).stdout).expect("text")
}

#[test]
fn help_names_the_commands_in_the_order_of_their_use() {
    let help = printed(&["help"]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names: Vec<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.split_last(), Some((&"help", COMMANDS)));
    let record = printed(&["help", "record"]);
    let headings = ["Options:", "Devices:", "Modes:", "Synchronization:", "Color controls:"];
    let at: Vec<_> = headings.iter().map(|heading| record.find(heading)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{record}");
}

#[test]
fn help_fits_on_a_page() {
    for command in COMMANDS {
        for line in printed(&["help", command]).lines() {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page_and_man_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("share/man1");
    let write = ["man", pages.to_str().expect("a plain path")];
    genlock_exits(0, &write);
    let of = |command| format!("genlock-{command}.1");
    let names = COMMANDS.iter().map(|name| of(*name));
    let below = if cfg!(feature = "hosts") { Some(of("agent-certs")) } else { None };
    let names = names.chain(below);
    let names: Vec<_> = names.chain([of("rig-init"), "genlock.1".to_owned()]).collect();
    for name in &names {
        let page = fs::read_to_string(pages.join(name)).expect(name);
        assert!(page.contains("\n.TH ") && page.contains("\n.SH SYNOPSIS"), "{name}: {page}");
        assert!(page.contains(" \"genlock ") && !page.contains("EXTRA"), "{name}: {page}");
    }
    assert_eq!(fs::read_dir(&pages).expect("a folder").count(), names.len());
    // Pages are made of the program, and can be made anew. What a link leads to stays.
    let (page, other) = (pages.join("genlock-list.1"), folder.path().join("other"));
    fs::write(&other, "theirs").expect("a file");
    fs::remove_file(&page).expect("a page");
    std::os::unix::fs::symlink(&other, &page).expect("a link");
    genlock_exits(0, &write);
    assert_eq!(fs::read_to_string(&other).expect("a file"), "theirs");
    assert!(fs::symlink_metadata(&page).expect("a page").is_file());
    let path = pages.join("genlock-record.1");
    if let Some(output) = tool("man", &["--warnings".as_ref(), "-l".as_ref(), path.as_ref()]) {
        let (text, told) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!((output.status.code(), told.as_str()), (Some(0), ""));
        assert!(String::from_utf8_lossy(&text).contains("record"), "it is shown");
    }
}

#[test]
fn shells_complete_commands_and_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("genlock.bash");
    fs::write(&script, printed(&["completions", "bash"])).expect("a file");
    let complete = "source \"$0\"; COMP_WORDS=(genlock \"$@\"); COMP_CWORD=$#; \
                    _genlock genlock \"${COMP_WORDS[COMP_CWORD]}\" x; echo \"${COMPREPLY[@]}\"";
    let completed = |words: &[&str]| {
        let bash = Command::new("bash").args(["-c", complete]).arg(&script).args(words).output();
        let output = bash.expect("bash is part of the machine");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(completed(&["ba"]), "batch");
    assert_eq!(completed(&["batch", "--dry"]), "--dry-run");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("genlock") && script.contains("dry-run"), "{shell}");
    }
    genlock_exits(2, &["completions", "dos"]);
}
