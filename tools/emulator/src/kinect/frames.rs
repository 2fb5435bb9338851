//! What a camera sends on its streams: raw depth frames, color payloads, IMU packets.

use super::{IMU_HELD_MAX, IMU_RESET_NS, Kinect, newest_packet, packet_ready_ns};
use crate::descriptors::{BULK_PAYLOAD_BYTES, ColorTransfer, Function, INTERVAL_BYTES};
use crate::faults::{ColorFault, DepthFault, ImuFault};
use crate::imu::{self, SAMPLES};
use crate::raw::Trailer;
use crate::timing::Trigger;
use crate::usb::Read;
use crate::uvc::FrameFacts;
use genlock_formats::k4a::Role;

impl Kinect {
    /// What triggers depth exposures.
    pub(super) fn depth_trigger(&mut self) -> Option<Trigger> {
        let own = self.depth.streaming?;
        let alone = self.sync.role != Role::Subordinate;
        self.leading().or(alone.then_some(Trigger::new(own)))
    }

    pub(super) fn depth_frame(&mut self, into: &mut [u8], now_ns: u64) -> Read {
        loop {
            let (Some(trigger), Some(mode)) = (self.depth_trigger(), self.depth.mode) else {
                return Read::Pending;
            };
            let mut queue = self.depth.queue;
            let ready = queue.ready(&trigger, self.delivery(true), now_ns);
            self.depth.queue = queue;
            let Some(k) = ready else {
                return Read::Pending;
            };
            self.depth.queue.next = k + 1;
            let exposure = self.expose(&trigger, k, true);
            self.remember(exposure);
            let fault = self.setup.faults.depth(k);
            let bytes = mode.frame_bytes();
            if fault == Some(DepthFault::Missing) {
                continue;
            }
            if fault == Some(DepthFault::Overlong) || into.len() < bytes {
                return Read::Overflow;
            }
            let trailer = Trailer {
                exposure_ticks: exposure.ticks,
                sof_ticks: self.clock.ticks(now_ns),
                sensor_c: 32.5,
                laser_c: [31.0, 30.5],
            };
            let Some(body) = self.setup.view.depth(k) else {
                continue;
            };
            body.write(k, &trailer, &mut into[..bytes]);
            return match fault {
                Some(DepthFault::Short) => Read::Done(bytes / 2),
                Some(DepthFault::Garbled) => {
                    into[bytes - 40..bytes].fill(0xA5);
                    Read::Done(bytes)
                }
                _ => Read::Done(bytes),
            };
        }
    }

    pub(super) fn imu_packet(&mut self, into: &mut [u8], now_ns: u64) -> Read {
        self.leading();
        if into.len() < imu::PACKET_BYTES {
            return Read::Overflow;
        }
        loop {
            let Some(state) = &mut self.imu else {
                return Read::Pending;
            };
            let newest = newest_packet(state, now_ns);
            let packet = state.next_packet.max((newest + 1).saturating_sub(IMU_HELD_MAX));
            if packet > newest || now_ns < packet_ready_ns(state, packet) {
                return Read::Pending;
            }
            state.next_packet = packet + 1;
            let start_ns = state.start_ns;
            let fault = self.setup.faults.imu(packet);
            if fault == Some(ImuFault::Missing) {
                continue;
            }
            let samples = std::array::from_fn(|i| {
                let number = packet * SAMPLES + i as u64;
                let at_ns = start_ns + number * imu::SAMPLE_NS;
                (self.imu_ticks(at_ns), self.setup.view.imu(number))
            });
            return Read::Done(imu::packet(&samples, fault, into));
        }
    }

    fn imu_ticks(&self, at_ns: u64) -> u64 {
        let follows_at = self.reset_ns.map(|reset_ns| reset_ns + IMU_RESET_NS);
        match follows_at {
            Some(follows_at) if at_ns < follows_at => self.clock_before.ticks(at_ns),
            _ => self.clock.ticks(at_ns),
        }
    }

