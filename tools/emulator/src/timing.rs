//! Time in a camera: its clock, and the pulses that trigger exposures.

use crate::faults::Faults;
use genlock_formats::k4a::Rate;

/// What a device counts time by, with its error.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Crystal {
    ppm: f64,
    /// By how much `ppm` grows in a second.
    drift_ppm: f64,
}

impl Crystal {
    fn new(faults: &Faults) -> Self {
        Self { ppm: faults.clock_ppm, drift_ppm: faults.clock_drift_ppm_per_min / 60.0 }
    }

    /// Nanoseconds by its own count while `elapsed_ns` pass.
    fn counts(&self, elapsed_ns: f64) -> f64 {
        let error_ppm = self.ppm + self.drift_ppm * elapsed_ns / 2e9;
        elapsed_ns * (1.0 + error_ppm / 1e6)
    }

    /// The nanoseconds that pass while it counts `counted_ns`.
    fn passes(&self, counted_ns: f64) -> f64 {
        // Each round takes what the last one was off: the error falls by a factor of thousands.
        let mut elapsed_ns = counted_ns;
        for _ in 0..4 {
            elapsed_ns += counted_ns - self.counts(elapsed_ns);
        }
        elapsed_ns
    }
}

/// A device's 90 kHz clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceClock {
    crystal: Crystal,
    since_ns: u64,
    base_ticks: i64,
    /// From this host time on it shows so many ticks more.
    jump: Option<(u64, i64)>,
}

impl DeviceClock {
    /// A clock that has run for a while when host time begins: as in a camera that was plugged in
    /// earlier.
    #[must_use]
    pub fn running(faults: &Faults) -> Self {
        Self {
            crystal: Crystal::new(faults),
            since_ns: 0,
            base_ticks: (faults.uptime_s * 90_000.0) as i64,
            jump: faults.clock_jump(),
        }
    }

    /// The clock, set to `ticks` at `at_ns`.
    #[must_use]
    pub fn reset(self, at_ns: u64, ticks: i64) -> Self {
        Self { since_ns: at_ns, base_ticks: ticks, ..self }
    }

    /// Ticks at host time `at_ns`; never negative.
    #[must_use]
    pub fn ticks(&self, at_ns: u64) -> u64 {
        let elapsed_ns = at_ns.saturating_sub(self.since_ns) as f64;
        let counted_ns = self.crystal.counts(elapsed_ns);
        // What a float makes of a whole tick is a whole tick.
        let ticks = (counted_ns * 9.0 / 100_000.0 + 1e-6).floor() as i64;
        let jumped = self.jump.filter(|(from_ns, _)| at_ns >= *from_ns);
        let jumped = jumped.map_or(0, |(_, ticks)| ticks);
        self.base_ticks.saturating_add(ticks).saturating_add(jumped).max(0) as u64
    }
}

/// The pulses that trigger exposures: pulse k, counted from 1, comes k periods after the start, by
/// the clock of the camera that gives them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pulses {
    /// Host time of the start; negative if host time began later, as on another camera's host.
    pub start_ns: i64,
    /// Pulses per second.
    pub rate: Rate,
    /// When they ended, if they have.
    pub(crate) stop_ns: Option<u64>,
    period_ns: f64,
    crystal: Crystal,
}

impl Pulses {
    /// Pulses from `start_ns` on, by `clock` and with the error of rate that `faults` ask for.
    #[must_use]
    pub fn new(start_ns: u64, rate: Rate, clock: DeviceClock, faults: &Faults) -> Self {
        let period_ns = 1e9 / f64::from(rate.fps()) / (1.0 + faults.rate_ppm / 1e6);
        let start_ns = start_ns.min(i64::MAX as u64) as i64;
        Self { start_ns, rate, stop_ns: None, period_ns, crystal: clock.crystal }
    }

