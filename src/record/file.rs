//! One device's file: clusters of frames through the muxer onto the disk.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::frame::{Frame, TrackName};
use crate::record::disk::Disk;
use genlock_formats::k4a::{self, Configuration, Packing, packed_track};
use genlock_formats::mkv::{Block, ClusterLayout, Header, Muxer, Payload};
use genlock_formats::take::Profile;
use std::io::IoSlice;
use std::time::Duration;

/// Frames in one cluster at most. A window of 32 ms holds about ten; more are spread over clusters.
pub const CLUSTER_FRAMES_MAX: usize = 64;

/// Bytes of one IMU sample in the file.
const IMU_SAMPLE_BYTES: usize = 40;

/// Room is kept for the end of a file, in steps. It has a cue of at most 48 bytes for each second:
/// one step is enough for six hours.
const KEPT_STEP_BYTES: u64 = 1 << 20;

/// What a file says about itself before the first frame.
#[derive(Debug, Clone)]
pub struct About {
    /// Modes, sync and tracks. The start offset is set from the first frame.
    pub configuration: Configuration,
    /// Serial, firmware, calibration.
    pub device: k4a::Device,
    /// Program, date and the seed of the UIDs.
    pub written: k4a::About,
    /// How its images are stored.
    pub profile: Profile,
}

impl About {
    /// The front of the file.
    fn header(&self, configuration: &Configuration) -> Header {
        let mut header = k4a::header(configuration, Some(&self.device), &self.written);
        if self.profile == Profile::Compact {
            let packed = |track: &&mut _| Packing::of(track).is_some();
            for track in header.tracks.iter_mut().filter(packed) {
                *track = packed_track(track);
            }
        }
        header
    }

    /// The tracks whose blocks are packed.
    pub(super) fn packed(&self) -> Vec<(TrackName, Packing)> {
        if self.profile == Profile::K4a {
            return Vec::new();
        }
        let tracks = k4a::header(&self.configuration, None, &self.written).tracks;
        let named = k4a::tracks_of(&self.configuration).zip(tracks);
        named.filter_map(|(name, track)| Some((name, Packing::of(&track)?))).collect()
    }
}

/// A recording that grows on a disk. Nothing is written before the first frame: the front of the
/// file holds the time of the first frame, and a file without frames would open nowhere.
pub struct RecordingFile {
    about: About,
    disk: Box<dyn Disk>,
    muxer: Option<Muxer>,
    /// The front, until it is on the disk with the first cluster.
    front: Vec<u8>,
    layout: ClusterLayout,
    offset_us: u64,
    bytes: u64,
    crc32: Option<u32>,
    clock: Clock,
    sync_every_ns: u64,
    /// When the oldest byte was appended that is not durable yet.
    unsynced_ns: Option<u64>,
}

