//! What a report settles: the task it names, or the only one; in its attempt; and once.

use std::time::Duration;

use serde_json::json;
use signalbox_core::agent_reports::CLOCK_AHEAD_MAX;
use signalbox_core::delivery::Outcome;
use signalbox_core::engine::{Cancel, DeliveredReport, MatchAgent, ReportState, SettleDispatch};
use signalbox_core::limits::STOPPING_MAX;
use signalbox_core::task::TaskStatus;
use signalbox_core::task_message;
use signalbox_wire::id::AgentId;
use signalbox_wire::raw::RawObject;

use crate::stage::{Stage, registration, step};

fn say(stage: &mut Stage, agent: &AgentId, state: &str, task: Option<&str>) -> ReportState {
    if task.is_none() {
        // It can be about a task only that the agent has taken.
        stage.deliver();
    }
    let report = ReportState {
        agent: agent.clone(),
        state: state.to_owned(),
        timestamp: stage.now,
        details: None,
        task: task.map(str::to_owned),
        session: None,
    };
    stage.run(&report).expect("reported");
    report
}

#[test]
fn a_report_that_is_sent_again_settles_nothing_else() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("one", None), step("two", None), step("three", None)]);
    let report = say(&mut stage, &agent, "completed", None);
    stage.run(&report).expect("a client that lost the answer sends it again");
    let statuses: Vec<TaskStatus> = stage.state(&session).tasks.iter().map(|task| task.status).collect();
    assert_eq!(statuses, [TaskStatus::Completed, TaskStatus::Dispatched, TaskStatus::Pending]);
    say(&mut stage, &agent, "completed", None);
    assert_eq!(stage.state(&session).tasks[2].status, TaskStatus::Dispatched, "another report is another");
}

#[test]
fn a_repeat_leaves_the_agent_as_available_as_it_was() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    stage.session(vec![step("one", Some(0))]);
    let report = say(&mut stage, &agent, "error", None);
    for _ in 0..2 {
        assert!(stage.store.available.get(&agent).is_some_and(|routes| !routes.is_empty()));
        stage.run(&report).expect("reported again");
    }
    say(&mut stage, &agent, "error", None);
    assert!(stage.store.available[&agent].is_empty(), "an error that settled nothing is about the agent");
}

#[test]
fn a_report_on_what_its_agent_does_not_hold_settles_nothing() {
    let mut stage = Stage::new();
    let (holder, other) = (stage.agent("a", 1), stage.agent("b", 0));
    let session = stage.session(vec![step("read", Some(2))]);
    let before = stage.state(&session);
    let task = before.tasks[0].id.clone();
    let (exact, earlier, later) = (task.attempt_name(1), task.attempt_name(0), task.attempt_name(2));
    for (agent, named) in [
        (&other, Some(task.as_str())),
        (&other, Some("read")),
        (&other, None),
        (&holder, Some(earlier.as_str())),
        (&holder, Some(later.as_str())),
        (&holder, Some("no such task")),
    ] {
        say(&mut stage, agent, "completed", named);
        assert_eq!(stage.state(&session), before, "{agent} on {named:?}");
    }
    say(&mut stage, &holder, "completed", Some(&exact));
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Completed);
}

#[test]
fn among_several_tasks_only_a_named_one_is_meant() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 2);
    let sessions = [stage.session(vec![step("read", None)]), stage.session(vec![step("read", None)])];
    let before = sessions.clone().map(|session| stage.state(&session));
    for named in [None, Some("read")] {
        say(&mut stage, &agent, "completed", named);
        assert_eq!(sessions.clone().map(|session| stage.state(&session)), before, "{named:?}");
    }
    say(&mut stage, &agent, "completed", Some(before[1].tasks[0].id.as_str()));
    assert_eq!(stage.state(&sessions[0]), before[0]);
    assert_eq!(stage.state(&sessions[1]).tasks[0].status, TaskStatus::Completed);
}

