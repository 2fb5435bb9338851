//! Hosts that lie: each is told off, and none brings the device down.

use crate::host::{Host, PATIENCE, header};
use kinect_emulator::{Camera, End, Error, Faults, Function, Rig, chain};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

fn camera() -> (Rig, Arc<Camera>) {
    let rig = Rig::new(chain(&[Faults::default()], None), Instant::now());
    let camera = Arc::clone(&rig.cameras()[0]);
    camera.put_in();
    (rig, camera)
}

/// What becomes of a session of the color function in which the host sends `bytes` and closes.
fn session(camera: &Camera, bytes: &[u8]) -> Result<End, Error> {
    let (mut host, device) = UnixStream::pair().expect("two sockets");
    std::thread::scope(|scope| {
        let served = scope.spawn(|| camera.serve(Function::Color, device.into()));
        // Where the device has hung up already, it has what it wanted.
        let _ = host.write_all(bytes);
        let _ = host.shutdown(Shutdown::Write);
        served.join().expect("the device does not panic")
    })
}

fn told(camera: &Camera, bytes: &[u8]) -> String {
    session(camera, bytes).expect_err("this is no USB/IP").to_string()
}

fn submit(direction: u32, endpoint: u32, bytes: u32, packets: u32) -> Vec<u8> {
    header(&[1, 7, 1, direction, endpoint, 0, bytes, 0, packets, 0], [0; 8])
}

#[test]
fn numbers_beyond_their_limits_end_the_connection_and_are_told() {
    let (_rig, camera) = camera();
    for (message, complaint) in [
        (header(&[9, 7], [0; 8]), "byte 0: message 7: command 0x9"),
        (submit(2, 1, 0, 0), "transfer 7: direction 2, where 1 is the most"),
        (submit(1, 16, 0, 0), "endpoint number 16, where 15"),
        (submit(1, 1, u32::MAX, 0), "bytes 4294967295, where 67108864"),
        (submit(0, 4, 0x7FFF_FFFF, 0), "bytes 2147483647, where 4194304"),
        (submit(1, 1, 1024, 0x7FFF_FFFF), "packets 2147483647, where 1024"),
        (submit(1, 1, 1024, 1)[..40].to_vec(), "closed in the middle of a message: 40 bytes"),
        (submit(0, 4, 4096, 0), "closed in the middle of a message: 48 bytes"),
    ] {
        let told = told(&camera, &message);
        assert!(told.contains(complaint) && told.contains(camera.serial()), "{told}");
    }
    let mut packet = submit(1, 1, 1024, 1);
    [8, u32::MAX, 0, 0].iter().for_each(|word: &u32| packet.extend(word.to_be_bytes()));
    let told = told(&camera, &packet);
    assert!(told.contains("packet 0 ends at byte 4294967303 of 1024"), "{told}");
}

#[test]
fn a_host_that_floods_is_shut_out() {
    let (_rig, camera) = camera();
    let told = told(&camera, &submit(1, 3, 1024, 0).repeat(5000));
    assert!(told.contains("4096 others wait already"), "{told}");
}

#[test]
fn what_a_device_does_not_have_is_refused_and_the_session_goes_on() {
    let (_rig, camera) = camera();
    let stream = camera.connect(Function::Color).expect("nobody has it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut host = Host::new(stream);
    assert_eq!(host.transfer(0x8E, 1024, &[]).status, -32, "no such endpoint");
    assert_eq!(host.transfer(0x0E, 0, &[1, 2, 3]).status, -32, "no such endpoint");
    assert_eq!(host.transfer(0x04, 0, &[0; 3]).status, -32, "no command");
    assert_eq!(host.transfer(0x81, 1024, &[]).status, -32, "color is no bulk endpoint");
    host.submit_packets(0x82, 2, 512);
    assert_eq!(host.reply().packets, [(0, -22); 2], "packets where none belong");
    host.submit_packets(0x81, 2, 0);
    assert_eq!(host.reply().status, -22, "packets without room");
    host.submit_packets(0x81, 2, 512);
    assert_eq!(host.reply().status, -32, "no alternate setting is chosen");
    assert_eq!(host.control_in(0xC3, 0xEE, 0xFFFF, 0xFFFF, 0xFFFF).status, -32);
    assert_eq!(host.control_out(0x00, 5, 0xFFFF, 3, &[]), -32);
    assert_eq!(host.control_in(0x80, 6, 0x0100, 0, 18).data.len(), 18);
}

#[test]
fn any_change_of_a_byte_ends_in_an_answer_or_an_error() {
    let (_rig, camera) = camera();
    let sound = [submit(1, 2, 252, 0), submit(0, 0, 0, 0), submit(1, 0, 18, 0)].concat();
    for at in 0..sound.len() {
        for value in [0x00, 0x7F, 0x80, 0xFF] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            // Both are fine; a panic or a hang is not.
            if let Err(error) = session(&camera, &bytes) {
                assert!(matches!(error, Error::Wire(_)), "{error}");
            }
        }
    }
}
