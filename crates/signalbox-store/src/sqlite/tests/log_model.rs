//! The log against a list: what is appended together, read in either direction and removed in any order.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// The session that is there and open; of the others there is only what the log says.
const OPEN: &str = "s0";

/// What an entry is about: a session and an agent, and how many seconds after the one before.
type About = (Option<u8>, Option<u8>, u16);

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<About>),
    RemoveHistory(u8, usize),
    Prune(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let about = (option::of(0..4_u8), option::of(0..3_u8), prop_oneof![9 => 0..2_u16, 1 => 50..700_u16]);
    prop_oneof![
        4 => vec(about, 1..150).prop_map(Step::Append),
        2 => (0..5_u8, 1..40_usize).prop_map(|(session, limit)| Step::RemoveHistory(session, limit)),
        1 => any::<u16>().prop_map(Step::Prune),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    place: u64,
    at: Timestamp,
    session: Option<(String, u64)>,
    agent: Option<String>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    last: u64,
    now: i64,
    sequences: HashMap<u8, u64>,
}

impl Model {
    fn append(&mut self, about: &[About]) -> Decision {
        let mut decision = Decision::default();
        for (session, agent, seconds) in about {
            self.now += i64::from(*seconds);
            self.last += 1;
            let at = Timestamp::from_seconds(self.now);
            let session = session.map(|session| {
                let sequence = self.sequences.entry(session).or_default();
                *sequence += 1;
                (format!("s{session}"), *sequence)
            });
            let agent = agent.map(|agent| format!("a{agent}"));
            // Some are so large that few of them are a row.
            let data = "x".repeat(if self.last.is_multiple_of(37) { 9_000 } else { 5 });
            let mut event = NewEvent::new("e", Level::Info, at, &data);
            let id = |(id, sequence): &(String, u64)| (SessionId::parse(id).expect("valid"), *sequence);
            event.session = session.as_ref().map(id);
            event.agent = agent.as_ref().map(|agent| AgentId::parse(agent).expect("valid"));
            decision.events.push(event);
            self.entries.push(Entry { place: self.last, at, session, agent });
        }
        decision
    }

    /// Removes entries that are wanted gone, in this order, but never the newest; answers how many.
    fn remove(&mut self, places: impl Iterator<Item = u64>, limit: usize) -> usize {
        let newest = self.last;
        let gone: Vec<u64> = places.filter(|place| *place != newest).take(limit).collect();
        self.entries.retain(|entry| !gone.contains(&entry.place));
        gone.len()
    }

    fn remove_history(&mut self, session: &str, limit: usize) -> usize {
        let theirs: Vec<u64> = self.of(|entry| entry.is_of(session)).rev().map(|entry| entry.place).collect();
        self.remove(theirs.into_iter(), if session == OPEN { 0 } else { limit })
    }

    fn prune(&mut self, before: Timestamp) -> usize {
        let old: Vec<u64> = self
            .entries
            .iter()
            .take_while(|entry| entry.at < before)
            .filter(|entry| !entry.is_of(OPEN))
            .map(|entry| entry.place)
            .collect();
        self.remove(old.into_iter(), usize::MAX)
    }

    fn of(&self, is_meant: impl Fn(&Entry) -> bool) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| is_meant(entry))
    }
}

impl Entry {
    fn is_of(&self, session: &str) -> bool {
        self.session.as_ref().is_some_and(|(of, _)| of == session)
    }
}

