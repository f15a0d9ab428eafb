//! `POST /v1/dead-letters/redrive` and `DELETE /v1/dead-letters`: all that the filters match, page by page.
//!
//! What became a dead letter after the request began is left alone: a redriven message that fails at once
//! would otherwise come round again without end.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use signalbox_core::Rejected;
use signalbox_core::engine::{Discard, Redrive};
use signalbox_store::{DeadLetterFilter, Page, Store};
use signalbox_wire::agentkit::{RedriveAnswer, Success};
use signalbox_wire::id::{MessageId, TenantId};
use signalbox_wire::problem::Problem;
use tokio::task::JoinSet;

use super::each::DeadLetterQuery;
use crate::clock;
use crate::engine::{Drive, DriveError, Driven};
use crate::http::context::{Administers, Context};
use crate::http::params::{Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Dead letters that one request settles, at most; the answer says when there are more.
const SWEPT_MAX: u64 = 10_000;
/// Dead letters that are settled at once, so that they share commits.
const AT_ONCE: usize = 64;

/// What dropping many answers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DiscardAnswer {
    /// How many dead letters were dropped.
    discarded: u64,
}

/// How far a sweep came.
struct Swept {
    count: u64,
    has_more: bool,
}

/// Send all matching dead letters on their way again
///
/// At most 10,000 in one request; the message says when there are more.
#[utoipa::path(post, path = "/v1/dead-letters/redrive", tag = "AgentKit", params(DeadLetterQuery),
    responses(
        (status = 202, description = "They are scheduled", body = Success<RedriveAnswer>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn redrive_dead_letters(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Query(query): Query<DeadLetterQuery>,
) -> Result<Reply, Refusal> {
    let filter = filter(&query)?;
    let swept = sweep(&store, &drive, context.tenant(), &filter, |message| Redrive { message }).await?;
    let data = RedriveAnswer { redriven: swept.count };
    Ok(Reply::json(StatusCode::ACCEPTED, &Success::new(swept.told("scheduled again"), data)))
}

/// Drop all matching dead letters
///
/// At least one filter must be given. At most 10,000 in one request; the message says when there are more.
#[utoipa::path(delete, path = "/v1/dead-letters", tag = "AgentKit", params(DeadLetterQuery),
    responses(
        (status = 200, description = "They are gone", body = Success<DiscardAnswer>),
        (status = 400, description = "No filter was given", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn discard_dead_letters(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Query(query): Query<DeadLetterQuery>,
) -> Result<Reply, Refusal> {
    let filter = filter(&query)?;
    if filter.agent.is_none() && filter.kind.is_none() && filter.since.is_none() {
        // A filter with a typing error is an unknown parameter, and must not come to mean everything.
        let detail = "No filter was given; name the dead letters to drop by agent, kind or since \
            (since=1970-01-01T00:00:00Z means all).";
        return Err(Problem::bad_request("no-filter", detail).into());
    }
    let swept = sweep(&store, &drive, context.tenant(), &filter, |message| Discard { message }).await?;
    let data = DiscardAnswer { discarded: swept.count };
    Ok(Reply::ok(&Success::new(swept.told("dropped"), data)))
}

impl Swept {
    fn told(&self, done: &str) -> String {
        let more = if self.has_more { " There are more; ask again." } else { "" };
        format!("{} dead letters were {done}.{more}", self.count)
    }
}

fn filter(query: &DeadLetterQuery) -> Result<DeadLetterFilter, Refusal> {
    let mut reader = Reader::default();
    let filter = query.read(&mut reader);
    reader.finish().map(|()| filter)
}

async fn sweep<O>(
    store: &Store,
    drive: &Drive,
    tenant: &TenantId,
    filter: &DeadLetterFilter,
    operation: fn(MessageId) -> O,
) -> Result<Swept, Refusal>
where
    O: Driven<Output = ()>,
{
    let began = clock::now();
    let mut page = Page { limit: AT_ONCE, after: None };
    let mut count = 0;
    while count < SWEPT_MAX {
        let listed = store.dead_letters(tenant, filter, &page).await?;
        let old = listed.items.iter().filter(|message| message.settled_at.is_none_or(|at| at <= began));
        let old: Vec<MessageId> = old.map(|message| message.id.clone()).collect();
        let is_last = listed.next.is_none() || old.len() < listed.items.len();
        count += settle(drive, tenant, old.into_iter().map(operation)).await?;
        if is_last {
            return Ok(Swept { count, has_more: false });
        }
        page.after = listed.next;
    }
    Ok(Swept { count, has_more: true })
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
        let told = |has_more| Swept { count: 3, has_more }.told("dropped");
        assert_eq!(told(false), "3 dead letters were dropped.");
        assert!(told(true).contains("ask again"));
    }
}