#[test]
fn an_older_report_is_kept_and_settles_only_the_very_attempt_that_it_names() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    say(&mut stage, &agent, "active", None);
    let older = |task: Option<String>| ReportState {
        agent: agent.clone(),
        state: "finished".to_owned(),
        timestamp: stage.now - Duration::from_secs(60),
        details: None,
        task,
        session: None,
    };
    let task = stage.state(&session).tasks[0].id.clone();
    let named = older(Some(task.attempt_name(1)));
    for unsure in [older(None), older(Some("read".to_owned())), older(Some(task.to_string()))] {
        stage.run(&unsure).expect("reported");
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Running, "{:?}", unsure.task);
    }
    let state =
        |stage: &Stage| stage.store.status(&agent)?.report.as_ref().map(|report| report.state.clone());
    assert_eq!(state(&stage).as_deref(), Some("active"), "the newest by its own moment stays");
    stage.run(&named).expect("reported");
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Completed);
    assert_eq!(state(&stage).as_deref(), Some("active"));
}

#[test]
fn what_an_earlier_life_said_settles_nothing_of_the_next() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let first = stage.session(vec![step("read", None)]);
    let report = say(&mut stage, &agent, "completed", None);
    stage.run(&registration("reader", 1, true)).expect("registered anew");
    let second = stage.session(vec![step("read", None)]);
    let task = stage.state(&second).tasks[0].id.clone();
    for named in [None, Some("read"), Some(task.as_str())] {
        let again = ReportState { task: named.map(str::to_owned), ..report.clone() };
        stage.run(&again).expect("heard once more");
        assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Dispatched, "{named:?}");
        assert!(stage.store.status(&agent).is_some_and(|status| status.report.is_none()));
    }
    // A clock that was set back says so of every report; a name with its attempt leaves no doubt.
    let exact = ReportState { state: "finished".to_owned(), task: Some(task.attempt_name(1)), ..report };
    stage.run(&exact).expect("reported");
    assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Completed);
    assert_eq!(stage.state(&first).tasks[0].status, TaskStatus::Completed);
}

#[test]
fn what_was_said_of_a_task_settles_none_of_a_later_session() {
    for named in [None, Some("read")] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        stage.session(vec![step("read", None)]);
        let first = say(&mut stage, &agent, "completed", named);
        let second = stage.session(vec![step("read", None)]);
        say(&mut stage, &agent, "active", named);
        stage.run(&first).expect("a client that lost the answer sends it again");
        assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Running, "{named:?}");
        say(&mut stage, &agent, "completed", named);
        assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Completed, "{named:?}");
    }
}

#[test]
fn what_was_said_of_an_attempt_settles_no_later_one() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    let task = stage.state(&session).tasks[0].id.clone();
    let first = say(&mut stage, &agent, "error", Some(task.as_str()));
    stage.pass(Duration::from_secs(5), &Outcome::Delivered { status: 202 });
    say(&mut stage, &agent, "active", Some(task.as_str()));
    stage.run(&first).expect("heard once more");
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.attempt, task.status), (2, TaskStatus::Running));
}

#[test]
fn a_session_that_is_named_tells_steps_apart() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 2);
    let sessions = [stage.session(vec![step("read", None)]), stage.session(vec![step("read", None)])];
    let about = |stage: &Stage, session: &str, task: Option<&str>| ReportState {
        agent: agent.clone(),
        state: "completed".to_owned(),
        timestamp: stage.now,
        details: None,
        task: task.map(str::to_owned),
        session: Some(session.to_owned()),
    };
    let first = stage.state(&sessions[0]).tasks[0].id.clone();
    for named in ["read", first.as_str()] {
        let other = about(&stage, "ses_another", Some(named));
        stage.run(&other).expect("reported");
        assert_eq!(stage.state(&sessions[0]).tasks[0].status, TaskStatus::Dispatched, "{named}");
    }
    let second = about(&stage, sessions[1].as_str(), Some("read"));
    stage.run(&second).expect("reported");
    let statuses = sessions.map(|session| stage.state(&session).tasks[0].status);
    assert_eq!(statuses, [TaskStatus::Dispatched, TaskStatus::Completed]);
}

