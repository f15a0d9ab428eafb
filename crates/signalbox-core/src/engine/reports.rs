//! An agent says how it is; where that is about a task it holds, the task moves on.

use std::sync::Arc;

use serde_json::Value;
use signalbox_wire::id::AgentId;
use signalbox_wire::quote;
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use super::agents::give_all_back;
use super::machine::Machine;
use super::machine::command::Command;
use super::matching::{foresee_freed, serve_freed};
use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::agent::{AgentStatus, Held, Meaning, OFFLINE, Report};
use crate::agent_reports::Effect;
use crate::decision::{Key, Row};
use crate::delivery::TaskAttempt;
use crate::event::{Level, NewEvent};
use crate::report::AwaitedDelivery;
use crate::session::SessionEvent;
use crate::task::{Fault, Task, TaskStatus};
use crate::{Decision, DecisionContext, Halt, Snapshot};

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
    pub details: Option<RawObject>,
    /// The task that the details name.
    pub task: Option<String>,
    /// The session that the details name.
    pub session: Option<String>,
}

/// How a report reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The agent sent it.
    Report,
    /// It is the answer to a delivery.
    Answer,
}

impl Operation for ReportState {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::Agent(self.agent.clone()), Key::Status(self.agent.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let decision = match self.of_status_alone(snapshot, context)? {
            Some(decision) => decision,
            None => self.in_general(snapshot, context)?,
        };
        Ok((decision, ()))
    }
}

impl ReportState {
    fn in_general(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        let mut machine = Machine::new(snapshot, context);
        self.apply(&mut machine, Origin::Report)?;
        Ok(machine.finish())
    }

    /// Takes in what the agent answered to a delivery.
    pub(super) fn apply_answer(&self, machine: &mut Machine<'_, '_>) -> Result<(), Halt> {
        self.apply(machine, Origin::Answer)
    }

    /// Takes the report in, and lets happen what follows from it.
    fn apply(&self, machine: &mut Machine<'_, '_>, origin: Origin) -> Result<(), Halt> {
        let work = &mut machine.work;
        let (now, snapshot) = (work.context.now, work.snapshot);
        let current = work.known_agent(&self.agent)?;
        // Whatever else it decides, it looks at the session: asked for before anything is done that would have to be
        // done again.
        if let Some(held) = current.status.task_named(self.task.as_deref(), self.session.as_deref()) {
            let session = snapshot.session(&held.session)?;
            if let Some(task) = session.as_ref().and_then(|session| session.value.task(&held.task))
                && matches!(Meaning::of(&self.state), Meaning::Done | Meaning::Failed)
            {
                foresee_freed(work, &self.agent, task)?;
            }
        }
        let current = work.known_agent(&self.agent)?;
        let (is_news, held) = self.apply_report(current.status_mut(), origin, now);
        self.end_stopping(work, is_news)?;
        let task = match &held {
            Some(held) => work.held_task(&held.attempt_of())?,
            None => None,
        };
        let details = match &task {
            Some(_) => self.externalize_details(work)?,
            None => None,
        };
        if let (Some(details), true) = (&details, is_news) {
            work.known_agent(&self.agent)?.status_mut().shorten(details);
        }
        work.log(self.logged(now, details.as_ref().or(self.details.as_ref())));
        if let Some(held) = held {
            self.settle(machine, &held, task, details.as_ref().or(self.details.as_ref()))?;
        }
        if is_news && self.state.eq_ignore_ascii_case(OFFLINE) {
            let held = std::mem::take(&mut machine.work.known_agent(&self.agent)?.status_mut().held);
            give_all_back(machine, &held, "its agent went offline")?;
        }
        Ok(())
    }

