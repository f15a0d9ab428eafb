//! `POST /api/v1/tenants`: a new tenant with its first key.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::decision::{Scope, Tenant};
use signalbox_core::engine::CreateTenant;
use signalbox_store::Store;
use signalbox_wire::artcafe::{TenantBody, TenantCreated};
use signalbox_wire::id::TenantId;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::api_key;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::idempotency::{self, IdempotencyClaim, Kept};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::artcafe::tenants::convert;
use crate::surface::artcafe::tenants::platform::only_platform;

/// How many tenants one `Idempotency-Key` may make, each after the answer for the one before is no longer kept.
const USES_MAX: u32 = 64;

/// Make a tenant
///
/// Its first key is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused
/// with 409 and names the tenant that was made.
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "create_tenant", tag = "Tenants", request_body = TenantBody, responses(
    (status = 201, description = "Made", body = TenantCreated),
    (status = 403, description = "Only the platform key makes tenants", body = Problem),
    (status = 409, description = "Made before, under the same Idempotency-Key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn create(
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
    let key = api_key(&secret, "first".to_owned(), Scope::Admin, None);
    let limits = body.limits.map(convert::limits_in).unwrap_or_default();
    let operation =
        CreateTenant { tenant: Tenant { id: id.clone(), name: body.name, created_at: now, limits }, key };
    let tenant = id.clone();
    drive
        .answer(&id, claim.as_ref(), &operation, move |()| {
            let detail = format!(
                "The tenant {tenant} was made and its key shown in the first answer; if that is lost, make another with the platform key: POST /v1/keys with 'x-tenant-id: {tenant}'."
            );
            let api_key = secret.expose().to_owned();
            let made = TenantCreated { tenant_id: tenant.clone(), api_key, success: true };
            let shown_before = Problem::new(ProblemKind::KeyShownBefore, detail);
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
    Err(Problem::new(ProblemKind::IdempotencyKeyWorn, detail).into())
}
