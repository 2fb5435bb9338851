//! Bytes per second: over each USB controller, to the disk, and the memory that transfers need.

use crate::config::DeviceConfig;
use crate::device::raw_frame_bytes;
use crate::rig::Finding;
use crate::usb::{TransferKind, in_flight};
use genlock_formats::k4a::{ColorFormat, ImuSample};
use genlock_formats::take::Profile;

/// What a controller carries, INFERRED: 8b/10b coding leaves 500 MB/s of a 5 Gb/s link, of which
/// protocol takes about a fifth. For a whole controller: some have a faster link behind several
/// ports, many cards do not.
pub const CONTROLLER_BYTES_PER_S: u64 = 400_000_000;

/// Of its load in percent, where a controller has no room left for bursts.
const BUSY_PERCENT: u64 = 80;

/// IMU packets and samples in a second (spec/users.md D: 1666 to 1680 Hz; usb-protocol.md 4: a
/// packet has 8 samples and 252 bytes).
const IMU_SAMPLES_PER_S: u64 = 1680;
const IMU_PACKET_BYTES: u64 = 252;
const IMU_PACKET_SAMPLES: u64 = 8;

/// Bytes of a color frame. Those of MJPG depend on the scene: 0.4 bytes a pixel are INFERRED from
/// two recordings of real devices, a 720p frame with 0.22, and 4 GB/min of color and NFOV depth
/// (spec/users.md D), which leave 0.36 at 1080p and 30 fps.
#[must_use]
pub fn color_bytes(config: &DeviceConfig) -> u64 {
    config.color.map_or(0, |mode| {
        let (width, height) = mode.size();
        match mode.format {
            ColorFormat::Mjpg => u64::from(width) * u64::from(height) * 2 / 5,
            _ => mode.image_bytes_max() as u64,
        }
    })
}

/// Bytes per second of a device over USB: raw depth frames, color, IMU packets.
#[must_use]
pub fn usb_bytes_per_s(config: &DeviceConfig) -> u64 {
    let depth = config.depth.map_or(0, |mode| raw_frame_bytes(mode) as u64);
    let imu =
        if config.imu { IMU_SAMPLES_PER_S / IMU_PACKET_SAMPLES * IMU_PACKET_BYTES } else { 0 };
    (depth + color_bytes(config)) * u64::from(config.rate.fps()) + imu
}

/// What depth and IR images are packed to at most, INFERRED: one of so many parts of their bytes.
/// IR packs worst, to 2.3 and more of real scenes (spec/depth-codec.md 4), and noise of a dark one
/// packs worse than that. Raw color depends on the scene as JPEG does and is counted whole.
const PACKED_PARTS: u64 = 2;

/// Bytes per second of a device to the disk: depth and IR images, color, IMU samples.
#[must_use]
pub fn disk_bytes_per_s(config: &DeviceConfig, profile: Profile) -> u64 {
    let depth = config.depth.map_or(0, |mode| {
        let images = if mode.has_depth() { 2 } else { 1 };
        images * mode.image_bytes() as u64
    });
    let depth = match profile {
        Profile::K4a => depth,
        Profile::Compact => depth / PACKED_PARTS,
    };
    let imu = if config.imu { IMU_SAMPLES_PER_S * ImuSample::BYTES as u64 } else { 0 };
    (depth + color_bytes(config)) * u64::from(config.rate.fps()) + imu
}

/// What the color stream moves in a service interval at most, INFERRED: the alternate settings of a
/// real device are not known (usb-protocol.md 15, unknown 2).
const COLOR_INTERVAL_BYTES: usize = 24_576;

/// Bytes of the transfers that a device has in flight.
#[must_use]
pub fn transfer_bytes(config: &DeviceConfig) -> u64 {
    let bulk = |bytes| in_flight(TransferKind::Bulk, bytes);
    let isochronous = TransferKind::Isochronous { packet_bytes: COLOR_INTERVAL_BYTES };
    let streams = [
        config.depth.map(|mode| bulk(raw_frame_bytes(mode))),
        config.color.map(|_| in_flight(isochronous, 0)),
        config.imu.then(|| bulk(IMU_PACKET_BYTES as usize)),
    ];
    streams.into_iter().flatten().map(|stream| (stream.count * stream.bytes) as u64).sum()
}

/// A device and what it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Serial number.
    pub serial: String,
    /// The controller that it is plugged into.
    pub controller: String,
    /// What it sends.
    pub bytes_per_s: u64,
}

