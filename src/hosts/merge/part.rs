//! What is kept of the parts. Hosts are not trusted: what does not fit is left out, with words.

use super::words::{Reasons, cause, line};
use super::{Agreed, Expected, Found, Part};
use crate::record::{UNNOTED, file_name, file_stem, part_path};
use crate::repair::UNFINISHED;
use genlock_formats::take::{Delay, Device, File, Take};
use genlock_formats::triggers::{Cell, Triggers};
use std::ops::Range;

/// What a part has of one device.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    /// The part.
    pub take: &'a Take,
    /// Its table.
    pub table: &'a Triggers,
    /// What it says of the device.
    pub device: &'a Device,
    /// The image tracks of the device, each with its column; `None` is that of arrivals.
    pub columns: Vec<(Option<&'static str>, usize)>,
    /// The device's file in the part's manifest; it may have been left unfinished.
    pub listed: Option<&'a File>,
    /// The triggers of its table.
    pub triggers: Range<u64>,
    /// Why it ended, where it ended before its time.
    pub ended: String,
}

/// Triggers between the parts that no host has anything of, at most: an hour at 30 fps. What lies
/// farther away is of no one take with the others.
const HOLE_MAX: u64 = 30 * 3600;

/// What `parts` have of a device, or why nothing.
pub(super) fn keep<'a>(expected: &Expected, parts: &'a [Part]) -> Result<Kept<'a>, String> {
    let host = &expected.host;
    let part = parts.iter().find(|part| part.host == *host);
    let (take, table) = match part.map(|part| &part.found) {
        None => return Err(format!("its host {host} did not answer")),
        Some(Found::Missing { why }) => return Err(cause(why)),
        Some(Found::Recorded { take, triggers }) => (take, triggers),
    };
    let device = take.devices.iter().find(|device| device.serial == expected.serial);
    let device = device.ok_or_else(|| format!("its host {host} has nothing of it"))?;
    let unfit = |why: &str| Err(format!("its host {host} sent a part that does not fit: {why}"));
    let own_name = file_name(&expected.serial);
    let unfinished = part_path(own_name.as_ref()).display().to_string();
    if device.file.as_ref().is_some_and(|file| *file != own_name && *file != unfinished) {
        return unfit("its file has another name");
    }
    if device.rate != expected.config.rate.fps() {
        return unfit("its rate is another");
    }
    let rows = table.rows.len() as u64;
    let Some(end) = table.first.checked_add(rows) else {
        return unfit("its triggers are beyond all numbers");
    };
    if table.rows.iter().any(|row| row.len() != table.columns.len()) {
        return unfit("its rows are not alike");
    }
    let Some(columns) = columns(device, table) else {
        return unfit("its table lacks a track");
    };
    let kept = Kept {
        take,
        table,
        device,
        columns,
        listed: take.files.iter().find(|file| Some(&file.name) == device.file.as_ref()),
        triggers: table.first..end,
        ended: ended(host.as_ref(), take),
    };
    match (device.file.is_some(), kept.with_frames()) {
        (true, _) => Ok(kept),
        (false, Some(_)) => unfit("there are frames and no file"),
        // The reason is all that is known of it.
        (false, None) => Err(kept.ended),
    }
}

/// Why a part ended.
fn ended(host: &str, take: &Take) -> String {
    match &take.reason {
        Some(reason) if reason == UNFINISHED => "its recorder was cut off".to_owned(),
        Some(reason) => cause(&format!("its host {host}: {reason}")),
        None => format!("its host {host} ended there"),
    }
}

/// The columns of a device, as its modes have them; none where one is missing.
fn columns(device: &Device, table: &Triggers) -> Option<Vec<(Option<&'static str>, usize)>> {
    let depth = device.depth_mode != "OFF";
    let tracks = [
        (Some("color"), device.color_mode != "OFF"),
        (Some("depth"), depth && device.depth_mode != "PASSIVE_IR"),
        (Some("ir"), depth),
        (None, true),
    ];
    let stem = file_stem(&device.serial);
    let column = |track: Option<&'static str>| {
        let name = format!("{stem}.{}", track.unwrap_or("host"));
        Some((track, table.columns.iter().position(|column| *column == name)?))
    };
    tracks.into_iter().filter(|(_, is_on)| *is_on).map(|(track, _)| column(track)).collect()
}

impl Kept<'_> {
    /// The triggers from the first frame to the last; none where no frame is.
    fn with_frames(&self) -> Option<Range<u64>> {
        let has_frame = |row: &Vec<Cell>| {
            let mut images = self.columns.iter().filter(|(track, _)| track.is_some());
            images.any(|(_, place)| is_frame(&row[*place]))
        };
        let rows = &self.table.rows;
        let (first, last) = (rows.iter().position(has_frame)?, rows.iter().rposition(has_frame)?);
        Some(self.table.first + first as u64..self.table.first + last as u64 + 1)
    }
}

