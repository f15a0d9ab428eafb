//! Words in which the tests of workflows are written: steps, and what whoever does them says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_core::Rejected;
use signalbox_core::definition::{Definition, Kind, OnFailure, Step};
use signalbox_core::delivery::{Message, MessageKind, Outcome};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    ApplyDefinition, Cancel, MatchTask, Pause, Resume, RetrySession, Signal, Trigger, WorkflowSource,
};
use signalbox_core::session::SessionStatus;
use signalbox_core::task::Task;
use signalbox_wire::id::{SessionId, ToolName, WorkflowId};

use crate::stage::Stage;

const DELIVERED: Outcome = Outcome::Delivered { status: 202 };

/// A task for any agent that can read, with one attempt.
pub(crate) fn task(id: &str) -> Step {
    crate::stage::step(id, Some(0))
}

/// A task of this kind.
pub(crate) fn of(id: &str, kind: Kind) -> Step {
    Step { id: id.to_owned(), kind, retries: Some(0), ..Step::default() }
}

/// A task that a tool does.
pub(crate) fn tool(id: &str) -> Step {
    of(id, Kind::Tool(ToolName::parse("tool").expect("valid")))
}

/// A task that waits for the signal `go`.
pub(crate) fn wait(id: &str) -> Step {
    of(id, Kind::Wait { signal: "go".to_owned() })
}

/// A task that asks for an approval.
pub(crate) fn approve(id: &str) -> Step {
    of(id, Kind::Approve { who: Some("Ada".to_owned()), what: None })
}

/// A task that a session of this workflow does.
pub(crate) fn child(id: &str, workflow: &str) -> Step {
    of(id, Kind::Workflow(WorkflowId::parse(workflow).expect("valid")))
}

/// How a step is made from another.
pub(crate) trait Making: Sized {
    fn with(self, change: impl FnOnce(&mut Step)) -> Self;

    /// It needs these to go well.
    fn needs(self, steps: &[&str]) -> Self {
        self.with(|step| step.depends_on = steps.iter().map(|id| (*id).to_owned()).collect())
    }

    /// These are its parameters.
    fn given(self, parameters: &Value) -> Self {
        self.with(|step| step.parameters = parameters.as_object().cloned().unwrap_or_default())
    }

    /// It goes on there when it fails.
    fn goto(self, id: &str) -> Self {
        self.with(|step| step.rules.on_failure = OnFailure::Goto(id.to_owned()))
    }

    /// Its failure does not matter.
    fn tolerated(self) -> Self {
        self.with(|step| step.rules.on_failure = OnFailure::Continue)
    }

    /// It is done for each item of `input.list`.
    fn for_each(self) -> Self {
        self.with(|step| step.rules.for_each = Some("input.list".to_owned()))
    }
}

