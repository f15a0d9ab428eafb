//! Entries of the log as they are shown: in a session's history, and in the log of the tenant.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use signalbox_store::{Store, StoreError, StoredEvent};
use signalbox_wire::id::{AgentId, SessionId, TaskId, TenantId};
use signalbox_wire::opscore::{EventView, LogView};
use signalbox_wire::time::Timestamp;

use super::{names, served};
use crate::http::streams::EntryView;
use crate::surface::opscore::convert::level_out;

/// Sessions whose traces, and agents whose names, are remembered at once.
const REMEMBERED_MAX: usize = 1_000;
/// The kind of the entries that agents write.
const BY_AGENT: &str = "log";

/// An entry of a session's history; `name` is that of the agent that it speaks of.
fn event(event: &StoredEvent, name: Option<&str>) -> EventView {
    let (session_id, sequence) = match &event.session {
        Some((session, place)) => (Some(session.clone()), *place),
        None => (None, event.sequence),
    };
    EventView {
        sequence,
        kind: event.kind.clone(),
        timestamp: event.at,
        level: level_out(event.level),
        session_id,
        agent_id: event.agent.clone(),
        task_id: Named::of(event).step,
        message: names::of(event, name),
        data: served::session_event(event),
    }
}

/// What entries name besides their columns.
#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(default)]
    step: Option<String>,
    #[serde(default, rename = "sessionId")]
    session_id: Option<String>,
    #[serde(default, rename = "taskId")]
    task_id: Option<String>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default, borrow)]
    fields: Option<&'a RawValue>,
}

impl<'a> Named<'a> {
    fn of(event: &'a StoredEvent) -> Self {
        serde_json::from_str(&event.data).unwrap_or_default()
    }
}

/// The two names of an entry's task, as in a session's list of tasks: its id in the definition, and the one that its
/// agent knows it by. Where only the second is written down, the first is looked up.
#[derive(Default)]
struct TaskNames {
    task_id: Option<String>,
    opscore_task_id: Option<String>,
}

impl TaskNames {
    fn of(event: &StoredEvent, named: &Named<'_>) -> Self {
        let kept = || event.task.as_ref().map(ToString::to_string);
        match (&named.step, named.task_id.clone().or_else(kept)) {
            // What the history tells of it has the other name among its fields.
            (Some(step), _) => Self { task_id: Some(step.clone()), opscore_task_id: None },
            (None, Some(name)) if name.starts_with(TaskId::PREFIX) => {
                Self { task_id: None, opscore_task_id: Some(name) }
            }
            (None, task_id) => Self { task_id, opscore_task_id: None },
        }
    }
}

/// Shows entries of a session's history, each with the name of its agent.
#[derive(Default)]
pub(crate) struct InHistory {
    names: AgentNames,
}

impl InHistory {
    /// An entry of a history.
    pub(crate) async fn entry(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        stored: &StoredEvent,
    ) -> Result<EventView, StoreError> {
        let name = self.names.of(store, tenant, stored).await?;
        Ok(event(stored, name.as_deref()))
    }
}

impl EntryView for InHistory {
    async fn json(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        stored: &StoredEvent,
    ) -> Result<Vec<u8>, StoreError> {
        Ok(serde_json::to_vec(&self.entry(store, tenant, stored).await?).unwrap_or_default())
    }
}

/// The names of agents as they are now, by their ids.
#[derive(Default)]
struct AgentNames(HashMap<AgentId, Option<String>>);

impl AgentNames {
    /// The name of the agent that an entry speaks of; none of one that is gone.
    async fn of(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        event: &StoredEvent,
    ) -> Result<Option<String>, StoreError> {
        let Some(agent) = names::agent_of(event) else { return Ok(None) };
        if let Some(known) = self.0.get(&agent) {
            return Ok(known.clone());
        }
        let name = store.agent(tenant, &agent).await?.map(|read| read.value.name.clone());
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.insert(agent, name.clone());
        Ok(name)
    }
}

/// Shows entries of the log, each with the trace of its session and the name of its agent.
#[derive(Default)]
pub(crate) struct InLog {
    traces: HashMap<SessionId, Option<String>>,
    names: AgentNames,
}

impl EntryView for InLog {
    async fn json(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        stored: &StoredEvent,
    ) -> Result<Vec<u8>, StoreError> {
        Ok(serde_json::to_vec(&self.entry(store, tenant, stored).await?).unwrap_or_default())
    }
}

impl InLog {
    /// An entry of the log.
    pub(crate) async fn entry(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        event: &StoredEvent,
    ) -> Result<LogView, StoreError> {
        let name = self.names.of(store, tenant, event).await?;
        let mut view = entry(event, name.as_deref());
        if let Some(session) = &view.session_id {
            view.trace_id = self.trace(store, tenant, session).await?;
            if let (None, Some(name)) = (&view.task_id, &view.opscore_task_id) {
                view.task_id = step_of(store, tenant, session, name).await?;
            }
        }
        Ok(view)
    }

