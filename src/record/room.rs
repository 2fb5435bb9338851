//! Room on the disk of a take that runs: watched, so that the take ends before it is used up, and
//! held, so that what is written last has a place.

use crate::config::Output;
use crate::error::Error;
use crate::record::blocks::Blocks;
use crate::record::status::Status;
use crate::rig::disk::{self, ENDING, nameless};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// Rates are taken over this time. Color frames grow with what they show: the highest counts.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Room for `take.toml` beside its losses, and for each device in it: controls, firmware, clock.
const TAKE_BYTES: u64 = 64 << 10;
const DEVICE_BYTES: u64 = 16 << 10;

/// A row of `triggers.csv` has the trigger and a cell for each of up to three tracks of a device. A
/// cell is a time or a cause, of which the longest is "depth engine gave no image".
const ROW_BYTES: u64 = 12;
const CELLS_BYTES: u64 = 3 * 28;

/// A loss in `take.toml`: track, first and last trigger, cause.
const LOSS_BYTES: u64 = 128;

/// Room on the disk of a take. The recordings hold what their ends need themselves; this holds what
/// is written after them. Dropped, it gives what it holds to `triggers.csv` and `take.toml`.
pub(super) struct Room {
    folder: PathBuf,
    /// A file without a name whose blocks are held; none for a take that is a single file.
    held: Option<(File, Blocks)>,
    /// Bytes that were written, and when that was.
    last: Option<(u64, Duration)>,
    bytes_per_s: u64,
}

impl Room {
    /// The room of a take that goes to `output`.
    pub fn of(output: &Output) -> Self {
        let (folder, held) = match output {
            Output::Folder(folder) => (folder.clone(), nameless(folder, ".reserve").ok()),
            Output::File(file) => (file.clone(), None),
        };
        let held = held.map(|file| (file, Blocks::default()));
        Self { folder, held, last: None, bytes_per_s: 0 }
    }

    /// Holds what the take will need at its end. Gives the reason to end it now, when what is left
    /// beside that is just enough to end it cleanly.
    pub fn look(&mut self, status: &Status) -> Option<Error> {
        self.measure(status);
        if let Some((file, blocks)) = &mut self.held {
            // Where there is no room for it, there is none for more of the take either.
            let _ = blocks.reach(file, evidence_bytes(status));
        }
        let needed = self.bytes_per_s.saturating_mul(ENDING.as_secs());
        let free = disk::free_bytes(&self.folder).filter(|free| *free < needed)?;
        Some(Error::Disk(format!(
            "{} MB left on the disk of {}: the take was stopped so that its files could be \
             finished; free some space, or record to another disk",
            free / 1_000_000,
            self.folder.display()
        )))
    }

    fn measure(&mut self, status: &Status) {
        let bytes = status.devices.iter().map(|device| device.bytes).sum::<u64>();
        let &mut (before, since) = self.last.get_or_insert((bytes, status.elapsed));
        let elapsed = status.elapsed.saturating_sub(since);
        if elapsed >= RATE_OVER {
            let rate = bytes.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            self.bytes_per_s = self.bytes_per_s.max(rate as u64);
            self.last = Some((bytes, status.elapsed));
        }
    }
}

/// Bytes of `triggers.csv` and `take.toml` at most, if the take ended now. A trigger without any
/// frame is a loss.
fn evidence_bytes(status: &Status) -> u64 {
    let devices = status.devices.len() as u64;
    let losses: u64 = status.devices.iter().map(|device| device.losses).sum();
    let frames = status.devices.iter().map(|device| device.frames).max().unwrap_or(0);
    let rows = frames + losses;
    TAKE_BYTES
        + devices * DEVICE_BYTES
        + rows * (ROW_BYTES + devices * CELLS_BYTES)
        + losses * LOSS_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::status::DeviceStatus;
    use genlock_formats::k4a::Role;
    use genlock_formats::triggers::{Cell, Triggers};

    fn status(devices: usize, frames: u64, losses: u64) -> Status {
        let device = DeviceStatus {
            serial: "000000000001".to_owned(),
            frames,
            heard: 0,
            losses,
            bytes: 0,
            buffer_bytes: 0,
            waiting: None,
            given_up: false,
            stale: false,
            role: Role::Standalone,
            is_done: false,
        };
        let (devices, alarms) = (vec![device; devices], Vec::new());
        Status {
            elapsed: Duration::ZERO,
            devices,
            alarms,
            warming_up: false,
            begun: true,
            latest: 0,
        }
    }

    #[test]
    fn what_is_held_is_enough_for_the_longest_table() {
        let cell = Cell::Lost("depth engine gave no image".to_owned());
        for devices in [1, 8] {
            let table = Triggers {
                columns: (0..3 * devices).map(|n| format!("000000000001.color{n}")).collect(),
                first: 10_000_000_000,
                rows: vec![vec![cell.clone(); 3 * devices]; 10_000],
            };
            let held = evidence_bytes(&status(devices, 10_000, 0));
            assert!(table.to_csv().len() as u64 <= held, "{devices} devices");
        }
    }
}
