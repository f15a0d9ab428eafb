//! A stage for single operations: a store in memory, one caller at a time, and a clock that is set by hand.

use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_core::context::Inputs;
use signalbox_core::decision::IdempotencyRecord;
use signalbox_core::definition::{Definition, Step};
use signalbox_core::delivery::{Outcome, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::attempt::{Asked, Attempt, Claim, Next, Resolution, Terms};
use signalbox_core::engine::{
    Operation, Register, ReportState, SettleCall, SettleDelivery, SettleDispatch, TimerFired, Trigger,
    WorkflowSource,
};
use signalbox_core::limits::Policy;
use signalbox_core::retry::Backoff;
use signalbox_core::session::SessionState;
use signalbox_core::steps::{QUICK_STEPS_MAX, Steps, TooLong};
use signalbox_core::task::TaskStatus;
use signalbox_core::{Decision, Rejected};
use signalbox_wire::id::{AgentId, SessionId, WorkflowId};
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use crate::store::Store;

/// Holds inputs against a schema that is a list of the fields that must be there.
#[derive(Debug)]
struct Wants;

impl Inputs for Wants {
    fn faults(&self, schema: &Value, input: &Value, steps: &Steps) -> Result<Vec<(String, String)>, TooLong> {
        // One that says so takes long.
        steps.take(if input.get("isLong").is_some() { QUICK_STEPS_MAX + 1 } else { 1 })?;
        let wanted = schema.as_array().into_iter().flatten();
        let missing =
            wanted.filter_map(Value::as_str).filter(|name| input.get(name).is_none_or(Value::is_object));
        Ok(missing.map(|name| (format!("/{name}"), "is required".to_owned())).collect())
    }
}

/// A stage.
pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
    turns: u64,
    /// How often the last operation was run until it had all that it needed.
    pub(crate) runs: u32,
    /// How often a decision took longer than a thread can spare that others wait for.
    pub(crate) longs: u32,
    /// What tools answer when they are called; nothing yet where it is absent.
    pub(crate) tool: Option<Result<Value, (String, String)>>,
}

impl Stage {
    /// An empty stage at a fixed moment.
    pub(crate) fn new() -> Self {
        let wait = Duration::from_secs(4);
        let backoff = Backoff { initial: wait, factor: 1.0, max: wait };
        Self {
            store: Store::new((8, 8)),
            now: Timestamp::from_seconds(1_800_000_000),
            policy: Policy { task_backoff: backoff, delivery_backoff: backoff, ..Policy::default() },
            turns: 0,
            runs: 0,
            longs: 0,
            tool: None,
        }
    }

    /// Runs an operation to its answer.
    pub(crate) fn run<O: Operation>(&mut self, operation: &O) -> Result<O::Output, Rejected> {
        let (decision, answer) = self.decide(operation)?;
        self.store.commit(&decision, None).expect("nobody comes in between");
        Ok(answer)
    }

    /// Runs operations as one, until each has its answer.
    pub(crate) fn fold<O: Operation>(&mut self, operations: &[O]) -> Vec<Result<O::Output, Rejected>> {
        let mut asked: Vec<(usize, Asked<&O>)> = operations.iter().map(Asked::new).enumerate().collect();
        let mut answers: Vec<_> = operations.iter().map(|_| None).collect();
        while !asked.is_empty() {
            self.turns += 1000;
            self.now = self.now + Duration::from_millis(1);
            let terms = Terms { policy: &self.policy, inputs: Some(&Wants) };
            let (numbers, mut members): (Vec<usize>, Vec<Asked<&O>>) = asked.into_iter().unzip();
            let mut attempt = Attempt::new(self.now, self.turns);
            let decision = loop {
                match attempt.step(&mut members, terms) {
                    Next::Load(need) => self.store.load(&need, attempt.snapshot()),
                    Next::Long => {
                        self.longs += 1;
                        attempt.allow_long();
                    }
                    Next::Commit(decision) => break decision,
                    Next::Done => break Decision::default(),
                }
            };
            self.store.commit(&decision, None).expect("nobody comes in between");
            asked = Vec::new();
            for (number, mut member) in numbers.into_iter().zip(members) {
                match member.take_resolution() {
                    Some(Resolution::Made(output)) => answers[number] = Some(Ok(output)),
                    Some(Resolution::Rejected(rejected)) => answers[number] = Some(Err(rejected)),
                    Some(Resolution::Repeated(_)) => panic!("without a claim nothing is repeated"),
                    None => asked.push((number, member)),
                }
            }
        }
        answers.into_iter().map(|answer| answer.expect("an answer")).collect()
    }