/// A clock that was a day ahead for one report; its agent then says what is so, with the right time.
#[test]
fn a_report_from_tomorrow_does_not_make_an_agent_deaf() {
    for registers_anew in [false, true] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let tomorrow = ReportState {
            agent: agent.clone(),
            state: "idle".to_owned(),
            timestamp: stage.now + Duration::from_secs(86_400),
            details: None,
            task: None,
            session: None,
        };
        stage.run(&tomorrow).expect("reported");
        let sent = |stage: &Stage| stage.store.status(&agent)?.report.as_ref().map(|report| report.timestamp);
        assert_eq!(sent(&stage), Some(tomorrow.timestamp), "it is shown as it was sent");
        if registers_anew {
            stage.run(&registration("reader", 1, true)).expect("registered anew");
        } else {
            stage.now = stage.now + CLOCK_AHEAD_MAX;
        }
        let session = stage.session(vec![step("read", None)]);
        let right = say(&mut stage, &agent, "active", None);
        assert_eq!(sent(&stage), Some(right.timestamp));
        stage.run(&tomorrow).expect("heard once more");
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Running);
        say(&mut stage, &agent, "completed", None);
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Completed);
    }
}

/// What agents do after they registered, and again and again as a sign of life.
#[test]
fn an_idle_agent_completes_nothing() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    let status = |stage: &Stage| stage.state(&session).tasks[0].status;
    let idle = |stage: &mut Stage, details: serde_json::Value| {
        let details = RawObject::parse(details.to_string()).ok();
        let (agent, timestamp) = (agent.clone(), stage.now);
        let report =
            ReportState { agent, state: "idle".into(), timestamp, details, task: None, session: None };
        stage.run(&report).expect("reported");
    };
    idle(&mut stage, json!({}));
    stage.deliver();
    assert_eq!(status(&stage), TaskStatus::Dispatched, "it was said before the delivery");
    idle(&mut stage, json!({"note": "still here"}));
    assert_eq!(status(&stage), TaskStatus::Dispatched, "taken, and nothing said of it");
    stage.report_details(&agent, "busy", None, &json!({}));
    idle(&mut stage, json!({}));
    assert_eq!(status(&stage), TaskStatus::Completed, "it was at work, and no longer is");

    let session = stage.session(vec![step("read", None)]);
    stage.deliver();
    idle(&mut stage, json!({"result": 1}));
    assert_eq!(stage.state(&session).tasks[0].result, Some(json!(1)), "taken, and here is its result");
}

#[test]
fn an_unnamed_report_older_than_the_taking_of_the_task_settles_nothing() {
    for (state, named, expected) in [
        ("completed", false, TaskStatus::Dispatched),
        ("failed", false, TaskStatus::Dispatched),
        ("active", false, TaskStatus::Dispatched),
        ("completed", true, TaskStatus::Completed),
    ] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let before = stage.now;
        stage.now = stage.now + Duration::from_secs(5);
        let session = stage.session(vec![step("read", None)]);
        stage.deliver();
        let task = named.then(|| stage.state(&session).tasks[0].id.attempt_name(1));
        let report =
            ReportState { agent, state: state.into(), timestamp: before, details: None, task, session: None };
        stage.run(&report).expect("reported");
        assert_eq!(stage.state(&session).tasks[0].status, expected, "{state}, named: {named}");
    }
}

