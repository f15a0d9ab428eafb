//! Where this surface's words and the engine's meet: sessions and levels; definitions have a file of their own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use signalbox_core::definition::Kind;
use signalbox_core::engine;
use signalbox_core::event::Level;
use signalbox_core::session::{Session, SessionStatus, Tasks};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{TenantId, WorkflowId};
use signalbox_wire::opscore::{self as wire, ApprovalView, DeliveryView, LogLevel, SessionView, TaskView};
use signalbox_wire::time::Timestamp;

/// The versions that authors gave to the definitions of some sessions.
#[derive(Debug, Default)]
pub(super) struct Versions(HashMap<(WorkflowId, u32), Option<String>>);

impl Versions {
    /// Finds the version of `session`'s definition; none where that is no longer kept.
    pub(super) async fn look_up(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        session: &Session,
    ) -> Result<(), StoreError> {
        if let Entry::Vacant(unknown) = self.0.entry((session.workflow.clone(), session.revision)) {
            let kept = store.definition(tenant, &session.workflow, Some(session.revision)).await?;
            unknown.insert(kept.and_then(|kept| kept.value.version.clone()));
        }
        Ok(())
    }

    fn of(&self, session: &Session) -> Option<String> {
        self.0.get(&(session.workflow.clone(), session.revision)).cloned().flatten()
    }
}

/// A session as it is shown, with its tasks where they are given.
pub(super) fn session(session: &Session, versions: &Versions, tasks: Option<&Tasks>) -> SessionView {
    // What is over has a status that says how; that it was undone is in its history.
    let ending = session.ending.as_ref().filter(|_| !session.status.is_over());
    SessionView {
        session_id: session.id.clone(),
        workflow_id: session.workflow.clone(),
        workflow_version: versions.of(session),
        workflow_revision: session.revision,
        agent_id: session.agent.clone(),
        parent_session_id: session.parent.as_ref().map(|parent| parent.session.clone()),
        schedule_id: session.schedule.clone(),
        status: session_status(session.status),
        waiting_for: session.waits_for_group.then(|| "its turn among sessions like it".to_owned()),
        waits_until: None,
        ending: ending.map(|ending| session_status(ending.status)),
        created_at: session.created_at,
        updated_at: session.updated_at,
        ended_at: session.ended_at,
        input: session.input.clone(),
        result: session.result.clone(),
        error: session.error.clone(),
        tasks: tasks.map(|tasks| tasks.iter().map(|task| task_view(task)).collect()),
    }
}

fn task_view(task: &Task) -> TaskView {
    let name = if task.attempt > 0 { task.id.attempt_name(task.attempt) } else { task.id.to_string() };
    let (waiting_for, waits_until) = wait(task).map_or((None, None), |wait| (Some(wait.words), wait.until));
    TaskView {
        task_id: task.step.clone(),
        name: task.name.clone(),
        status: task_status(task),
        agent_id: task.agent.clone().filter(|_| task.status != TaskStatus::Pending),
        attempt: task.attempt,
        max_retries: task.retries,
        opscore_task_id: Some(name),
        parameters: task.parameters.clone(),
        result: task.result.clone(),
        error: task.error.clone(),
        progress: task.progress.clone(),
        child_session_id: task.child.clone(),
        approval: approval(task),
        waiting_for,
        waits_until,
        delivery: delivery(task),
        place_in_line: None,
        dispatched_at: task.dispatched_at,
        started_at: task.started_at,
        ended_at: task.ended_at,
    }
}

/// What a task waits for, in words, and when that ends or goes on by itself.
pub(super) struct TaskWait {
    pub(super) words: String,
    pub(super) until: Option<Timestamp>,
}

/// What a task waits for.
pub(super) fn wait(task: &Task) -> Option<TaskWait> {
    let (words, until) = match (task.queued_at, task.retry_at) {
        (Some(_), _) => (task.route.waiting_for(), None),
        (None, Some(at)) => ("its next attempt".to_owned(), Some(at)),
        (None, None) => {
            let until = task.until.filter(|_| task.status == TaskStatus::Waiting);
            (waits_for(task)?, until.or_else(|| delivery(task).map(|delivery| delivery.next_at)))
        }
    };
    Some(TaskWait { words, until })
}

/// How the delivery of a task stands that has failed so far.
pub(super) fn delivery(task: &Task) -> Option<DeliveryView> {
    let failed = task.undelivered.as_ref().filter(|_| task.status == TaskStatus::Dispatched)?;
    Some(DeliveryView {
        tries: failed.tries,
        status: failed.status,
        error: failed.error.clone(),
        next_at: failed.retry_at,
    })
}

/// What a task that nobody works on waits for.
fn waits_for(task: &Task) -> Option<String> {
    let by = |who: &Option<String>| who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    match (&task.kind, task.status) {
        (Kind::Wait { signal }, TaskStatus::Waiting) => Some(format!("the signal '{signal}'")),
        (Kind::Approve { who, .. }, TaskStatus::Waiting) => Some(format!("an approval{}", by(who))),
        (Kind::Sleep(_), TaskStatus::Waiting) => Some("a delay to end".to_owned()),
        (Kind::Workflow(_), TaskStatus::Dispatched) => {
            task.child.as_ref().map(|child| format!("session {child} to end"))
        }
        (Kind::Tool(tool), TaskStatus::Dispatched) => Some(format!("tool '{tool}' to answer")),
        _ if delivery(task).is_some() => Some(match &task.agent {
            Some(agent) => format!("agent {agent} to take it"),
            None => "whoever does it to take it".to_owned(),
        }),
        _ => None,
    }
}

