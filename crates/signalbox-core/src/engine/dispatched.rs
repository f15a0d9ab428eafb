//! What came of sending an attempt of a task to its agent. The task is what is kept of it; one row of due work carries
//! the attempt from here to its timeout.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::{AgentId, SessionId};
use signalbox_wire::time::Timestamp;

use super::deliveries::{DeliveredReport, entry};
use super::machine::Machine;
use super::machine::command::Command;
use super::operation::Operation;
use super::reports::ReportState;
use super::unit_of_work::UnitOfWork;
use crate::decision::{Key, Row};
use crate::definition::Kind;
use crate::delivery::{DeliveryFailure, Message, MessageKind, MessageStatus, Outcome, TaskAttempt};
use crate::due::{Due, DueJob, Lane};
use crate::event::{Level, NewEvent};
use crate::limits::bounded;
use crate::session::SessionEvent;
use crate::task::{Fault, Task, TaskStatus};
use crate::task_message;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// A try to send an attempt to its agent has ended.
#[derive(Debug, Clone)]
pub struct SettleDispatch {
    /// Whom it was sent to.
    pub agent: AgentId,
    /// What was sent.
    pub attempt: TaskAttempt,
    /// Which try it was, from 1: a repeat of an older one that failed changes nothing.
    pub tries: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was answered.
    pub answered_at: Timestamp,
    /// What the agent answered of the task.
    pub report: Option<DeliveredReport>,
}

impl SettleDispatch {
    /// A try that was answered as soon as it was sent, with nothing but a status.
    #[must_use]
    pub fn at(now: Timestamp, agent: AgentId, attempt: TaskAttempt, tries: u32, outcome: Outcome) -> Self {
        Self { agent, attempt, tries, outcome, sent_at: now, answered_at: now, report: None }
    }

    /// The agent has the task; whether that, or what it said of it, settles the task.
    fn hand_over(&self, machine: &mut Machine<'_, '_>) -> Result<bool, Halt> {
        let work = &mut machine.work;
        let read = work.snapshot.status(&self.agent)?.map(|read| read.version);
        let Some(current) = work.agent(&self.agent)? else { return Ok(false) };
        match current.status.held.iter().position(|held| held.is(&self.attempt)) {
            Some(position) => {
                let status = current.status_mut();
                status.held[position].take(self.sent_at);
                status.reached(self.answered_at);
            }
            // The status may be one from before the dispatch.
            None if self.report.is_none() => {
                work.decision.expects.push((Key::Status(self.agent.clone()), read));
                return Ok(false);
            }
            None => {}
        }
        let Some(report) = &self.report else {
            return ReportState::settle_awaiting(machine, &self.agent, &self.attempt, self.answered_at);
        };
        let report = ReportState {
            agent: self.agent.clone(),
            state: report.state.clone(),
            timestamp: self.answered_at,
            details: report.details.clone(),
            task: Some(self.attempt.task.attempt_name(self.attempt.attempt)),
            session: Some(self.attempt.session.to_string()),
        };
        report.apply_answer(machine)?;
        Ok(true)
    }

    /// The attempt is over: what its agent answered is kept as a report. Its row is struck out where the session left it
    /// behind ([`UnitOfWork::keep_dispatch`]); whatever else ends an attempt takes the row with it.
    fn over(&self, mut machine: Machine<'_, '_>) -> Result<Decision, Halt> {
        match &self.outcome {
            Outcome::Delivered { .. } if self.report.is_some() => drop(self.hand_over(&mut machine)?),
            Outcome::Unwanted { .. } if self.tries == 1 => {
                // As far as is known it was never sent, so there is nothing to stop. A process that died within seconds of
                // sending it may have known better: then the agent has one task more for a while.
                machine.work.stopped(&self.agent, |stopping| *stopping == self.attempt)?;
            }
            _ => {}
        }
        let task = machine.work.task(&self.attempt.session, &self.attempt.task)?;
        let is_left =
            |task: Arc<Task>| task.status == TaskStatus::Cancelled || task.attempt != self.attempt.attempt;
        if task.is_none_or(is_left) {
            machine.work.decision.disarm(dispatch(&self.attempt).id());
        }
        let decision = machine.finish();
        Ok(if decision.is_empty() { Decision::default() } else { decision })
    }

