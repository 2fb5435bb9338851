//! What a camera sends: payloads, packets, and answers to commands.

use super::Target;
use crate::mutate::Form;
use crate::script::{self, messages};
use crate::targets::scripted::{ScriptedBus, ScriptedPort, answers_of_the_emulator};
use crate::{Outcome, seeds};
use genlock::config::ColorControls;
use genlock::device::{self, Assembled, Assembly, Calibration, Device, Packet, negotiate};
use genlock::pool::Pool;
use genlock_emulator::{ColorTransfer, Descriptors, Function};
use genlock_formats::k4a::{ColorMode, Rate};
use std::sync::OnceLock;

pub(super) const UVC: Target = Target {
    name: "uvc",
    about: "the color camera: its descriptors, and payloads that become frames",
    form: Form::Messages,
    len_max: 4 << 10,
    memory: (1 << 18, 64),
    seeds: uvc_seeds,
    run: uvc,
};

/// Modes that a stream is set up for.
const MODES: [&str; 4] = ["1080p", "720p_NV12", "720p_YUY2", "3072p"];

/// The first message says what the others are: payloads, or a camera's answers while the stream is
/// set up for the mode of that number.
fn uvc(input: &[u8], outcome: &mut Outcome) {
    let mut messages = messages(input);
    let first = messages.next().and_then(|message| message.first()).copied().unwrap_or(0);
    if let Some(mode) = MODES.get(usize::from(first)) {
        let Ok(mode) = mode.parse::<ColorMode>() else { return };
        let mut port = ScriptedPort::new(messages);
        return match negotiate(&mut port, mode, Rate::Fps30) {
            Ok(stream) => outcome.kind(format!("{stream:?}")),
            Err(fault) => outcome.kind(format!("{fault:?}")),
        };
    }
    let pool = Pool::new(2, 256);
    let mut assembly = Assembly::default();
    let mut held = None;
    for message in messages {
        // A message of one byte is a payload that was lost.
        let payload = (message.len() != 1).then_some(message);
        let done = assembly.take(payload, || pool.lend());
        for (place, done) in done.into_iter().enumerate() {
            outcome.kind(done.is_some());
            match done {
                Some(Assembled::Frame { image, ticks, ended, taken_with }) => {
                    assert!(!image.is_empty() && image.len() <= 256, "an image beyond its buffer");
                    outcome.kind((place, ended, taken_with.is_some()));
                    outcome.detail((ticks, &image[..], format!("{taken_with:?}")));
                    // So that the pool is empty now and then.
                    held = held.is_none().then_some(image);
                }
                Some(Assembled::Damaged { ticks, no_buffer }) => {
                    outcome.kind((place, ticks.is_some(), no_buffer));
                    outcome.detail(ticks);
                }
                None => {}
            }
        }
    }
    drop((assembly, held));
    assert_eq!(pool.free(), 2, "a buffer did not come home");
}

