//! The emulated camera over its USB requests: what a host sees.

use genlock_emulator::raw::Frame;
use genlock_emulator::{Cable, ColorTransfer, Function, Kinect, Read, Request, Setup};

/// A host that speaks to one camera at a time of its choosing.
struct Host {
    kinect: Kinect,
    transaction: u32,
    now_ns: u64,
}

const MS: u64 = 1_000_000;

impl Host {
    fn new(setup: Setup) -> Self {
        Self { kinect: Kinect::new(setup), transaction: 0, now_ns: 0 }
    }

    /// A command; gives data and status.
    fn command(&mut self, code: u32, arguments: &[u8], room: usize) -> (Vec<u8>, u32) {
        let (function, out, back) = match code >> 31 {
            0 => (Function::Depth, 0x02, 0x81),
            _ => (Function::Color, 0x04, 0x83),
        };
        let words = [0x0602_2009, self.transaction, room as u32, code, 0];
        self.transaction += 1;
        let mut request: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        request.extend(arguments);
        self.kinect.bulk_out(function, out, &request, self.now_ns).expect("a command");
        let mut data = vec![0; room];
        if room > 0 {
            let Read::Done(bytes) = self.kinect.bulk_in(function, back, &mut data, self.now_ns)
            else {
                panic!("no data phase");
            };
            data.truncate(bytes);
        }
        let mut response = [0; 16];
        let read = self.kinect.bulk_in(function, back, &mut response, self.now_ns);
        assert_eq!(read, Read::Done(16));
        assert_eq!(response[..4], [0, 0xE0, 0x6F, 0x0A]);
        (data, u32::from_le_bytes([response[8], response[9], response[10], response[11]]))
    }

    fn sync(&mut self, role: u32, subordinate_ticks: u32, depth_ticks: i32) {
        let mut arguments = role.to_le_bytes().to_vec();
        arguments.extend(subordinate_ticks.to_le_bytes());
        arguments.extend(depth_ticks.to_le_bytes());
        arguments.push(1);
        assert_eq!(self.command(0x8000_0001, &arguments, 0).1, 0);
    }

    fn start_depth(&mut self, mode: u32, fps: u32) {
        for (code, argument) in [(0xE1, Some(mode)), (0x103, Some(fps)), (0x09, None), (0xF1, None)]
        {
            let arguments = argument.map(u32::to_le_bytes);
            assert_eq!(self.command(code, arguments.as_ref().map_or(&[], |a| &a[..]), 0).1, 0);
        }
    }

    /// Commits 720p MJPG at 30 fps.
    fn commit_color(&mut self) {
        let mut probe = [0; 26];
        probe[2] = 3;
        probe[3] = 1;
        probe[4..8].copy_from_slice(&333_333_u32.to_le_bytes());
        for value in [0x0100, 0x0200] {
            let request = Request { kind: 0x21, request: 1, value, index: 1 };
            self.kinect
                .control_out(Function::Color, request, &probe, self.now_ns)
                .expect("an offered mode");
        }
    }

    /// Starts 720p MJPG at 30 fps.
    fn start_color(&mut self) {
        self.commit_color();
        self.select(3).expect("an alternate setting");
    }

    fn select(&mut self, alternate: u16) -> Result<(), genlock_emulator::Stall> {
        let request = Request { kind: 1, request: 11, value: alternate, index: 1 };
        self.kinect.control_out(Function::Color, request, &[], self.now_ns)
    }

    /// The next raw depth frame's exposure in ticks.
    fn depth_ticks(&mut self) -> Option<u64> {
        let mut frame = vec![0; 5_311_488];
        match self.kinect.bulk_in(Function::Depth, 0x83, &mut frame, self.now_ns) {
            Read::Done(bytes) => {
                Some(Frame::read(&frame[..bytes]).expect("a frame").trailer.exposure_ticks)
            }
            Read::Pending => None,
            other => panic!("{other:?}"),
        }
    }

    /// The bytes of the next color frame, read from a bulk endpoint.
    fn bulk_color(&mut self) -> Vec<u8> {
        let (mut payload, mut image) = (vec![0; 65_536], Vec::new());
        loop {
            let read = self.kinect.bulk_in(Function::Color, 0x81, &mut payload, self.now_ns);
            let Read::Done(bytes) = read else { panic!("{read:?}") };
            let (head, data) = payload[..bytes].split_at(usize::from(payload[0]));
            image.extend_from_slice(data);
            if head[1] & 2 != 0 {
                return image;
            }
        }
    }

