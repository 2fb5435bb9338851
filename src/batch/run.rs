//! The session itself: one take after the other, and what becomes of them written down.

use crate::batch::attempt::{Hook, Recorder, settle, shell, told};
use crate::batch::forecast::{Forecast, forecasts};
use crate::batch::join::{join, refuse_strangers, utc};
use crate::batch::plan::Plan;
use crate::batch::process::{Player, Stop};
use crate::batch::settings::{Settings, Sound};
use crate::batch::store::{Store, read_session};
use crate::error::{Error, Result};
use crate::record::is_taken;
use genlock_formats::session::{Session, Standing, Take, Try};
use std::path::Path;
use std::time::Duration;

/// How a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The program whose command `record` records.
    pub exe: &'a Path,
    /// Whether takes say nothing but errors and losses.
    pub quiet: bool,
    /// Whether errors of takes are heard, and not only shown.
    pub listen: bool,
    /// What ends the session before its time.
    pub stop: &'a Stop,
}

/// What there is to say while a session goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody works in the folder: a batch, or the take of one that was killed.
    Waiting,
    /// So long nothing happens.
    Pause(Duration),
    /// So many seconds until the next take; whether the terminal's bell rings.
    Count(u64, bool),
    /// A try begins: its folder, the place of its take, and how many there are.
    Begins(&'a str, usize, usize),
    /// A try has ended.
    Ended(&'a Take, &'a Try),
    /// Something went wrong that ends nothing.
    Warning(String),
}

/// What came of a session.
#[derive(Debug)]
pub struct Done {
    /// Its takes, as far as is known.
    pub session: Session,
    /// What ended it before its time, but for a person: its own hook failed before it (`Device`),
    /// or `session.toml` cannot be written (`Disk`).
    pub error: Option<Error>,
}

/// Carries out a plan, or what is left of it; gives what became of the takes.
///
/// # Errors
/// Those before it begins: `Usage` when the plan cannot be carried out, or contradicts what was
/// recorded, or `session.toml` is none; `Device` when it was stopped while somebody else worked
/// there; `Disk` when the folder cannot be made.
pub fn run(batch: &Batch<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<Done> {
    let plan = batch.plan;
    let forecasts = forecasts(plan)?;
    let Some(store) = open(batch, tell)? else {
        return Err(Error::Device(format!(
            "{}: stopped while somebody else worked there",
            plan.folder.display()
        )));
    };
    let mut before = read_session(&plan.folder)?;
    for take in before.iter_mut().flat_map(|session| &mut session.takes) {
        for tried in take.tries.iter_mut().filter(|t| t.standing == Standing::Recording) {
            // Whoever recorded it is gone: we hold the lock.
            let folder = tried.folder.clone().unwrap_or_default();
            settle(&plan.folder.join(folder), tried, None, false);
        }
        take.conclude();
    }
    let session = join(plan, before, &jiff::ZonedDateTime::now())?;
    refuse_strangers(&plan.folder, &session)?;
    let player = Player::default();
    let mut running = Running { batch, store, session, forecasts, tell, begun: false, player };
    let error = running.all().err();
    Ok(Done { session: running.session, error })
}

/// The folder, when nobody works in it any more; nothing when it was asked to stop meanwhile.
fn open(batch: &Batch<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<Option<Store>> {
    let mut told = false;
    while !batch.stop.is_asked() {
        if let Some(store) = Store::open(&batch.plan.folder)? {
            return Ok(Some(store));
        }
        if !told {
            tell(Event::Waiting);
            told = true;
        }
        batch.stop.wait(Duration::from_millis(100));
    }
    Ok(None)
}

/// A session at work.
struct Running<'a> {
    batch: &'a Batch<'a>,
    store: Store,
    session: Session,
    forecasts: Vec<Forecast>,
    tell: &'a mut dyn FnMut(Event<'_>),
    /// Whether a take was tried already: before the first there is no pause.
    begun: bool,
    /// What is heard in countdowns. The last of it may sound into the take.
    player: Player,
}

