//! Tasks and agents meet: the longest waiting first, the least recently used first, and nobody jumps the queue.

use serde_json::json;
use signalbox_core::decision::MatchHint;
use signalbox_core::definition::{Definition, OnFailure};
use signalbox_core::delivery::Outcome;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    DeliveredReport, Deregister, MatchAgent, MatchTask, SettleDispatch, TimerFired, Trigger, WorkflowSource,
};
use signalbox_core::limits::BEGUN_AT_ONCE_MAX;
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::{AgentId, SessionId};

use crate::play::{Making, task, workflow};
use crate::stage::{Stage, registration, step, trigger};

/// A session with so many items, each of which nobody but readers may do.
fn list(stage: &mut Stage, items: usize) -> SessionId {
    stage.start(workflow("list", vec![task("a").for_each()]), &json!({ "list": vec![0; items] }))
}

/// How many tasks of a session are in this state.
fn count(stage: &Stage, session: &SessionId, status: TaskStatus) -> usize {
    stage.state(session).tasks.iter().filter(|task| task.status == status).count()
}

/// The last of its tasks that waits.
fn last(stage: &Stage, session: &SessionId) -> MatchTask {
    let state = stage.state(session);
    let task = state.tasks.iter().filter(|task| task.queued_at.is_some()).last().expect("one that waits");
    MatchTask { session: session.clone(), task: task.id.clone() }
}

/// What agents answer to the items that they hold: they are done.
fn answers(stage: &Stage, session: &SessionId) -> Vec<SettleDispatch> {
    let state = stage.state(session);
    let held = state.tasks.iter().filter(|task| task.status == TaskStatus::Dispatched);
    let done = Some(DeliveredReport { state: "completed".to_owned(), details: None });
    held.map(|task| {
        let settled =
            stage.dispatched(&stage.attempt(session, task.position), Outcome::Delivered { status: 200 });
        SettleDispatch { report: done.clone(), ..settled }
    })
    .collect()
}

#[test]
fn an_offered_agent_takes_the_task_that_waits_longest() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = (0..3).map(|_| stage.session(vec![step("read", None)])).collect();
    let agent = stage.agent("reader", 2);
    for taken in 1..=2 {
        assert_eq!(stage.run(&MatchAgent { agent: agent.clone() }), Ok(true));
        let held: Vec<_> = stage
            .store
            .status(&agent)
            .expect("status")
            .held
            .iter()
            .map(|held| held.session.clone())
            .collect();
        assert_eq!(held, sessions[..taken]);
    }
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(false), "it holds as many as it can");
}

#[test]
fn a_task_that_is_tried_lets_those_go_first_that_wait_longer() {
    let mut stage = Stage::new();
    let sessions: Vec<_> = (0..4).map(|_| stage.session(vec![step("read", None)])).collect();
    let agent = stage.agent("reader", 1);
    let last = stage.state(&sessions[3]).tasks[0].id.clone();
    let try_last = MatchTask { session: sessions[3].clone(), task: last };
    for (served, session) in sessions.iter().enumerate() {
        assert_eq!(stage.run(&try_last), Ok(served < 3), "whether another was served in its place");
        assert_eq!(stage.state(session).tasks[0].status, TaskStatus::Dispatched, "{served}");
        assert_eq!(stage.run(&try_last), Ok(false), "the agent has its hands full");
        // It is done, and nobody offers it to those that wait.
        stage.report(&agent, "completed", None, json!(1));
    }
}

#[test]
fn the_least_recently_used_agent_goes_first() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = ["a", "b", "c"].iter().map(|name| stage.agent(name, 2)).collect();
    let mut used = Vec::new();
    for _ in 0..6 {
        let session = stage.session(vec![step("read", None)]);
        used.extend(stage.state(&session).tasks[0].agent.clone());
    }
    assert_eq!(used[..3], used[3..], "each in its turn");
    let mut first: Vec<AgentId> = used[..3].to_vec();
    first.sort();
    assert_eq!(first, agents);
}

#[test]
fn an_agent_that_is_done_goes_to_those_that_wait_before_its_own_next_task() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let first = stage.session(vec![step("read", None), step("write", None)]);
    let second = stage.session(vec![step("read", None)]);
    stage.report(&agent, "completed", None, json!(1));
    assert!(stage.state(&first).tasks[1].queued_at.is_some(), "it joins the queue");
    stage.run(&MatchAgent { agent: agent.clone() }).expect("offered");
    assert_eq!(stage.state(&second).tasks[0].status, TaskStatus::Dispatched);
}

