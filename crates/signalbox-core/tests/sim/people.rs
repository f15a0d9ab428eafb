//! Clients that want something done, and operators who interfere with it.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use signalbox_core::definition::{Definition, Kind};
use signalbox_core::delivery::MessageStatus;
use signalbox_core::engine::{
    Accept, AppendLogs, ApplyDefinition, Approve, Cancel, DeleteDefinition, Deregister, Discard, Drain,
    LogEntry, PatchAgent, Pause, Redrive, Resume, RetrySession, Signal, Trigger, WorkflowSource,
};
use signalbox_core::event::Level;
use signalbox_core::session::{SessionState, SessionStatus};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_wire::id::{AgentId, MessageId, SessionId};

use crate::agents::CAPABILITIES;
use crate::calls::{Call, ToolReply};
use crate::driver::Caller;
use crate::world::{Event, World};

/// Workflows that clients know.
const DEFINITIONS: usize = 3;

impl World {
    /// A client wants something.
    pub(crate) fn client(&mut self) {
        let agent = self.some_agent();
        let call: Option<Call> = match self.dice.below(12) {
            0 => agent.map(|agent| self.message(agent).into()),
            1 => agent.map(|agent| logs(agent).into()),
            2 => self
                .some_definition()
                .map(|definition| ApplyDefinition { definition: Box::new(definition) }.into()),
            3 if self.weather.operators => self.some_session().map(|session| self.answer_for(session)),
            4 | 5 if !self.is_calm => self.some_definition().map(|definition| self.schedule(definition.id)),
            _ => self.trigger(agent).map(Into::into),
        };
        let Some(call) = call else { return };
        // The same call twice at once: a client that lost its patience.
        if self.dice.chance(self.weather.network / 3) {
            self.soon(Event::Call(call.clone(), Caller::Client { tries: 0 }));
        }
        self.soon(Event::Call(call, Caller::Client { tries: 0 }));
    }

    /// An operator interferes.
    pub(crate) fn operator(&mut self) {
        if !self.weather.operators {
            return;
        }
        let call: Option<Call> = match self.dice.below(14) {
            0..=4 => self.some_session().map(|session| self.interfere(session)),
            5 | 6 => self.some_session().map(|session| self.hold_up(session)),
            7 => self.some_agent().map(|agent| Drain { agent, draining: self.dice.chance(70) }.into()),
            8 | 9 => self.some_agent().map(|agent| self.patch(agent).into()),
            10 => self.some_agent().map(|agent| Deregister { agent, trace: None }.into()),
            11 => {
                self.some_definition().map(|definition| DeleteDefinition { workflow: definition.id }.into())
            }
            _ => self.some_dead_letter().map(|message| {
                if self.dice.chance(70) { Redrive { message }.into() } else { Discard { message }.into() }
            }),
        };
        if let Some(call) = call {
            self.soon(Event::Call(call, Caller::Operator));
        }
    }

    /// A client or operator is told what came of a call.
    pub(crate) fn person_hears(&mut self, answer: &ToolReply) {
        match answer {
            ToolReply::Triggered(triggered) => drop(self.promises.sessions.insert(triggered.session.clone())),
            ToolReply::Message(message) => drop(self.promises.messages.insert(message.clone())),
            _ => {}
        }
    }

    fn trigger(&mut self, agent: Option<AgentId>) -> Option<Trigger> {
        let definition = self.some_definition()?;
        let source = if self.dice.chance(70) {
            WorkflowSource::Inline(Box::new(definition))
        } else {
            WorkflowSource::Kept(definition.id)
        };
        let agent = agent.filter(|_| self.dice.chance(60));
        let input = if self.dice.chance(90) { self.input() } else { Map::new() };
        Some(Trigger { source, agent, input, trace: None })
    }

    fn message(&mut self, agent: AgentId) -> Accept {
        let own = self.dice.below(6);
        let id = self.dice.chance(50).then(|| MessageId::parse(&format!("own-{own}")).expect("valid"));
        Accept { agent, id, body: "{}".to_owned(), trace: None }
    }

    fn interfere(&mut self, session: SessionId) -> Call {
        match self.dice.below(9) {
            0..=1 => {
                Pause { session: self.one_that(|state| !state.session.status.is_over()).unwrap_or(session) }
                    .into()
            }
            2..=3 => Resume {
                session: self
                    .one_that(|state| state.session.status == SessionStatus::Paused)
                    .unwrap_or(session),
            }
            .into(),
            4 => {
                let reason = self.dice.chance(50).then(|| "no need".to_owned());
                Cancel {
                    session: self.one_that(|state| !state.session.status.is_over()).unwrap_or(session),
                    reason,
                }
                .into()
            }
            5..=7 => RetrySession {
                session: self
                    .one_that(|state| state.session.status == SessionStatus::Failed)
                    .unwrap_or(session),
            }
            .into(),
            _ => self.answer_for(session),
        }
    }

