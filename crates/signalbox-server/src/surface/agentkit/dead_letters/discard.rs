//! `DELETE /v1/dead-letters/{messageId}` and `DELETE /v1/dead-letters`: dropped, one or all that the filters match.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_core::engine::Discard;
use signalbox_store::Store;
use signalbox_wire::agentkit::{DiscardManyAnswer, Success};
use signalbox_wire::envelope::Done;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::filter::DeadLetterQuery;
use super::sweep::{self, SweepQuery, Swept};
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;

/// Drop a dead letter
#[utoipa::path(delete, path = "/v1/dead-letters/{messageId}", tag = "Messages",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 200, description = "It is gone", body = Done),
        (status = 404, description = "No such dead letter", body = Problem)))]
pub(crate) async fn discard_dead_letter(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let operation = engine::Discard { message: convert::dead_letter_id(&id)? };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            Reply::ok(&Done::new(format!("Dead letter {id} was dropped.")))
        })
        .await
}

/// Drop all matching dead letters
///
/// At least one filter must be given. The longest dead first, at most 1,000 in one request. Where `more` is true,
/// `next_cursor` goes on where this request ended; it leaves alone what died since the first of them.
#[utoipa::path(delete, path = "/v1/dead-letters", tag = "Messages", params(DeadLetterQuery, SweepQuery),
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
    let (filter, part) = sweep::read(&query, &part)?;
    if filter.agent.is_none() && filter.kind.is_none() && filter.since.is_none() {
        // Everything is dropped only where that was meant.
        let detail = "No filter was given; name the dead letters to drop by agent, kind or since \
            (since=1970-01-01T00:00:00Z means all).";
        return Err(Problem::new(ProblemKind::NoFilter, detail).into());
    }
    let swept = sweep::sweep((&store, &drive), context.tenant(), &filter, part, |letter| {
        Some(Discard { message: letter.id.clone() })
    })
    .await?;
    let message = swept.told("dropped");
    let Swept { count, next_cursor, .. } = swept;
    let data = DiscardManyAnswer { discarded: count, more: next_cursor.is_some(), next_cursor };
    Ok(Reply::ok(&Success::new(message, data)))
}
