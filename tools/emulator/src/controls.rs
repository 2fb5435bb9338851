//! Color controls over UVC, with the ranges of the device (usb-protocol.md 6.8).

use crate::descriptors::{CAMERA_TERMINAL, PROCESSING_UNIT};
use crate::usb::{Request, Stall};

/// One control: where it is, how wide, and what it accepts.
#[derive(Debug, Clone, Copy)]
struct Control {
    unit: u8,
    selector: u8,
    bytes: usize,
    min: i32,
    max: i32,
    step: i32,
    default: i32,
}

const fn pu(selector: u8, bytes: usize, range: [i32; 3], default: i32) -> Control {
    let [min, max, step] = range;
    Control { unit: PROCESSING_UNIT, selector, bytes, min, max, step, default }
}

const fn ct(selector: u8, bytes: usize, range: [i32; 3], default: i32) -> Control {
    Control { unit: CAMERA_TERMINAL, ..pu(selector, bytes, range, default) }
}

const EXPOSURE_MODE: usize = 0;
const EXPOSURE: usize = 1;
const WHITE_BALANCE_AUTO: usize = 6;
const WHITE_BALANCE: usize = 7;
const GAIN: usize = 9;
const POWERLINE: usize = 10;

const CONTROLS: [Control; 11] = [
    ct(0x02, 1, [1, 8, 9], 8),
    ct(0x04, 4, [3, 16_383, 1], 127),
    pu(0x02, 2, [0, 255, 1], 128),
    pu(0x03, 2, [0, 10, 1], 5),
    pu(0x07, 2, [0, 63, 1], 32),
    pu(0x08, 2, [0, 4, 1], 2),
    pu(0x0B, 1, [0, 1, 1], 1),
    pu(0x0A, 2, [2500, 12_500, 10], 4500),
    pu(0x01, 2, [0, 1, 1], 0),
    pu(0x04, 2, [0, 255, 1], 128),
    pu(0x05, 1, [1, 2, 1], 2),
];

/// Frames until the automatic exposure and white balance have settled.
const SETTLED_AFTER: u64 = 20;

/// UVC requests.
pub(crate) const SET_CUR: u8 = 0x01;
pub(crate) const GET_CUR: u8 = 0x81;
const GET_MIN: u8 = 0x82;
pub(crate) const GET_MAX: u8 = 0x83;
const GET_RES: u8 = 0x84;
const GET_INFO: u8 = 0x86;
pub(crate) const GET_DEF: u8 = 0x87;

/// The color controls as they are set. They stay until power is cut.
#[derive(Debug, Clone)]
pub(crate) struct Controls([i32; CONTROLS.len()]);

impl Default for Controls {
    fn default() -> Self {
        Self(CONTROLS.map(|control| control.default))
    }
}

/// What the sensor does with the controls, as a frame's statistics report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effective {
    pub exposure_100ns: u64,
    pub iso: u32,
    pub white_balance_k: u32,
}

fn find(request: Request) -> Result<usize, Stall> {
    let (unit, selector) = ((request.index >> 8) as u8, (request.value >> 8) as u8);
    let place = CONTROLS.iter().position(|c| c.unit == unit && c.selector == selector);
    place.ok_or(Stall)
}

impl Controls {
    pub fn get(&self, request: Request, into: &mut [u8]) -> Result<usize, Stall> {
        let place = find(request)?;
        let control = CONTROLS[place];
        let value = match request.request {
            GET_CUR => self.0[place],
            GET_MIN => control.min,
            GET_MAX => control.max,
            GET_RES => control.step,
            GET_DEF => control.default,
            GET_INFO => {
                *into.first_mut().ok_or(Stall)? = 3;
                return Ok(1);
            }
            _ => return Err(Stall),
        };
        let bytes = &value.to_le_bytes()[..control.bytes.min(into.len())];
        into[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    pub fn set(&mut self, request: Request, data: &[u8]) -> Result<(), Stall> {
        let place = find(request)?;
        let control = CONTROLS[place];
        if request.request != SET_CUR || data.len() != control.bytes {
            return Err(Stall);
        }
        let value = match *data {
            [a] => i32::from(a),
            [a, b] => i32::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
            _ => return Err(Stall),
        };
        let offered = match place {
            // The step of the exposure mode is the set of modes: manual and aperture priority.
            EXPOSURE_MODE => value == 1 || value == 8,
            _ => {
                let (min, max, step) = (control.min, control.max, control.step);
                (min..=max).contains(&value) && (value - min) % step == 0
            }
        };
        if !offered {
            return Err(Stall);
        }
        self.0[place] = value;
        Ok(())
    }

    /// What frame `number` was taken with. Exposure is limited to the largest of the table's times
    /// within the frame period. The automatics begin bright and yellow and have found what the
    /// scene of `seed` asks for after a while.
    pub fn effective(&self, period_us: u64, number: u64, seed: u64) -> Effective {
        let table: &[u64] = if self.0[POWERLINE] == 1 {
            &[500, 1250, 2500, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 100_000]
        } else {
            &[500, 1250, 2500, 8330, 16_670, 33_330, 41_670, 50_000, 66_670, 83_330, 100_000]
        };
        // The longest entry may exceed the period by less than rounding: 33330 at 33333.
        let limit = table.iter().rev().find(|us| **us <= period_us).copied().unwrap_or(500);
        let manual = self.0[EXPOSURE_MODE] == 1;
        let settled = number > SETTLED_AFTER;
        let asked_us = match (manual, settled) {
            (true, _) => u64::from(self.0[EXPOSURE].unsigned_abs()) * 100,
            (false, false) => limit,
            (false, true) => table[2 + seed as usize % 3],
        };
        let white_balance = match (self.0[WHITE_BALANCE_AUTO], settled) {
            (1, false) => 2800,
            (1, true) => 4000 + (seed % 20) as i32 * 100,
            _ => self.0[WHITE_BALANCE],
        };
        Effective {
            exposure_100ns: asked_us.min(limit) * 10,
            iso: 100 + self.0[GAIN].unsigned_abs() * 4,
            white_balance_k: white_balance.unsigned_abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(control: &Control, request: u8) -> Request {
        let (value, index) = (u16::from(control.selector) << 8, u16::from(control.unit) << 8);
        Request { kind: 0x21, request, value, index }
    }

    #[test]
    fn every_control_keeps_its_range() {
        for control in CONTROLS.iter().filter(|control| control.step < 9 || control.step == 10) {
            let mut controls = Controls::default();
            let mut set = |value: i32| {
                let bytes = value.to_le_bytes();
                controls.set(request(control, SET_CUR), &bytes[..control.bytes]).is_ok()
            };
            assert!(set(control.min) && set(control.max));
            assert!(!set(control.max + control.step) && !set(control.min - control.step));
            let mut into = [0; 4];
            let read = controls.get(request(control, GET_CUR), &mut into);
            assert_eq!(read, Ok(control.bytes));
            assert_eq!(into[..control.bytes], control.max.to_le_bytes()[..control.bytes]);
        }
    }

    #[test]
    fn exposure_is_limited_by_the_frame_period() {
        let mut controls = Controls::default();
        controls.set(request(&CONTROLS[EXPOSURE_MODE], SET_CUR), &[1]).expect("manual");
        controls.set(request(&CONTROLS[EXPOSURE], SET_CUR), &[0xE8, 3, 0, 0]).expect("100 ms");
        assert_eq!(controls.effective(33_333, 1, 0).exposure_100ns, 333_300);
        assert_eq!(controls.effective(200_000, 1, 0).exposure_100ns, 1_000_000);
    }
}
