//! Schedules: kept, changed, removed, controlled, and looked after when their time comes.
//!
//! All of it goes through [`Tending`]: the schedule's row with what is to be done to it. The row is guarded by its
//! version and moves on in the commit that starts a session, so a fire time makes one session at most, whatever
//! crashes and however many processes look after it at once.

mod tending;

use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, ScheduleId, WorkflowId};
use signalbox_wire::time::Timestamp;

use self::tending::Tending;
use super::machine::Machine;
use super::operation::Operation;
use crate::cron::Rhythm;
use crate::decision::Key;
use crate::due::DueJob;
use crate::event::{Level, NewEvent};
use crate::schedule::{BACKFILL_MAX, Cause, Overlap, Plan, Schedule, ScheduleStatus, WAITING_MAX};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A schedule is to be kept. One that says the same as before changes nothing.
#[derive(Debug, Clone)]
pub struct ApplySchedule {
    /// Which.
    pub schedule: ScheduleId,
    /// What it does and when.
    pub plan: Plan,
    /// Whether it is paused; a known one stays as it is where this is not said.
    pub paused: Option<bool>,
}

impl Operation for ApplySchedule {
    /// The schedule, and whether its id is new.
    type Output = (Schedule, bool);

    fn keys(&self) -> Vec<Key> {
        vec![Key::Schedule(self.schedule.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let read = machine.work.snapshot.schedule(&self.schedule)?;
        let is_new = read.is_none();
        let mut tending = match read {
            Some(read) => Tending::of(&mut machine, &read)?,
            None => Tending::new(&mut machine, self.schedule.clone(), self.plan.clone())?,
        };
        tending.change(&self.plan, self.paused)?;
        let schedule = tending.finish()?;
        Ok((machine.finish(), (schedule, is_new)))
    }
}

/// Parts of a schedule's plan are to be changed.
#[derive(Debug, Clone)]
pub struct ChangeSchedule {
    /// Which.
    pub schedule: ScheduleId,
    /// What changes.
    pub change: PlanChange,
}

/// What changes of a plan; what is not named stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields repeat those of Plan, where they are described")]
pub struct PlanChange {
    pub workflow: Option<WorkflowId>,
    pub agent: Option<Option<AgentId>>,
    pub input: Option<Map<String, Value>>,
    pub rhythm: Option<Rhythm>,
    pub time_zone: Option<String>,
    pub overlap: Option<Overlap>,
    pub catch_up: Option<Duration>,
    pub note: Option<Option<String>>,
    /// Whether it is paused.
    pub paused: Option<bool>,
}

impl PlanChange {
    fn applied_to(&self, plan: &Plan) -> Plan {
        Plan {
            workflow: self.workflow.as_ref().unwrap_or(&plan.workflow).clone(),
            agent: self.agent.as_ref().unwrap_or(&plan.agent).clone(),
            input: self.input.as_ref().unwrap_or(&plan.input).clone(),
            rhythm: self.rhythm.as_ref().unwrap_or(&plan.rhythm).clone(),
            time_zone: self.time_zone.as_ref().unwrap_or(&plan.time_zone).clone(),
            overlap: self.overlap.unwrap_or(plan.overlap),
            catch_up: self.catch_up.unwrap_or(plan.catch_up),
            note: self.note.as_ref().unwrap_or(&plan.note).clone(),
        }
    }
}

impl Operation for ChangeSchedule {
    type Output = Schedule;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Schedule(self.schedule.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Schedule), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let mut tending = Tending::known(&mut machine, &self.schedule)?;
        let plan = self.change.applied_to(&tending.schedule.plan);
        tending.change(&plan, self.change.paused)?;
        let schedule = tending.finish()?;
        Ok((machine.finish(), schedule))
    }
}

/// A schedule is removed. Its sessions go on; what waits does not start.
#[derive(Debug, Clone)]
pub struct DeleteSchedule {
    /// Which.
    pub schedule: ScheduleId,
}

impl Operation for DeleteSchedule {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Schedule(self.schedule.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let unknown = || Rejected::UnknownSchedule(self.schedule.to_string());
        let read = snapshot.schedule(&self.schedule)?.ok_or_else(unknown)?;
        let mut decision = Decision::default();
        decision.remove(Key::Schedule(self.schedule.clone()), read.version);
        decision.done.push(DueJob::Fire { schedule: self.schedule.clone() }.id());
        let data = json!({"scheduleId": self.schedule, "waiting": read.value.waiting.len()});
        decision.events.push(NewEvent::new("schedule.deleted", Level::Info, context.now, &data));
        Ok((decision, ()))
    }
}

/// An operator interferes with a schedule.
#[derive(Debug, Clone)]
pub struct ControlSchedule {
    /// Which.
    pub schedule: ScheduleId,
    /// How.
    pub command: ScheduleCommand,
}

/// What an operator does with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleCommand {
    /// Its fire times come no more until it is resumed. Once is as good as twice.
    Pause,
    /// They come again, from now on.
    Resume,
    /// A session is started now.
    Trigger {
        /// What becomes of it while another is open; as the schedule has it where this is not said.
        overlap: Option<Overlap>,
    },
    /// Sessions are started for the fire times of a time gone by.
    Backfill {
        /// Where it begins; a fire time at this very moment belongs to it.
        from: Timestamp,
        /// Where it ends; one at this very moment does not.
        to: Timestamp,
        /// What becomes of each while another is open.
        overlap: Overlap,
    },
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct ScheduleControlled {
    /// The schedule.
    pub schedule: Schedule,
    /// The fire times that were made.
    pub filled: Filled,
}

/// Fire times that somebody asked for, by their numbers in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: usize,
}

