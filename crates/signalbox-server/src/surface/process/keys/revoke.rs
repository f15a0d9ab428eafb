//! `DELETE /v1/keys/{keyId}`: a key opens nothing any more.

use axum::extract::State;
use signalbox_core::engine::RevokeKey;
use signalbox_store::Store;
use signalbox_wire::id::KeyId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Revoke a key
///
/// It opens nothing from now on; another node may take it for five seconds more.
#[utoipa::path(delete, path = "/v1/keys/{keyId}", tag = "Process", responses(
    (status = 200, description = "Revoked", body = signalbox_wire::envelope::Done),
    (status = 404, description = "No such key", body = Problem)))]
pub(crate) async fn revoke(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let unknown = || {
        let detail = format!("Key not found: {id}; GET /v1/keys lists the keys with their ids.");
        Problem::new(ProblemKind::UnknownKey, detail)
    };
    let key = KeyId::parse(&id).map_err(|_| unknown())?;
    if !is_known(&store, &context, &key).await? {
        return Err(unknown().into());
    }
    drive.run(context.tenant(), &RevokeKey { key }).await?;
    authenticator.forget_all();
    drive.wake_ups().keys_revoked();
    Ok(Reply::ok(&signalbox_wire::envelope::Done::new(format!("Key {id} is revoked."))))
}

async fn is_known(store: &Store, context: &Context<Administers>, key: &KeyId) -> Result<bool, Refusal> {
    let mut page = signalbox_store::Page { limit: 1_000, after: None };
    loop {
        let listed = store.keys(context.tenant(), &page).await?;
        if listed.items.iter().any(|other| other.id == *key) {
            return Ok(true);
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(false);
        }
    }
}
