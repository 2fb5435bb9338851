//! Asking every host again and again how it goes, each on a thread of its own: one that is silent
//! keeps nobody waiting.

use super::messages::{AgentStatus, Answer, Ask, PartStatus, Refusal, State};
use super::name::{HostName, TakeId};
use super::rig::{Hosts, Trouble};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// How often a host is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// After so long without an answer a host is called silent.
const SILENT_AFTER: Duration = Duration::from_secs(4);

/// What was last heard of a host.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What its agent does, as far as it is about this take.
    pub state: Option<State>,
    /// Why its part failed.
    pub why: Option<Refusal>,
    /// How its recorder is, or was.
    pub part: Option<PartStatus>,
    /// Whether its part is over.
    pub is_over: bool,
    /// Whether it is at this take.
    pub is_busy: bool,
    /// When it last answered.
    pub at: Instant,
    alarms_told: u64,
    silence_told: bool,
}

impl Heard {
    /// Whether it has a frame of the take.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.begun)
    }

    /// Whether it has not answered for a while.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.at.elapsed() > SILENT_AFTER
    }
}

struct Shared {
    heard: Mutex<BTreeMap<HostName, Heard>>,
    news: Mutex<Vec<String>>,
    /// What hosts are told beside being asked: to stop, before which trigger.
    stop: Mutex<Option<Option<u64>>>,
    quit: AtomicBool,
    order: Vec<HostName>,
}

/// The threads that ask.
pub struct Polls(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Polls {
    /// Asks these hosts for this take, until [`Polls::end`].
    pub fn of<'scope, 'env: 'scope>(
        hosts: &'env Hosts,
        names: &'env [HostName],
        take: &'env TakeId,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Self {
        let heard = names.iter().map(|name| {
            let heard = Heard {
                state: None,
                why: None,
                part: None,
                is_over: false,
                is_busy: false,
                at: Instant::now(),
                alarms_told: 0,
                silence_told: false,
            };
            (name.clone(), heard)
        });
        let shared = Arc::new(Shared {
            heard: Mutex::new(heard.collect()),
            news: Mutex::default(),
            stop: Mutex::default(),
            quit: AtomicBool::new(false),
            order: names.to_vec(),
        });
        for name in names {
            let shared = Arc::clone(&shared);
            scope.spawn(move || shared.ask(hosts, name, take));
        }
        Self(shared)
    }

    /// What was last heard, in the order of the rig file.
    #[must_use]
    pub fn heard(&self) -> Vec<(HostName, Heard)> {
        let heard = lock(&self.0.heard);
        let known = self.0.order.iter();
        known.filter_map(|name| Some((name.clone(), heard.get(name)?.clone()))).collect()
    }

    /// Hosts that are not armed.
    #[must_use]
    pub fn not_armed(&self) -> Vec<String> {
        let is_armed = |heard: &Heard| matches!(heard.state, Some(State::Armed | State::Recording));
        let others = self.heard().into_iter().filter(|(_, heard)| !is_armed(heard));
        others.map(|(host, _)| host.to_string()).collect()
    }

    /// Alarms, and who has fallen silent, since the last look.
    #[must_use]
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.news))
    }

    /// Every host is to end before this trigger, or soon.
    pub fn stop_with(&self, end: Option<u64>) {
        *lock(&self.0.stop) = Some(end);
    }

    /// Asks no more.
    pub fn end(&self) {
        self.0.quit.store(true, Ordering::Release);
    }
}

impl Shared {
    fn ask(&self, hosts: &Hosts, name: &HostName, take: &TakeId) {
        let mut stopped = false;
        while !self.quit.load(Ordering::Acquire) {
            let stop = lock(&self.stop).filter(|_| !stopped);
            if let Some(end) = stop {
                stopped = hosts.ask(name, Ask::Stop(take.clone(), end), PATIENCE).is_ok();
            }
            match hosts.ask(name, Ask::Status, PATIENCE) {
                Ok((Answer::Status(status), _)) => self.hear(name, take, *status),
                Ok(_) | Err(Trouble::Refused(_)) => {}
                Err(Trouble::Silent(why)) => self.note_silence(name, &why),
            }
            thread::park_timeout(ASK_EVERY);
        }
    }

    fn hear(&self, name: &HostName, take: &TakeId, status: AgentStatus) {
        let mut all = lock(&self.heard);
        let Some(heard) = all.get_mut(name) else { return };
        if heard.silence_told {
            lock(&self.news).push(format!("host {name} answers again"));
            heard.silence_told = false;
        }
        heard.at = Instant::now();
        let is_ours = status.take.as_ref() == Some(take);
        let at_rest = matches!(status.state, State::Idle | State::Failed);
        let had_begun = heard.part.as_ref().is_some_and(|part| part.armed);
        // One that was started anew behind the end of its part knows nothing of it.
        heard.is_over = at_rest && (is_ours || had_begun);
        heard.is_busy = is_ours && !at_rest;
        if !is_ours {
            return;
        }
        heard.state = Some(status.state);
        heard.why = status.why;
        if let Some(part) = status.part {
            let news = part.alarm_count.saturating_sub(heard.alarms_told);
            let first = part.alarms.len().saturating_sub(usize::try_from(news).unwrap_or(0));
            lock(&self.news).extend(part.alarms[first..].iter().cloned());
            heard.alarms_told = part.alarm_count;
            heard.part = Some(part);
        }
    }

    fn note_silence(&self, name: &HostName, why: &str) {
        let mut all = lock(&self.heard);
        let Some(heard) = all.get_mut(name).filter(|heard| heard.is_silent()) else { return };
        if !heard.silence_told && !heard.is_over {
            heard.silence_told = true;
            lock(&self.news).push(format!("host {name}: {why}; it goes on by itself"));
        }
    }
}
