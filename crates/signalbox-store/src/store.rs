//! [`Store`]: the one handle that everybody uses, over whichever database was asked for.
//!
//! Rows that decisions read come through the cache. Where several processes share the database a cached row
//! may be old: then a decision on it conflicts and is made again on fresh rows, and plain reads ask the
//! database itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::channel::{Channel, ChannelName};
use signalbox_core::command::AgentCommand;
use signalbox_core::decision::{ApiKey, Key, Retention, Tool, Workflow};
use signalbox_core::definition::Definition;
use signalbox_core::delivery::Message;
use signalbox_core::due::Lane;
use signalbox_core::figures::AgentFigures;
use signalbox_core::hook::WebhookTrigger;
use signalbox_core::lease::Lease;
use signalbox_core::limits::{CANDIDATES_LOOKED_AT, OPEN_COMMANDS_MAX, WAITING_LOOKED_AT};
use signalbox_core::payload::Payload;
use signalbox_core::quota::UsageDay;
use signalbox_core::schedule::Schedule;
use signalbox_core::session::SessionState;
use signalbox_core::snapshot::Loaded;
use signalbox_core::ssh_key::SshKey;
use signalbox_core::token_keys::TokenKeys;
use signalbox_core::{Decision, Need, Snapshot, Versioned};
use signalbox_wire::id::{
    AgentId, ChannelId, CommandId, HookId, KeyId, MessageId, NodeId, ScheduleId, SessionId, TenantId,
    ToolName, WorkflowId,
};
use signalbox_wire::time::Timestamp;

use crate::api::{
    BACKLOG_COUNTED_MAX, Backlog, CENSUS_COUNTED_MAX, Census, Claimed, Committed, DueKind, LOST_NODES_MAX,
    LaneClaim, Options, Prune, Pruned, Removal, WaitingLanes, WriterFigures,
};
use crate::backend::Backend;
use crate::cache::{Cache, Gap, Lookup};
use crate::commit::Commit;
use crate::error::StoreError;
use crate::read_row::ReadRow;
use crate::removal::ROWS_AT_ONCE;
use crate::strangers::Strangers;
use crate::{postgres, sqlite};

/// The last place in a line that is told; those behind it are told as it.
pub const PLACE_MAX: usize = 1_000;
/// Nodes that are looked for among the connections of agents, at most.
pub const CONNECTED_NODES_MAX: usize = 1_000;
/// Tasks whose places are looked up for one session, at most.
pub const PLACES_MAX: usize = 100;

mod lists;

/// A store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    cache: Arc<Cache>,
    /// Which tenants other processes write for as well.
    strangers: Arc<Strangers>,
    node: NodeId,
    /// Bytes of the commits that callers wait for.
    waiting_bytes: AtomicU64,
    waiting_bytes_max: u64,
}

/// A commit's part in the bytes that wait, given back when its caller waits no longer.
struct Part<'a> {
    all: &'a AtomicU64,
    bytes: u64,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How current a row has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// It may be old: a decision on it will be checked.
    Checked,
    /// As committed now.
    Current,
}

/// What becomes of a row that is read, besides being shown.
enum Use<'a> {
    /// Nothing.
    Show,
    /// It is what memory holds from now on.
    Remember,
    /// The same; memory holds this version of it.
    Compare(i64),
    /// It fills the gap in memory.
    Fill(Gap<'a>),
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $value:ty, $variant:ident, $key:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`StoreError::Unavailable`] when the database cannot answer.
        pub async fn $name(
            &self,
            tenant: &TenantId,
            $($arg: $type),*
        ) -> Result<Option<Versioned<$value>>, StoreError> {
            Ok(match self.row(tenant, &$key, Freshness::Current).await? {
                Some(Loaded::$variant(row)) => Some(row),
                _ => None,
            })
        }
    )*};
}

