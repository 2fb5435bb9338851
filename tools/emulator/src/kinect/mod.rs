//! One camera: requests come in, the state changes, payloads go out.

mod commands;
mod frames;

use crate::cable::Cable;
use crate::controls::Controls;
use crate::descriptors::{ColorTransfer, Descriptors, Function, INTERVAL_BYTES};
use crate::faults::Faults;
use crate::imu::{self, SAMPLES};
use crate::mcu::{Replies, Request as McuRequest};
use crate::noise::hash;
use crate::raw::SensorMode;
use crate::timing::{Delivery, DeviceClock, Pulses, Queue, Trigger};
use crate::usb::{Read, Received, Request, Stall};
use crate::uvc::{Negotiation, Position};
use crate::view::View;
use genlock_formats::k4a::{ColorMode, DepthMode, Rate, Role};

/// What a camera is, before it is plugged in.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Serial number, 12 digits.
    pub serial: String,
    /// Seed of everything that varies from camera to camera.
    pub seed: u64,
    /// What it sees.
    pub view: View,
    /// Cable in its sync-in jack.
    pub sync_in: Option<Cable>,
    /// Cable in its sync-out jack.
    pub sync_out: Option<Cable>,
    /// What goes wrong.
    pub faults: Faults,
    /// How its color goes over USB.
    pub color_transfer: ColorTransfer,
    /// How many exposures are remembered for [`Kinect::exposures`].
    pub exposures_max: usize,
}

/// One exposure of a camera, as it truly was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// Whether the depth camera made it; else the color camera.
    pub depth: bool,
    /// The pulse that it answers, counted from 1 since the pulses began.
    pub pulse: u64,
    /// Host time of its centre.
    pub host_ns: u64,
    /// The stamp on its frame, in ticks.
    pub ticks: u64,
}

impl Setup {
    /// A sound camera without cables that sees the scene of `seed`.
    #[must_use]
    pub fn new(serial: &str, seed: u64) -> Self {
        Self {
            serial: serial.to_owned(),
            seed,
            view: View::scene(seed, serial),
            sync_in: None,
            sync_out: None,
            faults: Faults::default(),
            color_transfer: ColorTransfer::default(),
            exposures_max: 0,
        }
    }

    /// Gets images of these modes ready now. Else that is done when the host chooses a mode, and on
    /// a slow machine takes longer than a host waits. Says false where there are none of a mode: a
    /// recording has one of each.
    pub fn prepare(&mut self, color: Option<ColorMode>, depth: Option<DepthMode>) -> bool {
        let color = color.is_none_or(|mode| self.view.prepare_color(mode));
        let depth = depth.map(SensorMode::of);
        color && depth.is_none_or(|mode| self.view.prepare_depth(mode))
    }
}

/// From a pulse to the frame's first byte on the wire: exposure and readout.
const COLOR_LATENCY_NS: i64 = 20_000_000;
const DEPTH_LATENCY_NS: i64 = 25_000_000;

/// From the last sample of a packet to the packet.
const IMU_LATENCY_NS: u64 = 1_000_000;

/// Packets that wait for a host that does not read: a third of a second of them.
const IMU_HELD_MAX: u64 = 64;

/// The IMU's clock follows a reset of the cameras' this late (usb-protocol.md 7.4: up to a couple
/// of seconds).
const IMU_RESET_NS: u64 = 300_000_000;

/// Requests that the journal keeps.
const JOURNAL_MAX: usize = 10_000;

/// Exposures vary by this much from frame to frame; Microsoft's tests allow 110 us
/// (usb-protocol.md 9.4).
const JITTER_NS: u64 = 33_000;

/// Streams, as the draws of chance tell them apart.
const COLOR_STREAM: u64 = 0;
const DEPTH_STREAM: u64 = 1;

/// One camera.
#[derive(Debug)]
pub struct Kinect {
    setup: Setup,
    depth_descriptors: Descriptors,
    color_descriptors: Descriptors,
    depth_replies: Replies,
    color_replies: Replies,
    clock: DeviceClock,
    /// The clock before the last reset: the IMU's until it follows.
    clock_before: DeviceClock,
    reset_ns: Option<u64>,
    /// How often its clock was set to zero.
    resets: u32,
    sync: SyncConfig,
    depth: Depth,
    color: Color,
    imu: Option<Imu>,
    journal: Vec<Received>,
    exposures: Vec<Exposure>,
    /// Whether it has been off the bus and is back.
    replaced: bool,
    /// A firmware package on its way: its request, and the bytes that are still to come.
    download: Option<(Vec<u8>, usize)>,
}

