//! Fills a store as a long life would have filled it: with decisions of the engine, committed through the store
//! while no server runs. Moments are made up, so a day of work takes minutes.

use std::path::Path;

use anyhow::ensure;
use serde_json::Map;
use signalbox_core::engine::attempt::{Asked, Attempt, Next, Resolution, Terms};
use signalbox_core::engine::{Operation, ReportState, Trigger, WorkflowSource};
use signalbox_core::limits::Policy;
use signalbox_store::{Options, Store};
use signalbox_wire::id::{AgentId, NodeId, SessionId, TenantId, WorkflowId};
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use self::world::World;
use crate::clock;

mod world;

/// Sessions in one commit.
const SESSIONS_AT_ONCE: u64 = 16;
/// Commits that wait for the writer at once.
const COMMITS_AT_ONCE: usize = 64;

/// A store that is being filled.
pub(crate) struct Fill {
    store: Store,
    tenant: TenantId,
    policy: Policy,
    /// Each turn has another, so that ids differ.
    seed: u64,
}

impl Fill {
    /// Opens the store that a server on `data` has left.
    pub(crate) async fn open(data: &Path) -> anyhow::Result<Self> {
        let file = data.join("signalbox/signalbox.db");
        ensure!(file.is_file(), "there is no store at {}", file.display());
        let options = Options::new(format!("sqlite://{}", file.display()), NodeId::new(now(), 1));
        let store = Store::open(options).await?;
        // Seeds of an earlier life must not come again, or its ids would.
        Ok(Self {
            store,
            tenant: TenantId::default_tenant(),
            policy: Policy::default(),
            seed: clock::unix_micros(),
        })
    }

    /// Adds `count` finished sessions of a workflow of one task that `agent` did, one every `apart_us`, the last of
    /// them just now.
    pub(crate) async fn finished(
        &mut self,
        workflow: &str,
        agent: &str,
        count: u64,
        apart_us: u64,
    ) -> anyhow::Result<()> {
        let (workflow, agent) = (WorkflowId::parse(workflow)?, AgentId::parse(agent)?);
        let mut world = World::of(&self.store, &self.tenant, &workflow, &agent).await?;
        let mut at = now().as_micros() - i64::try_from(count * apart_us)?;
        let mut commits = tokio::task::JoinSet::new();
        let mut left = count;
        while left > 0 {
            let these = left.min(SESSIONS_AT_ONCE);
            for _ in 0..these {
                self.finish_one(&mut world, &workflow, &agent, Timestamp::from_micros(at))?;
                at += i64::try_from(apart_us)?;
            }
            left -= these;
            if commits.len() >= COMMITS_AT_ONCE {
                commits.join_next().await.transpose()?.transpose()?;
            }
            let (store, tenant, decision) = (self.store.clone(), self.tenant.clone(), world.take());
            commits.spawn(
                async move { store.commit(&tenant, decision, Timestamp::from_micros(at), None).await },
            );
        }
        while let Some(committed) = commits.join_next().await {
            committed??;
        }
        Ok(())
    }

    /// Starts a session of a workflow as of `at`.
    pub(crate) async fn start(&mut self, workflow: &str, at: Timestamp) -> anyhow::Result<()> {
        self.drive(&trigger(&WorkflowId::parse(workflow)?), at).await.map(drop)
    }

    /// Lets go of the store, so that a server can have it.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        Ok(self.store.close().await?)
    }

    fn finish_one(
        &mut self,
        world: &mut World,
        workflow: &WorkflowId,
        agent: &AgentId,
        at: Timestamp,
    ) -> anyhow::Result<()> {
        let session = self.decide(world, &trigger(workflow), at)?.session;
        let task = world.handed_over(&session)?;
        self.decide(world, &report(agent, &task, &session, at)?, at)?;
        world.forget(&session)
    }

    /// Makes a decision in memory and keeps what it writes there.
    fn decide<O: Operation>(
        &mut self,
        world: &mut World,
        operation: &O,
        at: Timestamp,
    ) -> anyhow::Result<O::Output> {
        self.seed += 1;
        let terms = Terms { policy: &self.policy, inputs: None };
        let (mut asked, mut attempt) = ([Asked::new(operation)], Attempt::new(at, self.seed));
        loop {
            match attempt.step(&mut asked, terms) {
                Next::Load(need) => world.show(&need, attempt.snapshot()),
                Next::Long => attempt.allow_long(),
                Next::Commit(decision) => {
                    world.absorb(decision);
                    return made(&mut asked);
                }
                Next::Done => return made(&mut asked),
            }
        }
    }

    /// Makes a decision on the store and commits it.
    async fn drive<O: Operation>(&mut self, operation: &O, at: Timestamp) -> anyhow::Result<O::Output> {
        self.seed += 1;
        let terms = Terms { policy: &self.policy, inputs: None };
        let (mut asked, mut attempt) = ([Asked::new(operation)], Attempt::new(at, self.seed));
        loop {
            match attempt.step(&mut asked, terms) {
                Next::Load(need) => {
                    self.store.load(&self.tenant, &need, attempt.snapshot(), false).await?;
                }
                Next::Long => attempt.allow_long(),
                Next::Commit(decision) => {
                    self.store.commit(&self.tenant, decision, at, None).await?;
                    return made(&mut asked);
                }
                Next::Done => return made(&mut asked),
            }
        }
    }
}

fn made<O: Operation>([asked]: &mut [Asked<O>; 1]) -> anyhow::Result<O::Output> {
    match asked.take_resolution() {
        Some(Resolution::Made(output)) => Ok(output),
        Some(Resolution::Rejected(rejected)) => Err(rejected.into()),
        Some(Resolution::Repeated(_)) | None => anyhow::bail!("an operation alone has an outcome"),
    }
}

fn trigger(workflow: &WorkflowId) -> Trigger {
    let input = Map::from_iter([("n".to_owned(), "00000000".into())]);
    Trigger { source: WorkflowSource::Kept(workflow.clone()), agent: None, input, trace: None }
}

fn report(agent: &AgentId, task: &str, session: &SessionId, at: Timestamp) -> anyhow::Result<ReportState> {
    let details = format!(r#"{{"opscore_task_id":"{task}","result":{{"n":"00000000"}}}}"#);
    Ok(ReportState {
        agent: agent.clone(),
        state: "completed".to_owned(),
        timestamp: at,
        details: RawObject::parse(details).ok(),
        task: Some(task.to_owned()),
        session: Some(session.to_string()),
    })
}

/// The time as the store has it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(i64::try_from(clock::unix_micros()).unwrap_or(i64::MAX))
}