fn approval(task: &Task) -> Option<ApprovalView> {
    let (Kind::Approve { who, .. }, Some(subject)) = (&task.kind, &task.subject) else { return None };
    Some(ApprovalView {
        who: who.clone(),
        what: Some(subject.what.clone()).filter(|what| !what.is_empty()),
        parameters: subject.parameters.clone(),
        digest: subject.digest.clone(),
    })
}

pub(super) fn session_status(status: SessionStatus) -> wire::SessionStatus {
    match status {
        SessionStatus::Started => wire::SessionStatus::Started,
        SessionStatus::Running => wire::SessionStatus::Running,
        SessionStatus::Paused => wire::SessionStatus::Paused,
        SessionStatus::Completed => wire::SessionStatus::Completed,
        SessionStatus::Failed => wire::SessionStatus::Failed,
        SessionStatus::Cancelled => wire::SessionStatus::Cancelled,
    }
}

/// Inside, a task that nobody can do at the moment is pending and queued; outside it is waiting.
fn task_status(task: &Task) -> wire::TaskStatus {
    match task.status {
        TaskStatus::Pending if task.queued_at.is_some() => wire::TaskStatus::Waiting,
        TaskStatus::Pending => wire::TaskStatus::Pending,
        TaskStatus::Dispatched => wire::TaskStatus::Dispatched,
        TaskStatus::Running => wire::TaskStatus::Running,
        TaskStatus::Waiting => wire::TaskStatus::Waiting,
        TaskStatus::Completed => wire::TaskStatus::Completed,
        TaskStatus::Failed => wire::TaskStatus::Failed,
        TaskStatus::Skipped => wire::TaskStatus::Skipped,
        TaskStatus::Cancelled => wire::TaskStatus::Cancelled,
    }
}

/// An agent's entry as the engine takes it.
pub(super) fn log_entry(entry: wire::LogEntry) -> engine::LogEntry {
    let (session, task) = (entry.session().map(str::to_owned), entry.task().map(str::to_owned));
    let wire::LogEntry { level, message, timestamp, fields, .. } = entry;
    engine::LogEntry { level: level_in(level), message, timestamp, fields, session, task }
}

/// A level as the engine knows it.
pub(super) fn level_in(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Debug,
        // A request with a level that is not known is refused when it is read.
        LogLevel::Info | LogLevel::Unknown => Level::Info,
        LogLevel::Warning => Level::Warning,
        LogLevel::Error => Level::Error,
        LogLevel::Critical => Level::Critical,
    }
}

/// A level as it is shown.
pub(super) fn level_out(level: Level) -> LogLevel {
    match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warning => LogLevel::Warning,
        Level::Error => LogLevel::Error,
        Level::Critical => LogLevel::Critical,
    }
}

#[cfg(test)]
mod tests {
    use signalbox_core::routing::Route;
    use signalbox_core::task::Undelivered;
    use signalbox_wire::id::{AgentId, TaskId};

    use super::*;

    fn task() -> Task {
        let id = TaskId::parse("tsk_1").expect("valid");
        Task { retries: 3, ..Task::new(id, "read".into(), 0, Route::Capability("read".into())) }
    }

    #[test]
    fn a_task_says_what_it_waits_for_and_under_which_name_it_was_given() {
        let mut task = task();
        assert_eq!(task_view(&task).opscore_task_id.as_deref(), Some("tsk_1"));
        assert_eq!(task_view(&task).status, wire::TaskStatus::Pending);
        task.queued_at = Some(Timestamp::default());
        let view = task_view(&task);
        assert_eq!(view.status, wire::TaskStatus::Waiting);
        assert_eq!(view.waiting_for.as_deref(), Some("an available agent with capability 'read'"));
        task.queued_at = None;
        task.attempt = 2;
        task.agent = AgentId::parse("agt_1").ok();
        task.retry_at = Some(Timestamp::from_seconds(1_704_110_400));
        let view = task_view(&task);
        assert_eq!(
            (view.waiting_for.as_deref(), view.waits_until),
            (Some("its next attempt"), task.retry_at)
        );
        assert_eq!((view.agent_id, view.opscore_task_id.as_deref()), (None, Some("tsk_1-2")));
        (task.status, task.retry_at) = (TaskStatus::Dispatched, None);
        let (error, retry_at) = ("connection refused".to_owned(), Timestamp::from_seconds(9));
        task.undelivered = Some(Undelivered { tries: 3, status: None, error, retry_at });
        let view = task_view(&task);
        assert_eq!(view.waiting_for.as_deref(), Some("agent agt_1 to take it"));
        assert_eq!(view.waits_until, Some(retry_at));
        assert_eq!(view.delivery.map(|delivery| (delivery.tries, delivery.next_at)), Some((3, retry_at)));
        task.status = TaskStatus::Running;
        let view = task_view(&task);
        assert_eq!((&view.agent_id, view.delivery), (&task.agent, None), "its agent has it");
    }
}
