//! What a take leaves behind to be checked: a row for each trigger, and a verdict for each device.

use crate::frame::TrackName;
use crate::record::cameras::Cameras;
use crate::record::output::file_stem;
use crate::record::take::{Recorded, delay_us};
use crate::sync::{Master, Series, Standing, judge};
use genlock_formats::k4a::Role;
use genlock_formats::triggers::{Cell, Triggers};

/// What a cell says of a frame that is in the file, and whose note found its lane full.
pub const UNNOTED: &str = "in the file; time not noted";

/// What a cell says of the arrival of a trigger that nothing arrived for.
const NOTHING: &str = "nothing arrived";

/// The rows of `triggers.csv`: every trigger of every image track of every device that has a file,
/// and when the first of a device's frames arrived.
#[must_use]
pub fn triggers(recorded: &[Recorded]) -> Triggers {
    let mut table = Triggers::default();
    let with_report = recorded.iter().filter_map(|one| Some((one, one.report.as_ref()?)));
    for (one, report) in with_report {
        let count = usize::try_from(report.trigger_count).unwrap_or(0);
        table.first = report.first_trigger;
        if table.rows.len() < count {
            let width = table.columns.len();
            table.rows.resize_with(count, || vec![Cell::Lost(NOTHING.to_owned()); width]);
        }
        let stem = file_stem(&one.serial);
        for track in Cameras::new(&one.config).image_tracks() {
            let name = track.to_string().to_lowercase();
            table.columns.push(format!("{stem}.{name}"));
            let times = one.evidence.of(track);
            let at = table.rows.len();
            push_column(&mut table, times, UNNOTED);
            let missing = report.missing.iter().filter(|missing| missing.track == track);
            for missing in missing {
                let range =
                    missing.triggers.start - table.first..missing.triggers.end - table.first;
                for row in range.filter_map(|row| usize::try_from(row).ok()).filter(|row| *row < at)
                {
                    if let Some(cell) = table.rows[row].last_mut() {
                        *cell = Cell::Lost(missing.cause.to_string());
                    }
                }
            }
        }
        table.columns.push(format!("{stem}.host"));
        push_column(&mut table, &one.evidence.arrived, NOTHING);
    }
    table
}

/// Adds a cell to each row: its time, or `otherwise` where there is none.
fn push_column(table: &mut Triggers, times: &[u64], otherwise: &str) {
    for (place, row) in table.rows.iter_mut().enumerate() {
        row.push(match times.get(place) {
            Some(&us) if us > 0 => Cell::At(us),
            _ => Cell::Lost(otherwise.to_owned()),
        });
    }
}

/// What the evidence says of each device, in their order; none of those without a file.
#[must_use]
pub fn standings(recorded: &[Recorded]) -> Vec<Option<Standing>> {
    let master = recorded.iter().find(|one| one.config.role == Role::Master);
    let standing = |one: &Recorded| {
        let report = one.report.as_ref()?;
        let leading = Cameras::new(&one.config).image_tracks().next()?;
        let master = master.filter(|_| one.config.role == Role::Subordinate);
        Some(judge(&Series {
            rate: one.config.rate,
            first: report.first_trigger,
            stamps_us: one.evidence.of(leading),
            arrived_us: &one.evidence.arrived,
            master: master.map(|master| Master {
                stamps_us: master.evidence.of(TrackName::Color),
                arrived_us: &master.evidence.arrived,
                delay_us: delay_us(&one.config),
                other_firmware: master.firmware.color != one.firmware.color,
                outages: &master.outages,
            }),
            alarms: &one.evidence.alarms,
            outages: &one.outages,
            moves: one.evidence.moves,
            lost: report.missing.iter().map(|m| m.triggers.end - m.triggers.start).sum(),
        }))
    };
    recorded.iter().map(standing).collect()
}