impl RecordingFile {
    /// A recording on `disk`. No byte of it is older than `sync_every` without being durable, as
    /// long as it is appended to or [`Self::sync_in_time`] is called.
    #[must_use]
    pub fn new(about: About, disk: Box<dyn Disk>, clock: Clock, sync_every: Duration) -> Self {
        Self {
            about,
            disk,
            muxer: None,
            front: Vec::new(),
            layout: ClusterLayout::default(),
            offset_us: 0,
            bytes: 0,
            crc32: None,
            clock,
            sync_every_ns: sync_every.as_nanos().try_into().unwrap_or(u64::MAX),
            unsynced_ns: None,
        }
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-32 of the file; none of one that was not closed.
    #[must_use]
    pub fn crc32(&self) -> Option<u32> {
        self.crc32
    }

    /// Appends one cluster of at most 64 frames, sorted by time.
    ///
    /// # Errors
    /// `Disk` when the bytes cannot be written.
    pub fn append<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<()> {
        let mut blocks = [Block::EMPTY; CLUSTER_FRAMES_MAX];
        let mut count = 0;
        for (block, frame) in blocks.iter_mut().zip(frames) {
            if self.muxer.is_none() {
                self.begin(frame.stamp_us);
            }
            *block = self.block(frame);
            count += 1;
        }
        let (blocks, Some(muxer)) = (&blocks[..count], &mut self.muxer) else {
            return Ok(());
        };
        muxer.cluster(blocks, &mut self.layout).map_err(|cause| {
            Error::Disk(format!("a frame does not fit the file's format: {cause}"))
        })?;
        let mut pieces = [IoSlice::new(&[]); 2 * CLUSTER_FRAMES_MAX + 2];
        let mut used = 0;
        let front = [self.front.as_slice()];
        for (piece, bytes) in
            pieces.iter_mut().zip(front.into_iter().chain(self.layout.pieces(blocks)))
        {
            *piece = IoSlice::new(bytes);
            used += 1;
        }
        self.disk.keep((muxer.cues_len_max() + 1).next_multiple_of(KEPT_STEP_BYTES));
        self.disk.append(&mut pieces[..used])?;
        muxer.written(blocks, &self.layout);
        self.bytes += self.front.len() as u64 + self.layout.len();
        self.front.clear();
        self.unsynced_ns.get_or_insert_with(|| self.clock.now_ns());
        self.sync_in_time()
    }

    /// Makes durable what was appended, when the oldest of it has waited for `sync_every`. Call it
    /// while nothing is appended: what a power cut can cost must not grow in silence.
    ///
    /// # Errors
    /// `Disk` when the system cannot make it durable.
    pub fn sync_in_time(&mut self) -> Result<()> {
        let waited = |since_ns| self.clock.now_ns().saturating_sub(since_ns);
        if self.unsynced_ns.is_some_and(|since_ns| waited(since_ns) >= self.sync_every_ns) {
            self.disk.sync()?;
            self.unsynced_ns = None;
        }
        Ok(())
    }

    /// Closes the file: cues, sizes and duration; makes it durable and gives it its name.
    ///
    /// # Errors
    /// `Disk` when that cannot be done.
    pub fn finish(&mut self) -> Result<()> {
        // Without a frame on the disk there is no file: the ledger says what is missing.
        let Some(muxer) = self.muxer.take().filter(|_| self.bytes > 0) else {
            return Ok(());
        };
        let finish = muxer.finish();
        self.disk.keep(0);
        self.disk.append(&mut [IoSlice::new(&finish.append)])?;
        self.bytes += finish.append.len() as u64;
        // What the front will point at must be on the disk before the front says so.
        self.disk.sync()?;
        for patch in &finish.patches {
            self.disk.patch(patch.at, &patch.bytes)?;
        }
        self.disk.sync()?;
        self.disk.publish()?;
        self.crc32 = finish.crc32;
        Ok(())
    }

    /// Lays out the front. It goes to the disk with the first cluster, in one piece: a front alone
    /// is no recording.
    fn begin(&mut self, first_us: u64) {
        self.offset_us = k4a::split_start_offset(first_us);
        let mut configuration = self.about.configuration.clone();
        configuration.start_offset_ns = self.offset_us * 1000;
        let (muxer, front) = Muxer::new(&self.about.header(&configuration));
        self.front = front;
        self.muxer = Some(muxer);
    }

    fn block<'a>(&self, frame: &'a Frame) -> Block<'a> {
        let number = k4a::track_number(&self.about.configuration, frame.track);
        let payload = match frame.track {
            TrackName::Imu => Payload::Laced {
                bytes: &frame.buf,
                frame_bytes: IMU_SAMPLE_BYTES,
                duration_ticks: frame.last_us - frame.stamp_us + 1,
            },
            TrackName::Color | TrackName::Depth | TrackName::Ir => Payload::Frame(&frame.buf),
        };
        // The muxer refuses track 0, so a frame of a track that the file lacks is an error there.
        Block {
            track: number.unwrap_or(0),
            time_ticks: frame.stamp_us.saturating_sub(self.offset_us),
            payload,
        }
    }
}
