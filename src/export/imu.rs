//! The IMU of an export as tables.

use super::place::{Folder, create, rename};
use super::sink::{ImuForm, LOSSES, loss_row};
use super::times::Times;
use crate::error::{Error, Result};
use crate::replay::{Chosen, FoundDevice, Reader, Selected};
use genlock_formats::k4a::{ImuSample, TrackName};
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::ops::Range;

/// When the first frame of a device was, in microseconds of its clock.
pub fn first_us(chosen: &Chosen<'_, '_>, found: &FoundDevice<'_>) -> Option<u64> {
    let frames = found.frames.iter().flatten().flatten();
    frames.map(|block| chosen.device.recording().time_us(block.time_ns)).min()
}

/// The times of a device, in microseconds, whose samples belong to what is selected: all, or those
/// from its first frame that is exported to its last.
pub fn range(
    reader: &Reader<'_>,
    selected: &Selected<'_, '_>,
    chosen: &Chosen<'_, '_>,
) -> Range<u64> {
    if selected.is_whole {
        return 0..u64::MAX;
    }
    let mut cursor = reader.cursor();
    let mut time = |trigger| first_us(chosen, &cursor.find(trigger).devices[chosen.place]);
    let triggers = selected.triggers.clone();
    let from = triggers.clone().find_map(&mut time);
    let to = triggers.rev().find_map(&mut time);
    from.zip(to).map_or(0..0, |(from, to)| from..to.saturating_add(1))
}

const CSV_HEAD: &str = "accelerometer_ns,accelerometer_s,accelerometer_x_m_s2,accelerometer_y_m_s2,\
                        accelerometer_z_m_s2,gyroscope_ns,gyroscope_s,gyroscope_x_rad_s,\
                        gyroscope_y_rad_s,gyroscope_z_rad_s\n";

/// Writes the samples of a device; gives what could not be read, as rows of losses.
///
/// # Errors
/// `Disk` when they cannot be written.
pub fn write(
    folder: &Folder,
    (chosen, times): (&Chosen<'_, '_>, &Times),
    range: Range<u64>,
    form: ImuForm,
) -> Result<Vec<(String, String)>> {
    if form == ImuForm::None || !chosen.device.configuration().imu {
        return Ok(Vec::new());
    }
    let seconds = |ns| times.seconds(chosen.place, ns);
    let csv = |sample: &ImuSample| {
        let (at, [x, y, z]) = (sample.accelerometer_ns, sample.accelerometer);
        let (then, [a, b, c]) = (sample.gyroscope_ns, sample.gyroscope);
        format!("{at},{},{x},{y},{z},{then},{},{a},{b},{c}\n", seconds(at), seconds(then))
    };
    let row = |ns, [x, y, z]: [f32; 3]| format!("{} {x} {y} {z}\n", seconds(ns));
    let accelerometer = |sample: &ImuSample| row(sample.accelerometer_ns, sample.accelerometer);
    let gyroscope = |sample: &ImuSample| row(sample.gyroscope_ns, sample.gyroscope);
    let table = |name: &str, head: &str, row: &dyn Fn(&ImuSample) -> String| {
        write_table(folder, &format!("{}/{name}", chosen.stem), head, chosen, range.clone(), row)
    };
    match form {
        ImuForm::None => Ok(Vec::new()),
        ImuForm::Csv => table("imu.csv", CSV_HEAD, &csv),
        ImuForm::Tum => {
            let unit = |what: &str, unit: &str| format!("# {what}\n# timestamp x y z ({unit})\n");
            table("gyroscope.txt", &unit("angular rates", "rad/s"), &gyroscope)?;
            let head = unit("accelerometer data", "m/s^2").replace("x y z", "ax ay az");
            table("accelerometer.txt", &head, &accelerometer)
        }
    }
}

fn write_table(
    folder: &Folder,
    name: &str,
    head: &str,
    chosen: &Chosen<'_, '_>,
    range: Range<u64>,
    row: &dyn Fn(&ImuSample) -> String,
) -> Result<Vec<(String, String)>> {
    let path = folder.path(name);
    let failed = |cause: std::io::Error| Error::disk("cannot write", &path, &cause);
    let mut file = BufWriter::new(create(&path)?);
    file.write_all(head.as_bytes()).map_err(failed)?;
    let mut lost = Vec::new();
    for sample in chosen.device.imu(range) {
        match sample {
            Ok(sample) => file.write_all(row(&sample).as_bytes()).map_err(failed)?,
            Err(cause) => {
                let mut text = String::from("damaged");
                // Writing to a string cannot fail.
                let _ = write!(text, ": {cause}");
                let row = loss_row("", chosen.device.serial(), TrackName::Imu, &text);
                lost.push((LOSSES.to_owned(), row));
            }
        }
    }
    file.flush().map_err(failed)?;
    drop(file);
    rename(&path)?;
    Ok(lost)
}
