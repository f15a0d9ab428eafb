//! `POST /api/v1/tenants`: a tenant and its first key, made with the platform key.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signalbox_core::decision::{Scope, Tenant};
use signalbox_core::engine::CreateTenant;
use signalbox_wire::body::{Body, Faults};
use signalbox_wire::id::TenantId;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;

use crate::answer::Answer;
use crate::app::App;
use crate::auth::api_key;
use crate::clock;
use crate::context::{Administers, Context, Input};
use crate::problem::Refusal;

/// What a tenant is asked to be.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(super) struct TenantBody {
    /// Its name.
    name: String,
    /// Whom to write to; not kept.
    #[serde(default)]
    #[expect(dead_code, reason = "part of the surface's body; nothing is sent to it")]
    admin_email: Option<String>,
}

/// A tenant that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TenantMade {
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// Its first key, of scope admin; shown only now.
    api_key: String,
    success: bool,
}

impl Body for TenantBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("name", 1..=256);
            fields.optional_string("admin_email", 0..=320);
        }
    }
}

/// Make a tenant
///
/// Its first key is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused
/// with 409 and names the tenant that was made.
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "create_tenant", tag = "ArtCafe", request_body = TenantBody, responses(
    (status = 201, description = "Made", body = TenantMade),
    (status = 403, description = "Only the platform key makes tenants", body = Problem),
    (status = 409, description = "Made before, under the same Idempotency-Key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    context: Context<Administers>,
    input: Input,
) -> Result<Answer, Refusal> {
    if !context.caller.is_platform {
        return Err(Problem::forbidden("Only the platform key makes tenants; this call has another.").into());
    }
    let body: TenantBody = input.parse()?;
    let now = clock::now();
    let id = TenantId::new(now, clock::seed_128());
    let secret = keys::from_random(&clock::secret_bytes());
    let key = api_key(&secret, "first".to_owned(), Scope::Admin);
    let tenant = Tenant { id: id.clone(), name: body.name, created_at: now };
    app.drive.run(&id, &CreateTenant { tenant, key }).await?;
    let detail = format!(
        "The tenant {id} was made and its key shown in the first answer; if that is lost, make another with the platform key: POST /v1/keys with 'x-tenant-id: {id}'."
    );
    let made = TenantMade { tenant_id: id, api_key: secret.expose().to_owned(), success: true };
    let shown_before = Problem::conflict("key-shown-before", detail);
    Ok(Answer::json(StatusCode::CREATED, &made).shown_once(&shown_before))
}
