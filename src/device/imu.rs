//! The IMU source: packets in, frames of calibrated samples out (usb-protocol.md 7).

use crate::device::calibration::{Calibration, ImuCorrection};
use crate::device::source::{Exit, Look, Source, StaleGuard, ticks_to_us};
use crate::error::Result;
use crate::frame::{Cause, Frame, LostAt, TrackName};
use crate::pool::{Buf, Pool};
use crate::stage::{Stage, Step};
use crate::usb::{Stream, Transfer};
use genlock_formats::k4a::ImuSample;
use std::time::Duration;

/// Samples in a packet, of each sensor, at most.
pub const SAMPLES_MAX: usize = 8;

/// Bytes of a packet at most.
pub const PACKET_BYTES: usize = HEAD_BYTES + 2 * SAMPLES_MAX * RECORD_BYTES;

const HEAD_BYTES: usize = 28;
const RECORD_BYTES: usize = 14;

/// One degree, with libk4a's own pi: recordings of both are equal to the last bit.
#[expect(clippy::approx_constant, reason = "libk4a's own")]
const RADIANS: f32 = 3.141_592 / 180.0;

/// The correction follows the temperature in steps of this many degrees Celsius (usb-protocol.md
/// 7.3).
const TEMPERATURE_STEP_C: f32 = 0.25;

/// Turns the IMU's packets into frames.
pub struct ImuSource {
    source: Source,
    samples: Pool,
    gyroscope: ImuCorrection,
    accelerometer: ImuCorrection,
    corrected_for_c: f32,
    guard: StaleGuard,
}

impl ImuSource {
    /// For the device with `serial`; `samples` lends a buffer for each packet's samples.
    #[must_use]
    pub fn new(
        serial: &str,
        stream: Box<dyn Stream>,
        calibration: &Calibration,
        samples: Pool,
        exit: Exit,
        guard: StaleGuard,
    ) -> Self {
        Self {
            source: Source::new(serial, TrackName::Imu, stream, exit),
            samples,
            gyroscope: calibration.gyroscope.clone(),
            accelerometer: calibration.accelerometer.clone(),
            corrected_for_c: 0.0,
            guard,
        }
    }

    fn take(&mut self, transfer: &Transfer) {
        let Some(packet) = Packet::read(&transfer.buf) else {
            return self.source.lost(LostAt::Host(transfer.arrived_ns), Cause::Malformed);
        };
        let temperature_c = packet.temperature_c;
        if (temperature_c - self.corrected_for_c).abs() > TEMPERATURE_STEP_C {
            self.gyroscope.set_temperature(temperature_c);
            self.accelerometer.set_temperature(temperature_c);
            self.corrected_for_c = temperature_c;
        }
        let Some(mut buf) = self.samples.lend() else {
            return self.source.lost(LostAt::Host(transfer.arrived_ns), Cause::NoBuffer);
        };
        if let Some((stamp_us, last_us)) = self.correct(&packet, transfer.arrived_ns, &mut buf) {
            let (track, arrived_ns) = (TrackName::Imu, transfer.arrived_ns);
            self.source.send(Frame { track, stamp_us, last_us, arrived_ns, buf });
        }
    }

    /// Writes the corrected samples into `buf`; gives the times of the first and the last, none
    /// when all are from before the clocks' reset.
    fn correct(
        &mut self,
        packet: &Packet<'_>,
        arrived_ns: u64,
        buf: &mut Buf,
    ) -> Option<(u64, u64)> {
        buf.set_len(0);
        let mut times = None;
        for (stamp_us, sample) in packet.samples(&self.gyroscope, &self.accelerometer) {
            if self.guard.is_stale(stamp_us, arrived_ns) {
                continue;
            }
            if times.is_some_and(|(_, last_us)| stamp_us < last_us) {
                // The clock was set to zero within the packet: what is before is of another time.
                buf.set_len(0);
                times = None;
            }
            // A buffer holds the samples of a packet.
            if !buf.append(&sample.to_bytes()) {
                break;
            }
            let first_us = times.map_or(stamp_us, |(first_us, _)| first_us);
            times = Some((first_us, stamp_us));
        }
        times
    }
}

impl Stage for ImuSource {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn step(&mut self, wait: Duration) -> Result<Step> {
        match self.source.look(wait)? {
            Look::Stopped => return Ok(Step::Done),
            Look::Nothing => return Ok(Step::Idle),
            Look::Lost => {}
            Look::Transfer(transfer) => self.take(&transfer),
        }
        Ok(Step::Worked)
    }
}

