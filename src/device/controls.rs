//! Color controls over UVC (usb-protocol.md 6.8).

use crate::config::{ColorControls, Setting};
use crate::device::command::unanswered;
use crate::device::uvc::{CONTROL_INTERFACE, GET_CUR, GET_MAX, GET_MIN, GET_RES, SET_CUR};
use crate::error::{Error, Result};
use crate::usb::{Fault, Port, Request};

/// A control: unit, selector, width of its value in bytes, name.
#[derive(Debug, Clone, Copy)]
struct Control {
    unit: u8,
    selector: u8,
    bytes: usize,
    name: &'static str,
}

const CAMERA: u8 = 1;
const PROCESSING: u8 = 3;

const fn control(unit: u8, selector: u8, bytes: usize, name: &'static str) -> Control {
    Control { unit, selector, bytes, name }
}

const EXPOSURE_MODE: Control = control(CAMERA, 0x02, 1, "exposure mode");
const EXPOSURE: Control = control(CAMERA, 0x04, 4, "exposure");
const BRIGHTNESS: Control = control(PROCESSING, 0x02, 2, "brightness");
const CONTRAST: Control = control(PROCESSING, 0x03, 2, "contrast");
const SATURATION: Control = control(PROCESSING, 0x07, 2, "saturation");
const SHARPNESS: Control = control(PROCESSING, 0x08, 2, "sharpness");
const WHITE_BALANCE_AUTO: Control = control(PROCESSING, 0x0B, 1, "white balance mode");
const WHITE_BALANCE: Control = control(PROCESSING, 0x0A, 2, "white balance");
const BACKLIGHT: Control = control(PROCESSING, 0x01, 2, "backlight compensation");
const GAIN: Control = control(PROCESSING, 0x04, 2, "gain");
const POWERLINE: Control = control(PROCESSING, 0x05, 1, "powerline frequency");

/// Values of the exposure mode: manual, and aperture priority, which is auto.
const EXPOSURE_MANUAL: i32 = 1;
const EXPOSURE_AUTO: i32 = 8;

/// Exposure times that the sensor has, in microseconds, where the mains have 50 Hz and 60 Hz.
const EXPOSURES_US: [(i32, i32); 13] = [
    (500, 500),
    (1250, 1250),
    (2500, 2500),
    (10_000, 8330),
    (20_000, 16_670),
    (30_000, 33_330),
    (40_000, 41_670),
    (50_000, 50_000),
    (60_000, 66_670),
    (80_000, 83_330),
    (100_000, 100_000),
    (120_000, 116_670),
    (130_000, 133_330),
];

/// The first exposure time that is at least `us`, or the longest.
fn exposure_us(us: i32, fifty_hz: bool) -> i32 {
    let times = EXPOSURES_US.map(|(at_50, at_60)| if fifty_hz { at_50 } else { at_60 });
    times.into_iter().find(|time| *time >= us).unwrap_or(times[times.len() - 1])
}

/// The color controls of one device.
pub struct Controls<'p> {
    port: &'p mut dyn Port,
    serial: &'p str,
}

impl<'p> Controls<'p> {
    /// The controls behind `port`.
    #[must_use]
    pub fn new(port: &'p mut dyn Port, serial: &'p str) -> Self {
        Self { port, serial }
    }

    /// Sets what is given.
    ///
    /// # Errors
    /// `Usage` with the device's own range where a value lies outside; `Device` where it does not
    /// answer.
    pub fn apply(&mut self, controls: &ColorControls) -> Result<()> {
        // Powerline frequency first: it says which exposure times there are.
        let plain = [
            (POWERLINE, controls.powerline_frequency),
            (BRIGHTNESS, controls.brightness),
            (CONTRAST, controls.contrast),
            (SATURATION, controls.saturation),
            (SHARPNESS, controls.sharpness),
            (BACKLIGHT, controls.backlight_compensation),
            (GAIN, controls.gain),
        ];
        for (control, value) in plain {
            if let Some(value) = value {
                self.set(control, value)?;
            }
        }
        match controls.exposure {
            None => {}
            Some(Setting::Auto) => self.set(EXPOSURE_MODE, EXPOSURE_AUTO)?,
            Some(Setting::Manual(us)) => {
                let fifty_hz = self.get(POWERLINE, GET_CUR)? == 1;
                self.set(EXPOSURE_MODE, EXPOSURE_MANUAL)?;
                self.set(EXPOSURE, exposure_us(us, fifty_hz) / 100)?;
            }
        }
        match controls.white_balance {
            None => {}
            Some(Setting::Auto) => self.set(WHITE_BALANCE_AUTO, 1)?,
            Some(Setting::Manual(kelvin)) => {
                self.set(WHITE_BALANCE_AUTO, 0)?;
                self.set(WHITE_BALANCE, kelvin)?;
            }
        }
        Ok(())
    }

