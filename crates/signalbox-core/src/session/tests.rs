//! Every pair of status and event, and what any sequence of events must leave true.

mod scan;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::routing::Route;

const SESSION_STATUSES: [SessionStatus; 6] = [
    SessionStatus::Started,
    SessionStatus::Running,
    SessionStatus::Paused,
    SessionStatus::Completed,
    SessionStatus::Failed,
    SessionStatus::Cancelled,
];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn session_id() -> SessionId {
    SessionId::parse("ses_1").expect("valid")
}

fn task_id(position: usize) -> TaskId {
    TaskId::parse(&format!("tsk_{position}")).expect("valid")
}

fn agent() -> AgentId {
    AgentId::parse("agt_1").expect("valid")
}

fn task(position: usize, next: Option<usize>) -> Task {
    let step = format!("step{position}");
    Task { next, retries: 3, ..Task::new(task_id(position), step, position, Route::Any) }
}

fn started() -> SessionEvent {
    SessionEvent::Started {
        workflow: WorkflowId::parse("w").expect("valid"),
        revision: 1,
        agent: None,
        input: Map::new(),
        trace: None,
        schedule: None,
        tasks: vec![Arc::new(task(0, Some(1))), Arc::new(task(1, None))],
        parent: None,
        plan: Plan::default(),
    }
}

/// A session in `status` whose first task is in `task_status`, in its second attempt.
fn state(status: SessionStatus, task_status: TaskStatus) -> SessionState {
    let mut state = SessionState::start(&session_id(), at(1), &started()).expect("it starts");
    Arc::make_mut(&mut state.session).status = status;
    state.tasks.change(0, |task| (task.status, task.attempt) = (task_status, 2));
    state
}

/// Every event about the whole session.
fn session_events() -> [SessionEvent; 11] {
    [
        SessionEvent::Paused,
        SessionEvent::Resumed,
        SessionEvent::Cancelled { reason: "no need".into() },
        SessionEvent::Completed { result: Some(json!(1)) },
        SessionEvent::Failed { error: "broken".into() },
        SessionEvent::Retried,
        started(),
        SessionEvent::Queued { key: "w/".into() },
        SessionEvent::Admitted,
        SessionEvent::SignalKept { signal: "go".into(), payload: None },
        SessionEvent::Undoing {
            ending: Ending { status: SessionStatus::Failed, reason: "broken".into() },
            tasks: Vec::new(),
        },
    ]
}

/// Every event about the task at `position`, as it comes in `attempt`.
fn task_events(position: usize, attempt: u32) -> [SessionEvent; 14] {
    let (task, step, agent) = (task_id(position), format!("step{position}"), agent());
    [
        SessionEvent::TaskWaiting { task: task.clone(), step: step.clone(), waiting_for: "any".into() },
        SessionEvent::TaskDispatched {
            task: task.clone(),
            step: step.clone(),
            attempt: attempt + 1,
            agent: Some(agent.clone()),
            child: None,
            parameters: Map::new(),
        },
        SessionEvent::TaskRunning { task: task.clone(), step: step.clone(), attempt, agent: agent.clone() },
        SessionEvent::TaskCompleted {
            task: task.clone(),
            step: step.clone(),
            attempt,
            agent: Some(agent.clone()),
            result: Some(json!({"v": 1})),
        },
        SessionEvent::DeliveryFailed {
            task: task.clone(),
            step: step.clone(),
            attempt,
            agent: agent.clone(),
            tries: 1,
            status: None,
            error: "refused".into(),
            retry_at: at(60),
        },
        SessionEvent::TaskRetrying {
            task: task.clone(),
            step: step.clone(),
            attempt,
            error: "failed".into(),
            retry_at: at(60),
        },
        SessionEvent::TaskReturned {
            task: task.clone(),
            step: step.clone(),
            attempt,
            agent: Some(agent),
            reason: "gone".into(),
        },
        SessionEvent::TaskFailed { task: task.clone(), step: step.clone(), attempt, error: "failed".into() },
        SessionEvent::TaskCancelled { task: task.clone(), step: step.clone(), attempt },
        SessionEvent::TaskReopened { task: task.clone(), step: step.clone(), retries: 9 },
        SessionEvent::TaskBegun {
            task: task.clone(),
            step: step.clone(),
            waiting_for: "a signal".into(),
            until: Some(at(60)),
            subject: None,
        },
        SessionEvent::TaskExpanded { task: task.clone(), step: step.clone(), tasks: Vec::new() },
        SessionEvent::TaskProgress {
            task: task.clone(),
            step: step.clone(),
            attempt,
            agent: self::agent(),
            progress: Some(json!(40)),
        },
        SessionEvent::TaskSkipped { task, step, reason: "not now".into(), is_unreached: true },
    ]
}

