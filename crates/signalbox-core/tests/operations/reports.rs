//! What a report settles: the task it names, or the only one; in its attempt; and once.

use std::time::Duration;

use serde_json::json;
use signalbox_core::engine::ReportState;
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::AgentId;

use crate::stage::{Stage, registration, step};

fn say(stage: &mut Stage, agent: &AgentId, state: &str, task: Option<&str>) -> ReportState {
    let report = ReportState {
        agent: agent.clone(),
        state: state.to_owned(),
        timestamp: stage.now,
        details: None,
        task: task.map(str::to_owned),
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
fn an_older_report_is_kept_and_settles_only_what_it_names() {
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
    };
    let (unnamed, named) = (older(None), older(Some("read".to_owned())));
    stage.run(&unnamed).expect("reported");
    assert_eq!(stage.state(&session).tasks[0].status, TaskStatus::Running);
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
    let exact = ReportState { task: Some(task.attempt_name(1)), ..report };
    stage.run(&exact).expect("reported");
    assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Completed);
    assert_eq!(stage.state(&first).tasks[0].status, TaskStatus::Completed);
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
        let text = details.as_ref().map(ToString::to_string);
        let details = text.and_then(|text| serde_json::value::RawValue::from_string(text).ok());
        let report =
            ReportState { agent, state: "COMPLETED".to_owned(), timestamp: stage.now, details, task: None };
        stage.run(&report).expect("reported");
        let state = stage.state(&session);
        assert_eq!((&state.tasks[0].result, &state.session.result), (&expected, &expected));
    }
}