fn uvc_seeds() -> Vec<Vec<u8>> {
    let payload = |flags: u8, ticks: u64, data: &[u8]| {
        let mut items = Vec::new();
        items.extend(0x8000_0001_u32.to_le_bytes());
        items.extend(44_u32.to_le_bytes());
        items.extend([0; 8]);
        items.extend(ticks.to_le_bytes());
        items.extend([0; 20]);
        items.extend(3_u32.to_le_bytes());
        items.extend(80_u32.to_le_bytes());
        items.extend(0x21_u32.to_le_bytes());
        items.extend([1; 68]);
        let mut bytes = vec![2 + items.len() as u8, 0x80 | flags];
        bytes.extend(items);
        bytes.extend(data);
        bytes
    };
    let payloads = [
        vec![0xFF],
        payload(0, 90, &[1, 2, 3]),
        vec![2, 0x82, 4],
        payload(1, 3090, &[5; 200]),
        vec![0],
        payload(0, 6090, &[6; 100]),
        vec![12, 0x8E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ];
    let configuration =
        Descriptors::new(Function::Color, "1", ColorTransfer::default()).configuration;
    let mut probe = [1_u8; 27];
    probe[0] = 0;
    let setup = |mode: u8| script::of([&[mode][..], &configuration, &probe, &probe]);
    let mut seeds = vec![script::of(payloads.iter().map(Vec::as_slice))];
    seeds.extend((0..MODES.len() as u8).map(setup));
    seeds
}

pub(super) const COMMAND: Target = Target {
    name: "command",
    about: "answers of both microcontrollers while a camera is opened and asked",
    form: Form::Messages,
    len_max: 16 << 10,
    memory: (1 << 20, 64),
    seeds: || vec![answers_of_the_emulator()],
    run: command,
};

fn command(input: &[u8], outcome: &mut Outcome) {
    let bus = ScriptedBus::new(input);
    let found = match device::find(&bus) {
        Ok(found) => found,
        Err(cause) => return outcome.words(&cause.to_string()),
    };
    let Some(found) = found.first() else { return };
    let mut device = match Device::open(&bus, found) {
        Ok(device) => device,
        Err(cause) => return outcome.words(&cause.to_string()),
    };
    outcome.size(device.calibration().len() as u64);
    outcome.detail(device.calibration());
    let versions = device.firmware().components().map(|(_, version)| version.to_string());
    outcome.detail(versions);
    match device.jacks() {
        Ok(jacks) => outcome.kind((jacks.sync_in, jacks.sync_out)),
        Err(cause) => outcome.words(&cause.to_string()),
    }
    let controls = match device.read_controls() {
        Ok(controls) => controls,
        Err(cause) => return outcome.words(&cause.to_string()),
    };
    outcome.detail(format!("{controls:?}"));
    match device.set_controls(&ColorControls { gain: Some(10), ..controls }) {
        Ok(()) => outcome.kind("set"),
        Err(cause) => outcome.words(&cause.to_string()),
    }
}

pub(super) const IMU: Target = Target {
    name: "imu",
    about: "packets of the IMU",
    form: Form::Bytes,
    len_max: 512,
    memory: (1 << 16, 64),
    seeds: || vec![packet(8), packet(1), packet(0)],
    run: imu,
};

fn packet(count: u32) -> Vec<u8> {
    let mut bytes = vec![0; 28];
    bytes[6..8].copy_from_slice(&2560_i16.to_le_bytes());
    bytes[8..10].copy_from_slice(&35_000_u16.to_le_bytes());
    bytes[14..18].copy_from_slice(&count.to_le_bytes());
    bytes[18..20].copy_from_slice(&122_u16.to_le_bytes());
    bytes[24..28].copy_from_slice(&count.to_le_bytes());
    for place in 0..2 * count {
        bytes.extend((90_000 + u64::from(place)).to_le_bytes());
        bytes.extend([1000_i16, -2000, 0].iter().flat_map(|axis| axis.to_le_bytes()));
    }
    bytes
}

fn imu(input: &[u8], outcome: &mut Outcome) {
    static CALIBRATION: OnceLock<Option<Calibration>> = OnceLock::new();
    let calibration = CALIBRATION.get_or_init(|| {
        Calibration::read(&genlock_emulator::calibration::synthetic(1, seeds::SERIAL)).ok()
    });
    let Some(Calibration { gyroscope, accelerometer, .. }) = calibration else {
        panic!("the emulator's calibration cannot be read");
    };
    let Some(packet) = Packet::read(input) else {
        return outcome.kind("no packet");
    };
    let (mut gyroscope, mut accelerometer) = (gyroscope.clone(), accelerometer.clone());
    gyroscope.set_temperature(packet.temperature_c);
    accelerometer.set_temperature(packet.temperature_c);
    let mut count = 0;
    for (stamp_us, sample) in packet.samples(&gyroscope, &accelerometer) {
        count += 1;
        outcome.detail((stamp_us, sample.to_bytes()));
        outcome.kind(stamp_us.leading_zeros() / 16);
    }
    assert!(count <= 8, "more samples than a packet has");
    outcome.kind((count, packet.temperature_c < 0.0));
}
