//! A recording of an Azure Kinect, read.

use super::compact::{self, Packing, Unpacker, unpacked_track};
use super::configuration::Configuration;
use super::imu::ImuSample;
use super::mode::{ColorFormat, ColorMode, DepthMode, Rate, Resolution, Role, TrackName};
use super::write::{CALIBRATION, VIDEO_CODEC};
use crate::mkv::{Cluster, Demuxer, Header, Note, ReadBlock, Tag, Target, Track, TrackKind};
use crate::take::Profile;
use crate::{Error, ErrorKind, Result};

/// A recording of one device: its configuration, and its captures and samples in order.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    demuxer: Demuxer<'a>,
    configuration: Configuration,
    tracks: Vec<ProfileTrack>,
    notes: Vec<Note>,
}

/// A track of the profile: as it is in the profile `k4a`, and how its blocks are packed.
#[derive(Debug, Clone)]
struct ProfileTrack {
    name: TrackName,
    track: Track,
    packing: Option<Packing>,
}

impl ProfileTrack {
    fn read(name: TrackName, track: &Track) -> Result<Self> {
        let packing = Packing::of_packed(track)?;
        let track = unpacked_track(track)?.unwrap_or_else(|| track.clone());
        Ok(Self { name, track, packing })
    }
}

impl<'a> Recording<'a> {
    /// Reads the front of a recording.
    ///
    /// # Errors
    /// Those of [`Demuxer::open`], and what keeps the file from being an Azure Kinect recording.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let demuxer = Demuxer::open(bytes)?;
        let header = demuxer.header();
        let named = |name| Some((name, &header.tracks[find_track(header, name)?]));
        let tracks = TrackName::ALL.into_iter().filter_map(named);
        let tracks: Vec<_> =
            tracks.map(|(name, track)| ProfileTrack::read(name, track)).collect::<Result<_>>()?;
        if tracks.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported(
                    "a Matroska file without a track COLOR, DEPTH, IR or IMU: not an Azure Kinect \
                     recording"
                        .to_owned(),
                ),
                0,
            ));
        }
        let mut recording = Self {
            configuration: Configuration {
                color: None,
                depth: None,
                rate: Rate::Fps30,
                imu: tracks.iter().any(|track| track.name == TrackName::Imu),
                role: Role::Standalone,
                subordinate_delay_us: 0,
                depth_delay_us: 0,
                start_offset_ns: 0,
            },
            tracks,
            notes: demuxer.notes().to_vec(),
            demuxer,
        };
        recording.configure()?;
        Ok(recording)
    }

    fn configure(&mut self) -> Result<()> {
        self.configuration.rate = self.read_rate()?;
        self.configuration.color = self.read_color()?;
        self.configuration.depth = self.read_depth()?;
        let delay_ns: i64 = self.number("K4A_DEPTH_DELAY_NS")?.unwrap_or(0);
        self.configuration.depth_delay_us = i32::try_from(delay_ns / 1000)
            .map_err(|_| unsupported("a depth delay of", delay_ns))?;
        if let Some(role) = self.tag("K4A_WIRED_SYNC_MODE") {
            let role = role.parse().map_err(|_| unsupported("sync mode", role))?;
            self.configuration.role = role;
        }
        if self.configuration.role == Role::Subordinate {
            let delay_ns: u64 = self.number("K4A_SUBORDINATE_DELAY_NS")?.unwrap_or(0);
            self.configuration.subordinate_delay_us = u32::try_from(delay_ns / 1000)
                .map_err(|_| unsupported("a subordinate delay of", delay_ns))?;
        }
        self.configuration.start_offset_ns = match self.number("K4A_START_OFFSET_NS")? {
            Some(ns) => ns,
            None => self.offset_of_imu(),
        };
        Ok(())
    }

    fn note(&mut self, text: &'static str) {
        self.notes.push(Note { at: 0, text });
    }

    fn read_rate(&self) -> Result<Rate> {
        let images = [TrackName::Color, TrackName::Depth, TrackName::Ir];
        let durations = images.iter().filter_map(|name| self.track(*name)?.default_duration_ns);
        let Some(ns) = durations.into_iter().next() else {
            return Ok(Rate::Fps30);
        };
        let fps = 1_000_000_000_u64.checked_div(ns).unwrap_or(0);
        let rate = Rate::ALL.into_iter().find(|rate| u64::from(rate.fps()) == fps);
        rate.ok_or_else(|| unsupported("frames per second:", fps))
    }

    fn read_color(&mut self) -> Result<Option<ColorMode>> {
        let Some(track) = self.track(TrackName::Color) else {
            return Ok(None);
        };
        let fourcc = fourcc(track)?;
        let format: ColorFormat =
            fourcc.parse().map_err(|_| unsupported("color pixels", &fourcc))?;
        let size = size(track);
        let resolution = Resolution::ALL.into_iter().find(|resolution| {
            let (width, height) = resolution.size();
            size == (u64::from(width), u64::from(height))
        });
        if resolution.is_none() {
            self.note("a color size that no mode has: the color mode is unknown");
        }
        Ok(resolution.map(|resolution| ColorMode { format, resolution }))
    }

    fn read_depth(&mut self) -> Result<Option<DepthMode>> {
        let Some(track) = self.track(TrackName::Depth).or(self.track(TrackName::Ir)) else {
            return Ok(None);
        };
        fourcc(track)?;
        let size = size(track);
        let has_depth = self.track(TrackName::Depth).is_some();
        if let Some(mode) = self.tag("K4A_DEPTH_MODE") {
            return mode.parse().map(Some).map_err(|_| unsupported("depth mode", mode));
        }
        let fits = |mode: &DepthMode| {
            let (width, height) = mode.size();
            size == (u64::from(width), u64::from(height)) && mode.has_depth() == has_depth
        };
        let mode = DepthMode::ALL.into_iter().find(fits);
        self.note("no tag K4A_DEPTH_MODE: the depth mode is that of the image size");
        mode.map(Some).ok_or_else(|| unsupported("depth size", format!("{}x{}", size.0, size.1)))
    }

    /// A file without the tag of the start offset was killed before its first flush. Its IMU
    /// samples carry device time, so the first gives the offset back (recording-format.md 8.5).
    fn offset_of_imu(&mut self) -> u64 {
        let offset = self.imu_offset();
        self.note(match offset {
            Some(_) => "no tag K4A_START_OFFSET_NS: the offset is that of the first IMU sample",
            None => "no tag K4A_START_OFFSET_NS: image times count from the start of the file",
        });
        offset.unwrap_or(0)
    }

    /// The start offset in nanoseconds by the first IMU sample and the time of its block.
    pub(super) fn imu_offset(&self) -> Option<u64> {
        let block = self.track_blocks(TrackName::Imu).flatten().next()?;
        let sample = block.frames.clone().next()?.first_chunk::<{ ImuSample::BYTES }>()?;
        let device_ns = ImuSample::from_bytes(sample).accelerometer_ns;
        device_ns.checked_sub(u64::try_from(block.time_ns).ok()?)
    }

    /// A tag's value as a number: leading digits count, as the official reader reads it.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.tag(name) else {
            return Ok(None);
        };
        let digits = |c: char| c.is_ascii_digit() || c == '-';
        let number = &text[..text.find(|c| !digits(c)).unwrap_or(text.len())];
        number.parse().map(Some).map_err(|_| unsupported(&format!("{name} ="), text))
    }

    /// What was configured.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// The file under the recording.
    #[must_use]
    pub fn demuxer(&self) -> &Demuxer<'a> {
        &self.demuxer
    }

    /// What is odd, in the file and in the profile.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The first tag with this name, as the official reader finds it.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        find_tag(self.demuxer.header(), name).map(|tag| tag.value.as_str())
    }

    /// Serial number of the device.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.tag("K4A_DEVICE_SERIAL_NUMBER")
    }

    /// The calibration JSON, without trailing NUL.
    #[must_use]
    pub fn calibration(&self) -> Option<&[u8]> {
        let header = self.demuxer.header();
        let uid = find_tag(header, "K4A_CALIBRATION_FILE").map(|tag| tag.target);
        let by_uid = header.attachments.iter().find(|a| uid == Some(Target::Attachment(a.uid)));
        let file = by_uid.or(header.attachments.iter().find(|a| a.name == CALIBRATION))?;
        let data = file.data.strip_suffix(&[0]).unwrap_or(&file.data);
        (!data.is_empty()).then_some(data)
    }

    fn find(&self, name: TrackName) -> Option<&ProfileTrack> {
        self.tracks.iter().find(|track| track.name == name)
    }

    /// A track of the profile, as it is where it is not packed.
    #[must_use]
    pub fn track(&self, name: TrackName) -> Option<&Track> {
        self.find(name).map(|track| &track.track)
    }

    /// How the blocks of a track are packed; none where they are not.
    #[must_use]
    pub fn packing(&self, name: TrackName) -> Option<Packing> {
        self.find(name)?.packing
    }

    /// Bytes of an unpacked image of raw pixels; none where images have no fixed length, or are
    /// none.
    #[must_use]
    pub fn image_bytes(&self, name: TrackName) -> Option<usize> {
        let track = self.track(name)?;
        Packing::of(track).map(Packing::block_bytes)
    }

    /// What restores the images of a track, where its blocks are packed.
    #[must_use]
    pub fn unpacker(&self, name: TrackName) -> Option<Unpacker> {
        self.packing(name).map(Unpacker::new)
    }

    /// How the images are stored; none where no track is stored otherwise in one profile than in
    /// the other.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        compact::profile(self.demuxer.header())
    }

    /// The tracks of the profile that the recording has.
    pub fn tracks(&self) -> impl Iterator<Item = TrackName> + '_ {
        self.tracks.iter().map(|track| track.name)
    }

    /// Every block of the file, in file order.
    pub fn blocks(&self) -> impl Iterator<Item = Result<ReadBlock<'a>>> + use<'a> {
        blocks_of(self.demuxer.clusters())
    }

    /// The blocks of one track, with every error met on the way.
    fn track_blocks(
        &self,
        name: TrackName,
    ) -> impl Iterator<Item = Result<ReadBlock<'a>>> + use<'a> {
        self.numbered_blocks(self.track(name).map(|track| track.number))
    }

    fn numbered_blocks(
        &self,
        number: Option<u64>,
    ) -> impl Iterator<Item = Result<ReadBlock<'a>>> + use<'a> {
        let none = number.is_none();
        let blocks = self.blocks().take_while(move |_| !none);
        blocks.filter(move |block| block.as_ref().map_or(true, |b| Some(b.track) == number))
    }

    /// The IMU samples, in file order; in the layouts of old recordings too.
    pub fn imu(&self) -> impl Iterator<Item = Result<ImuSample>> + use<'a> {
        samples_of(self.track_blocks(TrackName::Imu))
    }

    /// The IMU samples of the clusters from byte offset `at` on, which is a cluster's own, up to
    /// the first cluster that begins at `until_us` of device time, or later.
    pub fn imu_from(
        &self,
        at: u64,
        until_us: u64,
    ) -> impl Iterator<Item = Result<ImuSample>> + use<'a> {
        let number = self.track(TrackName::Imu).map(|track| track.number);
        let offset_ns = self.configuration.start_offset_ns;
        let begins_us = move |cluster: &Cluster<'_>| {
            device_us(i64::try_from(cluster.time_ns()).unwrap_or(i64::MAX), offset_ns)
        };
        let clusters = self.demuxer.clusters_from(at).take_while(move |cluster| {
            number.is_some() && cluster.as_ref().map_or(true, |c| begins_us(c) < until_us)
        });
        let of_track = move |block: &Result<ReadBlock<'_>>| {
            block.as_ref().map_or(true, |block| Some(block.track) == number)
        };
        samples_of(blocks_of(clusters).filter(of_track))
    }

    /// The data of a track that is none of the profile's: device time in microseconds, and bytes.
    pub fn data(&self, name: &str) -> impl Iterator<Item = Result<(u64, &'a [u8])>> + use<'a> {
        let track = self.demuxer.header().tracks.iter().find(|track| track.name == name);
        let offset_ns = self.configuration.start_offset_ns;
        self.numbered_blocks(track.map(|track| track.number)).flat_map(move |block| {
            let (block, error) = match block {
                Ok(block) => (Some(block), None),
                Err(error) => (None, Some(Err(error))),
            };
            let frames = block.into_iter().flat_map(move |block| {
                let frames = block.frames.clone().enumerate();
                frames.map(move |(i, frame)| {
                    Ok((device_us(block.frame_time_ns(i), offset_ns), frame))
                })
            });
            frames.chain(error)
        })
    }

    /// Device time in microseconds at which the recording begins: that of the earliest block of its
    /// first cluster. The start offset alone does not say it, as it is kept within 32 bits
    /// (recording-format.md 7.4).
    #[must_use]
    pub fn first_us(&self) -> u64 {
        let first = self.demuxer.clusters().flatten().next();
        let times = first.iter().flat_map(|cluster| cluster.blocks().flatten());
        let earliest = times.map(|block| block.time_ns).min().unwrap_or(0);
        device_us(earliest, self.configuration.start_offset_ns)
    }

    /// Device time in microseconds of a time of the file in nanoseconds.
    #[must_use]
    pub fn time_us(&self, time_ns: i64) -> u64 {
        device_us(time_ns, self.configuration.start_offset_ns)
    }

    /// From file time 0 to the last time in the file's last cluster, in microseconds, as the
    /// official reader counts it (recording-format.md 7.5).
    #[must_use]
    pub fn length_us(&self) -> u64 {
        let cues = self.demuxer.cues();
        let last_cue = cues.iter().map(|cue| cue.cluster_at).max();
        let clusters =
            last_cue.map_or_else(|| self.demuxer.clusters(), |at| self.demuxer.clusters_from(at));
        let Some(last) = clusters.flatten().last() else {
            return 0;
        };
        let end_ns = |block: ReadBlock<'_>| {
            let ahead = block.duration_ns.map_or(0, |ns| ns.saturating_sub(1));
            block.time_ns.saturating_add_unsigned(ahead)
        };
        let longest = last.blocks().flatten().map(end_ns).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0) / 1000
    }
}

