//! Random decisions against a store and against a model in memory: the same answers, the same state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use signalbox_core::decision::{Guard, Key, Row, Write};
use signalbox_core::due::Due;
use signalbox_core::routing::Route;
use signalbox_core::{Decision, Need};
use signalbox_store::{EventFilter, Page, Prune, Store, StoreError};
use signalbox_wire::id::TenantId;
use tempfile::TempDir;

use crate::redo::{crash, open_in};
use crate::samples::{
    agent, agent_id, available, deliver, event, message, message_id, name, status, tenant_id, tool,
    tool_name, waiting_task,
};
use crate::world::{World, at, view_of};

/// What a store should hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<(TenantId, String), (i64, Row)>,
    events: BTreeMap<TenantId, Vec<String>>,
    due: BTreeMap<(TenantId, String), Due>,
    /// Who is available as the table has it: when an agent was used since is kept in memory alone.
    listed: BTreeMap<(TenantId, String), (i64, Row)>,
    /// How many entries of a log retention has removed.
    pruned: BTreeMap<TenantId, usize>,
}

impl Model {
    fn version(&self, tenant: &TenantId, key: &Key) -> Option<i64> {
        self.rows.get(&(tenant.clone(), format!("{key:?}"))).map(|(version, _)| *version)
    }

    fn commit(&mut self, tenant: &TenantId, decision: &Decision) -> Option<u64> {
        let holds = |key: &Key, guard: Guard| match guard {
            Guard::Absent => self.version(tenant, key).is_none(),
            Guard::At(version) => self.version(tenant, key) == Some(version),
            Guard::Guarded => true,
        };
        let all_hold = decision.writes.iter().all(|write| match write {
            Write::Put { row, guard, .. } => holds(&row.key(), *guard),
            Write::Remove { key, guard } => holds(key, *guard),
        });
        if !all_hold || decision.expects.iter().any(|(key, expected)| self.version(tenant, key) != *expected)
        {
            return None;
        }
        for write in &decision.writes {
            match write {
                Write::Put { row, version, guard } => {
                    let name = (tenant.clone(), format!("{:?}", row.key()));
                    if *guard != Guard::Guarded || !self.listed.contains_key(&name) {
                        self.listed.insert(name.clone(), (*version, row.clone()));
                    }
                    self.rows.insert(name, (*version, row.clone()));
                }
                Write::Remove { key, .. } => {
                    let name = (tenant.clone(), format!("{key:?}"));
                    self.listed.remove(&name);
                    self.rows.remove(&name);
                }
            }
        }
        for due in &decision.due {
            self.due.insert((tenant.clone(), due.work.id()), due.clone());
        }
        for id in &decision.done {
            self.due.remove(&(tenant.clone(), id.clone()));
        }
        let log = self.events.entry(tenant.clone()).or_default();
        log.extend(decision.events.iter().map(|event| event.kind.clone()));
        Some(if decision.events.is_empty() { 0 } else { log.len() as u64 })
    }

    /// What is kept in memory alone is gone.
    fn crash(&mut self) {
        for (name, listed) in &self.listed {
            if matches!(listed.1, Row::Available(_)) {
                self.rows.insert(name.clone(), listed.clone());
            }
        }
    }

    /// Nothing but the newest entry of each log stays.
    fn prune(&mut self) {
        self.pruned =
            self.events.iter().map(|(tenant, log)| (tenant.clone(), log.len().max(1) - 1)).collect();
    }

    /// The entries of a log that are kept, with their places.
    fn log(&self, tenant: &TenantId) -> Vec<(u64, String)> {
        let log = self.events.get(tenant).cloned().unwrap_or_default();
        (1..).zip(log).skip(self.pruned.get(tenant).copied().unwrap_or_default()).collect()
    }

    fn candidates(&self, tenant: &TenantId, route: &str) -> Vec<String> {
        let mut listed: Vec<_> = self
            .rows
            .iter()
            .filter_map(|((owner, _), (_, row))| match row {
                Row::Available(row) if owner == tenant && row.route == route => {
                    Some((row.last_used, row.agent.to_string()))
                }
                _ => None,
            })
            .collect();
        listed.sort();
        listed.into_iter().map(|(_, agent)| agent).collect()
    }

