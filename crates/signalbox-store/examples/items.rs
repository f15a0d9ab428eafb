//! What an item of a task with `forEach` costs, for lists of different lengths: sessions from their start to their end
//! over a store, with agents that answer each item at once.
//!
//! `cargo run --release -p signalbox-store --example items -- [items,…] [agents] [maxParallel]`

mod support;

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use serde_json::{Map, json};
use signalbox_core::Decision;
use signalbox_core::decision::{MatchHint, Row, Write};
use signalbox_core::definition::{Definition, Step};
use signalbox_core::delivery::{Outcome, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::attempt::{Asked, Attempt, Next, Resolution, Terms};
use signalbox_core::engine::{
    DeliveredReport, MatchAgent, MatchTask, Operation, Register, SettleDispatch, TimerFired, Trigger,
    WorkflowSource,
};
use signalbox_core::limits::Policy;
use signalbox_core::session::SessionStatus;
use signalbox_core::task::TaskStatus;
use signalbox_store::{Options, Store, StoreError};
use signalbox_wire::id::{AgentId, NodeId, SessionId, TenantId, WorkflowId};
use signalbox_wire::raw::RawObject;

use support::{cpu_micros, now, stopwatch};

/// Items that are done for each length of a list, at least: short sessions are over soon.
const ITEMS_DONE: usize = 3_000;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let lengths = given.next().unwrap_or_else(|| "100,1000,10000".to_owned());
    let agents = given.next().and_then(|text| text.parse().ok()).unwrap_or(64);
    let max_parallel = given.next().and_then(|text| text.parse().ok());
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10} {:>10} {:>6}",
        "items",
        "us/item",
        "writer",
        "deciding",
        "bytes",
        "decisions",
        "quick max",
        "long max",
        "commit max",
        "longs"
    );
    for length in lengths.split(',') {
        let items: usize = length.parse()?;
        let directory = tempfile::tempdir()?;
        let database = format!("sqlite://{}", directory.path().join("bench.db").display());
        let store = Store::open(Options::new(database, NodeId::new(now(), 1))).await?;
        let mut world = World { store, seed: 0, todo: VecDeque::new(), told: Told::default() };
        world.register(agents).await?;
        // The first session warms up what is never warm again in a server.
        world.session(items.min(300), max_parallel).await?;
        world.told = Told::default();
        let before = [cpu_micros("")?, cpu_micros("store-writer")?];
        let sessions = ITEMS_DONE.div_ceil(items);
        for _ in 0..sessions {
            world.session(items, max_parallel).await?;
        }
        let all = (items * sessions) as f64;
        let [total, writer] = [cpu_micros("")? - before[0], cpu_micros("store-writer")? - before[1]];
        let Told { deciding, decisions, bytes, quick_max, long_max, commit_max, longs } = world.told;
        println!(
            "{items:>6} {:>9.1} {:>9.1} {:>9.1} {:>9.0} {:>9.2} {:>10.1?} {:>10.1?} {:>10.1?} {longs:>6}",
            total / all,
            writer / all,
            deciding.as_secs_f64() * 1e6 / all,
            bytes as f64 / all,
            decisions as f64 / all,
            quick_max,
            long_max,
            commit_max,
        );
        world.store.close().await?;
    }
    Ok(())
}

/// A store, and what is to be done in it.
struct World {
    store: Store,
    seed: u64,
    todo: VecDeque<Todo>,
    told: Told,
}

enum Todo {
    Timer(DueJob),
    Hint(MatchHint),
    Given(AgentId, TaskAttempt),
}

/// What was measured.
#[derive(Default)]
struct Told {
    deciding: Duration,
    decisions: u64,
    bytes: usize,
    quick_max: Duration,
    long_max: Duration,
    commit_max: Duration,
    longs: u64,
}

impl World {
    async fn register(&mut self, count: usize) -> Result<(), StoreError> {
        for number in 0..count {
            let operation = Register {
                id: None,
                name: format!("agent-{number}"),
                version: "1".to_owned(),
                endpoint: Some(format!("http://127.0.0.1:9/{number}")),
                capabilities: vec!["read".into()],
                metadata: Map::new(),
                replace: false,
                trace: None,
            };
            self.drive(&operation).await?;
        }
        Ok(())
    }

