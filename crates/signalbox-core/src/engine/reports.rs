//! An agent says how it is; where that is about a task it holds, the task moves on.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

use super::Operation;
use super::agents::give_all_back;
use super::work::Work;
use crate::agent::{AgentStatus, Held, Meaning, Report};
use crate::decision::Key;
use crate::event::{Level, NewEvent};
use crate::session::SessionEvent;
use crate::task::{Fault, Task, TaskStatus};
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
    /// The session that the details name.
    pub session: Option<String>,
}

/// The word by which an agent says that it goes: it works on nothing any longer.
const OFFLINE: &str = "offline";

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
        let report = self.report();
        let is_news = current.status.is_news(&report, now);
        let held = self.held(&current.status, &report, is_news).cloned();
        let status = current.status_mut();
        status.last_seen = status.latest(now);
        if is_news {
            let about_task = held.is_some() || self.task.is_some();
            status.hear(Report { about_task, ..report }, now);
        } else {
            status.set_aside(&report, now);
        }
        let entry = Entry { state: &self.state, timestamp: self.timestamp, details: self.details.as_deref() };
        work.log(NewEvent::new("agent.reported", self.level(), now, &entry).about(&self.agent));
        if let Some(held) = held {
            self.settle(&mut work, &held)?;
        }
        if is_news && self.state.eq_ignore_ascii_case(OFFLINE) {
            let held = std::mem::take(&mut work.known_agent(&self.agent)?.status_mut().held);
            give_all_back(&mut work, &held, "its agent went offline")?;
        }
        Ok((work.finish(), ()))
    }
}

impl ReportState {
    fn report(&self) -> Report {
        Report {
            state: self.state.clone(),
            details: self.details.clone(),
            timestamp: self.timestamp,
            about_task: false,
            counts_as: None,
        }
    }

    /// The task that this settles. Only a name with its attempt says for certain which one is meant, however late
    /// it comes; anything else means what the agent holds now, and must be news.
    fn held<'s>(&self, status: &'s AgentStatus, report: &Report, is_news: bool) -> Option<&'s Held> {
        let held = status.task_named(self.task.as_deref(), self.session.as_deref())?;
        let is_exact = self.task.as_ref().is_some_and(|name| held.is_named_exactly(name));
        (is_news || (is_exact && !status.has_heard(report))).then_some(held)
    }

    fn settle(&self, work: &mut Work<'_, '_>, held: &Held) -> Result<(), Halt> {
        let Some(task) = work.held_task(&held.attempt_of())? else {
            // The session let go of this attempt: the agent no longer holds it either.
            work.known_agent(&self.agent)?.status_mut().held.retain(|other| other != held);
            return Ok(());
        };
        match Meaning::of(&self.state) {
            Meaning::Working if task.status == TaskStatus::Running => {
                self.progress(work, held, &task, task.rules.heartbeat_timeout.is_some())
            }
            Meaning::Working => {
                let event = SessionEvent::TaskRunning {
                    task: task.id.clone(),
                    step: task.step.clone(),
                    attempt: task.attempt,
                    agent: self.agent.clone(),
                };
                work.emit(&held.session, &event)?;
                self.progress(work, held, &task, false)
            }
            Meaning::Done => work.complete(&held.session, &task, self.result()),
            Meaning::Failed => {
                let details = self.details().unwrap_or_default();
                let code = ["error_code", "code"].iter().find_map(|field| details.get(field)?.as_str());
                work.fail_attempt(&held.session, &task, &self.error(), Fault::Said(code))
            }
            Meaning::Away => Ok(()),
        }
    }

    /// That the agent is still at work is kept where somebody waits to hear it, or where it says how far it is.
    fn progress(
        &self,
        work: &mut Work<'_, '_>,
        held: &Held,
        task: &Task,
        is_awaited: bool,
    ) -> Result<(), Halt> {
        let progress = self.details().and_then(|mut details| details.get_mut("progress").map(Value::take));
        if progress.is_none() && !is_awaited {
            return Ok(());
        }
        work.emit(
            &held.session,
            &SessionEvent::TaskProgress {
                task: task.id.clone(),
                step: task.step.clone(),
                attempt: task.attempt,
                agent: self.agent.clone(),
                progress,
            },
        )
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
