//! The driver: core's attempt loop over the real store, and what follows from a commit. Whatever the operation, this
//! is the only way anything is written.

use std::sync::Arc;
use std::time::Duration;

use signalbox_bus::WakeUps;
use signalbox_core::connection::{DisconnectCause, Disconnected};
use signalbox_core::decision::{IdempotencyRecord, Key, MatchHint, Row, Write};
use signalbox_core::due::{Due, Lane};
use signalbox_core::engine::Operation;
use signalbox_core::engine::attempt::{Asked, Attempt, Claim, Member, Next, Resolution, Terms};
use signalbox_core::lease::Lease;
use signalbox_core::limits::{CANDIDATES_LOOKED_AT, Policy};
use signalbox_core::{Decision, Need, Rejected, Snapshot};
use signalbox_store::{AgentFilter, Claimed, DueKind, Page, Store, StoreError};
use signalbox_wire::id::{AgentId, NodeId, SessionId, TenantId};
use signalbox_wire::time::Timestamp;

use super::follow::to_the_end;
use super::in_flight::{AgentChoice, InFlightAgents};
use super::lines::{InLine, Joined, LINE_MAX, LineKey, Lines, Service, Waiting};
use super::long::{self, LongWork};
use super::mailbox::Mailbox;
use super::peers::Peers;
use super::slots::Deliveries;
use super::start_inputs::StartInputs;
use super::taken::TakenAttempts;
use crate::clock::{self, Stopwatch};
use crate::http::idempotency::IdempotencyClaim;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::{Quotas, Usage};
use crate::telemetry::Ended;
use crate::telemetry::metrics::Metrics;

/// How long conflicts are retried before the caller is told to come back.
const CONTENTION_PATIENCE: Duration = Duration::from_secs(10);

/// Operations decided as one by an async worker; more of them would hold up its connections.
const DECIDED_INLINE_MAX: usize = 8;

/// Agents in other decisions that are passed over to find one that is in none.
const CANDIDATES_PASSED_OVER_MAX: usize = 256;
/// Agents in other decisions from which on nodes share the agents.
const SHARED_FROM: usize = 4;
/// Nodes whose agents are looked past, at most, to find as many of this node's own as one node alone would find.
const NODES_LOOKED_PAST_MAX: usize = 8;
/// Agents of one route that are listed at most to find one that can be reached.
const CANDIDATES_LISTED_MAX: usize = 10_000;

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
    peers: Peers,
    inputs: StartInputs,
    long: LongWork,
    taken: TakenAttempts,
    quotas: Quotas,
}

/// An operation that can be driven: handed to whoever decides for those that wait in one line.
pub(crate) trait Driven: Operation<Output: Send + 'static> + Clone + Send + Sync + 'static {}

