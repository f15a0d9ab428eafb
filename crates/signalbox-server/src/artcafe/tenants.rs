//! `POST /api/v1/tenants`: a tenant and its first key, made with the platform key.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signalbox_core::decision::{ApiKey, Scope, Tenant};
use signalbox_core::engine::CreateTenant;
use signalbox_wire::body::{Body, Faults};
use signalbox_wire::id::{KeyId, TenantId};
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;

use crate::answer::Answer;
use crate::app::App;
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
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "create_tenant", tag = "ArtCafe", request_body = TenantBody, responses(
    (status = 201, description = "Made", body = TenantMade),
    (status = 403, description = "Only the platform key makes tenants", body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    context: Context<Administers>,
    input: Input,
) -> Result<Answer, Refusal> {
    if !context.caller.is_platform {
        return Err(Problem::forbidden("Only the platform key makes tenants.").into());
    }
    let body: TenantBody = input.parse()?;
    let now = clock::now();
    let random = || (u128::from(clock::seed()) << 64) | u128::from(clock::seed());
    let id = TenantId::new(now, random());
    let secret = keys::from_random(&clock::secret_bytes());
    let key = ApiKey {
        id: KeyId::new(now, random()),
        hash: keys::hash_hex(secret.expose()),
        name: "first".to_owned(),
        scope: Scope::Admin,
        created_at: now,
    };
    let tenant = Tenant { id: id.clone(), name: body.name, created_at: now };
    app.drive.run(&id, &CreateTenant { tenant, key }).await?;
    let made = TenantMade { tenant_id: id, api_key: secret.expose().to_owned(), success: true };
    Ok(Answer::json(StatusCode::CREATED, &made))
}
