//! Giving tasks to agents and tools, taking them back, and what is settled by whoever did them.
//!
//! These are the steps that several operations share; each keeps the session and the agent in agreement: a
//! task is held by exactly the agent that its session says.

use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, MessageId, SessionId};
use signalbox_wire::time::Timestamp;

use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::agent::Held;
use crate::decision::{Key, Row};
use crate::delivery::{Message, MessageKind, MessageStatus, TaskAttempt};
use crate::due::{Due, DueJob, Lane};
use crate::expression;
use crate::payload;
use crate::routing::{self, Route};
use crate::session::SessionEvent;
use crate::task::{Task, TaskStatus};

impl UnitOfWork<'_, '_> {
    /// A task waits for an agent from now on.
    pub(super) fn queue(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        if let Some(limit) = task.rules.schedule_timeout {
            let at = self.context.now + limit;
            self.decision.arm(Due::new(schedule_timer(session, task), at));
        }
        let waiting_for = self.waiting_for(&task.route)?;
        self.emit(
            session,
            &SessionEvent::TaskWaiting { task: task.id.clone(), step: task.step.clone(), waiting_for },
        )
    }

    /// What a task of this route waits for, in words: also that the agent that it is for is not connected.
    fn waiting_for(&mut self, route: &Route) -> Result<String, Halt> {
        let Route::Agent(agent) = route else { return Ok(route.waiting_for()) };
        let known = self.agent(agent)?;
        Ok(known.map_or_else(
            || route.waiting_for(),
            |work| routing::waiting_for_agent(&work.agent, Some(&work.status)),
        ))
    }

    pub(super) fn arm_timeout(
        &mut self,
        session: &SessionId,
        task: &Task,
        attempt: u32,
        limit: std::time::Duration,
    ) {
        let timeout = DueJob::Timeout { session: session.clone(), task: task.id.clone(), attempt };
        self.decision.arm(Due::new(timeout, self.context.now + limit));
    }

    /// Takes a task out of its holder's hands and off the clock, where it is.
    pub(super) fn release(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        if task.retry_at.is_some() {
            self.decision.disarm(retry_timer(session, task).id());
        }
        if task.queued_at.is_some() && task.rules.schedule_timeout.is_some() {
            self.decision.disarm(schedule_timer(session, task).id());
        }
        if task.status == TaskStatus::Waiting && task.until.is_some() {
            let wake = DueJob::Wake { session: session.clone(), task: task.id.clone() };
            self.decision.disarm(wake.id());
        }
        if !task.status.is_held() || task.is_expanding() {
            return Ok(());
        }
        let (id, attempt) = (task.id.clone(), task.attempt);
        let timeout = DueJob::Timeout { session: session.clone(), task: id.clone(), attempt };
        self.decision.disarm(timeout.id());
        if task.rules.heartbeat_timeout.is_some() {
            let heartbeat = DueJob::Heartbeat { session: session.clone(), task: id, attempt };
            self.decision.disarm(heartbeat.id());
        }
        if let Some(child) = &task.child {
            self.end_child(child, task);
        }
        if let Some(agent) = &task.agent
            && let Some(work) = self.agent(agent)?
        {
            // Written even where the task is not found in it: then it was read too early, and conflicts.
            work.status_mut().held.retain(|held| held.task != task.id);
        }
        Ok(())
    }

    /// The task that is meant, if its session agrees that it is held in that attempt.
    pub(super) fn held_task(&mut self, meant: &TaskAttempt) -> Result<Option<Arc<Task>>, Halt> {
        let task = self.task(&meant.session, &meant.task)?;
        Ok(task.filter(|task| task.status.is_held() && !task.is_expanding() && task.attempt == meant.attempt))
    }

