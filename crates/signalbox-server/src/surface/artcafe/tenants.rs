//! `POST | GET /api/v1/tenants` and `DELETE /api/v1/tenants/{tenant_id}`: the platform key makes tenants, each with
//! its first key, lists them, and removes them with everything that they have.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_bus::WakeUps;
use signalbox_core::decision::{Scope, Tenant};
use signalbox_core::engine::CreateTenant;
use signalbox_core::limits::bounded;
use signalbox_store::{Page, Removal, Store};
use signalbox_wire::artcafe::{TenantBody, TenantCreated, TenantList, TenantView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::keys;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use crate::auth::Authenticator;
use crate::auth::api_key;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::idempotency::{self, IdempotencyClaim, Kept};
use crate::http::params::{Path, Query};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// How many tenants one `Idempotency-Key` may make, each after the answer for the one before is no longer kept.
const USES_MAX: u32 = 64;
/// What the list is called in its cursors.
const LIST: &str = "tenants";

/// Which page of the tenants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TenantQuery {
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

/// Make a tenant
///
/// Its first key is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused
/// with 409 and names the tenant that was made.
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "create_tenant", tag = "ArtCafe", request_body = TenantBody, responses(
    (status = 201, description = "Made", body = TenantCreated),
    (status = 403, description = "Only the platform key makes tenants", body = Problem),
    (status = 409, description = "Made before, under the same Idempotency-Key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem)))]
pub(super) async fn create(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    only_platform(&context)?;
    let body: TenantBody = input.parse()?;
    let now = clock::now();
    let id = match &context.claim {
        Some(claim) => claimed_id(&store, claim).await?,
        None => TenantId::new(now, clock::seed_128()),
    };
    // Kept among the new tenant's own rows, in the commit that makes it.
    let claim = context.claim.map(|claim| IdempotencyClaim::of(claim.key, claim.request));
    let secret = keys::from_random(&clock::secret_bytes());
    let key = api_key(&secret, "first".to_owned(), Scope::Admin);
    let operation = CreateTenant { tenant: Tenant { id: id.clone(), name: body.name, created_at: now }, key };
    let tenant = id.clone();
    drive
        .answer(&id, claim.as_ref(), &operation, move |()| {
            let detail = format!(
                "The tenant {tenant} was made and its key shown in the first answer; if that is lost, make another with the platform key: POST /v1/keys with 'x-tenant-id: {tenant}'."
            );
            let api_key = secret.expose().to_owned();
            let made = TenantCreated { tenant_id: tenant.clone(), api_key, success: true };
            let shown_before = Problem::conflict("key-shown-before", detail);
            Reply::json(StatusCode::CREATED, &made).shown_once(&shown_before)
        })
        .await
}

/// The id of the tenant that a request under an `Idempotency-Key` makes: the same at each repeat, since a commit is one
/// tenant's, and the caller's rows cannot tell what became true among those of the new one.
async fn claimed_id(store: &Store, claim: &IdempotencyClaim) -> Result<TenantId, Refusal> {
    for use_of_key in 0..USES_MAX {
        let named = keys::hash_hex(&format!("{use_of_key} {}", claim.key));
        let id = TenantId::parse(&format!("tnt_{named:.26}")).map_err(Refusal::failed)?;
        // One whose answer is not kept any more was made by an earlier use of the same key.
        if store.tenant(&id).await?.is_none()
            || matches!(idempotency::kept(store, &id, claim).await?, Kept::Answer(_))
        {
            return Ok(id);
        }
    }
    let detail = format!("This Idempotency-Key has made {USES_MAX} tenants; choose a new one.");
    Err(Problem::conflict("idempotency-key-worn", detail).into())
}

/// List the tenants
///
/// The tenant `default` is always there and not in the list.
#[utoipa::path(get, path = "/api/v1/tenants", operation_id = "list_tenants", tag = "ArtCafe", params(TenantQuery), responses(
    (status = 200, description = "The tenants by id", body = TenantList),
    (status = 403, description = "Only the platform key sees tenants", body = Problem)))]
pub(super) async fn list(
    State(store): State<Store>,
    context: Context<Administers>,
    Query(query): Query<TenantQuery>,
) -> Result<Reply, Refusal> {
    only_platform(&context)?;
    let query = PageQuery { limit: query.limit, cursor: query.next_token };
    let page = query.read(LIST).map_err(|faults| {
        let renamed = |fault: Fault| match fault.pointer.as_str() {
            "/cursor" => Fault::new("/next_token", fault.message),
            _ => fault,
        };
        faults.into_iter().map(renamed).collect::<Vec<Fault>>()
    })?;
    let listed = store.tenants(&Page { limit: page.limit, after: page.after }).await?;
    let view = |tenant: Tenant| TenantView {
        tenant_id: tenant.id,
        name: tenant.name,
        created_at: tenant.created_at,
    };
    Ok(Reply::ok(&TenantList {
        tenants: listed.items.into_iter().map(view).collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}

/// Remove a tenant with everything that it has
///
/// Its keys end at once (on another node after five seconds at most); the answer comes when nothing is left. A large
/// tenant takes a while; where the answer is lost, ask again until it is 404.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant_id}", operation_id = "remove_tenant", tag = "ArtCafe",
    params(("tenant_id" = String, Path, description = "Which tenant")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "Only the platform key removes tenants", body = Problem),
        (status = 404, description = "No such tenant", body = Problem),
        (status = 409, description = "The tenant `default` cannot be removed", body = Problem)))]
pub(super) async fn remove(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<StatusCode, Refusal> {
    only_platform(&context)?;
    let unknown = || {
        let detail = format!("Tenant not found: {}; GET /api/v1/tenants lists them.", bounded(&id));
        Problem::not_found("unknown-tenant", detail)
    };
    let tenant = TenantId::parse(&id).map_err(|_| unknown())?;
    if tenant == TenantId::default_tenant() {
        let detail = "The tenant 'default' cannot be removed; it is where calls without a key belong.";
        return Err(Problem::conflict("default-tenant", detail).into());
    }
    if store.tenant(&tenant).await?.is_none() {
        return Err(unknown().into());
    }
    // On its own, so that it goes on when the client does not wait.
    let removal = tokio::spawn(removal(store, authenticator, drive.wake_ups().clone(), tenant));
    removal.await.unwrap_or_else(|error| Err(Refusal::failed(error)))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn removal(
    store: Store,
    authenticator: Authenticator,
    wake_ups: WakeUps,
    tenant: TenantId,
) -> Result<(), Refusal> {
    // The keys go with the first part; what calls under way add goes with the parts that follow.
    let mut removed = store.remove_tenant(&tenant).await?;
    authenticator.forget_all();
    wake_ups.keys_revoked();
    while removed == Removal::Goes {
        removed = store.remove_tenant(&tenant).await?;
    }
    tracing::info!(%tenant, "a tenant was removed");
    Ok(())
}

fn only_platform(context: &Context<Administers>) -> Result<(), Refusal> {
    if context.caller.is_platform {
        return Ok(());
    }
    let detail = "Only the platform key makes, lists and removes tenants; this call has another.";
    Err(Problem::forbidden(detail).into())
}
