//! What a recording that was never finished does not say of itself, rebuilt from what is there.

use super::mode::TrackName;
use super::recording::Recording;
use crate::mkv::{Tag, Target};

/// What is missing in the front of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Tags to add.
    pub tags: Vec<Tag>,
    /// What was rebuilt, in words.
    pub rebuilt: Vec<String>,
    /// What nobody can know any more, in words.
    pub unknown: Vec<String>,
    /// Whether the official reader refuses the recording without these tags.
    pub is_needed: bool,
}

impl Recording<'_> {
    /// What the recording should say of itself and does not.
    #[must_use]
    pub fn rebuilt(&self) -> Rebuilt {
        let mut all = Rebuilt::default();
        if !self.demuxer().has_info() {
            let scale_ns = self.demuxer().header().info.timestamp_scale_ns;
            all.rebuilt.push(format!("the time scale: {scale_ns} ns, as the profile has it"));
            all.unknown.push("when it was recorded, and by which program".to_owned());
        }
        self.rebuild_modes(&mut all);
        self.rebuild_offset(&mut all);
        if self.tag("K4A_WIRED_SYNC_MODE").is_none() {
            let text = "the role in wired synchronization, and the delays: read as standalone, 0";
            all.unknown.push(text.to_owned());
        }
        if self.serial().is_none() {
            all.unknown.push("the serial number of the device".to_owned());
        }
        all
    }

    fn rebuild_modes(&self, all: &mut Rebuilt) {
        let mut add = |name: &str, target, value: String| {
            all.rebuilt.push(format!("{name}: {value}, by the size of the images"));
            all.tags.push(Tag { target, name: name.to_owned(), value });
        };
        let track = |name| self.track(name).map(|track| Target::Track(track.uid));
        let configuration = self.configuration();
        if let (Some(mode), Some(target)) = (configuration.color, track(TrackName::Color))
            && self.tag("K4A_COLOR_MODE").is_none()
        {
            add("K4A_COLOR_MODE", target, mode.to_string());
        }
        if let Some(mode) = configuration.depth
            && self.tag("K4A_DEPTH_MODE").is_none()
        {
            let target = track(TrackName::Depth).unwrap_or(Target::File);
            add("K4A_DEPTH_MODE", target, mode.to_string());
            all.is_needed = true;
        }
    }

    fn rebuild_offset(&self, all: &mut Rebuilt) {
        const NAME: &str = "K4A_START_OFFSET_NS";
        if self.tag(NAME).is_some() {
            return;
        }
        let Some(ns) = self.imu_offset() else {
            let text = "absolute device time: there is no IMU sample to tell it, and image times \
                        count from the start of the file";
            all.unknown.push(text.to_owned());
            return;
        };
        all.rebuilt.push(format!("{NAME}: {ns}, by the first IMU sample, which has device time"));
        all.tags.push(Tag { target: Target::File, name: NAME.to_owned(), value: ns.to_string() });
    }
}