impl Operation for ControlSchedule {
    type Output = ScheduleControlled;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Schedule(self.schedule.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, ScheduleControlled), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let mut tending = Tending::known(&mut machine, &self.schedule)?;
        let first = tending.schedule.fires + 1;
        match &self.command {
            ScheduleCommand::Pause => tending.turn_to(ScheduleStatus::Paused),
            ScheduleCommand::Resume => tending.turn_to(ScheduleStatus::Active),
            ScheduleCommand::Trigger { overlap } => {
                let overlap = overlap.unwrap_or(tending.schedule.plan.overlap);
                let now = tending.now();
                tending.start_waiting()?;
                tending.take(now, Cause::Trigger, overlap)?;
            }
            ScheduleCommand::Backfill { from, to, overlap } => backfill(&mut tending, *from, *to, *overlap)?,
        }
        let schedule = tending.finish()?;
        let count = usize::try_from(schedule.fires + 1 - first).unwrap_or(usize::MAX);
        Ok((machine.finish(), ScheduleControlled { schedule, filled: Filled { first, count } }))
    }
}

fn backfill(
    tending: &mut Tending<'_, '_, '_>,
    from: Timestamp,
    to: Timestamp,
    overlap: Overlap,
) -> Result<(), Halt> {
    let before = Timestamp::from_micros(from.as_micros().saturating_sub(1));
    let times = tending.recurrence.times_after(before).take_while(|at| *at < to);
    let times: Vec<Timestamp> = times.take(BACKFILL_MAX + 1).collect();
    if times.len() > BACKFILL_MAX {
        return Err(Rejected::BackfillTooLong { from, to }.into());
    }
    tending.start_waiting()?;
    let waiting = tending.schedule.waiting.len();
    if times.len() + waiting > WAITING_MAX {
        return Err(Rejected::BackfillFull { asked: times.len(), waiting }.into());
    }
    times.into_iter().try_for_each(|at| tending.take(at, Cause::Backfill, overlap))
}

/// Looks after a schedule whose time may have come. Coming late, early or twice changes nothing.
pub(super) fn fire(machine: &mut Machine<'_, '_>, schedule: &ScheduleId) -> Result<(), Halt> {
    let Some(read) = machine.work.snapshot.schedule(schedule)? else { return Ok(()) };
    let mut tending = Tending::of(machine, &read)?;
    tending.start_waiting()?;
    tending.catch_up()?;
    tending.finish().map(drop)
}
