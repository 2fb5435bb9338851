//! What an agent does with a question: it has one part of a take at a time, recorded by a process
//! of its own, and refuses what does not fit.

use super::clocks::now_ns;
use super::control::{Wire, Word};
use super::messages::{
    AgentStatus, Answer, Ask, Order, PartStatus, Refusal, Request, State, VERSION, answer_to_bytes,
    from_bytes,
};
use super::name::TakeId;
use super::order::Local;
use super::part::{Checked, Task, Work};
use super::recorder::{Recorder, run_to_end};
use super::shelf::{Found, Shelf};
use crate::error::{Error, Result};
use crate::record::{is_taken, read_take};
use crate::rig::discipline::Discipline;
use crate::rig::list::Listed;
use genlock_formats::take::Outcome;
use std::time::{Duration, Instant};

/// How long listing and checking may take: devices are opened, and the disk is measured.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// An agent.
pub struct Agent {
    local: Local,
    shelf: Shelf,
    part: Option<Part>,
    /// What became of the last part.
    last: Option<(TakeId, Option<Refusal>, PartStatus)>,
}

/// A part at work.
struct Part {
    take: TakeId,
    /// None of a part that an agent before this one began.
    recorder: Option<Recorder>,
    wire: Option<Wire>,
    status: PartStatus,
    started: bool,
    /// What it is to be told as soon as it listens.
    stop: Option<Option<u64>>,
    /// Who leads it, and when they were last heard.
    leader: Option<(String, Instant)>,
}

impl Agent {
    /// An agent with these parts on its shelf, one of them perhaps at work.
    #[must_use]
    pub fn new(local: Local, shelf: Shelf, at_work: Option<(TakeId, Wire)>) -> Self {
        let part = at_work.map(|(take, wire)| Part {
            take,
            recorder: None,
            wire: Some(wire),
            status: PartStatus::default(),
            started: true,
            stop: None,
            leader: None,
        });
        Self { local, shelf, part, last: None }
    }

    /// The take at work, if one is.
    pub fn at_work(&mut self) -> Option<&TakeId> {
        self.look();
        self.part.as_ref().map(|part| &part.take)
    }

