//! Whether devices make a rig: roles, sync cables, firmware, modes. Pure: facts in, findings out.

use crate::config::DeviceConfig;
use crate::device::{Firmware, Jacks};
use crate::rig::Finding;
use genlock_formats::k4a::Role;

/// What is known of one device before a take.
#[derive(Debug, Clone)]
pub struct DeviceFacts {
    /// Serial number.
    pub serial: String,
    /// What it is asked to do.
    pub config: DeviceConfig,
    /// What is plugged into its sync jacks, where it could be asked.
    pub jacks: Option<Jacks>,
    /// Its firmware, where it could be asked.
    pub firmware: Option<Firmware>,
}

/// Subordinates of a master at most: in a chain of cables, and at its sync-out alone
/// (usb-protocol.md 13.2).
const CHAIN_MAX: usize = 8;
const STAR_MAX: usize = 2;

fn serials<'d>(devices: impl IntoIterator<Item = &'d DeviceFacts>) -> String {
    devices.into_iter().map(|device| device.serial.as_str()).collect::<Vec<_>>().join(", ")
}

fn having(devices: &[DeviceFacts], role: Role) -> Vec<&DeviceFacts> {
    devices.iter().filter(|device| device.config.role == role).collect()
}

/// One master and its subordinates, or one device alone. That a master streams color is a matter of
/// its own configuration, which `DeviceConfig::validate` judges.
#[must_use]
pub fn roles(devices: &[DeviceFacts]) -> Vec<Finding> {
    let masters = having(devices, Role::Master);
    let mut findings = Vec::new();
    if devices.len() < 2 {
        return findings;
    }
    let alone = having(devices, Role::Standalone);
    if !alone.is_empty() {
        findings.push(Finding::error(
            serials(alone),
            "standalone in a rig of several: it would run on a clock of its own, out of step",
            "make it a subordinate, or record it by itself",
        ));
    }
    match masters[..] {
        [] => findings.push(Finding::error(
            "rig",
            "no device is the master: subordinates wait for pulses that nobody gives",
            "make the first device of the sync chain the master",
        )),
        [master] if findings.is_empty() => {
            let what = format!("{} devices, master {}", devices.len(), master.serial);
            findings.push(Finding::good("rig", what));
        }
        [_] => {}
        _ => findings.push(Finding::error(
            serials(masters.iter().copied()),
            "each is a master: their frames would not be in step",
            "make all but one of them subordinates",
        )),
    }
    findings
}

