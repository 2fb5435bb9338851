//! Emulated cameras as a USB/IP host sees them, without a kernel.

mod host;
mod hostile;
mod listen;

use host::{Host, PATIENCE};
use kinect_emulator::{Camera, Faults, Function, Pipe, Rig, WireFault, chain};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

const NFOV_BYTES: usize = 5_310_760;
const PIECE_BYTES: usize = 512 << 10;
const STALL: i32 = -32;

fn rig(cameras: usize) -> Rig {
    Rig::new(chain(&vec![Faults::default(); cameras], None), Instant::now())
}

fn host(camera: &Arc<Camera>, function: Function) -> Host<UnixStream> {
    let stream = camera.connect(function).expect("nobody else has it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    Host::new(stream)
}

/// Starts the depth stream: `mode` as the sensor numbers it, at 30 fps or 15.
fn start_depth(host: &mut Host<UnixStream>, mode: u32, fps: u32) {
    for (code, args) in [(0xE1, Some(mode)), (0x103, Some(fps)), (0x09, None), (0xF1, None)] {
        let args = args.map_or(Vec::new(), |arg| arg.to_le_bytes().to_vec());
        host.command(0x02, 0x81, code, 0, &args);
    }
}

/// A frame, in pieces: whatever comes until a short packet.
fn frame_in_pieces(host: &mut Host<UnixStream>) -> Vec<u8> {
    let mut frame = Vec::new();
    loop {
        let piece = host.transfer(0x83, PIECE_BYTES, &[]);
        assert_eq!(piece.status, 0);
        frame.extend(&piece.data);
        if piece.data.len() < PIECE_BYTES {
            return frame;
        }
    }
}

#[test]
fn a_host_enumerates_both_functions_of_a_camera() {
    let rig = rig(1);
    for (function, product, name) in
        [(Function::Depth, 0x7C, "Depth"), (Function::Color, 0x7D, "4K")]
    {
        let mut host = host(&rig.cameras()[0], function);
        let device = host.control_in(0x80, 6, 0x0100, 0, 18).data;
        assert_eq!(&device[8..12], [0x5E, 0x04, product, 0x09]);
        let head = host.control_in(0x80, 6, 0x0200, 0, 9).data;
        let total = u16::from_le_bytes([head[2], head[3]]);
        let whole = host.control_in(0x80, 6, 0x0200, 0, total).data;
        assert_eq!(whole.len(), usize::from(total));
        assert_eq!(host.control_in(0x80, 6, 0x0F00, 0, 255).data.len(), 42);
        let string = |bytes: Vec<u8>| {
            let units = bytes[2..].as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            String::from_utf16(&units.collect::<Vec<_>>()).expect("UTF-16")
        };
        assert!(string(host.control_in(0x80, 6, 0x0302, 0x0409, 255).data).contains(name));
        let serial = string(host.control_in(0x80, 6, 0x0303, 0x0409, 255).data);
        assert_eq!(serial, rig.cameras()[0].serial());
        assert_eq!(host.control_in(0x80, 6, 0x0307, 0x0409, 255).status, STALL);
        assert_eq!(host.control_out(0x00, 9, 1, 0, &[]), 0);
        assert_eq!(host.control_out(0x00, 0x30, 0, 0, &[0; 6]), 0, "SET_SEL");
        assert_eq!(host.control_in(0x82, 0, 0, 0x83, 2).data, [0, 0]);
    }
}

#[test]
fn the_serial_command_gives_the_serial_of_the_strings() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Depth);
    let serial = host.command(0x02, 0x81, 0x115, 255, &[]);
    assert_eq!(serial, rig.cameras()[0].serial().as_bytes());
    let codes: Vec<u64> = rig.cameras()[0].journal().iter().map(|command| command.code).collect();
    assert_eq!(codes, [0x115]);
}

#[test]
fn a_data_phase_that_fills_what_was_asked_for_has_no_empty_packet_behind_it() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Depth);
    assert_eq!(host.command(0x02, 0x81, 0x111, 1024, &[]).len(), 1024);
    assert_eq!(host.command(0x02, 0x81, 0x115, 255, &[]).len(), 12);
}

#[test]
fn a_frame_is_the_same_in_one_transfer_and_in_pieces() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Depth);
    start_depth(&mut host, 4, 30);
    // libk4a's way: one transfer, a multiple of 1024.
    let whole = host.transfer(0x83, NFOV_BYTES.next_multiple_of(1024), &[]);
    assert_eq!((whole.status, whole.data.len()), (0, NFOV_BYTES));
    let number = whole.data[11];
    // The scene repeats after eight frames.
    let again = (0..100).map(|_| frame_in_pieces(&mut host)).find(|frame| {
        assert_eq!(frame.len(), NFOV_BYTES);
        frame[11] != number && frame[11] % 8 == number % 8
    });
    let again = again.expect("the scene repeats");
    let images = 256..NFOV_BYTES - 40;
    assert!(whole.data[images.clone()] == again[images], "the same images");
    let stamp = |frame: &[u8]| {
        let bytes = frame[NFOV_BYTES - 32..NFOV_BYTES - 24].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    };
    assert!(stamp(&whole.data) < stamp(&again));
}

