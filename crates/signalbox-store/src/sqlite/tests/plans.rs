//! What SQLite makes of the statements of lists: each reads an index in its order, and costs the same however much
//! the tables hold beside what it gives.

use std::cell::RefCell;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, StatementStatus, params_from_iter};
use signalbox_core::delivery::MessageKind;
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::{AgentId, NodeId, WorkflowId};

use super::{sqlite, tenant};
use crate::api::{AgentFilter, DeadLetterFilter, Page, Presence, SessionFilter};
use crate::sqlite::{Sqlite, listings};
use signalbox_wire::time::Timestamp;

/// A statement that a list ran on this thread.
struct Seen {
    sql: String,
    plan: Vec<String>,
    steps: i32,
}

thread_local! {
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

/// Takes note of a statement that a list has just run.
pub(crate) fn note(connection: &Connection, statement: &Statement<'_>, sql: &str, values: &[Value]) {
    let steps = statement.reset_status(StatementStatus::VmStep);
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("explained");
    let plan = explain.query_map(params_from_iter(values), |row| row.get(3)).expect("explained");
    let plan = plan.collect::<rusqlite::Result<Vec<String>>>().expect("explained");
    SEEN.with_borrow_mut(|seen| seen.push(Seen { sql: sql.to_owned(), plan, steps }));
}

/// Puts `count` sessions of workflow `w` that are over, each with a task that agent `a` had.
async fn fill(sqlite: &Sqlite, first: u32, count: u32) {
    let fill = move |connection: &Connection| -> rusqlite::Result<()> {
        let body = r#"{"workflow": "w", "revision": 1, "agent": null, "status": "completed", "input": {},
            "result": null, "error": null, "trace": null, "created_at": "2024-01-01T12:00:00Z",
            "updated_at": "2024-01-01T12:00:00Z", "ended_at": "2024-01-01T12:00:00Z", "sequence": 1}"#;
        let numbers = "WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)";
        connection.execute(
            &format!(
                "{numbers} INSERT INTO sessions (tenant, id, workflow, status, created_at, ended_at, revision, version, body)
                 SELECT 'default', 'ses_' || i, 'w', 'completed', i, i, 1, 1, json_set(?3, '$.id', 'ses_' || i) FROM n"
            ),
            rusqlite::params![first, first + count - 1, body],
        )?;
        connection.execute(
            &format!(
                "{numbers} INSERT INTO session_agents (tenant, session, agent, created_at)
                 SELECT 'default', 'ses_' || i, 'a', i FROM n"
            ),
            [first, first + count - 1],
        )?;
        Ok(())
    };
    sqlite.access.write(fill, |()| {}).await.expect("filled");
}

fn filters() -> Vec<SessionFilter> {
    let all = SessionFilter::default();
    let workflow = WorkflowId::parse("w").ok();
    let some = vec![SessionStatus::Completed, SessionStatus::Failed];
    let (since, until) = (Some(Timestamp::from_micros(3)), Some(Timestamp::from_micros(90)));
    let exact = [
        all.clone(),
        SessionFilter { workflow: workflow.clone(), ..all.clone() },
        SessionFilter { statuses: vec![SessionStatus::Running], ..all.clone() },
        SessionFilter { statuses: some.clone(), ..all.clone() },
        SessionFilter { workflow: workflow.clone(), statuses: vec![SessionStatus::Failed], ..all.clone() },
        SessionFilter { workflow, statuses: some, ..all.clone() },
        SessionFilter { agent: AgentId::parse("a").ok(), ..all },
    ];
    let within = exact.iter().map(|filter| SessionFilter { since, until, ..filter.clone() });
    exact.iter().cloned().chain(within).collect()
}