#[test]
fn an_agent_that_is_done_goes_on_with_the_session_where_it_has_nothing_else_in_hand() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.agent(name, 2);
    }
    let session = stage.session(vec![step("read", None), step("write", None), step("count", None)]);
    let first = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    stage.report(&first, "completed", None, json!(1));
    assert_eq!(stage.state(&session).tasks[1].agent.as_ref(), Some(&first), "nobody else is asked for");

    for _ in 0..2 {
        stage.session(vec![step("read", None)]);
    }
    let name = stage.state(&session).tasks[1].id.attempt_name(1);
    stage.report(&first, "completed", Some(&name), json!(2));
    let third = stage.state(&session).tasks[2].agent.clone().expect("an agent");
    assert_ne!(third, first, "it has another task in hand, and the other was used before it");
}

#[test]
fn an_agent_that_failed_does_not_go_on_with_the_session() {
    let mut stage = Stage::new();
    for name in ["a", "b"] {
        stage.agent(name, 1);
    }
    let mut optional = step("read", Some(0));
    optional.rules.on_failure = OnFailure::Continue;
    let session = stage.session(vec![optional, step("write", None)]);
    let first = stage.state(&session).tasks[0].agent.clone().expect("an agent");
    stage.report(&first, "failed", None, json!(1));
    let second = stage.state(&session).tasks[1].agent.clone().expect("an agent");
    assert_ne!(second, first, "the least recently used goes on");
}

#[test]
fn those_of_one_list_that_wait_are_served_several_in_a_decision() {
    let mut stage = Stage::new();
    let session = list(&mut stage, 20);
    for name in ["a", "b", "c"] {
        stage.agent(name, 2);
    }
    let try_last = last(&stage, &session);
    assert_eq!(stage.run(&try_last), Ok(true));
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 6, "as many as the agents take");
    assert_eq!(stage.run(&try_last), Ok(false), "nobody is left");
    let first: Vec<bool> = stage
        .state(&session)
        .tasks
        .iter()
        .skip(1)
        .map(|task| task.status == TaskStatus::Dispatched)
        .collect();
    assert!(first[..6].iter().all(|is_given| *is_given), "in the order of the list: {first:?}");
}

#[test]
fn an_agent_that_takes_several_is_given_several_of_one_list() {
    let mut stage = Stage::new();
    let session = list(&mut stage, 5);
    let agent = stage.agent("reader", 3);
    assert_eq!(stage.run(&MatchAgent { agent: agent.clone() }), Ok(true));
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 3);
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(false));
}

#[test]
fn only_the_last_of_those_that_wait_for_the_same_is_hinted_at() {
    let mut stage = Stage::new();
    let each = task("a").for_each();
    let urgent = step("now", None).with(|step| step.rules.priority = 5);
    let other = step("other", None).with(|step| step.capability = Some("write".to_owned()));
    // With an edge named, all others begin at once.
    let source = workflow("list", vec![each, urgent, other, task("end").needs(&["a"])]);
    let started = stage.decide(&Trigger {
        source: WorkflowSource::Inline(Box::new(source)),
        agent: None,
        input: json!({"list": [1, 2, 3]}).as_object().cloned().expect("an object"),
        trace: None,
    });
    let (begun, triggered) = started.expect("decided");
    stage.store.commit(&begun, None).expect("nobody comes in between");
    let session = triggered.session;
    let mut hinted: Vec<String> = Vec::new();
    for hint in &begun.hints {
        let MatchHint::Task(_, id) = hint else { panic!("{hint:?}") };
        hinted.push(stage.state(&session).task(id).expect("a task").step.clone());
    }
    hinted.sort();
    assert_eq!(hinted, ["a[2]", "other"], "of those that read the last, and the only one that writes");
}

#[test]
fn an_item_that_is_done_hands_its_agent_the_next_in_the_same_commit() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = list(&mut stage, 3);
    assert_eq!(stage.look(&session), "running a=running a[0]=dispatched a[1]=pending a[2]=pending");
    let [settled] = &answers(&stage, &session)[..] else { panic!("one is held") };
    let (decision, _) = stage.decide(settled).expect("decided");
    assert!(!decision.hints.contains(&MatchHint::Agent(agent)), "nobody has to look for work for it");
    stage.store.commit(&decision, None).expect("nobody comes in between");
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=dispatched a[2]=pending");
    stage.done(&session, "a[1]", &json!(1));
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=completed a[2]=dispatched");
}

#[test]
fn an_item_that_is_done_hands_nothing_on_before_what_another_session_waits_for() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = list(&mut stage, 2);
    let urgent = step("now", None).with(|step| step.rules.priority = 5);
    let other = stage.session(vec![urgent]);
    stage.done(&session, "a[0]", &json!(1));
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=pending");
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(true));
    assert_eq!(stage.look(&other), "running now=dispatched");
}

