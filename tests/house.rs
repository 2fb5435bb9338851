//! The rules of the house, held by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `src` by floor, lowest first: a module imports from its own floor or a lower one.
const FLOORS: [&[&str]; 7] = [
    &["error", "clock", "pool", "lane", "stage", "map", "deal"],
    &["frame", "config", "geometry"],
    &["usb", "sync"],
    &["device"],
    &["rig"],
    &["record", "align", "repair", "convert", "replay", "export", "batch", "hosts"],
    &["cli", "main"],
];

/// The files that may hold `unsafe`: the memory map, asynchronous USB transfers, the depth engine's
/// interface on both sides, the question about the host's clock, the allocators that count, and a
/// bench of write-back.
const UNSAFE: [&str; 11] = [
    "src/map.rs",
    "src/usb/transfer.rs",
    "src/rig/discipline.rs",
    "src/device/engine.rs",
    "tools/depth-engine/src/lib.rs",
    "tools/depth-engine/tests/table.rs",
    "tools/emulator/src/engine.rs",
    "tools/emulator/src/plugin.rs",
    "tools/fuzz/src/measure.rs",
    "benches/counting/mod.rs",
    "benches/disk.rs",
];

const FILE_LINES_MAX: usize = 800;
const LINE_COLUMNS_MAX: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository, with its path from the root and its text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "formats", "tools", "tests", "benches"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("it is under the root");
                let text = fs::read_to_string(&path).expect("a text file");
                found.push((name.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(found.len() > 50, "the whole repository is looked at");
    found
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn a_module_imports_from_its_own_floor_or_a_lower_one() {
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/")) {
        let module = path["src/".len()..].split(['/', '.']).next().unwrap_or_default();
        if module == "lib" {
            continue;
        }
        let own = floor(module).unwrap_or_else(|| panic!("{path}: on no floor"));
        for (number, line) in text.lines().enumerate() {
            let Some((_, rest)) = line.split_once("crate::") else { continue };
            let imported: String =
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if let Some(other) = floor(&imported) {
                assert!(other <= own, "{path}:{}: {module} imports {imported}", number + 1);
            }
        }
    }
}

#[test]
fn crates_depend_on_each_other_one_way() {
    let uses = |folder: &str, name: &str| {
        let of_folder = |path: &str| path.starts_with(folder);
        sources().iter().any(|(path, text)| of_folder(path) && text.contains(name))
    };
    assert!(!uses("formats/", "genlock_emulator"));
    assert!(!uses("formats/src", "genlock::") && !uses("tools/emulator/", "genlock::"));
    assert!(uses("tools/", "genlock_formats") && uses("src/", "genlock_emulator"));
}

#[test]
fn unsafe_stays_behind_its_fences() {
    for (path, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let here = code.filter(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        });
        let fenced = UNSAFE.contains(&path.as_str()) || path == "tests/house.rs";
        assert!(fenced || here.count() == 0, "{path}: unsafe outside of the fences");
    }
    let formats = fs::read_to_string(root().join("formats/src/lib.rs")).expect("a source");
    assert!(formats.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn files_and_lines_keep_their_size() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path}: {lines} lines");
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= LINE_COLUMNS_MAX, "{path}:{}: {columns} columns", number + 1);
        }
    }
}

#[test]
fn nothing_is_left_half_done() {
    // Spelled in halves, so that this file does not hold them.
    let marks =
        [["todo", "!("], ["unimplemented", "!("], ["dbg", "!("], ["#[ig", "nore"], ["FIX", "ME"]]
            .map(|halves| halves.concat());
    let sleep = ["thread::", "sleep"].concat();
    let in_guest = ["#[ig", "nore = \"runs in the guest\"]"].concat();
    for (path, text) in sources() {
        // Those of a guest are run in it, by a test that is not ignored.
        let text = text.replace(&in_guest, "");
        for mark in &marks {
            assert!(!text.contains(mark), "{path}: {mark}");
        }
        let speaks = ["print", "ln!("].concat();
        let speaks = path.starts_with("src/") && text.contains(&speaks);
        assert!(!speaks, "{path}: panics where nobody listens: see src/cli/out.rs");
        let is_test = path.contains("tests/");
        assert!(!is_test || !text.contains(&sleep), "{path}: sleeping is no synchronization");
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let why = fs::read_to_string(root().join("docs/why.md")).expect("docs/why.md");
    let mut names = BTreeSet::new();
    let tools = fs::read_dir(root().join("tools")).expect("a folder");
    let tools = tools.map(|entry| entry.expect("an entry").path().join("Cargo.toml"));
    let crates = ["Cargo.toml", "formats/Cargo.toml"].map(|manifest| root().join(manifest));
    for manifest in tools.chain(crates).filter(|manifest| manifest.exists()) {
        let text = fs::read_to_string(manifest).expect("a manifest");
        let manifest: toml::Table = text.parse().expect("TOML");
        let root = [Some(&manifest), manifest.get("workspace").and_then(toml::Value::as_table)];
        for table in root.into_iter().flatten() {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let listed = table.get(kind).and_then(toml::Value::as_table);
                names.extend(listed.into_iter().flat_map(|listed| listed.keys().cloned()));
            }
        }
    }
    assert!(names.len() > 15, "{names:?}");
    let ours = |name: &str| name.starts_with("genlock") || name == "kinect-emulator";
    for name in names.iter().filter(|name| !ours(name) && !name.is_empty()) {
        assert!(why.contains(&format!("`{name}`")), "docs/why.md does not name {name}");
    }
}