    /// Whether an earlier connection of the agent had it: it has been due again since the agent connected anew.
    fn is_of_earlier_connection(&self, machine: &mut Machine<'_, '_>) -> Result<bool, Halt> {
        let Some(work) = machine.work.agent(&self.agent)? else { return Ok(false) };
        Ok(work.agent.endpoint.is_none() && work.status.is_connected_anew_since(self.sent_at))
    }

    fn delivered(&self, mut machine: Machine<'_, '_>, task: &Task) -> Result<Decision, Halt> {
        if self.is_of_earlier_connection(&mut machine)? {
            return Ok(Decision::default());
        }
        let is_known = task.status == TaskStatus::Running && self.report.is_none();
        let is_taken = machine.work.agent(&self.agent)?.is_some_and(|work| {
            work.status.held.iter().any(|held| held.is(&self.attempt) && held.taken_at.is_some())
        });
        if is_known && is_taken {
            return Ok(Decision::default());
        }
        machine.work.await_end(&self.attempt.session, task);
        let is_settled = self.hand_over(&mut machine)?;
        let now = machine.work.context.now;
        if self.report.is_none() {
            machine.work.log(delivered(self, now));
        }
        let mut decision = machine.finish();
        // The agent is about to say what came of it; lost, it is delivered again, and known by its id.
        decision.may_wait = !is_settled;
        Ok(decision)
    }

    fn failed(
        &self,
        mut machine: Machine<'_, '_>,
        task: Arc<Task>,
    ) -> Result<(Decision, Option<Arc<Message>>), Halt> {
        let nothing = || Ok((Decision::default(), None));
        let Outcome::Failed { status, error, .. } = &self.outcome else { return nothing() };
        // Its agent has it, whatever the endpoint answered: the task's own timeout governs.
        if task.status != TaskStatus::Dispatched || task.tries() + 1 != self.tries {
            return nothing();
        }
        let work = &mut machine.work;
        let most = work.context.policy.delivery_attempts;
        let Some(retry_at) = self.outcome.next_try(self.tries, most, work.context) else {
            let letter = Letter { tries: self.tries, status: *status, error };
            return give_up(machine, &self.attempt, task, &letter)
                .map(|(decision, dead)| (decision, Some(dead)));
        };
        let lane = work.lane_of_attempt(&task)?;
        let failure = DeliveryFailure {
            at: work.context.now,
            message: task.id.message(task.attempt),
            kind: MessageKind::Task,
            tries: self.tries,
            status: *status,
            error: bounded(error),
        };
        if let Some(current) =
            work.agent(&self.agent)?.filter(|current| current.status.is_failure_news(&failure))
        {
            current.status_mut().delivery_failure = Some(Box::new(failure));
        }
        let ends = task.times_out_at(work.context.policy.task_timeout).unwrap_or(retry_at);
        work.decision.arm(Due::new(dispatch(&self.attempt), retry_at).by(lane).until(ends));
        work.emit(
            &self.attempt.session,
            &SessionEvent::DeliveryFailed {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                agent: self.agent.clone(),
                tries: self.tries,
                status: *status,
                error: bounded(error),
                retry_at,
            },
        )?;
        Ok((machine.finish(), None))
    }
}

impl Operation for SettleDispatch {
    /// The dead letter, where it has become one by this.
    type Output = Option<Arc<Message>>;

