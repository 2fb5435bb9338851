//! Runs of a target, each held against the rules.

use crate::measure::peak_of;
use crate::mutate::mutate;
use crate::random::Random;
use crate::{Outcome, Target};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// A run that takes longer has no end within a person's patience.
pub const TIME_MAX: Duration = Duration::from_secs(5);

/// Inputs that are kept to be changed further.
const KEPT_MAX: usize = 4096;

/// Every input of a new kind, and one in this many others, is run twice.
const TWICE_EVERY: u64 = 16;

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// This many inputs.
    Runs(u64),
    /// This long.
    Time(Duration),
}

/// What was seen of a target.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Inputs that were run.
    pub runs: u64,
    /// How long it took.
    pub took: Duration,
    /// Features of outcomes.
    pub kinds: usize,
    /// Inputs that were kept.
    pub kept: usize,
    /// The slowest run.
    pub slowest: Duration,
    /// The most memory that a run had.
    pub memory: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, took, kinds, kept, slowest, memory } = self;
        let rate = *runs as f64 / took.as_secs_f64().max(1e-9);
        write!(
            f,
            "{runs} runs in {:.1} s, {rate:.0}/s; {kinds} kinds of outcomes, {kept} inputs kept; \
             slowest {:.2} ms; most memory {} KiB",
            took.as_secs_f64(),
            slowest.as_secs_f64() * 1e3,
            memory.div_ceil(1024)
        )
    }
}

/// An input that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// Which rule, and where.
    pub what: String,
}

/// The input that is being run, and since when: for who watches over runs without an end.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Option<(Instant, Vec<u8>)>>);

impl Watched {
    fn set(&self, input: &[u8], begun: Instant) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, bytes) = watched.get_or_insert_with(|| (begun, Vec::new()));
        *since = begun;
        bytes.clear();
        bytes.extend_from_slice(input);
    }

    /// The input that has been running for longer than twice [`TIME_MAX`].
    #[must_use]
    pub fn endless(&self) -> Option<Finding> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, input) = watched.as_ref()?;
        let what = "no end".to_owned();
        (since.elapsed() > 2 * TIME_MAX).then(|| Finding { input: input.clone(), what })
    }
}

thread_local! {
    /// What the panic that is being caught said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on a panic is kept for the finding, and not printed.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let own = SAID.with_borrow_mut(|said| {
                let own = said.is_some();
                if own {
                    *said = Some(panic.to_string());
                }
                own
            });
            if !own {
                usual(panic);
            }
        }));
    });
}

/// What one run came to.
struct Seen {
    features: Vec<u64>,
    details: u64,
    took: Duration,
    memory: usize,
}

fn once(target: &Target, input: &[u8], begun: Instant) -> Result<Seen, String> {
    SAID.set(Some("a panic that says nothing".to_owned()));
    let run = || {
        let mut outcome = Outcome::default();
        (target.run)(input, &mut outcome);
        outcome.into_parts()
    };
    let (done, memory) = peak_of(|| catch_unwind(AssertUnwindSafe(run)));
    let took = begun.elapsed();
    let said = SAID.take();
    let (features, details) = done.map_err(|_| said.unwrap_or_default())?;
    let room = target.memory_max(input.len());
    if memory > room {
        return Err(format!("{memory} bytes of memory, where {room} are reason"));
    }
    if took > TIME_MAX {
        return Err(format!("{:.1} s for one input", took.as_secs_f64()));
    }
    Ok(Seen { features, details, took, memory })
}

/// Runs one input twice.
///
/// # Errors
/// The rule that it breaks.
pub fn check(target: &Target, input: &[u8]) -> Result<Report, Finding> {
    listen();
    let finding = |what| Finding { input: input.to_vec(), what };
    // What is made once for all runs is no run's memory.
    let _ = once(target, input, Instant::now());
    let first = once(target, input, Instant::now()).map_err(finding)?;
    let second = once(target, input, Instant::now()).map_err(finding)?;
    if first.details != second.details {
        return Err(finding("two outcomes of one input".to_owned()));
    }
    let Seen { took, memory, .. } = first;
    Ok(Report { runs: 1, took, kinds: 1, kept: 1, slowest: took, memory })
}

/// Runs the target on its seeds, on `corpus`, and on what becomes of them.
///
/// # Errors
/// The first input that breaks a rule.
pub fn fuzz(
    target: &Target,
    corpus: &[Vec<u8>],
    until: Until,
    seed: u64,
    watched: &Watched,
) -> Result<Report, Finding> {
    let mut kept = (target.seeds)();
    kept.extend_from_slice(corpus);
    // No input at all is one, and what all are spliced with where there is nothing else.
    kept.push(Vec::new());
    let given = kept.len();
    for input in &kept {
        check(target, input)?;
    }
    let (mut random, mut kinds) = (Random::new(seed), HashSet::<u64>::new());
    let mut report = Report::default();
    let mut input = Vec::new();
    let begun = Instant::now();
    loop {
        let over = match until {
            Until::Runs(runs) => report.runs >= runs,
            // Asked now and then: the clock is dearer than some runs.
            Until::Time(time) => report.runs % 256 == 0 && begun.elapsed() >= time,
        };
        if over {
            break;
        }
        let place = report.runs as usize;
        input.clear();
        if place < given {
            input.extend_from_slice(&kept[place]);
        } else {
            // New ones more often: they are where behaviour changes.
            let recent = if random.one_in(2) { kept.len().min(64) } else { kept.len() };
            input.extend_from_slice(&kept[kept.len() - 1 - random.below(recent)]);
            let other = &kept[random.below(kept.len())];
            mutate(&mut random, target.form, &mut input, other, target.len_max);
        }
        let started = Instant::now();
        watched.set(&input, started);
        let finding = |what| Finding { input: input.clone(), what };
        let seen = once(target, &input, started).map_err(finding)?;
        report.runs += 1;
        report.slowest = report.slowest.max(seen.took);
        report.memory = report.memory.max(seen.memory);
        let before = kinds.len();
        kinds.extend(&seen.features);
        let new = kinds.len() > before;
        if new || report.runs % TWICE_EVERY == 0 {
            let again = once(target, &input, Instant::now()).map_err(finding)?;
            if again.details != seen.details {
                return Err(finding("two outcomes of one input".to_owned()));
            }
        }
        if new && kept.len() < KEPT_MAX {
            kept.push(input.clone());
        } else if new {
            let place = given + random.below(kept.len() - given);
            kept[place].clone_from(&input);
        }
    }
    report.took = begun.elapsed();
    (report.kinds, report.kept) = (kinds.len(), kept.len() - given);
    Ok(report)
}
