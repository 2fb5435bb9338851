//! `take.toml` held against the files of the take, and against itself.

use super::super::Verdict;
use super::FileVerified;
use genlock_formats::k4a::{Recording, TrackName};
use genlock_formats::take::{Delay, Device, Outcome, Profile, Take};

/// What a file says of itself, in the words of `take.toml`.
#[derive(Debug)]
pub(super) struct Facts {
    bytes: u64,
    serial: Option<String>,
    role: String,
    color_mode: String,
    depth_mode: String,
    rate: u32,
    imu: bool,
    /// None where the profiles do not differ.
    profile: Option<Profile>,
    depth_delay_us: i64,
    delay_off_master_us: i64,
}

impl Facts {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn of(recording: &Recording<'_>, bytes: usize) -> Self {
        let configuration = recording.configuration();
        let off = || "OFF".to_owned();
        Self {
            bytes: bytes as u64,
            serial: recording.serial().map(str::to_owned),
            role: configuration.role.to_string().to_lowercase(),
            color_mode: configuration.color.map_or_else(off, |mode| mode.to_string()),
            depth_mode: configuration.depth.map_or_else(off, |mode| mode.to_string()),
            rate: configuration.rate.fps(),
            imu: configuration.imu,
            profile: recording.profile(),
            depth_delay_us: configuration.depth_delay_us.into(),
            delay_off_master_us: configuration.subordinate_delay_us.into(),
        }
    }
}

/// Holds the files against what `take.toml` says of them, and tells of contradictions.
pub(super) fn compare(take: &Take, files: &[FileVerified], problems: &mut Vec<String>) -> Verdict {
    let mut serials: Vec<_> = take.devices.iter().map(|device| &device.serial).collect();
    serials.sort();
    for twice in serials.windows(2).filter(|pair| pair[0] == pair[1]) {
        problems.push(format!("take.toml names the device {} twice", twice[0]));
    }
    for device in &take.devices {
        compare_device(take.profile, device, files, problems);
        compare_with_asked(take, device, problems);
    }
    let named = |file: &FileVerified| {
        let mut names = take.devices.iter().filter_map(|device| device.file.as_deref());
        names.any(|name| file.path.file_name() == Some(name.as_ref()))
    };
    for file in files.iter().filter(|file| !named(file)) {
        let name = file.path.file_name().unwrap_or_default().display();
        problems.push(format!("{name}: is in the folder, take.toml does not name it"));
    }
    compare_outcome(take, problems);
    match take.outcome {
        _ if !problems.is_empty() => Verdict::Failed,
        Outcome::Losses => Verdict::Losses,
        Outcome::Whole | Outcome::Failed => Verdict::Whole,
    }
}

fn compare_device(
    profile: Profile,
    device: &Device,
    files: &[FileVerified],
    problems: &mut Vec<String>,
) {
    let Some(name) = &device.file else {
        problems.extend(unrecorded(device));
        return;
    };
    let file = files.iter().find(|file| file.path.file_name() == Some(name.as_ref()));
    let Some(file) = file else {
        problems.push(format!("{name}: is missing"));
        return;
    };
    // A file that cannot be read was told of where it was tried.
    let Some(facts) = &file.facts else {
        return;
    };
    compare_tracks(device, name, file, problems);
    let mut differs = |what: &str, found: &str, said: &str| {
        if found != said {
            problems.push(format!("{name}: {what} {found}, take.toml says {said}"));
        }
    };
    let on_off = |on| if on { "on" } else { "off" };
    differs("is of the device", facts.serial.as_deref().unwrap_or("unknown"), &device.serial);
    differs("has the role", &facts.role, &device.role);
    differs("has the color mode", &facts.color_mode, &device.color_mode);
    differs("has the depth mode", &facts.depth_mode, &device.depth_mode);
    differs("has a rate of", &facts.rate.to_string(), &device.rate.to_string());
    differs("has the IMU", on_off(facts.imu), on_off(device.imu));
    differs("has a size of", &facts.bytes.to_string(), &device.bytes.to_string());
    let delay = |delay: Delay| format!("{delay:?}");
    // A delay between cameras of which one is off has no tag.
    if device.color_mode != "OFF" && device.depth_mode != "OFF" {
        let said = delay(device.depth_delay_off_color);
        differs("has a depth delay of", &delay(Delay::of(facts.depth_delay_us)), &said);
    }
    if device.role == "subordinate" {
        let said = delay(device.delay_off_master);
        differs("has a delay of", &delay(Delay::of(facts.delay_off_master_us)), &said);
    }
    if let Some(found) = facts.profile {
        differs("is of profile", &found.to_string(), &profile.to_string());
    }
}

