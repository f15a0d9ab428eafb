//! `POST /v1/dead-letters/{messageId}/redrive` and `POST /v1/dead-letters/redrive`: on their way again, one or all that
//! the filters match.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine;
use signalbox_core::engine::Redrive;
use signalbox_store::Store;
use signalbox_wire::agentkit::{RedriveAnswer, RedriveManyAnswer, Success};
use signalbox_wire::problem::Problem;

use super::filter::DeadLetterQuery;
use super::of_task;
use super::sweep::{self, SweepQuery, Swept};
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;

/// Send a dead letter on its way again
///
/// It keeps its id and gets a new set of attempts.
#[utoipa::path(post, path = "/v1/dead-letters/{messageId}/redrive", tag = "Messages",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 202, description = "It is scheduled", body = Success<RedriveAnswer>),
        (status = 404, description = "No such dead letter", body = Problem),
        (status = 409, description = "It is a task's: its session is what can be retried or run again", body = Problem)))]
pub(crate) async fn redrive_dead_letter(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let operation = engine::Redrive { message: convert::dead_letter_id(&id)? };
    of_task::refuse(&store, context.tenant(), &operation.message).await?;
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            let message = format!("Dead letter {id} is scheduled again.");
            Reply::json(StatusCode::ACCEPTED, &Success::new(message, RedriveAnswer { redriven: 1 }))
        })
        .await
}

/// Send all matching dead letters on their way again
///
/// The longest dead first, at most 1,000 in one request. Where `more` is true, `next_cursor` goes on where this request
/// ended; it leaves alone what died since the first of them. Those of tasks are passed over: their sessions are what can be
/// retried or run again.
#[utoipa::path(post, path = "/v1/dead-letters/redrive", tag = "Messages", params(DeadLetterQuery, SweepQuery),
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
    let (filter, part) = sweep::read(&query, &part)?;
    let swept = sweep::sweep((&store, &drive), context.tenant(), &filter, part, |letter| {
        letter.may_be_redriven().then(|| Redrive { message: letter.id.clone() })
    })
    .await?;
    let message = swept.told("scheduled again");
    let Swept { count, passed_over, next_cursor } = swept;
    let data = RedriveManyAnswer { redriven: count, passed_over, more: next_cursor.is_some(), next_cursor };
    Ok(Reply::json(StatusCode::ACCEPTED, &Success::new(message, data)))
}
