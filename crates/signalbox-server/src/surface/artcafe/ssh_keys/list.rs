//! `GET /api/v1/ssh-keys`: the keys, page by page.

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::ssh_key::SshKey;
use signalbox_store::{Page, Store};
use signalbox_wire::artcafe::SshKeyList;
use signalbox_wire::fault::Fault;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use super::convert::{agents_of, view};
use crate::http::context::{Administers, Context};
use crate::http::params::Query;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// What the list is called in its cursors.
const LIST: &str = "ssh_keys";

/// Which page of the keys.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SshKeyQuery {
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

/// List the SSH keys
#[utoipa::path(get, path = "/api/v1/ssh-keys", operation_id = "list_ssh_keys", tag = "Sign-in", params(SshKeyQuery), responses(
    (status = 200, description = "The keys by id, also those that are revoked", body = SshKeyList),
    (status = 403, description = "Not an admin key", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Administers>,
    Query(query): Query<SshKeyQuery>,
) -> Result<Reply, Refusal> {
    let query = PageQuery { limit: query.limit, cursor: query.next_token };
    let page = query.read(LIST).map_err(|faults| {
        let renamed = |fault: Fault| match fault.pointer.as_str() {
            "/cursor" => Fault::new("/next_token", fault.message),
            _ => fault,
        };
        faults.into_iter().map(renamed).collect::<Vec<Fault>>()
    })?;
    let page = Page { limit: page.limit, after: page.after };
    let listed = store.ssh_keys(context.tenant(), None, &page).await?;
    let agents = agents_of(&store, context.tenant(), &listed.items).await?;
    let of = |key: &SshKey| agents.get(key.agent.as_ref()?).map(|agent| &**agent);
    Ok(Reply::ok(&SshKeyList {
        ssh_keys: listed.items.iter().map(|key| view(key, of(key))).collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}