/// All that a filter finds, by pages.
async fn found(sqlite: &Sqlite, filter: &EventFilter, limit: usize) -> Vec<Entry> {
    let (mut page, mut found) = (Page { limit, after: None }, Vec::new());
    loop {
        let listed = sqlite.events(&tenant(), filter, &page).await.expect("read");
        found.extend(listed.items.into_iter().map(|event| Entry {
            place: event.sequence,
            at: event.at,
            session: event.session.map(|(session, sequence)| (session.to_string(), sequence)),
            agent: event.agent.map(|agent| agent.to_string()),
        }));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

async fn compare(sqlite: &Sqlite, model: &Model, limit: usize) {
    let middle = model.last / 2;
    for newest_first in [false, true] {
        let plain = || EventFilter { newest_first, ..EventFilter::default() };
        let in_order = |entries: Vec<Entry>| match newest_first {
            true => entries.into_iter().rev().collect::<Vec<_>>(),
            false => entries,
        };
        let filter = EventFilter { after: Some(middle), ..plain() };
        let expected = in_order(model.of(|entry| entry.place > middle).cloned().collect());
        assert_eq!(found(sqlite, &filter, limit).await, expected);
        assert_eq!(found(sqlite, &plain(), limit).await, in_order(model.entries.clone()));
        for number in 0..4 {
            let id = format!("s{number}");
            let session = SessionId::parse(&id).ok();
            let filter = EventFilter { session: session.clone(), ..plain() };
            let expected = in_order(model.of(|entry| entry.is_of(&id)).cloned().collect());
            assert_eq!(found(sqlite, &filter, limit).await, expected, "{id}");
            let filter = EventFilter { session, after: Some(middle), after_in_session: Some(20), ..plain() };
            let is_late = |entry: &Entry| {
                entry.place > middle
                    && entry.session.as_ref().is_some_and(|(of, place)| *of == id && *place > 20)
            };
            assert_eq!(found(sqlite, &filter, limit).await, in_order(model.of(is_late).cloned().collect()));
        }
        let agent = AgentId::parse("a1").ok();
        let since = Some(Timestamp::from_seconds(model.now / 2));
        let filter = EventFilter { agent, since, ..plain() };
        let is_theirs = |entry: &Entry| entry.agent.as_deref() == Some("a1") && Some(entry.at) >= since;
        assert_eq!(found(sqlite, &filter, limit).await, in_order(model.of(is_theirs).cloned().collect()));
    }
    let first = sqlite.first_sequence(&tenant()).await.expect("read");
    assert_eq!(first, model.entries.first().map(|entry| entry.place));
}

async fn agrees(steps: Vec<Step>, limit: usize) {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let workflow = WorkflowId::parse("w").expect("valid");
    let open = Session::new(SessionId::parse(OPEN).expect("valid"), workflow, 1, Timestamp::default());
    let mut decision = Decision::default();
    decision.create(Row::Session(Arc::new(open)), 1);
    commit(&sqlite, &cache, decision).await.expect("opened");
    let prune = |before: Timestamp| Prune {
        events_before: before,
        sessions_before: Timestamp::default(),
        messages_before: Timestamp::default(),
        now: Timestamp::default(),
        limit: 100_000,
        piece: Duration::from_secs(5),
    };
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(about) => {
                let decision = model.append(&about);
                commit(&sqlite, &cache, decision).await.expect("appended");
            }
            Step::RemoveHistory(session, most) => {
                let id = format!("s{session}");
                let session = SessionId::parse(&id).expect("valid");
                let removed = sqlite.remove_history(&tenant(), &session, most).await.expect("removed");
                assert_eq!(removed, model.remove_history(&id, most));
            }
            Step::Prune(before) => {
                let before = Timestamp::from_seconds(model.now * i64::from(before) / i64::from(u16::MAX));
                let pruned = sqlite.prune(prune(before)).await.expect("pruned");
                assert_eq!(pruned.removed, model.prune(before) as u64);
            }
        }
        compare(&sqlite, &model, limit).await;
    }
    // Of sessions that are gone no more is left than the newest entry's.
    let later = Timestamp::from_seconds(model.now + 1);
    sqlite.prune(prune(later)).await.expect("pruned");
    for session in 1..4 {
        let session = SessionId::parse(&format!("s{session}")).expect("valid");
        sqlite.remove_history(&tenant(), &session, 100_000).await.expect("removed");
    }
    model.prune(later);
    compare(&sqlite, &model, limit).await;
    let left = sqlite.access.list(|connection| {
        let sql = "SELECT count(*) FROM event_sessions WHERE session <> ?1";
        Ok(connection.query_row(sql, [OPEN], |row| row.get::<_, i64>(0)).expect("counted"))
    });
    assert!(left.await.expect("read") <= 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_appended_and_not_removed(steps in vec(step(), 1..14), limit in 1..90_usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(agrees(steps, limit));
    }
}
