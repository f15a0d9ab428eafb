//! What a finished session leaves on the disk: by how much the SQLite file grows for each of its tasks, with all of its
//! indexes, once a server that has ended has folded its log into it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};

use super::flow::{Flow, Reports};
use crate::context::Context;
use crate::load::{self, Extent, Plan};
use crate::report::{Figure, Goal, Measured, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, printer};

const GOAL: Goal = Goal::AtMost(2.0);
/// Tasks of a session, and how many sessions are kept.
const KEPT: [(u32, u64); 2] = [(1, 20_000), (3, 10_000)];
const KEPT_QUICK: [(u32, u64); 2] = [(1, 2_000), (3, 1_000)];
/// Sessions in the file that the growth is counted from: what is made once is in it too.
const BEFORE: u64 = 200;
const OPEN: usize = 64;
const BYTES: &str = "bytes per task";
const FREE: &str = "of it in free pages";

/// A SQLite file as a server has left it.
struct Kept {
    bytes: i64,
    /// Bytes of pages that hold nothing, which later rows take.
    free: i64,
    /// Rows by table.
    rows: Vec<(String, i64)>,
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for (tasks, count) in if context.quick { KEPT_QUICK } else { KEPT } {
        for (reports, how) in [(Reports::ByCall, "agents call back"), (Reports::ByAnswer, "agents answer")] {
            let few = kept(context, tasks, BEFORE, reports, &mut measured).await?;
            let many = kept(context, tasks, BEFORE + count, reports, &mut measured).await?;
            let each = |few: i64, many: i64| (many - few) as f64 / (count as f64 * f64::from(tasks));
            let group = format!("{tasks} {}, {how}", if tasks == 1 { "task" } else { "tasks" });
            let (bytes, free) = (each(few.bytes, many.bytes), each(few.free, many.free));
            let side = format!("{count} finished sessions");
            let figure = Figure::new(&group, &side, 1, &[(BYTES, bytes), (FREE, free)]);
            printer::progress(&figure_line(&figure));
            measured.figures.push(figure);
            let name = format!("disk for each task of a finished session, {group}");
            measured.verdicts.push(Verdict::new(&name, "KB", vec![bytes / 1e3], Some(GOAL), true));
            let before: HashMap<_, _> = few.rows.into_iter().collect();
            let rows = many.rows.into_iter().map(|(table, rows)| {
                let before = before.get(&table).copied().unwrap_or_default();
                (table, each(before, rows))
            });
            let rows: Vec<String> = rows
                .filter(|(_, rows)| *rows > 0.001)
                .map(|(table, rows)| format!("{table} {rows:.2}"))
                .collect();
            measured.note(&format!("Rows for each task, {group}: {}.", rows.join(", ")));
        }
    }
    measured.note("KB are 10³ bytes. The file is measured after its server has ended, so nothing is left in the log beside it.");
    measured.note(&format!(
        "The growth is that from {BEFORE} finished sessions on; one round: it is not a matter of time."
    ));
    Ok(measured)
}

/// The file of a server that has run so many sessions and has ended.
async fn kept(
    context: &Context,
    tasks: u32,
    count: u64,
    reports: Reports,
    measured: &mut Measured,
) -> anyhow::Result<Kept> {
    let folder = context.temporary("disk")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let flow = Flow::new(context, signalbox, folder.path(), &[tasks], reports).await?;
    let plan = Plan { extent: Extent::Count(count), ..flow.plan(context, (tasks, OPEN), 0)? };
    agents::complete("the sessions", count, load::run(&plan).await?)?;
    flow.all_completed().await?;
    flow.stop().await?;
    sqlite_facts(folder.path()).iter().for_each(|fact| measured.fact(&fact.name, fact.value.clone()));
    look(&folder.path().join("signalbox/signalbox.db"))
}

fn look(file: &Path) -> anyhow::Result<Kept> {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    let log_bytes = std::fs::metadata(&log).map_or(0, |log| log.len());
    ensure!(log_bytes == 0, "the server has left {log_bytes} bytes in {}", log.display());
    let kept = std::fs::metadata(file).with_context(|| format!("no store at {}", file.display()))?;
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let free = pragma("freelist_count")? * pragma("page_size")?;
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for table in tables {
        let count =
            connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
        rows.push((table, count));
    }
    Ok(Kept { bytes: i64::try_from(kept.len())?, free, rows })
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn a_file_is_looked_at_with_its_free_pages_and_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE a (text); CREATE TABLE b (text);
                 INSERT INTO a VALUES (randomblob(100000)); INSERT INTO b VALUES (1), (2); DELETE FROM a;",
            )
            .unwrap();
        drop(connection);
        let kept = look(&file).unwrap();
        assert!(kept.free > 90_000 && kept.bytes > kept.free, "{} of {}", kept.free, kept.bytes);
        assert_eq!(kept.rows, [("a".to_owned(), 0), ("b".to_owned(), 2)]);
    }

    #[test]
    fn a_log_that_was_left_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        std::fs::write(folder.path().join("a.db-wal"), "left").unwrap();
        assert!(look(&folder.path().join("a.db")).is_err());
    }
}
