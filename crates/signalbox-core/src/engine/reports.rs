//! An agent says how it is; where that is about a task it holds, the task moves on.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::dispatch::is_out_of_order;
use super::work::Work;
use crate::agent::{AgentStatus, Held, Meaning, Report};
use crate::decision::Key;
use crate::event::{Level, NewEvent};
use crate::session::SessionEvent;
use crate::task::TaskStatus;
use crate::{Decision, Halt, Turn, View};

/// A report of an agent's state.
#[derive(Debug, Clone)]
pub struct ReportState {
    /// Who reports.
    pub agent: AgentId,
    /// The state, as sent.
    pub state: String,
    /// When it was so, by the agent's clock.
    pub timestamp: Timestamp,
    /// The details, as sent.
    pub details: Option<Box<RawValue>>,
    /// The task that the details name.
    pub task: Option<String>,
}

#[derive(Serialize)]
struct Entry<'a> {
    state: &'a str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a RawValue>,
}

impl Operation for ReportState {
    type Answer = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Agent(self.agent.clone()), Key::Status(self.agent.clone())]
    }

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, ()), Halt> {
        let now = turn.now;
        let mut work = Work::new(view, turn);
        let current = work.known_agent(&self.agent)?;
        let is_news = self.is_news(&current.status);
        let held = self.held(&current.status).cloned();
        let status = current.status_mut();
        status.last_seen = now;
        if is_news {
            status.report = Some(Report {
                state: self.state.clone(),
                details: self.details.clone(),
                timestamp: self.timestamp,
                about_task: held.is_some() || self.task.is_some(),
            });
        }
        let entry = Entry { state: &self.state, timestamp: self.timestamp, details: self.details.as_deref() };
        work.log(NewEvent::new("agent.reported", self.level(), now, &entry).about(&self.agent));
        if let Some(held) = held {
            self.settle(&mut work, &held)?;
        }
        Ok((work.finish(), ()))
    }
}

impl ReportState {
    /// Whether this becomes the agent's current state.
    fn is_news(&self, status: &AgentStatus) -> bool {
        let newest = status.report.as_ref();
        let is_repeat = newest.is_some_and(|newest| self.repeats(newest));
        !is_repeat && !self.is_of_earlier_life(status) && !is_out_of_order(newest, self.timestamp)
    }

    /// The task that this settles. Where it names none it means what the agent holds now, and must be news; what
    /// an earlier life says of a task must name the very attempt.
    fn held<'s>(&self, status: &'s AgentStatus) -> Option<&'s Held> {
        let held = status.task_named(self.task.as_deref())?;
        let is_repeat = status.report.as_ref().is_some_and(|newest| self.repeats(newest));
        let is_meant = match &self.task {
            None => self.is_news(status),
            Some(name) if self.is_of_earlier_life(status) => held.task.matches(name).flatten().is_some(),
            Some(_) => !is_repeat,
        };
        is_meant.then_some(held)
    }

    fn is_of_earlier_life(&self, status: &AgentStatus) -> bool {
        status.earlier_until.is_some_and(|until| self.timestamp <= until)
    }

    /// Whether this is the newest report once more, from a client that lost the answer to it: what it had to
    /// say about a task has been heard, and its agent may hold another one by now.
    fn repeats(&self, newest: &Report) -> bool {
        self.timestamp == newest.timestamp
            && self.state == newest.state
            && self.details.as_ref().map(|details| details.get())
                == newest.details.as_ref().map(|details| details.get())
    }

    fn settle(&self, work: &mut Work<'_, '_>, held: &Held) -> Result<(), Halt> {
        let Some(task) = work.held_task(held)? else {
            // The session let go of this attempt: the agent no longer holds it either.
            work.known_agent(&self.agent)?.status_mut().held.retain(|other| other != held);
            return Ok(());
        };
        match Meaning::of(&self.state) {
            Meaning::Working if task.status == TaskStatus::Running => Ok(()),
            Meaning::Working => work.emit(
                &held.session,
                &SessionEvent::TaskRunning {
                    task: task.id.clone(),
                    step: task.step.clone(),
                    attempt: task.attempt,
                    agent: self.agent.clone(),
                },
            ),
            Meaning::Done => work.complete(&held.session, &task, self.result()),
            Meaning::Failed => {
                let backoff = work.turn.policy.task_backoff;
                work.fail_attempt(&held.session, &task, &self.error(), backoff)
            }
            Meaning::Away => Ok(()),
        }
    }

    fn details(&self) -> Option<Value> {
        serde_json::from_str(self.details.as_ref()?.get()).ok()
    }

    /// `details.result` where there is one, else the details.
    fn result(&self) -> Option<Value> {
        let mut details = self.details()?;
        match details.get_mut("result") {
            Some(result) => Some(result.take()),
            None => Some(details),
        }
    }

    fn error(&self) -> String {
        let details = self.details().unwrap_or_default();
        let said =
            ["error", "error_message", "message", "reason"].iter().find_map(|field| details.get(field));
        match said {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => format!("the agent reported '{}' and no reason", self.state),
        }
    }

    fn level(&self) -> Level {
        if Meaning::of(&self.state) == Meaning::Failed { Level::Error } else { Level::Info }
    }
}