    fn waiting(&self, tenant: &TenantId, routes: &[String]) -> Vec<String> {
        let mut tasks: Vec<_> = self
            .rows
            .iter()
            .filter_map(|((owner, _), (_, row))| match row {
                Row::Task(_, task)
                    if owner == tenant && task.waiting_key().is_some_and(|key| routes.contains(&key)) =>
                {
                    Some((task.queued_at, task.id.to_string()))
                }
                _ => None,
            })
            .collect();
        tasks.sort();
        tasks.into_iter().map(|(_, task)| task).collect()
    }
}

fn ids() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn rows() -> impl Strategy<Value = Row> {
    prop_oneof![
        1 => ids().prop_map(|id| Row::Agent(Arc::new(agent(id, &["read"])))),
        1 => (ids(), ids()).prop_map(|(name_, id)| Row::AgentName(name(name_, id))),
        1 => ids().prop_map(|id| Row::Tool(Arc::new(tool(id)))),
        4 => common_rows(),
    ]
}

/// Rows of kinds that change all the time.
fn common_rows() -> impl Strategy<Value = Row> {
    prop_oneof![
        (ids(), ids()).prop_map(|(id, state)| Row::Status(Arc::new(status(id, state)))),
        ids().prop_map(|id| Row::Message(Arc::new(message(id)))),
        (ids(), 0..4_i64).prop_map(|(id, used)| Row::Available(available("any", id, used))),
        (ids(), prop::option::of(0..4_i64)).prop_map(|(id, queued)| {
            let mut task = waiting_task(id, Route::Any, queued.unwrap_or(0));
            task.queued_at = queued.map(at);
            Row::Task(crate::samples::session_id("s"), Arc::new(task))
        }),
    ]
}

fn guards() -> impl Strategy<Value = Guard> {
    prop_oneof![Just(Guard::Absent), (1..4_i64).prop_map(Guard::At), Just(Guard::Guarded)]
}

fn decisions() -> impl Strategy<Value = Decision> {
    decisions_of(rows().boxed())
}

fn decisions_of(rows: BoxedStrategy<Row>) -> impl Strategy<Value = Decision> {
    let write =
        (rows.clone(), guards(), any::<bool>(), 1..4_i64).prop_map(|(row, guard, is_put, version)| {
            if is_put { Write::Put { row, guard, version } } else { Write::Remove { key: row.key(), guard } }
        });
    let expectation = (rows, prop::option::of(1..4_i64)).prop_map(|(row, version)| (row.key(), version));
    let due = (prop::sample::select(vec!["a", "b", "c"]), 0..5_i64).prop_map(|(id, at)| deliver(id, at));
    let event_ = prop::sample::select(vec!["x", "y"]).prop_map(event);
    (
        prop::collection::vec(write, 0..4),
        prop::collection::vec(expectation, 0..2),
        prop::collection::vec(event_, 0..3),
        prop::option::of(due.clone()),
        prop::option::of(due),
    )
        .prop_map(|(mut writes, expects, events, due, done)| {
            // A decision writes a row once.
            let key = |write: &Write| match write {
                Write::Put { row, .. } => format!("{:?}", row.key()),
                Write::Remove { key, .. } => format!("{key:?}"),
            };
            writes.sort_by_key(key);
            writes.dedup_by_key(|write| key(write));
            let done: Vec<String> = done.iter().map(|due| due.work.id()).collect();
            let due: Vec<Due> = due.into_iter().filter(|due| !done.contains(&due.work.id())).collect();
            Decision { writes, expects, events, due, done, ..Decision::default() }
        })
}

/// Decisions of two tenants that are committed at the same time.
type Group = Vec<(bool, Decision)>;

fn groups(decisions: impl Strategy<Value = Decision>) -> impl Strategy<Value = Group> {
    prop::collection::vec((any::<bool>(), decisions), 1..6)
}

fn histories(decisions: impl Strategy<Value = Decision>) -> impl Strategy<Value = Vec<Group>> {
    prop::collection::vec(groups(decisions), 1..12)
}

