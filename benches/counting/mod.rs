//! Counts allocations of the whole process.

use genlock::clock::Clock;
use genlock::config::{ColorControls, DeviceConfig, Keeping, Opening, Storing};
use genlock::device::{self, Device, EngineLibrary};
use genlock::record::{Disk, Job, Member, Surroundings, Take};
use genlock::stage::Step;
use genlock::usb::emulated::EmulatedBus;
use genlock_emulator::Faults;
use genlock_formats::k4a;
use genlock_formats::take::Profile;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The system's allocator, with a counter.
struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Allocations of this process so far.
fn allocations() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// A place that takes bytes and keeps none.
struct Nowhere;

impl Disk for Nowhere {
    fn append(&mut self, _: &mut [IoSlice<'_>]) -> genlock::Result<()> {
        Ok(())
    }
    fn patch(&mut self, _: u64, _: &[u8]) -> genlock::Result<()> {
        Ok(())
    }
    fn sync(&mut self) -> genlock::Result<()> {
        Ok(())
    }
    fn publish(&mut self) -> genlock::Result<()> {
        Ok(())
    }
}

/// Allocations between the fifth and the twentieth second of a take, on one thread under virtual
/// time: the emulated device, every stage, the muxer.
pub fn allocations_in_mid_take(profile: Profile) -> u64 {
    const FROM_NS: u64 = 5_000_000_000;
    const UNTIL_NS: u64 = 20_000_000_000;
    let clock = Clock::simulated();
    let bus = Arc::new(EmulatedBus::rig(&[Faults::default()], None, clock.clone()));
    let mut stages = Vec::new();
    let around = Surroundings {
        bus: bus.clone(),
        keeping: Keeping::default(),
        storing: Storing { profile, ..Storing::default() },
        engine: EngineLibrary::emulated().ok(),
        clock: clock.clone(),
        place: &mut |_| Ok(Box::new(Nowhere)),
        armed: &mut || Ok(()),
        launch: &mut |job| {
            let (Job::Source(_, stage) | Job::Recorder(_, stage) | Job::Helper(stage)) = job;
            stages.push(stage);
            Ok(())
        },
        written: k4a::About { writing_app: "bench".to_owned(), date_utc_ns: None, uid_seed: 1 },
    };
    let mut take = Take::start(vec![member(bus.as_ref())], None, Opening::default(), around)
        .expect("it starts");
    let mut before = None;
    while clock.now_ns() < UNTIL_NS {
        if clock.now_ns() >= FROM_NS {
            before.get_or_insert_with(allocations);
        }
        let mut worked = false;
        for stage in &mut stages {
            let step = stage.step(Duration::ZERO).expect("an emulated device is sound");
            worked |= step == Step::Worked;
        }
        if !worked {
            let now_ns = clock.now_ns();
            clock.move_to(bus.next_event_ns().unwrap_or(0).max(now_ns + 1000));
        }
    }
    let count = allocations() - before.expect("the take was longer");
    let frames = take.status(Duration::ZERO).devices[0].frames;
    assert!(frames > 500, "{frames} frames in 20 s");
    count
}

fn member(bus: &EmulatedBus) -> Member {
    let found = device::find(bus).expect("an emulated device");
    let device = Device::open(bus, &found[0]).expect("it opens");
    let (config, controls) = (DeviceConfig::default(), ColorControls::default());
    Member { device, name: None, config, controls }
}
