//! `GET /v1/messages/{messageId}`: where a message is.

use axum::extract::State;
use signalbox_core::Rejected;
use signalbox_core::delivery::Message;
use signalbox_core::limits::bounded;
use signalbox_core::task_message::Course;
use signalbox_store::{EventFilter, Page, Store, StoreError};
use signalbox_wire::agentkit::{MessageView, Success};
use signalbox_wire::id::{MessageId, TenantId};
use signalbox_wire::problem::Problem;

use super::convert;
use crate::engine::Drive;
use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Show where a message is
#[utoipa::path(get, path = "/v1/messages/{messageId}", tag = "Messages",
    params(("messageId" = String, Path, description = "Which message")),
    responses(
        (status = 200, description = "The message", body = Success<MessageView>),
        (status = 404, description = "No such message, or it was delivered so long ago that it is forgotten", body = Problem)))]
pub(super) async fn get_message(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let unknown = || Rejected::UnknownMessage(bounded(&id));
    let known = MessageId::parse(&id).map_err(|_| unknown())?;
    let view = match store.message(context.tenant(), &known).await? {
        Some(message) => convert::message(&message.value),
        None => {
            convert::message(&of_task(&store, &drive, context.tenant(), &known).await?.ok_or_else(unknown)?)
        }
    };
    Ok(Reply::ok(&Success::new("Message retrieved successfully.", view)))
}

/// Entries of a session's history that are read at once.
const EVENTS_AT_ONCE: usize = 500;

/// The message that carried an attempt of a task: no row is kept of it, but the history of its session tells of it.
async fn of_task(
    store: &Store,
    drive: &Drive,
    tenant: &TenantId,
    id: &MessageId,
) -> Result<Option<Message>, StoreError> {
    let Some((task, attempt)) = id.task_attempt() else { return Ok(None) };
    let Some(session) = store.session_of_task(tenant, &task).await? else { return Ok(None) };
    let Some(read) = store.session(tenant, &session).await? else { return Ok(None) };
    let Some(task) = read.value.task(&task) else { return Ok(None) };
    let mut course = Course::new(&read.value, task, attempt, drive.policy());
    let filter = EventFilter { session: Some(session), after_in_session: Some(0), ..EventFilter::default() };
    let mut after = None;
    loop {
        let page = Page { limit: EVENTS_AT_ONCE, after };
        let listed = store.events(tenant, &filter, &page).await?;
        for event in &listed.items {
            if let Ok(happened) = serde_json::from_str(&event.data) {
                course.follow(event.at, &happened);
            }
        }
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    if task.attempt == attempt
        && let Some(agent) = &task.agent
        && let Some(status) = store.status(tenant, agent).await?
    {
        let held = status.value.held.iter().find(|held| held.task == task.id && held.attempt == attempt);
        if let Some(taken_at) = held.and_then(|held| held.taken_at) {
            course.taken(taken_at);
        }
    }
    Ok(course.message())
}