/// An agent works before it answers the POST, or its report overtakes its answer.
#[test]
fn a_report_that_comes_before_the_answer_counts_with_it() {
    let held = Duration::from_secs(3);
    for (state, result, wait, is_newest, expected) in [
        ("completed", false, held, true, TaskStatus::Completed),
        ("failed", false, held, true, TaskStatus::Failed),
        ("completed", false, held, false, TaskStatus::Dispatched),
        ("idle", false, Duration::ZERO, true, TaskStatus::Dispatched),
        ("idle", true, Duration::ZERO, true, TaskStatus::Completed),
        ("idle", true, held, true, TaskStatus::Dispatched),
    ] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let session = stage.session(vec![step("read", Some(0))]);
        let attempt = stage.attempt(&session, 0);
        let sent_at = stage.now;
        let details = if result { json!({"result": 7}) } else { json!({}) };
        let details = RawObject::parse(details.to_string()).ok();
        let report = ReportState {
            agent: agent.clone(),
            state: state.into(),
            timestamp: stage.now,
            details,
            task: None,
            session: None,
        };
        stage.run(&report).expect("reported");
        assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Dispatched, "the delivery is open");
        if !is_newest {
            let (state, timestamp) = ("idle".into(), stage.now);
            stage.run(&ReportState { state, timestamp, ..report }).expect("reported");
        }
        stage.now = stage.now + wait;
        let delivered = Outcome::Delivered { status: 200 };
        let settled = SettleDispatch { sent_at, ..stage.dispatched(&attempt, delivered) };
        stage.run(&settled).expect("settled");
        let status = stage.state(&session).tasks[0].status;
        assert_eq!(status, expected, "{state}, with a result: {result}, after {wait:?}, newest: {is_newest}");
        let is_free = stage.store.status(&agent).is_some_and(|status| status.held.is_empty());
        assert_eq!(is_free, expected.is_settled());
    }
}

#[test]
fn an_answer_to_a_delivery_may_be_the_report() {
    for (state, expected) in [
        ("completed", TaskStatus::Completed),
        ("Idle", TaskStatus::Completed),
        ("error", TaskStatus::Failed),
        ("busy", TaskStatus::Running),
        ("initializing", TaskStatus::Dispatched),
    ] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let session = stage.session(vec![step("read", Some(0))]);
        let attempt = stage.attempt(&session, 0);
        let details = RawObject::parse(json!({"result": 7}).to_string()).ok();
        let report = Some(DeliveredReport { state: state.into(), details });
        let settled =
            SettleDispatch { report, ..stage.dispatched(&attempt, Outcome::Delivered { status: 200 }) };
        for _ in 0..2 {
            stage.run(&settled).expect("settled, once");
        }
        let task = &stage.state(&session).tasks[0];
        assert_eq!(task.status, expected, "{state}");
        assert_eq!(task.result, (expected == TaskStatus::Completed).then(|| json!(7)));
        assert!(stage.store.messages.is_empty(), "a task that is delivered has no message");
        // Its own clock may be behind: what it says next is news all the same.
        let (timestamp, state) = (stage.now - Duration::from_secs(30), "meditating".to_owned());
        let next =
            ReportState { agent: agent.clone(), state, timestamp, details: None, task: None, session: None };
        stage.run(&next).expect("reported");
        let newest =
            stage.store.status(&agent).and_then(|status| status.report.as_ref()?.state.clone().into());
        assert_eq!(newest.as_deref(), Some("meditating"));
    }
}

/// Its report may be committed before the answer that came first.
#[test]
fn an_answer_about_what_is_no_longer_in_an_agent_s_hands_changes_nothing() {
    for (said, answer, is_free) in [
        ("completed", "busy", true),
        ("completed", "initializing", true),
        ("completed", "offline", true),
        ("completed", "completed", true),
        ("error", "active", true),
        ("offline", "completed", false),
        ("offline", "idle", false),
    ] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let session = stage.session(vec![step("read", Some(0))]);
        let attempt = stage.attempt(&session, 0);
        let report = Some(DeliveredReport { state: answer.to_owned(), details: None });
        let answered =
            SettleDispatch { report, ..stage.dispatched(&attempt, Outcome::Delivered { status: 200 }) };
        say(&mut stage, &agent, said, Some(&attempt.task.attempt_name(1)));
        stage.run(&answered).expect("settled");
        let status = stage.store.status(&agent).expect("a status");
        assert_eq!(status.report.as_ref().map(|report| report.state.as_str()), Some(said), "{answer}");
        let next = stage.session(vec![step("read", None)]);
        let is_given = stage.state(&next).tasks[0].status == TaskStatus::Dispatched;
        assert_eq!(is_given, is_free, "{answer} after {said}");
    }
}

