//! What the server measures of itself, as `GET /metrics` shows it.
//!
//! Labels come from small fixed sets (routes as declared, never paths as sent), so that their number is
//! bounded whatever clients do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use signalbox_store::{Committed, Store, StoreError};
use signalbox_wire::time::Timestamp;

use super::census::{Counts, Ended};
use super::live::LiveFigures;
use super::process::ProcessFigures;
use crate::byte_budget::BudgetFigures;

/// All metrics of a server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    /// Those of each route, found without making labels.
    routes: RwLock<HashMap<Arc<str>, Arc<RouteMetrics>>>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
    decisions: Family<OutcomeLabels, Counter>,
    /// Those of them that were committed, found without labels.
    committed: Counter,
    decision_seconds: Histogram,
    deliveries: Family<DeliveryLabels, Counter>,
    delivery_seconds: Histogram,
    deliveries_in_flight: Gauge,
    requests_in_flight: Gauge,
    streams: Gauge,
    name_lookups: Gauge,
    hints_dropped: Counter,
    dead_letters: Counter,
    long_work: Counter,
    due_pending: Gauge,
    due_age_seconds: Gauge<f64, AtomicU64>,
    due_unreadable: Gauge,
    commits: Gauge,
    commit_decisions: Gauge,
    commit_conflicts: Gauge,
    commit_seconds: Gauge<f64, AtomicU64>,
    commit_queue: Gauge,
    inbound: BudgetFigures,
    outbound: BudgetFigures,
    counts: Counts,
    process: ProcessFigures,
    live: LiveFigures,
}

/// Something that is open, and is counted until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Open(Gauge);

impl Open {
    fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is measured of one route.
pub(crate) struct RouteMetrics {
    name: Arc<str>,
    seconds: Histogram,
    /// By method and status.
    answers: RwLock<Vec<((&'static str, u16), Counter)>>,
}

impl RouteMetrics {
    /// The route as it is declared.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Arc<str>,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// From a tenth of a millisecond to ten seconds.
fn seconds() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ])
}

impl Metrics {
    /// Those of a process that begins at `started_at`.
    pub(crate) fn new(started_at: Timestamp) -> Self {
        let decisions = Family::<OutcomeLabels, Counter>::default();
        let committed = decisions.get_or_create(&OutcomeLabels { outcome: "committed" }).clone();
        let mut inner = Inner {
            registry: Registry::default(),
            requests: Family::default(),
            routes: RwLock::default(),
            request_seconds: Family::new_with_constructor(seconds),
            connections: Gauge::default(),
            decisions,
            committed,
            decision_seconds: seconds(),
            deliveries: Family::default(),
            delivery_seconds: seconds(),
            deliveries_in_flight: Gauge::default(),
            requests_in_flight: Gauge::default(),
            streams: Gauge::default(),
            name_lookups: Gauge::default(),
            hints_dropped: Counter::default(),
            dead_letters: Counter::default(),
            long_work: Counter::default(),
            due_pending: Gauge::default(),
            due_age_seconds: Gauge::default(),
            due_unreadable: Gauge::default(),
            commits: Gauge::default(),
            commit_decisions: Gauge::default(),
            commit_conflicts: Gauge::default(),
            commit_seconds: Gauge::default(),
            commit_queue: Gauge::default(),
            inbound: BudgetFigures::default(),
            outbound: BudgetFigures::default(),
            counts: Counts::new(),
            process: ProcessFigures::new(started_at),
            live: LiveFigures::default(),
        };
        inner.register();
        Self(Arc::new(inner))
    }

    /// What is measured of a route.
    pub(crate) fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let known = self.0.routes.read().get(route).cloned();
        known.unwrap_or_else(|| self.0.route(route))
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &RouteMetrics, status: u16, took: Duration) {
        route.seconds.observe(took.as_secs_f64());
        let answers = route.answers.read();
        match answers.iter().find(|(answer, _)| *answer == (method, status)) {
            Some((_, count)) => drop(count.inc()),
            None => {
                drop(answers);
                let labels = RequestLabels { method, route: Arc::clone(&route.name), status };
                let count = self.0.requests.get_or_create(&labels).clone();
                count.inc();
                // Two that come here at once leave it there twice, which does no harm: it is the same counter.
                route.answers.write().push(((method, status), count));
            }
        }
    }

    /// What is measured of the bodies that are being received.
    pub(crate) fn inbound(&self) -> BudgetFigures {
        self.0.inbound.clone()
    }

    /// What is measured of the bodies that are being sent, and of their answers.
    pub(crate) fn outbound(&self) -> BudgetFigures {
        self.0.outbound.clone()
    }

    /// What is measured of connected agents.
    pub(crate) fn live(&self) -> LiveFigures {
        self.0.live.clone()
    }

    /// A connection was opened (1) or closed (-1).
    pub(crate) fn connection(&self, change: i64) {
        self.0.connections.inc_by(change);
    }

    /// A decision was committed, or not.
    pub(crate) fn decided(&self, committed: &Result<Committed, StoreError>, took: Duration) {
        if committed.is_ok() {
            self.0.committed.inc();
        } else {
            let outcome = match committed {
                Err(StoreError::Conflict) => "conflict",
                Err(StoreError::Busy(_)) => "busy",
                _ => "failed",
            };
            self.0.decisions.get_or_create(&OutcomeLabels { outcome }).inc();
        }
        self.0.decision_seconds.observe(took.as_secs_f64());
    }

    /// An attempt to deliver ended.
    pub(crate) fn delivered(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.0.deliveries.get_or_create(&DeliveryLabels { kind, outcome }).inc();
        self.0.delivery_seconds.observe(took.as_secs_f64());
    }

    /// A delivery began (1) or ended (-1).
    pub(crate) fn delivering(&self, change: i64) {
        self.0.deliveries_in_flight.inc_by(change);
    }