    /// A session with so many items, from its start to its end.
    async fn session(&mut self, items: usize, max_parallel: Option<u32>) -> Result<(), StoreError> {
        let parameters = json!({"name": "${item}", "at": "${index}", "topic": "${input.topic}"});
        let mut step = Step {
            id: "read".to_owned(),
            capability: Some("read".to_owned()),
            parameters: parameters.as_object().cloned().unwrap_or_default(),
            ..Step::default()
        };
        step.rules.for_each = Some("input.list".to_owned());
        step.rules.max_parallel = max_parallel;
        let workflow = WorkflowId::parse("items").map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let input = json!({"topic": "signals", "list": (0..items).collect::<Vec<_>>()});
        let trigger = Trigger {
            source: WorkflowSource::Inline(Box::new(Definition::of(workflow, vec![step]))),
            agent: None,
            input: input.as_object().cloned().unwrap_or_default(),
            trace: None,
        };
        let session = self.drive(&trigger).await?.session;
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Timer(work) => self.drive(&TimerFired { work }).await?,
                Todo::Hint(MatchHint::Agent(agent)) => {
                    while self.drive(&MatchAgent { agent: agent.clone() }).await? {}
                }
                Todo::Hint(MatchHint::Task(session, task)) => {
                    while self.drive(&MatchTask { session: session.clone(), task: task.clone() }).await? {}
                }
                Todo::Hint(_) => {}
                Todo::Given(agent, attempt) => {
                    let details = RawObject::parse(json!({"result": {"score": 0.5}}).to_string()).ok();
                    let report = Some(DeliveredReport { state: "completed".to_owned(), details });
                    let outcome = Outcome::Delivered { status: 200 };
                    let settled = SettleDispatch::at(now(), agent, attempt, 1, outcome);
                    self.drive(&SettleDispatch { report, ..settled }).await?;
                }
            }
        }
        self.check(&session, items).await
    }

    async fn check(&self, session: &SessionId, items: usize) -> Result<(), StoreError> {
        let read = self.store.session(&TenantId::default_tenant(), session).await?;
        let done = |state: &signalbox_core::session::SessionState| {
            let done = state.tasks.iter().filter(|task| task.status == TaskStatus::Completed).count();
            state.session.status == SessionStatus::Completed && done == items + 1
        };
        match read.is_some_and(|read| done(&read.value)) {
            true => Ok(()),
            false => Err(StoreError::Corrupt("the session did not come to its end".to_owned())),
        }
    }

    async fn drive<O: Operation>(&mut self, operation: &O) -> Result<O::Output, StoreError> {
        let tenant = TenantId::default_tenant();
        let policy = Policy::default();
        let terms = Terms { policy: &policy, inputs: None };
        self.seed += 1_000;
        let mut asked = [Asked::new(operation)];
        let mut attempt = Attempt::new(now(), self.seed);
        let decision = loop {
            let began = stopwatch();
            let next = attempt.step(&mut asked, terms);
            let took = began.elapsed();
            self.told.deciding += took;
            let longest = match attempt.allows_long() {
                true => &mut self.told.long_max,
                false => &mut self.told.quick_max,
            };
            *longest = took.max(*longest);
            match next {
                Next::Load(need) => {
                    let fresh = attempt.is_fresh();
                    self.store.load(&tenant, &need, attempt.snapshot(), fresh).await?;
                }
                Next::Long => {
                    self.told.longs += 1;
                    attempt.allow_long();
                }
                Next::Commit(decision) => break Some(decision),
                Next::Done => break None,
            }
        };
        if let Some(decision) = decision {
            self.follow(&decision);
            let began = stopwatch();
            self.store.commit(&tenant, decision, attempt.now(), None).await?;
            self.told.commit_max = self.told.commit_max.max(began.elapsed());
        }
        match asked[0].take_resolution() {
            Some(Resolution::Made(output)) => Ok(output),
            Some(Resolution::Rejected(rejected)) => Err(StoreError::Corrupt(rejected.to_string())),
            Some(Resolution::Repeated(_)) | None => Err(StoreError::Corrupt("no outcome".to_owned())),
        }
    }

    /// What is to be done because of a decision.
    fn follow(&mut self, decision: &Decision) {
        self.told.decisions += 1;
        self.told.bytes += decision.events.iter().map(|event| event.data.len()).sum::<usize>();
        self.todo.extend(decision.hints.iter().cloned().map(Todo::Hint));
        for due in &decision.due {
            if let DueJob::Begin { .. } = due.work {
                self.todo.push_back(Todo::Timer(due.work.clone()));
            }
        }
        for write in &decision.writes {
            let Write::Put { row: Row::Task(session, task), .. } = write else { continue };
            let Some(agent) = task.agent.clone().filter(|_| task.status == TaskStatus::Dispatched) else {
                continue;
            };
            let attempt =
                TaskAttempt { session: session.clone(), task: task.id.clone(), attempt: task.attempt };
            self.todo.push_back(Todo::Given(agent, attempt));
        }
    }
}