/// Whether the sync cables carry the pulses of the master to its subordinates.
#[must_use]
pub fn cables(devices: &[DeviceFacts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked = devices.iter().filter_map(|device| Some((device, device.jacks?)));
    let asked: Vec<_> = asked.collect();
    for (device, jacks) in &asked {
        findings.extend(cable(device, *jacks));
    }
    let subordinates = having(devices, Role::Subordinate).len();
    let outs = asked.iter().filter(|(_, jacks)| jacks.sync_out).count();
    let ins = asked.iter().filter(|(_, jacks)| jacks.sync_in).count();
    let all_asked = asked.len() == devices.len();
    if devices.len() > 1 && all_asked && outs > ins {
        findings.push(Finding::warning(
            "rig",
            format!(
                "{outs} cables leave a sync-out, but only {ins} arrive at a sync-in: one leads \
                 out of the rig, or is not plugged in at its other end"
            ),
            "follow the cables, and plug them in",
        ));
    }
    if all_asked && outs == 1 && subordinates > STAR_MAX {
        findings.push(Finding::warning(
            "rig",
            format!(
                "{subordinates} subordinates share the master's sync-out: its signal drives \
                 {STAR_MAX}"
            ),
            "chain them, sync-out to sync-in",
        ));
    } else if subordinates > CHAIN_MAX {
        findings.push(Finding::warning(
            "rig",
            format!("{subordinates} subordinates: Microsoft supports a chain of {CHAIN_MAX}"),
            "split the rig, or make sure with a test take that the last one keeps step",
        ));
    }
    let in_sync = devices.iter().any(|device| device.config.role != Role::Standalone);
    if findings.is_empty() && all_asked && in_sync {
        findings.push(Finding::good("rig", "sync cables as the roles need them"));
    }
    findings
}

fn cable(device: &DeviceFacts, jacks: Jacks) -> Option<Finding> {
    let serial = &device.serial;
    match device.config.role {
        Role::Master if !jacks.sync_out => Some(Finding::error(
            serial,
            "a master needs a cable in its sync-out jack, and there is none: nobody gets its \
             pulses",
            "plug it in, or choose another role (--external-sync)",
        )),
        Role::Master if jacks.sync_in => Some(Finding::warning(
            serial,
            "the master has a cable in sync-in: the cables form a ring, or something else \
             triggers it",
            "unplug it, unless an external trigger is what you want",
        )),
        Role::Subordinate if !jacks.sync_in => Some(Finding::error(
            serial,
            "a subordinate needs a cable in its sync-in jack, and there is none: it would wait \
             for pulses for ever",
            "plug in the sync-out of the device before it, or choose another role \
             (--external-sync)",
        )),
        _ => None,
    }
}

/// Whether all run the same firmware, and one that Microsoft suggests.
#[must_use]
pub fn firmware(devices: &[DeviceFacts]) -> Vec<Finding> {
    let known = devices.iter().filter_map(|device| Some((&device.serial, device.firmware?)));
    let known: Vec<_> = known.collect();
    let Some(newest) = known.iter().map(|(_, f)| (f.color, f.depth)).max() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let versions = |f: &Firmware| format!("color {}, depth {}", f.color, f.depth);
    for (serial, firmware) in &known {
        if (firmware.color, firmware.depth) != newest {
            findings.push(Finding::error(
                *serial,
                format!(
                    "firmware {}, others of the rig have color {}, depth {}: their first \
                     timestamps after a reset differ by more than 100 ms",
                    versions(firmware),
                    newest.0,
                    newest.1
                ),
                "give all devices the same firmware with Microsoft's AzureKinectFirmwareTool",
            ));
        } else if let Some((name, found, suggested)) = firmware.outdated() {
            findings.push(Finding::warning(
                *serial,
                format!("its {name} firmware {found} is older than Microsoft suggests"),
                format!("update it to {suggested} with Microsoft's AzureKinectFirmwareTool"),
            ));
        }
    }
    if let ([], [(_, first), ..]) = (&findings[..], &known[..]) {
        let same = if known.len() > 1 { "the same on all: " } else { "" };
        findings.push(Finding::good("firmware", format!("{same}{}", versions(first))));
    }
    findings
}

/// Whether the devices' modes go together.
#[must_use]
pub fn modes(devices: &[DeviceFacts]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(first) = devices.first() else {
        return findings;
    };
    let rates = groups(devices, |config| format!("{} fps", config.rate));
    if rates.len() > 1 {
        findings.push(Finding::error(
            "rig",
            format!("different rates ({}): subordinates follow the pulses", told(&rates)),
            "give all devices the rate of the master",
        ));
    }
    let color = groups(devices, |config| name(config.color));
    if color.len() > 1 {
        findings.push(Finding::warning(
            "rig",
            format!(
                "different color modes ({}): exposures are of different length, so that their \
                 centres shift against each other",
                told(&color)
            ),
            "give all devices one color mode, and the same manual exposure",
        ));
    }
    let depth = groups(devices, |config| name(config.depth));
    if depth.len() > 1 {
        findings.push(Finding::warning(
            "rig",
            format!(
                "different depth modes ({}): laser pulses of different spacing run into each \
                 other, and ranges and fields of view differ",
                told(&depth)
            ),
            "give all devices one depth mode",
        ));
    }
    if findings.is_empty() {
        let config = &first.config;
        let (color, depth) = (name(config.color), name(config.depth));
        let what = format!("color {color}, depth {depth}, {} fps", config.rate);
        findings.push(Finding::good("modes", what));
    }
    findings
}

fn name(mode: Option<impl ToString>) -> String {
    mode.map_or("OFF".to_owned(), |mode| mode.to_string())
}

/// The devices by what they have, in order of first appearance.
fn groups(
    devices: &[DeviceFacts],
    of: impl Fn(&DeviceConfig) -> String,
) -> Vec<(String, Vec<&DeviceFacts>)> {
    let mut groups: Vec<(String, Vec<_>)> = Vec::new();
    for device in devices {
        let value = of(&device.config);
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, members)) => members.push(device),
            None => groups.push((value, vec![device])),
        }
    }
    groups
}

