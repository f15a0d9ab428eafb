//! `DELETE /v1/opscore/sessions/{id}`: a session that is over is removed, with its tasks and its history.

use axum::extract::State;
use signalbox_core::{Rejected, engine};
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{SessionId, TenantId};
use signalbox_wire::opscore::{Done, ManyAnswer, ManyBody};
use signalbox_wire::problem::Problem;

use super::many::Many;
use crate::engine::{Drive, DriveError};
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Remove a session that is over, with its history
#[utoipa::path(delete, path = "/v1/opscore/sessions/{id}", tag = "Sessions",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "It is not over", body = Problem)))]
pub(crate) async fn delete_session(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let id = lookup::session(&session)?;
    purge(&store, &drive, context.tenant(), &id).await?;
    Ok(Reply::ok(&Done::new(format!("Session {id} removed with its history."))))
}

/// Removes a session, then its history. Whoever is interrupted between the two asks again and is told that there is no
/// such session, with what was left of it gone.
pub(crate) async fn purge(
    store: &Store,
    drive: &Drive,
    tenant: &TenantId,
    session: &SessionId,
) -> Result<(), DriveError> {
    let purged = drive.run(tenant, &engine::PurgeSession { session: session.clone() }).await;
    match &purged {
        Ok(()) | Err(DriveError::Rejected(Rejected::UnknownSession(_))) => {
            forget(store, tenant, session).await?
        }
        Err(_) => {}
    }
    purged
}

async fn forget(store: &Store, tenant: &TenantId, session: &SessionId) -> Result<(), StoreError> {
    while store.remove_history(tenant, session).await? == signalbox_store::Removal::Goes {}
    Ok(())
}

/// Remove all sessions that match and are over, with their history
///
/// Newest first, at most 1,000 in one request. One that is not over is refused. Where `more` is true, `next_cursor`
/// goes on where this request ended.
#[utoipa::path(post, path = "/v1/opscore/sessions/purge", tag = "Sessions", request_body = ManyBody,
    responses(
        (status = 200, description = "What became of them", body = ManyAnswer),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn purge_sessions(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: ManyBody = input.parse()?;
    let many = Many::read(&body.which)?;
    let done = many.go(&store, context.tenant(), |tenant, session| {
        let (store, drive) = (store.clone(), drive.clone());
        async move { purge(&store, &drive, &tenant, &session).await }
    });
    Ok(Reply::ok(&done.await?))
}
