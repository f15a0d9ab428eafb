//! The shared store: any number of processes over one PostgreSQL.
//!
//! Each process has one connection that writes, in groups, and a few that read. Commits of one tenant are
//! serial over all processes, because each holds that tenant's row of `tenant_locks` until it has ended:
//! what it has checked cannot change, and no reader sees an entry of the log before one that goes before it.

mod arrays;
mod batch;
mod census;
mod channels;
mod columns;
mod committer;
mod due;
mod events;
mod fault;
mod listings;
mod memory;
mod migrate;
mod nodes;
mod pipeline;
mod pool;
mod prune;
mod query;
mod reader;
mod rows;
mod sql;
mod statements;
mod target;
mod tenant;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_core::channel::{Channel, ChannelMessage};
use signalbox_core::command::AgentCommand;
use signalbox_core::decision::{ApiKey, Key, Tenant, Tool};
use signalbox_core::definition::Definition;
use signalbox_core::delivery::Message;
use signalbox_core::due::Lane;
use signalbox_core::hook::WebhookTrigger;
use signalbox_core::lease::Lease;
use signalbox_core::quota::UsageDay;
use signalbox_core::schedule::Schedule;
use signalbox_core::session::Session;
use signalbox_core::snapshot::WaitingTask;
use signalbox_core::ssh_key::SshKey;
use signalbox_core::task::Task;
use signalbox_wire::id::{AgentId, ChannelId, CommandId, NodeId, SessionId, TaskId, TenantId, WorkflowId};
use signalbox_wire::time::Timestamp;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api::{
    AgentFilter, Backlog, Census, Claimed, Committed, ConnectedAgent, Counted, DeadLetterFilter, DueKind,
    EventFilter, LaneClaim, Listed, Options, Page, Prune, Pruned, SessionFilter, StoredEvent, WaitingLanes,
    WriterFigures,
};
use crate::backend::{AgentWithStatus, Backend};
use crate::cache::Cache;
use crate::commit::Commit;
use crate::error::StoreError;
use crate::lost::LostLeases;
use crate::read_row::ReadRow;
use crate::retention::Rounds;
use crate::rotation::{LaneRotation, Sweep, TenantRotation};
use crate::sessions::ByWorkflow;
use crate::strangers::Strangers;

use committer::{Committer, Figures, Job};
use due::ClaimedBatch;
use pool::Pool;
use prune::{Pruning, Resume};
use reader::Reader;
use target::Target;
use writer::Writer;

/// A store in a PostgreSQL database.
struct Postgres {
    pool: Pool,
    reader: Reader,
    jobs: mpsc::Sender<Job>,
    committer: Mutex<Option<JoinHandle<()>>>,
    figures: Arc<Figures>,
    lost: Arc<LostLeases>,
    unreadable: AtomicU64,
    cache: Arc<Cache>,
    sweep: Mutex<Sweep>,
    turns: Mutex<TenantRotation>,
    lanes: Mutex<LaneRotation>,
    resume: parking_lot::Mutex<Resume>,
    rounds: Mutex<Rounds>,
    node: NodeId,
    patience: Duration,
}

/// Opens the store in the database that the options' URL names, making its tables where there are none.
pub(crate) async fn open(
    options: &Options,
    cache: Arc<Cache>,
    strangers: Arc<Strangers>,
) -> Result<Arc<dyn Backend>, StoreError> {
    let target = Target::new(options)?;
    let mut client = target.connect_first().await?;
    migrate::run(&mut client).await?;
    drop(client);
    let writer = Writer::open(&target).await?;
    let (figures, lost) = (Arc::new(Figures::default()), Arc::new(LostLeases::default()));
    let (sender, jobs) = mpsc::channel(options.queue_max.max(1));
    let committer = Committer {
        target: target.clone(),
        cache: Arc::clone(&cache),
        figures: Arc::clone(&figures),
        lost: Arc::clone(&lost),
        strangers,
        batch_max: options.batch_max.max(1),
        jobs,
        aside: VecDeque::new(),
    };
    let pool = Pool::new(target)?;
    Ok(Arc::new(Postgres {
        reader: Reader::new(pool.clone()),
        pool,
        jobs: sender,
        committer: Mutex::new(Some(tokio::spawn(committer.run(writer)))),
        figures,
        lost,
        unreadable: AtomicU64::new(0),
        cache,
        sweep: Mutex::default(),
        turns: Mutex::default(),
        lanes: Mutex::default(),
        resume: parking_lot::Mutex::default(),
        rounds: Mutex::default(),
        node: options.node.clone(),
        patience: options.patience,
    }))
}

