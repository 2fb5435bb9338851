//! The ledger of one device across the whole take: its cells, and the losses that say the same.

use super::part::{Kept, is_frame, unrecorded};
use super::words::cause;
use super::{Agreed, Expected};
use crate::record::{Cameras, file_stem};
use genlock_formats::take::{Alarm, Device, Loss, Outage};
use genlock_formats::triggers::{Cell, Triggers};
use std::ops::Range;

const BEFORE: &str = "before the beginning that was agreed upon";
const LATE: &str = "its host was not ready in time";
const AFTER: &str = "after the end that was agreed upon";

/// One device of the take.
pub(super) struct Share<'a> {
    /// What was asked for.
    pub expected: &'a Expected,
    /// What its host's part has of it, or why nothing.
    pub kept: Result<&'a Kept<'a>, &'a String>,
    /// The triggers of the take.
    pub span: Range<u64>,
    /// Those that were agreed upon.
    pub agreed: &'a Agreed,
}

/// Triggers that a part has nothing of, and why.
pub(super) struct Absence<'a> {
    triggers: Range<u64>,
    why: &'a str,
}

impl Share<'_> {
    /// Adds the device's columns to the table, and gives what `take.toml` says of it but for how it
    /// is judged.
    pub fn device(&self, table: &mut Triggers) -> Device {
        let unrecorded = unrecorded(self.expected);
        let mut device = match self.kept {
            Err(_) => unrecorded,
            Ok(kept) => Device {
                name: unrecorded.name.or_else(|| kept.device.name.clone()),
                host: unrecorded.host,
                ..kept.device.clone()
            },
        };
        device.first_trigger = self.span.start;
        device.trigger_count = self.span.end - self.span.start;
        let absences = self.absences();
        let outages = self.outages(&absences, &device.outages);
        let alarms = device.alarms.iter().filter_map(|alarm| {
            let triggers = self.within(alarm.first_trigger, alarm.last_trigger)?;
            let (first_trigger, last_trigger) = (triggers.start, triggers.end - 1);
            Some(Alarm { first_trigger, last_trigger, what: alarm.what.clone() })
        });
        device.alarms = alarms.collect();
        device.outages = outages;
        device.losses = self.columns(&absences, table);
        if device.imu {
            self.imu_losses(&absences, &mut device.losses);
        }
        device
    }

    /// The triggers of the part's table that are of the take.
    fn there(&self) -> Range<u64> {
        let Ok(kept) = self.kept else { return self.span.end..self.span.end };
        kept.triggers.start.max(self.span.start)..kept.triggers.end.min(self.span.end)
    }

    /// What the part has nothing of, in order.
    fn absences(&self) -> Vec<Absence<'_>> {
        let there = self.there();
        let agreed_end = self.agreed.end.unwrap_or(self.span.end);
        let why = |trigger: u64| match self.kept {
            _ if trigger < self.agreed.first => BEFORE,
            _ if trigger >= agreed_end => AFTER,
            Err(why) => why.as_str(),
            Ok(_) if trigger < there.start => LATE,
            Ok(kept) => kept.ended.as_str(),
        };
        let mut absences: Vec<Absence<'_>> = Vec::new();
        let edges = [self.agreed.first, agreed_end, there.start, there.end, self.span.end];
        let mut from = self.span.start;
        while from < self.span.end {
            let next = edges.into_iter().filter(|edge| *edge > from).min();
            let to = next.unwrap_or(self.span.end).min(self.span.end);
            if !there.contains(&from) {
                absences.push(Absence { triggers: from..to, why: why(from) });
            }
            from = to;
        }
        absences
    }

    /// The part of `first..=last` that is of the take.
    fn within(&self, first: u64, last: u64) -> Option<Range<u64>> {
        let range = first.max(self.span.start)..last.saturating_add(1).min(self.span.end);
        (!range.is_empty()).then_some(range)
    }

    /// The outages that the part tells of, and one from its end on. A part that begins late is
    /// none: the device's clock was set with the others', and its phase can be told.
    fn outages(&self, absences: &[Absence<'_>], told: &[Outage]) -> Vec<Outage> {
        let told = told.iter().filter_map(|outage| {
            let triggers = self.within(outage.first_trigger, outage.last_trigger)?;
            let (first_trigger, last_trigger) = (triggers.start, triggers.end - 1);
            Some(Outage { first_trigger, last_trigger, ..outage.clone() })
        });
        let mut outages: Vec<_> = told.collect();
        let there = self.there();
        let mut behind = absences.iter().filter(|absence| absence.triggers.start >= there.end);
        let nothing = self.kept.is_err();
        let missed = if nothing { absences.first() } else { behind.next() };
        let Some(missed) = missed else { return outages };
        let why = match self.kept {
            Err(why) => why.clone(),
            Ok(_) => missed.why.to_owned(),
        };
        let (first_trigger, last_trigger) = (missed.triggers.start, self.span.end - 1);
        match outages.last_mut() {
            // It was away already.
            Some(last) if last.last_trigger.saturating_add(1) >= first_trigger => {
                last.last_trigger = last_trigger;
            }
            _ => outages.push(Outage { first_trigger, last_trigger, why, clock_moved_us: None }),
        }
        outages
    }

    /// Adds a column for each image track, and that of arrivals; gives what is lost.
    fn columns(&self, absences: &[Absence<'_>], table: &mut Triggers) -> Vec<Loss> {
        let stem = file_stem(&self.expected.serial);
        let mut losses = Vec::new();
        for (track, place) in self.tracks() {
            table.columns.push(format!("{stem}.{}", track.as_deref().unwrap_or("host")));
            let from = losses.len();
            for (trigger, row) in (self.span.start..self.span.end).zip(&mut table.rows) {
                let cell = self.cell(absences, trigger, place);
                if let (Some(track), Cell::Lost(cause), false) = (&track, &cell, is_frame(&cell)) {
                    lose(&mut losses, from, (track, trigger), cause);
                }
                row.push(cell);
            }
        }
        losses
    }

    /// The device's columns, and where they are in the part's table.
    fn tracks(&self) -> Vec<(Option<String>, usize)> {
        match self.kept {
            Ok(kept) => {
                let columns = kept.columns.iter();
                columns.map(|(track, place)| (track.map(str::to_owned), *place)).collect()
            }
            Err(_) => {
                let images = Cameras::new(&self.expected.config);
                let names = images.image_tracks().map(|track| track.to_string().to_lowercase());
                names.map(Some).chain([None]).map(|track| (track, 0)).collect()
            }
        }
    }

    fn cell(&self, absences: &[Absence<'_>], trigger: u64, place: usize) -> Cell {
        let absence = absences.iter().find(|absence| absence.triggers.contains(&trigger));
        if let Some(absence) = absence {
            return Cell::Lost(absence.why.to_owned());
        }
        let kept = self.kept.ok();
        let row = kept.and_then(|kept| {
            let row = usize::try_from(trigger.checked_sub(kept.table.first)?).ok()?;
            kept.table.rows.get(row)?.get(place)
        });
        match row {
            Some(Cell::At(us)) => Cell::At(*us),
            Some(Cell::Lost(why)) => Cell::Lost(cause(why)),
            None => Cell::Lost(LATE.to_owned()),
        }
    }

    /// The IMU answers no trigger: its losses are those that the part lists, and what the part has
    /// nothing of.
    fn imu_losses(&self, absences: &[Absence<'_>], losses: &mut Vec<Loss>) {
        let there = self.there();
        let mut lose = |triggers: Range<u64>, cause: String| {
            if !triggers.is_empty() {
                losses.push(Loss {
                    track: "imu".to_owned(),
                    first_trigger: triggers.start,
                    last_trigger: triggers.end - 1,
                    cause,
                });
            }
        };
        let (before, behind): (Vec<_>, Vec<_>) =
            absences.iter().partition(|absence| absence.triggers.end <= there.start);
        let absent = |absence: &Absence<'_>| (absence.triggers.clone(), absence.why.to_owned());
        before.into_iter().map(absent).for_each(|(triggers, why)| lose(triggers, why));
        let told = self.kept.ok().into_iter().flat_map(|kept| &kept.device.losses);
        for loss in told.filter(|loss| loss.track == "imu") {
            let from = loss.first_trigger.max(there.start);
            lose(from..loss.last_trigger.saturating_add(1).min(there.end), cause(&loss.cause));
        }
        behind.into_iter().map(absent).for_each(|(triggers, why)| lose(triggers, why));
    }
}

/// Adds a trigger to the losses of its track, which begin at `from`.
fn lose(losses: &mut Vec<Loss>, from: usize, (track, trigger): (&str, u64), cause: &str) {
    if let Some(last) = losses[from..].last_mut()
        && last.cause == cause
        && last.last_trigger + 1 == trigger
    {
        last.last_trigger = trigger;
        return;
    }
    losses.push(Loss {
        track: track.to_owned(),
        first_trigger: trigger,
        last_trigger: trigger,
        cause: cause.to_owned(),
    });
}
