//! `GET /v1/dead-letters`, and of one of them `GET`, `DELETE` and `POST …/redrive`.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_core::delivery::MessageStatus;
use signalbox_core::{Rejected, engine};
use signalbox_store::{DeadLetterFilter, Page, Store};
use signalbox_wire::agentkit::{DeadLetterView, RedriveAnswer, Success, SuccessList};
use signalbox_wire::envelope::Done;
use signalbox_wire::id::AgentId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use super::of_task;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Reads};
use crate::http::params::{self, Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::agentkit::convert;
use crate::surface::agentkit::pages;

const LIST: &str = "dead-letters";

/// Which dead letters are meant.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterQuery {
    /// Those for this agent.
    agent: Option<String>,
    /// Those of this kind: `message`, `task` or `webhook`.
    kind: Option<String>,
    /// Those given up at or after this moment.
    since: Option<String>,
}

impl DeadLetterQuery {
    /// Reads the filters.
    pub(crate) fn read(&self, reader: &mut Reader) -> DeadLetterFilter {
        DeadLetterFilter {
            agent: reader.read("agent", self.agent.as_deref(), params::id(AgentId::parse)),
            kind: reader.read("kind", self.kind.as_deref(), convert::kind),
            since: reader.read("since", self.since.as_deref(), params::timestamp),
        }
    }
}

/// List dead letters, the longest dead first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "AgentKit", params(DeadLetterQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the dead letters", body = SuccessList<DeadLetterView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_dead_letters(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<DeadLetterQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let filter = query.read(&mut reader);
    let page = reader.page(LIST, &page);
    reader.finish()?;
    let (store, tenant, filter) = (&store, context.tenant(), &filter);
    let list = |page: Page| async move { store.dead_letters(tenant, filter, &page).await };
    let listed = pages::gather(page, list, |message| convert::dead_letter(message)).await?;
    let next_cursor = listed.next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&SuccessList::new("Dead letters retrieved successfully.", listed.items, next_cursor)))
}

/// Show a dead letter
#[utoipa::path(get, path = "/v1/dead-letters/{messageId}", tag = "AgentKit",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 200, description = "The dead letter", body = Success<DeadLetterView>),
        (status = 404, description = "No such dead letter", body = Problem)))]
pub(crate) async fn get_dead_letter(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let id = convert::dead_letter_id(&id)?;
    let message = store.message(context.tenant(), &id).await?.map(|read| read.value);
    let message = message.filter(|message| message.status == MessageStatus::Dead);
    let message = message.ok_or_else(|| Rejected::UnknownDeadLetter(id.to_string()))?;
    let view = convert::dead_letter(&message).ok_or_else(Problem::internal)?;
    Ok(Reply::ok(&Success::new("Dead letter retrieved successfully.", view)))
}

/// Send a dead letter on its way again
///
/// It keeps its id and gets a new set of attempts.
#[utoipa::path(post, path = "/v1/dead-letters/{messageId}/redrive", tag = "AgentKit",
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

/// Drop a dead letter
#[utoipa::path(delete, path = "/v1/dead-letters/{messageId}", tag = "AgentKit",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_of_the_filters_are_told() {
        let query = DeadLetterQuery {
            agent: Some(String::new()),
            kind: Some("letter".to_owned()),
            since: Some("yesterday".to_owned()),
        };
        let mut reader = Reader::default();
        query.read(&mut reader);
        let refusal = reader.finish().expect_err("faults");
        let pointers: Vec<&str> = refusal.0.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/agent", "/kind", "/since"]);
    }
}
