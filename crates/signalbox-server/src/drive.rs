//! The driver: load what an operation needs, let it decide, commit, follow its hints.
//!
//! This is the loop that `signalbox_core::engine` describes, over the real store. A conflict empties the view
//! and decides again on fresh rows; whatever the operation, this is the only way anything is written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use signalbox_bus::Bus;
use signalbox_core::decision::{IdempotencyRecord, Key, Row};
use signalbox_core::due::DueJob;
use signalbox_core::engine::Operation;
use signalbox_core::lease::Lease;
use signalbox_core::limits::{CANDIDATES_LOOKED_AT, Policy};
use signalbox_core::{Decision, DecisionContext, Halt, Need, Rejected, Snapshot};
use signalbox_store::{Claimed, DueKind, Store, StoreError};
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{self, Stopwatch};
use crate::http::idempotency::IdempotencyClaim;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::in_flight::{AgentChoice, InFlightAgents};
use crate::jobs::{Deliveries, Mailbox};
use crate::start_inputs::StartInputs;
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
    bus: Bus,
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

/// What came of an operation that was asked for under an idempotency key.
enum Made<A> {
    Now(A),
    Before(IdempotencyRecord),
}

impl Drive {
    pub(crate) fn new(
        store: Store,
        bus: Bus,
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
            bus,
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

    /// Runs an operation to its answer.
    pub(crate) async fn run<O: Operation>(
        &self,
        tenant: &TenantId,
        operation: &O,
    ) -> Result<O::Output, DriveError> {
        match self.make(tenant, operation, None::<(&IdempotencyClaim, fn(&O::Output) -> Reply)>).await? {
            Made::Now(answer) => Ok(answer),
            Made::Before(_) => {
                Err(DriveError::Rejected(Rejected::InvalidTransition("an answer without a claim".to_owned())))
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
        match self.make(tenant, operation, Some((claim, &tell))).await? {
            Made::Now(answer) => {
                claim.keep();
                Ok(tell(&answer))
            }
            Made::Before(kept) => Ok(Reply::kept(&kept)),
        }
    }

    async fn make<O: Operation>(
        &self,
        tenant: &TenantId,
        operation: &O,
        claim: Option<(&IdempotencyClaim, impl Fn(&O::Output) -> Reply)>,
    ) -> Result<Made<O::Output>, DriveError> {
        let inner = &*self.0;
        let watch = Stopwatch::start();
        // A conflict tells that rows were old; a refusal and an empty decision commit nothing that could, so
        // over a cache that may be behind another node they are believed only on rows from the database.
        let may_be_old = inner.store.cache_may_be_old();
        let mut fresh = false;
        let mut permit = None;
        let policy = inner.policy.of(tenant);
        loop {
            let now = clock::now();
            let context = DecisionContext::new(now, clock::seed(), &policy).holding(&inner.inputs);
            let mut snapshot = Snapshot::new();
            let mut choice = inner.in_flight_agents.choice(tenant);
            inner.store.load(tenant, &Need::Rows(operation.keys()), &mut snapshot, fresh).await?;
            let (mut decision, answer) = loop {
                if let Some((claim, _)) = &claim
                    && let Some(kept) = self.kept_answer(tenant, claim, &mut snapshot, fresh).await?
                {
                    return Ok(Made::Before(kept));
                }
                match operation.decide(&snapshot, &mut context.clone()) {
                    Ok(made) => break made,
                    Err(Halt::Need(Need::Candidates(route))) => {
                        inner.candidates(&mut choice, route, &mut snapshot, fresh).await?;
                    }
                    Err(Halt::Need(need)) => inner.store.load(tenant, &need, &mut snapshot, fresh).await?,
                    Err(Halt::Rejected(_)) if may_be_old && !fresh => {
                        fresh = true;
                        snapshot = Snapshot::new();
                    }
                    Err(Halt::Rejected(rejected)) => return Err(rejected.into()),
                }
            };
            if may_be_old && !fresh && decision.is_empty() {
                fresh = true;
                continue;
            }
            if let Some((claim, tell)) = &claim {
                let told = tell(&answer);
                let row = Row::IdempotencyRecord(claim.answered(told.status, &told.body, now));
                decision.create(row, context.version_after(None));
            }
            if decision.is_empty() {
                return Ok(Made::Now(answer));
            }
            choice.follow(&decision);
            let row = contended(operation, &choice);
            match self.commit(tenant, decision, now).await {
                Ok(()) => return Ok(Made::Now(answer)),
                Err(StoreError::Conflict) if watch.elapsed() < CONTENTION_PATIENCE => {
                    fresh = true;
                    // What it chose is free for others while it stands in line.
                    drop(choice);
                    if let (None, Some(row)) = (&permit, row) {
                        permit = inner.lines.permit(tenant, &row).await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The answer that is kept under `idempotency claim`, where the request was answered before.
    pub(crate) async fn kept(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
    ) -> Result<Option<IdempotencyRecord>, DriveError> {
        self.kept_answer(tenant, claim, &mut Snapshot::new(), false).await
    }

    async fn kept_answer(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        snapshot: &mut Snapshot,
        fresh: bool,
    ) -> Result<Option<IdempotencyRecord>, DriveError> {
        let kept = loop {
            match snapshot.idempotency_record(&claim.key) {
                Ok(kept) => break kept,
                Err(Halt::Need(need)) => self.0.store.load(tenant, &need, snapshot, fresh).await?,
                Err(Halt::Rejected(rejected)) => return Err(rejected.into()),
            }
        };
        match kept {
            None => Ok(None),
            Some(kept) if kept.value.request == claim.request => {
                Ok(Some(IdempotencyRecord::clone(&kept.value)))
            }
            Some(_) => Err(Rejected::KeyReused.into()),
        }
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

/// The row that decisions most likely conflict over: the first that the operation names, else the agent it chose.
fn contended(operation: &impl Operation, choice: &AgentChoice<'_>) -> Option<Key> {
    operation.keys().into_iter().next().or_else(|| choice.agents().first().cloned().map(Key::Agent))
}

impl Inner {
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
            decision.due.iter().filter(|due| due.at <= now && DueKind::of(&due.work) == DueKind::Delivery);
        let deliver: Vec<DueJob> = deliver.map(|due| due.work.clone()).collect();
        let is_all_deliveries = decision.due.iter().filter(|due| due.at <= now).count() == deliver.len();
        let next_due: Vec<_> = decision
            .due
            .iter()
            .map(|due| (DueKind::of(&due.work), due.at))
            .filter(|(_, at)| *at > now)
            .collect();
        let due_now: Vec<_> =
            decision.due.iter().filter(|due| due.at <= now).map(|due| DueKind::of(&due.work)).collect();
        // DueJob that is due at once is born leased to this process where it has room for it: no second
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
            self.bus.publish(|| crate::http::streams::log_subject(tenant), committed.sequence);
        }
        if let (Some(slots), Some(lease)) = (slots, lease) {
            let claimed = deliver.into_iter().map(|work| Claimed {
                tenant: tenant.clone(),
                work,
                due_at: now,
                lease: lease.clone(),
            });
            self.mailbox.deliver(claimed.collect(), slots);
        } else {
            due_now.into_iter().for_each(|kind| self.mailbox.wake(kind, now));
        }
        next_due.into_iter().for_each(|(kind, at)| self.mailbox.wake(kind, at));
        hints.into_iter().for_each(|hint| self.mailbox.hint(tenant.clone(), hint));
        Ok(())
    }
}