impl Postgres {
    fn queued(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// Ends leases that this process may hold without knowing.
    async fn free_lost(&self, now: Timestamp) -> Result<(), StoreError> {
        let lost = self.lost.due(now);
        if lost.is_empty() {
            return Ok(());
        }
        let freed = due::free_lost(&self.pool, &self.node, &lost).await;
        freed.inspect_err(|_| self.lost.add(lost.into_iter().map(Timestamp::from_micros)))
    }

    /// What a claim took; where its answer was lost, it may have taken anything.
    fn note_claim(
        &self,
        claimed: Result<ClaimedBatch, StoreError>,
        lease: &Lease,
    ) -> Result<Vec<Claimed>, StoreError> {
        let batch = claimed.inspect_err(|_| self.lost.add([lease.until]))?;
        self.unreadable.fetch_add(batch.unreadable as u64, Ordering::Relaxed);
        Ok(batch.claimed)
    }
}

#[async_trait::async_trait]
impl Backend for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn by_workflow(&self) -> ByWorkflow {
        ByWorkflow::AndStatus
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job::Commit(Box::new(commit), answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy(self.queued()),
            mpsc::error::TrySendError::Closed(_) => StoreError::Unavailable("the store is closed".to_owned()),
        })?;
        match timeout(self.patience, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable("the writer has ended".to_owned())),
            Err(_) => Err(StoreError::Unavailable(format!(
                "PostgreSQL has not taken the commit within {} s",
                self.patience.as_secs()
            ))),
        }
    }

    async fn read(&self, tenant: &TenantId, key: &Key) -> Result<Option<ReadRow>, StoreError> {
        if Reader::takes(key) {
            return self.reader.answer(key, self.reader.ask(tenant, key)).await;
        }
        rows::row(&self.pool, &self.cache, tenant, key).await
    }

    async fn read_many(&self, tenant: &TenantId, keys: &[Key]) -> Result<Vec<Option<ReadRow>>, StoreError> {
        // All are asked for before the first is awaited.
        let asked = keys.iter().map(|key| Reader::takes(key).then(|| self.reader.ask(tenant, key)));
        let asked: Vec<_> = asked.collect();
        let alone: Vec<_> = keys.iter().filter(|key| !Reader::takes(key)).cloned().collect();
        let alone = match alone.is_empty() {
            true => Vec::new(),
            false => rows::rows(&self.pool, &self.cache, tenant, &alone).await?,
        };
        let (mut alone, mut rows) = (alone.into_iter(), Vec::with_capacity(keys.len()));
        for (key, asked) in keys.iter().zip(asked) {
            rows.push(match asked {
                Some(asked) => self.reader.answer(key, asked).await?,
                None => alone.next().flatten(),
            });
        }
        Ok(rows)
    }

    async fn version(&self, tenant: &TenantId, key: &Key) -> Result<Option<i64>, StoreError> {
        rows::version(&self.pool, tenant, key).await
    }

    async fn candidates(
        &self,
        tenant: &TenantId,
        route: &str,
        limit: usize,
    ) -> Result<Vec<AgentId>, StoreError> {
        rows::candidates(&self.pool, tenant, route, limit).await
    }

    async fn waiting(
        &self,
        tenant: &TenantId,
        routes: &[String],
        limit: usize,
    ) -> Result<Vec<WaitingTask>, StoreError> {
        rows::waiting(&self.pool, tenant, routes, limit).await
    }

    async fn ahead(&self, tenant: &TenantId, task: &Task, most: usize) -> Result<usize, StoreError> {
        rows::ahead(&self.pool, tenant, task, most).await
    }

    fn maybe_waiting(&self, _: &TenantId, _: &[String]) -> bool {
        // Another process may have let a task wait a moment ago.
        true
    }

    async fn waiting_tasks(
        &self,
        limit: usize,
        per_route: usize,
    ) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
        due::sweep(&self.pool, &mut *self.sweep.lock().await, limit, per_route).await
    }

    async fn claim(
        &self,
        now: Timestamp,
        lease: Lease,
        kind: DueKind,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.free_lost(now).await?;
        self.note_claim(due::claim(&self.pool, now, &lease, kind, limit, &self.turns).await, &lease)
    }

    async fn next_due(&self, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
        due::next(&self.pool, kind).await
    }

    async fn waiting_in_lane(
        &self,
        tenant: &TenantId,
        kind: DueKind,
        lane: &Lane,
        most: usize,
    ) -> Result<usize, StoreError> {
        due::waiting_in_lane(&self.pool, tenant, kind, lane, most).await
    }

    async fn waiting_lanes(&self, now: Timestamp, kind: DueKind) -> Result<WaitingLanes, StoreError> {
        due::waiting_lanes(&self.pool, now, kind, self.lanes.lock().await.of(kind)).await
    }

    async fn claim_lanes(
        &self,
        lease: Lease,
        kind: DueKind,
        wanted: Vec<LaneClaim>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let now = wanted.iter().map(|lane| lane.visible_by).max().unwrap_or_default();
        self.free_lost(now).await?;
        self.note_claim(due::claim_lanes(&self.pool, &lease, kind, &wanted).await, &lease)
    }

    async fn move_held(
        &self,
        held: &[Claimed],
        until: Timestamp,
        keeper: Option<&NodeId>,
    ) -> Result<usize, StoreError> {
        due::move_held(&self.pool, held, until, keeper).await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        due::time(&self.pool).await.map(Some)
    }

    async fn release(&self) -> Result<(), StoreError> {
        due::release(&self.pool, &self.node).await
    }

    async fn node_is_here(&self) -> Result<(), StoreError> {
        nodes::is_here(&self.pool, &self.node).await
    }

    async fn node_left(&self) -> Result<(), StoreError> {
        nodes::left(&self.pool, &self.node).await
    }

    async fn lost_nodes(&self, silent_for: Duration, most: usize) -> Result<Vec<NodeId>, StoreError> {
        nodes::lost(&self.pool, silent_for, most).await
    }

    async fn forget_node(&self, node: &NodeId, silent_for: Duration) -> Result<bool, StoreError> {
        nodes::forget(&self.pool, node, silent_for).await
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        nodes::all(&self.pool).await
    }

    async fn backlog(&self, limit: u64) -> Result<Backlog, StoreError> {
        due::backlog(&self.pool, limit).await
    }

    async fn census(&self, limit: usize) -> Result<Census, StoreError> {
        census::census(&self.pool, limit).await
    }

    async fn agents(
        &self,
        tenant: &TenantId,
        filter: &AgentFilter,
        page: &Page,
    ) -> Result<Listed<AgentWithStatus>, StoreError> {
        listings::agents(&self.pool, tenant, filter, page).await
    }

    async fn connected_nodes(&self, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        listings::connected_nodes(&self.pool, limit).await
    }

    async fn connected_agents(
        &self,
        node: &NodeId,
        after: Option<(&TenantId, &AgentId)>,
        limit: usize,
    ) -> Result<Vec<ConnectedAgent>, StoreError> {
        listings::connected_agents(&self.pool, node, after, limit).await
    }

    async fn sessions(
        &self,
        tenant: &TenantId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Session>>, StoreError> {
        listings::sessions(&self.pool, tenant, filter, page).await
    }

    async fn tools(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Tool>>, StoreError> {
        listings::tools(&self.pool, tenant, page).await
    }

    async fn channels(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Channel>>, StoreError> {
        channels::by_name(&self.pool, tenant, page).await
    }

    async fn channel_messages(
        &self,
        tenant: &TenantId,
        channel: &ChannelId,
        from: (u64, Timestamp),
        most: (usize, usize),
    ) -> Result<Vec<Arc<ChannelMessage>>, StoreError> {
        channels::history(&self.pool, tenant, channel, from, most).await
    }

    async fn ssh_keys(
        &self,
        tenant: &TenantId,
        of: Option<&AgentId>,
        page: &Page,
    ) -> Result<Listed<Arc<SshKey>>, StoreError> {
        listings::ssh_keys(&self.pool, tenant, of, page).await
    }

    async fn schedules(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Schedule>>, StoreError> {
        listings::schedules(&self.pool, tenant, page).await
    }

    async fn commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        page: &Page,
    ) -> Result<Listed<Arc<AgentCommand>>, StoreError> {
        listings::commands(&self.pool, tenant, agent, page).await
    }

    async fn open_commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<usize, StoreError> {
        listings::open_commands(&self.pool, tenant, agent, most).await
    }

    async fn open_command_ids(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<Vec<CommandId>, StoreError> {
        listings::open_command_ids(&self.pool, tenant, agent, most).await
    }

    async fn hooks(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<WebhookTrigger>>, StoreError> {
        listings::hooks(&self.pool, tenant, page).await
    }

    async fn workflows(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Definition>>, StoreError> {
        listings::workflows(&self.pool, tenant, page).await
    }

    async fn revisions(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        page: &Page,
    ) -> Result<Listed<Arc<Definition>>, StoreError> {
        listings::revisions(&self.pool, tenant, workflow, page).await
    }

    async fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Message>>, StoreError> {
        listings::dead_letters(&self.pool, tenant, filter, page).await
    }

    async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<ApiKey>>, StoreError> {
        listings::keys(&self.pool, tenant, page).await
    }

    async fn tenants(&self, page: &Page) -> Result<Listed<Tenant>, StoreError> {
        listings::tenants(&self.pool, page).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        listings::tenant(&self.pool, id).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listed<StoredEvent>, StoreError> {
        events::list(&self.pool, tenant, filter, page).await
    }

    async fn first_sequence(&self, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
        events::first_sequence(&self.pool, tenant).await
    }

    async fn usage(&self, tenant: &TenantId, first: u32, last: u32) -> Result<Vec<UsageDay>, StoreError> {
        listings::usage(&self.pool, tenant, first, last).await
    }

    async fn count(&self, tenant: &TenantId, what: Counted, most: u64) -> Result<u64, StoreError> {
        listings::count(&self.pool, tenant, what, most).await
    }

    async fn key_by_hash(&self, hash: &str) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError> {
        listings::key_by_hash(&self.pool, hash).await
    }

    async fn open_session_of_workflow(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<bool, StoreError> {
        listings::open_session(&self.pool, tenant, workflow, revision).await
    }

    async fn session_of_task(
        &self,
        tenant: &TenantId,
        task: &TaskId,
    ) -> Result<Option<SessionId>, StoreError> {
        listings::session_of_task(&self.pool, tenant, task).await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError> {
        let pruning = Pruning::begin(&self.pool, &self.cache, &self.resume, prune).await?;
        Rounds::go(&self.rounds, &pruning, &prune).await
    }

    async fn remove_history(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        limit: usize,
    ) -> Result<usize, StoreError> {
        prune::history(&self.pool, tenant, session, limit).await
    }

    async fn remove_tenant(&self, tenant: &TenantId, limit: usize) -> Result<usize, StoreError> {
        tenant::remove(&self.pool, &self.cache, tenant, limit).await
    }

    async fn backup(&self, _: &Path) -> Result<(), StoreError> {
        Err(StoreError::Open(
            "a store in PostgreSQL is backed up with pg_dump, or with the server's own means".to_owned(),
        ))
    }

    async fn is_writable(&self) -> Result<(), StoreError> {
        let sql = "SELECT current_setting('transaction_read_only') = 'on'";
        match self.pool.query_one(sql, &[]).await?.map(|row| query::get(&row, 0)).transpose()? {
            Some(true) => {
                Err(StoreError::Unavailable("PostgreSQL takes no writes: it is read-only".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn figures(&self) -> WriterFigures {
        let due_unreadable = self.unreadable.load(Ordering::Relaxed);
        WriterFigures { due_unreadable, ..self.figures.read(self.queued()) }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(committer) = self.committer.lock().await.take() else { return Ok(()) };
        // A full queue takes this as soon as there is room; one whose reader has gone needs no telling.
        let _gone = timeout(self.patience, self.jobs.send(Job::Close)).await;
        let ended = timeout(self.patience, committer).await;
        self.pool.close();
        match ended {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable("the writer did not end in order".to_owned())),
        }
    }
}