impl Making for Step {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A workflow of these steps.
pub(crate) fn workflow(id: &str, steps: Vec<Step>) -> Definition {
    Definition::of(WorkflowId::parse(id).expect("valid"), steps)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Stage {
    /// A stage with an agent that takes a hundred tasks at once.
    pub(crate) fn with_agent() -> Self {
        let mut stage = Self::new();
        stage.agent("reader", 100);
        stage
    }

    /// Keeps a workflow.
    pub(crate) fn keep(&mut self, definition: Definition) {
        self.run(&ApplyDefinition { definition: Box::new(definition) }).expect("kept");
    }

    /// Starts a session of a workflow.
    pub(crate) fn start(&mut self, definition: Definition, input: &Value) -> SessionId {
        self.try_start(definition, input).expect("started")
    }

    /// Starts a session of a workflow, or hears why not.
    pub(crate) fn try_start(&mut self, definition: Definition, input: &Value) -> Result<SessionId, Rejected> {
        let source = WorkflowSource::Inline(Box::new(definition));
        let input: Map<String, Value> = input.as_object().cloned().unwrap_or_default();
        self.run(&Trigger { source, agent: None, input, trace: None }).map(|triggered| triggered.session)
    }

    /// Starts a session of these steps, with nothing.
    pub(crate) fn play(&mut self, steps: Vec<Step>) -> SessionId {
        self.start(workflow("workflow", steps), &json!({}))
    }

    /// The task with this id in the definition.
    pub(crate) fn task(&self, session: &SessionId, step: &str) -> Arc<Task> {
        let state = self.state(session);
        state.tasks.iter().find(|task| task.step == step).unwrap_or_else(|| panic!("no {step}")).clone()
    }

    /// Where the session stands, and each of its tasks: `running a=completed b=pending`.
    pub(crate) fn look(&self, session: &SessionId) -> String {
        let state = self.state(session);
        let tasks = state.tasks.iter().map(|task| format!(" {}={}", task.step, task.status.name()));
        format!("{}{}", state.session.status.name(), tasks.collect::<String>())
    }

    pub(crate) fn status(&self, session: &SessionId) -> SessionStatus {
        self.state(session).session.status
    }

    /// Why the session ended as it did.
    pub(crate) fn why(&self, session: &SessionId) -> String {
        self.state(session).session.error.clone().unwrap_or_default()
    }

    /// Whoever holds this task says this of it.
    pub(crate) fn say(&mut self, session: &SessionId, step: &str, state: &str, details: &Value) {
        let task = self.task(session, step);
        let agent = task.agent.clone().unwrap_or_else(|| panic!("nobody holds {step}"));
        assert!(task.status.is_held(), "{step} is {}", task.status.name());
        self.report_details(&agent, state, Some(&task.id.attempt_name(task.attempt)), details);
    }

    /// Whoever holds this task is done with it.
    pub(crate) fn done(&mut self, session: &SessionId, step: &str, result: &Value) {
        self.say(session, step, "completed", &json!({ "result": result }));
    }

    /// Whoever holds this task has failed.
    pub(crate) fn fail(&mut self, session: &SessionId, step: &str) {
        self.say(session, step, "error", &json!({"error": "broken"}));
    }

    /// Lets time pass; deliveries arrive.
    pub(crate) fn after(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds), &DELIVERED);
    }

    /// All waiting tasks are tried again, those that have waited longest first.
    pub(crate) fn place_all(&mut self) {
        let mut waiting: Vec<_> = self
            .store
            .waiting
            .iter()
            .map(|(task, row)| (row.since, row.session.clone(), task.clone()))
            .collect();
        waiting.sort();
        for (_, session, task) in waiting {
            self.run(&MatchTask { session, task }).expect("tried");
        }
    }

    pub(crate) fn cancel(&mut self, session: &SessionId) {
        let reason = Some("no need".to_owned());
        self.run(&Cancel { session: session.clone(), reason }).expect("cancelled");
    }

    pub(crate) fn pause(&mut self, session: &SessionId) {
        self.run(&Pause { session: session.clone() }).expect("paused");
    }

    pub(crate) fn resume(&mut self, session: &SessionId) {
        self.run(&Resume { session: session.clone() }).expect("resumed");
    }

    pub(crate) fn retry(&mut self, session: &SessionId) {
        self.run(&RetrySession { session: session.clone() }).expect("retried");
    }

    /// The signal `go` comes.
    pub(crate) fn signal(&mut self, session: &SessionId, payload: Value) -> Result<(), Rejected> {
        let signal = Signal { session: session.clone(), name: "go".to_owned(), payload: Some(payload) };
        self.run(&signal).map(drop)
    }

    /// What is due and is no delivery, by kind.
    pub(crate) fn timers(&self) -> Vec<&'static str> {
        let works = self.store.due.values().map(|row| &row.work);
        let is_timer = |work: &&DueJob| {
            !matches!(work, DueJob::Deliver { .. } | DueJob::Dispatch { .. } | DueJob::Stop { .. })
        };
        works.filter(is_timer).map(DueJob::kind).collect()
    }

    /// The bodies of all messages of this kind.
    pub(crate) fn bodies(&self, kind: MessageKind) -> Vec<Value> {
        let mut messages: Vec<&Arc<Message>> =
            self.store.messages.values().filter(|message| message.kind == kind).collect();
        messages.sort_by_key(|message| message.created_at);
        messages.iter().map(|message| serde_json::from_str(&message.body).expect("JSON")).collect()
    }
}
