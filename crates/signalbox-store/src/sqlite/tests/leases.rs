//! What memory knows of leases is what the file says, whatever is done to them, and nobody can tell that no index has them.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use signalbox_core::due::{Due, DueJob};
use signalbox_wire::id::MessageId;

use super::*;
use crate::sqlite::leases::Leases;

/// One thing that is done, a number of seconds after the one before.
#[derive(Debug, Clone)]
enum Step {
    Add { name: usize, due_in: i64, ends_in: Option<i64>, kind: usize, is_leased: bool },
    Done(usize),
    Claim(DueKind),
    ClaimLane(usize),
    Look(DueKind),
    Postpone(i64),
    Extend(i64),
    Release,
    Fault(usize),
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let kind = || prop::sample::select(DueKind::ALL.to_vec());
    let add = (0..6_usize, 0..30_i64, prop::option::of(0..60_i64), 0..3_usize, any::<bool>());
    let step = prop_oneof![
        6 => add.prop_map(|(name, due_in, ends_in, kind, is_leased)| {
            Step::Add { name, due_in, ends_in, kind, is_leased }
        }),
        2 => (0..6_usize).prop_map(Step::Done),
        4 => kind().prop_map(Step::Claim),
        2 => (0..2_usize).prop_map(Step::ClaimLane),
        2 => prop::sample::select(vec![DueKind::Delivery, DueKind::Call]).prop_map(Step::Look),
        1 => (0..30_i64).prop_map(Step::Postpone),
        1 => (1..60_i64).prop_map(Step::Extend),
        1 => Just(Step::Release),
        1 => (0..6_usize).prop_map(Step::Fault),
    ];
    prop::collection::vec((0..25_i64, step), 1..30)
}

fn work(name: usize, kind: usize) -> DueJob {
    let (session, attempt) = (SessionId::parse("s").expect("valid"), 1);
    let task = TaskId::parse(&format!("t{name}")).expect("valid");
    match kind {
        0 => DueJob::Deliver { message: MessageId::parse(&format!("m{name}")).expect("valid") },
        1 => DueJob::Call { session, task, attempt },
        _ => DueJob::Timeout { session, task, attempt },
    }
}

fn lane(name: usize) -> Lane {
    Lane::named(format!("lane{}", name % 2))
}

/// A row of due work, as the file has it: tenant, id, kind, lane, from when on it can be claimed, when it ends, who has it.
type DueRow = (String, String, String, String, i64, Option<i64>, Option<String>);

async fn rows(sqlite: &Sqlite) -> Vec<DueRow> {
    let read = |connection: &Connection| -> rusqlite::Result<Vec<DueRow>> {
        let sql =
            "SELECT tenant, id, kind, lane, visible_at, ends_at, leased_by FROM due ORDER BY tenant, id";
        let mut rows = connection.prepare(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        };
        rows.query_map([], read)?.collect()
    };
    sqlite.access.list(move |connection| Ok(read(connection).expect("read"))).await.expect("read")
}

/// What can be claimed as this kind, and from when on.
fn claimable(rows: &[DueRow], kind: DueKind) -> Vec<(i64, String)> {
    let of = |row: &DueRow| {
        let visible = (row.2 == kind.column()).then_some(row.4);
        let ends = row.5.filter(|_| kind == DueKind::Timer);
        Some(([visible, ends].into_iter().flatten().min()?, row.1.clone()))
    };
    rows.iter().filter_map(of).collect()
}