/// A packet, taken apart.
#[derive(Debug)]
pub struct Packet<'a> {
    /// Temperature of the sensors in degrees Celsius.
    pub temperature_c: f32,
    /// What one unit stands for: rad/s and m/s².
    gyroscope_unit: f32,
    accelerometer_unit: f32,
    gyroscope: &'a [Record],
    accelerometer: &'a [Record],
}

/// One sample of one sensor: 90 kHz ticks, then x, y, z.
type Record = [u8; RECORD_BYTES];

fn ticks(record: &Record) -> u64 {
    record.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn scaled(record: &Record, unit: f32) -> [f32; 3] {
    [8, 10, 12].map(|at| f32::from(i16::from_le_bytes([record[at], record[at + 1]])) * unit)
}

impl<'a> Packet<'a> {
    /// None where the packet is shorter than its counts say, or has more samples than a packet can.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, records) = bytes.split_at_checked(HEAD_BYTES)?;
        let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let count = |at: usize| {
            let count = u32::from(word(at)) | u32::from(word(at + 2)) << 16;
            usize::try_from(count).ok().filter(|count| *count <= SAMPLES_MAX)
        };
        let (gyroscopes, accelerometers) = (count(14)?, count(24)?);
        let (records, _) = records.as_chunks::<RECORD_BYTES>();
        let (gyroscope, rest) = records.split_at_checked(gyroscopes)?;
        // Conversions of usb-protocol.md 7.2, all in single precision.
        Some(Self {
            temperature_c: f32::from(word(6) as i16) / 256.0 + 15.0,
            gyroscope_unit: f32::from(word(8)) * RADIANS / 1e6,
            accelerometer_unit: f32::from(word(18)) * 9.81 / 1e6,
            gyroscope,
            accelerometer: rest.get(..accelerometers)?,
        })
    }

    /// The samples, corrected, each with its device time in microseconds.
    pub fn samples(
        &self,
        gyroscope: &ImuCorrection,
        accelerometer: &ImuCorrection,
    ) -> impl Iterator<Item = (u64, ImuSample)> {
        self.gyroscope.iter().zip(self.accelerometer).map(|(gyro, accel)| {
            let stamp_us = ticks_to_us(ticks(accel));
            let acceleration = scaled(accel, self.accelerometer_unit);
            let sample = ImuSample {
                accelerometer_ns: stamp_us.saturating_mul(1000),
                accelerometer: accelerometer.with_second_order(acceleration),
                gyroscope_ns: ticks_to_us(ticks(gyro)).saturating_mul(1000),
                gyroscope: gyroscope.linear(scaled(gyro, self.gyroscope_unit)),
            };
            (stamp_us, sample)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(count: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes[6..8].copy_from_slice(&(256_i16 * 10).to_le_bytes());
        bytes[8..10].copy_from_slice(&35_000_u16.to_le_bytes());
        bytes[14..18].copy_from_slice(&count.to_le_bytes());
        bytes[18..20].copy_from_slice(&122_u16.to_le_bytes());
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        for _ in 0..2 * count {
            bytes.extend(90_000_u64.to_le_bytes());
            bytes.extend([1000_i16, -2000, 0].iter().flat_map(|axis| axis.to_le_bytes()));
        }
        bytes
    }

    #[test]
    fn a_packet_is_converted_as_libk4a_converts_it() {
        let bytes = packet(2);
        let packet = Packet::read(&bytes).expect("a packet");
        assert_eq!(packet.temperature_c, 25.0);
        assert_eq!(ticks(&packet.gyroscope[0]), 90_000);
        let rate = scaled(&packet.gyroscope[1], packet.gyroscope_unit);
        // 1000 units of 35000 micro-degrees a second are 35 degrees a second.
        assert!((rate[0] - 35.0_f32.to_radians()).abs() < 1e-6, "{rate:?}");
        let acceleration = scaled(&packet.accelerometer[1], packet.accelerometer_unit);
        // -2000 units of 122 micro-g are -0.244 g.
        assert!((acceleration[1] + 0.244 * 9.81).abs() < 1e-5, "{acceleration:?}");
    }

    #[test]
    fn packets_that_lie_are_refused() {
        let whole = packet(8);
        assert!(Packet::read(&whole).is_some());
        for cut in 0..whole.len() {
            assert!(Packet::read(&whole[..cut]).is_none(), "{cut}");
        }
        assert!(Packet::read(&packet(9)).is_none());
        assert_eq!(whole.len(), PACKET_BYTES);
    }
}