impl<O: Operation<Output: Send + 'static> + Clone + Send + Sync + 'static> Driven for O {}

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
        (mailbox, quotas): (Mailbox, Quotas),
        metrics: Metrics,
    ) -> Self {
        let (lines, in_flight_agents, inputs) =
            (Lines::default(), InFlightAgents::default(), StartInputs::default());
        Self(Arc::new(Inner {
            store,
            wake_ups,
            policy,
            node,
            deliveries,
            mailbox,
            long: LongWork::new(metrics.clone()),
            metrics,
            lines,
            in_flight_agents,
            peers: Peers::default(),
            inputs,
            taken: TakenAttempts::default(),
            quotas,
        }))
    }

    /// Room for what takes long, decisions or not.
    pub(crate) fn long_work(&self) -> &LongWork {
        &self.0.long
    }

    /// How other parts of the server, and other nodes, are woken.
    pub(crate) fn wake_ups(&self) -> &WakeUps {
        &self.0.wake_ups
    }

    /// This node.
    pub(crate) fn node(&self) -> &NodeId {
        &self.0.node
    }

    /// Takes over which nodes are there; none where there can be no other.
    pub(crate) fn set_peers(&self, nodes: Vec<NodeId>) {
        self.0.peers.set(nodes);
    }

    /// The bounds and defaults that decisions obey.
    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Whether an agent of this name is registered.
    pub(crate) async fn knows_agent_named(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
        let filter = AgentFilter { name: Some(name.to_owned()), ..AgentFilter::default() };
        let page = Page { limit: 1, after: None };
        Ok(!self.0.store.agents(tenant, &filter, &page).await?.items.is_empty())
    }

    /// What agents have taken, as far as that is not written.
    pub(crate) fn taken(&self) -> TakenAttempts {
        self.0.taken.clone()
    }

    /// Runs an operation to its answer.
    pub(crate) async fn run<O>(&self, tenant: &TenantId, operation: &O) -> Result<O::Output, DriveError>
    where
        O: Driven,
    {
        match self.resolve(tenant, Asked::new(operation)).await? {
            Resolution::Made(output) => Ok(output),
            Resolution::Rejected(rejected) => Err(rejected.into()),
            Resolution::Repeated(_) => Err(no_resolution().into()),
        }
    }

    /// Runs an operation and tells its answer. Under an `Idempotency-Key` the answer is kept in the same
    /// commit, so that the same request again gets it again, also after a crash.
    pub(crate) async fn answer<O>(
        &self,
        tenant: &TenantId,
        claim: Option<&IdempotencyClaim>,
        operation: &O,
        tell: impl Fn(&O::Output) -> Reply + Send + Sync + 'static,
    ) -> Result<Reply, Refusal>
    where
        O: Driven,
    {
        let Some(claim) = claim else {
            return Ok(tell(&self.run(tenant, operation).await?));
        };
        let tell = Arc::new(tell);
        let record = {
            let (tell, claim) = (Arc::clone(&tell), claim.clone());
            move |output: &O::Output, now| claim.record(&tell(output), now)
        };
        let kept = Claim { key: claim.key.clone(), request: claim.request.clone(), record };
        match self.resolve(tenant, Asked::under(operation, Some(kept))).await? {
            Resolution::Made(output) => {
                claim.keep();
                Ok(tell(&output))
            }
            Resolution::Repeated(kept) => Ok(Reply::kept(&kept)),
            Resolution::Rejected(rejected) => Err(rejected.into()),
        }
    }

    /// Attempts what is asked until it is committed, refused, or the store cannot answer. What conflicts, or would
    /// with those that have, goes on in the line of what it conflicts about.
    async fn resolve<O, F>(
        &self,
        tenant: &TenantId,
        mut asked: Asked<&O, F>,
    ) -> Result<Resolution<O::Output>, DriveError>
    where
        O: Driven,
        F: Fn(&O::Output, Timestamp) -> IdempotencyRecord + Send + 'static,
    {
        let inner = &*self.0;
        let watch = Stopwatch::start();
        let mut attempt = Attempt::new(clock::now(), clock::seed());
        let operation: &O = asked.operation();
        // Others stand in line for its session: decided beside them it would conflict. One that changes nothing waits too.
        let in_line = inner.lines.of(|| Some((tenant.clone(), session_named(operation)?)));
        let key = if let Some(key) = in_line {
            key
        } else {
            loop {
                let mut choice = inner.in_flight_agents.choice(tenant);
                let decided =
                    inner.decide(&mut choice, &mut attempt, std::slice::from_mut(&mut asked)).await?;
                let Some(decision) = decided else {
                    return asked.take_resolution().ok_or_else(|| no_resolution().into());
                };
                choice.follow(&decision);
                let session = session_of(&decision);
                let line = || Some((tenant.clone(), contended(operation, session.clone(), &choice)?));
                if !inner.lines.has(line) {
                    match self.commit(tenant, decision, attempt.now()).await {
                        Ok(()) => return asked.take_resolution().ok_or_else(|| no_resolution().into()),
                        Err(StoreError::Conflict) if watch.elapsed() < CONTENTION_PATIENCE => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                // What it chose is free for others while it stands in line: it ends with this round.
                match line() {
                    Some(key) => break key,
                    // It names nothing that others could line up for, as a registration under a name does.
                    None => attempt.conflicted(clock::now(), clock::seed()),
                }
            }
        };
        let (_, claim) = asked.into_parts();
        let (waiting, answer) = InLine::new(Asked::under(operation.clone(), claim));
        match inner.lines.join(&key, Box::new(waiting)) {
            Joined::AsFirst => drop(tokio::spawn(self.clone().serve(key))),
            Joined::Behind => {}
            Joined::Full => return Err(StoreError::Busy(LINE_MAX).into()),
        }
        answer.await.unwrap_or_else(|_| Err(no_resolution())).map_err(DriveError::from)
    }

    /// Serves a line until nobody waits in it.
    async fn serve(self, key: LineKey) {
        let mut service = Service::of(&self.0.lines, &key);
        let mut is_first = true;
        loop {
            let mut members = service.next();
            if members.is_empty() {
                return;
            }
            let committed = self.fold(&key.0, &mut members, is_first).await;
            is_first = false;
            if let (Err(StoreError::Corrupt(_)), true) = (&committed, members.len() > 1) {
                // One of them finds what cannot be read, and must not spoil the others.
                for member in members {
                    let mut alone = vec![member];
                    let committed = self.fold(&key.0, &mut alone, false).await;
                    alone.into_iter().for_each(|member| member.answer(committed.clone()));
                }
                continue;
            }
            let (resolved, put_off): (Vec<_>, Vec<_>) =
                members.into_iter().partition(|member| committed.is_err() || member.is_resolved());
            service.put_back(put_off);
            resolved.into_iter().for_each(|member| member.answer(committed.clone()));
        }
    }

    /// Decides and commits what several ask for as one. `is_known_old`: what memory holds has just conflicted.
    async fn fold(
        &self,
        tenant: &TenantId,
        members: &mut [Box<dyn Waiting>],
        is_known_old: bool,
    ) -> Result<(), StoreError> {
        let inner = &*self.0;
        let watch = Stopwatch::start();
        let mut attempt = Attempt::new(clock::now(), clock::seed());
        if is_known_old {
            attempt.conflicted(clock::now(), clock::seed());
        }
        loop {
            let mut choice = inner.in_flight_agents.choice(tenant);
            let Some(decision) = inner.decide(&mut choice, &mut attempt, members).await? else {
                return Ok(());
            };
            choice.follow(&decision);
            match self.commit(tenant, decision, attempt.now()).await {
                Err(StoreError::Conflict) if watch.elapsed() < CONTENTION_PATIENCE => {
                    attempt.conflicted(clock::now(), clock::seed());
                }
                committed => return committed,
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
        if decision.due.is_empty() && decision.hints.is_empty() && decision.disconnected.is_empty() {
            return self.0.commit(tenant, decision, now).await;
        }
        // A client that hangs up while this is being written takes nothing away from what follows.
        let (inner, tenant) = (Arc::clone(&self.0), tenant.clone());
        to_the_end(async move { inner.commit(&tenant, decision, now).await }).await
    }
}

/// A defect of the driver: every operation comes to something.
fn no_resolution() -> StoreError {
    StoreError::Unavailable("it is not known what came of the operation".to_owned())
}

/// What an operation most likely conflicts about: the session that it is about first, else the first row that it
/// names, else the agent that it chose.
fn contended(
    operation: &impl Operation,
    session: Option<SessionId>,
    choice: &AgentChoice<'_>,
) -> Option<Key> {
    let named = || session_named(operation).or_else(|| operation.keys().into_iter().next());
    let chosen = || choice.agents().first().cloned().map(Key::Agent);
    session.map(Key::Session).or_else(named).or_else(chosen)
}

/// The session that an operation names.
fn session_named(operation: &impl Operation) -> Option<Key> {
    operation.keys().into_iter().find(|key| matches!(key, Key::Session(_)))
}

/// How many attempts of tasks a decision gives to agents.
fn dispatched(decision: &Decision) -> u64 {
    decision.events.iter().filter(|event| event.kind == "task.dispatched").count() as u64
}

/// The session that a decision is about first: that of the first event in a session's history.
fn session_of(decision: &Decision) -> Option<SessionId> {
    decision.events.iter().find_map(|event| event.session.as_ref()).map(|(session, _)| session.clone())
}

impl Inner {
    /// Takes an attempt as far as a decision to commit; `None` where there is nothing to commit.
    async fn decide<M: Member>(
        &self,
        choice: &mut AgentChoice<'_>,
        attempt: &mut Attempt,
        members: &mut [M],
    ) -> Result<Option<Decision>, StoreError> {
        let policy = self.policy.of(choice.tenant());
        let policy = policy.as_ref();
        loop {
            let terms = Terms { policy, inputs: Some(&self.inputs) };
            let next = if attempt.allows_long() {
                self.long.run(|| attempt.step(members, terms)).await
            } else if members.len() > DECIDED_INLINE_MAX {
                long::aside(|| attempt.step(members, terms))
            } else {
                attempt.step(members, terms)
            };
            match next {
                Next::Load(need) => self.load(choice, need, attempt).await?,
                Next::Long => attempt.allow_long(),
                Next::Commit(decision) => return Ok(Some(decision)),
                Next::Done => return Ok(None),
            }
        }
    }

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
        let has_open = self.deliveries.room(DueKind::Delivery).open_count() > 0;
        let (mut nodes, mut most) = self.candidates_to_list(&tenant);
        let shown = loop {
            let mut listed = self.store.candidates(&tenant, &route, most).await?;
            let is_all = listed.len() < most;
            if has_open {
                listed = self.reachable_of(&tenant, &route, most, listed).await?;
            }
            let all = listed.len();
            let (listed, own) = if nodes > 1 { self.peers.prefer(&self.node, listed) } else { (listed, all) };
            let (now, more) = self.candidates_to_list(&tenant);
            if is_all || more <= most || choice.is_any_free(listed.iter().take(own)) {
                break choice.choose(listed, CANDIDATES_LOOKED_AT);
            }
            // Decisions here have chosen all that were listed meanwhile.
            (nodes, most) = (now, more);
        };
        let first = shown.iter().take(1);
        let rows = first.flat_map(|agent| [Key::Agent(agent.clone()), Key::Status(agent.clone())]);
        self.store.load(&tenant, &Need::Rows(rows.collect()), snapshot, fresh).await?;
        snapshot.show_candidates(route, shown);
        Ok(())
    }

    /// The nodes that share the agents now, and how many candidates are listed so that some are in no other decision here. With
    /// little to decide, nodes seldom meet: then they share nothing, and the agent that was used least recently is taken.
    fn candidates_to_list(&self, tenant: &TenantId) -> (usize, usize) {
        let passed_over = self.in_flight_agents.count(tenant).min(CANDIDATES_PASSED_OVER_MAX);
        let nodes = if passed_over < SHARED_FROM { 1 } else { self.peers.count().min(NODES_LOOKED_PAST_MAX) };
        (nodes, (CANDIDATES_LOOKED_AT + passed_over) * nodes)
    }

    /// The lanes of agents that a decision registers, while any lane is left alone: whoever registers is back.
    fn signs_of_life(&self, decision: &Decision) -> Vec<Lane> {
        if self.deliveries.room(DueKind::Delivery).open_count() == 0 {
            return Vec::new();
        }
        let agents = decision.writes.iter().filter_map(|write| match write {
            Write::Put { row: Row::Agent(agent), .. } => agent.endpoint.is_some().then(|| agent.lane()),
            _ => None,
        });
        agents.collect()
    }

    /// Those that can be reached now of the agents of a route, of which `listed` are the first `most`. Agents that cannot be
    /// reached hide no others: more are listed until enough can.
    async fn reachable_of(
        &self,
        tenant: &TenantId,
        route: &str,
        mut most: usize,
        mut listed: Vec<AgentId>,
    ) -> Result<Vec<AgentId>, StoreError> {
        loop {
            let (count, is_all) = (listed.len(), listed.len() < most);
            let reachable = self.reachable(tenant, listed).await?;
            let is_enough = reachable.len() >= CANDIDATES_LOOKED_AT || reachable.len() == count;
            if is_enough || is_all || most >= CANDIDATES_LISTED_MAX {
                return Ok(reachable);
            }
            most = (most * 4).min(CANDIDATES_LISTED_MAX);
            listed = self.store.candidates(tenant, route, most).await?;
        }
    }

    /// Those of `agents` whose destination is not left alone now.
    async fn reachable(&self, tenant: &TenantId, agents: Vec<AgentId>) -> Result<Vec<AgentId>, StoreError> {
        let (room, now) = (self.deliveries.room(DueKind::Delivery), clock::now());
        let mut reachable = Vec::with_capacity(agents.len());
        for agent in agents {
            let known = self.store.agent(tenant, &agent).await?;
            if !known.is_some_and(|known| room.is_left_alone(tenant, &known.value.lane(), now)) {
                reachable.push(agent);
            }
        }
        Ok(reachable)
    }

    async fn commit(
        &self,
        tenant: &TenantId,
        mut decision: Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let hints = std::mem::take(&mut decision.hints);
        let disconnected = std::mem::take(&mut decision.disconnected);
        let (timers, due_now): (Vec<Due>, Vec<Due>) = decision
            .due
            .iter()
            .filter(|due| due.at <= now)
            .cloned()
            .partition(|due| DueKind::of(&due.work) == DueKind::Timer);
        let next_due: Vec<_> = decision
            .due
            .iter()
            .flat_map(|due| [Some((DueKind::of(&due.work), due.at)), due.ends.map(|at| (DueKind::Timer, at))])
            .flatten()
            .filter(|(_, at)| *at > now)
            .collect();
        let tasks = dispatched(&decision);
        let said = self.taken.said(&decision);
        let signs_of_life = self.signs_of_life(&decision);
        // What is to be sent at once is born leased to this process where there are slots for all of it: no second commit
        // is needed to claim it. Else it stays free for whoever has.
        let kinds: Vec<_> = due_now.iter().map(|due| (DueKind::of(&due.work), due.lane.clone())).collect();
        let slots = if kinds.is_empty() { None } else { self.deliveries.reserve(tenant, &kinds, now) };
        let lease = slots.as_ref().map(|_| Lease::new(self.node.clone(), now, self.policy.lease));
        let has_events = !decision.events.is_empty();
        let ended = Ended::by(&decision);
        let watch = Stopwatch::start();
        let committed = self.store.commit(tenant, decision, now, lease.clone()).await;
        self.metrics.decided(&committed, watch.elapsed());
        let committed = committed?;
        if tasks > 0 {
            self.quotas.count(tenant, Usage::Tasks, tasks, now);
        }
        self.taken.follow(tenant, said);
        self.metrics.ended(ended);
        if has_events {
            self.wake_ups.log_grew(tenant, committed.sequence);
        }
        if let (Some(slots), Some(lease)) = (slots, lease) {
            for (Due { work, at, lane, .. }, slot) in due_now.into_iter().zip(slots) {
                let (tenant, lease) = (tenant.clone(), lease.clone());
                self.mailbox.deliver(Claimed { tenant, work, due_at: at, lane, lease }, slot);
            }
        } else {
            kinds.into_iter().for_each(|(kind, _)| self.wake(kind, now));
        }
        if !timers.is_empty() {
            self.wake(DueKind::Timer, now);
        }
        for lane in signs_of_life {
            self.deliveries.room(DueKind::Delivery).try_again(tenant, &lane, now);
        }
        next_due.into_iter().for_each(|(kind, at)| self.wake(kind, at));
        // What this node has told the end of needs no closing.
        let is_told = |ended: &Disconnected| {
            ended.cause == DisconnectCause::Ended && ended.connection.node == self.node
        };
        for connection in disconnected.into_iter().filter(|ended| !is_told(ended)) {
            self.mailbox.disconnected(tenant.clone(), connection);
        }
        for hint in hints {
            match hint {
                MatchHint::Connected(agent) => self.is_connected(tenant, &agent),
                MatchHint::Ended(command) => self.wake_ups.command_ended(tenant, &command),
                hint => self.mailbox.hint(tenant.clone(), hint),
            }
        }
        Ok(())
    }

    /// What waits for a connection of this agent may be sent.
    fn is_connected(&self, tenant: &TenantId, agent: &AgentId) {
        let (room, now) = (self.deliveries.room(DueKind::Delivery), clock::now());
        for lane in [Lane::agent(agent), Lane::commands(agent)] {
            room.try_again(tenant, &lane, now);
        }
        self.wake(DueKind::Delivery, now);
    }

    /// Work of this kind is due at `at`: whoever comes first takes it.
    fn wake(&self, kind: DueKind, at: Timestamp) {
        self.mailbox.wake(kind, at);
        self.wake_ups.work_is_due(kind.name(), at);
    }
}
