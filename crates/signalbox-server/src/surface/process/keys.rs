//! `/v1/keys`: the API keys of a tenant. A key is shown once, when it is made.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::decision::{ApiKey, Scope};
use signalbox_core::engine::{CreateKey, RevokeKey};
use signalbox_store::Store;
use signalbox_wire::id::KeyId;
use signalbox_wire::keys;
use signalbox_wire::paging::{Cursor, Page, PageQuery};
use signalbox_wire::problem::Problem;
use signalbox_wire::process::{KeyBody, KeyScope, KeyView};

use crate::auth::Authenticator;
use crate::auth::api_key;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// What the list is called in its cursors.
const LIST: &str = "keys";

/// Make a key
///
/// The key is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused with
/// 409 and names the key that was made: revoke that one where its first answer was lost.
#[utoipa::path(post, path = "/v1/keys", operation_id = "create_key", tag = "Process", request_body = KeyBody, responses(
    (status = 201, description = "Made; the key is shown only now", body = KeyView),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 409, description = "Made before, under the same Idempotency-Key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem)))]
pub(super) async fn create(
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: KeyBody = input.parse()?;
    let secret = keys::from_random(&clock::secret_bytes());
    let key = api_key(&secret, body.name, scope_in(body.scope));
    let operation = CreateKey { key: key.clone() };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            let made = KeyView { key: Some(secret.expose().to_owned()), ..view(&key) };
            let detail = format!(
                "The key {} was made and shown in the first answer; if that is lost, revoke it and make another under a new Idempotency-Key.",
                key.id
            );
            let shown_before = Problem::conflict("key-shown-before", detail);
            Reply::json(StatusCode::CREATED, &made).shown_once(&shown_before)
        })
        .await
}

/// The keys of the tenant
#[utoipa::path(get, path = "/v1/keys", tag = "Process", params(PageQuery), responses((status = 200, description = "Without the keys themselves", body = Page<KeyView>)))]
pub(super) async fn list(
    State(store): State<Store>,
    context: Context<Administers>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let page = query.read(LIST)?;
    let listed =
        store.keys(context.tenant(), &signalbox_store::Page { limit: page.limit, after: page.after }).await?;
    let next_cursor = listed.next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&Page { data: listed.items.iter().map(|key| view(key)).collect(), next_cursor }))
}

/// Revoke a key
///
/// It opens nothing from now on; another node may take it for five seconds more.
#[utoipa::path(delete, path = "/v1/keys/{keyId}", tag = "Process", responses(
    (status = 200, description = "Revoked", body = signalbox_wire::envelope::Done),
    (status = 404, description = "No such key", body = Problem)))]
pub(super) async fn revoke(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let unknown = || {
        let detail = format!("Key not found: {id}; GET /v1/keys lists the keys with their ids.");
        Problem::not_found("unknown-key", detail)
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

fn view(key: &ApiKey) -> KeyView {
    KeyView {
        key_id: key.id.clone(),
        name: key.name.clone(),
        scope: scope_out(key.scope),
        created_at: key.created_at,
        key: None,
    }
}

fn scope_in(scope: KeyScope) -> Scope {
    match scope {
        KeyScope::Read => Scope::Read,
        KeyScope::Agent => Scope::Agent,
        KeyScope::Admin => Scope::Admin,
    }
}

fn scope_out(scope: Scope) -> KeyScope {
    match scope {
        Scope::Read => KeyScope::Read,
        Scope::Agent => KeyScope::Agent,
        Scope::Admin => KeyScope::Admin,
    }
}
