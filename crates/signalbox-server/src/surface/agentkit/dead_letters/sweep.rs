//! All dead letters that the filters match, page by page.
//!
//! What became a dead letter after the first request began is left alone: a redriven message that fails at once
//! would otherwise come round again without end.

use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::delivery::Message;
use signalbox_store::{DeadLetterFilter, Page, Store};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;
use tokio::task::JoinSet;

use super::filter::DeadLetterQuery;
use crate::clock;
use crate::engine::{Drive, DriveError, Driven};
use crate::http::params::Reader;
use crate::http::problem::Refusal;

/// What a sweep is called in its cursors.
const SWEEP: &str = "dead-letter-sweep";

/// Dead letters that one request settles, at most; the answer says when there are more.
const SWEPT_MAX: usize = 1_000;

/// Dead letters that are settled at once, so that they share commits.
const AT_ONCE: usize = 64;

/// How far a sweep came.
pub(super) struct Swept {
    pub(super) count: u64,
    /// Those that the operation is not for: they are tasks'.
    pub(super) passed_over: u64,
    pub(super) next_cursor: Option<String>,
}

impl Swept {
    /// What became of them, in words.
    pub(super) fn told(&self, done: &str) -> String {
        let more =
            if self.next_cursor.is_some() { " There are more; ask again with next_cursor." } else { "" };
        let passed_over = match self.passed_over {
            0 => String::new(),
            count => format!(
                " {count} of tasks were passed over: retry their sessions, or run them again \
                 (POST /v1/opscore/sessions/{{id}}/retry or …/rerun)."
            ),
        };
        format!("{} dead letters were {done}.{passed_over}{more}", self.count)
    }
}

/// Which part of those that match a request is about.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SweepQuery {
    /// How many at most, 1 to 1000; 1000 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_cursor` of the request before.
    cursor: Option<String>,
}

/// A part of a sweep.
pub(super) struct Part {
    limit: usize,
    /// When its first request began: what died later is left alone, also by those that follow.
    began: Timestamp,
    after: Option<String>,
}

pub(super) fn read(query: &DeadLetterQuery, part: &SweepQuery) -> Result<(DeadLetterFilter, Part), Refusal> {
    let mut reader = Reader::default();
    let filter = query.read(&mut reader);
    let limit = part.limit.clone().unwrap_or_else(|| SWEPT_MAX.to_string());
    let page = reader.page(SWEEP, &PageQuery { limit: Some(limit), cursor: part.cursor.clone() });
    reader.finish()?;
    let (began, after) = match &page.after {
        None => (clock::now(), None),
        Some(position) => position.split_once(' ').and_then(started).ok_or_else(|| {
            vec![Fault::new("/cursor", "must be the next_cursor of an answer of this request")]
        })?,
    };
    Ok((filter, Part { limit: page.limit, began, after }))
}

fn started((began, after): (&str, &str)) -> Option<(Timestamp, Option<String>)> {
    Some((Timestamp::from_micros(began.parse().ok()?), Some(after.to_owned())))
}

pub(super) async fn sweep<O>(
    (store, drive): (&Store, &Drive),
    tenant: &TenantId,
    filter: &DeadLetterFilter,
    part: Part,
    operation: fn(&Message) -> Option<O>,
) -> Result<Swept, Refusal>
where
    O: Driven<Output = ()>,
{
    let Part { limit, began, mut after } = part;
    let (mut count, mut passed_over, mut left) = (0, 0, limit);
    while left > 0 {
        let page = Page { limit: left.min(AT_ONCE), after };
        let listed = store.dead_letters(tenant, filter, &page).await?;
        let old = listed.items.iter().filter(|message| message.settled_at.is_none_or(|at| at <= began));
        let old: Vec<Option<O>> = old.map(|message| operation(message)).collect();
        let is_last = listed.next.is_none() || old.len() < listed.items.len();
        left -= old.len().min(left);
        passed_over += old.iter().filter(|operation| operation.is_none()).count() as u64;
        count += settle(drive, tenant, old.into_iter().flatten()).await?;
        if is_last {
            return Ok(Swept { count, passed_over, next_cursor: None });
        }
        after = listed.next;
    }
    let position = after.map(|after| format!("{} {after}", began.as_micros()));
    let next_cursor = position.map(|position| Cursor::encode(SWEEP, &position));
    Ok(Swept { count, passed_over, next_cursor })
}

/// Runs the operations side by side; answers how many of them found their dead letter still there.
async fn settle<O>(
    drive: &Drive,
    tenant: &TenantId,
    operations: impl Iterator<Item = O>,
) -> Result<u64, Refusal>
where
    O: Driven<Output = ()>,
{
    let mut running = JoinSet::new();
    for operation in operations {
        let (drive, tenant) = (drive.clone(), tenant.clone());
        running.spawn(async move { drive.run(&tenant, &operation).await });
    }
    let mut count = 0;
    let mut failed = None;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(())) => count += 1,
            Ok(Err(DriveError::Rejected(Rejected::UnknownDeadLetter(_)))) => {}
            Ok(Err(error)) => failed = Some(error.into()),
            Err(_) => failed = Some(Problem::internal().into()),
        }
    }
    failed.map_or(Ok(count), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_stopped_early_says_so() {
        let told = |passed_over, next: Option<&str>| {
            Swept { count: 3, passed_over, next_cursor: next.map(str::to_owned) }.told("dropped")
        };
        assert_eq!(told(0, None), "3 dead letters were dropped.");
        assert!(told(0, Some("c")).contains("ask again"));
        assert!(told(2, None).contains("2 of tasks were passed over"));
    }
}
