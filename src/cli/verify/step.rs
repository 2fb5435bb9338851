//! Whether the rig was in step: numbers, phases, clocks and verdicts once more, from the times in
//! the files, held against what `triggers.csv` and `take.toml` say.

use super::FileVerified;
use crate::record::{UNNOTED, file_stem};
use crate::sync::{Admission, Numbering, Origin, Reviewed, Standing, review};
use genlock_formats::k4a::{Rate, TrackName};
use genlock_formats::take::{Clock, Device, Loss, Phase, Take, Verdict};
use genlock_formats::triggers::{Cell, Triggers};
use serde::Serialize;

/// What the files say of one device.
#[derive(Debug, Serialize)]
pub(super) struct InStep {
    /// Serial number.
    pub serial: String,
    /// In a word.
    pub verdict: Verdict,
    /// Why it is no pass.
    pub reasons: Vec<String>,
    /// Its exposures against the master's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Its clock against the host's, as `triggers.csv` has the arrivals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
}

/// One device with the times of its file.
struct Timed<'a> {
    device: &'a Device,
    stem: String,
    rate: Rate,
    /// The take's triggers.
    first: u64,
    count: usize,
    /// Image tracks of the file, with the time for each trigger, or 0.
    tracks: Vec<(TrackName, Vec<u64>)>,
    /// When frames arrived, by the table.
    arrived_us: Vec<u64>,
}

impl Timed<'_> {
    fn reviewed(&self) -> Reviewed<'_> {
        let color = self.tracks.iter().find(|(track, _)| *track == TrackName::Color);
        Reviewed {
            device: self.device,
            rate: self.rate,
            first: self.first,
            stamps_us: self.tracks.first().map_or(&[], |(_, times)| times),
            color_us: color.map(|(_, times)| &times[..]),
            arrived_us: &self.arrived_us,
        }
    }
}

/// Works the evidence out once more, and tells of contradictions.
pub(super) fn recompute(
    take: &Take,
    files: &[FileVerified],
    triggers: &Triggers,
    problems: &mut Vec<String>,
) -> Vec<InStep> {
    let timed: Vec<_> =
        take.devices.iter().filter_map(|device| timed(device, files, triggers, problems)).collect();
    let is_master = |timed: &&Timed<'_>| timed.device.role == "master";
    let master = timed.iter().filter(is_master).find(|timed| timed.device.file.is_some());
    let master = master.map(Timed::reviewed);
    let mut all = Vec::new();
    for timed in &timed {
        compare_cells(timed, triggers, problems);
        let (standing, _) = review(&timed.reviewed(), master.as_ref());
        compare_standing(timed.device, &standing, problems);
        let Standing { verdict, reasons, clock, phase } = standing;
        let serial = timed.device.serial.clone();
        all.push(InStep { serial, verdict, reasons, phase, clock });
    }
    compare_verdict("the rig", all.iter().map(|one| one.verdict).max(), take.verdict, problems);
    all
}