    /// Runs an operation whose answer is kept under a key.
    pub(crate) fn claim<O: Operation>(
        &mut self,
        operation: &O,
        claim: Claim<impl Fn(&O::Output, Timestamp) -> IdempotencyRecord>,
    ) -> Resolution<O::Output> {
        let (decision, resolution) = self.resolve(Asked::under(operation, Some(claim)));
        self.store.commit(&decision, None).expect("nobody comes in between");
        resolution
    }

    /// What an operation decides now, without making it true.
    pub(crate) fn decide<O: Operation>(&mut self, operation: &O) -> Result<(Decision, O::Output), Rejected> {
        match self.resolve(Asked::new(operation)) {
            (decision, Resolution::Made(output)) => Ok((decision, output)),
            (_, Resolution::Rejected(rejected)) => Err(rejected),
            (_, Resolution::Repeated(_)) => panic!("without a claim nothing is repeated"),
        }
    }

    fn resolve<O: Operation, F: Fn(&O::Output, Timestamp) -> IdempotencyRecord>(
        &mut self,
        asked: Asked<&O, F>,
    ) -> (Decision, Resolution<O::Output>) {
        self.turns += 1;
        self.now = self.now + Duration::from_millis(1);
        let terms = Terms { policy: &self.policy, inputs: Some(&Wants) };
        let mut asked = [asked];
        let mut attempt = Attempt::new(self.now, self.turns);
        self.runs = 0;
        let decision = loop {
            self.runs += 1;
            match attempt.step(&mut asked, terms) {
                Next::Load(need) => self.store.load(&need, attempt.snapshot()),
                Next::Long => {
                    self.longs += 1;
                    attempt.allow_long();
                }
                Next::Commit(decision) => break decision,
                Next::Done => break Decision::default(),
            }
        };
        (decision, asked[0].take_resolution().expect("an operation alone has an outcome"))
    }

    /// Registers an agent that does everything, and takes this many tasks at once.
    pub(crate) fn agent(&mut self, name: &str, concurrency: u32) -> AgentId {
        self.run(&registration(name, concurrency, true)).expect("registered").agent
    }

    /// Starts a workflow of these steps, one after the other.
    pub(crate) fn session(&mut self, steps: Vec<Step>) -> SessionId {
        self.run(&trigger(steps)).expect("triggered").session
    }

    /// An agent reports.
    pub(crate) fn report(&mut self, agent: &AgentId, state: &str, task: Option<&str>, result: Value) {
        self.report_details(agent, state, task, &json!({ "result": result }));
    }

    /// An agent reports with these details.
    pub(crate) fn report_details(
        &mut self,
        agent: &AgentId,
        state: &str,
        task: Option<&str>,
        details: &Value,
    ) {
        if task.is_none() {
            // It can be about a task only that the agent has taken.
            self.deliver();
        }
        let timestamp = self.now;
        let details = RawObject::parse(details.to_string()).ok();
        let report = ReportState {
            agent: agent.clone(),
            state: state.to_owned(),
            timestamp,
            details,
            task: task.map(str::to_owned),
            session: None,
        };
        self.run(&report).expect("reported");
    }