    pub(super) fn render(
        &mut self,
        session: &SessionId,
        task: &Task,
    ) -> Result<Result<Map<String, Value>, String>, Halt> {
        let mut parameters =
            match self.see(session, task, |scope| expression::render(&task.template, scope))? {
                Ok(parameters) => parameters,
                Err(fault) => return Ok(Err(fault.to_string())),
            };
        let state = self.known_session(session)?;
        if state.is_first(task) {
            parameters.extend(state.session.input.clone());
        }
        let (bytes, most) = (payload::bytes_of_fields(&parameters), self.context.policy.payload_max);
        if bytes > most {
            return Ok(Err(format!(
                "come to {bytes} bytes with all that they refer to, and {most} are the most; give it a part of them"
            )));
        }
        Ok(Ok(self.externalize_fields(parameters)?))
    }

    /// An agent for `route`: the one that has just done a task, where nothing else is in its hands, else the first of the
    /// candidates that may be given it, or one that this decision itself has freed where that was used less recently. One that
    /// was freed is taken only when no other task waits for it.
    pub(super) fn choose(&mut self, route: &Route) -> Result<Option<AgentId>, Halt> {
        if let Route::Agent(agent) = route {
            return Ok(self.may_give_to(agent, route)?.then(|| agent.clone()));
        }
        if let Some(agent) = self.at_hand(route)? {
            return Ok(Some(agent));
        }
        let listed = self.snapshot.candidates(&route.key())?;
        let mut choices = self.touched_available(route);
        // They are listed in the order in which they are preferred: nobody behind the first who may be given it is.
        for agent in listed {
            if self.snapshot.agent(agent).is_err() {
                // More than the first few are looked at: then all of them, and not with another look for each.
                let rows =
                    listed.iter().flat_map(|agent| [Key::Agent(agent.clone()), Key::Status(agent.clone())]);
                self.snapshot.require(rows)?;
            }
            if !self.is_touched(agent) && self.may_give_to(agent, route)? {
                choices.push(agent.clone());
                break;
            }
        }
        let mut best: Option<(Timestamp, AgentId)> = None;
        for agent in choices {
            if self.others_wait_for(&agent)? {
                continue;
            }
            let Some(last_used) = self.agent(&agent)?.map(|work| work.status.last_used) else { continue };
            let key = (last_used, agent);
            if best.as_ref().is_none_or(|best| key < *best) {
                best = Some(key);
            }
        }
        Ok(best.map(|(_, agent)| agent))
    }

    /// Asks for what it takes to give a task of each of these routes to somebody, before much is done that would
    /// have to be done again.
    pub(super) fn foresee(&mut self, routes: &[Route]) -> Result<(), Halt> {
        for route in routes {
            if let Route::Agent(agent) = route {
                self.agent(agent)?;
            } else if self.at_hand(route)?.is_none() {
                self.snapshot.candidates(&route.key())?;
            }
        }
        Ok(())
    }

    /// Asks for what the tasks need that will follow `task` once it is done.
    pub(super) fn foresee_next(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        let mut routes: Vec<Route> = Vec::new();
        for next in self.known_session(session)?.next_after(task).filter(|next| next.is_given_at_once()) {
            if !routes.contains(&next.route) {
                routes.push(next.route.clone());
            }
        }
        self.foresee(&routes)
    }

    /// The agent that has just done a task, if it may be given one of this route and has nothing else in its hands:
    /// it is here already, and knows what it did.
    fn at_hand(&mut self, route: &Route) -> Result<Option<AgentId>, Halt> {
        let Some(agent) = self.just_done.clone() else { return Ok(None) };
        let is_idle = self.agent(&agent)?.is_some_and(|work| work.status.held.is_empty());
        Ok((is_idle && self.may_give_to(&agent, route)?).then_some(agent))
    }

    fn may_give_to(&mut self, agent: &AgentId, route: &Route) -> Result<bool, Halt> {
        let is_free = self.agent(agent)?.is_some_and(|work| work.is_available() && route.admits(&work.agent));
        Ok(is_free && !self.others_wait_for(agent)?)
    }

    /// Whether tasks wait for an agent that has only become available by this very decision.
    fn others_wait_for(&mut self, agent: &AgentId) -> Result<bool, Halt> {
        let Some(work) = self.agent(agent)? else { return Ok(false) };
        if work.was_available() {
            return Ok(false);
        }
        let keys = routing::keys_of(&work.agent);
        Ok(!self.snapshot.waiting(&keys)?.is_empty())
    }