#[test]
fn items_that_are_done_together_each_hand_on_another() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = (0..20).map(|n| stage.agent(&format!("reader {n}"), 1)).collect();
    let session = list(&mut stage, 50);
    while stage.run(&last(&stage, &session)) == Ok(true) {}
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), agents.len(), "each agent has one");
    // More than a decision looks at of those that wait.
    let settled = answers(&stage, &session);
    assert!(stage.fold(&settled).iter().all(Result::is_ok));
    assert_eq!(count(&stage, &session, TaskStatus::Completed), agents.len());
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), agents.len(), "and each the next");
}

#[test]
fn an_item_that_is_done_makes_room_for_one_more_where_the_workflow_has_a_limit() {
    let mut stage = Stage::with_agent();
    let limited = Definition { max_parallel: Some(2), ..workflow("list", vec![task("a").for_each()]) };
    let session = stage.start(limited, &json!({"list": [1, 2, 3, 4]}));
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 2);
    stage.done(&session, "a[0]", &json!(1));
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 2, "in the same decision");
    let goes_on = DueJob::Begin { session: session.clone() };
    assert!(!stage.store.due.values().any(|row| row.work == goes_on), "and nothing is left to a timer");
}

#[test]
fn an_item_that_is_done_begins_none_of_those_that_are_left_to_another_decision() {
    let mut stage = Stage::new();
    stage.agent("reader", 1);
    let session = list(&mut stage, BEGUN_AT_ONCE_MAX + 40);
    let begun = |stage: &Stage| {
        let state = stage.state(&session);
        state
            .tasks
            .iter()
            .filter(|task| task.queued_at.is_some() || task.status != TaskStatus::Pending)
            .count()
    };
    // The task that has expanded is one of them.
    assert_eq!(begun(&stage), BEGUN_AT_ONCE_MAX);
    stage.done(&session, "a[0]", &json!(1));
    assert_eq!(begun(&stage), BEGUN_AT_ONCE_MAX, "nothing begins but what is left to a timer");
    let goes_on = DueJob::Begin { session: session.clone() };
    assert!(stage.store.due.values().any(|row| row.work == goes_on));
    stage.run(&TimerFired { work: goes_on }).expect("fired");
    assert_eq!(begun(&stage), BEGUN_AT_ONCE_MAX + 41);
}

#[test]
fn whoever_becomes_available_and_whoever_begins_to_wait_is_hinted_at() {
    let mut stage = Stage::new();
    let (begun, triggered) = stage.decide(&trigger(vec![step("read", None)])).expect("decided");
    stage.store.commit(&begun, None).expect("nobody comes in between");
    let session = triggered.session;
    let task = stage.state(&session).tasks[0].id.clone();
    assert_eq!(begun.hints, [MatchHint::Task(session.clone(), task.clone())]);
    let (again, is_another) = stage.decide(&MatchTask { session, task }).expect("decided");
    assert!(!is_another && again.is_empty(), "it waits on, and nothing changes");
    let (came, registered) = stage.decide(&registration("reader", 1, false)).expect("decided");
    assert_eq!(came.hints, [MatchHint::Agent(registered.agent)]);
}

#[test]
fn a_task_that_waits_for_an_agent_that_goes_fails_and_says_so() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 0);
    let mut wants = step("read", None);
    wants.agent = Some(agent.clone());
    let session = stage.session(vec![wants]);
    assert!(stage.state(&session).tasks[0].queued_at.is_some());
    stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("it goes");
    let error = stage.state(&session).session.error.clone().expect("a reason");
    assert!(error.contains(agent.as_str()), "{error}");
}

/// It begins to wait between the look at those who wait and the commit of the departure.
#[test]
fn a_task_that_begins_to_wait_for_an_agent_that_is_going_fails_too() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 0);
    let (going, _) =
        stage.decide(&Deregister { agent: agent.clone(), trace: None }).expect("nobody waits yet");
    let mut wants = step("read", None);
    wants.agent = Some(agent.clone());
    let session = stage.session(vec![wants]);
    stage.store.commit(&going, None).expect("it goes");
    assert!(stage.state(&session).session.error.is_none());
    assert!(going.hints.contains(&MatchHint::Agent(agent.clone())));
    assert_eq!(stage.run(&MatchAgent { agent: agent.clone() }), Ok(true));
    let error = stage.state(&session).session.error.clone().expect("a reason");
    assert!(error.contains(agent.as_str()), "{error}");
    assert_eq!(stage.run(&MatchAgent { agent }), Ok(false));
}