async fn holds(steps: Vec<(i64, Step)>) -> Result<(), TestCaseError> {
    let (_directory, sqlite, cache) = sqlite(|_| {});
    let (mut now, mut held, mut after) = (0, Vec::<Claimed>::new(), Vec::new());
    for (later, step) in steps {
        now += later;
        let at = Timestamp::from_seconds(now);
        let lease = Lease { node: sqlite.node.clone(), until: at + Duration::from_secs(20) };
        let before = after;
        let due_now = |kind: DueKind| -> Vec<String> {
            let due = claimable(&before, kind).into_iter().filter(|(due_at, _)| *due_at <= at.as_micros());
            due.map(|(_, id)| id).collect()
        };
        match step {
            Step::Add { name, due_in, ends_in, kind, is_leased } => {
                let mut due = Due::new(work(name, kind), at + Duration::from_secs(due_in.unsigned_abs() / 2))
                    .by(lane(name));
                due.ends = ends_in.map(|ends_in| at + Duration::from_secs(ends_in.unsigned_abs()));
                let decision = Decision { due: vec![due], ..Decision::default() };
                let lease = Some(&lease).filter(|_| is_leased);
                let prepared = Commit::prepare(&tenant(), decision, at, lease, &cache).expect("prepared");
                sqlite.commit(prepared).await.expect("committed");
            }
            Step::Done(name) => {
                let done = (0..3).map(|kind| work(name, kind).id()).collect();
                let decision = Decision { done, ..Decision::default() };
                commit(&sqlite, &cache, decision).await.expect("committed");
            }
            Step::Claim(kind) => {
                let claimed = sqlite.claim(at, lease, kind, 100).await.expect("claimed");
                let mut ids: Vec<String> = claimed.iter().map(|claimed| claimed.work.id()).collect();
                ids.sort();
                prop_assert_eq!(ids, due_now(kind));
                held.extend(claimed);
            }
            Step::ClaimLane(name) => {
                let wanted = LaneClaim { tenant: tenant(), lane: lane(name), most: 100, visible_by: at };
                let claimed =
                    sqlite.claim_lanes(lease, DueKind::Delivery, vec![wanted]).await.expect("claimed");
                let mut ids: Vec<String> = claimed.iter().map(|claimed| claimed.work.id()).collect();
                ids.sort();
                let of_lane =
                    |id: &String| before.iter().any(|row| row.1 == *id && row.3 == lane(name).as_str());
                prop_assert_eq!(
                    ids,
                    due_now(DueKind::Delivery).into_iter().filter(of_lane).collect::<Vec<_>>()
                );
                held.extend(claimed);
            }
            Step::Look(kind) => {
                let waiting = sqlite.waiting_lanes(at, kind).await.expect("read");
                let of_kind = before.iter().filter(|row| row.2 == kind.column());
                let due = of_kind.clone().filter(|row| row.4 <= at.as_micros()).count();
                prop_assert_eq!(waiting.lanes.iter().map(|lane| lane.seen).sum::<usize>(), due);
                let next = of_kind.map(|row| row.4).filter(|visible_at| *visible_at > at.as_micros()).min();
                prop_assert_eq!(waiting.next.map(Timestamp::as_micros), next);
            }
            Step::Postpone(seconds) => {
                let until = at + Duration::from_secs(seconds.unsigned_abs());
                sqlite.move_held(&held, until, None).await.expect("moved");
            }
            Step::Extend(seconds) => {
                let until = at + Duration::from_secs(seconds.unsigned_abs());
                sqlite.move_held(&held, until, Some(&sqlite.node)).await.expect("moved");
            }
            Step::Release => sqlite.release().await.expect("released"),
            Step::Fault(name) => {
                let faulty = |connection: &Connection| -> rusqlite::Result<()> {
                    connection
                        .execute("INSERT INTO agent_names VALUES (NULL, NULL, NULL, NULL)", [])
                        .map(|_| ())
                };
                let done = Decision { done: vec![work(name, 0).id()], ..Decision::default() };
                let (done, claimed, fault) = tokio::join!(
                    commit(&sqlite, &cache, done),
                    sqlite.claim(at, lease, DueKind::Delivery, 2),
                    sqlite.access.write(faulty, |()| {}),
                );
                done.expect("committed");
                held.extend(claimed.expect("claimed"));
                prop_assert!(fault.is_err());
            }
        }
        after = rows(&sqlite).await;
        let leased = after.iter().filter(|row| row.6.is_some()).count();
        let in_file = Leases::default();
        let read = sqlite.access.list(move |connection| {
            in_file.read(connection).expect("read");
            Ok(in_file.all())
        });
        let in_file = read.await.expect("read");
        prop_assert_eq!(sqlite.access.shared.leases.all(), in_file);
        for kind in DueKind::ALL {
            let next = claimable(&after, kind).into_iter().map(|(moment, _)| moment).min();
            prop_assert_eq!(sqlite.next_due(kind).await.expect("read").map(Timestamp::as_micros), next);
        }
        let pending = sqlite.backlog(100).await.expect("counted").pending;
        prop_assert_eq!(pending, after.len() as u64, "{} are leased", leased);
        let count =
            sqlite.waiting_in_lane(&tenant(), DueKind::Delivery, &lane(0), 100).await.expect("counted");
        let in_lane = |row: &&DueRow| row.2 == "deliver" && row.3 == lane(0).as_str();
        prop_assert_eq!(count, after.iter().filter(in_lane).count());
    }
    sqlite.close().await.expect("closed");
    Ok(())
}

#[test]
fn memory_follows_the_file() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner.run(&steps(), |steps| runtime.block_on(holds(steps))).expect("they agree");
}