    async fn trace(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        session: &SessionId,
    ) -> Result<Option<String>, StoreError> {
        if let Some(known) = self.traces.get(session) {
            return Ok(known.clone());
        }
        let read = store.session(tenant, session).await?;
        let trace = read.and_then(|read| trace_id(read.value.session.trace.as_deref()?));
        if self.traces.len() >= REMEMBERED_MAX {
            self.traces.clear();
        }
        self.traces.insert(session.clone(), trace.clone());
        Ok(trace)
    }
}

/// The id in its definition of the task of `session` that agents know as `name`.
async fn step_of(
    store: &Store,
    tenant: &TenantId,
    session: &SessionId,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let Some(read) = store.session(tenant, session).await? else { return Ok(None) };
    let task = read.value.tasks.iter().find(|task| task.id.matches(name).is_some());
    Ok(task.map(|task| task.step.clone()))
}

fn entry(event: &StoredEvent, name: Option<&str>) -> LogView {
    let named = Named::of(event);
    let TaskNames { task_id, opscore_task_id } = TaskNames::of(event, &named);
    let is_by_agent = event.kind == BY_AGENT;
    let in_session = event.session.as_ref().map(|(session, _)| session.clone());
    let fields = if is_by_agent { named.fields.map(ToOwned::to_owned) } else { Some(served::of(event)) };
    LogView {
        sequence: event.sequence,
        timestamp: named.timestamp.filter(|_| is_by_agent).unwrap_or(event.at),
        level: level_out(event.level),
        agent_id: event.agent.clone(),
        session_id: in_session.or_else(|| SessionId::parse(named.session_id.as_deref()?).ok()),
        task_id,
        opscore_task_id,
        trace_id: None,
        message: names::of(event, name),
        fields,
    }
}

/// The trace's id in a `traceparent`.
fn trace_id(traceparent: &str) -> Option<String> {
    traceparent.split('-').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use signalbox_core::event::{Level, NewEvent};
    use signalbox_core::session::SessionEvent;

    use super::*;

    fn stored(new: NewEvent) -> StoredEvent {
        let NewEvent { kind, level, at, session, agent, task, data } = new;
        StoredEvent { sequence: 40, kind, level, at, session, agent, task, data }
    }

    fn running() -> StoredEvent {
        let event = SessionEvent::TaskRunning {
            task: TaskId::parse("tsk_1").expect("valid"),
            step: "read".into(),
            attempt: 1,
            agent: AgentId::parse("agt_1").expect("valid"),
        };
        stored(event.entry(
            &SessionId::parse("ses_1").expect("valid"),
            3,
            Timestamp::from_seconds(1),
            Some("reader"),
        ))
    }

    #[test]
    fn an_event_has_its_session_s_sequence_and_its_task_s_name() {
        let view = serde_json::to_value(event(&running(), None)).expect("JSON");
        let expected = json!({
            "sequence": 3, "type": "task.running", "timestamp": "1970-01-01T00:00:01.000000Z", "level": "info",
            "sessionId": "ses_1", "agentId": "agt_1", "taskId": "read",
            "message": "Task read is under way at agent 'reader' (agt_1) (attempt 1)",
            "data": {"agentName": "reader", "opscoreTaskId": "tsk_1-1", "attempt": 1},
        });
        assert_eq!(view, expected);
    }

    #[test]
    fn an_entry_has_the_tenant_s_sequence() {
        let view = serde_json::to_value(entry(&running(), None)).expect("JSON");
        assert_eq!(
            (&view["sequence"], &view["sessionId"], &view["taskId"]),
            (&json!(40), &json!("ses_1"), &json!("read"))
        );
        assert_eq!(view["fields"]["opscoreTaskId"], "tsk_1-1");
    }

    #[test]
    fn an_agent_s_entry_is_shown_as_it_wrote_it() {
        let data = json!({"message": "Reading", "timestamp": "2024-01-01T12:00:00Z", "fields": {"n": 1},
            "sessionId": "ses_9", "taskId": "tsk_9-1"});
        let about = AgentId::parse("a").expect("valid");
        let event = NewEvent::new("log", Level::Warning, Timestamp::default(), &data).about(&about);
        let view = serde_json::to_value(entry(&stored(event), None)).expect("JSON");
        let expected = json!({"sequence": 40, "timestamp": "2024-01-01T12:00:00.000000Z", "level": "warning",
            "agentId": "a", "sessionId": "ses_9", "opscoreTaskId": "tsk_9-1", "message": "Reading", "fields": {"n": 1}});
        assert_eq!(view, expected);
        let data = json!({"message": "m", "taskId": "read"});
        let named = stored(NewEvent::new("log", Level::Info, Timestamp::default(), &data));
        assert_eq!(serde_json::to_value(entry(&named, None)).expect("JSON")["taskId"], "read");
        let bare =
            NewEvent::new("log", Level::Info, Timestamp::default(), &json!({"message": "m", "fields": null}));
        assert_eq!(serde_json::to_value(entry(&stored(bare), None)).expect("JSON")["fields"], Value::Null);
    }

    #[test]
    fn a_trace_is_known_by_the_middle_of_its_traceparent() {
        assert_eq!(trace_id("00-0af7-b7ad-01").as_deref(), Some("0af7"));
        assert_eq!(trace_id("nothing"), None);
    }
}