    pub(super) fn dispatch(
        &mut self,
        session: &SessionId,
        task: &Task,
        agent: &AgentId,
        parameters: Map<String, Value>,
    ) -> Result<(), Halt> {
        let now = self.context.now;
        let attempt = task.attempt + 1;
        let carried = TaskAttempt { session: session.clone(), task: task.id.clone(), attempt };
        let mut lane = Lane::default();
        if let Some(work) = self.agent(agent)? {
            lane = work.agent.lane();
            let status = work.status_mut();
            status.last_used = now;
            status.held.push(Held::new(carried, task.step.clone(), now));
        }
        let ends = now + task.rules.timeout.unwrap_or(self.context.policy.task_timeout);
        let dispatch = DueJob::Dispatch { session: session.clone(), task: task.id.clone(), attempt };
        self.decision.arm_first(Due::new(dispatch, now).by(lane).until(ends));
        if let Some(limit) = task.rules.heartbeat_timeout {
            let heartbeat = DueJob::Heartbeat { session: session.clone(), task: task.id.clone(), attempt };
            self.decision.arm_first(Due::new(heartbeat, now + limit));
        }
        if task.queued_at.is_some() && task.rules.schedule_timeout.is_some() {
            self.decision.disarm(schedule_timer(session, task).id());
        }
        self.emit(
            session,
            &SessionEvent::TaskDispatched {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt,
                agent: Some(agent.clone()),
                child: None,
                parameters,
            },
        )
    }

    /// Accepts a message for delivery: durable with this decision, sent after it.
    pub(super) fn send(&mut self, new: NewMessage) {
        let now = self.context.now;
        let lane = self.lane_of(&new);
        self.decision.arm_first(Due::new(DueJob::Deliver { message: new.id.clone() }, now).by(lane.clone()));
        let message = Message {
            id: new.id,
            kind: new.kind,
            agent: new.agent,
            task: None,
            url: new.url,
            lane,
            body: new.body,
            trace: new.trace,
            status: MessageStatus::Scheduled,
            attempts: 0,
            attempts_max: self.context.policy.delivery_attempts,
            created_at: now,
            redriven_at: None,
            next_at: Some(now),
            settled_at: None,
            last_status: None,
            last_error: None,
        };
        let version = self.context.version_after(None);
        self.decision.create(Row::Message(Arc::new(message)), version);
    }

    /// The lane of a new message: what is sent to one host shares one.
    fn lane_of(&self, new: &NewMessage) -> Lane {
        if new.kind == MessageKind::RegistrationWebhook {
            return Lane::named(REGISTRATIONS.to_owned());
        }
        if let Some(url) = &new.url {
            return Lane::endpoint(url);
        }
        let Some(agent) = &new.agent else { return Lane::default() };
        // An agent that the decision did not have to look at keeps a lane of its own.
        let known = self.snapshot.agent(agent).ok().flatten();
        known.map_or_else(|| Lane::agent(agent), |known| known.value.lane())
    }
}

/// The lane of what goes to the one service that registrations are announced to.
const REGISTRATIONS: &str = "registrations";

/// A message to accept.
pub(super) struct NewMessage {
    pub(super) id: MessageId,
    pub(super) kind: MessageKind,
    pub(super) agent: Option<AgentId>,
    pub(super) url: Option<String>,
    pub(super) body: String,
    pub(super) trace: Option<String>,
}

/// What ends a task's wait for an agent.
pub(super) fn schedule_timer(session: &SessionId, task: &Task) -> DueJob {
    DueJob::Schedule { session: session.clone(), task: task.id.clone(), attempt: task.attempt }
}

/// What ends the wait after the task's present attempt.
pub(super) fn retry_timer(session: &SessionId, task: &Task) -> DueJob {
    DueJob::Retry { session: session.clone(), task: task.id.clone(), attempt: task.attempt }
}