    /// Lets everything happen that is due within `wait`: timers fire, deliveries end in `outcome`.
    pub(crate) fn pass(&mut self, wait: Duration, outcome: &Outcome) {
        let end = self.now + wait;
        loop {
            let can_be_done = |work: &DueJob| self.tool.is_some() || !matches!(work, DueJob::Call { .. });
            let due = self.store.due.values().filter_map(|row| {
                let at = if can_be_done(&row.work) { row.next_at() } else { row.ends? };
                (at <= end).then_some((at, row))
            });
            let next = due.min_by_key(|(at, _)| *at);
            let Some((at, row)) = next.map(|(at, row)| (at, row.clone())) else { break };
            self.now = self.now.max(at);
            match row.work {
                work if row.ends.is_some_and(|ends| ends <= self.now) => {
                    self.run(&TimerFired { work }).expect("fired");
                }
                DueJob::Deliver { message } => {
                    let attempt = self.store.messages[&message].attempts + 1;
                    let settled = SettleDelivery { message, attempt, outcome: outcome.clone(), heals: true };
                    self.run(&settled).expect("settled");
                }
                DueJob::Dispatch { session, task, attempt } => {
                    let attempt = TaskAttempt { session, task, attempt };
                    self.settle_dispatch(&attempt, outcome.clone());
                }
                DueJob::Call { session, task, attempt } => {
                    let outcome = self.tool.clone().expect("an answer");
                    self.run(&SettleCall { session, task, attempt, outcome }).expect("settled");
                }
                work => self.run(&TimerFired { work }).expect("fired"),
            }
        }
        self.now = self.now.max(end);
    }

    /// The present attempt of the task at this position.
    pub(crate) fn attempt(&self, session: &SessionId, position: usize) -> TaskAttempt {
        let task = &self.state(session).tasks[position];
        TaskAttempt { session: session.clone(), task: task.id.clone(), attempt: task.attempt }
    }

    /// A try to send an attempt to its agent ends so.
    pub(crate) fn settle_dispatch(&mut self, attempt: &TaskAttempt, outcome: Outcome) {
        let settled = self.dispatched(attempt, outcome);
        self.run(&settled).expect("settled");
    }

    /// The next try to send an attempt, ended so.
    pub(crate) fn dispatched(&self, attempt: &TaskAttempt, outcome: Outcome) -> SettleDispatch {
        let state = self.state(&attempt.session);
        let task = state.task(&attempt.task).expect("its task");
        let is_wanted = task.status == TaskStatus::Dispatched && task.attempt == attempt.attempt;
        let outcome = if is_wanted { outcome } else { Outcome::unwanted("the task is over") };
        let agent = task.agent.clone().expect("its agent");
        SettleDispatch::at(self.now, agent, attempt.clone(), task.tries() + 1, outcome)
    }

    /// Delivers what is due now.
    pub(crate) fn deliver(&mut self) {
        self.pass(Duration::ZERO, &Outcome::Delivered { status: 202 });
    }

    /// A session as it is kept.
    pub(crate) fn state(&self, id: &SessionId) -> SessionState {
        self.store.session(id).expect("a session").value.as_ref().clone()
    }

    /// The types of the events in a session's history.
    pub(crate) fn kinds(&self, id: &SessionId) -> Vec<&'static str> {
        self.store.histories[id].iter().map(|(_, event)| event.kind()).collect()
    }
}

/// A registration of an agent that reads and writes.
pub(crate) fn registration(name: &str, concurrency: u32, replace: bool) -> Register {
    Register {
        id: None,
        name: name.to_owned(),
        version: "1".to_owned(),
        endpoint: Some(format!("http://{name}")),
        capabilities: vec![json!("read"), json!({"name": "write"})],
        metadata: Map::from_iter([("concurrency".to_owned(), json!(concurrency))]),
        replace,
        trace: None,
    }
}

/// The start of a workflow of these steps.
pub(crate) fn trigger(steps: Vec<Step>) -> Trigger {
    let input = Map::from_iter([("topic".to_owned(), json!("signals"))]);
    Trigger { source: WorkflowSource::Inline(Box::new(workflow(steps))), agent: None, input, trace: None }
}

fn workflow(steps: Vec<Step>) -> Definition {
    Definition::of(WorkflowId::parse("workflow").expect("valid"), steps)
}

/// A step for any agent that can read.
pub(crate) fn step(id: &str, retries: Option<u32>) -> Step {
    Step { id: id.to_owned(), capability: Some("read".to_owned()), retries, ..Step::default() }
}

/// An answer that no further attempt can better, or one that it might.
pub(crate) fn failed(may_retry: bool) -> Outcome {
    Outcome::Failed { status: None, error: "refused".to_owned(), retry_after: None, may_retry }
}