impl Running<'_> {
    fn all(&mut self) -> Result<()> {
        let (plan, stop) = (self.batch.plan, self.batch.stop);
        let left: Vec<_> = (0..plan.takes.len())
            .filter(|place| !self.session.takes[*place].standing.is_done())
            .collect();
        self.store.write(&self.session)?;
        if left.is_empty() {
            return Ok(());
        }
        self.session.ended = None;
        if let Err(why) = self.session_hook("before_session", plan.before.as_deref(), None) {
            self.end()?;
            let why = format!("{why}: the session was not begun, and no take recorded");
            return Err(Error::Device(why));
        }
        let mut written = Ok(());
        for place in left {
            written = self.take(place);
            if written.is_err() {
                break;
            }
            let failed = !self.session.takes[place].standing.is_done();
            if stop.is_asked() || failed && plan.takes[place].settings.stop_on_fail {
                break;
            }
        }
        let standings = self.session.planned().map(|take| take.standing);
        let worst = standings.min().unwrap_or(Standing::Whole);
        if let Err(why) = self.session_hook("after_session", plan.after.as_deref(), Some(worst)) {
            (self.tell)(Event::Warning(why));
        }
        written.and(self.end())
    }

    fn end(&mut self) -> Result<()> {
        self.session.ended = Some(utc(jiff::Timestamp::now()));
        self.store.write(&self.session)
    }

    fn session_hook(
        &self,
        name: &'static str,
        command: Option<&str>,
        worst: Option<Standing>,
    ) -> std::result::Result<(), String> {
        let (plan, stop) = (self.batch.plan, self.batch.stop);
        let Some(command) = command.filter(|_| !stop.is_urgent()) else { return Ok(()) };
        let told = worst.map(|worst| ("GENLOCK_OUTCOME", worst.to_string())).into_iter().collect();
        Hook { name, command, limit: plan.common.hook_limit, told }.run(plan, stop)
    }

    /// Tries a take until it is whole, or was done again as often as the plan has it.
    fn take(&mut self, place: usize) -> Result<()> {
        let stop = self.batch.stop;
        let settings = &self.batch.plan.takes[place].settings;
        for _ in 0..=settings.retakes {
            if self.begun && !settings.pause.is_zero() {
                (self.tell)(Event::Pause(settings.pause));
                stop.wait(settings.pause);
            }
            if stop.is_asked() {
                break;
            }
            self.begun = true;
            self.attempt(place)?;
            if self.session.takes[place].standing == Standing::Whole || stop.is_asked() {
                break;
            }
        }
        Ok(())
    }

    fn attempt(&mut self, place: usize) -> Result<()> {
        let name = self.free_name(place);
        let mut tried = Try {
            folder: Some(name.clone()),
            standing: Standing::Recording,
            reason: None,
            warning: None,
            exit_code: None,
            started: utc(jiff::Timestamp::now()),
            ended: None,
            verdict: None,
            triggers: 0,
            losses: 0,
            bytes: 0,
        };
        self.write_down(place, &tried, true)?;
        (self.tell)(Event::Begins(&name, place + 1, self.batch.plan.takes.len()));
        match self.ready(place, &tried) {
            Err(why) => {
                let stopped = self.batch.stop.is_asked();
                tried.standing = if stopped { Standing::Interrupted } else { Standing::Failed };
                (tried.reason, tried.folder) = (Some(why), None);
                tried.ended = Some(utc(jiff::Timestamp::now()));
            }
            Ok(()) => {
                self.record(place, &name, &mut tried)?;
                if tried.folder.is_some() {
                    // A disk that does not take it is told below: the lamp goes off all the same.
                    let _ = self.write_down(place, &tried, false);
                    tried.warning = self.hook("after", place, &tried).err();
                    let warning = tried.warning.clone().map(Event::Warning);
                    warning.into_iter().for_each(|warning| (self.tell)(warning));
                }
            }
        }
        let written = self.write_down(place, &tried, false);
        (self.tell)(Event::Ended(&self.session.takes[place], &tried));
        written
    }

    /// The name of the next try: that of the take, unless something has it.
    fn free_name(&self, place: usize) -> String {
        let name = &self.session.takes[place].name;
        let is_free = |candidate: &String| {
            let others = self.session.takes.iter().enumerate().filter(|(i, _)| *i != place);
            let tries = self.session.takes.iter().flat_map(|take| &take.tries);
            !is_taken(&self.store.folder.join(candidate))
                && tries.into_iter().all(|tried| tried.folder.as_ref() != Some(candidate))
                && others.into_iter().all(|(_, take)| take.name != *candidate)
        };
        let again = (1_u64..).map(|number| format!("{name}_retake{number}"));
        std::iter::once(name.clone()).chain(again).find(is_free).unwrap_or_default()
    }

    /// Puts a try, or what has become of the last one, into `session.toml`.
    fn write_down(&mut self, place: usize, tried: &Try, is_new: bool) -> Result<()> {
        let take = &mut self.session.takes[place];
        if !is_new {
            take.tries.pop();
        }
        take.tries.push(tried.clone());
        take.conclude();
        let written = self.store.write(&self.session);
        if is_new && written.is_err() {
            // It does not begin.
            let take = &mut self.session.takes[place];
            take.tries.pop();
            take.conclude();
        }
        written
    }

    /// What comes before the recording: the hook, and the countdown.
    fn ready(&mut self, place: usize, tried: &Try) -> std::result::Result<(), String> {
        self.hook("before", place, tried).map_err(|why| format!("{why}: nothing was recorded"))?;
        let stop = self.batch.stop;
        let Settings { countdown, sound, .. } = &*self.batch.plan.takes[place].settings;
        for left in (1..=countdown.as_secs_f64().ceil() as u64).rev() {
            if stop.is_asked() {
                break;
            }
            (self.tell)(Event::Count(left, *sound == Sound::Bell));
            if let Sound::Command(command) = sound {
                self.player.play(&mut shell(self.batch.plan, command));
            }
            stop.wait(Duration::from_secs(1));
        }
        if stop.is_asked() {
            return Err("the session was stopped before it began".to_owned());
        }
        // What a hook has put there is none of our takes, and must not be taken for one.
        let folder = tried.folder.as_ref().map(|name| self.store.folder.join(name));
        match folder.filter(|folder| is_taken(folder)) {
            Some(folder) => Err(format!(
                "{} is there since the take began, is not overwritten, and nothing was recorded: \
                 let the hook before leave it to the take",
                folder.display()
            )),
            None => Ok(()),
        }
    }

    fn hook(
        &self,
        name: &'static str,
        place: usize,
        tried: &Try,
    ) -> std::result::Result<(), String> {
        let (plan, stop) = (self.batch.plan, self.batch.stop);
        let settings = &plan.takes[place].settings;
        let command = if name == "before" { &settings.before } else { &settings.after };
        let Some(command) = command.as_ref().filter(|_| !stop.is_urgent()) else { return Ok(()) };
        let told = told(plan, &self.session.takes[place], tried);
        Hook { name, command, limit: settings.hook_limit, told }.run(plan, stop)
    }

    fn record(&mut self, place: usize, name: &str, tried: &mut Try) -> Result<()> {
        let Batch { plan, exe, quiet, listen, stop } = *self.batch;
        let recorder = Recorder { exe, quiet, listen, held: self.store.held()? };
        let folder = self.store.folder.join(name);
        let length = self.forecasts.get(place).map_or(Duration::ZERO, |forecast| forecast.length);
        recorder.record((plan, &plan.takes[place]), length, &folder, tried, stop);
        Ok(())
    }
}
