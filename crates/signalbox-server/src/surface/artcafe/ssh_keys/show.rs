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
    key.map(|key| Reply::ok(&view(&key.value))).ok_or_else(|| convert::unknown(&id))
}
