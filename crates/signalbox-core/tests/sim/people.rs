//! Clients that want something done, and operators who interfere with it.

use serde_json::{Map, json};
use signalbox_core::definition::{Definition, Step};
use signalbox_core::delivery::MessageStatus;
use signalbox_core::engine::{
    Accept, AppendLogs, ApplyDefinition, Cancel, DeleteDefinition, Deregister, Discard, Drain, LogEntry,
    PatchAgent, Pause, Redrive, Resume, RetrySession, Signal, Trigger, WorkflowSource,
};
use signalbox_core::event::Level;
use signalbox_core::session::{SessionState, SessionStatus};
use signalbox_wire::id::{AgentId, MessageId, SessionId, WorkflowId};

use crate::agents::CAPABILITIES;
use crate::calls::{Answer, Call};
use crate::driver::Caller;
use crate::world::{Event, World};

/// Tasks of a session, at most.
const TASKS_MAX: usize = 6;
/// Workflows that clients know.
const DEFINITIONS: usize = 3;

impl World {
    /// A client wants something.
    pub(crate) fn client(&mut self) {
        let agent = self.some_agent();
        let call: Option<Call> = match self.dice.below(10) {
            0 => agent.map(|agent| self.message(agent).into()),
            1 => agent.map(|agent| logs(agent).into()),
            2 => self
                .some_definition()
                .map(|definition| ApplyDefinition { definition: Box::new(definition) }.into()),
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
    pub(crate) fn person_hears(&mut self, answer: &Answer) {
        match answer {
            Answer::Triggered(triggered) => drop(self.promises.sessions.insert(triggered.session.clone())),
            Answer::Message(message) => drop(self.promises.messages.insert(message.clone())),
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
        let input =
            if self.dice.chance(90) { Map::from_iter([("n".to_owned(), json!(3))]) } else { Map::new() };
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
            _ => Signal { session, name: "go".to_owned(), payload: None }.into(),
        }
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

    fn some_agent(&mut self) -> Option<AgentId> {
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
            let definition = self.definition(index);
            self.definitions.insert(index, definition);
        }
        self.definitions.get(&index).cloned()
    }

    fn some_dead_letter(&mut self) -> Option<MessageId> {
        let dead = self.store.messages.values().filter(|message| message.status == MessageStatus::Dead);
        let ids: Vec<MessageId> = dead.map(|message| message.id.clone()).collect();
        self.dice.pick(&ids).cloned()
    }

    fn definition(&mut self, index: usize) -> Definition {
        let count = self.dice.weighted(&[(1, 0), (6, 1), (5, 2), (4, 3), (1, TASKS_MAX)]);
        // The order in which the tasks run, as positions in the list.
        let mut order: Vec<usize> = (0..count).collect();
        let is_explicit = count > 1 && self.dice.chance(40);
        if is_explicit {
            for at in (1..count).rev() {
                order.swap(at, self.dice.below(at + 1));
            }
        }
        let mut tasks: Vec<Step> = (0..count).map(|position| self.task(position)).collect();
        for pair in order.windows(2) {
            if is_explicit {
                tasks[pair[0]].next = Some(format!("step {}", pair[1]));
            }
            if self.dice.chance(50) {
                let path = if self.dice.chance(95) { "v" } else { "missing" };
                let expression = format!("${{tasks.step {}.result.{path}}}", pair[0]);
                tasks[pair[1]].parameters.insert("before".to_owned(), json!(expression));
            }
        }
        Definition::of(WorkflowId::parse(&format!("workflow {index}")).expect("valid"), tasks)
    }

    fn task(&mut self, position: usize) -> Step {
        let agent = if self.dice.chance(20) { self.some_agent() } else { None };
        let capability = self.dice.chance(50).then(|| {
            if self.dice.chance(3) { "fly" } else { self.dice.pick(&CAPABILITIES).copied().unwrap_or("read") }
        });
        let mut parameters = Map::from_iter([("k".to_owned(), json!("plain"))]);
        if self.dice.chance(20) {
            parameters.insert("n".to_owned(), json!("${input.n}"));
        }
        Step {
            id: format!("step {position}"),
            agent,
            capability: capability.map(str::to_owned),
            parameters,
            retries: self.dice.weighted(&[(2, None), (1, Some(0)), (1, Some(1)), (1, Some(4))]),
            ..Step::default()
        }
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
