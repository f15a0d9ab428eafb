//! Tasks and agents meet: the longest waiting first, the least recently used first, and nobody jumps the queue.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use signalbox_core::decision::MatchHint;
use signalbox_core::definition::OnFailure;
use signalbox_core::delivery::Outcome;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    DeliveredReport, Deregister, MatchAgent, MatchTask, SettleDispatch, TimerFired,
};
use signalbox_core::session::SessionStatus;
use signalbox_core::task::TaskStatus;
use signalbox_wire::id::{AgentId, SessionId, TaskId};
use signalbox_wire::raw::RawObject;

use crate::play::{Making, task, workflow};
use crate::stage::{Stage, registration, step, trigger};
use crate::store::Store;

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
        assert_eq!(stage.run(&try_last), Ok(true), "it was served, or another in its place");
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

/// A workflow of one task for each of so many items, of this priority.
fn list(stage: &mut Stage, count: usize, priority: i32) -> SessionId {
    let each = task("a").for_each().with(|step| step.rules.priority = priority);
    stage.start(workflow("workflow", vec![each]), &json!({ "list": vec![0; count] }))
}

/// The agent has done the task that it was given first of those that it holds.
fn done(stage: &Stage, agent: &AgentId) -> SettleDispatch {
    let held = stage.store.status(agent).expect("a status").held[0].attempt_of();
    let details = RawObject::parse(json!({"result": 1}).to_string()).ok();
    let report = Some(DeliveredReport { state: "completed".to_owned(), details });
    SettleDispatch { report, ..stage.dispatched(&held, Outcome::Delivered { status: 200 }) }
}

/// Lets sessions go on that were too much for one decision.
fn begin_the_rest(stage: &mut Stage) {
    let next = |stage: &Stage| {
        let mut works = stage.store.due.values().map(|row| &row.work);
        works.find(|work| matches!(work, DueJob::Begin { .. })).cloned()
    };
    while let Some(work) = next(stage) {
        stage.run(&TimerFired { work }).expect("fired");
    }
}

fn count(stage: &Stage, session: &SessionId, status: TaskStatus) -> usize {
    stage.state(session).tasks.iter().filter(|task| task.instance.is_some() && task.status == status).count()
}

#[test]
fn a_list_begins_with_as_many_agents_as_there_are() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = (0..40).map(|number| stage.agent(&format!("{number:02}"), 2)).collect();
    let before = stage.store.commits;
    let session = list(&mut stage, 60, 0);
    assert_eq!(stage.store.commits - before, 1);
    assert!(stage.store.waiting.is_empty(), "nobody waits while agents are free");
    let held: Vec<usize> =
        agents.iter().map(|agent| stage.store.status(agent).expect("a status").held.len()).collect();
    let twice = held.iter().filter(|count| **count == 2).count();
    assert_eq!((twice, held.iter().sum::<usize>()), (20, 60), "each is asked before any is asked again");
    assert!(stage.runs <= 6, "it was decided {} times", stage.runs);
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 60);
}

#[test]
fn what_finds_no_agent_among_those_shown_begins_in_another_decision() {
    let mut stage = Stage::new();
    // Of as many as are asked for it shows seven fewer.
    stage.store = Store::new((1, 8));
    for number in 0..40 {
        stage.agent(&format!("{number:02}"), 1);
    }
    let session = list(&mut stage, 40, 0);
    assert_eq!(count(&stage, &session, TaskStatus::Dispatched), 33);
    assert!(stage.store.waiting.is_empty(), "it would wait for agents that are free");
    begin_the_rest(&mut stage);
    assert_eq!(count(&stage, &session, TaskStatus::Pending), 0);
    assert!(stage.store.waiting.is_empty());
}

#[test]
fn one_is_tried_for_all_that_wait_for_the_same_agents() {
    let mut stage = Stage::new();
    let mut waits = trigger(vec![task("a").for_each()]);
    waits.input = json!({ "list": vec![0; 20] }).as_object().cloned().expect("an object");
    let (begun, triggered) = stage.decide(&waits).expect("decided");
    stage.store.commit(&begun, None).expect("nobody comes in between");
    let [MatchHint::Task(session, task)] = begun.hints.as_slice() else { panic!("{:?}", begun.hints) };
    // Agents come, and nobody offers them to those that wait.
    (0..4).for_each(|number| drop(stage.agent(&format!("{number}"), 4)));
    let tried = MatchTask { session: session.clone(), task: task.clone() };
    let served = (0..100).take_while(|_| stage.run(&tried) == Ok(true)).count();
    assert_eq!(served, 16);
    assert_eq!(count(&stage, &triggered.session, TaskStatus::Dispatched), 16);
    let state = stage.state(session);
    let waiting: Vec<usize> =
        state.tasks.iter().filter(|task| task.queued_at.is_some()).map(|task| task.position).collect();
    assert_eq!(waiting, [17, 18, 19, 20], "those at the end of the list wait on");
}

#[test]
fn an_agent_that_is_done_takes_the_next_of_its_session_in_the_same_decision() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let session = list(&mut stage, 3, 0);
    let settled = done(&stage, &agent);
    let (decision, _) = stage.decide(&settled).expect("decided");
    assert_eq!(decision.hints, [], "nothing is left to another decision");
    stage.store.commit(&decision, None).expect("nobody comes in between");
    assert_eq!(stage.look(&session), "running a=running a[0]=completed a[1]=dispatched a[2]=pending");
    assert_eq!(stage.store.status(&agent).expect("a status").held.len(), 1);
    assert!(stage.store.available.get(&agent).is_none_or(BTreeMap::is_empty));
}