/// Device time in microseconds of a file time, in 64 bits.
pub(super) fn device_us(time_ns: i64, offset_ns: u64) -> u64 {
    let us = i128::from(time_ns) / 1000 + i128::from(offset_ns / 1000);
    u64::try_from(us.max(0)).unwrap_or(u64::MAX)
}

/// The blocks of clusters, with every error met on the way.
fn blocks_of<'a>(
    clusters: impl Iterator<Item = Result<Cluster<'a>>>,
) -> impl Iterator<Item = Result<ReadBlock<'a>>> {
    clusters.flat_map(|cluster| {
        let (blocks, error) = match cluster {
            Ok(cluster) => (Some(cluster.blocks()), None),
            Err(error) => (None, Some(Err(error))),
        };
        blocks.into_iter().flatten().chain(error)
    })
}

/// The samples of blocks, with every error met on the way.
fn samples_of<'a>(
    blocks: impl Iterator<Item = Result<ReadBlock<'a>>>,
) -> impl Iterator<Item = Result<ImuSample>> {
    blocks.flat_map(|block| {
        let (block, error) = match block {
            Ok(block) => (Some(block), None),
            Err(error) => (None, Some(Err(error))),
        };
        block.into_iter().flat_map(samples).chain(error)
    })
}

/// The samples of a block. Old recordings put several into one frame, back to back.
fn samples(block: ReadBlock<'_>) -> impl Iterator<Item = Result<ImuSample>> + use<'_> {
    block.frames.flat_map(move |frame| {
        let (samples, rest) = frame.as_chunks::<{ ImuSample::BYTES }>();
        let error = (!rest.is_empty() || frame.is_empty()).then(|| {
            let what = "an IMU frame that is not made of samples of 40 bytes";
            Err(Error::new(ErrorKind::Malformed(what), block.at))
        });
        samples.iter().map(|bytes| Ok(ImuSample::from_bytes(bytes))).chain(error)
    })
}

fn unsupported(what: &str, found: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported(format!("{what} {found}")), 0)
}