fn timed<'a>(
    device: &'a Device,
    files: &[FileVerified],
    triggers: &Triggers,
    problems: &mut Vec<String>,
) -> Option<Timed<'a>> {
    let rate = Rate::ALL.into_iter().find(|rate| rate.fps() == device.rate)?;
    // Room is made for the triggers that are written down, not for those that a number claims.
    let rows = triggers.rows.len();
    let count = usize::try_from(device.trigger_count).map_or(rows, |count| count.min(rows));
    let stem = file_stem(&device.serial);
    let arrived_us = arrived(&stem, triggers);
    let first = device.first_trigger;
    let mut timed = Timed { device, stem, rate, first, count, tracks: vec![], arrived_us };
    let Some(name) = device.file.as_deref() else {
        // Of a device whose host has nothing of the take the ledger tells.
        timed.tracks = device.host.as_ref().map(|_| unrecorded(&timed, triggers))?;
        return Some(timed);
    };
    let file = files.iter().find(|file| file.path.file_name() == Some(name.as_ref()))?;
    for track in file.tracks.iter().filter(|track| track.track != TrackName::Imu) {
        let of_track = numbered(&timed, track.track, &track.times_us, triggers);
        match of_track {
            Ok(times) => timed.tracks.push((track.track, times)),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    Some(timed)
}

/// The image tracks of a device without a file, by the table: no trigger has a time.
fn unrecorded(timed: &Timed<'_>, triggers: &Triggers) -> Vec<(TrackName, Vec<u64>)> {
    let has_column = |track: &TrackName| {
        let name = format!("{}.{}", timed.stem, track.to_string().to_lowercase());
        triggers.columns.contains(&name)
    };
    let tracks = TrackName::ALL.into_iter().filter(has_column);
    tracks.map(|track| (track, vec![0; timed.count])).collect()
}

/// The time for each trigger of a track: the first frame, and the first after an outage, is where
/// `triggers.csv` has its time, every other is numbered by its distance.
fn numbered(
    timed: &Timed<'_>,
    track: TrackName,
    times_us: &[u64],
    triggers: &Triggers,
) -> Result<Vec<u64>, String> {
    let mut by_trigger = vec![0; timed.count];
    let name = format!("{}.{}", timed.stem, track.to_string().to_lowercase());
    let mut cells = triggers.column(&name).ok_or(format!("triggers.csv has no column {name}"))?;
    let mut trigger = triggers.first;
    // Where the device was out of the take, distances tell nothing.
    let mut outages = timed.device.outages.iter().peekable();
    let mut numbering = Numbering::new(timed.rate, 0);
    for (place, &time_us) in times_us.iter().enumerate() {
        let nearest = numbering.nearest(time_us);
        let back = outages.next_if(|outage| place > 0 && nearest >= outage.first_trigger);
        if place == 0 || back.is_some() {
            let row = cells.position(|cell| *cell == Cell::At(time_us));
            let row = row.ok_or(format!("triggers.csv has no {name} at {time_us} us"))?;
            trigger = trigger.saturating_add(row as u64);
            let stamp_us =
                i64::try_from(time_us).map_err(|_| "its times are beyond reason".to_owned())?;
            let period_us = numbering.period_us();
            numbering = Numbering::new(timed.rate, 0);
            numbering.begin_at(Origin { trigger, stamp_us, period_us });
            trigger = trigger.saturating_add(1);
        }
        let trigger = match numbering.admit(time_us) {
            Admission::Trigger(trigger) => trigger,
            Admission::Repeated(trigger) | Admission::RolledBack(trigger) => {
                return Err(format!("{track} has another frame for trigger {trigger}"));
            }
        };
        let place = trigger.checked_sub(timed.first).and_then(|at| usize::try_from(at).ok());
        match place.and_then(|place| by_trigger.get_mut(place)) {
            Some(place) => *place = time_us,
            None => return Err(format!("{track} has a frame of trigger {trigger}, of no take")),
        }
    }
    Ok(by_trigger)
}

/// Every trigger of every image track is a frame of the file or a loss of `take.toml`, and
/// `triggers.csv` says so.
fn compare_cells(timed: &Timed<'_>, triggers: &Triggers, problems: &mut Vec<String>) {
    for (track, times_us) in &timed.tracks {
        let track = track.to_string().to_lowercase();
        let losses: Vec<_> =
            timed.device.losses.iter().filter(|loss| loss.track == track).collect();
        let name = format!("{}.{track}", timed.stem);
        let Some(cells) = triggers.column(&name) else { continue };
        let cells: Vec<_> = cells.collect();
        let count = timed.device.trigger_count;
        if cells.len() as u64 != count || triggers.first != timed.first {
            problems.push(format!("triggers.csv does not have the triggers of {name}"));
            continue;
        }
        let wrong = (0..).zip(times_us.iter().zip(cells)).find_map(|(place, both)| {
            let (&time_us, cell) = both;
            wrong_cell(timed.first.saturating_add(place), time_us, cell, &losses)
        });
        problems.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
    }
}

fn wrong_cell(trigger: u64, time_us: u64, cell: &Cell, losses: &[&Loss]) -> Option<String> {
    let loss = |loss: &&&Loss| (loss.first_trigger..=loss.last_trigger).contains(&trigger);
    let loss = losses.iter().find(loss);
    match (time_us, loss) {
        (0, None) => Some(format!("trigger {trigger} is neither a frame nor a loss")),
        (0, Some(loss)) => (*cell != Cell::Lost(loss.cause.clone())).then(|| {
            let cause = &loss.cause;
            format!("trigger {trigger} is lost ({cause}), triggers.csv says {}", words(cell))
        }),
        (_, Some(_)) => Some(format!("trigger {trigger} is a frame and a loss")),
        (_, None) if matches!(cell, Cell::Lost(cause) if cause == UNNOTED) => None,
        (_, None) => (*cell != Cell::At(time_us)).then(|| {
            format!("trigger {trigger} is at {time_us} us, triggers.csv says {}", words(cell))
        }),
    }
}

fn words(cell: &Cell) -> String {
    match cell {
        Cell::At(us) => format!("{us} us"),
        Cell::Lost(cause) => cause.clone(),
    }
}

/// When frames of a device arrived, one for each trigger, or 0.
fn arrived(stem: &str, triggers: &Triggers) -> Vec<u64> {
    let cells = triggers.column(&format!("{stem}.host")).into_iter().flatten();
    cells.map(|cell| if let Cell::At(us) = cell { *us } else { 0 }).collect()
}

fn compare_verdict(
    whose: &str,
    found: Option<Verdict>,
    said: Option<Verdict>,
    problems: &mut Vec<String>,
) {
    if found != said {
        let word = |verdict: Option<Verdict>| verdict.map_or("none".to_owned(), |v| v.to_string());
        let (found, said) = (word(found), word(said));
        problems.push(format!("{whose}: the files give the verdict {found}, take.toml {said}"));
    }
}

/// What rounding may make of one value.
const ROUNDING: f64 = 0.2;

/// A value of the evidence, with what it is called.
type Named<T> = (&'static str, fn(&T) -> f64);

fn compare_standing(device: &Device, found: &Standing, problems: &mut Vec<String>) {
    let serial = &device.serial;
    compare_verdict(serial, Some(found.verdict), device.verdict, problems);
    if device.reasons != found.reasons {
        let (found, said) = (found.reasons.join("; "), device.reasons.join("; "));
        problems.push(format!("{serial}: the files give as reasons: {found}; take.toml: {said}"));
    }
    let mut same = |what: &str, found: Option<f64>, said: Option<f64>| {
        let equal = match (found, said) {
            (Some(found), Some(said)) => (found - said).abs() <= ROUNDING,
            (found, said) => found.is_none() && said.is_none(),
        };
        if !equal {
            let word = |value: Option<f64>| value.map_or("none".to_owned(), |v| v.to_string());
            let (found, said) = (word(found), word(said));
            problems.push(format!("{serial}: the files give {what} {found}, take.toml {said}"));
        }
    };
    let phases: [Named<Phase>; 5] = [
        ("a median phase of", |phase| phase.p50_us),
        ("99 of 100 phases within", |phase| phase.p99_us),
        ("a greatest phase of", |phase| phase.max_us),
        ("a drift of", |phase| phase.drift_ppm),
        ("pairs:", |phase| phase.pairs as f64),
    ];
    for (what, value) in phases {
        same(what, found.phase.as_ref().map(value), device.phase.as_ref().map(value));
    }
    let clocks: [Named<Clock>; 6] = [
        ("a clock error of", |clock| clock.ppm),
        ("a clock offset of", |clock| clock.offset_us),
        ("a rate of", |clock| clock.rate_hz),
        ("a median lateness of", |clock| clock.late_p50_us),
        ("99 of 100 late by", |clock| clock.late_p99_us),
        ("the latest by", |clock| clock.late_max_us),
    ];
    for (what, value) in clocks {
        same(what, found.clock.as_ref().map(value), device.clock.as_ref().map(value));
    }
}
