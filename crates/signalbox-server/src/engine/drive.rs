//! The driver: core's attempt loop over the real store, and what follows from a commit. Whatever the operation, this
//! is the only way anything is written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use signalbox_bus::WakeUps;
use signalbox_core::decision::Key;
use signalbox_core::due::{DueJob, Lane};
use signalbox_core::engine::Operation;
use signalbox_core::engine::attempt::{Asked, Attempt, Claim, Member, Next, Resolution, Terms};
use signalbox_core::lease::Lease;
use signalbox_core::limits::{CANDIDATES_LOOKED_AT, Policy};
use signalbox_core::{Decision, Need, Rejected, Snapshot};
use signalbox_store::{Claimed, DueKind, Store, StoreError};
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::in_flight::{AgentChoice, InFlightAgents};
use super::start_inputs::StartInputs;
use crate::clock::{self, Stopwatch};
use crate::http::idempotency::IdempotencyClaim;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::jobs::{Deliveries, Mailbox};
use crate::telemetry::metrics::Metrics;

/// How long conflicts are retried before the caller is told to come back.
const CONTENTION_PATIENCE: Duration = Duration::from_secs(10);

/// Agents in other decisions that are passed over to find one that is in none.
const CANDIDATES_PASSED_OVER_MAX: usize = 256;

/// Runs operations against the store.
#[derive(Clone)]
pub(crate) struct Drive(Arc<Inner>);

struct Inner {
    store: Store,
    wake_ups: WakeUps,
    policy: Policy,
    node: NodeId,
    deliveries: Deliveries,
    mailbox: Mailbox,
    metrics: Metrics,
    lines: Lines,
    in_flight_agents: InFlightAgents,
    inputs: StartInputs,
}

/// Where operations on the same row line up once one of them has conflicted: tried all at once they would
/// conflict again and again, one after the other each gets through at its first try.
struct Lines(Box<[Semaphore]>);

/// Lines; different rows may share one.
const LINES: usize = 256;

impl Lines {
    fn new() -> Self {
        Self((0..LINES).map(|_| Semaphore::new(1)).collect())
    }

    /// A place at the head of the line for a row, once it is reached.
    async fn permit(&self, tenant: &TenantId, key: &Key) -> Option<SemaphorePermit<'_>> {
        let mut hasher = DefaultHasher::new();
        (tenant, key).hash(&mut hasher);
        let line = self.0.get(usize::try_from(hasher.finish() % LINES as u64).ok()?)?;
        line.acquire().await.ok()
    }
}

/// Why an operation came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// It was refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DriveError> for Refusal {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Rejected(rejected) => rejected.into(),
            DriveError::Store(error) => error.into(),
        }
    }
}

impl Drive {
    pub(crate) fn new(
        store: Store,
        wake_ups: WakeUps,
        policy: Policy,
        node: NodeId,
        deliveries: Deliveries,
        mailbox: Mailbox,
        metrics: Metrics,
    ) -> Self {
        let (lines, in_flight_agents, inputs) =
            (Lines::new(), InFlightAgents::default(), StartInputs::default());
        Self(Arc::new(Inner {
            store,
            wake_ups,
            policy,
            node,
            deliveries,
            mailbox,
            metrics,
            lines,
            in_flight_agents,
            inputs,
        }))
    }

    /// How other parts of the server, and other nodes, are woken.
    pub(crate) fn wake_ups(&self) -> &WakeUps {
        &self.0.wake_ups
    }

    /// Runs an operation to its answer.
    pub(crate) async fn run<O: Operation>(
        &self,
        tenant: &TenantId,
        operation: &O,
    ) -> Result<O::Output, DriveError> {
        let mut asked = Asked::new(operation);
        self.attempt(tenant, &mut asked, operation.keys().into_iter().next()).await?;
        match asked.take_resolution() {
            Some(Resolution::Made(output)) => Ok(output),
            Some(Resolution::Rejected(rejected)) => Err(rejected.into()),
            // Without a claim nothing is repeated, and whoever is alone is not put off.
            Some(Resolution::Repeated(_)) | None => {
                Err(StoreError::Unavailable("an operation has no outcome".to_owned()).into())
            }
        }
    }