/// Runs every list once; answers what they cost.
fn run_lists(sqlite: &Sqlite) -> Vec<Seen> {
    let (agent, capability) = (AgentId::parse("a").ok(), Some("read".to_owned()));
    let workflow = WorkflowId::parse("w").expect("valid");
    let places = [None, Some("50/ses_50".to_owned())];
    let listed = sqlite.access.readers.list(|connection| {
        let tenant = &tenant();
        for after in places {
            let page = &Page { limit: 10, after };
            for filter in filters() {
                listings::sessions(connection, tenant, &filter, page)?;
            }
            for kind in [None, Some(MessageKind::Task)] {
                let filter = DeadLetterFilter { agent: agent.clone(), kind, since: None };
                listings::dead_letters(connection, tenant, &filter, page)?;
            }
            let named = page.after.as_ref().map(|_| "n".to_owned());
            for filter in [
                AgentFilter::default(),
                AgentFilter { capability: capability.clone(), ..AgentFilter::default() },
                AgentFilter { name: Some("n".to_owned()), ..AgentFilter::default() },
                AgentFilter { presence: Some(Presence::Connected), ..AgentFilter::default() },
            ] {
                listings::agents(
                    connection,
                    tenant,
                    &filter,
                    &Page { after: named.clone(), ..page.clone() },
                )?;
            }
            let after = agent.as_ref().filter(|_| page.after.is_some()).map(|agent| (tenant, agent));
            listings::connected_agents(connection, &NodeId::parse("nod_1").expect("valid"), after, 10)?;
            listings::tools(connection, tenant, page)?;
            listings::keys(connection, tenant, page)?;
            listings::workflows(connection, tenant, page)?;
            listings::tenants(connection, page)?;
            let revision = page.after.as_ref().map(|_| "7".to_owned());
            listings::revisions(connection, tenant, &workflow, &Page { after: revision, ..page.clone() })?;
        }
        for revision in [None, Some(1)] {
            assert!(!listings::open_session(connection, tenant, &workflow, revision)?, "all are over");
        }
        Ok(())
    });
    listed.expect("listed");
    SEEN.take()
}

#[tokio::test]
async fn every_list_reads_an_index_in_its_order() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    fill(&sqlite, 1, 100).await;
    for Seen { sql, plan, .. } in run_lists(&sqlite) {
        let mut before = "";
        for line in &plan {
            // A part is a page of its own, and already in order.
            let is_sort = line.contains("TEMP B-TREE") && before != "SCAN part";
            let is_whole = line.starts_with("SCAN ") && !line.contains("USING") && line != "SCAN part";
            assert!(!is_sort && !is_whole, "{sql}\n{plan:#?}");
            before = line;
        }
    }
}

#[tokio::test]
async fn lists_cost_the_same_however_many_sessions_are_over() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    fill(&sqlite, 1, 100).await;
    run_lists(&sqlite);
    let few = run_lists(&sqlite);
    fill(&sqlite, 101, 20_000).await;
    let many = run_lists(&sqlite);
    assert_eq!(few.len(), many.len());
    for (few, many) in few.iter().zip(&many) {
        assert!(many.steps <= few.steps + 100, "{} against {} steps: {}", many.steps, few.steps, many.sql);
    }
    assert!(many.iter().any(|seen| seen.steps > 50), "something was read");
}

#[test]
fn due_work_is_counted_by_an_index_that_holds_it() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    let plans = sqlite.access.readers.list(|connection| {
        let plans = crate::DueKind::ALL.map(|kind| {
            let explain = format!("EXPLAIN QUERY PLAN {}", super::due::count(kind));
            let mut explain = connection.prepare(&explain).expect("explained");
            let lines = explain.query_map([1], |row| row.get(3)).expect("explained");
            lines.collect::<rusqlite::Result<Vec<String>>>().expect("explained").join("\n")
        });
        Ok(plans)
    });
    for plan in plans.expect("read") {
        assert!(plan.contains("COVERING INDEX due_"), "{plan}");
    }
}

#[test]
fn what_is_limited_is_counted_by_an_index() {
    let (_directory, sqlite, _cache) = sqlite(|_| {});
    let plans = sqlite.access.readers.list(|connection| {
        let plans = crate::Counted::ALL.map(|what| {
            let mut explain =
                connection.prepare(&format!("EXPLAIN QUERY PLAN {}", what.sql())).expect("explained");
            let lines =
                explain.query_map(rusqlite::params!["default", 100], |row| row.get(3)).expect("explained");
            (what, lines.collect::<rusqlite::Result<Vec<String>>>().expect("explained").join("\n"))
        });
        Ok(plans)
    });
    for (what, plan) in plans.expect("read") {
        assert!(plan.contains("SEARCH ") && plan.contains("(tenant=?)"), "{plan}");
        let is_connected = what == crate::Counted::Connections;
        assert_eq!(plan.contains("agent_statuses_connected"), is_connected, "{plan}");
    }
}
