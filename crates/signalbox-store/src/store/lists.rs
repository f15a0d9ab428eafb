//! Lists and lookups of a store.

use std::sync::Arc;

use signalbox_core::channel::{Channel, ChannelMessage};
use signalbox_core::command::AgentCommand;
use signalbox_core::decision::{ApiKey, Tenant, Tool};
use signalbox_core::definition::Definition;
use signalbox_core::delivery::Message;
use signalbox_core::hook::WebhookTrigger;
use signalbox_core::limits::WAITING_LOOKED_AT;
use signalbox_core::quota::UsageDay;
use signalbox_core::schedule::Schedule;
use signalbox_core::session::Session;
use signalbox_core::snapshot::WaitingTask;
use signalbox_core::ssh_key::SshKey;
use signalbox_core::task::Task;
use signalbox_wire::id::{AgentId, NodeId, SessionId, TaskId, TenantId, WorkflowId};
use signalbox_wire::time::Timestamp;

use super::{CONNECTED_NODES_MAX, PLACE_MAX, PLACES_MAX, Store};
use crate::api::{
    AgentFilter, ConnectedAgent, Counted, DeadLetterFilter, EventFilter, Listed, Page, SessionFilter,
    StoredEvent,
};
use crate::backend::AgentWithStatus;
use crate::error::StoreError;
use crate::sessions::{self, SESSIONS_AT_ONCE, SESSIONS_LOOKED_AT};

