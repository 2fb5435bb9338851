//! Many devices as one: who leads, in which order they start, and whether they are ready to.
//!
//! The rules of the checks before a take are pure: facts in, [`Finding`]s out. What the machine
//! says is read in [`host`], [`disk`], [`discipline`] and [`list`] alone.

pub mod bandwidth;
pub mod check;
pub mod discipline;
pub mod disk;
mod finding;
pub mod host;
pub mod laser;
pub mod list;

pub use finding::{Finding, Severity};

use crate::config::DeviceConfig;
use crate::device::Jacks;
use crate::error::{Error, Result};
use genlock_formats::k4a::Role;

/// The roles of several devices, read off their jacks: the one with a cable in sync-out alone is
/// the master, those with one in sync-in are its subordinates. A device alone needs nobody.
///
/// # Errors
/// `Device` when the cables do not make a rig of one master and its subordinates.
pub fn roles(devices: &[(String, Jacks)]) -> Result<Vec<Role>> {
    if devices.len() == 1 {
        return Ok(vec![Role::Standalone]);
    }
    let roles = devices.iter().map(|(serial, jacks)| role(serial, *jacks));
    let roles = roles.collect::<Result<Vec<_>>>()?;
    let masters: Vec<_> = devices
        .iter()
        .zip(&roles)
        .filter(|(_, role)| **role == Role::Master)
        .map(|((serial, _), _)| serial.as_str())
        .collect();
    match masters[..] {
        [_] => Ok(roles),
        [] => Err(Error::Device(
            "no device has a cable in sync-out and none in sync-in: the cables form a ring or come \
             from outside; begin the chain at the sync-out of one device"
                .to_owned(),
        )),
        _ => Err(Error::Device(format!(
            "{} each have a cable in sync-out alone: a rig has one master; check the cables",
            masters.join(" and ")
        ))),
    }
}

fn role(serial: &str, jacks: Jacks) -> Result<Role> {
    match (jacks.sync_in, jacks.sync_out) {
        (true, _) => Ok(Role::Subordinate),
        (false, true) => Ok(Role::Master),
        (false, false) => Err(Error::Device(format!(
            "{serial} has no sync cable; plug sync-out of the device before it in the chain into \
             its sync-in, or record it alone with --serial {serial}"
        ))),
    }
}

/// When a device starts: subordinates wait for pulses, so they come first, and the master last.
#[must_use]
pub fn start_rank(role: Role) -> u8 {
    match role {
        Role::Subordinate => 0,
        Role::Standalone => 1,
        Role::Master => 2,
    }
}

/// Microseconds between the depth exposures of two devices, so that no laser shines into another's
/// exposure: a pulse of 125 us, and slack for the clocks (usb-protocol.md 13.2).
pub const LADDER_STEP_US: i32 = 160;

/// The same for a rig of ten: their ladder fills the gap between two pulses, and what rounding to
/// ticks adds to steps of 160 us would push the tenth into the first's next pulse. A device makes
/// 14 ticks of this step too, but of every multiple of it the same multiple of 14 ticks.
const FULL_LADDER_STEP_US: i32 = 156;

/// Sets the depth exposures of a rig apart by [`LADDER_STEP_US`], in the order given. Devices
/// without a laser to disturb, or without color to be delayed against, stay as they are.
pub fn raise_ladder(configs: &mut [DeviceConfig]) {
    let shines = |config: &&mut DeviceConfig| {
        config.color.is_some() && config.depth.is_some_and(|mode| mode.has_depth())
    };
    let lasers = configs.iter_mut().filter(shines).count();
    let step_us = if lasers > 9 { FULL_LADDER_STEP_US } else { LADDER_STEP_US };
    for (step, config) in (0..).zip(configs.iter_mut().filter(shines)) {
        config.depth_delay_us = step * step_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_leaves_out_who_has_no_laser() {
        let mut configs = vec![DeviceConfig::default(); 4];
        configs[1].depth = None;
        raise_ladder(&mut configs);
        let delays: Vec<_> = configs.iter().map(|config| config.depth_delay_us).collect();
        assert_eq!(delays, [0, 0, 160, 320]);
    }

    fn device(serial: &str, sync_in: bool, sync_out: bool) -> (String, Jacks) {
        (serial.to_owned(), Jacks { sync_in, sync_out })
    }

    #[test]
    fn the_cables_give_the_roles() {
        let chain = [device("1", true, true), device("2", false, true), device("3", true, false)];
        let expected = vec![Role::Subordinate, Role::Master, Role::Subordinate];
        assert_eq!(roles(&chain), Ok(expected));
        assert_eq!(roles(&[device("1", false, false)]), Ok(vec![Role::Standalone]));
    }

    #[test]
    fn cables_that_make_no_rig_are_refused_by_name() {
        let refusal = |devices: &[_]| roles(devices).expect_err("no rig").to_string();
        let two = refusal(&[device("1", false, true), device("2", false, true)]);
        assert!(two.contains("1 and 2"), "{two}");
        let ring = refusal(&[device("1", true, true), device("2", true, true)]);
        assert!(ring.contains("ring"), "{ring}");
        let alone = refusal(&[device("1", false, true), device("2", false, false)]);
        assert!(alone.contains("2 has no sync cable"), "{alone}");
    }
}
