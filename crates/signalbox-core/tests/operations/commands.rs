//! Commands: each is sent until its agent has it, answered once, and over at its end.

use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_core::Rejected;
use signalbox_core::command::{AgentCommand, CommandStatus};
use signalbox_core::decision::{Key, MatchHint};
use signalbox_core::delivery::Outcome;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{
    AcknowledgeCommand, AnswerCommand, CancelCommand, CommandAnswered, Connect, CreateCommand, Deregister,
    ProgressCommand, SettleCommand, TimerFired,
};
use signalbox_core::snapshot::Loaded;
use signalbox_wire::id::{AgentId, CommandId, ConnectionId, NodeId};

use crate::stage::{Stage, failed};

const HAD: Outcome = Outcome::Delivered { status: 200 };

fn create(stage: &mut Stage, agent: &AgentId) -> CommandId {
    let create = CreateCommand {
        agent: agent.clone(),
        command: "restart".to_owned(),
        args: Map::from_iter([("now".to_owned(), json!(true))]),
        timeout: Duration::from_secs(300),
        by: Some("key k".to_owned()),
        trace: None,
    };
    stage.run(&create).expect("accepted").id.clone()
}

fn command(stage: &Stage, id: &CommandId) -> AgentCommand {
    match stage.store.loaded(&Key::Command(id.clone())) {
        Some(Loaded::Command(row)) => AgentCommand::clone(&row.value),
        other => panic!("{other:?}"),
    }
}

fn settle(stage: &mut Stage, id: &CommandId, tries: u32, outcome: Outcome) {
    let is_sent = outcome == HAD;
    let settled = SettleCommand { command: id.clone(), tries, outcome, began_at: stage.now, is_sent };
    stage.run(&settled).expect("settled");
}

fn answer(stage: &mut Stage, agent: &AgentId, id: &CommandId, result: Value) -> CommandAnswered {
    let answer = AnswerCommand { agent: agent.clone(), command: id.clone(), answer: Ok(result) };
    stage.run(&answer).expect("taken")
}

fn fire(stage: &mut Stage, work: DueJob) {
    stage.run(&TimerFired { work }).expect("fired");
}

fn due<'s>(stage: &'s Stage, id: &CommandId) -> Option<&'s DueJob> {
    let job = DueJob::Command { command: id.clone() };
    stage.store.due.get(&job.id()).map(|row| &row.work)
}

#[test]
fn a_command_is_sent_until_its_agent_has_it_and_answered_once() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    let row = stage.store.due.values().next().expect("due").clone();
    assert_eq!(row.work, DueJob::Command { command: id.clone() });
    assert_eq!(row.ends, Some(command(&stage, &id).expires_at), "it ends whatever has become of it");

    settle(&mut stage, &id, 1, failed(true));
    let waiting = command(&stage, &id);
    assert_eq!(
        (waiting.status, waiting.tries, waiting.error),
        (CommandStatus::Queued, 1, Some(json!("refused")))
    );
    settle(&mut stage, &id, 1, HAD);
    assert_eq!(command(&stage, &id).status, CommandStatus::Queued, "of an older try");
    settle(&mut stage, &id, 2, HAD);
    assert_eq!(command(&stage, &id).status, CommandStatus::Sent);
    assert_eq!(due(&stage, &id), Some(&DueJob::CommandTimeout { command: id.clone() }));
    settle(&mut stage, &id, 3, failed(true));
    assert_eq!(command(&stage, &id).status, CommandStatus::Sent, "it has it");

    let first = AnswerCommand { agent: agent.clone(), command: id.clone(), answer: Ok(json!({"ok": 1})) };
    let (decision, _) = stage.decide(&first).expect("taken");
    assert_eq!(decision.hints, [MatchHint::Ended(id.clone())], "whoever waits for it is told");
    assert_eq!(answer(&mut stage, &agent, &id, json!({"ok": 1})), CommandAnswered::Taken);
    let done = command(&stage, &id);
    assert_eq!(
        (done.status, done.result, done.error),
        (CommandStatus::Success, Some(json!({"ok": 1})), None)
    );
    assert!(done.ended_at.is_some() && due(&stage, &id).is_none());
    let late = AnswerCommand { agent: agent.clone(), command: id.clone(), answer: Err(json!("no")) };
    let (decision, answered) = stage.decide(&late).expect("refused");
    assert_eq!(answered, CommandAnswered::TooLate(CommandStatus::Success));
    assert_eq!(decision.events[0].kind, "command.answered_late");
    stage.run(&late).expect("refused");
    let kept = command(&stage, &id);
    assert_eq!(
        (kept.status, kept.result),
        (CommandStatus::Success, Some(json!({"ok": 1}))),
        "it changes nothing"
    );
    let (decision, _) = stage.decide(&late).expect("refused");
    assert!(decision.events.is_empty() && decision.writes.is_empty(), "a repeat is not recorded again");
}

