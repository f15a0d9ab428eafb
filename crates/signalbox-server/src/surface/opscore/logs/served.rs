//! What entries of the log tell, from the form that is stored to the one that is served.
//!
//! What is stored is the engine's own: a history is replayed from it. Nothing of it is served as it is: a field that
//! a client should see has to be named here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_core::session::SessionEvent as E;
use signalbox_core::task::{Subject, Task};
use signalbox_store::StoredEvent;
use signalbox_wire::duration::Period;
use signalbox_wire::id::TaskId;
use signalbox_wire::opscore::{EventApproval, EventData, EventTask, LogData};

use crate::surface::opscore::convert::session_status;

/// What an entry that no agent wrote tells, as JSON.
pub(super) fn of(event: &StoredEvent) -> Box<RawValue> {
    let is_history = matches!(event.session, Some((_, place)) if place > 0);
    let raw = if is_history {
        serde_json::value::to_raw_value(&session_event(event))
    } else {
        serde_json::value::to_raw_value(&log(event))
    };
    raw.unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The agent's name, which an event keeps beside what happened.
#[derive(Default, Deserialize)]
struct Beside {
    #[serde(default)]
    agent_name: Option<String>,
}

/// What an event of a session's history tells; nothing where a later version wrote it.
pub(super) fn session_event(event: &StoredEvent) -> EventData {
    let Ok(happened) = serde_json::from_str::<E>(&event.data) else { return EventData::default() };
    let Beside { agent_name } = serde_json::from_str(&event.data).unwrap_or_default();
    EventData { agent_name, ..told(happened) }
}

fn told(event: E) -> EventData {
    let data = EventData::default();
    match event {
        E::Started { workflow, revision, agent, input, trace: _, schedule, tasks, parent, plan } => {
            EventData {
                workflow_id: Some(workflow),
                workflow_revision: Some(revision),
                agent_id: agent,
                input: Some(input),
                schedule_id: schedule,
                parent_session_id: parent.map(|parent| parent.session),
                tasks: Some(tasks.iter().map(|made| task(made)).collect()),
                timeout: plan.timeout.and_then(period),
                max_parallel: plan.max_parallel,
                concurrency: plan.group.map(|claim| claim.group),
                ..data
            }
        }
        E::Queued { key } => EventData { concurrency: Some(key), ..data },
        E::TaskWaiting { task, step: _, waiting_for } => {
            EventData { waiting_for: Some(waiting_for), ..of_task(&task, 0) }
        }
        E::TaskDispatched { task, step: _, attempt, agent, child, parameters } => EventData {
            message_id: agent.map(|_| task.message(attempt)),
            child_session_id: child,
            parameters: Some(parameters),
            ..of_task(&task, attempt)
        },
        E::TaskBegun { task, step: _, waiting_for, until, subject } => EventData {
            waiting_for: Some(waiting_for),
            waits_until: until,
            approval: subject.map(approval),
            ..of_task(&task, 0)
        },
        E::TaskExpanded { task, step: _, tasks } => EventData {
            tasks: Some(tasks.iter().map(|made| self::task(made)).collect()),
            ..of_task(&task, 0)
        },
        E::TaskRunning { task, step: _, attempt, agent: _ } => of_task(&task, attempt),
        E::TaskProgress { task, step: _, attempt, agent: _, progress } => {
            EventData { progress, ..of_task(&task, attempt) }
        }
        E::TaskCompleted { task, step: _, attempt, agent: _, result } => {
            EventData { result, ..of_task(&task, attempt) }
        }
        E::DeliveryFailed { task, step: _, attempt, agent: _, tries, status: _, error, retry_at } => {
            EventData {
                tries: Some(tries),
                error: Some(error),
                retry_at: Some(retry_at),
                ..of_task(&task, attempt)
            }
        }
        E::TaskRetrying { task, step: _, attempt, error, retry_at } => {
            EventData { error: Some(error), retry_at: Some(retry_at), ..of_task(&task, attempt) }
        }
        E::TaskReturned { task, step: _, attempt, agent: _, reason } => {
            EventData { reason: Some(reason), ..of_task(&task, attempt) }
        }
        E::TaskFailed { task, step: _, attempt, error } => {
            EventData { error: Some(error), ..of_task(&task, attempt) }
        }
        E::TaskSkipped { task, step: _, reason, is_unreached } => {
            EventData { reason: Some(reason), is_unreached: Some(is_unreached), ..of_task(&task, 0) }
        }
        E::TaskCancelled { task, step: _, attempt } => of_task(&task, attempt),
        E::TaskReopened { task, step: _, retries } => {
            EventData { max_retries: Some(retries), ..of_task(&task, 0) }
        }
        E::SignalKept { signal, payload } => EventData { signal: Some(signal), payload, ..data },
        E::Undoing { ending, tasks } => EventData {
            ending: Some(session_status(ending.status)),
            reason: Some(ending.reason),
            tasks: Some(tasks.iter().map(task).collect()),
            ..data
        },
        E::Completed { result } => EventData { result, ..data },
        E::Failed { error } => EventData { error: Some(error), ..data },
        E::Cancelled { reason } => EventData { reason: Some(reason), ..data },
        E::Admitted | E::Paused | E::Resumed | E::Retried => data,
    }
}

/// What is told of every event of a task; the first attempt is number 1.
fn of_task(task: &TaskId, attempt: u32) -> EventData {
    let name = if attempt > 0 { task.attempt_name(attempt) } else { task.to_string() };
    EventData {
        opscore_task_id: Some(name),
        attempt: Some(attempt).filter(|attempt| *attempt > 0),
        ..EventData::default()
    }
}

fn task(task: &Task) -> EventTask {
    let item = task.instance.as_ref().map(|instance| instance.item.clone());
    EventTask { task_id: task.step.clone(), name: task.name.clone(), item }
}

fn approval(subject: Subject) -> EventApproval {
    let Subject { what, parameters, digest } = subject;
    EventApproval { what: Some(what).filter(|what| !what.is_empty()), parameters, digest }
}

fn period(duration: Duration) -> Option<Period> {
    Period::try_from(duration).ok()
}

/// How long what is over is kept, as it is stored.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Kept {
    sessions_seconds: Option<f64>,
    events_seconds: Option<f64>,
    messages_seconds: Option<f64>,
}

