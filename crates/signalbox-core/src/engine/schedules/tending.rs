//! A schedule that is being looked after: what its fire times come to, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use signalbox_wire::id::{ScheduleId, SessionId};
use signalbox_wire::time::Timestamp;

use crate::cron::Recurrence;
use crate::decision::{Key, Row};
use crate::due::{Due, DueJob};
use crate::engine::machine::Machine;
use crate::engine::machine::command::Command;
use crate::engine::start::{Start, current};
use crate::event::{Level, NewEvent};
use crate::limits::bounded;
use crate::schedule::{
    Cause, Fire, Outcome, Overlap, Plan, Run, Schedule, ScheduleStatus, Verdict, WAITING_MAX,
};
use crate::session::SessionStatus;
use crate::{Halt, Rejected, Versioned};

/// Sessions that one decision starts; what is left comes with the next, at once.
const STARTS_MAX: usize = 10;
/// Fire times that one decision looks at.
const FIRES_MAX: usize = 100;
/// Fire times that came too late and are counted.
const MISSED_COUNTED_MAX: u32 = 1_000;
/// How long something waits before it is looked at again, should nobody tell that a session is over.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A schedule that is being looked after.
pub(super) struct Tending<'t, 'w, 'p> {
    machine: &'t mut Machine<'w, 'p>,
    pub(super) schedule: Schedule,
    pub(super) recurrence: Recurrence,
    read: Option<Versioned<Schedule>>,
    started: usize,
    /// The sessions that this very decision starts.
    fresh: Vec<SessionId>,
    /// Whether the open sessions have been looked at.
    has_looked: bool,
    /// Whether there is more to do at once.
    has_more: bool,
}

impl<'t, 'w, 'p> Tending<'t, 'w, 'p> {
    /// A schedule that does not exist yet.
    pub(super) fn new(machine: &'t mut Machine<'w, 'p>, id: ScheduleId, plan: Plan) -> Result<Self, Halt> {
        let now = machine.work.context.now;
        let schedule = Schedule::new(id, plan, now);
        let mut tending = Self::over(machine, schedule, None)?;
        tending.schedule.arm(&tending.recurrence, now);
        Ok(tending)
    }

    /// One that exists.
    pub(super) fn of(machine: &'t mut Machine<'w, 'p>, read: &Versioned<Schedule>) -> Result<Self, Halt> {
        Self::over(machine, Schedule::clone(&read.value), Some(read.clone()))
    }

    /// The one with this id.
    pub(super) fn known(machine: &'t mut Machine<'w, 'p>, id: &ScheduleId) -> Result<Self, Halt> {
        let unknown = || Rejected::UnknownSchedule(id.to_string());
        let read = machine.work.snapshot.schedule(id)?.ok_or_else(unknown)?;
        Self::of(machine, &read)
    }