    /// The delivery of an attempt has been answered: the newest report of its agent settles it, where that could only
    /// wait for this.
    pub(super) fn settle_awaiting(
        machine: &mut Machine<'_, '_>,
        agent: &AgentId,
        attempt: &TaskAttempt,
        answered_at: Timestamp,
    ) -> Result<bool, Halt> {
        let work = &mut machine.work;
        let status = &work.known_agent(agent)?.status;
        let Some(held) = status.held.iter().find(|held| held.is(attempt)).cloned() else { return Ok(false) };
        let Some(report) = status.report_awaiting(attempt, answered_at) else { return Ok(false) };
        let report = Self {
            agent: agent.clone(),
            state: report.state.clone(),
            timestamp: report.timestamp,
            details: report.details.clone(),
            task: None,
            session: None,
        };
        let task = work.held_task(attempt)?;
        let details = match &task {
            Some(_) => report.externalize_details(work)?,
            None => None,
        };
        let status = work.known_agent(agent)?.status_mut();
        if let Some(details) = &details {
            status.shorten(details);
        }
        if let Some(newest) = &mut status.report {
            newest.awaits_delivery = None;
            newest.about_task = true;
        }
        report.settle(machine, &held, task, details.as_ref().or(report.details.as_ref()))?;
        Ok(true)
    }

    /// The decision where the report moves nothing but its agent's status, as nearly all do: no task is held that it
    /// could be about, and the agent is as available as before. The same as in general, for half the work.
    fn of_status_alone(
        &self,
        snapshot: &Snapshot,
        context: &DecisionContext<'_>,
    ) -> Result<Option<Decision>, Halt> {
        let Some(agent) = snapshot.agent(&self.agent)? else { return Ok(None) };
        let Some(read) = snapshot.status(&self.agent)? else { return Ok(None) };
        if !read.value.held.is_empty() || !read.value.stopping.is_empty() {
            return Ok(None);
        }
        let mut status = AgentStatus::clone(&read.value);
        let _nothing_is_held = self.apply_report(&mut status, Origin::Report, context.now);
        if status.is_available(&agent.value) != read.value.is_available(&agent.value) {
            return Ok(None);
        }
        let mut decision = Decision::default();
        decision.events.push(self.logged(context.now, self.details.as_ref()));
        decision.expects.push((Key::Agent(self.agent.clone()), Some(agent.version)));
        let version = context.version_after(Some(read.version));
        decision.put(Row::Status(Arc::new(status)), Some(read.version), version);
        Ok(Some(decision))
    }

    /// Applies the report to its agent's status: whether it is news, and the held task that it is about.
    fn apply_report(&self, status: &mut AgentStatus, origin: Origin, now: Timestamp) -> (bool, Option<Held>) {
        let report = self.report();
        let is_news = match origin {
            // An answer about what is no longer in its hands comes late: what it has said since stands.
            Origin::Answer => self.held(status, &report, true).is_some() || self.is_stopping(status),
            Origin::Report => status.is_news(&report, now),
        };
        let meant = self.held(status, &report, is_news).cloned();
        let effect = meant.as_ref().map_or(Effect::Nothing, |held| self.effect(&report, held));
        if effect != Effect::Nothing {
            status.names_tasks = self.task.is_some();
        }
        let awaits_delivery = meant
            .as_ref()
            .filter(|_| effect == Effect::AwaitsDelivery)
            .map(|held| Box::new(AwaitedDelivery { attempt: held.attempt_of(), received_at: now }));
        let held = meant.filter(|_| effect == Effect::Counts);
        if let Some(held) = &held {
            status.reached_with(held);
        }
        status.last_seen = status.latest(now);
        let about_task = held.is_some() || self.task.is_some();
        match origin {
            Origin::Answer if is_news => status.apply_answer(Report { about_task, ..report }, now),
            Origin::Report if is_news => {
                status.apply_report(Report { about_task, awaits_delivery, ..report }, now);
            }
            // It does not come again.
            Origin::Answer => {}
            Origin::Report => status.set_aside(&report, now),
        }
        if let Some(held) = held.as_ref().filter(|_| Meaning::of(&self.state) == Meaning::Working)
            && let Some(held) = status.held.iter_mut().find(|other| *other == held)
        {
            held.is_active = true;
            held.take(self.timestamp.min(now));
        }
        (is_news, held)
    }

    /// A report that names a task means it, whenever it comes.
    fn effect(&self, report: &Report, held: &Held) -> Effect {
        if self.task.is_some() { Effect::Counts } else { report.effect_unnamed(held) }
    }