fn find_tag<'h>(header: &'h Header, name: &str) -> Option<&'h Tag> {
    header.tags.iter().find(|tag| tag.name == name)
}

/// A track by the tag that names its UID, else by its name (recording-format.md 9.1, step 14).
fn find_track(header: &Header, name: TrackName) -> Option<usize> {
    let tag = find_tag(header, &format!("K4A_{name}_TRACK"));
    let uid = tag.and_then(|tag| match tag.target {
        Target::Track(uid) => Some(uid),
        Target::File | Target::Attachment(_) => tag.value.parse().ok(),
    });
    let position = |matches: &dyn Fn(&Track) -> bool| header.tracks.iter().position(matches);
    let by_name = |wanted: &str| position(&|track| track.name == wanted);
    uid.and_then(|uid| position(&|track| track.uid == uid))
        .or_else(|| by_name(&name.to_string()))
        .or_else(|| if name == TrackName::Ir { by_name("DEPTH_IR") } else { None })
}

fn size(track: &Track) -> (u64, u64) {
    match track.kind {
        TrackKind::Video { width, height } => (width, height),
        TrackKind::Subtitle | TrackKind::Other(_) => (0, 0),
    }
}

/// How the pixels of a track are stored.
pub(super) fn fourcc(track: &Track) -> Result<String> {
    let is_video = matches!(track.kind, TrackKind::Video { .. }) && track.codec_id == VIDEO_CODEC;
    match track.codec_private.get(16..20) {
        Some(fourcc) if is_video && track.codec_private.len() == 40 => {
            Ok(String::from_utf8_lossy(fourcc).into_owned())
        }
        _ => Err(unsupported("a track that is not raw video:", &track.name)),
    }
}
