//! `GET /api/v1/ssh-keys/{key_id}`: one key.

use axum::extract::State;
use signalbox_store::Store;
use signalbox_wire::artcafe::SshKeyView;
use signalbox_wire::problem::Problem;

use super::convert::{self, view};
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Show an SSH key
#[utoipa::path(get, path = "/api/v1/ssh-keys/{key_id}", operation_id = "get_ssh_key", tag = "Sign-in",
    params(("key_id" = String, Path, description = "Which key")), responses(
    (status = 200, description = "The key", body = SshKeyView),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 404, description = "No such key", body = Problem)))]
pub(crate) async fn show(
    State(store): State<Store>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let key = store.ssh_key(context.tenant(), &convert::id(&id)?).await?;
    let key = key.ok_or_else(|| convert::unknown(&id))?.value;
    let agents = convert::agents_of(&store, context.tenant(), std::slice::from_ref(&key)).await?;
    Ok(Reply::ok(&view(&key, agents.values().next().map(|agent| &**agent))))
}