/// What any other entry tells.
fn log(event: &StoredEvent) -> LogData {
    let data = serde_json::from_str(&event.data).unwrap_or_default();
    if event.kind != "retention.changed" {
        return data;
    }
    let Kept { sessions_seconds, events_seconds, messages_seconds } =
        serde_json::from_str(&event.data).unwrap_or_default();
    let period = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let [sessions, events, messages] = [sessions_seconds, events_seconds, messages_seconds]
        .map(|seconds| period(seconds).and_then(self::period));
    LogData { sessions, events, messages, ..data }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Map, Value, json};
    use signalbox_core::definition::{Compensation, Kind, RetryRule};
    use signalbox_core::event::NewEvent;
    use signalbox_core::routing::Route;
    use signalbox_core::session::{ConcurrencyClaim, Ending, Parent, Plan, SessionStatus};
    use signalbox_core::task::Instance;
    use signalbox_wire::id::{AgentId, SessionId, WorkflowId};
    use signalbox_wire::time::Timestamp;

    use super::*;

    /// Below these stand values of clients.
    const OPAQUE: [&str; 6] = ["input", "parameters", "progress", "result", "payload", "item"];

    fn full_task() -> Task {
        let mut task = Task::new(
            TaskId::parse("tsk_1").expect("valid"),
            "read".into(),
            0,
            Route::Capability("c".into()),
        );
        task.rules.timeout = Some(Duration::from_secs(3));
        task.rules.retry = Some(RetryRule { initial: Some(Duration::from_secs(3)), ..RetryRule::default() });
        task.rules.compensate = Some(Box::new(Compensation::default()));
        task.kind = Kind::Wait { signal: "go".into() };
        task.template.insert("secret_template".into(), json!("${input.x}"));
        task.queued_at = Some(Timestamp::default());
        task.instance = Some(Instance { of: 0, index: 0, item: json!({"of_client": 1}) });
        task
    }

    /// One event of every kind, with everything in it that it may hold.
    fn every_event() -> Vec<E> {
        let (task, step) = (TaskId::parse("tsk_1").expect("valid"), "read".to_owned());
        let agent = AgentId::parse("agt_1").expect("valid");
        let session = SessionId::parse("ses_1").expect("valid");
        let (at, attempt) = (Timestamp::default(), 1);
        let (error, reason) = ("e".to_owned(), "r".to_owned());
        let values = Map::from_iter([("of_client".to_owned(), json!({"snake_case": 1}))]);
        let value = Some(Value::Object(values.clone()));
        let tasks = || vec![full_task()];
        let plan = Plan {
            output: Some(json!("${tasks.read.result}")),
            timeout: Some(Duration::from_secs(90)),
            max_parallel: Some(2),
            group: Some(ConcurrencyClaim { group: "g".into(), limit: 1 }),
            notify: None,
        };
        let parent = Parent { session: session.clone(), task: task.clone(), attempt, depth: 1 };
        let subject =
            Subject { what: "w".into(), parameters: value.clone().unwrap_or_default(), digest: "d".into() };
        let (t, s) = (|| task.clone(), || step.clone());
        vec![
            E::Started {
                workflow: WorkflowId::parse("w").expect("valid"),
                revision: 1,
                agent: Some(agent.clone()),
                input: values.clone(),
                trace: Some("00-a-b-01".into()),
                schedule: None,
                tasks: tasks().into_iter().map(Arc::new).collect(),
                parent: Some(parent),
                plan,
            },
            E::Queued { key: "k".into() },
            E::Admitted,
            E::TaskWaiting { task: t(), step: s(), waiting_for: "w".into() },
            E::TaskDispatched {
                task: t(),
                step: s(),
                attempt,
                agent: Some(agent.clone()),
                child: Some(session),
                parameters: values,
            },
            E::TaskBegun {
                task: t(),
                step: s(),
                waiting_for: "w".into(),
                until: Some(at),
                subject: Some(subject),
            },
            E::TaskExpanded { task: t(), step: s(), tasks: tasks().into_iter().map(Arc::new).collect() },
            E::TaskRunning { task: t(), step: s(), attempt, agent: agent.clone() },
            E::TaskProgress { task: t(), step: s(), attempt, agent: agent.clone(), progress: value.clone() },
            E::TaskCompleted {
                task: t(),
                step: s(),
                attempt,
                agent: Some(agent.clone()),
                result: value.clone(),
            },
            E::DeliveryFailed {
                task: t(),
                step: s(),
                attempt,
                agent: agent.clone(),
                tries: 1,
                status: None,
                error: error.clone(),
                retry_at: at,
            },
            E::TaskRetrying { task: t(), step: s(), attempt, error: error.clone(), retry_at: at },
            E::TaskReturned { task: t(), step: s(), attempt, agent: Some(agent), reason: reason.clone() },
            E::TaskFailed { task: t(), step: s(), attempt, error: error.clone() },
            E::TaskSkipped { task: t(), step: s(), reason: reason.clone(), is_unreached: true },
            E::TaskCancelled { task: t(), step: s(), attempt },
            E::TaskReopened { task: t(), step: s(), retries: 3 },
            E::SignalKept { signal: "go".into(), payload: value.clone() },
            E::Paused,
            E::Resumed,
            E::Retried,
            E::Undoing {
                ending: Ending { status: SessionStatus::Failed, reason: reason.clone() },
                tasks: tasks(),
            },
            E::Completed { result: value },
            E::Failed { error },
            E::Cancelled { reason },
        ]
    }

    fn stored(new: NewEvent) -> StoredEvent {
        let NewEvent { kind, level, at, session, agent, task, data } = new;
        StoredEvent { sequence: 1, kind, level, at, session, agent, task, data }
    }

    /// Panics where a name is none of this API, or a value is one of the engine's own.
    fn check(kind: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    assert!(!name.contains('_'), "{kind}: {name}");
                    let inner =
                        ["template", "rules", "route", "nanos", "secs", "queuedAt", "trace", "plan", "step"];
                    assert!(!inner.contains(&name.as_str()), "{kind}: {name}");
                    if !OPAQUE.contains(&name.as_str()) {
                        check(kind, value);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| check(kind, item)),
            _ => {}
        }
    }

    #[test]
    fn no_event_of_a_session_shows_how_it_is_stored() {
        let mut kinds = std::collections::BTreeSet::new();
        for event in every_event() {
            let entry = event.entry(
                &SessionId::parse("ses_1").expect("valid"),
                1,
                Timestamp::default(),
                Some("reader"),
            );
            let stored = stored(entry);
            kinds.insert(stored.kind.clone());
            let replayed: E = serde_json::from_str(&stored.data).expect("it can be replayed");
            assert_eq!(replayed, event);
            let served: Value = serde_json::from_str(of(&stored).get()).expect("JSON");
            check(&stored.kind, &served);
            assert_eq!(served["agentName"], "reader", "{served}");
        }
        // As many as the engine knows: whoever adds one adds it here.
        assert_eq!(kinds.len(), 25);
    }

    #[test]
    fn a_start_is_told_in_the_words_of_the_api() {
        let started = every_event().swap_remove(0);
        let served = serde_json::to_value(told(started)).expect("JSON");
        let expected = json!({
            "workflowId": "w", "workflowRevision": 1, "agentId": "agt_1", "input": {"of_client": {"snake_case": 1}},
            "parentSessionId": "ses_1", "timeout": "1m30s", "maxParallel": 2, "concurrency": "g",
            "tasks": [{"taskId": "read", "item": {"of_client": 1}}],
        });
        assert_eq!(served, expected);
    }

    #[test]
    fn other_entries_show_only_what_the_api_names() {
        let entry = |kind: &str, data: Value| {
            let level = signalbox_core::event::Level::Info;
            let event = stored(NewEvent::new(kind, level, Timestamp::default(), &data));
            serde_json::from_str::<Value>(of(&event).get()).expect("JSON")
        };
        let kept = json!({"sessionsSeconds": 7200.0, "eventsSeconds": null, "messagesSeconds": 90.0});
        assert_eq!(entry("retention.changed", kept), json!({"sessions": "2h", "messages": "1m30s"}));
        let report = json!({"state": "idle", "details": {"of_client": 1}, "inner_form": 5});
        assert_eq!(entry("agent.reported", report), json!({"state": "idle", "details": {"of_client": 1}}));
        let message = json!({"messageId": "m", "status": 500, "error": null});
        assert_eq!(entry("message.dead", message), json!({"messageId": "m", "status": 500}));
    }
}
