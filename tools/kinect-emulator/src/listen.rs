//! Hosts that come over TCP: which devices there are, and which of them they take.

use crate::camera::Camera;
use crate::error::{Error, Result};
use genlock_emulator::{Descriptors, Function};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

const VERSION: u16 = 0x0111;
const REQ_DEVLIST: u16 = 0x8005;
const REP_DEVLIST: u16 = 0x0005;
const REQ_IMPORT: u16 = 0x8003;
const REP_IMPORT: u16 = 0x0003;

/// Status words of an answer.
const OK: u32 = 0;
const BUSY: u32 = 2;
const NO_DEVICE: u32 = 4;

const BUSID_BYTES: usize = 32;
const PATH_BYTES: usize = 256;
const SUPER: u32 = 5;

/// A host says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves everybody who connects.
pub(crate) fn serve(listener: &TcpListener, cameras: &[Arc<Camera>]) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The host has thought better of it.
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(cause) => return Err(Error::Listen(format!("cannot take connections: {cause}"))),
        };
        let cameras = cameras.to_vec();
        let host = move || {
            if let Err(why) = greet(stream, &cameras) {
                eprintln!("kinect-emulator: {why}");
            }
        };
        // Without a thread this host goes unserved; the next one may not.
        if let Err(cause) = Builder::new().name("host".to_owned()).spawn(host) {
            eprintln!("kinect-emulator: cannot start a thread: {cause}");
        }
    }
}

/// Answers one question; a host that takes a device then goes on with it.
fn greet(mut stream: TcpStream, cameras: &[Arc<Camera>]) -> Result<()> {
    let broken = |cause: io::Error| Error::Wire(format!("a host that asks for devices: {cause}"));
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    let mut question = [0; 8];
    stream.read_exact(&mut question).map_err(broken)?;
    let [v0, v1, c0, c1, ..] = question;
    let (version, code) = (u16::from_be_bytes([v0, v1]), u16::from_be_bytes([c0, c1]));
    if version != VERSION {
        return Err(Error::Wire(format!(
            "a host speaks USB/IP version {version:#06x}, where {VERSION:#06x} is known"
        )));
    }
    match code {
        REQ_DEVLIST => stream.write_all(&list(cameras)).map_err(broken),
        REQ_IMPORT => {
            let mut busid = [0; BUSID_BYTES];
            stream.read_exact(&mut busid).map_err(broken)?;
            import(stream, cameras, &busid)
        }
        _ => Err(Error::Wire(format!("a host asks for {code:#06x}, which USB/IP does not have"))),
    }
}

fn head(code: u16, status: u32) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(status.to_be_bytes());
    bytes
}

/// The functions that are on the bus.
fn functions(cameras: &[Arc<Camera>]) -> Vec<(&Arc<Camera>, Function)> {
    let there = cameras.iter().filter(|camera| camera.device().plugged_in().is_some());
    there.flat_map(|camera| [Function::Color, Function::Depth].map(|f| (camera, f))).collect()
}

/// The bus id of a function: of the camera at place 0, 1-1 is color and 1-2 depth, which are the
/// ports of the hub in a real one (usb-protocol.md 1.1).
pub(crate) fn busid(camera: &Camera, function: Function) -> String {
    format!("{}-{}", camera.place() + 1, port(function))
}

fn port(function: Function) -> u32 {
    if function == Function::Color { 1 } else { 2 }
}

fn list(cameras: &[Arc<Camera>]) -> Vec<u8> {
    let functions = functions(cameras);
    let mut bytes = head(REP_DEVLIST, OK);
    bytes.extend((functions.len() as u32).to_be_bytes());
    for (camera, function) in functions {
        let descriptors = camera.device().kinect().descriptors(function).clone();
        bytes.extend(device(camera, function, &descriptors));
        for interface in interfaces(&descriptors.configuration) {
            bytes.extend(interface);
            bytes.push(0);
        }
    }
    bytes
}

/// Class, subclass and protocol of each interface.
fn interfaces(mut configuration: &[u8]) -> Vec<[u8; 3]> {
    let mut found = Vec::new();
    while let Some((one, rest)) = configuration
        .first()
        .filter(|bytes| **bytes > 0)
        .and_then(|bytes| configuration.split_at_checked(usize::from(*bytes)))
    {
        if let [_, 4, _, 0, _, class, subclass, protocol, ..] = one {
            found.push([*class, *subclass, *protocol]);
        }
        configuration = rest;
    }
    found
}

/// What a host hears of a device: 312 bytes.
fn device(camera: &Camera, function: Function, descriptors: &Descriptors) -> Vec<u8> {
    let busid = busid(camera, function);
    let mut bytes = format!("/sys/devices/emulated/{busid}").into_bytes();
    bytes.resize(PATH_BYTES, 0);
    bytes.extend(busid.bytes());
    bytes.resize(PATH_BYTES + BUSID_BYTES, 0);
    for number in [camera.place() as u32 + 1, port(function), SUPER] {
        bytes.extend(number.to_be_bytes());
    }
    // Vendor, product and release are little-endian in the descriptor.
    let device = &descriptors.device;
    for at in [8, 10, 12] {
        bytes.extend([device[at + 1], device[at]]);
    }
    bytes.extend(&device[4..7]);
    bytes.extend([1, 1, interfaces(&descriptors.configuration).len() as u8]);
    bytes
}

fn import(mut stream: TcpStream, cameras: &[Arc<Camera>], wanted: &[u8]) -> Result<()> {
    let broken = |cause: io::Error| Error::Wire(format!("a host that takes a device: {cause}"));
    let wanted: Vec<u8> = wanted.iter().copied().take_while(|byte| *byte != 0).collect();
    let wanted = String::from_utf8_lossy(&wanted).into_owned();
    let functions = functions(cameras);
    let found = functions.iter().find(|(camera, function)| busid(camera, *function) == wanted);
    let Some((camera, function)) = found else {
        stream.write_all(&head(REP_IMPORT, NO_DEVICE)).map_err(broken)?;
        return Err(Error::Busy(format!("a host wants device {wanted}, which is not there")));
    };
    let socket = stream.try_clone().map_err(broken)?;
    let socket = match camera.claim(*function, socket.into()) {
        Ok(socket) => socket,
        Err(error) => {
            stream.write_all(&head(REP_IMPORT, BUSY)).map_err(broken)?;
            return Err(error);
        }
    };
    let descriptors = camera.device().kinect().descriptors(*function).clone();
    let mut answer = head(REP_IMPORT, OK);
    answer.extend(device(camera, *function, &descriptors));
    let written = stream.write_all(&answer).and_then(|()| stream.set_read_timeout(None));
    // Where that failed the session ends at once, and frees the function.
    camera.spawn(*function, socket, false)?;
    written.map_err(broken)
}