#[test]
fn an_answer_may_come_before_it_is_known_that_the_agent_has_the_command() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    let failed = AnswerCommand { agent: agent.clone(), command: id.clone(), answer: Err(json!({"code": 3})) };
    assert_eq!(stage.run(&failed), Ok(CommandAnswered::Taken));
    settle(&mut stage, &id, 1, HAD);
    let over = command(&stage, &id);
    assert_eq!((over.status, over.error), (CommandStatus::Error, Some(json!({"code": 3}))));
    assert!(over.sent_at.is_some() && due(&stage, &id).is_none());
    assert_eq!((over.tries, over.sends), (1, 1), "whoever answers was sent it");
}

#[test]
fn only_its_agent_answers_a_command() {
    let mut stage = Stage::new();
    let (agent, other) = (stage.agent("reader", 1), stage.agent("writer", 1));
    let id = create(&mut stage, &agent);
    let unknown = Err(Rejected::UnknownCommand(id.to_string()));
    let theirs = AnswerCommand { agent: other.clone(), command: id.clone(), answer: Ok(Value::Null) };
    assert_eq!(stage.run(&theirs), unknown);
    let theirs = ProgressCommand { agent: other.clone(), command: id.clone(), progress: json!(1) };
    assert_eq!(stage.run(&theirs).err(), unknown.err());
    assert!(stage.run(&CancelCommand { agent: other, command: id, reason: None }).is_err());
    let nobody = CreateCommand {
        agent: AgentId::parse("nobody").expect("valid"),
        command: "x".to_owned(),
        args: Map::new(),
        timeout: Duration::from_secs(1),
        by: None,
        trace: None,
    };
    assert_eq!(stage.run(&nobody).err(), Some(Rejected::UnknownAgent("nobody".to_owned())));
}

#[test]
fn a_command_expires_at_its_end_and_not_before() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let (unsent, sent) = (create(&mut stage, &agent), create(&mut stage, &agent));
    settle(&mut stage, &sent, 1, HAD);
    let timers = [
        (unsent.clone(), DueJob::Command { command: unsent }, "not reached"),
        (sent.clone(), DueJob::CommandTimeout { command: sent }, "did not answer"),
    ];
    for (id, work, _) in &timers {
        fire(&mut stage, work.clone());
        assert!(!command(&stage, id).status.is_over(), "too early");
        assert_eq!(due(&stage, id), Some(work));
    }
    stage.now = stage.now + Duration::from_secs(300);
    for (id, work, why) in timers {
        fire(&mut stage, work);
        let over = command(&stage, &id);
        assert_eq!(over.status, CommandStatus::Expired);
        assert!(over.error.as_ref().is_some_and(|error| error.to_string().contains(why)), "{over:?}");
        assert!(due(&stage, &id).is_none());
        let late = answer(&mut stage, &agent, &id, json!(1));
        assert_eq!(late, CommandAnswered::TooLate(CommandStatus::Expired));
    }
}

#[test]
fn how_far_it_is_shows_that_the_agent_has_it() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    let progress = ProgressCommand { agent: agent.clone(), command: id.clone(), progress: json!(40) };
    assert_eq!(stage.run(&progress), Ok(true));
    let under_way = command(&stage, &id);
    assert_eq!((under_way.status, under_way.progress), (CommandStatus::Sent, Some(json!(40))));
    assert_eq!(due(&stage, &id), Some(&DueJob::CommandTimeout { command: id.clone() }));
    answer(&mut stage, &agent, &id, json!(1));
    assert_eq!(stage.run(&progress), Ok(false));
}

#[test]
fn what_is_cancelled_is_not_sent_and_cancelled_once() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    let cancel =
        CancelCommand { agent: agent.clone(), command: id.clone(), reason: Some("no need".to_owned()) };
    let cancelled = stage.run(&cancel).expect("cancelled");
    assert_eq!(
        (cancelled.status, cancelled.error.clone()),
        (CommandStatus::Cancelled, Some(json!("no need")))
    );
    assert!(due(&stage, &id).is_none());
    let over = Rejected::CommandOver { command: id.clone(), status: "cancelled" };
    assert_eq!(stage.run(&cancel).err(), Some(over));
    settle(&mut stage, &id, 1, HAD);
    assert_eq!(command(&stage, &id).status, CommandStatus::Cancelled);
}