    /// Answers a message.
    pub fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let request: Request = match from_bytes(message) {
            Ok(request) => request,
            Err(why) => return refused(&Error::Usage(why)),
        };
        if request.version != VERSION {
            let theirs = request.version;
            return refused(&Error::Usage(format!(
                "it speaks version {VERSION} of genlock's messages, and was asked in {theirs}: \
                 give all machines the same genlock"
            )));
        }
        self.look();
        let mut data = Vec::new();
        match self.obey(request, &mut data) {
            Ok(answer) => answer_to_bytes(&answer, &data),
            Err(error) => refused(&error),
        }
    }

    fn obey(&mut self, request: Request, data: &mut Vec<u8>) -> Result<Answer> {
        let Request { from, ask, .. } = request;
        match ask {
            Ask::List(order) => self.list(order.map(|order| *order)),
            Ask::Check(order) => self.check(*order),
            Ask::Arm(order) => self.arm(*order, from),
            Ask::Start(take) => self.start(&take, &from),
            Ask::Stop(take, end) => self.stop(&take, end, &from),
            Ask::Status => Ok(self.status(&from)),
            Ask::Clock => Ok(clock()),
            Ask::Manifest(take) => self.manifest(&take),
            Ask::Read(take, place, offset) => {
                self.refuse_at_work(&take)?;
                *data = self.shelf.read(&take, place, offset)?;
                Ok(Answer::Data)
            }
            Ask::Release(take, files) => {
                self.refuse_at_work(&take)?;
                self.shelf.release(&take, &files).map(|()| Answer::Done)
            }
        }
    }

    /// Looks after the part: it may have said something, or be gone.
    fn look(&mut self) {
        let Some(part) = &mut self.part else { return };
        if part.wire.is_none() {
            part.wire = Wire::connect(&self.local.store);
        }
        if let Some(wire) = &part.wire {
            if let Some(status) = wire.status().filter(|s| s.take.as_ref() == Some(&part.take)) {
                part.status = status;
            }
            if let Some(end) = part.stop {
                wire.tell(Word::Stop(end));
            }
        }
        let is_gone = match &mut part.recorder {
            Some(recorder) => recorder.is_gone(),
            None => part.wire.as_ref().is_none_or(Wire::is_closed),
        };
        if is_gone && let Some(part) = self.part.take() {
            let why = self.what_failed(&part);
            self.last = Some((part.take, why, part.status));
        }
    }

    /// Why a part that is over failed, if it did.
    fn what_failed(&self, part: &Part) -> Option<Refusal> {
        let folder = self.local.store.join(part.take.as_ref());
        let told = part.recorder.as_ref().and_then(Recorder::error);
        match read_take(&folder) {
            Ok(take) if take.outcome != Outcome::Failed => None,
            Ok(take) => {
                let why = take.reason.or(told).unwrap_or_else(|| "it failed".to_owned());
                Some(Refusal::from(&Error::Device(why)))
            }
            Err(_) if part.stop.is_some() && !is_taken(&folder) => None,
            Err(_) => {
                let how = part.recorder.as_ref().and_then(Recorder::how_it_ended);
                let how = how.unwrap_or_else(|| "nobody knows how".to_owned());
                let why = told.unwrap_or_else(|| format!("its recorder was cut off ({how})"));
                Some(Refusal::from(&Error::Device(why)))
            }
        }
    }

    fn state(&self) -> State {
        match &self.part {
            None if self.last.as_ref().is_some_and(|(_, why, _)| why.is_some()) => State::Failed,
            None => State::Idle,
            Some(part) if part.status.ended || part.stop.is_some() => State::Finishing,
            Some(part) if part.status.begun => State::Recording,
            Some(part) if part.status.armed && part.started => State::Recording,
            Some(part) if part.status.armed => State::Armed,
            Some(_) => State::Arming,
        }
    }

    fn refuse_at_work(&self, take: &TakeId) -> Result<()> {
        match &self.part {
            Some(part) if part.take == *take => {
                Err(Error::Usage(format!("the take {take} is being recorded")))
            }
            _ => Ok(()),
        }
    }

    /// That nothing is at work.
    fn refuse_work(&self) -> Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        let leader = part.leader.as_ref().map(|(name, heard)| {
            format!(" for {name}, heard {:.0} s ago", heard.elapsed().as_secs_f64())
        });
        Err(Error::Device(format!(
            "it is busy with the take {}{}: wait until that ends, or its lease",
            part.take,
            leader.unwrap_or_default()
        )))
    }

    /// The part of this take, if whoever asks may lead it: one leads at a time, and who is silent
    /// for longer than the lease leads no more.
    fn led_by(&mut self, take: &TakeId, from: &str) -> Result<Option<&mut Part>> {
        let lease = Duration::from_secs(self.local.lease_s);
        let Some(part) = self.part.as_mut().filter(|part| part.take == *take) else {
            return Ok(None);
        };
        match &part.leader {
            Some((leader, heard)) if leader != from && heard.elapsed() < lease => {
                let left = lease.saturating_sub(heard.elapsed()).as_secs();
                Err(Error::Device(format!(
                    "the take {take} is led by {leader}, whose lease ends in {left} s"
                )))
            }
            _ => {
                part.leader = Some((from.to_owned(), Instant::now()));
                Ok(Some(part))
            }
        }
    }

    fn list(&self, order: Option<Order>) -> Result<Answer> {
        self.refuse_work()?;
        let work = Work { task: Task::List, order, local: self.local.clone() };
        let mut listed: Vec<Listed> = run_to_end(&work, LOOK_MAX)?;
        for device in &mut listed {
            device.host = Some(self.local.name.to_string());
        }
        Ok(Answer::Devices(listed))
    }

    fn check(&self, order: Order) -> Result<Answer> {
        self.refuse_work()?;
        let work = Work { task: Task::Check, order: Some(order), local: self.local.clone() };
        let (findings, facts): Checked = run_to_end(&work, LOOK_MAX)?;
        Ok(Answer::Checked(findings, facts))
    }

    fn arm(&mut self, order: Order, from: String) -> Result<Answer> {
        let take = order.take.clone();
        if self.led_by(&take, &from)?.is_some() {
            return Ok(Answer::Done);
        }
        self.refuse_work()?;
        // Whatever is wrong with the order is told at once.
        self.local.plan(&order)?;
        if is_taken(&self.local.folder(&order)) {
            return Err(Error::Usage(format!("there is a part of the take {take} already")));
        }
        let work = Work { task: Task::Record, order: Some(order), local: self.local.clone() };
        self.part = Some(Part {
            take,
            recorder: Some(Recorder::start(&work)?),
            wire: None,
            status: PartStatus::default(),
            started: false,
            stop: None,
            leader: Some((from, Instant::now())),
        });
        self.last = None;
        Ok(Answer::Done)
    }

    fn start(&mut self, take: &TakeId, from: &str) -> Result<Answer> {
        let state = self.state();
        let Some(part) = self.led_by(take, from)? else {
            return Err(Error::Device(format!("the take {take} is not armed here")));
        };
        match (state, &part.wire) {
            (State::Armed | State::Recording, Some(wire)) => {
                part.started = true;
                wire.tell(Word::Start);
                Ok(Answer::Done)
            }
            _ => Err(Error::Device(format!("the take {take} is not armed here yet"))),
        }
    }

    fn stop(&mut self, take: &TakeId, end: Option<u64>, from: &str) -> Result<Answer> {
        if let Some(part) = self.led_by(take, from)? {
            // The end that was agreed upon first stays.
            let end = *part.stop.get_or_insert(end);
            part.wire.iter().for_each(|wire| wire.tell(Word::Stop(end)));
        }
        Ok(Answer::Done)
    }

    fn status(&mut self, from: &str) -> Answer {
        if let Some(part) = &mut self.part
            && let Some((leader, heard)) = &mut part.leader
            && leader == from
        {
            *heard = Instant::now();
            part.wire.iter().for_each(|wire| wire.tell(Word::Heard));
        }
        let last = self.last.as_ref();
        Answer::Status(Box::new(AgentStatus {
            state: self.state(),
            take: match &self.part {
                Some(part) => Some(part.take.clone()),
                None => last.map(|(take, ..)| take.clone()),
            },
            why: last.and_then(|(_, why, _)| why.clone()).filter(|_| self.part.is_none()),
            part: match &self.part {
                Some(part) => Some(part.status.clone()),
                None => last.map(|(.., status)| status.clone()),
            },
        }))
    }

    fn manifest(&mut self, take: &TakeId) -> Result<Answer> {
        if self.part.as_ref().is_some_and(|part| part.take == *take) {
            return Ok(Answer::Later("it is being recorded".to_owned()));
        }
        Ok(match self.shelf.manifest(take)? {
            Found::Files(files) => Answer::Manifest(files),
            Found::Repairing => {
                Answer::Later("its recorder was cut off, and it is being repaired".to_owned())
            }
        })
    }
}

fn refused(error: &Error) -> Vec<u8> {
    answer_to_bytes(&Answer::Refused(Refusal::from(error)), &[])
}

fn clock() -> Answer {
    Answer::Clock(now_ns(), Discipline::of_host().ok())
}