/// What is wrong with a device that has no file. In a take of several hosts there may be such,
/// where all that one was asked for is listed as lost.
fn unrecorded(device: &Device) -> Option<String> {
    let tracks = ["color", "depth", "ir"].map(|track| {
        let lost = device.losses.iter().filter(|loss| loss.track == track);
        lost.fold(0_u64, |sum, loss| sum.saturating_add(loss.count()))
    });
    let mut lost = tracks.into_iter().filter(|lost| *lost > 0).peekable();
    let is_listed = lost.peek().is_some() && lost.all(|lost| lost == device.trigger_count);
    let has_frames = device.frames.values().any(|frames| *frames > 0);
    (device.host.is_none() || has_frames || !is_listed)
        .then(|| format!("{}: nothing was recorded", device.serial))
}

/// Every trigger of every image track is a frame or a loss; samples of the IMU answer none.
fn compare_tracks(device: &Device, name: &str, file: &FileVerified, problems: &mut Vec<String>) {
    for (track, said) in &device.frames {
        let found = file.tracks.iter().find(|found| found.name.eq_ignore_ascii_case(track));
        let found = found.map_or(0, |found| found.frames);
        if found != *said {
            problems.push(format!("{name}: {found} frames of {track}, take.toml says {said}"));
        }
    }
    for track in &file.tracks {
        let track_name = track.name.to_lowercase();
        let Some(frames) = device.frames.get(&track_name) else {
            problems.push(format!("{name}: has a track {track_name}, take.toml names none"));
            continue;
        };
        let lost = device.losses.iter().filter(|loss| loss.track == track_name);
        let lost = lost.fold(0_u64, |sum, loss| sum.saturating_add(loss.count()));
        let count = device.trigger_count;
        if track.track != TrackName::Imu && frames.checked_add(lost) != Some(count) {
            problems.push(format!(
                "{name}: take.toml says {frames} frames of {track_name} and {lost} losses, which \
                 are not its {count} triggers"
            ));
        }
    }
}

/// A whole take has the triggers that were asked for, unless it says why not.
fn compare_with_asked(take: &Take, device: &Device, problems: &mut Vec<String>) {
    let (count, serial) = (device.trigger_count, &device.serial);
    if let (Outcome::Whole, Some(asked), None) = (take.outcome, take.triggers_asked, &take.reason)
        && asked != count
    {
        problems.push(format!("{serial}: {count} triggers of {asked} in a take that is whole"));
    }
}

/// Frames that answer no pulse of the master, which are told of as alarms, are no frames of a
/// trigger: such a take is not whole either.
fn compare_outcome(take: &Take, problems: &mut Vec<String>) {
    let lost = !take.devices.iter().all(Device::is_whole);
    match take.outcome {
        Outcome::Whole if lost => {
            problems.push(
                "take.toml calls the take whole and lists losses, alarms or a failed verdict"
                    .to_owned(),
            );
        }
        Outcome::Losses if !lost => {
            problems.push("take.toml says that there are losses and lists none".to_owned());
        }
        Outcome::Whole | Outcome::Losses => {}
        Outcome::Failed => {
            let reason = take.reason.as_deref().unwrap_or("no reason given");
            problems.push(format!("the take failed: {reason}"));
        }
    }
}
