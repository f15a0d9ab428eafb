//! What a task costs: the commits that a session takes, and the rows that they write or remove, due work and the log
//! included.

use serde_json::json;
use signalbox_core::delivery::Outcome;
use signalbox_core::engine::{DeliveredReport, SettleDispatch};
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::AgentId;
use signalbox_wire::raw::RawObject;

use crate::stage::{Stage, step};

/// How an agent says what came of a task.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// It answers the delivery with it.
    Answers,
    /// It reports, and names the task.
    Names,
    /// It reports, and means the only task that it has.
    Means,
}

/// Commits and rows of a session of `tasks` tasks, one after the other, from its trigger to its end.
fn cost(manner: Manner, tasks: usize) -> (usize, usize) {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    // What it says of its first task tells in which manner it goes on.
    play(&mut stage, &agent, manner, 1);
    let (commits, rows) = (stage.store.commits, stage.store.rows_written);
    play(&mut stage, &agent, manner, tasks);
    (stage.store.commits - commits, stage.store.rows_written - rows)
}

fn play(stage: &mut Stage, agent: &AgentId, manner: Manner, tasks: usize) {
    let steps = (0..tasks).map(|number| step(&format!("step-{number}"), None)).collect();
    let session = stage.session(steps);
    for position in 0..tasks {
        let attempt = stage.attempt(&session, position);
        let taken = stage.dispatched(&attempt, Outcome::Delivered { status: 202 });
        if manner == Manner::Answers {
            let details = RawObject::parse(json!({"result": 7}).to_string()).ok();
            let report = Some(DeliveredReport { state: "completed".into(), details });
            stage.run(&SettleDispatch { report, ..taken }).expect("settled");
            continue;
        }
        if !stage.store.status(agent).expect("a status").may_keep_taken_in_memory() {
            stage.run(&taken).expect("settled");
        }
        let name = attempt.task.attempt_name(attempt.attempt);
        stage.report(agent, "completed", (manner == Manner::Names).then_some(name.as_str()), json!(7));
    }
    assert_eq!(stage.status(&session), SessionStatus::Completed);
}

#[test]
fn a_task_costs_its_dispatch_and_its_settlement() {
    let costs = [Manner::Answers, Manner::Names, Manner::Means]
        .map(|manner| [1, 3, 10].map(|tasks| cost(manner, tasks)));
    let commits = costs.map(|costs| costs.map(|(commits, _)| commits));
    assert_eq!(commits, [[2, 4, 11], [2, 4, 11], [3, 7, 21]]);
    // Of each task after the third. When it took each has to be known of an agent that does not name them: another
    // commit of three rows.
    let per_task = costs.map(|costs| (costs[2].1 - costs[1].1) / 7);
    assert_eq!(per_task, [10, 10, 13], "{costs:?}");
}