/// A device as it was asked for, of which nothing was recorded.
pub(super) fn unrecorded(expected: &Expected) -> Device {
    let config = &expected.config;
    let off = || "OFF".to_owned();
    Device {
        serial: expected.serial.clone(),
        name: expected.name.clone(),
        host: Some(expected.host.to_string()),
        file: None,
        role: config.role.to_string().to_lowercase(),
        color_mode: config.color.map_or_else(off, |mode| mode.to_string()),
        depth_mode: config.depth.map_or_else(off, |mode| mode.to_string()),
        rate: config.rate.fps(),
        imu: config.imu,
        first_trigger: 0,
        trigger_count: 0,
        bytes: 0,
        depth_delay_off_color: Delay::of(config.depth_delay_us.into()),
        delay_off_master: Delay::of(config.subordinate_delay_us.into()),
        frames: Default::default(),
        firmware: Default::default(),
        color_controls: Default::default(),
        verdict: None,
        reasons: Vec::new(),
        clock: None,
        phase: None,
        outages: Vec::new(),
        alarms: Vec::new(),
        losses: Vec::new(),
    }
}

/// Whether a cell stands for a frame of the file.
pub(super) fn is_frame(cell: &Cell) -> bool {
    match cell {
        Cell::At(_) => true,
        Cell::Lost(cause) => cause == UNNOTED,
    }
}

/// The triggers of the take: those agreed upon, and those that there is a frame of. None where
/// there is no frame. What lies too far from the others is kept no longer.
pub(super) fn span(kept: &mut [Result<Kept<'_>, String>], agreed: &Agreed) -> Option<Range<u64>> {
    let mut span = agreed.first..agreed.end.unwrap_or(agreed.first).max(agreed.first);
    let mut ranges: Vec<_> = kept
        .iter()
        .enumerate()
        .filter_map(|(place, one)| Some((one.as_ref().ok()?.with_frames()?, place)))
        .collect();
    ranges.sort_by_key(|(range, _)| range.start);
    let begins = span.start.saturating_sub(HOLE_MAX);
    let mut is_some = false;
    for (range, place) in ranges {
        if range.start < begins || range.start > span.end.saturating_add(HOLE_MAX) {
            kept[place] = Err("its host sent a part of other triggers".to_owned());
            continue;
        }
        span = span.start.min(range.start)..span.end.max(range.end);
        is_some = true;
    }
    is_some.then_some(span)
}

/// What there is to say of the parts in the take.
pub(super) fn say(
    parts: &[Part],
    expected: &[&Expected],
    kept: &[Result<Kept<'_>, String>],
    reasons: &mut Reasons,
) {
    kept.iter().filter_map(|one| one.as_ref().err()).for_each(|why| reasons.say(why.clone()));
    let takes = || {
        parts.iter().filter_map(|part| match &part.found {
            Found::Recorded { take, .. } => Some((part, take)),
            Found::Missing { .. } => None,
        })
    };
    let first = takes().next().map(|(_, take)| &take.reason);
    let same = takes().filter(|(_, take)| Some(&take.reason) == first);
    let all_the_same = same.count() == parts.len();
    for (part, take) in takes() {
        if let Some(reason) = &take.reason {
            let host = if all_the_same { String::new() } else { format!("host {}: ", part.host) };
            reasons.say(line(&format!("{host}{reason}")));
        }
        for (place, device) in take.devices.iter().enumerate() {
            let is_asked = |one: &&Expected| one.host == part.host && one.serial == device.serial;
            let twice = take.devices[..place].iter().any(|one| one.serial == device.serial);
            if twice || !expected.iter().any(is_asked) {
                let (host, serial) = (&part.host, line(&device.serial));
                reasons.say(format!("host {host} was not asked for its {serial}: it stays there"));
            }
        }
    }
    for (expected, kept) in expected.iter().zip(kept) {
        let Ok(kept) = kept else { continue };
        if !as_asked(expected, kept.device) {
            reasons.say(format!("{} was recorded otherwise than asked", expected.serial));
        }
    }
    let has_role = |role: &str| kept.iter().flatten().any(|one| one.device.role == role);
    if has_role("subordinate") && !has_role("master") {
        let text = "there is no file of the master: the phase of its subordinates cannot be told";
        reasons.say(text.to_owned());
    }
}

/// Whether a device did what it was asked to do.
fn as_asked(expected: &Expected, device: &Device) -> bool {
    let asked = unrecorded(expected);
    let facts = |device: &Device| {
        let Device { role, color_mode, depth_mode, .. } = device.clone();
        (role, color_mode, depth_mode, device.imu)
    };
    facts(&asked) == facts(device)
}
