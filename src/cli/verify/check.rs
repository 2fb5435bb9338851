//! Every block of a recording, looked at: readable, in order, and without gaps.

use crate::deal::{cores, in_order};
use crate::error::Result;
use genlock_formats::Error;
use genlock_formats::k4a::{ImuSample, Recording, TrackName, Unpacker};
use genlock_formats::mkv::{Checksum, Cluster, ReadBlock};
use serde::Serialize;

/// What was found in a recording's blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub clusters: u64,
    pub tracks: Vec<TrackCheck>,
    pub problems: Vec<String>,
    pub gaps: Vec<String>,
}

/// One track.
#[derive(Debug, Serialize)]
pub(super) struct TrackCheck {
    /// Name in the file.
    pub name: String,
    /// Images; of the IMU, samples.
    pub frames: u64,
    /// Device time in seconds of the first and the last.
    pub first_s: f64,
    /// See `first_s`.
    pub last_s: f64,
    /// Which track it is.
    #[serde(skip)]
    pub track: TrackName,
    #[serde(skip)]
    number: u64,
    #[serde(skip)]
    last_us: Option<u64>,
    /// Device times in microseconds of all images.
    #[serde(skip)]
    pub times_us: Vec<u64>,
}

/// Problems of one kind that are listed; a broken file can have millions.
const LISTED_MAX: usize = 100;

/// IMU samples are 0.6 ms apart; libk4a's own test allows 0.9 (usb-protocol.md 7.1). A pause of
/// several samples is a lost packet.
const IMU_GAP_US: u64 = 3_000;

/// The CRC-32 of a file, taken as far as the file has been read for something else: a file larger
/// than memory comes from the disk once.
pub(super) struct Sum<'a> {
    rest: &'a [u8],
    at: u64,
    hasher: crc32fast::Hasher,
}

impl<'a> Sum<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0, hasher: crc32fast::Hasher::new() }
    }

    fn up_to(&mut self, end: u64) {
        let count = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let (bytes, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.rest = rest;
    }

    pub fn finish(mut self) -> u32 {
        self.up_to(u64::MAX);
        self.hasher.finalize()
    }
}

/// Looks at every block.
///
/// # Errors
/// A fault in genlock.
pub(super) fn check_blocks(
    recording: &Recording<'_>,
    mut sum: Option<&mut Sum<'_>>,
) -> Result<Blocks> {
    let mut blocks = Blocks::default();
    for track in recording.tracks() {
        let Some(entry) = recording.track(track) else {
            continue;
        };
        blocks.tracks.push(TrackCheck {
            name: entry.name.clone(),
            frames: 0,
            first_s: 0.0,
            last_s: 0.0,
            track,
            number: entry.number,
            last_us: None,
            times_us: Vec::new(),
        });
    }
    // What is not packed is read as fast by one core.
    let workers = if Images::of(recording).0.is_empty() { 1 } else { cores() };
    let clusters = recording.demuxer().clusters().map(|cluster| {
        let bytes = cluster.as_ref().map_or(0, |cluster| cluster.end() - cluster.at());
        (cluster, bytes as usize)
    });
    let look = || {
        let mut images = Images::of(recording);
        move |cluster: genlock_formats::Result<_>| cluster.map(|one| (images.damaged(&one), one))
    };
    in_order(workers, clusters, look, |looked| {
        match looked {
            Ok((damaged, cluster)) => {
                blocks.cluster(recording, &cluster);
                damaged.into_iter().for_each(|text| list(&mut blocks.problems, text));
                if let Some(sum) = &mut sum {
                    sum.up_to(cluster.end());
                }
            }
            Err(error) => blocks.problem(&error),
        }
        Ok(())
    })?;
    blocks.compare_ends(recording);
    Ok(blocks)
}

/// The tracks whose images are packed: name, number, and what unpacks them.
struct Images(Vec<(TrackName, u64, Unpacker)>, u64);

impl Images {
    fn of(recording: &Recording<'_>) -> Self {
        let packed = recording.tracks().filter_map(|name| {
            Some((name, recording.track(name)?.number, recording.unpacker(name)?))
        });
        Self(packed.collect(), recording.configuration().start_offset_ns / 1000)
    }

    /// Unpacks the images of a cluster; says which do not come out as they were packed.
    fn damaged(&mut self, cluster: &Cluster<'_>) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (mut damaged, mut image) = (Vec::new(), Vec::new());
        for block in cluster.blocks().flatten().filter(|block| !block.frames.is_laced()) {
            let track = self.0.iter_mut().find(|(_, number, _)| *number == block.track);
            let (Some((name, _, unpacker)), Ok(packed)) = (track, block.only_frame()) else {
                continue;
            };
            if let Err(error) = unpacker.unpack(packed, &mut image) {
                let name = name.to_string().to_lowercase();
                let time_us = self.1.saturating_add_signed(block.time_ns / 1000);
                let error = Error::new(error.kind, block.at);
                list(&mut damaged, format!("{name}: {:.6} s: {error}", time_us as f64 / 1e6));
            }
        }
        damaged
    }
}