    /// Host time of the start; 0 if host time began later.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.start_ns.max(0) as u64
    }

    /// Whether they have not been ended.
    #[must_use]
    pub fn go_on(&self) -> bool {
        self.stop_ns.is_none()
    }

    /// The same pulses, ended at `now_ns`.
    #[must_use]
    pub fn stopped(self, now_ns: u64) -> Self {
        Self { stop_ns: Some(now_ns), ..self }
    }

    /// The same pulses in the time of a host whose clock shows so much more.
    #[must_use]
    pub fn moved(self, by_ns: i64) -> Self {
        Self {
            start_ns: self.start_ns.saturating_add(by_ns),
            stop_ns: self.stop_ns.map(|stop_ns| stop_ns.saturating_add_signed(by_ns)),
            ..self
        }
    }

    /// Host time of pulse `k`; 0 where host time had not begun.
    #[must_use]
    pub fn at_ns(&self, k: u64) -> u64 {
        let counted_ns = k as f64 * self.period_ns;
        // Rounded up: at that nanosecond the clock shows the whole period.
        let elapsed_ns = (self.crystal.passes(counted_ns) - 1e-3).ceil();
        self.start_ns.saturating_add(elapsed_ns as i64).max(0) as u64
    }

    /// The last pulse at or before `now_ns`, and not after the stop; 0 before the first.
    #[must_use]
    pub fn last(&self, now_ns: u64) -> u64 {
        let end_ns = self.stop_ns.map_or(now_ns, |stop| stop.min(now_ns));
        let elapsed_ns = end_ns.min(i64::MAX as u64) as i64;
        let elapsed_ns = elapsed_ns.saturating_sub(self.start_ns).max(0) as f64;
        let about = (self.crystal.counts(elapsed_ns) / self.period_ns) as u64;
        last_of(about, end_ns, |k| self.at_ns(k))
    }

    /// Bytes of [`Pulses::to_bytes`].
    pub const BYTES: usize = 48;

    /// All that there is to know of them: numbers of eight bytes, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let fields = [
            self.start_ns as u64,
            self.stop_ns.unwrap_or(u64::MAX),
            u64::from(self.rate.fps()),
            self.period_ns.to_bits(),
            self.crystal.ppm.to_bits(),
            self.crystal.drift_ppm.to_bits(),
        ];
        let mut bytes = [0; Self::BYTES];
        for (into, field) in bytes.chunks_exact_mut(8).zip(fields) {
            into.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// What [`Pulses::to_bytes`] gave; none of bytes that no camera gives.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut fields = [0; Self::BYTES / 8];
        for (field, from) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
            *field = u64::from_le_bytes(from.try_into().ok()?);
        }
        let [start_ns, stop_ns, fps, period_ns, ppm, drift_ppm] = fields;
        let rate = Rate::ALL.into_iter().find(|rate| u64::from(rate.fps()) == fps)?;
        let crystal = Crystal { ppm: f64::from_bits(ppm), drift_ppm: f64::from_bits(drift_ppm) };
        let period_ns = f64::from_bits(period_ns);
        // Others would be counted for ever.
        let sound = crystal.ppm.abs() < 1e4
            && crystal.drift_ppm.abs() < 1.0
            && (0.5..2.0).contains(&(period_ns * f64::from(rate.fps()) / 1e9));
        let stop_ns = (stop_ns != u64::MAX).then_some(stop_ns);
        sound.then_some(Self { start_ns: start_ns as i64, rate, stop_ns, period_ns, crystal })
    }
}

/// The last of a growing sequence at or before `end_ns`, looked for from `about` on; 0 where the
/// first is later.
fn last_of(about: u64, end_ns: u64, at_ns: impl Fn(u64) -> u64) -> u64 {
    let mut k = about;
    while k > 0 && at_ns(k) > end_ns {
        k -= 1;
    }
    while at_ns(k + 1) <= end_ns {
        k += 1;
    }
    k
}

/// What triggers a camera: pulses, and for as long as its cable is out, itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trigger {
    pub pulses: Pulses,
    free: Option<FreeRun>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct FreeRun {
    /// Runs free after this pulse, the last that it got.
    after: u64,
    /// The first pulse that it gets again.
    until: u64,
    own: Pulses,
}

impl Trigger {
    /// Pulses that always arrive.
    pub fn new(pulses: Pulses) -> Self {
        Self { pulses, free: None }
    }