/// Methods that read several rows of one kind at once.
macro_rules! among {
    ($($(#[$doc:meta])* $name:ident($id:ty) -> $value:ty, $variant:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`StoreError::Unavailable`] when the database cannot answer.
        pub async fn $name(&self, tenant: &TenantId, ids: &[$id]) -> Result<Vec<Arc<$value>>, StoreError> {
            let keys: Vec<Key> = ids.iter().cloned().map(Key::$variant).collect();
            let found = self.among(tenant, &keys).await?.into_iter();
            Ok(found.filter_map(|row| match row {
                Loaded::$variant(row) => Some(row.value),
                _ => None,
            }).collect())
        }
    )*};
}

impl Store {
    /// Opens the store that `options` name and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] when there is no such database, or it is newer than this program.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let cache = Arc::new(Cache::new(options.cache_bytes)?);
        let strangers = Arc::<Strangers>::default();
        let (node, waiting_bytes_max) = (options.node.clone(), options.queue_bytes_max);
        let backend = match options.database.split_once("://") {
            Some(("sqlite", path)) => sqlite::open(path, &options, Arc::clone(&cache)).await?,
            Some(("postgres" | "postgresql", _)) => {
                postgres::open(&options, Arc::clone(&cache), Arc::clone(&strangers)).await?
            }
            _ => {
                return Err(StoreError::Open(
                    "the database must be given as sqlite:///path/to/file.db or postgres://user@host/database"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                cache,
                strangers,
                node,
                waiting_bytes: AtomicU64::new(0),
                waiting_bytes_max,
            }),
        })
    }

    /// Loads what a decision needs into its view. With `fresh`, as it is committed now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn load(
        &self,
        tenant: &TenantId,
        need: &Need,
        snapshot: &mut Snapshot,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let backend = &self.inner.backend;
        match need {
            Need::Row(key) => self.show(tenant, key, snapshot, fresh).await?,
            Need::Rows(keys) if backend.is_shared() => self.show_many(tenant, keys, snapshot, fresh).await?,
            Need::Rows(keys) => {
                for key in keys {
                    self.show(tenant, key, snapshot, fresh).await?;
                }
            }
            Need::Candidates(route) => {
                let agents = self.candidates(tenant, route, CANDIDATES_LOOKED_AT).await?;
                snapshot.show_candidates(route.clone(), agents);
            }
            Need::Waiting(routes) if !backend.maybe_waiting(tenant, routes) => {
                snapshot.show_waiting(routes.clone(), Vec::new());
            }
            Need::Waiting(routes) => {
                let tasks =
                    backend.waiting(tenant, routes, snapshot.waiting_listed(WAITING_LOOKED_AT)).await?;
                snapshot.show_waiting(routes.clone(), tasks);
            }
            Need::OpenCommands(agent) => {
                let open = backend.open_command_ids(tenant, agent, OPEN_COMMANDS_MAX).await?;
                snapshot.show_open_commands(agent.clone(), open);
            }
        }
        Ok(())
    }

    /// The available agents under a routing key, least recently used first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn candidates(
        &self,
        tenant: &TenantId,
        route: &str,
        limit: usize,
    ) -> Result<Vec<AgentId>, StoreError> {
        self.inner.backend.candidates(tenant, route, limit).await
    }

    /// Applies a decision whole. Work that is due at `now` already is held under `lease` where one is given, so
    /// that whoever commits it may act on it at once; without one it is free for the next claim.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something it rests on has changed: nothing of it was applied.
    /// [`StoreError::Busy`] when too much waits to be written; [`StoreError::Unavailable`] when the database
    /// cannot take it.
    pub async fn commit(
        &self,
        tenant: &TenantId,
        decision: Decision,
        now: Timestamp,
        lease: Option<Lease>,
    ) -> Result<Committed, StoreError> {
        let commit = Commit::prepare(tenant, decision, now, lease.as_ref(), &self.inner.cache)?;
        let part = Part { all: &self.inner.waiting_bytes, bytes: commit.size_bytes() as u64 };
        let before = part.all.fetch_add(part.bytes, Ordering::Relaxed);
        // One that is alone is taken whatever its size.
        if before > 0 && before + part.bytes > self.inner.waiting_bytes_max {
            return Err(StoreError::Busy(self.inner.backend.figures().queued as usize));
        }
        self.inner.backend.commit(commit).await
    }

    /// Takes due work of this kind, of all tenants, that is free or whose lease is over, the longest due first. While
    /// more timers are due than can be taken, a part is taken from each tenant in turn. A row that this program
    /// cannot read holds up no other: it is left alone for a while, and counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn claim(
        &self,
        now: Timestamp,
        lease_for: Duration,
        kind: DueKind,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        let lease = Lease::new(self.inner.node.clone(), now, lease_for);
        self.inner.backend.claim(now, lease, kind, limit).await
    }

    /// The lanes of all tenants with work of this kind that can be claimed at `now`. It is for the caller to say how
    /// much is taken of each: what it may not act on yet stays where it is, and costs nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn waiting_lanes(&self, now: Timestamp, kind: DueKind) -> Result<WaitingLanes, StoreError> {
        self.inner.backend.waiting_lanes(now, kind).await
    }

    /// How much work of this kind there is in one lane of a tenant, due, leased or yet to be due, up to `most`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn waiting_in_lane(
        &self,
        tenant: &TenantId,
        kind: DueKind,
        lane: &Lane,
        most: usize,
    ) -> Result<usize, StoreError> {
        self.inner.backend.waiting_in_lane(tenant, kind, lane, most).await
    }

    /// Takes work of these lanes, of each the longest due first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn claim_lanes(
        &self,
        now: Timestamp,
        lease_for: Duration,
        kind: DueKind,
        wanted: Vec<LaneClaim>,
    ) -> Result<Vec<Claimed>, StoreError> {
        let lease = Lease::new(self.inner.node.clone(), now, lease_for);
        self.inner.backend.claim_lanes(lease, kind, wanted).await
    }

    /// The next moment at which work of this kind can be claimed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn next_due(&self, kind: DueKind) -> Result<Option<Timestamp>, StoreError> {
        self.inner.backend.next_due(kind).await
    }

    /// Makes claimed work due at `until` instead, whether that is soon or late; answers how much of it. Work whose lease
    /// is no longer the one that it was claimed under stays as it is: it is another's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn postpone(&self, claimed: &[Claimed], until: Timestamp) -> Result<usize, StoreError> {
        self.inner.backend.move_held(claimed, until, None).await
    }

    /// Holds claimed work until `until`; answers the new lease, or nothing where it is another's by now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn extend(&self, claimed: &Claimed, until: Timestamp) -> Result<Option<Lease>, StoreError> {
        let node = &claimed.lease.node;
        let held = self.inner.backend.move_held(std::slice::from_ref(claimed), until, Some(node)).await?;
        Ok((held > 0).then(|| Lease { node: node.clone(), until }))
    }

    /// The time by the database's own clock, on which its nodes agree; nothing where the one process that uses it
    /// is the only one to ask.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn database_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.backend.time().await
    }

    /// Ends the leases of this process: what it held is free at its own due time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn release(&self) -> Result<(), StoreError> {
        self.inner.backend.release().await
    }

    /// Notes that this node is there now, by the database's time, for the other nodes over the same database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn node_is_here(&self) -> Result<(), StoreError> {
        self.inner.backend.node_is_here().await
    }

    /// Notes that this node is not there any more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn node_left(&self) -> Result<(), StoreError> {
        self.inner.backend.node_left().await
    }

    /// Nodes that have not said for longer than `silent_for` that they are there, at most [`LOST_NODES_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn lost_nodes(&self, silent_for: Duration) -> Result<Vec<NodeId>, StoreError> {
        self.inner.backend.lost_nodes(silent_for, LOST_NODES_MAX).await
    }

    /// Forgets a node that is lost; one that has said meanwhile that it is there stays. Of several that forget it one is
    /// told that it did.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn forget_node(&self, node: &NodeId, silent_for: Duration) -> Result<bool, StoreError> {
        self.inner.backend.forget_node(node, silent_for).await
    }

    /// The nodes that have said that they are there, and were not forgotten since; none where there can be no other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        self.inner.backend.nodes().await
    }

    /// How much due work there is, counted up to [`BACKLOG_COUNTED_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.inner.backend.backlog(BACKLOG_COUNTED_MAX).await
    }

    /// How many there are of what an operator watches; at most [`CENSUS_COUNTED_MAX`](crate::CENSUS_COUNTED_MAX) of each
    /// are counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn census(&self) -> Result<Census, StoreError> {
        self.inner.backend.census(CENSUS_COUNTED_MAX).await
    }

    rows! {
        /// The registration of an agent.
        agent(id: &AgentId) -> Agent, Agent, Key::Agent(id.clone());
        /// The status of an agent.
        status(id: &AgentId) -> AgentStatus, Status, Key::Status(id.clone());
        /// A session with its tasks.
        session(id: &SessionId) -> SessionState, Session, Key::Session(id.clone());
        /// A message.
        message(id: &MessageId) -> Message, Message, Key::Message(id.clone());
        /// A tool.
        tool(name: &ToolName) -> Tool, Tool, Key::Tool(name.clone());
        /// Which revision of a workflow is the current one.
        workflow(id: &WorkflowId) -> Workflow, Workflow, Key::Workflow(id.clone());
        /// How long a tenant keeps what is over, where it says.
        retention() -> Retention, Retention, Key::Retention;
        /// A schedule.
        schedule(id: &ScheduleId) -> Schedule, Schedule, Key::Schedule(id.clone());
        /// A hook.
        hook(id: &HookId) -> WebhookTrigger, WebhookTrigger, Key::WebhookTrigger(id.clone());
        /// A channel.
        channel(id: &ChannelId) -> Channel, Channel, Key::Channel(id.clone());
        /// Which channel has a name.
        channel_named(name: &str) -> ChannelName, ChannelName, Key::ChannelName(name.to_owned());
        /// A command.
        command(id: &CommandId) -> AgentCommand, Command, Key::Command(id.clone());
        /// What a tenant took in one day.
        usage_day(day: u32) -> UsageDay, Usage, Key::Usage(day);
        /// What an agent tells of itself with its heartbeats.
        agent_figures(id: &AgentId) -> AgentFigures, Figures, Key::Figures(id.clone());
        /// An SSH key.
        ssh_key(id: &KeyId) -> SshKey, SshKey, Key::SshKey(id.clone());
        /// What tokens and challenges are made with; kept in the tenant `default`.
        token_keys() -> TokenKeys, TokenKeys, Key::TokenKeys;
    }

    among! {
        /// Those of these API keys that are there.
        api_keys_among(KeyId) -> ApiKey, ApiKey;
        /// Those of these SSH keys that are there.
        ssh_keys_among(KeyId) -> SshKey, SshKey;
        /// Those of these agents that are there.
        agents_among(AgentId) -> Agent, Agent;
        /// Those of these sessions that are there, with their tasks.
        sessions_among(SessionId) -> SessionState, Session;
    }

    async fn among(&self, tenant: &TenantId, keys: &[Key]) -> Result<Vec<Loaded>, StoreError> {
        let backend = &self.inner.backend;
        if backend.is_shared() {
            let rows = backend.read_many(tenant, keys).await?;
            return Ok(rows.into_iter().flatten().map(|row| row.loaded).collect());
        }
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.row(tenant, key, Freshness::Current).await?);
        }
        Ok(found)
    }

    /// A payload, by the hash of its bytes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn payload(&self, tenant: &TenantId, sha256: &str) -> Result<Option<Arc<Payload>>, StoreError> {
        let key = Key::Payload(sha256.to_owned());
        Ok(match self.row(tenant, &key, Freshness::Checked).await? {
            Some(Loaded::Payload(row)) => Some(row.value),
            _ => None,
        })
    }

    /// One revision of a workflow; the current one where none is named.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn definition(
        &self,
        tenant: &TenantId,
        id: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<Option<Versioned<Definition>>, StoreError> {
        let revision = match revision {
            Some(revision) => revision,
            None => match self.workflow(tenant, id).await? {
                Some(current) => current.value.revision,
                None => return Ok(None),
            },
        };
        let key = Key::Definition(id.clone(), revision);
        Ok(match self.row(tenant, &key, Freshness::Current).await? {
            Some(Loaded::Definition(row)) => Some(row),
            _ => None,
        })
    }

    /// The status of an agent as far as this process knows it: where others write too, it may be old.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn status_hint(
        &self,
        tenant: &TenantId,
        id: &AgentId,
    ) -> Result<Option<Arc<AgentStatus>>, StoreError> {
        Ok(match self.row(tenant, &Key::Status(id.clone()), Freshness::Checked).await? {
            Some(Loaded::Status(row)) => Some(row.value),
            _ => None,
        })
    }

    /// The registration of an agent as far as this process knows it: where others write too, it may be old.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn agent_hint(
        &self,
        tenant: &TenantId,
        id: &AgentId,
    ) -> Result<Option<Arc<Agent>>, StoreError> {
        Ok(match self.row(tenant, &Key::Agent(id.clone()), Freshness::Checked).await? {
            Some(Loaded::Agent(row)) => Some(row.value),
            _ => None,
        })
    }

    async fn show(
        &self,
        tenant: &TenantId,
        key: &Key,
        snapshot: &mut Snapshot,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let freshness = if fresh { Freshness::Current } else { Freshness::Checked };
        snapshot.show(key.clone(), self.row(tenant, key, freshness).await?);
        Ok(())
    }

    /// Shows rows of a shared database as [`Self::show`] does; those that are not in memory are read at once.
    async fn show_many(
        &self,
        tenant: &TenantId,
        keys: &[Key],
        snapshot: &mut Snapshot,
        fresh: bool,
    ) -> Result<(), StoreError> {
        let Inner { backend, cache, strangers, .. } = self.inner.as_ref();
        let (mut missing, mut uses) = (Vec::new(), Vec::new());
        for key in keys {
            let used = if !Cache::holds(key) {
                Use::Show
            } else if fresh {
                Use::Remember
            } else if is_changed_often(key) && strangers.are_about(tenant) {
                cache.version(tenant, key).map_or(Use::Remember, Use::Compare)
            } else {
                match cache.look_up(tenant, key) {
                    Lookup::Held(row) => {
                        snapshot.show(key.clone(), Some(row.loaded));
                        continue;
                    }
                    Lookup::Busy => Use::Show,
                    Lookup::Gap(gap) => Use::Fill(gap),
                }
            };
            missing.push(key.clone());
            uses.push(used);
        }
        let rows = backend.read_many(tenant, &missing).await?;
        for ((key, used), row) in missing.into_iter().zip(uses).zip(rows) {
            match (used, &row) {
                (Use::Show, _) | (Use::Fill(_), None) => {}
                (Use::Fill(gap), Some(row)) => gap.fill(row.clone()),
                (Use::Remember, row) => self.remember(tenant, &key, row.as_ref()),
                (Use::Compare(version), row) => {
                    if row.as_ref().is_some_and(|row| row.loaded.version() == version) {
                        strangers.found_same(tenant);
                    } else {
                        strangers.met(tenant);
                    }
                    self.remember(tenant, &key, row.as_ref());
                }
            }
            snapshot.show(key, row.map(|row| row.loaded));
        }
        Ok(())
    }

    async fn row(
        &self,
        tenant: &TenantId,
        key: &Key,
        freshness: Freshness,
    ) -> Result<Option<Loaded>, StoreError> {
        let Inner { backend, cache, .. } = self.inner.as_ref();
        let may_be_old = backend.is_shared();
        // Where this process is the only writer, memory is as fresh as the database.
        let bypasses = may_be_old && freshness != Freshness::Checked;
        if !Cache::holds(key) {
            return Ok(backend.read(tenant, key).await?.map(|row| row.loaded));
        }
        if bypasses && matches!(key, Key::Session(_)) && !self.inner.strangers.are_about(tenant) {
            // A session may have thousands of tasks, and where no other process writes it has nearly never changed.
            return self.confirmed(tenant, key).await;
        }
        if bypasses {
            let row = backend.read(tenant, key).await?;
            self.remember(tenant, key, row.as_ref());
            return Ok(row.map(|row| row.loaded));
        }
        if may_be_old && is_changed_often(key) && self.inner.strangers.are_about(tenant) {
            return self.confirmed(tenant, key).await;
        }
        match cache.look_up(tenant, key) {
            Lookup::Held(row) => Ok(Some(row.loaded)),
            Lookup::Busy => Ok(backend.read(tenant, key).await?.map(|row| row.loaded)),
            Lookup::Gap(gap) => {
                let row = backend.read(tenant, key).await?;
                if let Some(row) = &row {
                    gap.fill(row.clone());
                }
                Ok(row.map(|row| row.loaded))
            }
        }
    }

    /// The row in memory where it is still the one in the database, else that.
    async fn confirmed(&self, tenant: &TenantId, key: &Key) -> Result<Option<Loaded>, StoreError> {
        let Inner { backend, cache, strangers, .. } = self.inner.as_ref();
        let held = cache.get(tenant, key);
        // The version of a session costs less than all of its tasks; that of another row costs as much as the row.
        if let (Key::Session(_), Some(row)) = (key, &held)
            && backend.version(tenant, key).await? == Some(row.loaded.version())
        {
            strangers.found_same(tenant);
            return Ok(held.map(|row| row.loaded));
        }
        let row = backend.read(tenant, key).await?;
        if let Some(held) = held {
            match &row {
                Some(row) if row.loaded.version() == held.loaded.version() => strangers.found_same(tenant),
                _ => strangers.met(tenant),
            }
        }
        self.remember(tenant, key, row.as_ref());
        Ok(row.map(|row| row.loaded))
    }

    /// Takes over what was read from a shared database, in place of what another process has changed.
    fn remember(&self, tenant: &TenantId, key: &Key, row: Option<&ReadRow>) {
        match row {
            Some(row) => self.inner.cache.put(tenant, key.clone(), row.clone()),
            None => self.inner.cache.forget(tenant, key.clone()),
        }
    }
}

