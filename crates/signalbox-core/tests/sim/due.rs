//! Due work: planes claim it under leases, send what is to be sent, and report the outcome as the next event.
//! Between a plane and an endpoint, deliveries are lost, delayed, repeated and refused.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use signalbox_core::agent::AgentStatus;
use signalbox_core::delivery::{Message, MessageKind, MessageStatus, Outcome, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    ExpireDelivery, MatchTask, SettleCall, SettleDelivery, SettleDispatch, TimerFired,
};
use signalbox_core::task::TaskStatus;
use signalbox_core::task_message;
use signalbox_wire::id::{AgentId, MessageId, SessionId, TaskId};

use crate::calls::Call;
use crate::driver::Caller;
use crate::store::DueRow;
use crate::world::{Event, Letter, Seat, World};

/// How long a plane waits for an endpoint's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a plane looks for due work that nobody told it of.
const POLL: Duration = Duration::from_secs(5);
/// How often waiting tasks are swept up.
const SWEEP: Duration = Duration::from_secs(20);

/// What a plane has learnt of something that it sent.
#[derive(Debug, Clone)]
pub(crate) enum Settled {
    Delivery(SettleDelivery),
    Dispatch(Box<SettleDispatch>),
}

impl Settled {
    fn set_outcome(&mut self, outcome: Outcome) {
        match self {
            Self::Delivery(settled) => settled.outcome = outcome,
            Self::Dispatch(settled) => settled.outcome = outcome,
        }
    }

    fn is_delivered(&self) -> bool {
        let outcome = match self {
            Self::Delivery(settled) => &settled.outcome,
            Self::Dispatch(settled) => &settled.outcome,
        };
        matches!(outcome, Outcome::Delivered { .. })
    }

    fn message(&self) -> MessageId {
        match self {
            Self::Delivery(settled) => settled.message.clone(),
            Self::Dispatch(settled) => settled.attempt.task.message(settled.attempt.attempt),
        }
    }

    pub(crate) fn into_call(self) -> Call {
        match self {
            Self::Delivery(settled) => settled.into(),
            Self::Dispatch(settled) => (*settled).into(),
        }
    }
}

/// What a plane does with a message that is due.
enum Plan {
    Send(Arc<Message>, String),
    /// Its agent holds no connection.
    Wait(AgentId),
    Settle(u32, Outcome),
}

impl World {
    /// A plane claims due work and does it.
    pub(crate) fn poll(&mut self, plane: usize, is_chain: bool) {
        if is_chain {
            self.after(POLL, Event::Poll { plane, is_chain });
        }
        if !self.planes[plane].is_up {
            return;
        }
        let now = self.time_at(plane);
        let limit = self.dice.below(4) + 1;
        let claimed = self.store.claim(now, now + self.policy.lease, limit);
        if claimed.len() == limit {
            self.soon(Event::Poll { plane, is_chain: false });
        }
        for (work, is_over) in claimed {
            if is_over {
                self.start(plane, TimerFired { work }.into(), Caller::Plane);
            } else {
                self.do_due(plane, work);
            }
        }
        self.fire_early(plane);
        self.wake_for_next(plane);
    }

    /// A plane does a piece of due work that it holds.
    pub(crate) fn do_due(&mut self, plane: usize, work: DueJob) {
        match work {
            DueJob::Deliver { message } => match self.plan(&message) {
                Plan::Send(letter, endpoint) => {
                    let attempt = letter.attempts + 1;
                    self.send(plane, letter, endpoint, |outcome| {
                        Settled::Delivery(SettleDelivery { message, attempt, outcome, heals: true })
                    });
                }
                Plan::Wait(agent) => self.wait_for_connection(plane, &agent, DueJob::Deliver { message }),
                Plan::Settle(attempt, outcome) => {
                    let settled = SettleDelivery { message, attempt, outcome, heals: true };
                    self.start(plane, settled.into(), Caller::Plane);
                }
            },
            DueJob::Dispatch { session, task, attempt } => {
                self.dispatch(plane, TaskAttempt { session, task, attempt });
            }
            DueJob::Call { session, task, attempt } => self.call_tool(plane, session, task, attempt),
            work => self.start(plane, TimerFired { work }.into(), Caller::Plane),
        }
    }

