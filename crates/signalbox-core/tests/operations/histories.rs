//! Recorded histories, `tests/histories/<version>-<what>.json`: each must for ever give the state beside it.
//!
//! A file that is there is never written again. `SIGNALBOX_RECORD_HISTORIES=1 cargo test -p signalbox-core --test
//! operations histories` plays the scenes below that have none yet for the version under way; a new scene is a
//! function, here or in [`crate::scenes`], and a line in [`SCENES`].

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use signalbox_core::delivery::Outcome;
use signalbox_core::engine::{Cancel, Deregister, Pause, Resume, RetrySession};
use signalbox_core::session::{SessionEvent, SessionState};
use signalbox_wire::id::SessionId;
use signalbox_wire::time::Timestamp;

use crate::scenes::{approved_twice, graph, list, queued, undone, waited};
use crate::stage::{Stage, failed, registration, step};

/// A history and what it must give.
#[derive(Serialize, Deserialize)]
struct Recorded {
    session: SessionId,
    history: Vec<Entry>,
    state: SessionState,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    at: Timestamp,
    event: SessionEvent,
}

type Scene = fn(&mut Stage) -> SessionId;

const SCENES: [(&str, Scene); 18] = [
    ("linear", linear),
    ("no-tasks", no_tasks),
    ("retried-attempt", retried_attempt),
    ("returned-by-registration", returned_by_registration),
    ("agent-gone", agent_gone),
    ("undeliverable", undeliverable),
    ("timed-out", timed_out),
    ("failed", failing),
    ("cancelled", cancelled),
    ("paused-while-waiting", paused_while_waiting),
    ("paused-at-work", paused_at_work),
    ("retried-session", retried_session),
    ("graph", graph),
    ("list", list),
    ("waited", waited),
    ("approved-twice", approved_twice),
    ("queued", queued),
    ("undone", undone),
];

#[test]
fn every_recorded_history_gives_its_state() {
    if std::env::var("SIGNALBOX_RECORD_HISTORIES").is_ok_and(|value| value == "1") {
        SCENES.iter().for_each(|(name, scene)| record(name, *scene));
    }
    let files =
        fs::read_dir(folder()).expect("the folder of histories").map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    let mut kinds = BTreeSet::new();
    for path in &files {
        let text = fs::read_to_string(path).expect("a file that can be read");
        let recorded: Recorded =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let history = recorded.history.iter().map(|entry| (entry.at, &entry.event));
        let replayed = SessionState::replay(&recorded.session, history);
        assert_eq!(replayed, Ok(Some(recorded.state)), "{path:?}");
        kinds.extend(recorded.history.iter().map(|entry| entry.event.kind()));
    }
    assert_eq!(kinds.len(), 25, "every event is in some history: {kinds:?}");
}

#[test]
fn the_scenes_play_as_they_are_told() {
    for (name, scene) in SCENES {
        let mut stage = Stage::new();
        let session = scene(&mut stage);
        let history = stage.store.histories[&session].iter().map(|(at, event)| (*at, event));
        assert_eq!(SessionState::replay(&session, history), Ok(Some(stage.state(&session))), "{name}");
        assert!(stage.state(&session).session.status.is_over(), "{name} comes to an end");
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

fn record(name: &str, scene: Scene) {
    let path = folder().join(format!("{}-{name}.json", env!("CARGO_PKG_VERSION")));
    if path.exists() {
        return;
    }
    let mut stage = Stage::new();
    let session = scene(&mut stage);
    let history = stage.store.histories[&session].iter();
    let recorded = Recorded {
        history: history.map(|(at, event)| Entry { at: *at, event: event.clone() }).collect(),
        state: stage.state(&session),
        session,
    };
    let text = serde_json::to_string_pretty(&recorded).expect("it can be written");
    fs::write(path, text + "\n").expect("a folder that can be written");
}

fn linear(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let mut second = step("write", None);
    second.parameters.insert("about".to_owned(), json!("${tasks.read.result.words} words"));
    second.parameters.insert("topic".to_owned(), json!("${input.topic}"));
    let session = stage.session(vec![step("read", None), second]);
    stage.deliver();
    stage.report(&agent, "active", Some("read"), json!(null));
    stage.report(&agent, "completed", Some("read"), json!({"words": 7}));
    stage.deliver();
    stage.report(&agent, "idle", None, json!("done"));
    session
}

fn no_tasks(stage: &mut Stage) -> SessionId {
    stage.session(Vec::new())
}

fn retried_attempt(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    stage.deliver();
    stage.report(&agent, "error", None, json!(null));
    stage.pass(Duration::from_secs(10), &Outcome::Delivered { status: 202 });
    stage.report(&agent, "finished", None, json!([1, 2.5, "three", null]));
    session
}

fn returned_by_registration(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    stage.deliver();
    stage.report(&agent, "busy", None, json!(null));
    stage.run(&registration("reader", 1, true)).expect("registered anew");
    stage.deliver();
    stage.report(&agent, "completed", None, json!(true));
    session
}

fn agent_gone(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None)]);
    stage.run(&Deregister { agent, trace: None }).expect("it goes");
    let agent = stage.agent("another", 1);
    stage.run(&signalbox_core::engine::MatchAgent { agent: agent.clone() }).expect("offered");
    stage.deliver();
    stage.report(&agent, "completed", None, json!(true));
    session
}

fn undeliverable(stage: &mut Stage) -> SessionId {
    stage.policy.delivery_attempts = 2;
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(1))]);
    stage.pass(Duration::from_secs(60), &failed(true));
    session
}

fn timed_out(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(0))]);
    stage.deliver();
    stage.pass(stage.policy.task_timeout, &failed(false));
    session
}

fn failing(stage: &mut Stage) -> SessionId {
    stage.agent("reader", 1);
    let mut broken = step("read", None);
    broken.parameters.insert("about".to_owned(), json!("${input.missing}"));
    stage.session(vec![broken, step("write", None)])
}

fn cancelled(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None), step("write", None)]);
    stage.deliver();
    stage.report(&agent, "active", None, json!(null));
    stage
        .run(&Cancel { session: session.clone(), reason: Some("no longer needed".to_owned()) })
        .expect("cancelled");
    session
}

fn paused_while_waiting(stage: &mut Stage) -> SessionId {
    let session = stage.session(vec![step("read", None)]);
    stage.run(&Pause { session: session.clone() }).expect("paused");
    let agent = stage.agent("reader", 1);
    stage.run(&Resume { session: session.clone() }).expect("resumed");
    stage.report(&agent, "completed", None, json!({}));
    session
}

fn paused_at_work(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", None), step("write", None)]);
    stage.run(&Pause { session: session.clone() }).expect("paused");
    stage.report(&agent, "completed", None, json!(1));
    stage.run(&Resume { session: session.clone() }).expect("resumed");
    stage.report(&agent, "completed", None, json!(2));
    session
}

fn retried_session(stage: &mut Stage) -> SessionId {
    let agent = stage.agent("reader", 1);
    let session = stage.session(vec![step("read", Some(0)), step("write", Some(0))]);
    stage.report(&agent, "completed", None, json!(1));
    stage.report(&agent, "failed", None, json!(null));
    stage.run(&RetrySession { session: session.clone() }).expect("retried");
    stage.report(&agent, "completed", None, json!(2));
    session
}