/// Whether decisions change rows with such a key all the time: where several processes do, the row in memory is old as
/// often as not.
fn is_changed_often(key: &Key) -> bool {
    matches!(key, Key::Status(_) | Key::Session(_) | Key::Message(_) | Key::Command(_) | Key::Channel(_))
}

/// Operation.
impl Store {
    /// Removes what retention no longer keeps, in one round: some of each kind and of each tenant. To be called again
    /// at once while there is more.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError> {
        self.inner.backend.prune(prune).await
    }

    /// Removes what is left of the history of a session that is gone, a bounded number of entries at a time: to be
    /// called until it answers that nothing is left. That of a session that exists stays.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn remove_history(
        &self,
        tenant: &TenantId,
        session: &SessionId,
    ) -> Result<Removal, StoreError> {
        let removed = self.inner.backend.remove_history(tenant, session, ROWS_AT_ONCE).await?;
        Ok(if removed < ROWS_AT_ONCE { Removal::Done } else { Removal::Goes })
    }

    /// Removes a tenant with everything that it has, a bounded number of rows at a time: to be called until it
    /// answers that nothing is left. The keys go first. Where it is not called to the end the tenant is still
    /// listed, and calling it again goes on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn remove_tenant(&self, tenant: &TenantId) -> Result<Removal, StoreError> {
        let removed = self.inner.backend.remove_tenant(tenant, ROWS_AT_ONCE).await?;
        Ok(if removed < ROWS_AT_ONCE { Removal::Done } else { Removal::Goes })
    }

    /// Copies the whole store to a new file while it goes on working.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the copy cannot be made there.
    pub async fn backup(&self, path: &Path) -> Result<(), StoreError> {
        self.inner.backend.backup(path).await
    }

    /// Figures of the writer.
    #[must_use]
    pub fn figures(&self) -> WriterFigures {
        self.inner.backend.figures()
    }

    /// Whether commits can succeed now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], saying why not.
    pub async fn is_writable(&self) -> Result<(), StoreError> {
        self.inner.backend.is_writable().await
    }

    /// Whether rows that were not loaded `fresh` may be older than what other nodes have committed.
    #[must_use]
    pub fn cache_may_be_old(&self) -> bool {
        self.kind() != "sqlite"
    }

    /// Which database it is: `sqlite` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.inner.backend.kind()
    }

    /// Writes what waits to be written and lets go of the database; what is asked afterwards is refused.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.backend.close().await
    }
}
