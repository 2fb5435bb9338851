//! Texts: `take.toml`, `triggers.csv`, rig files, calibrations.

use super::Target;
use crate::mutate::Form;
use crate::{Outcome, seeds};
use genlock::cli::problems;
use genlock::config::{Asked, Devices};
use genlock::device::Calibration;
use genlock::geometry::{project, unproject};
use genlock_formats::k4a::{Calibration as Cameras, DepthMode};
use genlock_formats::take::Take;
use genlock_formats::triggers::{Cell, Triggers};
use std::sync::OnceLock;

/// The recording that texts are held against.
fn recording() -> (&'static str, &'static [u8]) {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    ("000000000001.mkv", FILE.get_or_init(seeds::recording_of_take))
}

pub(super) const TAKE: Target = Target {
    name: "take",
    about: "take.toml, read, and held against a recording",
    form: Form::Text,
    len_max: 8 << 10,
    memory: (1 << 20, 512),
    seeds: || vec![seeds::TAKE.into(), seeds::take().to_toml().into()],
    run: take,
};

fn take(input: &[u8], outcome: &mut Outcome) {
    let take = match Take::from_toml(&String::from_utf8_lossy(input)) {
        Ok(take) => take,
        Err(cause) => return outcome.words(&cause),
    };
    assert!(Take::from_toml(&take.to_toml()).is_ok(), "it does not read as it was written");
    outcome.size(take.devices.len() as u64);
    let found = problems(&take, &seeds::triggers(), &[recording()]);
    found.iter().take(3).for_each(|problem| outcome.words(problem));
    outcome.detail(found);
}

pub(super) const TRIGGERS: Target = Target {
    name: "triggers",
    about: "triggers.csv, read, and held against a recording",
    form: Form::Text,
    len_max: 4 << 10,
    memory: (1 << 20, 512),
    seeds: || vec![seeds::triggers().to_csv().into()],
    run: triggers,
};

fn triggers(input: &[u8], outcome: &mut Outcome) {
    let text = String::from_utf8_lossy(input);
    let table = match Triggers::from_csv(&text) {
        Ok(table) => table,
        Err(cause) => return outcome.words(&cause),
    };
    assert!(Triggers::from_csv(&table.to_csv()).is_ok(), "it does not read as it was written");
    outcome.size(table.rows.len() as u64);
    outcome.size(table.columns.len() as u64);
    for name in &table.columns {
        let lost = |cell: &&Cell| matches!(cell, Cell::Lost(_));
        outcome.kind(table.column(name).into_iter().flatten().filter(lost).count().min(4));
    }
    static TAKE: OnceLock<Take> = OnceLock::new();
    let found = problems(TAKE.get_or_init(seeds::take), &table, &[recording()]);
    found.iter().take(3).for_each(|problem| outcome.words(problem));
    outcome.detail(found);
}

pub(super) const RIG: Target = Target {
    name: "rig",
    about: "rig files, read, and resolved to what each device does",
    form: Form::Text,
    len_max: 4 << 10,
    memory: (1 << 20, 1024),
    seeds: || RIGS.map(|text| text.as_bytes().to_vec()).into(),
    run: rig,
};

const RIGS: [&str; 3] = [
    "rate = 15\ncolor_mode = \"1080p\"\ndepth_mode = \"NFOV_UNBINNED\"\nimu = true\n\
     exposure = \"auto\"\ngain = 10\nwhite_balance = 4500\npowerline_hz = 50\nwarm_up = \"2s\"\n\
     lock_exposure = true\ncopy_master = true\ndepth_engine = \"engine.so\"\n\
     \n[[device]]\nserial = \"000123\"\nname = \"front\"\nrole = \"master\"\n\
     \n[[device]]\nserial = \"000456\"\nrole = \"subordinate\"\ndepth_delay_us = 160\n\
     delay_off_master_us = 320\nbrightness = 128\n",
    "[emulator]\ndevices = 3\nseed = 7\n\n[[device]]\nserial = \"000000000002\"\n\
     role = \"subordinate\"\nexposure = 8000\n\n[[device]]\nserial = \"000000000001\"\n\
     role = \"master\"\ncontrast = 5\nfaults = { frames_missing = 0.5 }\n",
    "depth_mode = \"OFF\"\ncolor_mode = \"720p_NV12\"\n\
     [emulator]\n[emulator.faults]\nseed = 3\n",
];

fn rig(input: &[u8], outcome: &mut Outcome) {
    match Asked::default().resolve_text(&String::from_utf8_lossy(input)) {
        Ok(rig) => {
            outcome.kind((rig.rate().fps(), rig.is_several(), rig.devices == Devices::Usb));
            outcome.detail(format!("{rig:?}"));
        }
        Err(cause) => outcome.words(&cause.to_string()),
    }
}

pub(super) const CALIBRATION: Target = Target {
    name: "calibration",
    about: "a camera's calibration",
    form: Form::Text,
    len_max: 8 << 10,
    memory: (1 << 20, 512),
    seeds: || {
        let json = genlock_emulator::calibration::synthetic(1, seeds::SERIAL);
        // In lines, so that a change of one is a change of one value.
        let lines = String::from_utf8_lossy(&json).replace(',', ",\n");
        vec![json, lines.into_bytes()]
    },
    run: calibration,
};

fn calibration(input: &[u8], outcome: &mut Outcome) {
    match Calibration::read(input) {
        Ok(mut calibration) => {
            outcome.kind(calibration.depth_camera.model);
            outcome.kind(calibration.depth_camera.parameter_count);
            for temperature_c in [-40.0, 25.0, f32::MAX] {
                calibration.gyroscope.set_temperature(temperature_c);
                let [x, y, z] = calibration.gyroscope.with_second_order([1.0, -1.0, f32::MAX]);
                outcome.detail([x, y, z].map(f32::is_nan));
            }
        }
        Err(cause) => outcome.words(&cause),
    }
    cameras(input, outcome);
}

/// The geometry of both cameras: what it gives is a number wherever it gives anything.
fn cameras(input: &[u8], outcome: &mut Outcome) {
    let (color, depth) = ("720p".parse().ok(), Some(DepthMode::Nfov2x2Binned));
    let cameras = match Cameras::of(input, color, depth) {
        Ok(cameras) => cameras,
        Err(cause) => return outcome.words(&cause.to_string()),
    };
    for camera in [cameras.depth, cameras.color].iter().flatten() {
        for pixel in [[0.0, 0.0], [160.5, 144.0], [1e6, -1e6]] {
            let ray = unproject(camera, pixel);
            let back = ray.and_then(|[x, y]| project(camera, [x * 9.0, y * 9.0, 9.0]));
            outcome.detail([ray.is_some(), back.is_some()]);
            let all = ray.into_iter().chain(back).flatten();
            assert!(all.into_iter().all(f32::is_finite), "a result that is no number");
        }
    }
}
