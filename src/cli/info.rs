//! `genlock info`: what is in takes and recordings. Reads the front of each file and its index, not
//! its frames; of packed tracks the head of each frame.

use super::target::Target;
use super::{Verdict, lossy, plain, print, print_json};
use crate::error::{Error, Result};
use crate::map::Map;
use clap::Args;
use genlock_formats::k4a::{Packing, Recording, Role, Unpacker};
use genlock_formats::mkv::Track;
use genlock_formats::take::{HostClock, Profile, Take};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Options of `genlock info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Takes and recordings
    #[arg(required = true, value_name = "TAKE|FILE.mkv")]
    paths: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Info {
    #[serde(serialize_with = "lossy")]
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    take: Option<Take>,
    recordings: Vec<FileInfo>,
    /// What is wrong with the recordings of a take that cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileInfo {
    #[serde(serialize_with = "lossy")]
    path: PathBuf,
    bytes: usize,
    /// None where the profiles do not differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
    finished: bool,
    writer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<String>,
    serial: Option<String>,
    color_firmware: Option<String>,
    depth_firmware: Option<String>,
    color_mode: String,
    depth_mode: String,
    rate: u32,
    imu: bool,
    role: String,
    depth_delay_us: i32,
    subordinate_delay_us: u32,
    start_offset_us: u64,
    /// Device time of the first frame or sample.
    first_us: u64,
    /// From there to the last.
    length_us: u64,
    tracks: Vec<TrackInfo>,
    attachments: Vec<AttachmentInfo>,
    tags: Vec<(String, String)>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TrackInfo {
    number: u64,
    name: String,
    codec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
}

/// How small the images of a track were packed.
#[derive(Debug, Serialize)]
struct Packed {
    packed_bytes: u64,
    unpacked_bytes: u64,
}

impl Packed {
    fn ratio(&self) -> f64 {
        self.unpacked_bytes as f64 / self.packed_bytes.max(1) as f64
    }
}

#[derive(Debug, Serialize)]
struct AttachmentInfo {
    name: String,
    bytes: usize,
}

pub(super) fn run(args: &InfoArgs) -> Result<Verdict> {
    let infos: Vec<_> = args.paths.iter().map(|path| info(path)).collect::<Result<_>>()?;
    if args.json {
        print_json(&infos)?;
    } else {
        infos.iter().flat_map(words).try_for_each(|line| print(&plain(&line)))?;
    }
    let all_read = infos.iter().all(|info| info.problems.is_empty());
    Ok(if all_read { Verdict::Whole } else { Verdict::Failed })
}

fn info(path: &Path) -> Result<Info> {
    let target = Target::open(path)?;
    let (mut recordings, mut problems) = (Vec::new(), Vec::new());
    for file in &target.files {
        match file_info(file) {
            Ok(info) => recordings.push(info),
            // One unreadable file of a take does not hide the others.
            Err(Error::File(cause)) if target.is_folder => problems.push(cause),
            Err(cause) => return Err(cause),
        }
    }
    Ok(Info { path: target.path, take: target.take, recordings, problems })
}

fn file_info(path: &Path) -> Result<FileInfo> {
    let map = Map::open(path)?;
    let recording = Recording::open(&map).map_err(|cause| Error::file(path, &cause))?;
    let configuration = recording.configuration();
    let header = recording.demuxer().header();
    let off = || "OFF".to_owned();
    let (start_us, first_us) = (configuration.start_offset_ns / 1000, recording.first_us());
    let tag = |name| recording.tag(name).map(str::to_owned);
    Ok(FileInfo {
        path: path.to_owned(),
        bytes: map.len(),
        profile: recording.profile(),
        finished: recording.demuxer().is_finished(),
        writer: header.info.writing_app.clone(),
        recorded: header.info.date_utc_ns.and_then(date),
        serial: tag("K4A_DEVICE_SERIAL_NUMBER"),
        color_firmware: tag("K4A_COLOR_FIRMWARE_VERSION"),
        depth_firmware: tag("K4A_DEPTH_FIRMWARE_VERSION"),
        color_mode: configuration.color.map_or_else(off, |mode| mode.to_string()),
        depth_mode: configuration.depth.map_or_else(off, |mode| mode.to_string()),
        rate: configuration.rate.fps(),
        imu: configuration.imu,
        role: configuration.role.to_string().to_lowercase(),
        depth_delay_us: configuration.depth_delay_us,
        subordinate_delay_us: configuration.subordinate_delay_us,
        start_offset_us: start_us,
        first_us,
        length_us: start_us.saturating_add(recording.length_us()).saturating_sub(first_us),
        tracks: tracks(&recording),
        attachments: header
            .attachments
            .iter()
            .map(|file| AttachmentInfo { name: file.name.clone(), bytes: file.data.len() })
            .collect(),
        tags: header.tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())).collect(),
        notes: notes(&recording),
    })
}

fn tracks(recording: &Recording<'_>) -> Vec<TrackInfo> {
    let info = |track: &Track| {
        // One that is packed in an unknown way has kept the recording from being opened, or is none
        // of its tracks.
        let packing = Packing::of_packed(track).ok().flatten();
        let track = TrackInfo {
            number: track.number,
            name: track.name.clone(),
            codec: track.codec_id.clone(),
            packed: packing.map(|_| Packed { packed_bytes: 0, unpacked_bytes: 0 }),
        };
        (track, packing)
    };
    let mut tracks: Vec<_> = recording.demuxer().header().tracks.iter().map(info).collect();
    let is_packed = tracks.iter().any(|(_, packing)| packing.is_some());
    let blocks = is_packed.then(|| recording.blocks().flatten());
    for block in blocks.into_iter().flatten() {
        let track = tracks.iter_mut().find(|(track, _)| track.number == block.track);
        if let Some((TrackInfo { packed: Some(sum), .. }, Some(packing))) = track
            && let Ok(bytes) = block.only_frame()
        {
            sum.packed_bytes += bytes.len() as u64;
            sum.unpacked_bytes += Unpacker::unpacked_bytes(*packing, bytes) as u64;
        }
    }
    tracks.into_iter().map(|(track, _)| track).collect()
}

/// What is odd in a file, with its place.
pub(super) fn notes(recording: &Recording<'_>) -> Vec<String> {
    recording.notes().iter().map(|note| format!("{} (at byte {})", note.text, note.at)).collect()
}

/// A date of Matroska: nanoseconds since 2001-01-01T00:00:00Z.
fn date(ns: i64) -> Option<String> {
    let seconds = ns.div_euclid(1_000_000_000).checked_add(978_307_200)?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

fn words(info: &Info) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(take) = &info.take {
        lines.push(format!("{}: take of {}, {}", info.path.display(), take.started, take.outcome));
        lines.extend(take.reason.iter().map(|reason| format!("  {reason}")));
        lines.extend(take.hosts.iter().map(clock_words));
        for device in &take.devices {
            let at = device.host.as_ref().map(|host| format!(" at {host}")).unwrap_or_default();
            lines.push(format!(
                "  {} {}{at}: {} triggers from {}, {} ranges lost",
                device.serial,
                device.role,
                device.trigger_count,
                device.first_trigger,
                device.losses.len()
            ));
        }
    }
    info.recordings.iter().for_each(|file| file_words(file, &mut lines));
    lines.extend(info.problems.iter().map(|problem| format!("problem: {problem}")));
    lines
}

/// The clock of one of several hosts.
fn clock_words(host: &HostClock) -> String {
    let offset = match (host.offset_us, host.uncertainty_us) {
        (Some(offset), Some(doubt)) => {
            format!("UTC {offset:+.1} us from the coordinator's, within {doubt:.1} us")
        }
        _ => "UTC not measured".to_owned(),
    };
    let kept = host.discipline.as_ref().map(|kept| format!(", kept by {kept}"));
    format!("  host {}: {offset}{}", host.name, kept.unwrap_or_default())
}

fn file_words(file: &FileInfo, lines: &mut Vec<String>) {
    let state = if file.finished { "" } else { ", unfinished" };
    let profile = file.profile.map(|profile| format!(", profile {profile}")).unwrap_or_default();
    let (path, megabytes) = (file.path.display(), file.bytes as f64 / 1e6);
    lines.push(format!("{path}: {megabytes:.1} MB{profile}{state}"));
    let serial = file.serial.as_deref().unwrap_or("unknown");
    let version = |version: &Option<String>| version.clone().unwrap_or("unknown".to_owned());
    lines.push(format!(
        "  device    {serial}, firmware color {}, depth {}",
        version(&file.color_firmware),
        version(&file.depth_firmware)
    ));
    lines.push(format!(
        "  modes     color {}, depth {}, {} fps, IMU {}",
        file.color_mode,
        file.depth_mode,
        file.rate,
        if file.imu { "on" } else { "off" }
    ));
    let role = if file.role == Role::Subordinate.to_string().to_lowercase() {
        format!("subordinate, {} us after the master", file.subordinate_delay_us)
    } else {
        file.role.clone()
    };
    lines.push(format!("  sync      {role}, depth {} us after color", file.depth_delay_us));
    lines.push(format!(
        "  time      {:.3} s from device time {:.3} s",
        file.length_us as f64 / 1e6,
        file.first_us as f64 / 1e6
    ));
    let recorded = file.recorded.as_deref().unwrap_or("unknown time");
    lines.push(format!("  written   by {} at {recorded}", file.writer));
    for track in &file.tracks {
        let ratio = track.packed.as_ref().map(|packed| format!(", {:.3} : 1", packed.ratio()));
        let TrackInfo { number, name, codec, .. } = track;
        lines.push(format!("  track {number}   {name} ({codec}){}", ratio.unwrap_or_default()));
    }
    for attached in &file.attachments {
        lines.push(format!("  attached  {}, {} bytes", attached.name, attached.bytes));
    }
    lines.extend(file.notes.iter().map(|note| format!("  note      {note}")));
}