#[test]
fn an_answer_of_the_process_before_takes_nothing_from_the_one_that_has_registered_since() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    let attempt = stage.attempt(&session, 0);
    let report = Some(DeliveredReport { state: "offline".to_owned(), details: None });
    let answered =
        SettleDispatch { report, ..stage.dispatched(&attempt, Outcome::Delivered { status: 200 }) };
    stage.run(&registration("reader", 1, true)).expect("registered anew");
    stage.run(&answered).expect("settled");
    let task = &stage.state(&session).tasks[0];
    assert_eq!((task.status, task.attempt), (TaskStatus::Dispatched, 2));
    assert_eq!(stage.store.status(&agent).map(|status| status.held.len()), Some(1));
}

#[test]
fn a_result_is_what_the_details_say_it_is() {
    for (details, expected) in [
        (Some(json!({"result": {"v": 1}, "note": "x"})), Some(json!({"v": 1}))),
        (Some(json!({"note": "x"})), Some(json!({"note": "x"}))),
        (Some(json!({"result": null})), Some(json!(null))),
        (None, None),
    ] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let session = stage.session(vec![step("read", None)]);
        stage.deliver();
        let text = details.as_ref().map(ToString::to_string);
        let details = text.and_then(|text| RawObject::parse(text).ok());
        let report = ReportState {
            agent,
            state: "COMPLETED".to_owned(),
            timestamp: stage.now,
            details,
            task: None,
            session: None,
        };
        stage.run(&report).expect("reported");
        let state = stage.state(&session);
        assert_eq!((&state.tasks[0].result, &state.session.result), (&expected, &expected));
    }
}

/// Until it says that it has stopped, or has had its time to.
#[test]
fn an_agent_that_is_told_to_stop_gets_no_other_task_meanwhile() {
    for ends in ["named", "idle", "registered", "time", "another"] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let first = stage.session(vec![step("read", None)]);
        stage.deliver();
        let name = stage.state(&first).tasks[0].id.attempt_name(1);
        stage.run(&Cancel { session: first.clone(), reason: None }).expect("cancelled");
        let second = stage.session(vec![step("read", None)]);
        stage.deliver();
        say(&mut stage, &agent, "active", Some(&name));
        let status = |stage: &Stage| stage.state(&second).tasks[0].status;
        assert_eq!(status(&stage), TaskStatus::Pending, "it may still be at the first");
        match ends {
            "named" => drop(say(&mut stage, &agent, "error", Some(&name))),
            "idle" => drop(say(&mut stage, &agent, "idle", None)),
            "registered" => drop(stage.run(&registration("reader", 1, true)).expect("registered")),
            "another" => drop(say(&mut stage, &agent, "completed", Some("tsk_another-1"))),
            _ => {
                say(&mut stage, &agent, "initializing", None);
                stage.pass(STOPPING_MAX, &Outcome::Delivered { status: 202 });
                say(&mut stage, &agent, "completed", Some("tsk_another-1"));
            }
        }
        let is_free = stage.store.available.get(&agent).is_some_and(|routes| !routes.is_empty());
        assert_eq!(is_free, ends != "another", "{ends}");
        stage.run(&MatchAgent { agent }).expect("matched");
        let expected = if is_free { TaskStatus::Dispatched } else { TaskStatus::Pending };
        assert_eq!(status(&stage), expected, "{ends}");
    }
}

#[test]
fn the_body_of_a_dispatch_names_its_message() {
    let mut stage = Stage::new();
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    let state = stage.state(&session);
    let sent = task_message::of_task(&state, &state.tasks[0], &stage.policy);
    let message = state.tasks[0].id.message(1);
    assert_eq!(sent.id, message);
    let body: serde_json::Value = serde_json::from_str(&sent.body).expect("JSON");
    assert_eq!(body["messageId"], message.as_str(), "whoever passes it on keeps its id");
}
