//! Work dealt to all cores, and what comes of it collected in the order in which it was dealt.

use crate::error::{Error, Result};
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::available_parallelism;

/// Memory that is out with each worker, or waits to be collected, at most; a single job may need
/// more. It holds some captures, and stays within reach of the processor's caches: images that are
/// made further ahead come back from memory (`cargo bench --bench replay`).
const BYTES_MAX: usize = 6 << 20;

/// How many threads work is dealt to: one for each core.
#[must_use]
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Does each of `jobs` on one of `workers` threads, and gives what came of it to `take`, in the
/// order of the jobs. A job comes with the bytes of memory that it will need; `begin` makes what a
/// thread works with. One worker alone works on the thread of the caller.
///
/// # Errors
/// The first of `take`, and of a worker that failed by a fault in genlock.
pub fn in_order<J: Send, R: Send, W: FnMut(J) -> R>(
    workers: usize,
    jobs: impl Iterator<Item = (J, usize)>,
    begin: impl Fn() -> W + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    if workers < 2 {
        let mut work = begin();
        return jobs.map(|(job, _)| work(job)).try_for_each(take);
    }
    std::thread::scope(|scope| {
        let (give, given) = unbounded();
        let (tell, told) = unbounded();
        for _ in 0..workers {
            let (given, tell, begin) = (given.clone(), tell.clone(), &begin);
            scope.spawn(move || worker(begin(), &given, &tell));
        }
        drop(tell);
        let (mut jobs, mut out) = (jobs.fuse(), Out::default());
        loop {
            while out.bytes < BYTES_MAX * workers
                && let Some((job, bytes)) = jobs.next()
            {
                let place = out.begin(bytes);
                give.send((place, job)).map_err(|_| fault())?;
            }
            let Some(next) = out.waiting.front_mut() else {
                return Ok(());
            };
            if let Some(done) = next.done.take() {
                take(done)?;
                out.end();
                continue;
            }
            let (place, done): (u64, Option<R>) = told.recv().map_err(|_| fault())?;
            out.put(place, done.ok_or_else(fault)?);
        }
    })
}

fn worker<J, R>(
    mut work: impl FnMut(J) -> R,
    given: &Receiver<(u64, J)>,
    tell: &Sender<(u64, Option<R>)>,
) {
    for (place, job) in given {
        // Whoever collects must hear of a fault: it would wait for ever.
        let done = catch_unwind(AssertUnwindSafe(|| work(job))).ok();
        let failed = done.is_none();
        if tell.send((place, done)).is_err() || failed {
            return;
        }
    }
}

fn fault() -> Error {
    Error::Device("stopped by a fault in genlock; please report it".to_owned())
}

/// What is out, oldest first.
struct Out<R> {
    waiting: VecDeque<Waiting<R>>,
    /// Place of the oldest.
    first: u64,
    bytes: usize,
}

struct Waiting<R> {
    bytes: usize,
    done: Option<R>,
}

impl<R> Default for Out<R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), first: 0, bytes: 0 }
    }
}

impl<R> Out<R> {
    fn begin(&mut self, bytes: usize) -> u64 {
        // Each counts for something: a list of empty jobs must end too.
        let bytes = bytes.max(1 << 10);
        self.waiting.push_back(Waiting { bytes, done: None });
        self.bytes += bytes;
        self.first + self.waiting.len() as u64 - 1
    }

    fn put(&mut self, place: u64, done: R) {
        if let Some(waiting) = self.waiting.get_mut((place - self.first) as usize) {
            waiting.done = Some(done);
        }
    }

    fn end(&mut self) {
        self.bytes -= self.waiting.pop_front().map_or(0, |waiting| waiting.bytes);
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn what_is_collected_has_the_order_of_the_jobs() {
        for workers in [1, 2, 5] {
            let mut collected = Vec::new();
            let jobs = (0..10_000_u64).map(|job| (job, 1 << (job % 20)));
            // Some jobs take longer than others.
            let work = || |job: u64| (0..job % 7 * 100).fold(job * 2, |sum, _| black_box(sum));
            let took = in_order(workers, jobs, work, |done| {
                collected.push(done);
                Ok(())
            });
            assert_eq!(took, Ok(()));
            assert!(collected.into_iter().eq((0..10_000).map(|job| job * 2)), "{workers}");
        }
    }

    #[test]
    fn a_job_larger_than_all_memory_is_done_alone() {
        let jobs = [(1, usize::MAX / 2), (2, 0), (3, usize::MAX / 4)].into_iter();
        let mut sum = 0;
        let took = in_order(
            2,
            jobs,
            || |job: u64| job,
            |done| {
                sum += done;
                Ok(())
            },
        );
        assert_eq!((took, sum), (Ok(()), 6));
    }

    #[test]
    fn the_first_refusal_ends_it() {
        let jobs = (0..1_000_000_u64).map(|job| (job, 1 << 20));
        let took = in_order(
            3,
            jobs,
            || |job: u64| job,
            |done| match done {
                10 => Err(Error::Disk("full".to_owned())),
                _ => Ok(()),
            },
        );
        assert_eq!(took, Err(Error::Disk("full".to_owned())));
    }

    #[test]
    fn a_fault_in_a_worker_is_an_error_and_no_wait_without_end() {
        let jobs = (0..100_u64).map(|job| (job, 1 << 20));
        let work = || {
            |job: u64| {
                assert!(job != 50, "a fault");
                job
            }
        };
        let took = in_order(2, jobs, work, |_| Ok(()));
        assert!(took.is_err_and(|error| error.to_string().contains("a fault in genlock")));
    }
}
