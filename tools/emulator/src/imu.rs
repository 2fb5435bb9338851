//! The IMU's packets (usb-protocol.md 7.1).

use crate::faults::ImuFault;
use crate::view::ImuReading;

/// Samples in a packet, of each sensor.
pub(crate) const SAMPLES: u64 = 8;

/// From sample to sample: 54 ticks, 1666 a second.
pub(crate) const SAMPLE_NS: u64 = 600_000;

/// Bytes of a packet.
pub(crate) const PACKET_BYTES: usize = HEAD_BYTES + 2 * SAMPLES as usize * RECORD_BYTES;

const HEAD_BYTES: usize = 28;
const RECORD_BYTES: usize = 14;

/// Micro-degrees a second, and micro-g, that one unit stands for.
const GYRO_SENSITIVITY: u16 = 17_500;
const ACCEL_SENSITIVITY: u16 = 122;

/// A sample with its time.
pub(crate) type Timed = (u64, ImuReading);

/// Writes a packet of eight samples; gives its bytes.
pub(crate) fn packet(
    samples: &[Timed; SAMPLES as usize],
    fault: Option<ImuFault>,
    into: &mut [u8],
) -> usize {
    let (head, records) = into[..PACKET_BYTES].split_at_mut(HEAD_BYTES);
    head.fill(0);
    let temperature = (samples[0].1.temperature_c - 15.0) * 256.0;
    head[..4].copy_from_slice(&19_230_u32.to_le_bytes());
    head[6..8].copy_from_slice(&(temperature as i16).to_le_bytes());
    head[8..10].copy_from_slice(&GYRO_SENSITIVITY.to_le_bytes());
    head[10..14].copy_from_slice(&600_u32.to_le_bytes());
    head[14..18].copy_from_slice(&(SAMPLES as u32).to_le_bytes());
    head[18..20].copy_from_slice(&ACCEL_SENSITIVITY.to_le_bytes());
    head[20..24].copy_from_slice(&600_u32.to_le_bytes());
    let lie = u32::from(fault == Some(ImuFault::LyingCount)) * 100;
    head[24..28].copy_from_slice(&(SAMPLES as u32 + lie).to_le_bytes());
    let (gyro, accel) = records.split_at_mut(SAMPLES as usize * RECORD_BYTES);
    let gyro_unit = f32::from(GYRO_SENSITIVITY) * std::f32::consts::PI / 180.0 / 1e6;
    let accel_unit = f32::from(ACCEL_SENSITIVITY) * 9.81 / 1e6;
    for (record, (ticks, reading)) in gyro.chunks_exact_mut(RECORD_BYTES).zip(samples) {
        write_record(record, *ticks, reading.gyroscope, gyro_unit);
    }
    for (record, (ticks, reading)) in accel.chunks_exact_mut(RECORD_BYTES).zip(samples) {
        write_record(record, *ticks, reading.accelerometer, accel_unit);
    }
    if fault == Some(ImuFault::Truncated) { PACKET_BYTES / 2 } else { PACKET_BYTES }
}

fn write_record(record: &mut [u8], ticks: u64, axes: [f32; 3], unit: f32) {
    record[..8].copy_from_slice(&ticks.to_le_bytes());
    for (raw, value) in record[8..].chunks_exact_mut(2).zip(axes) {
        // A float becomes an integer by saturating.
        raw.copy_from_slice(&((value / unit).round() as i16).to_le_bytes());
    }
}
