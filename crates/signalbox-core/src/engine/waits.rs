//! Tasks that nobody does: they wait for a signal or for time to pass; those that ask somebody are in
//! [`super::approvals`].

use serde_json::Value;
use signalbox_wire::duration::Period;
use signalbox_wire::id::SessionId;
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::flow::completed;
use super::unit_of_work::UnitOfWork;
use crate::definition::Kind;
use crate::due::{Due, DueJob};
use crate::expression;
use crate::limits::SIGNALS_KEPT_MAX;
use crate::session::{SessionEvent, SessionState};
use crate::task::{Subject, Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Something from outside that a task waits for, or will. One that comes before the task waits is kept for it.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Which session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// What it carries; it becomes the result of the task that waited.
    pub payload: Option<Value>,
}

impl Operation for Signal {
    type Output = SessionState;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SessionState), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        let state = work.known_session(&self.session)?;
        let means = |task: &Task| matches!(&task.kind, Kind::Wait { signal } if *signal == self.name);
        let waiting =
            state.tasks.iter().find(|task| task.status == TaskStatus::Waiting && means(task)).cloned();
        let will_wait = state.tasks.iter().any(|task| task.status == TaskStatus::Pending && means(task));
        let kept = state.session.signals.len();
        let is_over = state.session.status.is_over() || state.session.ending.is_some();
        match waiting {
            Some(task) if !is_over => work.complete(&self.session, &task, self.payload.clone())?,
            None if will_wait && !is_over && kept < SIGNALS_KEPT_MAX => {
                let payload = self.payload.clone().map(|payload| work.externalize(payload)).transpose()?;
                let event = SessionEvent::SignalKept { signal: self.name.clone(), payload };
                work.emit(&self.session, &event)?;
            }
            None if will_wait && !is_over => return Err(Rejected::SignalsFull(self.session.clone()).into()),
            _ => {
                let (session, signal) = (self.session.clone(), self.name.clone());
                return Err(Rejected::NothingWaits { session, signal }.into());
            }
        }
        let state = work.known_session(&self.session)?.clone();
        Ok((work.finish(), state))
    }
}

impl UnitOfWork<'_, '_> {
    pub(super) fn begin_wait(&mut self, session: &SessionId, task: &Task, signal: &str) -> Result<(), Halt> {
        let until = task.rules.timeout.map(|limit| self.context.now + limit);
        self.begin_waiting(session, task, format!("the signal '{signal}'"), until, None)?;
        let state = self.known_session(session)?;
        let kept = state.session.signals.iter().find(|kept| kept.signal == signal).cloned();
        let task = state.task(&task.id).cloned();
        if let (Some(kept), Some(task)) = (kept, task) {
            self.release(session, &task)?;
            return self.emit(session, &completed(&task, kept.payload));
        }
        Ok(())
    }

    pub(super) fn begin_sleep(&mut self, session: &SessionId, task: &Task, text: &str) -> Result<(), Halt> {
        let template = Value::String(text.to_owned());
        let value = self.see(session, task, |scope| expression::render_any(&template, scope))?;
        let until =
            value.map_err(|fault| fault.to_string()).and_then(|value| moment(&value, self.context.now));
        match until {
            Ok(until) => self.begin_waiting(session, task, until.to_string(), Some(until), None),
            Err(fault) => self.fail_task(session, task, &format!("The task's sleep: {fault}")),
        }
    }

    pub(super) fn begin_waiting(
        &mut self,
        session: &SessionId,
        task: &Task,
        waiting_for: String,
        until: Option<Timestamp>,
        subject: Option<Subject>,
    ) -> Result<(), Halt> {
        if let Some(at) = until {
            let work = DueJob::Wake { session: session.clone(), task: task.id.clone() };
            self.decision.arm(Due::new(work, at));
        }
        let event = SessionEvent::TaskBegun {
            task: task.id.clone(),
            step: task.step.clone(),
            waiting_for,
            until,
            subject,
        };
        self.emit(session, &event)
    }

    /// The time of a task that waits is over: a sleep is done, a wait or an approval has failed.
    pub(super) fn wake(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        match &task.kind {
            Kind::Sleep(_) => self.complete(session, task, None),
            Kind::Wait { signal } => {
                self.fail_task(session, task, &format!("the signal '{signal}' did not come in time"))
            }
            _ => self.fail_task(session, task, "nobody approved it in time"),
        }
    }
}

/// When a sleep ends that was given as a duration, a number of seconds or a moment.
fn moment(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let fault = || format!("{value} is neither a duration, such as \"5m\", nor a moment in RFC 3339");
    if value.as_f64() == Some(0.0) {
        return Ok(now);
    }
    match (Period::from_value(value), value.as_str()) {
        (Ok(length), _) => Ok(now + length.into()),
        (Err(_), Some(text)) => Timestamp::parse(text).map_err(|_| fault()),
        (Err(_), None) => Err(fault()),
    }
}