    /// A plane sends an attempt to its agent, where the task still wants that.
    fn dispatch(&mut self, plane: usize, attempt: TaskAttempt) {
        let Some(read) = self.store.session(&attempt.session) else { return };
        let Some(task) = read.value.task(&attempt.task).cloned() else { return };
        let message = task_message::of_task(&read.value, &task, &self.policy);
        let (now, agent) = (self.time_at(plane), task.agent.clone().expect("an agent"));
        let settle =
            |outcome| SettleDispatch::at(now, agent.clone(), attempt.clone(), task.tries() + 1, outcome);
        if task.status != TaskStatus::Dispatched || task.attempt != attempt.attempt {
            let unwanted = settle(Outcome::unwanted("the task no longer waits for this"));
            return self.start(plane, unwanted.into(), Caller::Plane);
        }
        if task.times_out_at(self.policy.task_timeout).is_some_and(|ends| ends <= now) {
            let TaskAttempt { session, task, attempt } = attempt;
            let work = DueJob::Dispatch { session, task, attempt };
            return self.start(plane, TimerFired { work }.into(), Caller::Plane);
        }
        match self.endpoint(Some(&agent)) {
            Some(endpoint) => self.send(plane, Arc::new(message), endpoint, |outcome| {
                Settled::Dispatch(Box::new(settle(outcome)))
            }),
            None if self.away_since(&agent).is_some() => {
                let TaskAttempt { session, task, attempt } = attempt;
                self.wait_for_connection(plane, &agent, DueJob::Dispatch { session, task, attempt });
            }
            None => {
                let gone = settle(failed(None, "the agent cannot be reached", false));
                self.start(plane, gone.into(), Caller::Plane);
            }
        }
    }

    /// A plane learns what came of an attempt. Now and then it learns so too late, or twice; and that an agent has taken
    /// a task it keeps in memory for a while, where it may.
    pub(crate) fn learn(&mut self, seat: Seat, mut settled: Settled) {
        if !self.lives(seat) {
            return;
        }
        let now = self.time_at(seat.plane);
        if settled.is_delivered() {
            // The endpoint died while the message was on its way.
            if !self.promises.arrived.contains(&settled.message()) {
                settled.set_outcome(failed(None, "connection reset", true));
            } else if let Settled::Dispatch(dispatch) = &mut settled {
                dispatch.report =
                    self.answers.get(&dispatch.attempt.task.message(dispatch.attempt.attempt)).cloned();
            }
        }
        if let Settled::Dispatch(dispatch) = &mut settled {
            dispatch.answered_at = now;
        }
        if self.dice.chance(self.weather.network / 5) {
            let wait = self.dice.millis(100, 40_000);
            self.after(wait, Event::Outcome { seat, settled: settled.clone() });
            if self.dice.chance(50) {
                return;
            }
        }
        if let Settled::Dispatch(dispatch) = &settled
            && settled.is_delivered()
            && dispatch.report.is_none()
            && self.store.status(&dispatch.agent).is_some_and(AgentStatus::may_keep_taken_in_memory)
        {
            let wait = self.dice.millis(0, 5_000);
            return self.after(wait, Event::Kept { seat, settled });
        }
        self.start(seat.plane, settled.into_call(), Caller::Plane);
    }

    /// A plane calls a tool for a task. Its answer may be late, lost, or come twice.
    fn call_tool(&mut self, plane: usize, session: SessionId, task: TaskId, attempt: u32) {
        let fails = self.dice.chance(self.weather.faults);
        let outcome = if fails {
            let code = self.dice.weighted(&[(1, "QUOTA"), (2, "EXTERNAL_TOOL_EXECUTION_FAILED")]);
            Err((code.to_owned(), "the tool failed".to_owned()))
        } else {
            Ok(json!({"v": 7}))
        };
        let seat = Seat { plane, life: self.planes[plane].life };
        let call = SettleCall { session, task, attempt, outcome };
        if self.dice.chance(self.weather.network / 5) {
            let late = self.dice.millis(100, 40_000);
            self.after(late, Event::Called(seat, call.clone()));
            if self.dice.chance(50) {
                return;
            }
        }
        let wait = self.dice.millis(0, 500);
        self.after(wait, Event::Called(seat, call));
    }

    /// The safety net: a plane tries again to place everything that waits.
    pub(crate) fn sweep(&mut self) {
        self.after(SWEEP, Event::Sweep);
        if self.is_calm {
            self.answer_all();
        }
        if !self.weather.sweeps {
            return;
        }
        let Some(seat) = self.seat() else { return };
        let waiting: Vec<_> = self
            .store
            .waiting
            .iter()
            .map(|(task, waiting)| (waiting.session.clone(), task.clone()))
            .collect();
        for (session, task) in waiting {
            self.start(seat.plane, MatchTask { session, task }.into(), Caller::Plane);
        }
    }