/// What SET_SYS_CFG set, in ticks.
#[derive(Debug, Clone, Copy, Default)]
struct SyncConfig {
    role: Role,
    subordinate_delay: u32,
    depth_delay: i32,
}

#[derive(Debug, Default)]
struct Depth {
    mode: Option<SensorMode>,
    rate: Option<Rate>,
    started: bool,
    /// Free-running pulses since the stream started; used while no color camera leads.
    streaming: Option<Pulses>,
    queue: Queue,
}

#[derive(Debug, Default)]
struct Color {
    negotiation: Negotiation,
    controls: Controls,
    alternate: u16,
    streaming: Option<(ColorMode, Pulses)>,
    queue: Queue,
    position: Position,
}

#[derive(Debug)]
struct Imu {
    start_ns: u64,
    next_packet: u64,
}

fn ticks_to_ns(ticks: i64) -> i64 {
    ticks * 100_000 / 9
}

impl Kinect {
    /// A camera, plugged in.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let clock = DeviceClock::running(&setup.faults);
        let descriptors =
            |function| Descriptors::new(function, &setup.serial, setup.color_transfer);
        Self {
            depth_descriptors: descriptors(Function::Depth),
            color_descriptors: descriptors(Function::Color),
            setup,
            depth_replies: Replies::default(),
            color_replies: Replies::default(),
            clock,
            clock_before: clock,
            reset_ns: None,
            resets: 0,
            sync: SyncConfig::default(),
            depth: Depth::default(),
            color: Color::default(),
            imu: None,
            journal: Vec::new(),
            exposures: Vec::new(),
            replaced: false,
            download: None,
        }
    }

    /// The descriptors of a function.
    #[must_use]
    pub fn descriptors(&self, function: Function) -> &Descriptors {
        match function {
            Function::Depth => &self.depth_descriptors,
            Function::Color => &self.color_descriptors,
        }
    }

    /// Every command and control write received, oldest first.
    #[must_use]
    pub fn journal(&self) -> &[Received] {
        &self.journal
    }

    /// The first exposures whose frames the host began to read, up to [`Setup::exposures_max`].
    #[must_use]
    pub fn exposures(&self) -> &[Exposure] {
        &self.exposures
    }

    /// How often the device has been plugged in by `now_ns`: whoever opened it before must open it
    /// again.
    pub fn plugged_in(&mut self, now_ns: u64) -> u32 {
        let back = self.setup.faults.is_back(now_ns);
        if back && !self.replaced {
            self.power_cycle(now_ns);
            self.replaced = true;
        }
        1 + u32::from(back)
    }

    /// Whether it is on the bus.
    #[must_use]
    pub fn is_there(&self, now_ns: u64) -> bool {
        !self.is_gone(now_ns)
    }

    fn is_gone(&self, now_ns: u64) -> bool {
        self.setup.faults.is_gone(now_ns)
    }

    fn note(&mut self, function: Function, code: u64, data: &[u8]) {
        if self.journal.len() < JOURNAL_MAX {
            self.journal.push(Received { function, code, data: data.to_vec() });
        }
    }

    /// A control request that reads; gives the bytes read.
    ///
    /// # Errors
    /// [`Stall`] where the device refuses.
    pub fn control_in(
        &mut self,
        function: Function,
        request: Request,
        into: &mut [u8],
        now_ns: u64,
    ) -> Result<usize, Stall> {
        if self.is_gone(now_ns) {
            return Err(Stall);
        }
        match (request.kind, request.index) {
            (0x80, _) => self.standard_in(function, request, into),
            (0xA1, 1) if function == Function::Color => {
                self.color.negotiation.get(request, self.setup.color_transfer, into)
            }
            (0xA1, _) if function == Function::Color => self.color.controls.get(request, into),
            _ => Err(Stall),
        }
    }

    fn standard_in(
        &self,
        function: Function,
        request: Request,
        into: &mut [u8],
    ) -> Result<usize, Stall> {
        let descriptors = self.descriptors(function);
        let string;
        let bytes: &[u8] = match (request.request, request.value >> 8) {
            (6, 1) => &descriptors.device,
            (6, 2) => &descriptors.configuration,
            (6, 3) => {
                string = descriptors.string(request.value as u8).ok_or(Stall)?;
                &string
            }
            (6, 0x0F) => &descriptors.bos,
            (8, _) => &[1],
            (0, _) => &[1, 0],
            _ => return Err(Stall),
        };
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// A control request that writes.
    ///
    /// # Errors
    /// [`Stall`] where the device refuses.
    pub fn control_out(
        &mut self,
        function: Function,
        request: Request,
        data: &[u8],
        now_ns: u64,
    ) -> Result<(), Stall> {
        if self.is_gone(now_ns) {
            return Err(Stall);
        }
        let code = u64::from(request.kind) << 24 | u64::from(request.request) << 16;
        let place = u64::from(request.value) | u64::from(request.index) << 32;
        self.note(function, code | place, data);
        match (request.kind, request.request, request.index) {
            (0x00, 9, _) if request.value == 1 => Ok(()),
            (0x01, 11, 1) if function == Function::Color => {
                self.set_alternate(request.value, now_ns)
            }
            (0x01, 11, _) if request.value == 0 => Ok(()),
            (0x02, 1, _) => Ok(()), // CLEAR_FEATURE(ENDPOINT_HALT)
            (0x21, _, 1) if function == Function::Color => {
                let commits = self.color.negotiation.set(request, data)?;
                if commits && self.setup.color_transfer == ColorTransfer::Bulk {
                    return self.start_color(now_ns);
                }
                Ok(())
            }
            (0x21, _, _) if function == Function::Color => self.color.controls.set(request, data),
            _ => Err(Stall),
        }
    }

    /// Alternate settings from 1 on carry the color stream; 0 stops it.
    fn set_alternate(&mut self, alternate: u16, now_ns: u64) -> Result<(), Stall> {
        let offered = match self.setup.color_transfer {
            ColorTransfer::Isochronous => INTERVAL_BYTES.len(),
            ColorTransfer::Bulk => 0,
        };
        if usize::from(alternate) > offered {
            return Err(Stall);
        }
        self.color.alternate = alternate;
        if alternate == 0 {
            self.stop_color(now_ns);
            return Ok(());
        }
        self.start_color(now_ns)
    }

    fn start_color(&mut self, now_ns: u64) -> Result<(), Stall> {
        let (mode, rate) = self.color.negotiation.committed.ok_or(Stall)?.mode()?;
        if !self.setup.view.prepare_color(mode) {
            return Err(Stall);
        }
        let pulses = Pulses::new(now_ns, rate, self.clock, &self.setup.faults);
        if self.sync.role == Role::Master
            && let Some(cable) = &self.setup.sync_out
            && !cable.carry(pulses)
        {
            return Err(Stall);
        }
        self.color.streaming = Some((mode, pulses));
        self.color.position = Position::default();
        if self.sync.role != Role::Subordinate {
            self.reset_clocks(&pulses);
        }
        Ok(())
    }

    fn stop_color(&mut self, now_ns: u64) {
        let Some((_, pulses)) = self.color.streaming.take() else {
            return;
        };
        if self.sync.role == Role::Master
            && let Some(cable) = &self.setup.sync_out
        {
            cable.carry(pulses.stopped(now_ns));
        }
    }

    /// Pulses begin: the clock is set so that the first frame has the stamp of the firmware.
    fn reset_clocks(&mut self, pulses: &Pulses) {
        let first_us = self.setup.faults.first_stamp_us();
        let base_ticks = first_us.map_or(0, |first_us| {
            (first_us * 9 / 100) as i64 - (90_000 / u64::from(pulses.rate.fps())) as i64
        });
        self.clock_before = self.clock;
        self.clock = self.clock.reset(pulses.begun_ns(), base_ticks);
        self.reset_ns = Some(pulses.begun_ns());
        self.resets += 1;
    }

    /// Whether a cable is in sync-in at `at_ns`.
    fn has_cable(&self, at_ns: u64) -> bool {
        let out = self.setup.faults.unplugged_ns();
        self.setup.sync_in.is_some()
            && !out.is_some_and(|(from_ns, until_ns)| (from_ns..until_ns).contains(&at_ns))
    }

    /// What triggers exposures now: the master's pulses, the color camera's own, or none.
    fn leading(&mut self) -> Option<Trigger> {
        let color = self.color.streaming.map(|(_, pulses)| pulses);
        if self.sync.role != Role::Subordinate {
            return color.map(Trigger::new);
        }
        let pulses = self.setup.sync_in.as_ref()?.pulses()?;
        let begun_ns = [color, self.depth.streaming].iter().flatten().map(Pulses::begun_ns).min();
        // Pulses that ended before anything of ours began belong to a take of before.
        if pulses.stop_ns.is_some_and(|stop_ns| Some(stop_ns) < begun_ns) {
            return None;
        }
        let without = self.setup.faults.without_pulses_ns();
        let from_the_start =
            |(from_ns, until_ns): (u64, u64)| (from_ns..until_ns).contains(&pulses.begun_ns());
        if without.is_some_and(from_the_start) {
            return None;
        }
        // Who comes late does not see the pulses begin: its clock goes on.
        let sees = begun_ns.is_some_and(|begun_ns| begun_ns <= pulses.begun_ns());
        let resets = self.setup.faults.resets_max.is_none_or(|most| self.resets < most);
        if sees && resets && self.reset_ns != Some(pulses.begun_ns()) {
            self.reset_clocks(&pulses);
        }
        Some(match without {
            Some(without) => Trigger::interrupted(pulses, without, self.clock, &self.setup.faults),
            None => Trigger::new(pulses),
        })
    }

    /// From a pulse to this camera's exposure, in nanoseconds.
    fn delay_ns(&self, depth: bool) -> i64 {
        let subordinate = match self.sync.role {
            Role::Subordinate => i64::from(self.sync.subordinate_delay),
            Role::Standalone | Role::Master => 0,
        };
        let depth_delay = if depth { i64::from(self.sync.depth_delay) } else { 0 };
        ticks_to_ns(subordinate + depth_delay)
    }

    /// The exposure that pulse `k` triggers; its stamp is never 0.
    fn expose(&mut self, trigger: &Trigger, k: u64, depth: bool) -> Exposure {
        let jitter_ns = hash(&[self.setup.seed, u64::from(depth), k]) % JITTER_NS;
        let centre_ns = trigger.at_ns(k).saturating_add_signed(self.delay_ns(depth));
        let host_ns = centre_ns + jitter_ns;
        let ticks = self.clock.ticks(host_ns).max(1);
        Exposure { depth, pulse: k, host_ns, ticks }
    }

    fn remember(&mut self, exposure: Exposure) {
        if self.exposures.len() < self.setup.exposures_max {
            self.exposures.push(exposure);
        }
    }

    /// How frames of a stream reach the host.
    fn delivery(&self, depth: bool) -> Delivery<'_> {
        let (stream, latency_ns) = match depth {
            true => (DEPTH_STREAM, DEPTH_LATENCY_NS),
            false => (COLOR_STREAM, COLOR_LATENCY_NS),
        };
        let delay_ns = self.delay_ns(depth) + latency_ns;
        Delivery { delay_ns, stream, faults: &self.setup.faults }
    }

    /// Whether a stream has stopped sending.
    fn hangs(&self, function: Function, endpoint: u8, now_ns: u64) -> bool {
        let start_ns = match (function, endpoint) {
            (Function::Depth, 0x83) => self.depth.streaming.map(|own| own.begun_ns()),
            (Function::Color, 0x81) => self.color.streaming.map(|(_, own)| own.begun_ns()),
            (Function::Color, 0x82) => self.imu.as_ref().map(|imu| imu.start_ns),
            _ => None,
        };
        start_ns.is_some_and(|start_ns| self.setup.faults.hangs(start_ns, now_ns))
    }

    /// A bulk transfer to the device: a command.
    ///
    /// # Errors
    /// [`Stall`] where no command goes.
    pub fn bulk_out(
        &mut self,
        function: Function,
        endpoint: u8,
        data: &[u8],
        now_ns: u64,
    ) -> Result<(), Stall> {
        if self.is_gone(now_ns) {
            return Err(Stall);
        }
        if let Some((request, bytes)) = self.download.take() {
            return self.take_package(function, &request, bytes, data);
        }
        let request = McuRequest::read(data).ok_or(Stall)?;
        self.note(function, u64::from(request.code), request.arguments);
        match (function, endpoint) {
            // The package comes in a transfer of its own, and is answered when it is here.
            (Function::Depth, 0x02) if request.code == 0x202 => {
                self.download = Some((data.to_vec(), request.data_bytes));
            }
            (Function::Depth, 0x02) => {
                let reads = matches!(request.code, 0x22 | 0x111 | 0x115 | 0x201 | 0x203);
                let done = self.depth_command(&request, now_ns);
                self.depth_replies.answer(&request, reads, done);
            }
            (Function::Color, 0x04) => {
                let done = self.color_command(&request, now_ns);
                self.color_replies.answer(&request, request.code == 0x8000_0006, done);
            }
            _ => return Err(Stall),
        }
        Ok(())
    }

    /// Pulled out and plugged in again: everything that was set is forgotten. What was received
    /// and exposed stays remembered.
    pub fn power_cycle(&mut self, now_ns: u64) {
        self.stop_color(now_ns);
        let journal = std::mem::take(&mut self.journal);
        let exposures = std::mem::take(&mut self.exposures);
        *self = Self { journal, exposures, ..Self::new(self.setup.clone()) };
    }

    /// A bulk transfer from the device: a command's data or response, a depth frame, an IMU packet.
    pub fn bulk_in(
        &mut self,
        function: Function,
        endpoint: u8,
        into: &mut [u8],
        now_ns: u64,
    ) -> Read {
        if self.is_gone(now_ns) {
            return Read::Gone;
        }
        if self.hangs(function, endpoint, now_ns) {
            return Read::Pending;
        }
        let replies = match (function, endpoint) {
            (Function::Depth, 0x81) => &mut self.depth_replies,
            (Function::Color, 0x83) => &mut self.color_replies,
            (Function::Depth, 0x83) => return self.depth_frame(into, now_ns),
            (Function::Color, 0x82) => return self.imu_packet(into, now_ns),
            (Function::Color, 0x81) => return self.color_payload(into, now_ns),
            _ => return Read::Stall,
        };
        match replies.next() {
            None => Read::Pending,
            Some(reply) => match into.get_mut(..reply.len()) {
                None => Read::Overflow,
                Some(room) => {
                    room.copy_from_slice(&reply);
                    Read::Done(reply.len())
                }
            },
        }
    }

    /// Host time at which a pending read will have data; none when that depends on something else.
    pub fn ready_at(&mut self, function: Function, endpoint: u8, now_ns: u64) -> Option<u64> {
        if self.is_gone(now_ns) {
            return Some(now_ns);
        }
        if self.hangs(function, endpoint, now_ns) {
            return None;
        }
        match (function, endpoint) {
            (Function::Depth, 0x81) => self.depth_replies.is_ready().then_some(now_ns),
            (Function::Color, 0x83) => self.color_replies.is_ready().then_some(now_ns),
            (Function::Depth, 0x83) => {
                let (trigger, mut queue) = (self.depth_trigger()?, self.depth.queue);
                let at = queue.ready_at(&trigger, self.delivery(true));
                self.depth.queue = queue;
                at
            }
            (Function::Color, 0x81) => {
                self.color.streaming?;
                let (trigger, mut queue) = (self.leading()?, self.color.queue);
                let at = queue.ready_at(&trigger, self.delivery(false));
                self.color.queue = queue;
                at
            }
            (Function::Color, 0x82) => {
                self.imu.as_ref().map(|imu| packet_ready_ns(imu, imu.next_packet))
            }
            _ => None,
        }
    }
}

fn packet_ready_ns(imu: &Imu, packet: u64) -> u64 {
    imu.start_ns + (packet + 1) * SAMPLES * imu::SAMPLE_NS + IMU_LATENCY_NS
}

fn newest_packet(imu: &Imu, now_ns: u64) -> u64 {
    let elapsed = now_ns.saturating_sub(imu.start_ns + IMU_LATENCY_NS);
    (elapsed / (SAMPLES * imu::SAMPLE_NS)).saturating_sub(1)
}
