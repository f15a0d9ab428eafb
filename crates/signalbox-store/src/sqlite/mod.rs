//! The embedded store: one file in WAL mode with a redo log before it, in which every commit is flushed; one thread that
//! writes in groups, and a few connections that read.
//!
//! The process is the file's only writer (whoever runs it locks the data directory), so leases left in it are
//! over when it is opened, and the cache is always current.

mod access;
mod append;
mod apply;
mod available;
pub(crate) mod backup;
mod census;
mod channels;
mod checkpoint;
mod connect;
mod convert;
mod due;
mod entry_removal;
mod events;
mod fault;
mod job;
mod leases;
mod listings;
mod log;
mod packed;
mod pending;
mod prune;
mod queue;
mod readers;
mod record;
mod recover;
mod redo;
mod row_hints;
mod statements;
mod tenant;
mod unused;
mod waiting;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
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
use tokio::sync::oneshot;

use crate::api::{
    AgentFilter, Backlog, Census, Claimed, Committed, ConnectedAgent, Counted, DeadLetterFilter, DueKind,
    EventFilter, LaneClaim, Listed, Options, Page, Prune, Pruned, SessionFilter, StoredEvent, WaitingLanes,
    WriterFigures,
};
use crate::backend::{AgentWithStatus, Backend};
use crate::cache::Cache;
use crate::commit::Commit;
use crate::error::StoreError;
use crate::read_row::ReadRow;
use crate::retention::Rounds;
use crate::rotation::{LaneRotation, Sweep, TenantRotation};
use crate::schema::TableId;
use crate::sessions::ByWorkflow;

use access::Access;
use available::AvailableAgents;
use job::Job;
use pending::{Found, Parts};
use prune::{Pruning, Resume};
use readers::Readers;
use redo::RedoLog;
use waiting::WaitingTasks;
use writer::Shared;

/// How often somebody looks whether the disk hangs.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// A store in one file.
pub(crate) struct Sqlite {
    access: Access,
    thread: Mutex<Option<JoinHandle<()>>>,
    sweep: Arc<Mutex<Sweep>>,
    turns: Arc<Mutex<TenantRotation>>,
    lanes: Arc<Mutex<LaneRotation>>,
    resume: Arc<Mutex<Resume>>,
    rounds: tokio::sync::Mutex<Rounds>,
    node: NodeId,
    unreadable: AtomicU64,
}

/// Opens the store in the file at `path`, creating it where there is none.
pub(crate) async fn open(
    path: &str,
    options: &Options,
    cache: Arc<Cache>,
) -> Result<Arc<dyn Backend>, StoreError> {
    if path.is_empty() || path.starts_with(':') {
        return Err(StoreError::Open("name a file: sqlite:///path/to/file.db".to_owned()));
    }
    let (path, options) = (PathBuf::from(path), options.clone());
    let opened = tokio::task::spawn_blocking(move || Sqlite::open(path, &options, cache)).await;
    match opened {
        Ok(sqlite) => {
            let sqlite = sqlite?;
            tokio::spawn(watch(Arc::downgrade(&sqlite.access.shared), sqlite.access.patience));
            Ok(Arc::new(sqlite))
        }
        Err(error) => Err(StoreError::Open(format!("the database could not be opened: {error}"))),
    }
}

/// Sees to it that nobody waits for a hanging disk for much longer than `patience`.
async fn watch(shared: Weak<Shared>, patience: Duration) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        match shared.upgrade() {
            Some(shared) => shared.give_up_after(patience),
            None => return,
        }
    }
}