    /// A timer comes before its time, to somebody who does not even hold it.
    fn fire_early(&mut self, plane: usize) {
        if !self.dice.chance(self.weather.faults / 4) {
            return;
        }
        let timers: Vec<DueJob> = self.store.due.values().map(|row| row.work.clone()).collect();
        match self.dice.pick(&timers).cloned() {
            None | Some(DueJob::Deliver { .. }) => {}
            Some(work) => self.start(plane, TimerFired { work }.into(), Caller::Plane),
        }
    }

    fn wake_for_next(&mut self, plane: usize) {
        let next = self.store.due.values().map(DueRow::next_at).min();
        if let Some(next) = next {
            let wait = next.since(self.time_at(plane));
            if wait < POLL {
                self.after(wait + Duration::from_millis(1), Event::Poll { plane, is_chain: false });
            }
        }
    }

    fn plan(&self, id: &MessageId) -> Plan {
        let unwanted = |attempt: u32, reason: &str| {
            Plan::Settle(attempt, Outcome::Unwanted { reason: reason.to_owned() })
        };
        let Some(message) = self.store.messages.get(id) else {
            return unwanted(1, "there is no such message");
        };
        let attempt = message.attempts + 1;
        if message.status != MessageStatus::Scheduled {
            return unwanted(attempt, "it is settled already");
        }
        if message.task.is_some() {
            return unwanted(attempt, "the task is over");
        }
        match (message.kind, self.endpoint(message.agent.as_ref())) {
            (MessageKind::RegistrationWebhook | MessageKind::SessionWebhook, _) => {
                Plan::Send(Arc::clone(message), "webhook".to_owned())
            }
            (_, Some(endpoint)) => Plan::Send(Arc::clone(message), endpoint),
            (_, None) if message.agent.as_ref().is_some_and(|agent| self.away_since(agent).is_some()) => {
                Plan::Wait(message.agent.clone().expect("an agent"))
            }
            (_, None) => Plan::Settle(attempt, failed(None, "the agent cannot be reached", false)),
        }
    }

    fn endpoint(&self, agent: Option<&AgentId>) -> Option<String> {
        let agent = agent?;
        self.store.agents.get(agent)?.endpoint.clone().or_else(|| self.connection_of(agent))
    }

    /// What is for an agent without a connection is left where it is; a message not for ever.
    fn wait_for_connection(&mut self, plane: usize, agent: &AgentId, work: DueJob) {
        let now = self.time_at(plane);
        let away = self.away_since(agent).map(|since| now.since(since)).unwrap_or_default();
        if let DueJob::Deliver { message } = &work
            && away >= self.policy.delivery_span()
        {
            let (message, reason) = (message.clone(), "its agent was not connected".to_owned());
            return self.start(plane, ExpireDelivery { message, reason }.into(), Caller::Plane);
        }
        let again = self.dice.millis(200, 2_000);
        self.store.postpone(&work, now + again);
        self.after(again, Event::Poll { plane, is_chain: false });
    }

    fn send(
        &mut self,
        plane: usize,
        message: Arc<Message>,
        endpoint: String,
        settled: impl FnOnce(Outcome) -> Settled,
    ) {
        let seat = Seat { plane, life: self.planes[plane].life };
        let (there, back) = (self.dice.millis(0, 30), self.dice.millis(0, 30));
        let is_up = self.answers(&endpoint);
        let trouble = if self.dice.chance(self.weather.network) { self.dice.below(8) } else { usize::MAX };
        let (arrives, after, outcome) = match trouble {
            _ if !is_up => (false, back, failed(None, "connection refused", true)),
            0 => (false, PATIENCE, failed(None, "timed out", true)),
            1 => (true, PATIENCE, failed(None, "timed out", true)),
            2 => (false, back, Outcome::of_status(500, None)),
            3 => (false, back, Outcome::of_status(429, Some(self.dice.millis(500, 8_000)))),
            4 => (false, back, Outcome::of_status(400, None)),
            5 => (true, there + self.dice.millis(1_000, 4_500), Outcome::Delivered { status: 200 }),
            _ => (true, there + back, Outcome::Delivered { status: 202 }),
        };
        if arrives {
            let copies = if trouble == 6 { 2 } else { 1 };
            for _ in 0..copies {
                let late = if trouble < 8 { self.dice.millis(0, 3_000) } else { Duration::ZERO };
                let letter = Letter { message: Arc::clone(&message), endpoint: endpoint.clone() };
                self.after(there.min(after) + late.min(after.saturating_sub(there)), Event::Arrive(letter));
            }
        }
        self.after(after, Event::Outcome { seat, settled: settled(outcome) });
    }
}

fn failed(status: Option<u16>, error: &str, may_retry: bool) -> Outcome {
    Outcome::Failed { status, error: error.to_owned(), retry_after: None, may_retry }
}