    /// Whether the agent was told to stop the attempt that this names.
    fn is_stopping(&self, status: &AgentStatus) -> bool {
        let name = self.task.as_deref().unwrap_or_default();
        let is_named = |stopping: &TaskAttempt| stopping.task.matches(name) == Some(Some(stopping.attempt));
        status.stopping.iter().any(is_named)
    }

    /// An agent says that it is done with what it was told to stop: it names the attempt, or it is done with all.
    fn end_stopping(&self, work: &mut UnitOfWork<'_, '_>, is_news: bool) -> Result<(), Halt> {
        let is_gone = self.state.eq_ignore_ascii_case(OFFLINE);
        if !is_gone && !matches!(Meaning::of(&self.state), Meaning::Done | Meaning::Failed) {
            return Ok(());
        }
        work.stopped(&self.agent, |stopping| match self.task.as_deref().filter(|_| !is_gone) {
            None => is_news,
            Some(name) => match stopping.task.matches(name) {
                Some(Some(attempt)) => attempt == stopping.attempt,
                Some(None) => is_news,
                None => false,
            },
        })
    }

    fn logged(&self, now: Timestamp, details: Option<&RawObject>) -> NewEvent {
        NewEvent::written("agent.reported", self.level(), now, self.entry(details)).about(&self.agent)
    }

    /// The details of a report that a task is done, where they are long: what becomes its result is kept apart.
    fn externalize_details(&self, work: &mut UnitOfWork<'_, '_>) -> Result<Option<RawObject>, Halt> {
        let details = self.details.as_ref().filter(|_| Meaning::of(&self.state) == Meaning::Done);
        let inline_max = work.context.policy.payload_inline_max;
        let Some(details) = details.filter(|details| details.as_str().len() > inline_max) else {
            return Ok(None);
        };
        work.context.steps.take_bytes(details.as_str().len() as u64)?;
        let Value::Object(mut details) = details.to_value() else { return Ok(None) };
        match details.get_mut("result") {
            Some(result) => *result = work.externalize(result.take())?,
            None => details = work.externalize_fields(details)?,
        }
        Ok(RawObject::parse(Value::Object(details).to_string()).ok())
    }

    fn report(&self) -> Report {
        Report { details: self.details.clone(), ..Report::plain(self.state.clone(), self.timestamp) }
    }

    /// What the log keeps of it: the state, the timestamp, and the details where there are any.
    fn entry(&self, details: Option<&RawObject>) -> String {
        let details = details.map(RawObject::as_str);
        let mut text = String::with_capacity(80 + self.state.len() + details.map_or(0, str::len));
        text.push_str("{\"state\":");
        quote(&mut text, &self.state);
        text.push_str(",\"timestamp\":");
        self.timestamp.quote(&mut text);
        if let Some(details) = details {
            text.push_str(",\"details\":");
            text.push_str(details);
        }
        text.push('}');
        text
    }