/// One thing that happens to a store that crashes now and then.
#[derive(Debug, Clone)]
enum Step {
    Commit(Group),
    /// What is in the files now is all that is left.
    Crash,
    /// All is read, and lists with it.
    Look,
    /// Due work is held for a while.
    Claim(i64),
    /// Retention takes what the logs can do without.
    Prune,
}

/// The same without conditions on who is available: over SQLite nothing rests on the version of such a row, which is in memory
/// alone.
fn unversioned(mut decision: Decision) -> Decision {
    for write in &mut decision.writes {
        match write {
            Write::Put { row: Row::Available(_), guard, .. }
            | Write::Remove { key: Key::Available(..), guard } => {
                *guard = Guard::Guarded;
            }
            Write::Put { .. } | Write::Remove { .. } => {}
        }
    }
    decision.expects.retain(|(key, _)| !matches!(key, Key::Available(..)));
    decision
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => groups(decisions_of(common_rows().boxed()).prop_map(unversioned)).prop_map(Step::Commit),
        2 => groups(decisions().prop_map(unversioned)).prop_map(Step::Commit),
        4 => Just(Step::Crash),
        1 => Just(Step::Look),
        1 => (-1..5_i64).prop_map(Step::Claim),
        1 => Just(Step::Prune),
    ];
    prop::collection::vec(step, 1..20)
}

#[test]
fn sqlite_agrees_with_the_model() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&histories(decisions().prop_map(unversioned)), |history| {
        runtime.block_on(async {
            let world = World::sqlite().await;
            let agreed = agrees(&world.store, history).await;
            world.end().await;
            agreed
        })
    });
    checked.expect("the same answers");
}

#[test]
fn postgres_agrees_with_the_model() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(world) = runtime.block_on(World::postgres()) else { return };
    runtime.block_on(world.end());
    let mut runner = TestRunner::new(Config { cases: 8, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&histories(decisions()), |history| {
        runtime.block_on(async {
            let world = World::postgres().await.expect("a server");
            let agreed = agrees(&world.store, history).await;
            world.end().await;
            agreed
        })
    });
    checked.expect("the same answers");
}

#[test]
fn sqlite_agrees_with_the_model_after_crashes() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let world = World::sqlite().await;
            let agreed = agrees_after_crashes(&world, steps).await;
            world.end().await;
            agreed
        })
    });
    checked.expect("what was acknowledged is there");
}

async fn agrees_after_crashes(world: &World, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut model, mut store, mut directory) = (Model::default(), world.store.clone(), None);
    for step in steps {
        match step {
            Step::Commit(group) => commit_group(&store, &group, &mut model).await?,
            Step::Crash => {
                let from = directory
                    .as_ref()
                    .map_or(world.directory(), |directory: &TempDir| Some(directory.path()));
                let left = crash(from.expect("a directory"));
                store.close().await.expect("closed");
                store = open_in(left.path()).await.expect("opened");
                directory = Some(left);
                model.crash();
                same_state_of_all(&store, &model).await?;
            }
            Step::Look => same_state_of_all(&store, &model).await?,
            // The work stays what it is; whoever claims at the end is later than all of these.
            Step::Claim(moment) => {
                let lease_for = Duration::from_secs(1);
                let claimed = store.claim(at(moment), lease_for, signalbox_store::DueKind::Delivery, 2).await;
                claimed.expect("claimed");
            }
            Step::Prune => {
                let (before, piece) = (at(1), Duration::from_millis(5));
                let prune = Prune {
                    events_before: before,
                    sessions_before: before,
                    messages_before: before,
                    now: before,
                    limit: 100,
                    piece,
                };
                while store.prune(prune).await.expect("pruned").has_more {}
                model.prune();
            }
        }
    }
    same_state_of_all(&store, &model).await?;
    same_due_work(&store, &model).await?;
    store.close().await.expect("closed");
    Ok(())
}

async fn agrees(store: &Store, history: Vec<Group>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for group in history {
        commit_group(store, &group, &mut model).await?;
    }
    same_state_of_all(store, &model).await?;
    same_due_work(store, &model).await
}