    /// Somebody sends what a task of a session waits for, or what none does.
    fn answer_for(&mut self, session: SessionId) -> Call {
        let waits = |state: &SessionState| state.tasks.iter().any(|task| task.status == TaskStatus::Waiting);
        let session = match self.one_that(waits) {
            Some(waiting) if self.dice.chance(60) => waiting,
            _ => session,
        };
        if self.dice.chance(50) {
            let payload = self.dice.chance(70).then(|| json!({"v": 7}));
            return Signal { session, name: "go".to_owned(), payload }.into();
        }
        let asking = self.store.session(&session).and_then(|state| {
            let asks = |task: &&Arc<Task>| task.subject.is_some() && task.status == TaskStatus::Waiting;
            state.value.tasks.iter().find(asks).cloned()
        });
        let digest =
            asking.as_ref().and_then(|task| task.subject.as_ref().map(|subject| subject.digest.clone()));
        let digest = match self.dice.below(4) {
            0 => None,
            1 => Some("another".to_owned()),
            _ => digest,
        };
        let is_approved = self.is_calm || self.dice.chance(75);
        let task = asking.map_or_else(|| "no such task".to_owned(), |task| task.step.clone());
        Approve { session, task, is_approved, by: "Ada".to_owned(), comment: None, digest }.into()
    }

    /// Whatever waits for somebody gets what it waits for.
    pub(crate) fn answer_all(&mut self) {
        let mut calls: Vec<Call> = Vec::new();
        for (id, read) in &self.store.sessions {
            for task in read.value.tasks.iter().filter(|task| task.status == TaskStatus::Waiting) {
                let session = id.clone();
                match &task.kind {
                    Kind::Wait { signal } => {
                        calls.push(Signal { session, name: signal.clone(), payload: None }.into());
                    }
                    Kind::Approve { .. } => calls.push(
                        Approve {
                            session,
                            task: task.id.to_string(),
                            is_approved: true,
                            by: "Bo".to_owned(),
                            comment: None,
                            digest: task.subject.as_ref().map(|subject| subject.digest.clone()),
                        }
                        .into(),
                    ),
                    _ => {}
                }
            }
        }
        for call in calls {
            self.soon(Event::Call(call, Caller::Operator));
        }
    }

    fn input(&mut self) -> Map<String, Value> {
        let items = self.dice.below(5);
        let list: Vec<Value> = (0..items).map(|item| json!({"name": format!("item {item}")})).collect();
        let input = json!({"n": 3, "list": list, "yes": self.dice.chance(60), "key": self.dice.below(2)});
        input.as_object().cloned().unwrap_or_default()
    }

    /// A short pause, most of the time while a task waits for its next attempt.
    fn hold_up(&mut self, session: SessionId) -> Call {
        let session =
            self.one_that(|state| state.tasks.iter().any(|task| task.retry_at.is_some())).unwrap_or(session);
        let wait = self.dice.millis(0, 3_000);
        self.after(
            wait,
            Event::Call(Resume { session: session.clone() }.into(), Caller::Client { tries: 0 }),
        );
        Pause { session }.into()
    }

    fn patch(&mut self, agent: AgentId) -> PatchAgent {
        let endpoint = self.store.agents.get(&agent).and_then(|agent| agent.endpoint.clone());
        let home = self
            .programs
            .iter()
            .find(|program| program.id.as_ref() == Some(&agent))
            .map(|program| program.endpoint());
        let concurrency = self.dice.below(4);
        PatchAgent {
            agent,
            version: self.dice.chance(30).then(|| "patched".to_owned()),
            endpoint: self.dice.chance(50).then(|| if endpoint.is_some() { None } else { home }),
            capabilities: self.dice.chance(50).then(|| {
                CAPABILITIES.into_iter().take(self.dice.below(4)).map(|name| json!({"name": name})).collect()
            }),
            metadata: self
                .dice
                .chance(50)
                .then(|| Map::from_iter([("concurrency".to_owned(), json!(concurrency))])),
        }
    }

    pub(crate) fn some_agent(&mut self) -> Option<AgentId> {
        if self.dice.chance(5) {
            return AgentId::parse("nobody").ok();
        }
        let ids: Vec<AgentId> = self.programs.iter().filter_map(|program| program.id.clone()).collect();
        self.dice.pick(&ids).cloned()
    }

    fn some_session(&mut self) -> Option<SessionId> {
        self.one_that(|_| true)
    }

    fn one_that(&mut self, fits: impl Fn(&SessionState) -> bool) -> Option<SessionId> {
        let states = self.store.sessions.values().map(|read| &read.value).filter(|state| fits(state));
        let ids: Vec<SessionId> = states.map(|state| state.session.id.clone()).collect();
        self.dice.pick(&ids).cloned()
    }

    fn some_definition(&mut self) -> Option<Definition> {
        let index = self.dice.below(DEFINITIONS);
        if !self.definitions.contains_key(&index) || self.dice.chance(10) {
            let definition = self.invent(index);
            self.definitions.insert(index, definition);
        }
        self.definitions.get(&index).cloned()
    }

    fn some_dead_letter(&mut self) -> Option<MessageId> {
        let dead = self.store.messages.values().filter(|message| message.status == MessageStatus::Dead);
        let ids: Vec<MessageId> = dead.map(|message| message.id.clone()).collect();
        self.dice.pick(&ids).cloned()
    }
}

fn logs(agent: AgentId) -> AppendLogs {
    let entry = LogEntry {
        level: Level::Info,
        message: "here".to_owned(),
        timestamp: None,
        fields: None,
        session: None,
        task: None,
    };
    AppendLogs { agent, entries: vec![entry] }
}