#[test]
fn a_session_that_waits_longer_or_is_more_urgent_goes_first() {
    for is_urgent in [false, true] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let first = list(&mut stage, 2, 0);
        // The first of the other session waits behind the second of the first one, unless it is more urgent.
        let other = list(&mut stage, 1, i32::from(is_urgent));
        let settled = done(&stage, &agent);
        let (decision, _) = stage.decide(&settled).expect("decided");
        assert_eq!(decision.hints.contains(&MatchHint::Agent(agent.clone())), is_urgent);
        stage.store.commit(&decision, None).expect("nobody comes in between");
        while stage.run(&MatchAgent { agent: agent.clone() }) == Ok(true) {}
        let [first, other] = [first, other].map(|session| count(&stage, &session, TaskStatus::Dispatched));
        assert_eq!((first, other), (usize::from(!is_urgent), usize::from(is_urgent)));
    }
}

/// What follows a task that is done begins to wait in the decision that frees the agent: it is in no list yet.
#[test]
fn what_has_only_begun_to_wait_is_not_passed_by_where_it_is_more_urgent() {
    for is_urgent in [false, true] {
        let mut stage = Stage::new();
        let agent = stage.agent("reader", 1);
        let [before, plain] = ["before", "plain"].map(task);
        let next = task("next").needs(&["before"]).with(|step| step.rules.priority = i32::from(is_urgent));
        let session = stage.start(workflow("workflow", vec![before, plain, next]), &json!({}));
        assert_eq!(stage.look(&session), "running before=dispatched plain=pending next=pending");
        let settled = done(&stage, &agent);
        stage.run(&settled).expect("settled");
        while stage.run(&MatchAgent { agent: agent.clone() }) == Ok(true) {}
        let expected = match is_urgent {
            true => "running before=completed plain=pending next=dispatched",
            false => "running before=completed plain=dispatched next=pending",
        };
        assert_eq!(stage.look(&session), expected);
    }
}

#[test]
fn settlements_that_are_decided_as_one_give_out_as_many_tasks_in_their_order() {
    let mut stage = Stage::new();
    let agents: Vec<AgentId> = (0..30).map(|number| stage.agent(&format!("{number:02}"), 1)).collect();
    let session = list(&mut stage, 75, 0);
    let before = stage.store.commits;
    for round in [30, 60] {
        let settled: Vec<SettleDispatch> = agents.iter().map(|agent| done(&stage, agent)).collect();
        stage.fold(&settled);
        let state = stage.state(&session);
        let next = &state.tasks.iter().skip(1 + round).take(30).collect::<Vec<_>>();
        assert!(next.iter().all(|task| task.status == TaskStatus::Dispatched), "{}", stage.look(&session));
    }
    assert_eq!(stage.store.commits - before, 2);
}

proptest! {
    /// Whoever waits is served in its turn, whatever is decided as one, and no agent is left idle beside one that waits.
    #[test]
    fn lists_of_several_sessions_are_served_in_their_turn(
        agents in prop::collection::vec(1_u32..4, 1..12),
        lists in prop::collection::vec((1_usize..30, -1_i32..2), 1..5),
        folded in prop::collection::vec(1_usize..8, 1..20),
        looks in prop::sample::select(vec![1_usize, 2, 8]),
    ) {
        let mut stage = Stage::new();
        stage.store = Store::new((looks, 8));
        let room = agents.clone();
        let agents: Vec<AgentId> =
            room.iter().enumerate().map(|(number, room)| stage.agent(&format!("{number:02}"), *room)).collect();
        let sessions: Vec<SessionId> =
            lists.iter().map(|(items, priority)| list(&mut stage, *items, *priority)).collect();
        begin_the_rest(&mut stage);
        for many in folded.iter().cycle() {
            let busy: Vec<&AgentId> =
                agents.iter().filter(|agent| !stage.store.status(agent).expect("a status").held.is_empty()).collect();
            if busy.is_empty() {
                break;
            }
            let waited = line(&stage);
            let settled: Vec<SettleDispatch> = busy.into_iter().take(*many).map(|agent| done(&stage, agent)).collect();
            stage.fold(&settled);
            for agent in &agents {
                while stage.run(&MatchAgent { agent: agent.clone() }) == Ok(true) {}
            }
            begin_the_rest(&mut stage);
            let left = line(&stage);
            prop_assert!(waited.ends_with(&left), "{waited:?} became {left:?}");
            for (agent, room) in agents.iter().zip(&room) {
                let held = stage.store.status(agent).expect("a status").held.len();
                prop_assert!(held <= *room as usize, "{agent} holds {held}");
                prop_assert!(left.is_empty() || held == *room as usize, "{agent} could do more");
            }
        }
        for session in sessions {
            prop_assert_eq!(stage.status(&session), SessionStatus::Completed);
        }
    }
}

/// Those that wait, in the order in which they are served.
fn line(stage: &Stage) -> Vec<TaskId> {
    let mut line: Vec<_> = stage.store.waiting.iter().collect();
    line.sort_by_key(|(task, waiting)| (Reverse(waiting.priority), waiting.since, *task));
    line.into_iter().map(|(task, _)| task.clone()).collect()
}