    fn keys(&self) -> Vec<Key> {
        vec![
            Key::Session(self.attempt.session.clone()),
            Key::Agent(self.agent.clone()),
            Key::Status(self.agent.clone()),
        ]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let held =
            machine.work.held_task(&self.attempt)?.filter(|task| task.agent.as_ref() == Some(&self.agent));
        let decision = match (&self.outcome, held) {
            (_, None) => self.over(machine)?,
            (Outcome::Delivered { .. }, Some(task)) => self.delivered(machine, &task)?,
            (Outcome::Failed { .. }, Some(task)) => return self.failed(machine, task),
            // Whoever did not want it saw the task before it was given to this agent, or at work.
            (Outcome::Unwanted { .. }, Some(_)) => Decision::default(),
        };
        Ok((decision, None))
    }
}

/// An attempt has waited for a destination that is left alone for as long as all its tries would have taken.
#[derive(Debug, Clone)]
pub struct ExpireDispatch {
    /// What waited.
    pub attempt: TaskAttempt,
    /// What is said of it.
    pub reason: String,
}

impl Operation for ExpireDispatch {
    /// The dead letter, where it has become one now.
    type Output = Option<Arc<Message>>;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Session(self.attempt.session.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let Some(task) = machine.work.held_task(&self.attempt)? else {
            machine.work.decision.disarm(dispatch(&self.attempt).id());
            return Ok((machine.finish(), None));
        };
        // What its agent had once is the agent's until the task's own timeout.
        if task.status != TaskStatus::Dispatched || machine.work.was_had(&self.attempt, &task)? {
            machine.work.await_end(&self.attempt.session, &task);
            return Ok((machine.finish(), None));
        }
        let last = task.undelivered.clone();
        let error = last.as_ref().map(|last| format!("{}; the last attempt: {}", self.reason, last.error));
        let letter = Letter {
            tries: task.tries(),
            status: last.as_ref().and_then(|last| last.status),
            error: error.as_deref().unwrap_or(&self.reason),
        };
        let (decision, message) = give_up(machine, &self.attempt, task, &letter)?;
        Ok((decision, Some(message)))
    }
}

/// How an attempt stands that could not be handed over.
struct Letter<'a> {
    tries: u32,
    status: Option<u16>,
    error: &'a str,
}

/// The attempt becomes a dead letter, and has failed.
fn give_up(
    mut machine: Machine<'_, '_>,
    attempt: &TaskAttempt,
    task: Arc<Task>,
    letter: &Letter<'_>,
) -> Result<(Decision, Arc<Message>), Halt> {
    let work = &mut machine.work;
    let (policy, now) = (work.context.policy, work.context.now);
    let state = work.known_session(&attempt.session)?;
    let message = Arc::new(Message {
        status: MessageStatus::Dead,
        attempts: letter.tries,
        next_at: None,
        settled_at: Some(now),
        last_status: letter.status,
        last_error: Some(bounded(letter.error)),
        ..task_message::of_task(state, &task, policy)
    });
    if let (Some(agent), Some(failure)) = (&message.agent, message.failure(now))
        && let Some(current) = work.agent(agent)?
    {
        current.status_mut().delivery_failure = Some(Box::new(failure));
    }
    let reason = format!("the task could not be handed to its agent: {}", letter.error);
    machine.run(Command::attempt_failed(&attempt.session, task, reason, Fault::Undelivered))?;
    machine.work.log(entry(&message, now));
    let version = machine.work.context.version_after(None);
    let mut decision = machine.finish();
    decision.create(Row::Message(Arc::clone(&message)), version);
    Ok((decision, message))
}

impl UnitOfWork<'_, '_> {
    /// An agent has a task: what is due for the attempt from now on is its timeout.
    pub(super) fn await_end(&mut self, session: &SessionId, task: &Task) {
        let Some(ends) = task.times_out_at(self.context.policy.task_timeout) else { return };
        let (session, task, attempt) = (session.clone(), task.id.clone(), task.attempt);
        self.decision.arm(Due::new(DueJob::Timeout { session, task, attempt }, ends));
    }