    fn over(
        machine: &'t mut Machine<'w, 'p>,
        schedule: Schedule,
        read: Option<Versioned<Schedule>>,
    ) -> Result<Self, Halt> {
        let recurrence = understand(&schedule)?;
        Ok(Self {
            machine,
            schedule,
            recurrence,
            read,
            started: 0,
            fresh: Vec::new(),
            has_looked: false,
            has_more: false,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.machine.work.context.now
    }

    /// Gives it this plan, and lets it be paused or not where that is said.
    pub(super) fn change(&mut self, plan: &Plan, paused: Option<bool>) -> Result<(), Halt> {
        let now = self.now();
        // Whoever makes a plan learns at once that it could not be carried out.
        let definition = current(&mut self.machine.work, &plan.workflow)?;
        if let Some(agent) = &plan.agent {
            self.machine.work.known_agent(agent)?;
        }
        // A later revision may ask for something else: then the session of a fire time is not started.
        self.machine.work.fits(&definition, &plan.input_at(now), "/input")?;
        if self.schedule.plan != *plan {
            let keeps_time = self.schedule.plan.keeps_time_with(plan);
            self.schedule.plan = plan.clone();
            if !keeps_time {
                self.schedule.since = now;
                self.recurrence = understand(&self.schedule)?;
                self.schedule.arm(&self.recurrence, now);
            }
            self.schedule.updated_at = now;
            self.log("schedule.changed", Level::Info, &json!({"workflowId": plan.workflow}));
        } else if self.read.is_none() {
            self.log("schedule.created", Level::Info, &json!({"workflowId": plan.workflow}));
        }
        match paused {
            Some(true) => self.turn_to(ScheduleStatus::Paused),
            Some(false) => self.turn_to(ScheduleStatus::Active),
            None => {}
        }
        Ok(())
    }

    /// Pauses or resumes it; where it stands so already, nothing changes.
    pub(super) fn turn_to(&mut self, status: ScheduleStatus) {
        if self.schedule.status == status {
            return;
        }
        let now = self.now();
        self.schedule.status = status;
        self.schedule.updated_at = now;
        self.schedule.arm(&self.recurrence, now);
        let kind = match status {
            ScheduleStatus::Active => "schedule.resumed",
            ScheduleStatus::Paused => "schedule.paused",
        };
        self.log(kind, Level::Info, &json!({}));
    }

    /// Takes every fire time that has come, as far as one decision goes.
    pub(super) fn catch_up(&mut self) -> Result<(), Halt> {
        let now = self.now();
        let late = self.schedule.plan.catch_up;
        let mut looked_at = 0;
        while let Some(at) = self.schedule.next_at.filter(|at| *at <= now) {
            if now.since(at) > late {
                self.miss(at, now - late);
                continue;
            }
            if looked_at == FIRES_MAX || self.started >= STARTS_MAX {
                self.has_more = true;
                return Ok(());
            }
            looked_at += 1;
            self.schedule.pass(&self.recurrence, at);
            self.take(at, Cause::Schedule, self.schedule.plan.overlap)?;
        }
        Ok(())
    }

    /// Passes over the fire time `first` and those after it that came before `until`.
    fn miss(&mut self, first: Timestamp, until: Timestamp) {
        let missed = self.recurrence.times_after(first).take_while(|at| *at < until);
        let (last, more) =
            missed.take(MISSED_COUNTED_MAX as usize - 1).fold((first, 0), |(_, count), at| (at, count + 1));
        let before = Timestamp::from_micros(until.as_micros().saturating_sub(1));
        self.schedule.pass(&self.recurrence, before.max(first));
        let fire = self.schedule.fire(first, Cause::Schedule, self.schedule.plan.overlap);
        self.settle(fire, Outcome::Missed { until: last, count: more + 1 });
    }

    /// Decides on a fire time.
    pub(super) fn take(&mut self, at: Timestamp, cause: Cause, overlap: Overlap) -> Result<(), Halt> {
        if overlap != Overlap::AllowAll {
            self.look()?;
        }
        let fire = self.schedule.fire(at, cause, overlap);
        let is_open = !self.schedule.open.is_empty();
        match overlap.verdict(is_open, self.schedule.waiting.len()) {
            Verdict::Start if self.started < STARTS_MAX => self.start(fire),
            Verdict::Start | Verdict::Wait => {
                self.wait(fire);
                Ok(())
            }
            Verdict::Skip(reason) => {
                self.settle(fire, Outcome::Skipped(reason.to_owned()));
                Ok(())
            }
            Verdict::Replace => self.replace(fire),
        }
    }

    /// Lets a fire time wait, where there is room for one more.
    fn wait(&mut self, fire: Fire) {
        if self.schedule.waiting.len() >= WAITING_MAX {
            return self.settle(fire, Outcome::Skipped("as many fire times wait as a schedule keeps".into()));
        }
        self.tell_waiting(&fire);
        self.schedule.waiting.push(fire);
    }

    fn tell_waiting(&mut self, fire: &Fire) {
        self.log("schedule.buffered", Level::Info, &told(fire, &json!({})));
    }

    /// Lets a fire time wait for the end of what it cancels, in place of what would have done the same.
    fn replace(&mut self, fire: Fire) -> Result<(), Halt> {
        let (replaced, stays) = std::mem::take(&mut self.schedule.waiting)
            .into_iter()
            .partition(|other: &Fire| other.overlap == Overlap::CancelOther);
        self.schedule.waiting = stays;
        for other in replaced {
            self.settle(other, Outcome::Skipped("a later fire time took its place".to_owned()));
        }
        // Before the others: it was to have no session before it.
        self.schedule.waiting.insert(0, fire.clone());
        self.start_waiting()?;
        if self.schedule.waiting.first() == Some(&fire) {
            self.tell_waiting(&fire);
        }
        Ok(())
    }

    /// Starts what waits and may start, in order, as far as one decision goes.
    pub(super) fn start_waiting(&mut self) -> Result<(), Halt> {
        if self.schedule.waiting.is_empty() {
            return Ok(());
        }
        self.look()?;
        self.make_way()?;
        while let Some(position) = self.schedule.next_in_line() {
            if self.started >= STARTS_MAX {
                self.has_more = true;
                return Ok(());
            }
            let fire = self.schedule.waiting.remove(position);
            self.start(fire)?;
        }
        Ok(())
    }

    /// Cancels what is open, where what is next in line does not wait for its end.
    fn make_way(&mut self) -> Result<(), Halt> {
        let front = self.schedule.front().and_then(|position| self.schedule.waiting.get(position));
        if self.schedule.open.is_empty() || front.is_none_or(|fire| fire.overlap != Overlap::CancelOther) {
            return Ok(());
        }
        for session in self.schedule.open.clone() {
            // One decision cannot give a task to an agent and take it away: the next one does that.
            if self.fresh.contains(&session) {
                self.has_more = true;
            } else {
                let reason = format!("the next fire time of schedule {} came", self.schedule.id);
                let status = SessionStatus::Cancelled;
                self.machine.run(Command::Terminate { session, status, reason })?;
            }
        }
        self.has_looked = false;
        self.look()
    }

    /// Starts the session of a fire time, or says why there is none.
    fn start(&mut self, fire: Fire) -> Result<(), Halt> {
        self.started += 1;
        let plan = &self.schedule.plan;
        let start = Start {
            agent: plan.agent.as_ref(),
            input: plan.input_at(fire.at),
            input_place: Some(""),
            trace: None,
            schedule: Some(self.schedule.id.clone()),
            parent: None,
        };
        let definition = current(&mut self.machine.work, &plan.workflow);
        let outcome = match definition.and_then(|definition| self.machine.start(start, &definition)) {
            Ok(session) => {
                let is_over = self.machine.work.known_session(&session)?.session.status.is_over();
                if !is_over {
                    self.fresh.push(session.clone());
                    self.schedule.opened(session.clone());
                }
                Outcome::Started(session)
            }
            Err(Halt::Rejected(rejected)) if !matches!(rejected, Rejected::InvalidTransition(_)) => {
                self.rest_on(&rejected);
                Outcome::Skipped(bounded(&rejected.to_string()))
            }
            Err(halt) => return Err(halt),
        };
        self.settle(fire, outcome);
        Ok(())
    }

    /// What was passed over because something is not there must be tried again when it is there by now.
    fn rest_on(&mut self, rejected: &Rejected) {
        let plan = &self.schedule.plan;
        match (rejected, &plan.agent) {
            (Rejected::UnknownWorkflow(_), _) => {
                let workflow = plan.workflow.clone();
                self.machine.work.expect_absent(workflow);
            }
            (Rejected::UnknownAgent(_), Some(agent)) => {
                self.machine.work.decision.expects.push((Key::Agent(agent.clone()), None));
            }
            _ => {}
        }
    }

    /// Finds out which of the open sessions are over by now.
    fn look(&mut self) -> Result<(), Halt> {
        if std::mem::replace(&mut self.has_looked, true) {
            return Ok(());
        }
        self.machine.work.snapshot.require(self.schedule.open.iter().cloned().map(Key::Session))?;
        let mut open: Vec<SessionId> = Vec::with_capacity(self.schedule.open.len());
        for session in std::mem::take(&mut self.schedule.open) {
            if self.machine.work.session(&session)?.is_some_and(|state| !state.session.status.is_over()) {
                open.push(session);
            }
        }
        self.schedule.open = open;
        Ok(())
    }

    /// Writes down what came of a fire time, in the row and in the log.
    fn settle(&mut self, fire: Fire, outcome: Outcome) {
        let (kind, level, more) = match &outcome {
            Outcome::Started(session) => ("schedule.fired", Level::Info, json!({"sessionId": session})),
            Outcome::Skipped(reason) => ("schedule.skipped", Level::Warning, json!({"reason": reason})),
            Outcome::Missed { until, count } => {
                ("schedule.missed", Level::Warning, json!({"until": until, "count": count}))
            }
        };
        let mut event = self.event(kind, level, &told(&fire, &more));
        if let Outcome::Started(session) = &outcome {
            event.session = Some((session.clone(), 0));
        }
        self.machine.work.log(event);
        let Fire { number, at, cause, .. } = fire;
        self.schedule.remember(Run { number, at, cause, decided_at: self.machine.work.context.now, outcome });
    }

    fn log(&mut self, kind: &str, level: Level, data: &serde_json::Value) {
        let event = self.event(kind, level, data);
        self.machine.work.log(event);
    }

    fn event(&self, kind: &str, level: Level, data: &serde_json::Value) -> NewEvent {
        let mut all = json!({"scheduleId": self.schedule.id});
        if let (Some(all), Some(data)) = (all.as_object_mut(), data.as_object()) {
            all.extend(data.clone());
        }
        NewEvent::new(kind, level, self.machine.work.context.now, &all)
    }

    /// Writes the row where it has changed, and says when to look again.
    pub(super) fn finish(mut self) -> Result<Schedule, Halt> {
        self.start_waiting()?;
        let read = self.read.as_ref().map(|read| read.version);
        if self.read.as_ref().is_none_or(|read| *read.value != self.schedule) {
            let version = self.machine.work.context.version_after(read);
            self.machine.work.decision.put(Row::Schedule(Arc::new(self.schedule.clone())), read, version);
        } else {
            // When to look again follows from the row as it was read.
            self.machine.work.decision.expects.push((Key::Schedule(self.schedule.id.clone()), read));
        }
        let fire = DueJob::Fire { schedule: self.schedule.id.clone() };
        match self.look_again_at() {
            Some(at) => self.machine.work.decision.arm(Due::new(fire, at)),
            None => {
                self.machine.work.decision.due.retain(|due| due.work != fire);
                self.machine.work.decision.done.push(fire.id());
            }
        }
        Ok(self.schedule)
    }

    fn look_again_at(&self) -> Option<Timestamp> {
        let now = self.now();
        let waits = (!self.schedule.waiting.is_empty()).then(|| now + LOOK_AGAIN);
        let at = self.schedule.next_at.into_iter().chain(waits).min();
        if self.has_more { Some(now) } else { at }
    }
}

fn understand(schedule: &Schedule) -> Result<Recurrence, Halt> {
    schedule.plan.recurrence(schedule.since).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Rejected::BadRhythm { schedule: schedule.id.clone(), fault: faults.join("; ") }.into()
    })
}

/// What the log says of a fire time.
fn told(fire: &Fire, more: &serde_json::Value) -> serde_json::Value {
    let mut told = json!({"scheduledAt": fire.at, "cause": fire.cause.name(), "number": fire.number});
    if let (Some(told), Some(more)) = (told.as_object_mut(), more.as_object()) {
        told.extend(more.clone());
    }
    told
}