#[test]
fn a_transfer_that_waits_is_given_back_when_it_is_unlinked() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Depth);
    let first = host.submit(0x83, PIECE_BYTES, &[], [0; 8]);
    let second = host.submit(0x83, PIECE_BYTES, &[], [0; 8]);
    for waiting in [second, first] {
        let unlink = host.unlink(waiting);
        let reply = host.reply();
        assert_eq!((reply.command, reply.seqnum, reply.status), (4, unlink, -104));
    }
    let unlink = host.unlink(first);
    let reply = host.reply();
    assert_eq!((reply.command, reply.seqnum, reply.status), (4, unlink, 0), "it is gone already");
    // Commands go on, and so does the stream.
    start_depth(&mut host, 3, 30);
    assert_eq!(frame_in_pieces(&mut host).len(), 1_678_024);
}

#[test]
fn a_stall_lasts_until_the_host_clears_it() {
    let rig = rig(1);
    let camera = &rig.cameras()[0];
    let mut host = host(camera, Function::Depth);
    start_depth(&mut host, 3, 30);
    camera.order(Pipe::Depth, WireFault::Stall);
    for _ in 0..3 {
        assert_eq!(host.transfer(0x83, PIECE_BYTES, &[]).status, STALL);
    }
    assert_eq!(host.control_in(0x82, 0, 0, 0x83, 2).data, [1, 0]);
    assert_eq!(host.control_out(0x02, 1, 0, 0x83, &[]), 0);
    assert_eq!(host.control_in(0x82, 0, 0, 0x83, 2).data, [0, 0]);
    assert_eq!(frame_in_pieces(&mut host).len(), 1_678_024);
}

#[test]
fn what_goes_wrong_once_does_so_once() {
    let rig = rig(1);
    let camera = &rig.cameras()[0];
    let mut host = host(camera, Function::Depth);
    start_depth(&mut host, 3, 30);
    for (fault, status) in [(WireFault::Babble, -75), (WireFault::Protocol, -71)] {
        camera.order(Pipe::Depth, fault);
        assert_eq!(host.transfer(0x83, PIECE_BYTES, &[]).status, status);
        assert_eq!(frame_in_pieces(&mut host).len(), 1_678_024);
    }
    camera.order(Pipe::Depth, WireFault::Short);
    assert_eq!(frame_in_pieces(&mut host).len(), 839_013);
    camera.order(Pipe::Depth, WireFault::Garble);
    let garbled = frame_in_pieces(&mut host);
    assert_eq!((garbled.len(), &garbled[garbled.len() - 40..]), (1_678_024, &[0xA5; 40][..]));
    let sound = frame_in_pieces(&mut host);
    assert_eq!(&sound[sound.len() - 40..][..4], b"MRMF");
}

#[test]
fn a_transfer_that_is_no_multiple_of_a_packet_overflows() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Depth);
    start_depth(&mut host, 3, 30);
    assert_eq!(host.transfer(0x83, 1000, &[]).status, -75);
}

#[test]
fn a_camera_that_is_pulled_out_comes_back_as_just_plugged_in() {
    let rig = rig(2);
    let camera = &rig.cameras()[0];
    let mut depth = host(camera, Function::Depth);
    let mut other = host(&rig.cameras()[1], Function::Depth);
    start_depth(&mut depth, 3, 30);
    depth.submit(0x83, PIECE_BYTES, &[], [0; 8]);
    camera.unplug();
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut depth.stream, &mut rest).expect("the end of the connection");
    let again = &mut host(camera, Function::Depth);
    let words = [0x0602_2009_u32, 0, 0, 0x09, 0];
    let start: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(again.transfer(0x02, 0, &start).status, 0);
    let refused = again.transfer(0x81, 16, &[]).data;
    assert_eq!(refused[8..12], [0x02, 0x01, 0, 0], "no mode is set any more");
    assert!(camera.journal().len() > 4, "what it received stays known");
    assert_eq!(other.command(0x02, 0x81, 0x115, 255, &[]), rig.cameras()[1].serial().as_bytes());
}

