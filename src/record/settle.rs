//! The end of a warm-up: what the cameras' automatics have found is held.

use crate::config::{ColorControls, Opening, Setting};
use crate::device::TakenWith;
use crate::error::{Error, Result};

/// A device whose automatics can be held.
pub trait Automatic {
    /// Whether its color camera is on.
    fn has_color(&self) -> bool;
    /// Whether it gives the pulses, or runs alone.
    fn is_master(&self) -> bool;
    /// Its color controls.
    fn controls(&self) -> &ColorControls;
    /// What its newest color frame was taken with.
    fn taken_with(&self) -> Option<TakenWith>;
    /// Sets these controls.
    ///
    /// # Errors
    /// `Device` or `Usage` when it refuses.
    fn hold(&mut self, controls: &ColorControls) -> Result<()>;
}

/// White balance is set in steps of this many kelvin (usb-protocol.md 6.8).
const KELVIN_STEP: u32 = 10;
const KELVIN_MIN: u32 = 2500;
const KELVIN_MAX: u32 = 12_500;

/// Holds exposure and white balance, where they are automatic and the opening asks for it, at what
/// each camera has found, or all of them at what the master has.
///
/// # Errors
/// `Device` when a camera does not say what it has found, or does not take it.
pub fn settle(opening: &Opening, devices: &mut [impl Automatic]) -> Result<()> {
    if !opening.lock_exposure && !opening.lock_white_balance {
        return Ok(());
    }
    let master = devices.iter().find(|device| device.has_color() && device.is_master());
    let of_master = master.filter(|_| opening.copy_master);
    let of_master = of_master.map(|master| found(opening, master)).transpose()?;
    for device in devices.iter_mut().filter(|device| device.has_color()) {
        let held = match &of_master {
            Some(of_master) => *of_master,
            None => found(opening, device)?,
        };
        device.hold(&held)?;
    }
    Ok(())
}

/// What a camera has found of what is to be held.
fn found(opening: &Opening, device: &impl Automatic) -> Result<ColorControls> {
    let unknown = || {
        Error::Device(
            "a color camera does not say what its frames are taken with, so that exposure and \
             white balance cannot be held: give them as numbers, or leave lock_exposure and \
             lock_white_balance out"
                .to_owned(),
        )
    };
    let controls = device.controls();
    let hold = |lock: bool, now: Option<Setting>, value: fn(TakenWith) -> i32| {
        Ok(match (lock, now) {
            (false, _) => None,
            (true, Some(Setting::Manual(value))) => Some(Setting::Manual(value)),
            (true, _) => Some(Setting::Manual(value(device.taken_with().ok_or_else(unknown)?))),
        })
    };
    Ok(ColorControls {
        exposure: hold(opening.lock_exposure, controls.exposure, |with| with.exposure_us as i32)?,
        white_balance: hold(opening.lock_white_balance, controls.white_balance, kelvin)?,
        ..ColorControls::default()
    })
}

fn kelvin(with: TakenWith) -> i32 {
    let stepped = (with.white_balance_k + KELVIN_STEP / 2) / KELVIN_STEP * KELVIN_STEP;
    stepped.clamp(KELVIN_MIN, KELVIN_MAX) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Camera {
        master: bool,
        controls: ColorControls,
        with: Option<TakenWith>,
    }

    impl Automatic for Camera {
        fn has_color(&self) -> bool {
            true
        }
        fn is_master(&self) -> bool {
            self.master
        }
        fn controls(&self) -> &ColorControls {
            &self.controls
        }
        fn taken_with(&self) -> Option<TakenWith> {
            self.with
        }
        fn hold(&mut self, controls: &ColorControls) -> Result<()> {
            self.controls = *controls;
            Ok(())
        }
    }

    fn cameras() -> [Camera; 2] {
        let camera = |master, exposure_us, white_balance_k| Camera {
            master,
            controls: ColorControls { exposure: Some(Setting::Auto), ..Default::default() },
            with: Some(TakenWith { exposure_us, white_balance_k }),
        };
        [camera(false, 16_670, 4004), camera(true, 8330, 13_000)]
    }

    fn held(
        opening: Opening,
        cameras: &mut [Camera; 2],
    ) -> [(Option<Setting>, Option<Setting>); 2] {
        settle(&opening, cameras).expect("they say what they found");
        [0, 1].map(|i| (cameras[i].controls.exposure, cameras[i].controls.white_balance))
    }

    #[test]
    fn what_is_found_is_held_and_the_masters_is_copied() {
        let manual = |value| Some(Setting::Manual(value));
        let both = Opening { lock_exposure: true, lock_white_balance: true, ..Opening::default() };
        let each = held(both, &mut cameras());
        assert_eq!(each, [(manual(16_670), manual(4000)), (manual(8330), manual(12_500))]);
        let copied = held(Opening { copy_master: true, ..both }, &mut cameras());
        assert_eq!(copied, [(manual(8330), manual(12_500)); 2]);
        let mut by_hand = cameras();
        by_hand[0].controls.exposure = manual(500);
        let exposure = Opening { lock_white_balance: false, ..both };
        assert_eq!(held(exposure, &mut by_hand), [(manual(500), None), (manual(8330), None)]);
        let none = held(Opening::default(), &mut cameras());
        assert_eq!(none, [(Some(Setting::Auto), None); 2]);
    }

    #[test]
    fn a_camera_that_does_not_say_is_named_as_the_cause() {
        let mut cameras = cameras();
        cameras[0].with = None;
        let both = Opening { lock_exposure: true, ..Opening::default() };
        let refusal = settle(&both, &mut cameras).expect_err("unknown").to_string();
        assert!(refusal.contains("lock_exposure"), "{refusal}");
    }
}
