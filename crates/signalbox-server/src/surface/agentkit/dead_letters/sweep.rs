//! `POST /v1/dead-letters/redrive` and `DELETE /v1/dead-letters`: all that the filters match, page by page.
//!
//! What became a dead letter after the first request began is left alone: a redriven message that fails at once
//! would otherwise come round again without end.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::delivery::Message;
use signalbox_core::engine::{Discard, Redrive};
use signalbox_store::{DeadLetterFilter, Page, Store};
use signalbox_wire::agentkit::{DiscardManyAnswer, RedriveManyAnswer, Success};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;
use tokio::task::JoinSet;

use super::each::DeadLetterQuery;
use super::of_task;
use crate::clock;
use crate::engine::{Drive, DriveError, Driven};
use crate::http::context::{Administers, Context};
use crate::http::params::{Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// What a sweep is called in its cursors.
const SWEEP: &str = "dead-letter-sweep";
/// Dead letters that one request settles, at most; the answer says when there are more.
const SWEPT_MAX: usize = 1_000;
/// Dead letters that are settled at once, so that they share commits.
const AT_ONCE: usize = 64;

/// How far a sweep came.
struct Swept {
    count: u64,
    /// Those that the operation is not for: they are tasks'.
    passed_over: u64,
    next_cursor: Option<String>,
}

/// Send all matching dead letters on their way again
///
/// The longest dead first, at most 1,000 in one request. Where `more` is true, `next_cursor` goes on where this request
/// ended; it leaves alone what died since the first of them. Those of tasks are passed over: their sessions are what can be
/// retried or run again.
#[utoipa::path(post, path = "/v1/dead-letters/redrive", tag = "AgentKit", params(DeadLetterQuery, SweepQuery),
    responses(
        (status = 202, description = "They are scheduled", body = Success<RedriveManyAnswer>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn redrive_dead_letters(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Query(query): Query<DeadLetterQuery>,
    Query(part): Query<SweepQuery>,
) -> Result<Reply, Refusal> {
    let (filter, part) = read(&query, &part)?;
    let swept = sweep((&store, &drive), context.tenant(), &filter, part, |letter| {
        of_task::may_be_redriven(letter).then(|| Redrive { message: letter.id.clone() })
    })
    .await?;
    let message = swept.told("scheduled again");
    let Swept { count, passed_over, next_cursor } = swept;
    let data = RedriveManyAnswer { redriven: count, passed_over, more: next_cursor.is_some(), next_cursor };
    Ok(Reply::json(StatusCode::ACCEPTED, &Success::new(message, data)))
}

/// Drop all matching dead letters
///
/// At least one filter must be given. The longest dead first, at most 1,000 in one request. Where `more` is true,
/// `next_cursor` goes on where this request ended; it leaves alone what died since the first of them.
#[utoipa::path(delete, path = "/v1/dead-letters", tag = "AgentKit", params(DeadLetterQuery, SweepQuery),
    responses(
        (status = 200, description = "They are gone", body = Success<DiscardManyAnswer>),
        (status = 400, description = "No filter was given", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn discard_dead_letters(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Query(query): Query<DeadLetterQuery>,
    Query(part): Query<SweepQuery>,
) -> Result<Reply, Refusal> {
    let (filter, part) = read(&query, &part)?;
    if filter.agent.is_none() && filter.kind.is_none() && filter.since.is_none() {
        // Everything is dropped only where that was meant.
        let detail = "No filter was given; name the dead letters to drop by agent, kind or since \
            (since=1970-01-01T00:00:00Z means all).";
        return Err(Problem::bad_request("no-filter", detail).into());
    }
    let swept = sweep((&store, &drive), context.tenant(), &filter, part, |letter| {
        Some(Discard { message: letter.id.clone() })
    })
    .await?;
    let message = swept.told("dropped");
    let Swept { count, next_cursor, .. } = swept;
    let data = DiscardManyAnswer { discarded: count, more: next_cursor.is_some(), next_cursor };
    Ok(Reply::ok(&Success::new(message, data)))
}

impl Swept {
    fn told(&self, done: &str) -> String {
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
struct Part {
    limit: usize,
    /// When its first request began: what died later is left alone, also by those that follow.
    began: Timestamp,
    after: Option<String>,
}

fn read(query: &DeadLetterQuery, part: &SweepQuery) -> Result<(DeadLetterFilter, Part), Refusal> {
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

async fn sweep<O>(
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