/// What applying `event` gives; on an invalid transition it must have changed nothing.
fn applied(before: &SessionState, event: &SessionEvent) -> Option<SessionState> {
    let mut after = before.clone();
    match after.apply(at(9), event) {
        Ok(()) => {
            assert_eq!(after.session.sequence, before.session.sequence + 1, "{event:?}");
            assert_eq!(after.session.updated_at, at(9));
            Some(after)
        }
        Err(invalid_transition) => {
            assert_eq!(after, *before, "{invalid_transition}");
            assert_eq!(invalid_transition.event, event.kind());
            None
        }
    }
}

#[test]
fn every_pair_of_session_status_and_event() {
    use SessionStatus::{Cancelled, Completed, Failed, Paused, Running, Started};
    // paused, resumed, cancelled, completed, failed, retried, started, queued, admitted, signal kept, undoing
    let (x, c, f, r, u) = (Some(Cancelled), Some(Completed), Some(Failed), Some(Running), Some(Running));
    let table = [
        (Started, [Some(Paused), None, x, c, f, None, None, Some(Started), None, Some(Started), u]),
        (Running, [Some(Paused), None, x, c, f, None, None, r, None, r, u]),
        (Paused, [None, r, x, c, f, None, None, Some(Paused), None, Some(Paused), Some(Paused)]),
        (Completed, [None; 11]),
        (Failed, [None, None, None, None, None, r, None, None, None, None, None]),
        (Cancelled, [None; 11]),
    ];
    for (status, row) in table {
        for (event, expected) in session_events().iter().zip(row) {
            let after = applied(&state(status, TaskStatus::Pending), event);
            let after = after.map(|state| state.session);
            assert_eq!(after.as_ref().map(|session| session.status), expected, "{status:?} and {event:?}");
            if let Some(session) = after {
                assert_eq!(session.ended_at.is_some(), session.status.is_over(), "{status:?} and {event:?}");
            }
        }
    }
}

#[test]
fn every_triple_of_session_status_task_status_and_event() {
    use TaskStatus as T;
    // waiting, dispatched, running, completed, delivery failed, retrying, returned, failed, cancelled, reopened,
    // begun, expanded, progress, skipped
    let (c, f, x, s) = (Some(T::Completed), Some(T::Failed), Some(T::Cancelled), Some(T::Skipped));
    let (p, d, r, w) = (Some(T::Pending), Some(T::Dispatched), Some(T::Running), Some(T::Waiting));
    let n = None;
    let table = [
        (T::Pending, [p, d, n, n, n, n, n, f, x, n, w, r, n, s]),
        (T::Dispatched, [n, n, r, c, d, p, p, f, x, n, n, n, n, n]),
        (T::Running, [n, n, r, c, r, p, p, f, x, n, n, n, r, n]),
        (T::Waiting, [n, n, n, c, n, n, n, f, x, n, n, n, n, s]),
        (T::Completed, [n; 14]),
        (T::Failed, [n, n, n, n, n, n, n, n, n, p, n, n, n, n]),
        (T::Skipped, [n; 14]),
        (T::Cancelled, [n, n, n, n, n, n, n, n, n, p, n, n, n, n]),
    ];
    for status in SESSION_STATUSES {
        for (task_status, row) in table {
            for (number, (event, open)) in task_events(0, 2).iter().zip(row).enumerate() {
                // Nothing begins during a pause.
                let begins = [0, 1, 10, 11].contains(&number);
                let is_held_up = begins && status == SessionStatus::Paused;
                let is_allowed = !status.is_over() && !is_held_up;
                let after = applied(&state(status, task_status), event);
                let after = after.map(|state| state.tasks[0].status);
                assert_eq!(after, open.filter(|_| is_allowed), "{status:?}, {task_status:?} and {event:?}");
            }
        }
    }
}

#[test]
fn an_event_of_another_attempt_or_of_no_task_does_not_fit() {
    let running = state(SessionStatus::Running, TaskStatus::Running);
    let pending = state(SessionStatus::Running, TaskStatus::Pending);
    for attempt in [0, 1, 3] {
        for event in task_events(0, attempt).iter().filter(|event| event.attempt().is_some()) {
            assert_eq!(applied(&running, event), None, "{event:?}");
        }
        assert_eq!(applied(&pending, &task_events(0, attempt)[1]), None, "attempt {} after 2", attempt + 1);
    }
    for event in task_events(7, 2) {
        assert_eq!(applied(&running, &event), None, "{event:?}");
    }
}

