//! The driver: load what an operation needs, let it decide, commit, follow its hints.
//!
//! This is the loop that `signalbox_core::engine` describes, over the real store. A conflict empties the view
//! and decides again on fresh rows; whatever the operation, this is the only way anything is written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use signalbox_bus::Bus;
use signalbox_core::decision::{Answered, Key, Row};
use signalbox_core::due::Work;
use signalbox_core::engine::Operation;
use signalbox_core::lease::Lease;
use signalbox_core::limits::{CANDIDATES_LOOKED_AT, Policy};
use signalbox_core::{Decision, Halt, Need, Rejected, Turn, View};
use signalbox_store::{Claimed, DueKind, Store, StoreError};
use signalbox_wire::id::{NodeId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::answer::Answer;
use crate::clock::{self, Stopwatch};
use crate::flights::{Flight, Flights};
use crate::idempotency::Promise;
use crate::jobs::{Deliveries, Mailbox};
use crate::metrics::Metrics;
use crate::problem::Refusal;
use crate::start_inputs::StartInputs;

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
    flights: Flights,
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
    async fn place(&self, tenant: &TenantId, key: &Key) -> Option<SemaphorePermit<'_>> {
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
    Before(Answered),
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
        let (lines, flights, inputs) = (Lines::new(), Flights::default(), StartInputs::default());
        Self(Arc::new(Inner {
            store,
            bus,
            policy,
            node,
            deliveries,
            mailbox,
            metrics,
            lines,
            flights,
            inputs,
        }))
    }

    /// Runs an operation to its answer.
    pub(crate) async fn run<O: Operation>(
        &self,
        tenant: &TenantId,
        operation: &O,
    ) -> Result<O::Answer, DriveError> {
        match self.make(tenant, operation, None::<(&Promise, fn(&O::Answer) -> Answer)>).await? {
            Made::Now(answer) => Ok(answer),
            Made::Before(_) => {
                Err(DriveError::Rejected(Rejected::Misfit("an answer without a promise".to_owned())))
            }
        }
    }

    /// Runs an operation and tells its answer. Under an `Idempotency-Key` the answer is kept in the same
    /// commit, so that the same request again gets it again, also after a crash.
    pub(crate) async fn answer<O: Operation>(
        &self,
        tenant: &TenantId,
        promise: Option<&Promise>,
        operation: &O,
        tell: impl Fn(&O::Answer) -> Answer,
    ) -> Result<Answer, Refusal> {
        let Some(promise) = promise else {
            return Ok(tell(&self.run(tenant, operation).await?));
        };
        match self.make(tenant, operation, Some((promise, &tell))).await? {
            Made::Now(answer) => {
                promise.keep();
                Ok(tell(&answer))
            }
            Made::Before(kept) => Ok(Answer::kept(&kept)),
        }
    }

    async fn make<O: Operation>(
        &self,
        tenant: &TenantId,
        operation: &O,
        promise: Option<(&Promise, impl Fn(&O::Answer) -> Answer)>,
    ) -> Result<Made<O::Answer>, DriveError> {
        let inner = &*self.0;
        let watch = Stopwatch::start();
        // A conflict tells that rows were old; a refusal and an empty decision commit nothing that could, so
        // over a cache that may be behind another node they are believed only on rows from the database.
        let may_be_old = inner.store.cache_may_be_old();
        let mut fresh = false;
        let mut place = None;
        let policy = inner.policy.of(tenant);
        loop {
            let now = clock::now();
            let turn = Turn::new(now, clock::seed(), &policy).holding(&inner.inputs);
            let mut view = View::new();
            let mut flight = inner.flights.flight(tenant);
            inner.store.load(tenant, &Need::Rows(operation.keys()), &mut view, fresh).await?;
            let (mut decision, answer) = loop {
                if let Some((promise, _)) = &promise
                    && let Some(kept) = self.kept_answer(tenant, promise, &mut view, fresh).await?
                {
                    return Ok(Made::Before(kept));
                }
                match operation.decide(&view, &mut turn.clone()) {
                    Ok(made) => break made,
                    Err(Halt::Need(Need::Candidates(route))) => {
                        inner.candidates(&mut flight, route, &mut view, fresh).await?;
                    }
                    Err(Halt::Need(need)) => inner.store.load(tenant, &need, &mut view, fresh).await?,
                    Err(Halt::Rejected(_)) if may_be_old && !fresh => {
                        fresh = true;
                        view = View::new();
                    }
                    Err(Halt::Rejected(rejected)) => return Err(rejected.into()),
                }
            };
            if may_be_old && !fresh && decision.is_empty() {
                fresh = true;
                continue;
            }
            if let Some((promise, tell)) = &promise {
                let told = tell(&answer);
                let row = Row::Answered(promise.answered(told.status, &told.body, now));
                decision.create(row, turn.version_after(None));
            }
            if decision.is_empty() {
                return Ok(Made::Now(answer));
            }
            flight.follow(&decision);
            let row = contended(operation, &flight);
            match self.commit(tenant, decision, now).await {
                Ok(()) => return Ok(Made::Now(answer)),
                Err(StoreError::Conflict) if watch.elapsed() < CONTENTION_PATIENCE => {
                    fresh = true;
                    // What it chose is free for others while it stands in line.
                    drop(flight);
                    if let (None, Some(row)) = (&place, row) {
                        place = inner.lines.place(tenant, &row).await;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The answer that is kept under `promise`, where the request was answered before.
    pub(crate) async fn kept(
        &self,
        tenant: &TenantId,
        promise: &Promise,
    ) -> Result<Option<Answered>, DriveError> {
        self.kept_answer(tenant, promise, &mut View::new(), false).await
    }

    async fn kept_answer(
        &self,
        tenant: &TenantId,
        promise: &Promise,
        view: &mut View,
        fresh: bool,
    ) -> Result<Option<Answered>, DriveError> {
        let kept = loop {
            match view.answered(&promise.key) {
                Ok(kept) => break kept,
                Err(Halt::Need(need)) => self.0.store.load(tenant, &need, view, fresh).await?,
                Err(Halt::Rejected(rejected)) => return Err(rejected.into()),
            }
        };
        match kept {
            None => Ok(None),
            Some(kept) if kept.value.request == promise.request => Ok(Some(Answered::clone(&kept.value))),
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
fn contended(operation: &impl Operation, flight: &Flight<'_>) -> Option<Key> {
    operation.keys().into_iter().next().or_else(|| flight.agents().first().cloned().map(Key::Agent))
}

impl Inner {
    /// Shows a decision the agents that it may choose from, those first that no other is choosing now, and with them
    /// the rows of the one that it will most likely take.
    async fn candidates(
        &self,
        flight: &mut Flight<'_>,
        route: String,
        view: &mut View,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let tenant = flight.tenant().clone();
        let most = CANDIDATES_LOOKED_AT + self.flights.count(&tenant).min(CANDIDATES_PASSED_OVER_MAX);
        let listed = self.store.candidates(&tenant, &route, most).await?;
        let shown = flight.choose(listed, CANDIDATES_LOOKED_AT);
        let first = shown.iter().take(1);
        let rows = first.flat_map(|agent| [Key::Agent(agent.clone()), Key::Status(agent.clone())]);
        self.store.load(&tenant, &Need::Rows(rows.collect()), view, fresh).await?;
        view.show_candidates(route, shown);
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
        let deliver: Vec<Work> = deliver.map(|due| due.work.clone()).collect();
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
            self.bus.publish(|| crate::streams::log_subject(tenant), committed.sequence);
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