    /// Every control, as the device has it.
    ///
    /// # Errors
    /// `Device` where it does not answer.
    pub fn read(&mut self) -> Result<ColorControls> {
        let powerline = self.get(POWERLINE, GET_CUR)?;
        let exposure = self.get(EXPOSURE, GET_CUR)?.saturating_mul(100);
        let manual_exposure = matches!(self.get(EXPOSURE_MODE, GET_CUR)?, 1 | 4);
        let exposure = match manual_exposure {
            true => Setting::Manual(exposure_us(exposure, powerline == 1)),
            false => Setting::Auto,
        };
        let white_balance = match self.get(WHITE_BALANCE_AUTO, GET_CUR)? {
            0 => Setting::Manual(self.get(WHITE_BALANCE, GET_CUR)?),
            _ => Setting::Auto,
        };
        Ok(ColorControls {
            exposure: Some(exposure),
            white_balance: Some(white_balance),
            brightness: Some(self.get(BRIGHTNESS, GET_CUR)?),
            contrast: Some(self.get(CONTRAST, GET_CUR)?),
            saturation: Some(self.get(SATURATION, GET_CUR)?),
            sharpness: Some(self.get(SHARPNESS, GET_CUR)?),
            backlight_compensation: Some(self.get(BACKLIGHT, GET_CUR)?),
            gain: Some(self.get(GAIN, GET_CUR)?),
            powerline_frequency: Some(powerline),
        })
    }

    fn set(&mut self, control: Control, value: i32) -> Result<()> {
        let request = request(control, 0x21, SET_CUR);
        let bytes = value.to_le_bytes();
        match self.port.control_out(request, &bytes[..control.bytes]) {
            Ok(()) => Ok(()),
            Err(Fault::Stall) => {
                let (min, max) = (self.get(control, GET_MIN)?, self.get(control, GET_MAX)?);
                let step = match self.get(control, GET_RES)? {
                    step @ 2.. => format!(" in steps of {step}"),
                    _ => String::new(),
                };
                Err(Error::Usage(format!(
                    "{}: refuses {} {value}; it takes {min} to {max}{step}",
                    self.serial, control.name
                )))
            }
            Err(fault) => Err(unanswered(self.serial, control.name, fault)),
        }
    }

    fn get(&mut self, control: Control, what: u8) -> Result<i32> {
        let mut bytes = [0; 4];
        let read = self.port.control_in(request(control, 0xA1, what), &mut bytes[..control.bytes]);
        match read {
            Ok(count) if count == control.bytes => Ok(match control.bytes {
                1 => i32::from(bytes[0]),
                2 => i32::from(i16::from_le_bytes([bytes[0], bytes[1]])),
                _ => i32::from_le_bytes(bytes),
            }),
            Ok(_) => Err(unanswered(self.serial, control.name, Fault::Io)),
            Err(fault) => Err(unanswered(self.serial, control.name, fault)),
        }
    }
}

fn request(control: Control, kind: u8, request: u8) -> Request {
    let index = u16::from(control.unit) << 8 | u16::from(CONTROL_INTERFACE);
    Request { kind, request, value: u16::from(control.selector) << 8, index }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_times_are_those_of_the_sensor() {
        assert_eq!(exposure_us(8000, false), 8330);
        assert_eq!(exposure_us(8331, false), 16_670);
        assert_eq!(exposure_us(8000, true), 10_000);
        assert_eq!(exposure_us(1, true), 500);
        assert_eq!(exposure_us(1_000_000, false), 133_330);
        for (at_50, at_60) in EXPOSURES_US {
            // What is set in units of 100 us reads back as itself.
            assert_eq!(exposure_us(at_50 / 100 * 100, true), at_50);
            assert_eq!(exposure_us(at_60 / 100 * 100, false), at_60);
        }
    }
}