fn tenants() -> [TenantId; 2] {
    [tenant_id("one"), tenant_id("two")]
}

async fn commit_group(store: &Store, group: &Group, model: &mut Model) -> Result<(), TestCaseError> {
    let tenants = tenants();
    // Enqueued in this order and without waiting for each other: one physical commit, most likely.
    let answers = group.iter().map(|(which, decision)| {
        let (store, tenant, decision) =
            (store.clone(), tenants[usize::from(*which)].clone(), decision.clone());
        async move { store.commit(&tenant, decision, at(0), None).await }
    });
    let answers = in_order(answers.collect()).await;
    for ((which, decision), answer) in group.iter().zip(answers) {
        let expected = model.commit(&tenants[usize::from(*which)], decision);
        match answer {
            Ok(committed) => prop_assert_eq!(Some(committed.sequence), expected, "{:?}", decision),
            Err(StoreError::Conflict) => prop_assert_eq!(None, expected, "{:?}", decision),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
    Ok(())
}

async fn same_state_of_all(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    for tenant in tenants() {
        same_state(store, &tenant, model).await?;
    }
    Ok(())
}

async fn same_due_work(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    let claimed = store
        .claim(at(100), Duration::from_secs(1), signalbox_store::DueKind::Delivery, 100)
        .await
        .expect("claimed");
    let mut claimed: Vec<_> =
        claimed.into_iter().map(|claimed| (claimed.tenant, claimed.work.id(), claimed.due_at)).collect();
    claimed.sort();
    let expected: Vec<_> =
        model.due.iter().map(|((tenant, id), due)| (tenant.clone(), id.clone(), due.at)).collect();
    prop_assert_eq!(claimed, expected);
    Ok(())
}

/// Polls all in their order until each has its answer, so that they are enqueued in that order.
pub(crate) async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if futures.iter().any(|(_, output)| output.is_none()) {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(futures.drain(..).filter_map(|(_, output)| output).collect())
    })
    .await
}

async fn same_state(store: &Store, tenant: &TenantId, model: &Model) -> Result<(), TestCaseError> {
    for id in ["a", "b", "c"] {
        let keys = [
            Key::Agent(agent_id(id)),
            Key::AgentName(id.to_owned()),
            Key::Status(agent_id(id)),
            Key::Message(message_id(id)),
            Key::Tool(tool_name(id)),
        ];
        for key in keys {
            let snapshot = view_of(store, tenant, &Need::Row(key.clone())).await;
            let found = match &key {
                Key::Agent(id) => snapshot.agent(id).expect("loaded").map(|row| row.version),
                Key::AgentName(name) => snapshot.agent_named(name).expect("loaded").map(|row| row.version),
                Key::Status(id) => snapshot.status(id).expect("loaded").map(|row| row.version),
                Key::Message(id) => snapshot.message(id).expect("loaded").map(|row| row.version),
                Key::Tool(name) => snapshot.tool(name).expect("loaded").map(|row| row.version),
                _ => None,
            };
            prop_assert_eq!(found, model.version(tenant, &key), "{:?}", key);
        }
    }
    let snapshot = view_of(store, tenant, &Need::Candidates("any".into())).await;
    let found: Vec<String> =
        snapshot.candidates("any").expect("loaded").iter().map(ToString::to_string).collect();
    prop_assert_eq!(found, model.candidates(tenant, "any"));
    let routes = vec![Route::Any.key()];
    let snapshot = view_of(store, tenant, &Need::Waiting(routes.clone())).await;
    let found: Vec<String> =
        snapshot.waiting(&routes).expect("loaded").iter().map(|task| task.task.to_string()).collect();
    prop_assert_eq!(found, model.waiting(tenant, &routes));
    let page = Page { limit: 1_000, after: None };
    let events = store.events(tenant, &EventFilter::default(), &page).await.expect("read").items;
    let found: Vec<(u64, String)> = events.into_iter().map(|event| (event.sequence, event.kind)).collect();
    prop_assert_eq!(found, model.log(tenant));
    Ok(())
}