    /// The task that this settles. Only a name with its attempt says for certain which one is meant, however late
    /// it comes; anything else means what the agent holds now, and must be news.
    fn held<'s>(&self, status: &'s AgentStatus, report: &Report, is_news: bool) -> Option<&'s Held> {
        let held = status.task_named(self.task.as_deref(), self.session.as_deref())?;
        let is_exact = self.task.as_ref().is_some_and(|name| held.is_named_exactly(name));
        (is_news || (is_exact && !status.has_heard(report))).then_some(held)
    }

    fn settle(
        &self,
        machine: &mut Machine<'_, '_>,
        held: &Held,
        task: Option<Arc<Task>>,
        details: Option<&RawObject>,
    ) -> Result<(), Halt> {
        let work = &mut machine.work;
        let Some(task) = task else {
            // The session let go of this attempt: the agent no longer holds it either.
            let attempt = held.attempt_of();
            work.known_agent(&self.agent)?.status_mut().held.retain(|other| !other.is(&attempt));
            return Ok(());
        };
        let is_item = task.instance.is_some();
        match Meaning::of(&self.state) {
            Meaning::Working if task.status == TaskStatus::Running => {
                if held.comes_again {
                    // Whoever is there now has it already.
                    work.await_end(&held.session, &task);
                }
                return self.progress(work, held, &task, task.rules.heartbeat_timeout.is_some());
            }
            Meaning::Working => {
                let event = SessionEvent::TaskRunning {
                    task: task.id.clone(),
                    step: task.step.clone(),
                    attempt: task.attempt,
                    agent: self.agent.clone(),
                };
                work.emit(&held.session, &event)?;
                // It has the task: what is left of the attempt is its timeout.
                work.await_end(&held.session, &task);
                return self.progress(work, held, &task, false);
            }
            Meaning::Done => {
                work.just_done = Some(self.agent.clone());
                let (session, result) = (held.session.clone(), details.and_then(result));
                machine.run(Command::CompleteTask { session, task, result })?;
            }
            Meaning::Failed => {
                let details = self.details().unwrap_or_default();
                let code = ["error_code", "code"].iter().find_map(|field| details.get(field)?.as_str());
                machine.run(Command::attempt_failed(&held.session, task, self.error(), Fault::Said(code)))?;
            }
            Meaning::Away => return Ok(()),
        }
        if is_item { serve_freed(machine, &self.agent, &held.session) } else { Ok(()) }
    }

    /// That the agent is still at work is kept where somebody waits to hear it, or where it says how far it is.
    fn progress(
        &self,
        work: &mut UnitOfWork<'_, '_>,
        held: &Held,
        task: &Task,
        is_awaited: bool,
    ) -> Result<(), Halt> {
        let progress = self.details().and_then(|mut details| details.get_mut("progress").map(Value::take));
        let progress = progress.map(|progress| work.externalize(progress)).transpose()?;
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
        Some(self.details.as_ref()?.to_value())
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

/// `details.result` where there is one, else the details.
fn result(details: &RawObject) -> Option<Value> {
    let mut details = details.to_value();
    match details.get_mut("result") {
        Some(result) => Some(result.take()),
        None => Some(details),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::Versioned;
    use crate::agent::Agent;
    use crate::limits::Policy;
    use crate::snapshot::Loaded;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn agent(endpoint: Option<String>) -> Agent {
        Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "a".into(),
            version: "1".into(),
            endpoint,
            capabilities: vec!["read".into()],
            metadata: Map::new(),
            registered_at: NOW,
            generation: 1,
            concurrency: 1,
        }
    }

    fn report(state: &str, seconds: i64, task: Option<String>) -> ReportState {
        ReportState {
            agent: AgentId::parse("a").expect("valid"),
            state: state.to_owned(),
            timestamp: Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000),
            details: RawObject::parse(r#"{"x": 1.0}"#.to_owned()).ok(),
            task,
            session: None,
        }
    }

    proptest! {
        #[test]
        fn a_report_of_the_status_alone_decides_as_in_general(
            states in prop::collection::vec(prop_oneof![Just("idle"), Just("busy"), Just("error"), Just("offline")], 2),
            seconds in prop::collection::vec(-100_i64..200, 2),
            task in prop::option::of(Just("t".to_owned())),
            endpoint in prop::option::of(Just("http://127.0.0.1:1".to_owned())),
            draining in any::<bool>(),
        ) {
            let (policy, agent) = (Policy::default(), agent(endpoint));
            let mut status = AgentStatus { draining, ..AgentStatus::fresh(agent.id.clone(), 1, NOW) };
            report(states[0], seconds[0], None).apply_report(&mut status, Origin::Report, NOW);
            let mut snapshot = Snapshot::new();
            let status = Versioned { version: 7, value: Arc::new(status) };
            snapshot.show(Key::Status(agent.id.clone()), Some(Loaded::Status(status)));
            let agent = Versioned { version: 3, value: Arc::new(agent) };
            snapshot.show(Key::Agent(agent.value.id.clone()), Some(Loaded::Agent(agent)));
            let (report, mut context) = (report(states[1], seconds[1], task), DecisionContext::new(NOW, 1, &policy));
            let general = report.in_general(&snapshot, &mut context).expect("decided");
            match report.of_status_alone(&snapshot, &context).expect("decided") {
                Some(alone) => prop_assert_eq!(format!("{alone:?}"), format!("{general:?}")),
                // Then the agent is listed anew, or no more.
                None => prop_assert!(general.writes.len() > 1),
            }
        }
    }
}