    /// Runs an operation and tells its answer. Under an `Idempotency-Key` the answer is kept in the same
    /// commit, so that the same request again gets it again, also after a crash.
    pub(crate) async fn answer<O: Operation>(
        &self,
        tenant: &TenantId,
        claim: Option<&IdempotencyClaim>,
        operation: &O,
        tell: impl Fn(&O::Output) -> Reply,
    ) -> Result<Reply, Refusal> {
        let Some(claim) = claim else {
            return Ok(tell(&self.run(tenant, operation).await?));
        };
        let record = |output: &O::Output, now| claim.record(&tell(output), now);
        let (key, request) = (claim.key.clone(), claim.request.clone());
        let mut asked = Asked::under(operation, Some(Claim { key, request, record }));
        self.attempt(tenant, &mut asked, operation.keys().into_iter().next()).await?;
        match asked.take_resolution() {
            Some(Resolution::Made(output)) => {
                claim.keep();
                Ok(tell(&output))
            }
            Some(Resolution::Repeated(kept)) => Ok(Reply::kept(&kept)),
            Some(Resolution::Rejected(rejected)) => Err(rejected.into()),
            None => Err(StoreError::Unavailable("an operation has no outcome".to_owned()).into()),
        }
    }

    /// Attempts what `member` asks for until it is committed, refused, or the store cannot answer.
    async fn attempt(
        &self,
        tenant: &TenantId,
        member: &mut impl Member,
        key: Option<Key>,
    ) -> Result<(), DriveError> {
        let inner = &*self.0;
        let watch = Stopwatch::start();
        let mut permit = None;
        let policy = inner.policy.of(tenant);
        let terms = Terms { policy: &policy, inputs: Some(&inner.inputs) };
        let mut attempt = Attempt::new(clock::now(), clock::seed());
        loop {
            let mut choice = inner.in_flight_agents.choice(tenant);
            let decision = loop {
                match attempt.step(std::slice::from_mut(member), terms) {
                    Next::Load(need) => inner.load(&mut choice, need, &mut attempt).await?,
                    Next::Long => attempt.allow_long(),
                    Next::Commit(decision) => break decision,
                    Next::Done => return Ok(()),
                }
            };
            choice.follow(&decision);
            // The row that decisions most likely conflict over: the first that the operation names, else the agent
            // it chose.
            let row = key.clone().or_else(|| choice.agents().first().cloned().map(Key::Agent));
            match self.commit(tenant, decision, attempt.now()).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict) if watch.elapsed() < CONTENTION_PATIENCE => {
                    // What it chose is free for others while it stands in line.
                    drop(choice);
                    if let (None, Some(row)) = (&permit, row) {
                        permit = inner.lines.permit(tenant, &row).await;
                    }
                    attempt.conflicted(clock::now(), clock::seed());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Something of this kind will be due at `at`.
    pub(crate) fn wake(&self, kind: DueKind, at: Timestamp) {
        self.0.mailbox.wake(kind, at);
    }

    /// Commits a decision and sets in motion what follows from it.
    pub(crate) async fn commit(
        &self,
        tenant: &TenantId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if decision.due.is_empty() && decision.hints.is_empty() {
            return self.0.commit(tenant, decision, now).await;
        }
        // A task of its own: a client that hangs up while this is being written takes nothing away from what
        // follows.
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        let committed = tokio::spawn(async move { inner.commit(&tenant, decision, now).await }).await;
        committed.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("the commit was not followed to its end".to_owned()))
        })
    }
}