    /// Pulses that do not arrive between two host times; the camera then runs by its own `clock`.
    pub fn interrupted(
        pulses: Pulses,
        (from_ns, until_ns): (u64, u64),
        clock: DeviceClock,
        faults: &Faults,
    ) -> Self {
        let after = pulses.last(from_ns);
        let own = Pulses::new(pulses.at_ns(after), pulses.rate, clock, faults);
        let until = if until_ns == u64::MAX { u64::MAX } else { pulses.last(until_ns) + 1 };
        // Before the first pulse there is nothing to go on from.
        let free = (after > 0 && until > after + 1).then_some(FreeRun { after, until, own });
        Self { pulses, free }
    }

    /// Host time of exposure `k`, which answers pulse `k`.
    pub fn at_ns(&self, k: u64) -> u64 {
        match self.free {
            Some(free) if free.after < k && k < free.until => free.own.at_ns(k - free.after),
            _ => self.pulses.at_ns(k),
        }
    }

    /// The last exposure at or before `now_ns`.
    pub fn last(&self, now_ns: u64) -> u64 {
        match self.free {
            None => self.pulses.last(now_ns),
            Some(_) => {
                let end_ns = self.pulses.stop_ns.map_or(now_ns, |stop| stop.min(now_ns));
                last_of(self.pulses.last(now_ns), end_ns, |k| self.at_ns(k))
            }
        }
    }
}

/// Frames of one stream on their way to the host: which is next, and what the device has dropped
/// because nobody read it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Queue {
    start_ns: i64,
    /// Number of the next frame to read, as its pulse.
    pub next: u64,
}

/// Frames that wait for a host that does not read: in the device, and in the transfers that a host
/// keeps queued.
const HELD_MAX: u64 = 8;

/// When a frame is there for the host: how long after its pulse it is ready, and how late USB may
/// deliver it.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'f> {
    pub delay_ns: i64,
    pub stream: u64,
    pub faults: &'f Faults,
}

impl Delivery<'_> {
    fn at_ns(&self, trigger: &Trigger, k: u64) -> u64 {
        let ready_ns = trigger.at_ns(k).saturating_add_signed(self.delay_ns);
        self.faults.delivered_ns(self.stream, k, ready_ns)
    }
}

impl Queue {
    /// The next frame, once it is there.
    pub fn ready(&mut self, trigger: &Trigger, how: Delivery<'_>, now_ns: u64) -> Option<u64> {
        self.follow(trigger);
        let newest = trigger.last(now_ns.saturating_add_signed(-how.delay_ns));
        self.next = self.next.max((newest + 1).saturating_sub(HELD_MAX));
        let there = self.next <= newest && how.at_ns(trigger, self.next) <= now_ns;
        there.then_some(self.next)
    }

    /// When the next frame will be there; none after the last.
    pub fn ready_at(&mut self, trigger: &Trigger, how: Delivery<'_>) -> Option<u64> {
        self.follow(trigger);
        let exposed_ns = trigger.at_ns(self.next);
        let ended = trigger.pulses.stop_ns.is_some_and(|stop_ns| exposed_ns > stop_ns);
        (!ended).then(|| how.at_ns(trigger, self.next))
    }