    /// Look-ups of names that are under way.
    pub(crate) fn name_lookups(&self) -> Gauge {
        self.0.name_lookups.clone()
    }

    /// A request is being answered, for as long as what is returned is held.
    pub(crate) fn request(&self) -> Open {
        Open::new(&self.0.requests_in_flight)
    }

    /// A stream is open, for as long as what is returned is held.
    pub(crate) fn stream(&self) -> Open {
        Open::new(&self.0.streams)
    }

    /// Connections, requests and streams that are open now.
    pub(crate) fn open(&self) -> (i64, i64, i64) {
        let Inner { connections, requests_in_flight, streams, .. } = &*self.0;
        (connections.get(), requests_in_flight.get(), streams.get())
    }

    /// A message was given up.
    pub(crate) fn dead_letter(&self) {
        self.0.dead_letters.inc();
    }

    /// A hint found no place and is left to the sweep.
    pub(crate) fn hint_dropped(&self) {
        self.0.hints_dropped.inc();
    }

    /// Something took long, and was done where nobody waits for the thread.
    pub(crate) fn long_work(&self) {
        self.0.long_work.inc();
    }

    /// What a commit ended.
    pub(crate) fn ended(&self, ended: Ended) {
        self.0.counts.ended(ended);
    }

    /// The whole as Prometheus text, with the store's figures of this moment.
    pub(crate) async fn text(&self, now: Timestamp, store: &Store) -> String {
        let inner = &self.0;
        inner.counts.refresh(store).await;
        inner.process.read();
        let writer = store.figures();
        if let Ok(backlog) = store.backlog().await {
            inner.due_pending.set(as_gauge(backlog.pending));
            inner.due_age_seconds.set(backlog.next.map_or(0.0, |due| now.since(due).as_secs_f64()));
        }
        inner.due_unreadable.set(as_gauge(writer.due_unreadable));
        inner.commits.set(as_gauge(writer.commits));
        inner.commit_decisions.set(as_gauge(writer.decisions));
        inner.commit_conflicts.set(as_gauge(writer.conflicts));
        inner.commit_seconds.set(Duration::from_micros(writer.commit_micros).as_secs_f64());
        inner.commit_queue.set(as_gauge(writer.queued));
        let mut text = String::new();
        if encode(&mut text, &inner.registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        text
    }
}

impl Inner {
    fn route(&self, route: &str) -> Arc<RouteMetrics> {
        let route: Arc<str> = Arc::from(route);
        let labels = RouteLabels { route: Arc::clone(&route) };
        let seconds = self.request_seconds.get_or_create(&labels).clone();
        let metrics =
            Arc::new(RouteMetrics { name: Arc::clone(&route), seconds, answers: RwLock::default() });
        Arc::clone(self.routes.write().entry(route).or_insert(metrics))
    }

    fn register(&mut self) {
        self.process.register(&mut self.registry);
        let registry = self.registry.sub_registry_with_prefix("signalbox");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", build);
        self.counts.register(registry);
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time to answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("connections", "Connections open", self.connections.clone());
        registry.register("decisions", "Decisions by outcome", self.decisions.clone());
        registry.register_with_unit(
            "decision_commit",
            "Time to commit a decision, waiting included",
            Unit::Seconds,
            self.decision_seconds.clone(),
        );
        registry.register("deliveries", "Delivery attempts by outcome", self.deliveries.clone());
        registry.register_with_unit(
            "delivery_duration",
            "Time of a delivery attempt",
            Unit::Seconds,
            self.delivery_seconds.clone(),
        );
        registry.register(
            "deliveries_in_flight",
            "Delivery attempts under way",
            self.deliveries_in_flight.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            self.requests_in_flight.clone(),
        );
        registry.register("streams", "Streams of events open", self.streams.clone());
        registry.register("name_lookups", "Look-ups of host names under way", self.name_lookups.clone());
        registry.register(
            "hints_dropped",
            "Meetings of tasks and agents left to the sweep",
            self.hints_dropped.clone(),
        );
        registry.register("dead_letters", "Messages given up", self.dead_letters.clone());
        registry.register(
            "long_work",
            "Decisions and checks that took long, and were made beside those that serve connections",
            self.long_work.clone(),
        );
        registry.register(
            "due_pending",
            "Pieces of due work, counted up to 100,000",
            self.due_pending.clone(),
        );
        registry.register(
            "due_unreadable",
            "Pieces of due work met since the start that this version cannot read",
            self.due_unreadable.clone(),
        );
        registry.register_with_unit(
            "due_age",
            "Age of the oldest due work that nobody has claimed",
            Unit::Seconds,
            self.due_age_seconds.clone(),
        );
        registry.register("commits", "Physical commits since the start", self.commits.clone());
        registry.register(
            "commit_batched_decisions",
            "Decisions in them: divided by commits, the batch size",
            self.commit_decisions.clone(),
        );
        registry.register("commit_conflicts", "Decisions that conflicted", self.commit_conflicts.clone());
        registry.register_with_unit(
            "commit_spent",
            "Time spent in physical commits",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register("commit_queue", "Decisions waiting to be written", self.commit_queue.clone());
        let (inbound, outbound) = (&self.inbound, &self.outbound);
        registry.register_with_unit("inbound", "Bodies being received", Unit::Bytes, inbound.held.clone());
        registry.register("inbound_refused", "Bodies that found no room", inbound.short.clone());
        registry.register_with_unit(
            "outbound",
            "Bodies being sent, and answers",
            Unit::Bytes,
            outbound.held.clone(),
        );
        registry.register("outbound_waits", "How often one of these found no room", outbound.short.clone());
        self.live.register(registry);
    }
}

fn as_gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