    /// The next color frame's stamp in ticks and its bytes.
    fn color(&mut self) -> Option<(u64, Vec<u8>)> {
        let (mut packets, mut lens) = (vec![0; 24_576 * 32], [None; 32]);
        let (mut ticks, mut image) = (0, Vec::new());
        loop {
            let (kinect, now_ns) = (&mut self.kinect, self.now_ns);
            let color = Function::Color;
            let Read::Done(count) =
                kinect.isochronous_in(color, 0x81, &mut packets, 24_576, &mut lens, now_ns)
            else {
                return None;
            };
            for (packet, len) in packets.chunks(24_576).zip(&lens[..count]) {
                let packet = &packet[..len.expect("nothing is lost") as usize];
                let (head, data) = packet.split_at(usize::from(packet[0]));
                if head.len() > 2 {
                    let bytes: [u8; 8] = head[18..26].try_into().expect("eight bytes");
                    ticks = u64::from_le_bytes(bytes);
                }
                image.extend_from_slice(data);
                if head[1] & 2 != 0 {
                    return Some((ticks, image));
                }
            }
        }
    }
}

fn cabled(seed: u64, sync_in: Option<&Cable>, sync_out: Option<&Cable>) -> Host {
    let mut setup = Setup::new(&format!("{seed:012}"), seed);
    (setup.sync_in, setup.sync_out) = (sync_in.cloned(), sync_out.cloned());
    Host::new(setup)
}

#[test]
fn commands_answer_with_the_documented_statuses() {
    let mut host = cabled(1, None, None);
    assert_eq!(host.command(0x115, &[], 255), (b"000000000001".to_vec(), 0));
    assert_eq!(host.command(0x201, &[], 18).0.len(), 18);
    assert_eq!(host.command(0x22, &2_u32.to_le_bytes(), 2_000_000).1, 0x102, "before a mode");
    assert_eq!(host.command(0xE1, &6_u32.to_le_bytes(), 0).1, 0x03, "no such mode");
    assert_eq!(host.command(0xE1, &5_u32.to_le_bytes(), 0).1, 0);
    assert_eq!(host.command(0x103, &30_u32.to_le_bytes(), 0).1, 0x03, "too fast for the mode");
    assert_eq!(host.command(0x22, &9_u32.to_le_bytes(), 100).1, 0x0D, "no such tag");
    assert!(host.command(0x22, &2_u32.to_le_bytes(), 2_000_000).0.len() > 4);
    assert_eq!(host.command(0xF1, &[], 0).1, 0x101, "not started");
    assert_eq!(host.command(0x777, &[], 0).1, 0x08);
    assert_eq!(host.command(0x8000_0001, &[0; 12], 0).1, 0x12, "13 bytes are asked for");
    assert_eq!(host.command(0x8000_0006, &[], 1), (vec![0], 0));
}

#[test]
fn a_firmware_package_is_taken_in_its_own_transfer() {
    let mut host = cabled(1, None, None);
    let words = [0x0602_2009_u32, 0, 64, 0x202, 0];
    let mut request: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    request.extend([1, 64]);
    for transfer in [&request[..], &[0; 64]] {
        host.kinect.bulk_out(Function::Depth, 0x02, transfer, 0).expect("taken");
    }
    let mut response = [0; 16];
    let read = host.kinect.bulk_in(Function::Depth, 0x81, &mut response, 0);
    assert_eq!((read, response[8]), (Read::Done(16), 0));
    assert_eq!(host.command(0x203, &[], 8).0.len(), 8);
}

#[test]
fn starting_color_resets_the_clock_and_stale_frames_carry_the_old_one() {
    let mut host = cabled(1, None, None);
    host.start_depth(4, 30);
    host.now_ns = 100 * MS;
    assert!(host.depth_ticks().expect("a frame") >= 90_000 * 7200, "the camera ran for hours");
    host.start_color();
    host.now_ns = 200 * MS;
    assert!(host.depth_ticks().expect("a frame") < 90_000);
    let (ticks, jpeg) = host.color().expect("a frame");
    assert!((3000..90_000).contains(&ticks) && jpeg.starts_with(&[0xFF, 0xD8]), "{ticks}");
    host.select(0).expect("stopping");
    assert!(host.color().is_none());
}

