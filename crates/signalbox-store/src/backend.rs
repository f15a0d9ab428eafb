//! What a database must do to be a store: [`Backend`], implemented once for each.
//!
//! Whatever a backend answers is already tenant-scoped, committed and whole. The cache of rows is shared: a
//! backend calls [`Commit::settle`] after its physical commit and before it answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signalbox_core::agent::{Agent, AgentStatus};
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

use crate::api::{
    AgentFilter, Backlog, Census, Claimed, Committed, ConnectedAgent, Counted, DeadLetterFilter, DueKind,
    EventFilter, LaneClaim, Listed, Page, Prune, Pruned, SessionFilter, StoredEvent, WaitingLanes,
    WriterFigures,
};
use crate::commit::Commit;
use crate::error::StoreError;
use crate::read_row::ReadRow;
use crate::sessions::ByWorkflow;

/// An agent and what it last said, when it said anything.
pub(crate) type AgentWithStatus = (Arc<Agent>, Option<Arc<AgentStatus>>);

/// One database.
///
/// Listings: `page.after` is the position that the page before gave as [`Listed::next`], exclusive; a position
/// that the list never gave is past its end. `next` is `None` exactly when nothing follows, except that a
/// filtered list of events may give a short or empty page with a `next` after it has looked at
/// [`EVENTS_LOOKED_AT`] entries.
#[async_trait::async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Which database it is: `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;

    /// Whether other processes write too, so that a cached row may be old.
    fn is_shared(&self) -> bool;

    /// How it has the sessions of a workflow in an index.
    fn by_workflow(&self) -> ByWorkflow;

    /// Applies a decision whole, or answers [`StoreError::Conflict`] and changes nothing.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    /// The row with this key from the database; a session with its tasks, all read at one moment.
    async fn read(&self, tenant: &TenantId, key: &Key) -> Result<Option<ReadRow>, StoreError>;

    /// What [`Backend::read`] would give for each of these keys, in their order, in as few steps as can be.
    async fn read_many(&self, tenant: &TenantId, keys: &[Key]) -> Result<Vec<Option<ReadRow>>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.push(self.read(tenant, key).await?);
        }
        Ok(rows)
    }

    /// The version of the row that [`Backend::read`] would give.
    async fn version(&self, tenant: &TenantId, key: &Key) -> Result<Option<i64>, StoreError>;

    /// The available agents under `route`, least recently used first (then by id).
    async fn candidates(
        &self,
        tenant: &TenantId,
        route: &str,
        limit: usize,
    ) -> Result<Vec<AgentId>, StoreError>;

    /// The tasks that wait under any of `routes`, in the order in which they are served: by priority, the highest
    /// first, then the longest waiting, then by id.
    async fn waiting(
        &self,
        tenant: &TenantId,
        routes: &[String],
        limit: usize,
    ) -> Result<Vec<WaitingTask>, StoreError>;

    /// How many tasks are served before this one of those that wait under the same key; no more than `most` are
    /// counted.
    async fn ahead(&self, tenant: &TenantId, task: &Task, most: usize) -> Result<usize, StoreError>;

    /// Whether a task may wait under one of `routes`; `false` only when certainly none does.
    fn maybe_waiting(&self, tenant: &TenantId, routes: &[String]) -> bool;

    /// Waiting tasks of all tenants, at most `per_route` of each route and those that are served first. Tenants take
    /// turns, and so do the routes of each: over several calls every one gets its own.
    async fn waiting_tasks(
        &self,
        limit: usize,
        per_route: usize,
    ) -> Result<Vec<(TenantId, WaitingTask)>, StoreError>;

    /// Takes due work that is visible at `now`, the longest visible first, and hides it until `lease.until`. While
    /// more timers are visible than can be taken, a part is taken from each tenant in turn. A row that cannot be read is
    /// passed over. What this process holds without knowing is freed before.
    async fn claim(
        &self,
        now: Timestamp,
        lease: Lease,
        kind: DueKind,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// The lanes with work of this kind that can be claimed at `now`.
    async fn waiting_lanes(&self, now: Timestamp, kind: DueKind) -> Result<WaitingLanes, StoreError>;

    /// Takes work of lanes, of each the longest visible first, and hides it until `lease.until`.
    async fn claim_lanes(
        &self,
        lease: Lease,
        kind: DueKind,
        wanted: Vec<LaneClaim>,
    ) -> Result<Vec<Claimed>, StoreError>;

    /// How much work of this kind there is in one lane, due or not, up to `most`.
    async fn waiting_in_lane(
        &self,
        tenant: &TenantId,
        kind: DueKind,
        lane: &Lane,
        most: usize,
    ) -> Result<usize, StoreError>;

    /// The next moment at which work of this kind can be claimed.
    async fn next_due(&self, kind: DueKind) -> Result<Option<Timestamp>, StoreError>;

    /// Ends leases that are still as they were claimed: with a `keeper` the work is his until then, without one it is
    /// due then. Answers how many were.
    async fn move_held(
        &self,
        held: &[Claimed],
        until: Timestamp,
        keeper: Option<&NodeId>,
    ) -> Result<usize, StoreError>;

    /// The database's time, where it has a clock of its own.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Ends this node's leases: the work is free again at its own due time.
    async fn release(&self) -> Result<(), StoreError>;

    /// Notes that this node is there now, by the database's time; nothing to do where there can be no other.
    async fn node_is_here(&self) -> Result<(), StoreError>;

    /// Notes that this node is not there any more.
    async fn node_left(&self) -> Result<(), StoreError>;

    /// The nodes that were last there longer ago than `silent_for`, up to `most`, the longest silent first.
    async fn lost_nodes(&self, silent_for: Duration, most: usize) -> Result<Vec<NodeId>, StoreError>;

    /// Forgets a node, unless it was there within `silent_for`; whether it was known until then.
    async fn forget_node(&self, node: &NodeId, silent_for: Duration) -> Result<bool, StoreError>;

    /// The nodes that are known, whenever they were last there; none where there can be no other.
    async fn nodes(&self) -> Result<Vec<NodeId>, StoreError>;

    /// How much due work there is.
    async fn backlog(&self, limit: u64) -> Result<Backlog, StoreError>;

    /// How many there are of what an operator watches, `limit` of each counted at most.
    async fn census(&self, limit: usize) -> Result<Census, StoreError>;

    /// Agents by id.
    async fn agents(
        &self,
        tenant: &TenantId,
        filter: &AgentFilter,
        page: &Page,
    ) -> Result<Listed<AgentWithStatus>, StoreError>;

    /// The nodes that agents are connected to, at most `limit`.
    async fn connected_nodes(&self, limit: usize) -> Result<Vec<NodeId>, StoreError>;

    /// The agents that are connected to a node, by tenant and agent, after these.
    async fn connected_agents(
        &self,
        node: &NodeId,
        after: Option<(&TenantId, &AgentId)>,
        limit: usize,
    ) -> Result<Vec<ConnectedAgent>, StoreError>;

    /// Sessions, newest first: by `created_at`, then id, both descending. Of the filter it obeys what
    /// [`SessionFilter::listing`] does.
    async fn sessions(
        &self,
        tenant: &TenantId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Session>>, StoreError>;

    /// Tools by name.
    async fn tools(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Tool>>, StoreError>;

    /// The current revision of each workflow, by id.
    async fn workflows(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Definition>>, StoreError>;

    /// The revisions of a workflow that are kept, newest first.
    async fn revisions(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        page: &Page,
    ) -> Result<Listed<Arc<Definition>>, StoreError>;
    /// Hooks by id.
    async fn hooks(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<WebhookTrigger>>, StoreError>;

    /// Channels by name.
    async fn channels(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Channel>>, StoreError>;

    /// Messages of a channel after a sequence, in its order; of more than `bytes` of them only the first part, and one in
    /// any case.
    async fn channel_messages(
        &self,
        tenant: &TenantId,
        channel: &ChannelId,
        from: (u64, Timestamp),
        most: (usize, usize),
    ) -> Result<Vec<Arc<ChannelMessage>>, StoreError>;
    /// An agent's commands, newest first.
    async fn commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        page: &Page,
    ) -> Result<Listed<Arc<AgentCommand>>, StoreError>;

    /// How many commands of an agent are not over; no more than `most` are counted.
    async fn open_commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<usize, StoreError>;
    /// The commands of an agent that are not over, the oldest first; no more than `most`.
    async fn open_command_ids(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<Vec<CommandId>, StoreError>;
    /// SSH keys by id; of an agent only those of its own that are active.
    async fn ssh_keys(
        &self,
        tenant: &TenantId,
        of: Option<&AgentId>,
        page: &Page,
    ) -> Result<Listed<Arc<SshKey>>, StoreError>;

    /// Schedules by id.
    async fn schedules(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Schedule>>, StoreError>;

    /// Dead messages by the moment they were given up, then id.
    async fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Message>>, StoreError>;

    /// API keys by id.
    async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<ApiKey>>, StoreError>;

    /// Tenants by id.
    async fn tenants(&self, page: &Page) -> Result<Listed<Tenant>, StoreError>;

    /// The tenant with this id.
    async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError>;

    /// Entries of the log by sequence: the session's where the filter names one, else the tenant's.
    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listed<StoredEvent>, StoreError>;

    /// The oldest kept place in the tenant's order.
    async fn first_sequence(&self, tenant: &TenantId) -> Result<Option<u64>, StoreError>;

    /// What a tenant took on each day from `first` to `last`, by day.
    async fn usage(&self, tenant: &TenantId, first: u32, last: u32) -> Result<Vec<UsageDay>, StoreError>;

    /// How many of something a tenant has, up to `most`.
    async fn count(&self, tenant: &TenantId, what: Counted, most: u64) -> Result<u64, StoreError>;

    /// The API key with this hash, or whose secret before has it, whoever owns it.
    async fn key_by_hash(&self, hash: &str) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError>;

    /// Whether a session of this workflow, or of one revision of it, is not over.
    async fn open_session_of_workflow(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<bool, StoreError>;

    /// The session that a task belongs to.
    async fn session_of_task(
        &self,
        tenant: &TenantId,
        task: &TaskId,
    ) -> Result<Option<SessionId>, StoreError>;

    /// One round of retention ([`crate::retention`]). The newest entry of a tenant's log always stays, so that its order never starts again.
    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError>;

    /// Removes up to `limit` entries of the history of a session that is gone; answers how many. Under it, nothing is
    /// left. The newest entry of a tenant's log stays.
    async fn remove_history(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// Removes up to `limit` rows of a tenant, its keys first and itself last; answers how many. Under it,
    /// nothing is left.
    async fn remove_tenant(&self, tenant: &TenantId, limit: usize) -> Result<usize, StoreError>;

    /// Copies the whole store to a new file while it goes on working.
    async fn backup(&self, path: &Path) -> Result<(), StoreError>;

    /// Whether commits can succeed now.
    async fn is_writable(&self) -> Result<(), StoreError>;

    /// Figures of the writer.
    fn figures(&self) -> WriterFigures;

    /// Writes what waits, then lets go of the database.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Entries of the log that one page of a filtered list looks at, at most.
pub(crate) const EVENTS_LOOKED_AT: usize = 50_000;