impl Inner {
    /// Shows an attempt what it needs.
    async fn load(
        &self,
        choice: &mut AgentChoice<'_>,
        need: Need,
        attempt: &mut Attempt,
    ) -> Result<(), StoreError> {
        let fresh = attempt.is_fresh();
        match need {
            Need::Candidates(route) => self.candidates(choice, route, attempt.snapshot(), fresh).await?,
            need => self.store.load(choice.tenant(), &need, attempt.snapshot(), fresh).await?,
        }
        attempt.loaded(!fresh && self.store.cache_may_be_old());
        Ok(())
    }

    /// Shows a decision the agents that it may choose from, those first that no other is choosing now, and with them
    /// the rows of the one that it will most likely take.
    async fn candidates(
        &self,
        choice: &mut AgentChoice<'_>,
        route: String,
        snapshot: &mut Snapshot,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let tenant = choice.tenant().clone();
        let most =
            CANDIDATES_LOOKED_AT + self.in_flight_agents.count(&tenant).min(CANDIDATES_PASSED_OVER_MAX);
        let listed = self.store.candidates(&tenant, &route, most).await?;
        let shown = choice.choose(listed, CANDIDATES_LOOKED_AT);
        let first = shown.iter().take(1);
        let rows = first.flat_map(|agent| [Key::Agent(agent.clone()), Key::Status(agent.clone())]);
        self.store.load(&tenant, &Need::Rows(rows.collect()), snapshot, fresh).await?;
        snapshot.show_candidates(route, shown);
        Ok(())
    }

    async fn commit(
        &self,
        tenant: &TenantId,
        mut decision: Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let hints = std::mem::take(&mut decision.hints);
        let deliver =
            decision.due.iter().filter(|due| due.at <= now && DueKind::of(&due.work) != DueKind::Timer);
        let deliver: Vec<(DueJob, Lane)> = deliver.map(|due| (due.work.clone(), due.lane.clone())).collect();
        let is_all_deliveries = decision.due.iter().filter(|due| due.at <= now).count() == deliver.len();
        let next_due: Vec<_> = decision
            .due
            .iter()
            .map(|due| (DueKind::of(&due.work), due.at))
            .filter(|(_, at)| *at > now)
            .collect();
        let due_now: Vec<_> =
            decision.due.iter().filter(|due| due.at <= now).map(|due| DueKind::of(&due.work)).collect();
        // Work that is due at once is born leased to this process where it has room for it: no second
        // commit is needed to claim it. Without room it stays free for whoever has.
        let slots = if deliver.is_empty() || !is_all_deliveries {
            None
        } else {
            self.deliveries.reserve(deliver.len())
        };
        let lease = slots.as_ref().map(|_| Lease::new(self.node.clone(), now, self.policy.lease));
        let has_events = !decision.events.is_empty();
        let watch = Stopwatch::start();
        let committed = self.store.commit(tenant, decision, now, lease.clone()).await;
        self.metrics.decided(&committed, watch.elapsed());
        let committed = committed?;
        if has_events {
            self.wake_ups.log_grew(tenant, committed.sequence);
        }
        if let (Some(slots), Some(lease)) = (slots, lease) {
            let claimed = deliver.into_iter().map(|(work, lane)| Claimed {
                tenant: tenant.clone(),
                work,
                due_at: now,
                lane,
                lease: lease.clone(),
            });
            self.mailbox.deliver(claimed.collect(), slots);
        } else {
            due_now.into_iter().for_each(|kind| self.wake(kind, now));
        }
        next_due.into_iter().for_each(|(kind, at)| self.wake(kind, at));
        hints.into_iter().for_each(|hint| self.mailbox.hint(tenant.clone(), hint));
        Ok(())
    }

    /// Work of this kind is due at `at`: whoever comes first takes it.
    fn wake(&self, kind: DueKind, at: Timestamp) {
        self.mailbox.wake(kind, at);
        self.wake_ups.work_is_due(kind.name(), at);
    }
}