#[test]
fn bulk_color_begins_with_the_commit_and_has_the_same_images() {
    let mut host = cabled(1, None, None);
    host.start_color();
    let mut setup = Setup::new("000000000001", 1);
    setup.color_transfer = ColorTransfer::Bulk;
    let mut bulk = Host::new(setup);
    assert!(bulk.select(1).is_err(), "there is one alternate setting");
    bulk.commit_color();
    for step in 1..4 {
        host.now_ns = step * 40 * MS + 60 * MS;
        bulk.now_ns = host.now_ns;
        assert_eq!(Some(bulk.bulk_color()), host.color().map(|(_, image)| image));
    }
    bulk.select(0).expect("stopping");
    bulk.now_ns += 1000 * MS;
    let mut payload = vec![0; 65_536];
    let read = bulk.kinect.bulk_in(Function::Color, 0x81, &mut payload, bulk.now_ns);
    assert_eq!(read, Read::Pending);
}

#[test]
fn a_subordinate_is_silent_until_the_pulses_and_then_in_step() {
    let cable = Cable::default();
    let (mut master, mut subordinate) =
        (cabled(1, None, Some(&cable)), cabled(2, Some(&cable), None));
    subordinate.sync(2, 1000, 14);
    master.sync(1, 0, -7);
    for host in [&mut subordinate, &mut master] {
        host.start_depth(4, 30);
    }
    subordinate.start_color();
    for host in [&mut subordinate, &mut master] {
        host.now_ns = 2000 * MS;
    }
    assert!(subordinate.depth_ticks().is_none() && subordinate.color().is_none());
    master.start_color();
    for step in 1..10 {
        for host in [&mut subordinate, &mut master] {
            host.now_ns = 2000 * MS + step * 34 * MS + 40 * MS;
        }
        let color = [master.color(), subordinate.color()].map(|c| c.expect("a frame").0 as i64);
        let depth = [master.depth_ticks(), subordinate.depth_ticks()];
        let depth = depth.map(|ticks| ticks.expect("a frame") as i64);
        // 110 us at 30 fps are ten ticks (usb-protocol.md 9.4).
        assert!((color[1] - color[0] - 1000).abs() <= 10, "{color:?}");
        assert!((depth[0] - color[0] + 7).abs() <= 10, "{color:?} {depth:?}");
        assert!((depth[1] - color[1] - 14).abs() <= 10, "{color:?} {depth:?}");
    }
    master.select(0).expect("stopping");
    for host in [&mut subordinate, &mut master] {
        host.now_ns += 1000 * MS;
    }
    while subordinate.color().is_some() {}
    subordinate.now_ns += 1000 * MS;
    assert!(subordinate.color().is_none(), "no pulses, no frames");
}

#[test]
fn imu_packets_follow_each_other_without_a_gap() {
    let mut host = cabled(1, None, None);
    host.start_color();
    host.now_ns = 500 * MS;
    host.command(0x8000_0003, &[], 0);
    let mut last = 0;
    for _ in 0..50 {
        host.now_ns = host.kinect.ready_at(Function::Color, 0x82, host.now_ns).expect("packets");
        let mut packet = [0; 252];
        let read = host.kinect.bulk_in(Function::Color, 0x82, &mut packet, host.now_ns);
        assert_eq!(read, Read::Done(252));
        for record in packet[28..].chunks(14).take(8) {
            let ticks = u64::from_le_bytes(record[..8].try_into().expect("eight bytes"));
            assert!(last == 0 || ticks - last == 54, "{last} {ticks}");
            last = ticks;
        }
    }
}

#[test]
fn a_device_that_is_gone_answers_nothing() {
    let mut setup = Setup::new("000000000001", 1);
    setup.faults.gone_s = Some(0.005);
    let mut host = Host::new(setup);
    host.start_depth(4, 30);
    host.now_ns = 6 * MS;
    let mut into = [0; 16];
    assert_eq!(host.kinect.bulk_in(Function::Depth, 0x83, &mut into, host.now_ns), Read::Gone);
    assert!(host.select(1).is_err());
}
