//! Hosts that come over TCP, as `usbip list` and `usbip attach` do.

use crate::host::{Host, PATIENCE};
use kinect_emulator::{Faults, Rig, chain};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

fn listening(cameras: usize) -> (Arc<Rig>, SocketAddr) {
    let setups = chain(&vec![Faults::default(); cameras], None);
    let rig = Arc::new(Rig::new(setups, Instant::now()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    let serving = Arc::clone(&rig);
    std::thread::spawn(move || serving.listen(&listener));
    (rig, address)
}

fn asks(address: SocketAddr, question: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(question).expect("somebody listens");
    stream
}

fn import(address: SocketAddr, busid: &str) -> (TcpStream, [u8; 8]) {
    let mut question = vec![0x01, 0x11, 0x80, 0x03, 0, 0, 0, 0];
    question.extend(busid.bytes());
    question.resize(40, 0);
    let mut stream = asks(address, &question);
    let mut head = [0; 8];
    stream.read_exact(&mut head).expect("an answer");
    (stream, head)
}

#[test]
fn the_list_names_every_function_with_its_interfaces() {
    let (rig, address) = listening(2);
    let mut list = Vec::new();
    let mut stream = asks(address, &[0x01, 0x11, 0x80, 0x05, 0, 0, 0, 0]);
    stream.read_to_end(&mut list).expect("an answer, and its end");
    assert_eq!(list[..12], [0x01, 0x11, 0x00, 0x05, 0, 0, 0, 0, 0, 0, 0, 4]);
    // Color has three interfaces and depth one, of four bytes each.
    assert_eq!(list.len(), 12 + 2 * (2 * 312 + (3 + 1) * 4));
    let color = &list[12..];
    assert!(color[256..].starts_with(b"1-1\0"));
    assert_eq!(color[300..306], [0x04, 0x5E, 0x09, 0x7D, 0x01, 0x00]);
    assert_eq!(color[306..312], [0xEF, 2, 1, 1, 1, 3]);
    assert_eq!(color[312..316], [0x0E, 1, 0, 0]);
    rig.cameras().iter().for_each(|camera| camera.unplug());
}

#[test]
fn a_function_is_imported_by_one_host_at_a_time() {
    let (rig, address) = listening(1);
    let (mut stream, head) = import(address, "1-2");
    assert_eq!(head, [0x01, 0x11, 0x00, 0x03, 0, 0, 0, 0]);
    let mut device = [0; 312];
    stream.read_exact(&mut device).expect("a device");
    assert_eq!(device[300..304], [0x04, 0x5E, 0x09, 0x7C]);
    let mut host = Host::new(stream);
    let serial = host.command(0x02, 0x81, 0x115, 255, &[]);
    assert_eq!(serial, rig.cameras()[0].serial().as_bytes());
    assert_eq!(import(address, "1-2").1[4..], [0, 0, 0, 2], "it is in use");
    assert_eq!(import(address, "9-9").1[4..], [0, 0, 0, 4], "there is none");
    rig.cameras()[0].unplug();
    assert_eq!(import(address, "1-2").1[4..], [0, 0, 0, 4], "it is pulled out");
}

#[test]
fn another_version_is_not_answered() {
    let (_rig, address) = listening(1);
    let mut answer = Vec::new();
    let mut stream = asks(address, &[0x01, 0x06, 0x80, 0x05, 0, 0, 0, 0]);
    stream.read_to_end(&mut answer).expect("the end");
    assert!(answer.is_empty());
}