    /// The lane by which the present attempt of a task goes to whoever does it.
    pub(super) fn lane_of_attempt(&mut self, task: &Task) -> Result<Lane, Halt> {
        Ok(match (&task.agent, &task.kind) {
            (Some(agent), _) => self.agent(agent)?.map(|work| work.agent.lane()).unwrap_or_default(),
            (None, Kind::Tool(tool)) => Lane::tool(tool.as_str()),
            _ => Lane::default(),
        })
    }

    /// Whether it is this very decision that gives the attempt to its agent.
    pub(super) fn dispatches_now(&self, attempt: &TaskAttempt) -> bool {
        let id = dispatch(attempt).id();
        self.decision.due.iter().any(|due| due.work.id() == id)
    }

    /// Whether an agent was given the attempt and is not known to have it.
    pub(super) fn may_be_unsent(&mut self, attempt: &TaskAttempt, task: &Task) -> Result<bool, Halt> {
        let Some(agent) = task.agent.as_ref().filter(|_| task.status == TaskStatus::Dispatched) else {
            return Ok(false);
        };
        let Some(work) = self.agent(agent)? else { return Ok(false) };
        Ok(work.status.held.iter().any(|held| held.is(attempt) && held.was_never_had()))
    }

    /// Whether its agent had the attempt before it connected anew.
    fn was_had(&mut self, attempt: &TaskAttempt, task: &Task) -> Result<bool, Halt> {
        let Some(agent) = &task.agent else { return Ok(false) };
        let work = self.agent(agent)?;
        Ok(work.is_some_and(|work| work.status.held.iter().any(|held| held.is(attempt) && held.comes_again)))
    }

    /// What an agent holds is sent to it again, as it has connected anew: the same attempts, under their ids.
    pub(super) fn give_again(&mut self, agent: &AgentId) -> Result<(), Halt> {
        let current = self.known_agent(agent)?;
        if current.agent.endpoint.is_some() {
            return Ok(());
        }
        let (lane, held) = (current.agent.lane(), current.status.held.clone());
        self.snapshot.require(held.iter().map(|held| Key::Session(held.session.clone())))?;
        for held in held {
            let attempt = held.attempt_of();
            let task = self.held_task(&attempt)?.filter(|task| task.agent.as_ref() == Some(agent));
            let Some(task) = task else { continue };
            let Some(ends) = task.times_out_at(self.context.policy.task_timeout) else { continue };
            let again = Due::new(dispatch(&attempt), held.dispatched_at);
            self.decision.arm(again.by(lane.clone()).until(ends));
            let status = self.known_agent(agent)?.status_mut();
            let held = status.held.iter_mut().filter(|held| held.is(&attempt));
            held.for_each(|held| held.give_again(task.status == TaskStatus::Running));
        }
        Ok(())
    }

    /// The due work of an attempt stays although the attempt is over.
    pub(super) fn keep_dispatch(&mut self, attempt: &TaskAttempt) {
        let id = dispatch(attempt).id();
        self.decision.done.retain(|done| *done != id);
    }
}

/// The due work of sending an attempt.
fn dispatch(attempt: &TaskAttempt) -> DueJob {
    let TaskAttempt { session, task, attempt } = attempt.clone();
    DueJob::Dispatch { session, task, attempt }
}

fn delivered(settled: &SettleDispatch, now: Timestamp) -> NewEvent {
    let TaskAttempt { session, task, attempt } = &settled.attempt;
    let status = match settled.outcome {
        Outcome::Delivered { status } => Some(status),
        _ => None,
    };
    let data = json!({
        "messageId": task.message(*attempt),
        "kind": "task",
        "attempt": settled.tries,
        "status": status,
        "sessionId": session,
    });
    let mut entry = NewEvent::new("message.delivered", Level::Debug, now, &data).about(&settled.agent);
    entry.session = Some((session.clone(), 0));
    entry.task = Some(task.clone());
    entry
}
