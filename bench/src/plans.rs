//! How SQLite goes about the queries that have to stay fast among a million sessions, as it says itself.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What is asked, and how the store asks it.
const QUERIES: [(&str, &str); 7] = [
    (
        "newest sessions",
        "SELECT body FROM sessions WHERE tenant = 'default' ORDER BY created_at DESC, id DESC LIMIT 101",
    ),
    (
        "sessions with a status",
        "SELECT body FROM sessions WHERE tenant = 'default' AND status = 'running' ORDER BY created_at DESC, id DESC LIMIT 101",
    ),
    (
        "sessions of a workflow",
        "SELECT body FROM sessions WHERE tenant = 'default' AND workflow = 'w' ORDER BY created_at DESC, id DESC LIMIT 101",
    ),
    (
        "a session's tasks",
        "SELECT body FROM tasks WHERE tenant = 'default' AND session = 's' ORDER BY position",
    ),
    (
        "a session's history",
        "SELECT entry.data FROM events AS first CROSS JOIN events AS entry
         WHERE first.session = 's' AND first.run IS NOT NULL
         AND entry.id BETWEEN first.id AND first.id + first.run - 1 AND entry.session = 's'
         ORDER BY first.id, entry.id LIMIT 101",
    ),
    (
        "waiting tasks",
        "SELECT id FROM tasks WHERE tenant = 'default' AND wait_route = 'r' ORDER BY queued_at, id LIMIT 8",
    ),
    (
        "due timers",
        "SELECT body FROM due WHERE kind = 'timer' AND leased_by IS NULL AND visible_at <= 1 ORDER BY visible_at LIMIT 256",
    ),
];

/// One line for each query.
pub(crate) fn of_sessions(file: &Path) -> anyhow::Result<Vec<String>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut plans = Vec::new();
    for (what, query) in QUERIES {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
        let steps: Vec<String> =
            statement.query_map([], |row| row.get("detail"))?.collect::<Result<_, _>>()?;
        plans.push(format!("Query plan, {what}: {}", steps.join("; ")));
    }
    Ok(plans)
}