impl Blocks {
    fn problem(&mut self, error: &Error) {
        list(&mut self.problems, error.to_string());
    }

    fn cluster(&mut self, recording: &Recording<'_>, cluster: &Cluster<'_>) {
        self.clusters += 1;
        let at = cluster.at();
        if cluster.checksum() == Checksum::Bad {
            let text =
                format!("the cluster at byte {at} does not have the bytes that were written");
            list(&mut self.problems, text);
        }
        if !cluster.is_complete() {
            list(&mut self.problems, format!("the file ends inside the cluster at byte {at}"));
        }
        for block in cluster.blocks() {
            match block {
                Ok(block) => self.block(recording, &block),
                Err(error) => self.problem(&error),
            }
        }
    }

    fn block(&mut self, recording: &Recording<'_>, block: &ReadBlock<'_>) {
        let Some(place) = self.tracks.iter().position(|track| track.number == block.track) else {
            return;
        };
        let configuration = recording.configuration();
        if self.tracks[place].track == TrackName::Imu {
            for frame in block.frames.clone() {
                let (samples, rest) = frame.as_chunks::<{ ImuSample::BYTES }>();
                if !rest.is_empty() || samples.is_empty() {
                    let at = block.at;
                    list(&mut self.problems, format!("malformed IMU samples (at byte {at})"));
                }
                for bytes in samples {
                    let time_us = ImuSample::from_bytes(bytes).accelerometer_ns / 1000;
                    self.frame(place, time_us, IMU_GAP_US, 600);
                }
            }
            return;
        }
        if let Err(error) = block.only_frame() {
            self.problem(&error);
            return;
        }
        let offset_us = configuration.start_offset_ns / 1000;
        let time_us = offset_us.saturating_add_signed(block.time_ns / 1000);
        let period_us = configuration.rate.period_us();
        self.frame(place, time_us, period_us * 3 / 2, period_us);
    }

    /// A frame or sample at `time_us`: later than the one before, and not much later than
    /// `period_us`.
    fn frame(&mut self, place: usize, time_us: u64, gap_us: u64, period_us: u64) {
        let track = &mut self.tracks[place];
        let seconds = time_us as f64 / 1e6;
        if track.frames == 0 {
            track.first_s = seconds;
        }
        let name = track.name.to_lowercase();
        match track.last_us {
            Some(last_us) if time_us <= last_us => {
                let text = format!("{name}: {seconds:.6} s follows {:.6} s", last_us as f64 / 1e6);
                list(&mut self.problems, text);
            }
            Some(last_us) if time_us - last_us > gap_us => {
                let missing = ((time_us - last_us) as f64 / period_us as f64).round() as u64 - 1;
                let what = if period_us == 600 { "samples" } else { "frames" };
                let text = format!(
                    "{name}: {missing} {what} missing between {:.6} s and {seconds:.6} s",
                    last_us as f64 / 1e6
                );
                list(&mut self.gaps, text);
            }
            _ => {}
        }
        track.frames += 1;
        track.last_s = seconds;
        track.last_us = Some(time_us);
        if track.track != TrackName::Imu {
            track.times_us.push(time_us);
        }
    }

    /// Tracks of one file begin and end together, but for delays: one that is shorter lacks frames.
    fn compare_ends(&mut self, recording: &Recording<'_>) {
        let period_s = recording.configuration().rate.period_us() as f64 / 1e6;
        let delay_s = f64::from(recording.configuration().depth_delay_us.unsigned_abs()) / 1e6;
        let images = self.tracks.iter().filter(|track| track.track != TrackName::Imu);
        let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
        for track in images.clone().filter(|track| track.frames > 0) {
            (first, last) = (first.min(track.first_s), last.max(track.last_s));
        }
        let mut gaps = Vec::new();
        for track in images {
            let name = track.name.to_lowercase();
            if track.frames == 0 {
                gaps.push(format!("{name}: no frames"));
                continue;
            }
            for (what, apart) in [("begin", track.first_s - first), ("end", last - track.last_s)] {
                let missing = ((apart - delay_s) / period_s).round();
                if missing >= 1.0 {
                    gaps.push(format!("{name}: {missing} frames missing at the {what}"));
                }
            }
        }
        gaps.into_iter().for_each(|gap| list(&mut self.gaps, gap));
    }
}

fn list(list: &mut Vec<String>, text: String) {
    if list.len() < LISTED_MAX {
        list.push(text);
    } else if list.len() == LISTED_MAX {
        list.push("and more".to_owned());
    }
}