impl Sqlite {
    fn open(path: PathBuf, options: &Options, cache: Arc<Cache>) -> Result<Self, StoreError> {
        let told = |error: rusqlite::Error| {
            StoreError::Open(format!(
                "{} cannot be opened: {error}; check the path and its rights",
                path.display()
            ))
        };
        let mut connection = connect::writer(&path).map_err(told)?;
        connect::migrate(&mut connection)?;
        let position = recover::from_redo_log(&connection, &path)?;
        // A flush of the process before may have failed, and that process have ended before it could see to it.
        if let Err(error) = checkpoint::copy_all(&connection) {
            tracing::warn!(%error, "what was left in the log file is copied later");
        }
        let redo = RedoLog::open(&path, position + 1).map_err(|error| {
            StoreError::Open(format!(
                "the redo log {}: {error}; check the path and its rights",
                redo::path_of(&path).display()
            ))
        })?;
        due::end_all_leases(&connection).map_err(told)?;
        let readers = Arc::new(Readers::open(&path).map_err(told)?);
        let waiting = WaitingTasks::default();
        waiting.read(&connection).map_err(told)?;
        let available = AvailableAgents::default();
        available.read(&connection).map_err(told)?;
        let shared = Shared::new(path, options.queue_max, options.batch_max, cache, waiting, available);
        let shared = Arc::new(shared);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || writer::run(&shared, connection, redo)
        });
        let thread = thread.map_err(|error| StoreError::Open(format!("the writer cannot start: {error}")))?;
        Ok(Self {
            access: Access { shared, readers, patience: options.patience },
            thread: Mutex::new(Some(thread)),
            sweep: Arc::default(),
            turns: Arc::default(),
            lanes: Arc::default(),
            resume: Arc::default(),
            rounds: tokio::sync::Mutex::default(),
            node: options.node.clone(),
            unreadable: AtomicU64::new(0),
        })
    }

    /// Claims, after what this process holds without knowing is free; rows that cannot be read are left out.
    async fn claim_by(
        &self,
        now: Timestamp,
        until: Timestamp,
        kind: DueKind,
        most: usize,
        mut claim: impl FnMut(&Connection) -> rusqlite::Result<Vec<due::Taken>> + Send + 'static,
    ) -> Result<Vec<Claimed>, StoreError> {
        let (node, lost) = (self.node.clone(), self.access.shared.lost.due(now));
        let again = lost.clone();
        let (shared, settling) = (Arc::clone(&self.access.shared), Arc::clone(&self.access.shared));
        let claim = move |connection: &Connection| {
            let mut freed = due::free_lost(connection, &shared.leases, &node, &lost)?;
            freed.extend(due::free_over(connection, &shared.leases, kind, now, most)?);
            Ok(due::Changed { freed, taken: claim(connection)? })
        };
        let settle = move |changed: &due::Changed| changed.settle(&settling.leases);
        let changed = self.access.write(claim, settle).await.inspect_err(|_| {
            self.access.shared.lost.add(again.into_iter().map(Timestamp::from_micros).chain([until]));
        })?;
        let mut claimed = Vec::with_capacity(changed.taken.len());
        for taken in changed.taken {
            match taken.understood() {
                Ok(work) => claimed.push(work),
                Err(error) => {
                    tracing::warn!(%error, "due work is left to a program that can read it");
                    self.unreadable.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(claimed)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.access.shared.queue.close();
    }
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn by_workflow(&self) -> ByWorkflow {
        ByWorkflow::Alone
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let (answer, answered) = oneshot::channel();
        let may_wait = commit.may_wait;
        let job = Job::Commit(Box::new(commit), answer);
        if may_wait {
            self.access.shared.queue.push_patient(job)?
        } else {
            self.access.shared.queue.push(job)?
        }
        match answered.await {
            Ok(Ok((committed, _taken_apart_here))) => Ok(committed),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Unavailable("the writer has ended".to_owned())),
        }
    }

    async fn read(&self, tenant: &TenantId, key: &Key) -> Result<Option<ReadRow>, StoreError> {
        match self.access.shared.pending.find(tenant, key) {
            Found::Removed => return Ok(None),
            Found::Row(row) => return Ok(Some(row)),
            Found::Unwritten => self.access.applied(Parts::table(TableId::of(key))).await?,
            Found::Nothing => {}
        }
        self.access.readers.row(tenant, key)
    }

    async fn version(&self, tenant: &TenantId, key: &Key) -> Result<Option<i64>, StoreError> {
        Ok(self.read(tenant, key).await?.map(|row| row.loaded.version()))
    }

    async fn candidates(
        &self,
        tenant: &TenantId,
        route: &str,
        limit: usize,
    ) -> Result<Vec<AgentId>, StoreError> {
        Ok(self.access.shared.available.first(tenant, route, limit))
    }

    async fn waiting(
        &self,
        tenant: &TenantId,
        routes: &[String],
        limit: usize,
    ) -> Result<Vec<WaitingTask>, StoreError> {
        Ok(self.access.shared.waiting.first(tenant, routes, limit))
    }

    async fn ahead(&self, tenant: &TenantId, task: &Task, most: usize) -> Result<usize, StoreError> {
        Ok(self.access.shared.waiting.ahead(tenant, task, most))
    }

    fn maybe_waiting(&self, tenant: &TenantId, routes: &[String]) -> bool {
        self.access.shared.waiting.holds(tenant, routes)
    }

    async fn waiting_tasks(
        &self,
        limit: usize,
        per_route: usize,
    ) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
        let sweep = Arc::clone(&self.sweep);
        self.access.list(move |connection| due::sweep(connection, &mut sweep.lock(), limit, per_route)).await
    }

    async fn claim(
        &self,
        now: Timestamp,
        lease: Lease,
        kind: DueKind,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        // Most looks find nothing, and those need no commit.
        if self.access.shared.lost.is_empty() && self.next_due(kind).await?.is_none_or(|next| next > now) {
            return Ok(Vec::new());
        }
        let turns = Arc::clone(&self.turns);
        let until = lease.until;
        let claim = move |connection: &Connection| {
            due::claim(connection, now, &lease, kind, limit, turns.lock().of(kind))
        };
        self.claim_by(now, until, kind, limit, claim).await
    }

    async fn move_held(
        &self,
        held: &[Claimed],
        until: Timestamp,
        keeper: Option<&NodeId>,
    ) -> Result<usize, StoreError> {
        let (held, keeper) = (Arc::<[Claimed]>::from(held), keeper.cloned());
        let (shared, moving, is_kept) =
            (Arc::clone(&self.access.shared), Arc::clone(&held), keeper.is_some());
        let settle = move |moved: &Vec<usize>| {
            for Claimed { tenant, work, .. } in moved.iter().filter_map(|number| held.get(*number)) {
                match is_kept {
                    true => shared.leases.extend(tenant, &work.id(), until),
                    false => shared.leases.forget(tenant, &work.id()),
                }
            }
        };
        let moved =
            move |connection: &Connection| due::move_held(connection, &moving, until, keeper.as_ref());
        Ok(self.access.write(moved, settle).await?.len())
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn waiting_lanes(&self, now: Timestamp, kind: DueKind) -> Result<WaitingLanes, StoreError> {
        let leases = &self.access.shared.leases;
        if leases.has_over(kind, now) {
            let (shared, settling) = (Arc::clone(&self.access.shared), Arc::clone(&self.access.shared));
            let free = move |connection: &Connection| {
                let freed = due::free_over(connection, &shared.leases, kind, now, 0)?;
                Ok(due::Changed { freed, taken: Vec::new() })
            };
            self.access.write(free, move |changed| changed.settle(&settling.leases)).await?;
        }
        self.access.applied(Parts::FREE_DUE).await?;
        let mut lanes = self.lanes.lock();
        let read =
            |connection: &Connection| due::waiting_lanes(connection, leases, now, kind, lanes.of(kind));
        self.access.readers.point(read)
    }

    async fn waiting_in_lane(
        &self,
        tenant: &TenantId,
        kind: DueKind,
        lane: &Lane,
        most: usize,
    ) -> Result<usize, StoreError> {
        let (shared, tenant, lane) = (Arc::clone(&self.access.shared), tenant.clone(), lane.clone());
        let count = move |connection: &Connection| {
            due::waiting_in_lane(connection, &shared.leases, &tenant, kind, &lane, most)
        };
        self.access.list(count).await
    }

    async fn claim_lanes(
        &self,
        lease: Lease,
        kind: DueKind,
        wanted: Vec<LaneClaim>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let now = wanted.iter().map(|lane| lane.visible_by).max().unwrap_or_default();
        let until = lease.until;
        let most = wanted.iter().fold(0_usize, |sum, lane| sum.saturating_add(lane.most));
        let claim = move |connection: &Connection| due::claim_lanes(connection, &lease, kind, &wanted);
        self.claim_by(now, until, kind, most, claim).await
    }

    async fn release(&self) -> Result<(), StoreError> {
        let node = self.node.clone();
        let shared = Arc::clone(&self.access.shared);
        let settle = move |released: &Vec<(String, String)>| {
            for (tenant, id) in released {
                if let Ok(tenant) = TenantId::parse(tenant) {
                    shared.leases.forget(&tenant, id);
                }
            }
        };
        self.access.write(move |connection| due::release(connection, &node), settle).await.map(|_| ())
    }

    async fn node_is_here(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn node_left(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn lost_nodes(&self, _silent_for: Duration, _most: usize) -> Result<Vec<NodeId>, StoreError> {
        Ok(Vec::new())
    }

    async fn forget_node(&self, _node: &NodeId, _silent_for: Duration) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        Ok(Vec::new())
    }

    async fn next_due(&self, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
        let leases = &self.access.shared.leases;
        self.access.point(Parts::FREE_DUE, |connection| due::next(connection, leases, kind)).await
    }

    async fn backlog(&self, limit: u64) -> Result<Backlog, StoreError> {
        let shared = Arc::clone(&self.access.shared);
        self.access.list(move |connection| due::backlog(connection, &shared.leases, limit)).await
    }

    async fn census(&self, limit: usize) -> Result<Census, StoreError> {
        self.access.list(move |connection| census::census(connection, limit)).await
    }

    async fn agents(
        &self,
        tenant: &TenantId,
        filter: &AgentFilter,
        page: &Page,
    ) -> Result<Listed<AgentWithStatus>, StoreError> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.access.list(move |connection| listings::agents(connection, &tenant, &filter, &page)).await
    }

    async fn connected_nodes(&self, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        self.access.list(move |connection| listings::connected_nodes(connection, limit)).await
    }

    async fn connected_agents(
        &self,
        node: &NodeId,
        after: Option<(&TenantId, &AgentId)>,
        limit: usize,
    ) -> Result<Vec<ConnectedAgent>, StoreError> {
        let (node, after) = (node.clone(), after.map(|(tenant, agent)| (tenant.clone(), agent.clone())));
        let read = move |connection: &rusqlite::Connection| {
            let after = after.as_ref().map(|(tenant, agent)| (tenant, agent));
            listings::connected_agents(connection, &node, after, limit)
        };
        self.access.list(read).await
    }

    async fn sessions(
        &self,
        tenant: &TenantId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Session>>, StoreError> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.access.list(move |connection| listings::sessions(connection, &tenant, &filter, &page)).await
    }

    async fn tools(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Tool>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::tools(connection, &tenant, &page)).await
    }

    async fn channels(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Channel>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| channels::by_name(connection, &tenant, &page)).await
    }

    async fn channel_messages(
        &self,
        tenant: &TenantId,
        channel: &ChannelId,
        from: (u64, Timestamp),
        most: (usize, usize),
    ) -> Result<Vec<Arc<ChannelMessage>>, StoreError> {
        let (tenant, channel) = (tenant.clone(), channel.clone());
        let read =
            move |connection: &Connection| channels::history(connection, &tenant, &channel, from, most);
        self.access.list(read).await
    }

    async fn ssh_keys(
        &self,
        tenant: &TenantId,
        of: Option<&AgentId>,
        page: &Page,
    ) -> Result<Listed<Arc<SshKey>>, StoreError> {
        // The few keys of one agent are read while it waits to be signed in.
        if of.is_some() {
            return self.access.readers.point(|connection| listings::ssh_keys(connection, tenant, of, page));
        }
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::ssh_keys(connection, &tenant, None, &page)).await
    }

    async fn schedules(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Schedule>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::schedules(connection, &tenant, &page)).await
    }

    async fn commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        page: &Page,
    ) -> Result<Listed<Arc<AgentCommand>>, StoreError> {
        let (tenant, agent, page) = (tenant.clone(), agent.clone(), page.clone());
        self.access.list(move |connection| listings::commands(connection, &tenant, &agent, &page)).await
    }

    async fn open_commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<usize, StoreError> {
        self.access
            .point(Parts::table(TableId::Commands), |connection| {
                listings::open_commands(connection, tenant, agent, most)
            })
            .await
    }

    async fn open_command_ids(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<Vec<CommandId>, StoreError> {
        self.access
            .point(Parts::table(TableId::Commands), |connection| {
                listings::open_command_ids(connection, tenant, agent, most)
            })
            .await
    }

    async fn hooks(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<WebhookTrigger>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::hooks(connection, &tenant, &page)).await
    }

    async fn workflows(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Definition>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::workflows(connection, &tenant, &page)).await
    }

    async fn revisions(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        page: &Page,
    ) -> Result<Listed<Arc<Definition>>, StoreError> {
        let (tenant, workflow, page) = (tenant.clone(), workflow.clone(), page.clone());
        self.access.list(move |connection| listings::revisions(connection, &tenant, &workflow, &page)).await
    }

    async fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Message>>, StoreError> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.access.list(move |connection| listings::dead_letters(connection, &tenant, &filter, &page)).await
    }

    async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<ApiKey>>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.access.list(move |connection| listings::keys(connection, &tenant, &page)).await
    }

    async fn tenants(&self, page: &Page) -> Result<Listed<Tenant>, StoreError> {
        let page = page.clone();
        self.access.list(move |connection| listings::tenants(connection, &page)).await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        self.access.readers.point(|connection| listings::tenant(connection, id))
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listed<StoredEvent>, StoreError> {
        let (tenant, filter, page) = (tenant.clone(), filter.clone(), page.clone());
        self.access.list(move |connection| events::list(connection, &tenant, &filter, &page)).await
    }

    async fn first_sequence(&self, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
        self.access.point(Parts::LOG, |connection| events::first_sequence(connection, tenant)).await
    }

    async fn usage(&self, tenant: &TenantId, first: u32, last: u32) -> Result<Vec<UsageDay>, StoreError> {
        let tenant = tenant.clone();
        self.access.list(move |connection| listings::usage(connection, &tenant, first, last)).await
    }

    async fn count(&self, tenant: &TenantId, what: Counted, most: u64) -> Result<u64, StoreError> {
        let tenant = tenant.clone();
        self.access.list(move |connection| listings::count(connection, &tenant, what, most)).await
    }

    async fn key_by_hash(&self, hash: &str) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError> {
        self.access.readers.point(|connection| listings::key_by_hash(connection, hash))
    }

    async fn open_session_of_workflow(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<bool, StoreError> {
        self.access
            .point(Parts::table(TableId::Sessions), |connection| {
                listings::open_session(connection, tenant, workflow, revision)
            })
            .await
    }

    async fn session_of_task(
        &self,
        tenant: &TenantId,
        task: &TaskId,
    ) -> Result<Option<SessionId>, StoreError> {
        self.access
            .point(Parts::table(TableId::Tasks), |connection| {
                listings::session_of_task(connection, tenant, task)
            })
            .await
    }

    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError> {
        Rounds::go(
            &self.rounds,
            &Pruning::begin(&self.access, Arc::clone(&self.resume), prune).await?,
            &prune,
        )
        .await
    }

    async fn remove_history(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let (tenant, session) = (tenant.clone(), session.clone());
        let remove = move |connection: &Connection| prune::history(connection, &tenant, &session, limit);
        self.access.write(remove, |_| {}).await
    }

    async fn remove_tenant(&self, tenant: &TenantId, limit: usize) -> Result<usize, StoreError> {
        self.access.shared.removed.add(tenant);
        let (shared, owner, tenant) = (Arc::clone(&self.access.shared), tenant.clone(), tenant.clone());
        let removed = self.access.write(
            move |connection| tenant::remove(connection, &tenant, limit),
            move |removed| {
                removed.forget(&shared.cache, &owner);
                shared.waiting.forget(&owner);
                shared.available.forget(&owner);
                shared.leases.forget_tenant(&owner);
            },
        );
        Ok(removed.await?.count)
    }

    async fn backup(&self, path: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.access.shared.path.clone(), path.to_owned());
        match tokio::task::spawn_blocking(move || backup::copy(&from, &to)).await {
            Ok(copied) => copied,
            Err(error) => Err(StoreError::Open(format!("the backup was not finished: {error}"))),
        }
    }

    async fn is_writable(&self) -> Result<(), StoreError> {
        // It takes the way of what goes to the tables at once, as all commits do while the redo log takes none.
        let probe = |connection: &Connection| {
            connection.execute("UPDATE migrations SET number = number WHERE number = 1", []).map(|_| ())
        };
        match self.access.write(probe, |()| {}).await {
            Err(StoreError::Busy(_)) => Ok(()),
            other => other,
        }
    }

    fn figures(&self) -> WriterFigures {
        let due_unreadable = self.unreadable.load(Ordering::Relaxed);
        WriterFigures { due_unreadable, ..self.access.shared.figures() }
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.access.shared.queue.close();
        let Some(thread) = self.thread.lock().take() else { return Ok(()) };
        self.access.readers.close();
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable("the writer did not end in order".to_owned())),
        }
    }
}