#[test]
fn what_each_event_leaves_behind() {
    let pending = state(SessionStatus::Started, TaskStatus::Pending);
    let [waiting, dispatched, running, completed, _, retrying, returned, ..] = task_events(0, 2);
    let waits = applied(&pending, &waiting).expect("it waits");
    assert_eq!(waits.tasks[0].queued_at, Some(at(9)));
    let paused = applied(&waits, &SessionEvent::Paused).expect("it is paused");
    assert_eq!(paused.tasks[0].queued_at, None, "a paused session gives up its place in line");
    let given = applied(&waits, &dispatched).expect("it is given out");
    let task = &given.tasks[0];
    assert_eq!((task.attempt, &task.agent, task.queued_at), (3, &Some(agent()), None));
    assert_eq!((task.dispatched_at, given.session.status), (Some(at(9)), SessionStatus::Running));
    let held = state(SessionStatus::Running, TaskStatus::Dispatched);
    assert_eq!(applied(&held, &running).expect("it runs").tasks[0].started_at, Some(at(9)));
    let done = applied(&held, &completed).expect("it is done");
    assert_eq!((&done.tasks[0].result, done.tasks[0].ended_at), (&Some(json!({"v": 1})), Some(at(9))));
    let retries = applied(&held, &retrying).expect("it is tried again");
    assert_eq!(
        (retries.tasks[0].retry_at, retries.tasks[0].error.as_deref()),
        (Some(at(60)), Some("failed"))
    );
    let back = applied(&held, &returned).expect("it is given back");
    assert_eq!((back.tasks[0].retry_at, back.tasks[0].error.as_deref()), (None, Some("gone")));
}

fn any_event() -> impl Strategy<Value = SessionEvent> {
    let about_session = (0..11_usize).prop_map(|number| session_events()[number].clone());
    let about_task = (0..3_usize, 0..4_u32, 0..14_usize)
        .prop_map(|(position, attempt, number)| task_events(position, attempt)[number].clone());
    prop_oneof![1 => about_session, 4 => about_task]
}

proptest! {
    #[test]
    fn a_history_of_what_fitted_gives_the_state(events in prop::collection::vec(any_event(), 0..60)) {
        let mut state = SessionState::start(&session_id(), at(1), &started()).expect("it starts");
        let mut history = vec![(at(1), started())];
        for (number, event) in events.into_iter().enumerate() {
            let (before, now) = (state.clone(), at(2 + i64::try_from(number).expect("small")));
            let fits = state.apply(now, &event).is_ok();
            let is_over = before.session.status.is_over();
            let reopens = before.session.status == SessionStatus::Failed && event == SessionEvent::Retried;
            prop_assert!(!is_over || fits == reopens, "{:?} takes {:?}", before.session.status, event);
            for (old, new) in before.tasks.iter().zip(&state.tasks) {
                let reopened = matches!(&event, SessionEvent::TaskReopened { task, .. } if *task == old.id);
                prop_assert!(!old.status.is_settled() || old.status == new.status || reopened);
                prop_assert!(new.attempt == old.attempt || new.attempt == old.attempt + 1);
            }
            if fits {
                history.push((now, event));
            } else {
                prop_assert_eq!(&before, &state);
            }
        }
        prop_assert_eq!(state.session.sequence as usize, history.len());
        let kept: Vec<(Timestamp, SessionEvent)> = history
            .iter()
            .zip(1..)
            .map(|((at, event), sequence)| (*at, event.entry(&session_id(), sequence, *at, Some("a \"b\"")).data))
            .map(|(at, data)| (at, serde_json::from_str(&data).expect("it can be read back")))
            .collect();
        let replayed = SessionState::replay(&session_id(), kept.iter().map(|(at, event)| (*at, event)));
        prop_assert_eq!(replayed.expect("it fits again"), Some(state));
    }
}

#[test]
fn a_history_begins_with_its_start_and_has_only_one() {
    let begun = [(at(1), &SessionEvent::Paused)];
    assert!(SessionState::replay(&session_id(), begun).is_err());
    let twice = [(at(1), &started()), (at(2), &started())];
    assert!(SessionState::replay(&session_id(), twice).is_err());
    assert_eq!(SessionState::replay(&session_id(), []), Ok(None));
}
