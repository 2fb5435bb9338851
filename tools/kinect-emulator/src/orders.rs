//! Orders that a person types.

use kinect_emulator::{Pipe, Rig, WireFault};
use std::io::BufRead;

/// Carries out one order a line, until there are no more.
pub(crate) fn obey(rig: &Rig, lines: impl BufRead) {
    // What is no text is no order, and those behind it are.
    for line in lines.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        match carry_out(rig, &line) {
            Ok(()) => println!("{}: done", line.trim()),
            Err(why) => eprintln!("kinect-emulator: {}: {why}", line.trim()),
        }
    }
}

fn carry_out(rig: &Rig, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (order, serial, pipe) = match words[..] {
        [order, serial] => (order, serial, None),
        [order, serial, pipe] => (order, serial, Some(pipe)),
        _ => return Err("wanted are an order, a serial number, and for faults a pipe".to_owned()),
    };
    let camera = rig.camera(serial).ok_or_else(|| {
        let serials: Vec<&str> = rig.cameras().iter().map(|camera| camera.serial()).collect();
        format!("no camera has that serial number; there are {}", serials.join(", "))
    })?;
    let fault = WireFault::ALL.into_iter().find(|fault| fault.name() == order);
    match (order, fault, pipe) {
        ("unplug", _, None) => camera.unplug(),
        ("plug", _, None) => rig.plug(camera).map_err(|error| error.to_string())?,
        (_, Some(fault), Some(pipe)) => {
            let pipe =
                Pipe::ALL.into_iter().find(|known| known.name() == pipe).ok_or_else(|| {
                    let names = Pipe::ALL.map(Pipe::name).join(", ");
                    format!("wanted is one of {names}")
                })?;
            camera.order(pipe, fault);
        }
        (_, Some(_), None) => return Err("which pipe? depth, color or imu".to_owned()),
        _ => {
            let names = WireFault::ALL.map(WireFault::name).join(", ");
            return Err(format!("wanted is unplug, plug, {names}"));
        }
    }
    Ok(())
}