/// Lists and lookups, always as committed now.
///
/// A position in [`Page::after`] that the list never gave is past its end.
impl Store {
    /// Agents with their status, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn agents(
        &self,
        tenant: &TenantId,
        filter: &AgentFilter,
        page: &Page,
    ) -> Result<Listed<AgentWithStatus>, StoreError> {
        self.inner.backend.agents(tenant, filter, page).await
    }

    /// The nodes that agents are connected to by their statuses, whether the nodes are still there or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn connected_nodes(&self) -> Result<Vec<NodeId>, StoreError> {
        self.inner.backend.connected_nodes(CONNECTED_NODES_MAX).await
    }

    /// Agents of all tenants that are connected to a node, by tenant and agent, after these.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn connected_agents(
        &self,
        node: &NodeId,
        after: Option<(&TenantId, &AgentId)>,
        limit: usize,
    ) -> Result<Vec<ConnectedAgent>, StoreError> {
        self.inner.backend.connected_agents(node, after, limit).await
    }

    /// Sessions, newest first. A page that is filtered by text, or by two of agent, workflow and statuses, may be short, even
    /// empty, and still have a [`Listed::next`]: one call looks at a bounded number of sessions.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn sessions(
        &self,
        tenant: &TenantId,
        filter: &SessionFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Session>>, StoreError> {
        let backend = &self.inner.backend;
        if filter.is_exact(backend.by_workflow()) {
            return backend.sessions(tenant, filter, page).await;
        }
        let (mut items, mut after) = (Vec::new(), page.after.clone());
        for _ in 0..SESSIONS_LOOKED_AT / SESSIONS_AT_ONCE {
            let go = Page { limit: SESSIONS_AT_ONCE, after: after.take() };
            let listed = backend.sessions(tenant, filter, &go).await?;
            for session in listed.items.into_iter().filter(|session| filter.admits(session)) {
                if items.len() == page.limit {
                    let next = items.last().map(|last: &Arc<Session>| sessions::place(last));
                    return Ok(Listed { items, next });
                }
                items.push(session);
            }
            after = listed.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Listed { items, next: after })
    }

    /// The revisions of a workflow that are kept, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn revisions(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        page: &Page,
    ) -> Result<Listed<Arc<Definition>>, StoreError> {
        self.inner.backend.revisions(tenant, workflow, page).await
    }

    /// The places of waiting tasks in their lines, from 1, in the order of the tasks; tasks that do not wait have
    /// none, nor have those after the first [`PLACES_MAX`] that do. A place from [`PLACE_MAX`] on is told as that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn places_in_line(
        &self,
        tenant: &TenantId,
        tasks: impl IntoIterator<Item = &Arc<Task>>,
    ) -> Result<Vec<Option<usize>>, StoreError> {
        let (mut places, mut queued) = (Vec::new(), Vec::new());
        for task in tasks {
            if task.queued_at.is_some() && queued.len() < PLACES_MAX {
                queued.push((places.len(), task));
            }
            places.push(None);
        }
        for (at, task) in queued {
            places[at] = Some(1 + self.inner.backend.ahead(tenant, task, PLACE_MAX - 1).await?);
        }
        Ok(places)
    }

    /// Tools, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn tools(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Tool>>, StoreError> {
        self.inner.backend.tools(tenant, page).await
    }

    /// The current revision of each workflow, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn workflows(
        &self,
        tenant: &TenantId,
        page: &Page,
    ) -> Result<Listed<Arc<Definition>>, StoreError> {
        self.inner.backend.workflows(tenant, page).await
    }

    /// Hooks, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn hooks(
        &self,
        tenant: &TenantId,
        page: &Page,
    ) -> Result<Listed<Arc<WebhookTrigger>>, StoreError> {
        self.inner.backend.hooks(tenant, page).await
    }

    /// Channels, by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn channels(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<Channel>>, StoreError> {
        self.inner.backend.channels(tenant, page).await
    }

    /// The history of a channel, oldest first: at most `limit` messages after a sequence, and no more than about `bytes`
    /// of them, but one in any case. What its retention has let go of by `now` is not in it, whether removed yet or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn channel_messages(
        &self,
        tenant: &TenantId,
        channel: &Channel,
        after: u64,
        (limit, bytes): (usize, usize),
        now: Timestamp,
    ) -> Result<Vec<Arc<ChannelMessage>>, StoreError> {
        let after = after.max(channel.first_kept.saturating_sub(1));
        let since = now - channel.retention.max_age;
        self.inner.backend.channel_messages(tenant, &channel.id, (after, since), (limit, bytes)).await
    }

    /// An agent's commands, newest first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        page: &Page,
    ) -> Result<Listed<Arc<AgentCommand>>, StoreError> {
        self.inner.backend.commands(tenant, agent, page).await
    }

    /// How many commands of an agent are neither answered nor over; no more than `most` are counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn open_commands(
        &self,
        tenant: &TenantId,
        agent: &AgentId,
        most: usize,
    ) -> Result<usize, StoreError> {
        self.inner.backend.open_commands(tenant, agent, most).await
    }

    /// Schedules, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn schedules(
        &self,
        tenant: &TenantId,
        page: &Page,
    ) -> Result<Listed<Arc<Schedule>>, StoreError> {
        self.inner.backend.schedules(tenant, page).await
    }

    /// Dead letters, the longest dead first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        page: &Page,
    ) -> Result<Listed<Arc<Message>>, StoreError> {
        self.inner.backend.dead_letters(tenant, filter, page).await
    }

    /// SSH keys, by id; of an agent only those of its own that are active.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn ssh_keys(
        &self,
        tenant: &TenantId,
        of: Option<&AgentId>,
        page: &Page,
    ) -> Result<Listed<Arc<SshKey>>, StoreError> {
        self.inner.backend.ssh_keys(tenant, of, page).await
    }

    /// API keys, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn keys(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Arc<ApiKey>>, StoreError> {
        self.inner.backend.keys(tenant, page).await
    }

    /// All tenants, by id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn tenants(&self, page: &Page) -> Result<Listed<Tenant>, StoreError> {
        self.inner.backend.tenants(page).await
    }

    /// A tenant.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        self.inner.backend.tenant(id).await
    }

    /// Entries of the log. A filtered page may be short, even empty, and still have a [`Listed::next`]: one
    /// call looks at a bounded number of entries.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: &Page,
    ) -> Result<Listed<StoredEvent>, StoreError> {
        self.inner.backend.events(tenant, filter, page).await
    }

    /// The oldest place in the tenant's order that is still kept: older ones are a gap.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn first_sequence(&self, tenant: &TenantId) -> Result<Option<u64>, StoreError> {
        self.inner.backend.first_sequence(tenant).await
    }

    /// What a tenant took on each day from `first` to `last`; days without anything are left out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn usage(&self, tenant: &TenantId, first: u32, last: u32) -> Result<Vec<UsageDay>, StoreError> {
        self.inner.backend.usage(tenant, first, last).await
    }

    /// How many of something a tenant has; no more than `most` are counted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn count(&self, tenant: &TenantId, what: Counted, most: u64) -> Result<u64, StoreError> {
        self.inner.backend.count(tenant, what, most).await
    }

    /// The API key with this hash, be it that of its secret or of the one before, and whose it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn key_by_hash(&self, hash: &str) -> Result<Option<(TenantId, Arc<ApiKey>)>, StoreError> {
        self.inner.backend.key_by_hash(hash).await
    }

    /// Whether a session of this workflow, or of one revision of it, is not over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn open_session_of_workflow(
        &self,
        tenant: &TenantId,
        workflow: &WorkflowId,
        revision: Option<u32>,
    ) -> Result<bool, StoreError> {
        self.inner.backend.open_session_of_workflow(tenant, workflow, revision).await
    }

    /// The session that a task belongs to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn session_of_task(
        &self,
        tenant: &TenantId,
        task: &TaskId,
    ) -> Result<Option<SessionId>, StoreError> {
        self.inner.backend.session_of_task(tenant, task).await
    }

    /// Whether a task may wait under one of these routing keys; `false` only when certainly none does.
    #[must_use]
    pub fn maybe_waiting(&self, tenant: &TenantId, routes: &[String]) -> bool {
        self.inner.backend.maybe_waiting(tenant, routes)
    }

    /// Waiting tasks of all tenants, a few of each routing key, those that are served first. Tenants take turns, and
    /// so do the routing keys of each: over several calls every one gets its own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot answer.
    pub async fn waiting_tasks(&self, limit: usize) -> Result<Vec<(TenantId, WaitingTask)>, StoreError> {
        self.inner.backend.waiting_tasks(limit, WAITING_LOOKED_AT).await
    }
}
