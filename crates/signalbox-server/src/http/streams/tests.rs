//! The two kinds of stream over a real store: order, filters, resumption, gaps, and their end.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, json};
use signalbox_core::definition::{Definition, Step};
use signalbox_core::engine::{Cancel, Operation, Trigger, WorkflowSource};
use signalbox_core::event::{Level, NewEvent};
use signalbox_core::limits::Policy;
use signalbox_core::{Decision, DecisionContext, Halt, Snapshot as Seen};
use signalbox_store::{EventFilter, Options, Prune, Store, StoreError, StoredEvent};
use signalbox_wire::id::{AgentId, NodeId, SessionId, TenantId, WorkflowId};
use signalbox_wire::time::Timestamp;

use super::{EntryView, LogTail, Read, SessionHistory, Source, is_asked_for, newest, resumed_after};
use crate::clock;

/// A store of its own; nothing runs beside it.
struct World {
    store: Store,
    folder: std::path::PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn world() -> World {
    let folder = std::env::temp_dir().join(format!("signalbox-streams-{:016x}", clock::seed()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let url = format!("sqlite://{}", folder.join("signalbox.db").display());
    let node = NodeId::parse("nod_test").expect("valid");
    let store = Store::open(Options::new(url, node)).await.expect("a new store");
    World { store, folder }
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

impl World {
    /// Appends entries about an agent, one commit each, `at` seconds after 1970.
    async fn log(&self, about: &str, at: i64, entries: usize) {
        let about = AgentId::parse(about).expect("valid");
        let at = Timestamp::from_seconds(at);
        for _ in 0..entries {
            let event = NewEvent::new("log", Level::Info, at, &json!({"message": "m"})).about(&about);
            let decision = Decision { events: vec![event], ..Decision::default() };
            self.store.commit(&tenant(), decision, at, None).await.expect("committed");
        }
    }

    /// Starts a session whose only task waits for an agent that never comes: its history has two entries.
    async fn session(&self) -> SessionId {
        let step = Step { id: "a".into(), capability: Some("rare".into()), ..Step::default() };
        let workflow = Definition::of(WorkflowId::parse("w").expect("valid"), vec![step]);
        let source = WorkflowSource::Inline(Box::new(workflow));
        let trigger = Trigger { source, agent: None, input: Map::new(), trace: None };
        self.run(&trigger).await.session
    }

    /// Decides on an operation with nobody beside it, and commits that.
    async fn run<O: Operation>(&self, operation: &O) -> O::Output {
        let (now, policy) = (clock::now(), Policy::default());
        let mut snapshot = Seen::new();
        loop {
            let mut context = DecisionContext::new(now, clock::seed(), &policy);
            match operation.decide(&snapshot, &mut context) {
                Ok((decision, output)) => {
                    self.store.commit(&tenant(), decision, now, None).await.expect("committed");
                    return output;
                }
                Err(Halt::Need(need)) => {
                    self.store.load(&tenant(), &need, &mut snapshot, false).await.expect("loaded");
                }
                Err(Halt::Rejected(rejected)) => panic!("{rejected}"),
                Err(Halt::Long) => panic!("nothing here takes long"),
            }
        }
    }

    async fn cancel(&self, session: &SessionId) {
        let cancel = Cancel { session: session.clone(), reason: None };
        self.run(&cancel).await;
    }

    async fn prune(&self, events_before: Timestamp) {
        let old = Timestamp::default();
        let prune = Prune {
            events_before,
            sessions_before: old,
            messages_before: old,
            now: old,
            limit: 1_000,
            piece: Duration::from_millis(5),
        };
        while self.store.prune(prune).await.expect("pruned").has_more {}
    }
}

/// Shows nothing but the kind.
struct Bare;

impl EntryView for Bare {
    async fn json(&mut self, _: &Store, _: &TenantId, event: &StoredEvent) -> Result<Vec<u8>, StoreError> {
        Ok(event.kind.clone().into_bytes())
    }
}

/// Everything that a source gives until it has nothing more, as `id kind` or `from-to gap`, and whether it is
/// over then.
async fn drain(world: &World, source: &mut impl Source) -> (Vec<String>, bool) {
    let mut seen = Vec::new();
    let is_over = loop {
        match source.read(&world.store, 0).await.expect("the store answers") {
            Read::Chunk(chunk) => seen.extend(frames(&chunk.into_bytes())),
            Read::More => {}
            Read::Nothing => break false,
            Read::Over => break true,
        }
    };
    (seen, is_over)
}

fn frames(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("text");
    let frame = |frame: &str| {
        let field = |name: &str| {
            frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
        };
        match field("event: ").as_str() {
            "gap" => {
                let data: serde_json::Value = serde_json::from_str(&field("data: ")).expect("JSON");
                assert_eq!(field("id: "), data["to"].to_string(), "who resumes is not told again");
                format!("{}-{} gap", data["from"], data["to"])
            }
            kind => {
                format!("{} {}", field("id: "), if kind == "log" { field("data: ") } else { kind.to_owned() })
            }
        }
    };
    text.split_terminator("\n\n").map(frame).collect()
}

fn about(agent: &str) -> EventFilter {
    EventFilter { agent: AgentId::parse(agent).ok(), ..EventFilter::default() }
}

#[tokio::test]
async fn a_tail_shows_each_entry_once_and_only_what_the_filter_lets_through() {
    let world = world().await;
    world.log("a", 1, 3).await;
    let start = newest(&world.store, &tenant()).await.expect("newest");
    let mut whole = LogTail::new(tenant(), EventFilter::default(), start, Bare);
    let mut of_b = LogTail::new(tenant(), about("b"), start, Bare);
    assert_eq!(drain(&world, &mut whole).await, (vec![], false));
    world.log("a", 2, 2).await;
    world.log("b", 2, 1).await;
    assert_eq!(drain(&world, &mut whole).await.0, ["4 log", "5 log", "6 log"]);
    assert_eq!(drain(&world, &mut of_b).await.0, ["6 log"]);
    world.log("a", 3, 100).await;
    assert_eq!(drain(&world, &mut whole).await.0.len(), 100);
    assert_eq!(drain(&world, &mut of_b).await, (vec![], false));
    world.log("b", 4, 1).await;
    assert_eq!(drain(&world, &mut of_b).await.0, ["107 log"]);
}

#[tokio::test]
async fn a_tail_of_a_session_shows_only_what_came_since() {
    let world = world().await;
    let session = world.session().await;
    let start = newest(&world.store, &tenant()).await.expect("newest");
    let filter = EventFilter { session: Some(session.clone()), ..EventFilter::default() };
    let mut tail = LogTail::new(tenant(), filter, start, Bare);
    assert_eq!(drain(&world, &mut tail).await.0, [""; 0]);
    world.log("a", 1, 40).await;
    world.cancel(&session).await;
    let shown = drain(&world, &mut tail).await.0;
    let kinds: Vec<&str> = shown.iter().filter_map(|frame| Some(frame.split_once(' ')?.1)).collect();
    assert_eq!(kinds, ["task.cancelled", "session.cancelled"]);
    assert_eq!(drain(&world, &mut tail).await.0, [""; 0]);
}

#[tokio::test]
async fn a_resumed_tail_says_what_retention_has_taken() {
    let world = world().await;
    world.log("a", 1, 6).await;
    world.log("b", 100, 2).await;
    for (filter, expected) in [
        (EventFilter::default(), vec!["3 log", "4 log", "5 log", "6 log", "7 log", "8 log"]),
        (about("b"), vec!["7 log", "8 log"]),
    ] {
        let mut tail = LogTail::resumed(&world.store, tenant(), filter, 2, Bare).await.expect("resumed");
        assert_eq!(drain(&world, &mut tail).await.0, expected);
    }
    world.prune(Timestamp::from_seconds(50)).await;
    for filter in [EventFilter::default(), about("b")] {
        let mut tail = LogTail::resumed(&world.store, tenant(), filter, 2, Bare).await.expect("resumed");
        assert_eq!(drain(&world, &mut tail).await.0, ["3-6 gap", "7 log", "8 log"]);
    }
    let mut tail =
        LogTail::resumed(&world.store, tenant(), EventFilter::default(), 6, Bare).await.expect("resumed");
    assert_eq!(drain(&world, &mut tail).await.0, ["7 log", "8 log"]);
}

#[tokio::test]
async fn a_tail_under_way_says_what_retention_took_before_it_was_looked_at() {
    let world = world().await;
    world.log("a", 1, 1).await;
    let of_session = EventFilter { session: SessionId::parse("ses_x").ok(), ..EventFilter::default() };
    let start = newest(&world.store, &tenant()).await.expect("newest");
    let mut tails = [EventFilter::default(), about("b"), about("nobody"), of_session]
        .map(|filter| LogTail::new(tenant(), filter, start, Bare));
    for tail in &mut tails {
        assert_eq!(drain(&world, tail).await, (vec![], false));
    }
    // Its readers are slow: what comes is gone before they look.
    world.log("b", 1, 2).await;
    world.log("a", 100, 1).await;
    world.log("b", 100, 1).await;
    world.prune(Timestamp::from_seconds(50)).await;
    let gap = format!("{}-{} gap", start + 1, start + 2);
    let (a, b) = (format!("{} log", start + 3), format!("{} log", start + 4));
    let expected = [vec![gap.clone(), a, b.clone()], vec![gap.clone(), b], vec![gap.clone()], vec![gap]];
    for (tail, expected) in tails.iter_mut().zip(expected) {
        assert_eq!(drain(&world, tail).await.0, expected);
        assert_eq!(drain(&world, tail).await.0, [""; 0], "it is told once");
    }
    world.log("a", 200, 200).await;
    assert_eq!(drain(&world, &mut tails[2]).await.0, [""; 0]);
}

#[tokio::test]
async fn a_history_ends_with_its_session() {
    let world = world().await;
    let session = world.session().await;
    let mut history = SessionHistory::new(tenant(), session.clone(), 0, Bare);
    assert_eq!(
        drain(&world, &mut history).await,
        (vec!["1 session.started".into(), "2 task.waiting".into()], false)
    );
    world.cancel(&session).await;
    let (seen, is_over) = drain(&world, &mut history).await;
    assert_eq!((seen, is_over), (vec!["3 task.cancelled".into(), "4 session.cancelled".into()], true));
    let mut resumed = SessionHistory::new(tenant(), session.clone(), 3, Bare);
    assert_eq!(drain(&world, &mut resumed).await, (vec!["4 session.cancelled".into()], true));
    let unknown = SessionId::parse("ses_gone").expect("valid");
    assert_eq!(drain(&world, &mut SessionHistory::new(tenant(), unknown, 0, Bare)).await, (vec![], true));
}

#[tokio::test]
async fn a_history_that_retention_has_passed_says_so() {
    let world = world().await;
    let session = world.session().await;
    world.cancel(&session).await;
    // The newest entry of a tenant's log is kept, so that its order never begins again.
    world.log("a", 1, 1).await;
    world.prune(clock::now() + Duration::from_secs(60)).await;
    let mut history = SessionHistory::new(tenant(), session, 1, Bare);
    assert_eq!(drain(&world, &mut history).await, (vec!["2-4 gap".into()], true));
}

fn headers(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"))])
}

#[test]
fn a_stream_is_what_the_accept_header_names() {
    for value in ["text/event-stream", "application/json;q=0.5, Text/Event-Stream;q=1"] {
        assert!(is_asked_for(&headers("accept", value)), "{value}");
    }
    for value in ["*/*", "application/json", "text/*", "text/event-stream-not"] {
        assert!(!is_asked_for(&headers("accept", value)), "{value}");
    }
    assert!(!is_asked_for(&HeaderMap::new()));
}

#[test]
fn a_stream_is_resumed_only_after_a_number() {
    assert_eq!(resumed_after(&HeaderMap::new()), Ok(None));
    assert_eq!(resumed_after(&headers("last-event-id", "")), Ok(None));
    assert_eq!(resumed_after(&headers("last-event-id", "42")), Ok(Some(42)));
    for value in ["x", "-1", "1.5", "99999999999999999999999"] {
        assert!(resumed_after(&headers("last-event-id", value)).is_err(), "{value}");
    }
}