#[test]
fn a_command_of_an_agent_that_is_gone_is_cancelled_and_says_why() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    stage.run(&Deregister { agent, trace: None }).expect("deregistered");
    settle(&mut stage, &id, 1, Outcome::unwanted("the agent is no longer registered"));
    let over = command(&stage, &id);
    assert_eq!(over.status, CommandStatus::Cancelled);
    assert_eq!(over.error, Some(json!("the agent is no longer registered")));
    assert!(due(&stage, &id).is_none());
}

fn connect(stage: &mut Stage, agent: &AgentId, id: &str, is_resumed: bool) {
    stage.now = stage.now + Duration::from_secs(1);
    let connection = ConnectionId::parse(id).expect("valid");
    let node = NodeId::parse("nod_1").expect("valid");
    let connect = Connect { agent: agent.clone(), connection, node, key: None, is_resumed };
    stage.run(&connect).expect("connected");
}

#[test]
fn a_command_without_an_answer_comes_again_when_its_agent_connects_anew_three_times_in_all() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    connect(&mut stage, &agent, "con_0", false);
    let (id, created_at) = (create(&mut stage, &agent), stage.now);
    for sent in 1..=3 {
        settle(&mut stage, &id, sent, HAD);
        let shown = command(&stage, &id);
        assert_eq!((shown.status, shown.sends), (CommandStatus::Sent, sent));
        connect(&mut stage, &agent, &format!("con_{sent}_resumed"), true);
        assert_eq!(command(&stage, &id).status, CommandStatus::Sent, "the same process is there");
        connect(&mut stage, &agent, &format!("con_{sent}"), false);
        if sent < 3 {
            assert_eq!(command(&stage, &id).status, CommandStatus::Queued, "{sent}");
            assert_eq!(due(&stage, &id), Some(&DueJob::Command { command: id.clone() }));
            let row = &stage.store.due[&DueJob::Command { command: id.clone() }.id()];
            assert_eq!(row.visible_at, created_at, "before what was accepted after it");
        }
    }
    assert_eq!(command(&stage, &id).status, CommandStatus::Sent, "and no fourth time");
    assert_eq!(due(&stage, &id), Some(&DueJob::CommandTimeout { command: id.clone() }));
    assert_eq!(answer(&mut stage, &agent, &id, json!(1)), CommandAnswered::Taken);
}

#[test]
fn a_command_that_its_agent_acknowledged_does_not_come_again() {
    let mut stage = Stage::new();
    let (agent, other) = (stage.agent("reader", 1), stage.agent("writer", 1));
    for is_settled in [true, false] {
        let id = create(&mut stage, &agent);
        if is_settled {
            settle(&mut stage, &id, 1, HAD);
        }
        let theirs = AcknowledgeCommand { agent: other.clone(), command: id.clone() };
        assert!(stage.decide(&theirs).expect("nothing").0.writes.is_empty());
        stage.run(&AcknowledgeCommand { agent: agent.clone(), command: id.clone() }).expect("taken");
        connect(&mut stage, &agent, &format!("con_{is_settled}"), false);
        assert_eq!(command(&stage, &id).status, CommandStatus::Sent);
        assert_eq!(due(&stage, &id), Some(&DueJob::CommandTimeout { command: id.clone() }));
    }
}

#[test]
fn a_try_that_an_earlier_connection_had_counts_and_is_made_again() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let id = create(&mut stage, &agent);
    let of = |tries: u32, began_at, outcome| SettleCommand {
        command: id.clone(),
        tries,
        outcome,
        began_at,
        is_sent: true,
    };
    let began_at = stage.now;
    connect(&mut stage, &agent, "con_1", false);
    stage.run(&of(1, began_at, HAD)).expect("settled");
    let shown = command(&stage, &id);
    assert_eq!((shown.status, shown.sends), (CommandStatus::Queued, 1));
    // Its connection ended before it was known to have it: at once, and no more than three times.
    for tries in [2, 3] {
        stage.run(&of(tries, stage.now, failed(true))).expect("settled");
    }
    let shown = command(&stage, &id);
    assert_eq!((shown.status, shown.sends), (CommandStatus::Sent, 3));
    stage.now = stage.now + Duration::from_secs(300);
    fire(&mut stage, DueJob::CommandTimeout { command: id.clone() });
    let error = command(&stage, &id).error.expect("why").to_string();
    assert!(error.contains("sent 3 times"), "{error}");
}