    fn follow(&mut self, trigger: &Trigger) {
        if self.start_ns != trigger.pulses.start_ns || self.next == 0 {
            *self = Self { start_ns: trigger.pulses.start_ns, next: 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ppm: f64, drift: f64) -> DeviceClock {
        let faults = Faults { clock_ppm: ppm, clock_drift_ppm_per_min: drift, ..Faults::default() };
        DeviceClock::running(&faults).reset(0, 0)
    }

    fn pulses(rate: Rate, ppm: f64) -> Pulses {
        Pulses::new(0, rate, clock(ppm, 0.0), &Faults::default())
    }

    #[test]
    fn a_clock_counts_90000_in_a_second_give_or_take_its_error() {
        assert_eq!(clock(0.0, 0.0).reset(5, 0).ticks(1_000_000_005), 90_000);
        assert_eq!(clock(-388.0, 0.0).ticks(1_000_000_000_000), 90_000_000 - 34_920);
        // 6 ppm a minute over ten minutes: 30 ppm on average.
        assert_eq!(clock(0.0, 6.0).ticks(600_000_000_000), 54_000_000 + 1620);
        let fast = clock(388.0, 1.0);
        let there = fast.crystal.counts(fast.crystal.passes(3.6e12));
        assert!((there - 3.6e12).abs() < 1.0, "{there}");
    }

    #[test]
    fn a_camera_stamps_its_own_pulses_in_whole_periods() {
        let (pulses, clock) = (pulses(Rate::Fps30, 388.0), clock(388.0, 0.0));
        for k in [1, 30, 108_000] {
            assert_eq!(clock.ticks(pulses.at_ns(k)), k * 3000);
            assert_eq!(pulses.last(pulses.at_ns(k)), k);
            assert_eq!(pulses.last(pulses.at_ns(k) - 1), k - 1);
        }
    }

    #[test]
    fn frames_that_nobody_reads_are_dropped_oldest_first() {
        let trigger = Trigger::new(pulses(Rate::Fps5, 0.0));
        let (mut queue, faults) = (Queue::default(), Faults::default());
        let prompt = Delivery { delay_ns: 10, stream: 0, faults: &faults };
        assert_eq!(queue.ready(&trigger, prompt, 200_000_009), None);
        assert_eq!(queue.ready(&trigger, prompt, 200_000_010), Some(1));
        assert_eq!(queue.ready(&trigger, prompt, 4_000_000_010), Some(13));
        assert_eq!(queue.ready_at(&trigger, prompt), Some(2_600_000_010));
    }

    #[test]
    fn stopped_pulses_end() {
        let pulses = pulses(Rate::Fps5, 0.0).stopped(450_000_000);
        assert_eq!(pulses.last(10_000_000_000), 2);
        let (mut queue, faults) = (Queue { start_ns: 0, next: 3 }, Faults::default());
        let prompt = Delivery { delay_ns: 0, stream: 0, faults: &faults };
        assert_eq!(queue.ready_at(&Trigger::new(pulses), prompt), None);
    }

    #[test]
    fn a_camera_whose_cable_is_out_runs_by_its_own_clock_until_it_is_back() {
        let pulses = pulses(Rate::Fps30, 0.0);
        let out = (1_000_000_000, 3_000_000_000);
        let trigger = Trigger::interrupted(pulses, out, clock(-300.0, 0.0), &Faults::default());
        assert_eq!(trigger.at_ns(30), pulses.at_ns(30));
        // Two seconds at 300 ppm: 600 us late.
        let late = trigger.at_ns(90) - pulses.at_ns(90);
        assert!((599_000..601_000).contains(&late), "{late}");
        assert_eq!(trigger.last(trigger.at_ns(90)), 90);
        assert_eq!(trigger.at_ns(91), pulses.at_ns(91));
    }

    #[test]
    fn a_host_whose_time_began_later_counts_the_same_pulses() {
        let pulses = pulses(Rate::Fps15, 40.0);
        let later = pulses.moved(-2_000_000_000);
        assert_eq!(later.at_ns(45), pulses.at_ns(45) - 2_000_000_000);
        assert_eq!(later.last(1_000_000_000), pulses.last(3_000_000_000));
        assert_eq!((later.at_ns(15), later.moved(2_000_000_000)), (0, pulses));
    }

    #[test]
    fn pulses_outlast_their_way_through_bytes() {
        let faults = Faults { rate_ppm: 3333.0, ..Faults::default() };
        for pulses in [
            Pulses::new(5, Rate::Fps30, clock(-388.0, 6.0), &faults),
            pulses(Rate::Fps5, 20.0).stopped(7),
        ] {
            let bytes = pulses.to_bytes();
            assert_eq!(Pulses::from_bytes(&bytes), Some(pulses));
            for (field, wrong) in [(2, 31), (3, 0), (3, f64::NAN.to_bits()), (4, u64::MAX)] {
                let mut bytes = bytes;
                bytes[field * 8..][..8].copy_from_slice(&u64::to_le_bytes(wrong));
                assert_eq!(Pulses::from_bytes(&bytes), None, "field {field}: {wrong}");
            }
        }
    }
}
