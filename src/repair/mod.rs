//! Finishes what a crash left open, and rescues files of other recorders. What was never written
//! stays lost; what is kept is kept byte for byte.

mod file;
mod grow;
mod report;
mod take;

pub use file::{header, into_new_file, lay_out_anew, refuse_growing, refuse_taken, where_it_lies};
pub use grow::{Append, grow, publish};
pub use report::{LISTED_MAX, LostPart, Report, Tally};
pub use take::{CONVERTING, TakeReport, UNFINISHED, is_converting, take};

use std::path::{Path, PathBuf};

/// The name for what comes of repairing `path`, beside it.
#[must_use]
pub fn default_output(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".part").unwrap_or(&name);
    let repaired = match name.strip_suffix(".mkv") {
        Some(stem) => format!("{stem}.repaired.mkv"),
        None => format!("{name}.repaired"),
    };
    path.with_file_name(repaired)
}

/// The name that an unfinished file gets when it is whole; none for one that has its name.
fn own_name(path: &Path) -> Option<PathBuf> {
    let is_part = path.extension().is_some_and(|extension| extension == "part");
    is_part.then(|| path.with_extension(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repaired_gets_a_name_beside_it() {
        let name = |path: &str| default_output(Path::new(path)).display().to_string();
        assert_eq!(name("a/b.mkv"), "a/b.repaired.mkv");
        assert_eq!(name("b.mkv.part"), "b.repaired.mkv");
        assert_eq!(name("takes/0001/"), "takes/0001.repaired");
        assert_eq!(own_name(Path::new("a/b.mkv.part")), Some("a/b.mkv".into()));
        assert_eq!(own_name(Path::new("a/b.mkv")), None);
    }
}