fn told(groups: &[(String, Vec<&DeviceFacts>)]) -> String {
    let group = |(value, devices): &(String, Vec<&DeviceFacts>)| {
        format!("{}: {value}", serials(devices.iter().copied()))
    };
    groups.iter().map(group).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Version;
    use crate::rig::Severity;
    use genlock_formats::k4a::{DepthMode, Rate};

    const CHAIN_START: Jacks = Jacks { sync_in: false, sync_out: true };
    const CHAIN: Jacks = Jacks { sync_in: true, sync_out: true };
    const CHAIN_END: Jacks = Jacks { sync_in: true, sync_out: false };

    fn device(serial: usize, role: Role, jacks: Jacks) -> DeviceFacts {
        let firmware = Firmware {
            color: Version([1, 6, 110]),
            depth: Version([1, 6, 79]),
            audio: Version([1, 6, 14]),
            depth_config: Version([6109, 7, 0]),
        };
        DeviceFacts {
            serial: serial.to_string(),
            config: DeviceConfig { role, ..DeviceConfig::default() },
            jacks: Some(jacks),
            firmware: Some(firmware),
        }
    }

    /// A master and this many subordinates behind it.
    fn chain(subordinates: usize) -> Vec<DeviceFacts> {
        let mut rig = vec![device(0, Role::Master, CHAIN_START)];
        rig.extend((1..=subordinates).map(|i| device(i, Role::Subordinate, CHAIN)));
        if let Some(last) = rig.last_mut().filter(|last| last.config.role != Role::Master) {
            last.jacks = Some(CHAIN_END);
        }
        rig
    }

    #[track_caller]
    fn one(findings: &[Finding], severity: Severity, about: &str, words: &[&str]) {
        let [finding] = findings else { panic!("one finding: {findings:?}") };
        assert_eq!((finding.severity, finding.about.as_str()), (severity, about), "{finding}");
        let text = finding.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text:?} lacks {words:?}");
        assert_eq!(finding.fix.is_some(), severity != Severity::Good, "{text}");
    }

    #[test]
    fn a_rig_has_one_master_and_nobody_beside_its_subordinates() {
        one(&roles(&chain(2)), Severity::Good, "rig", &["3 devices", "master 0"]);
        assert_eq!(roles(&[device(0, Role::Standalone, CHAIN_END)]), []);
        let mut rig = chain(2);
        rig[0].config.role = Role::Subordinate;
        one(&roles(&rig), Severity::Error, "rig", &["no device is the master"]);
        rig[0].config.role = Role::Master;
        rig[2].config.role = Role::Master;
        one(&roles(&rig), Severity::Error, "0, 2", &["each is a master"]);
        rig[2].config.role = Role::Standalone;
        one(&roles(&rig), Severity::Error, "2", &["standalone"]);
    }

    #[test]
    fn jacks_are_held_against_roles() {
        one(&cables(&chain(2)), Severity::Good, "rig", &["cables"]);
        assert_eq!(cables(&[device(0, Role::Standalone, CHAIN_START)]), []);
        let alone = device(7, Role::Master, CHAIN_END);
        one(&cables(&[alone]), Severity::Error, "7", &["sync-out"]);
        let alone = device(7, Role::Subordinate, CHAIN_START);
        one(&cables(&[alone]), Severity::Error, "7", &["sync-in"]);
        let mut rig = chain(1);
        rig[0].jacks = Some(CHAIN);
        one(&cables(&rig), Severity::Warning, "0", &["ring", "external trigger"]);
    }

    #[test]
    fn a_cable_that_leads_outside_is_noticed() {
        let mut rig = chain(2);
        rig[2].jacks = Some(CHAIN);
        one(&cables(&rig), Severity::Warning, "rig", &["3 cables leave", "only 2 arrive"]);
        rig[1].jacks = None;
        assert_eq!(cables(&rig), [], "cables are counted where all devices could be asked");
    }

    #[test]
    fn a_star_of_two_and_a_chain_of_eight_are_the_most() {
        let star = |subordinates: usize| {
            let mut rig = chain(subordinates);
            rig[1..].iter_mut().for_each(|device| device.jacks = Some(CHAIN_END));
            cables(&rig)
        };
        one(&star(2), Severity::Good, "rig", &[]);
        one(&star(3), Severity::Warning, "rig", &["3 subordinates share"]);
        one(&cables(&chain(8)), Severity::Good, "rig", &[]);
        one(&cables(&chain(9)), Severity::Warning, "rig", &["9 subordinates", "8"]);
    }

    #[test]
    fn firmware_is_equal_and_as_suggested() {
        let mut rig = chain(1);
        one(&firmware(&rig), Severity::Good, "firmware", &["the same", "1.6.110", "1.6.79"]);
        let set = |device: &mut DeviceFacts, build: u16| {
            device.firmware.as_mut().expect("it is known").color = Version([1, 6, build]);
        };
        set(&mut rig[1], 102);
        one(&firmware(&rig), Severity::Error, "1", &["1.6.102", "1.6.110", "100 ms"]);
        set(&mut rig[0], 102);
        let both = firmware(&rig);
        one(&both[..1], Severity::Warning, "0", &["1.6.102", "update it to 1.6.110"]);
        one(&both[1..], Severity::Warning, "1", &["1.6.102", "1.6.110"]);
        rig[1].firmware = None;
        set(&mut rig[0], 111);
        one(&firmware(&rig), Severity::Good, "firmware", &["1.6.111"]);
    }

    #[test]
    fn rates_must_be_equal_and_modes_should_be() {
        let mut rig = chain(1);
        one(&modes(&rig), Severity::Good, "modes", &["MJPG_1080P", "NFOV_UNBINNED", "30 fps"]);
        rig[1].config.rate = Rate::Fps15;
        one(&modes(&rig), Severity::Error, "rig", &["0: 30 fps; 1: 15 fps", "rate of the master"]);
        rig[1].config.rate = Rate::Fps30;
        rig[1].config.color = None;
        one(&modes(&rig), Severity::Warning, "rig", &["0: MJPG_1080P; 1: OFF"]);
        rig[1].config.color = rig[0].config.color;
        rig[1].config.depth = Some(DepthMode::PassiveIr);
        one(&modes(&rig), Severity::Warning, "rig", &["1: PASSIVE_IR", "laser"]);
        assert_eq!(modes(&[]), []);
    }
}