/// Bytes, or bytes per second, in millions.
fn mb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

/// Whether each controller carries what its devices send.
#[must_use]
pub fn controllers(loads: &[Load]) -> Vec<Finding> {
    let mut names: Vec<_> = loads.iter().map(|load| load.controller.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let on = |name: &str| loads.iter().filter(|load| load.controller == name).collect::<Vec<_>>();
    names
        .into_iter()
        .flat_map(|name| [Some(controller(name, &on(name))), doubtful(name)])
        .flatten()
        .collect()
}

/// What Microsoft says of the controller's maker (spec/users.md D).
fn doubtful(name: &str) -> Option<Finding> {
    let what = format!("{name}: Microsoft lists controllers of this maker as incompatible");
    let fix = "use a controller of Intel, TI or Renesas";
    name.starts_with("ASMedia").then(|| Finding::warning("USB", what, fix))
}

fn controller(name: &str, loads: &[&Load]) -> Finding {
    let total = loads.iter().fold(0, |sum: u64, load| sum.saturating_add(load.bytes_per_s));
    let each = loads.iter().map(|load| format!("{} {}", load.serial, mb(load.bytes_per_s)));
    let each = each.collect::<Vec<_>>().join(", ");
    let most = CONTROLLER_BYTES_PER_S;
    let what = format!("{name}: {} of {} MB/s ({each})", mb(total), mb(most));
    let fix = if loads.len() > 1 {
        "plug one camera into each controller, or choose smaller modes or a lower rate"
    } else {
        "choose smaller modes or a lower rate"
    };
    if total > most {
        Finding::error("USB", what + ": more than it carries, frames will be lost", fix)
    } else if total > most / 100 * BUSY_PERCENT {
        Finding::warning("USB", what + ": little is left for bursts, frames may be lost", fix)
    } else {
        Finding::good("USB", what)
    }
}

/// Whether the kernel lends USB programs the memory that the transfers in flight need.
/// `limit_mb` is `usbfs_memory_mb`, where 0 is no limit.
#[must_use]
pub fn transfer_memory(limit_mb: Option<u64>, configs: &[DeviceConfig]) -> Finding {
    /// The parameter counts in these.
    const MIB: u64 = 1 << 20;
    let need_mb = configs.iter().map(transfer_bytes).sum::<u64>().div_ceil(MIB);
    // Microsoft's advice for two cameras is the least that is worth setting.
    let advised_mb = need_mb.next_power_of_two().max(32);
    let fix = format!(
        "`echo {advised_mb} | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb`; for good: \
         add usbcore.usbfs_memory_mb={advised_mb} to the kernel's command line (GRUB_CMDLINE_LINUX)"
    );
    match limit_mb {
        None => Finding::warning(
            "host",
            "cannot read usbfs_memory_mb: whether there is memory for USB transfers is not known",
            format!("on the machine itself, outside of a container: {fix}"),
        ),
        Some(limit_mb @ 1..) if 2 * limit_mb < need_mb => Finding::error(
            "host",
            format!(
                "usbfs_memory_mb is {limit_mb}, and the transfers in flight need {need_mb}: \
                 cameras would not start"
            ),
            fix,
        ),
        // Streams make do with a quarter of their transfers, and have the less time to spare.
        Some(limit_mb @ 1..) if limit_mb < need_mb => Finding::warning(
            "host",
            format!(
                "usbfs_memory_mb is {limit_mb}, and the transfers in flight want {need_mb}: \
                 frames are lost sooner when the machine is busy"
            ),
            fix,
        ),
        Some(0) => Finding::good("host", "usbfs_memory_mb has no limit"),
        Some(limit_mb) => {
            Finding::good("host", format!("usbfs_memory_mb is {limit_mb}, needed {need_mb}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Severity;
    use genlock_formats::k4a::{DepthMode, Rate};

    fn config(color: &str, depth: Option<DepthMode>) -> DeviceConfig {
        DeviceConfig { color: color.parse().ok(), depth, imu: false, ..DeviceConfig::default() }
    }

    #[test]
    fn rates_are_those_of_the_modes() {
        // usb-protocol.md 3.6: NFOV 159 MB/s; spec/users.md D: 44.2 to disk, YUY2 55.3, NV12 41.5.
        let nfov = config("off", Some(DepthMode::NfovUnbinned));
        let disk_bytes_per_s = |config: &_| disk_bytes_per_s(config, Profile::K4a);
        assert_eq!(usb_bytes_per_s(&nfov), 159_322_800);
        assert_eq!(disk_bytes_per_s(&nfov), 44_236_800);
        let passive = config("off", Some(DepthMode::PassiveIr));
        assert_eq!(disk_bytes_per_s(&passive), 62_914_560);
        assert_eq!(disk_bytes_per_s(&config("720p_YUY2", None)), 55_296_000);
        assert_eq!(usb_bytes_per_s(&config("720p_NV12", None)), 41_472_000);
        assert_eq!(usb_bytes_per_s(&config("1080p", None)), 24_883_200);
        let imu = DeviceConfig { imu: true, ..config("off", None) };
        assert_eq!(usb_bytes_per_s(&imu), 52_920);
        assert_eq!(disk_bytes_per_s(&imu), 1680 * ImuSample::BYTES as u64);
        let packed = |config: &_| super::disk_bytes_per_s(config, Profile::Compact);
        assert_eq!(packed(&nfov), 44_236_800 / 2);
        assert_eq!(packed(&config("720p_NV12", None)), 41_472_000);
        let slow = DeviceConfig { rate: Rate::Fps5, ..nfov };
        assert_eq!(usb_bytes_per_s(&slow), 26_553_800);
    }

    fn of(loads: &[(&str, &str, u64)]) -> Vec<Finding> {
        let load = |(serial, controller, bytes_per_s): &(&str, &str, u64)| Load {
            serial: (*serial).to_owned(),
            controller: (*controller).to_owned(),
            bytes_per_s: *bytes_per_s,
        };
        controllers(&loads.iter().map(load).collect::<Vec<_>>())
    }

    #[test]
    fn a_controller_carries_so_much_and_no_more() {
        let severity = |bytes| of(&[("1", "a", bytes)])[0].severity;
        assert_eq!(severity(320_000_000), Severity::Good);
        assert_eq!(severity(320_000_001), Severity::Warning);
        assert_eq!(severity(400_000_000), Severity::Warning);
        assert_eq!(severity(400_000_001), Severity::Error);
    }

    #[test]
    fn devices_are_added_up_by_controller() {
        let findings = of(&[("1", "b", 250_000_000), ("2", "a", 1), ("3", "b", 200_000_000)]);
        let [good, error] = &findings[..] else { panic!("two controllers: {findings:?}") };
        assert_eq!(good.what, "a: 1 of 400 MB/s (2 1)");
        assert_eq!(error.severity, Severity::Error);
        assert!(error.what.starts_with("b: 450 of 400 MB/s (1 250, 3 200)"), "{error}");
        assert!(error.fix.as_ref().is_some_and(|fix| fix.contains("one camera")), "{error}");
        let shared = of(&[("1", "a", 2_000_000), ("2", "a", 3_000_000)]);
        assert_eq!(shared[0].what, "a: 5 of 400 MB/s (1 2, 2 3)");
        assert_eq!(shared.len(), 1);
        let doubtful = of(&[("1", "ASMedia controller 0000:03:00.0", 1)]);
        assert_eq!(doubtful[1].severity, Severity::Warning);
        assert!(doubtful[1].what.contains("0000:03:00.0"), "{}", doubtful[1]);
    }

    #[test]
    fn transfers_in_flight_need_memory() {
        let nfov = config("1080p", Some(DepthMode::NfovUnbinned));
        // 22 transfers of 512 KiB for depth, and 16 of 32 packets of 24 KiB for color: 23 MiB.
        let finding = |limit, count| transfer_memory(limit, &vec![nfov.clone(); count]);
        assert_eq!(finding(Some(23), 1).severity, Severity::Good);
        assert_eq!(finding(Some(16), 1).severity, Severity::Warning);
        let short = finding(Some(16), 2);
        assert_eq!(short.severity, Severity::Error);
        let text = short.to_string();
        assert!(text.contains("is 16") && text.contains("need 46"), "{text}");
        assert!(
            text.contains("echo 64 |") && text.contains("usbcore.usbfs_memory_mb=64"),
            "{text}"
        );
        assert!(finding(Some(16), 1).to_string().contains("echo 32 |"));
        assert_eq!(finding(Some(0), 32).severity, Severity::Good);
        assert_eq!(finding(None, 1).severity, Severity::Warning);
    }
}