/// Negotiates NV12 at 720p and 15 fps, and starts.
fn start_color(host: &mut Host<UnixStream>) {
    let mut probe = host.control_in(0xA1, 0x81, 0x0100, 1, 26).data;
    probe[2..4].copy_from_slice(&[2, 1]);
    probe[4..8].copy_from_slice(&666_666_u32.to_le_bytes());
    assert_eq!(host.control_out(0x21, 1, 0x0100, 1, &probe), 0);
    assert_eq!(host.control_out(0x21, 1, 0x0200, 1, &probe), 0);
    assert_eq!(host.control_out(0x01, 11, 3, 1, &[]), 0);
}

/// Payloads of one transfer of packets: header and data.
fn payloads(host: &mut Host<UnixStream>) -> (Vec<(u32, i32)>, Vec<Vec<u8>>) {
    let seqnum = host.submit_packets(0x81, 32, 24_576);
    let reply = host.reply();
    assert_eq!((reply.seqnum, reply.status, reply.packets.len()), (seqnum, 0, 32));
    let mut data = &reply.data[..];
    let mut payloads = Vec::new();
    for (bytes, _) in &reply.packets {
        let (payload, rest) = data.split_at(*bytes as usize);
        payloads.push(payload.to_vec());
        data = rest;
    }
    assert!(data.is_empty(), "packets are as long as they say");
    (reply.packets, payloads)
}

#[test]
fn color_comes_in_packets_that_make_up_frames() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Color);
    start_color(&mut host);
    for _ in 0..3 {
        let mut frame = 0;
        loop {
            let (packets, payloads) = payloads(&mut host);
            assert!(packets.iter().all(|(_, status)| *status == 0));
            let sent = payloads.iter().filter(|payload| !payload.is_empty());
            frame += sent.map(|payload| payload.len() - usize::from(payload[0])).sum::<usize>();
            if payloads.iter().any(|payload| payload.get(1).is_some_and(|flags| flags & 2 != 0)) {
                break;
            }
        }
        assert_eq!(frame, 1_382_400);
    }
    assert_eq!(host.control_out(0x01, 11, 0, 1, &[]), 0);
}

#[test]
fn one_packet_is_hit_where_packets_carry_the_stream() {
    let rig = rig(1);
    let camera = &rig.cameras()[0];
    let mut host = host(camera, Function::Color);
    start_color(&mut host);
    camera.order(Pipe::Color, WireFault::Protocol);
    let (packets, _) = payloads(&mut host);
    let failed: Vec<_> = packets.iter().filter(|(_, status)| *status != 0).collect();
    assert_eq!(failed, [&(0, -71)]);
    camera.order(Pipe::Color, WireFault::Garble);
    let (_, payloads) = payloads(&mut host);
    assert_eq!(payloads.iter().filter(|payload| payload.starts_with(&[0xFF; 12])).count(), 1);
}

#[test]
fn imu_packets_and_the_other_transfers_wait_side_by_side() {
    let rig = rig(1);
    let mut host = host(&rig.cameras()[0], Function::Color);
    host.command(0x04, 0x83, 0x8000_0003, 0, &[]);
    let imu: Vec<u32> = (0..8).map(|_| host.submit(0x82, 252, &[], [0; 8])).collect();
    for seqnum in imu {
        let packet = host.reply();
        assert_eq!((packet.seqnum, packet.status, packet.data.len()), (seqnum, 0, 252));
    }
    let jacks = host.command(0x04, 0x83, 0x8000_0006, 1, &[]);
    assert_eq!(jacks, [0]);
}

#[test]
fn a_subordinate_that_waits_is_woken_by_its_master() {
    let rig = rig(2);
    let [master, subordinate] = rig.cameras() else { panic!("two cameras") };
    let mut follower = (host(subordinate, Function::Depth), host(subordinate, Function::Color));
    let config = |role: u8| [&[role, 0, 0, 0][..], &[0; 8], &[1]].concat();
    follower.1.command(0x04, 0x83, 0x8000_0001, 0, &config(2));
    start_depth(&mut follower.0, 3, 15);
    start_color(&mut follower.1);
    let waits = follower.0.submit(0x83, 2 << 20, &[], [0; 8]);
    let mut leader = host(master, Function::Color);
    leader.command(0x04, 0x83, 0x8000_0001, 0, &config(1));
    start_color(&mut leader);
    let frame = follower.0.reply();
    assert_eq!((frame.seqnum, frame.data.len()), (waits, 1_678_024));
}

#[test]
fn a_device_that_leaves_the_bus_by_itself_closes_its_connections() {
    let faults = Faults { gone_s: Some(0.05), ..Faults::default() };
    let rig = Rig::new(chain(&[faults], None), Instant::now());
    let mut host = host(&rig.cameras()[0], Function::Depth);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut host.stream, &mut rest).expect("the end of the connection");
    assert!(rest.is_empty());
}