    /// An isochronous transfer of the color stream: packets of at most `packet_bytes`, that far
    /// apart in `into`, their lengths in `lens` (none: lost on the way). Packets without data are
    /// left out, and a transfer ends with a frame.
    pub fn isochronous_in(
        &mut self,
        function: Function,
        endpoint: u8,
        into: &mut [u8],
        packet_bytes: usize,
        lens: &mut [Option<u32>],
        now_ns: u64,
    ) -> Read {
        if self.is_gone(now_ns) {
            return Read::Gone;
        }
        if self.hangs(function, endpoint, now_ns) {
            return Read::Pending;
        }
        let bandwidth = usize::from(self.color.alternate).checked_sub(1).map(|i| INTERVAL_BYTES[i]);
        if function != Function::Color || endpoint != 0x81 || bandwidth != Some(packet_bytes as u32)
        {
            return Read::Stall;
        }
        let Some(trigger) = self.color_ready(now_ns) else {
            return Read::Pending;
        };
        Read::Done(self.color_packets(&trigger, into, packet_bytes, lens, now_ns))
    }

    /// A bulk transfer of the color stream: the next payload.
    pub(super) fn color_payload(&mut self, into: &mut [u8], now_ns: u64) -> Read {
        let room = BULK_PAYLOAD_BYTES as usize;
        if self.setup.color_transfer != ColorTransfer::Bulk {
            return Read::Stall;
        }
        if into.len() < room {
            return Read::Overflow;
        }
        loop {
            let Some(trigger) = self.color_ready(now_ns) else {
                return Read::Pending;
            };
            let mut len = [None];
            self.color_packets(&trigger, &mut into[..room], room, &mut len, now_ns);
            if let [Some(bytes)] = len {
                return Read::Done(bytes as usize);
            }
        }
    }

    /// What triggers the color frame that the host is within, or that is ready to be sent.
    fn color_ready(&mut self, now_ns: u64) -> Option<Trigger> {
        loop {
            let (trigger, _) = (self.leading()?, self.color.streaming?);
            let mut queue = self.color.queue;
            let before = queue.next;
            let ready = queue.ready(&trigger, self.delivery(false), now_ns);
            self.color.queue = queue;
            let k = ready?;
            if k != before {
                self.color.position.sent = 0;
            }
            let is_sent = self.setup.faults.color(k) != Some(ColorFault::Missing);
            if is_sent && self.setup.view.color(k).is_some() {
                return Some(trigger);
            }
            self.color.queue.next = k + 1;
        }
    }

    fn color_packets(
        &mut self,
        trigger: &Trigger,
        into: &mut [u8],
        packet_bytes: usize,
        lens: &mut [Option<u32>],
        now_ns: u64,
    ) -> usize {
        let k = self.color.queue.next;
        let fault = self.setup.faults.color(k);
        let exposure = self.expose(trigger, k, false);
        if self.color.position.sent == 0 {
            self.remember(exposure);
        }
        let period_us = trigger.pulses.rate.period_us();
        let facts = FrameFacts {
            pts_ticks: exposure.ticks,
            sof_ticks: self.clock.ticks(now_ns),
            effective: self.color.controls.effective(period_us, k, self.setup.seed),
        };
        let image = self.setup.view.color(k).unwrap_or_default();
        let mut count = 0;
        for packet in into.chunks_exact_mut(packet_bytes) {
            if count == lens.len() {
                break;
            }
            let middle = self.color.position.sent > 0;
            let (bytes, last) = self.color.position.payload(&image, &facts, fault, packet);
            let lost = fault == Some(ColorFault::LostPayload) && middle && !last;
            lens[count] = (!lost).then_some(bytes as u32);
            count += 1;
            if last {
                self.color.queue.next = k + 1;
                break;
            }
        }
        count
    }
}
