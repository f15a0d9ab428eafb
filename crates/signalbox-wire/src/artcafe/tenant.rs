//! Tenants: what is asked for, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::limits::{TenantLimits, check_limits};
use crate::body::{Body, Faults, Text};
use crate::id::TenantId;
use crate::time::Timestamp;

/// `POST /api/v1/tenants`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantBody {
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// Whom to write to; not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 320)]
    pub admin_email: Option<String>,
    /// Its own limits; what is absent is limited as the server's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TenantLimits>,
}

/// A tenant that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantCreated {
    /// Its id.
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// Its first key, of scope admin; shown only now.
    pub api_key: String,
    /// Always true.
    pub success: bool,
}

/// A tenant as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// When it was made; null of the tenant `default`, which always was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// Its own limits.
    pub limits: TenantLimits,
    /// The limits that hold: its own, else the server's.
    pub effective_limits: TenantLimits,
}

/// A page of the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantList {
    /// The page.
    pub tenants: Vec<TenantView>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_token: Option<String>,
}

impl Body for TenantBody {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("name", Text::NAME);
            fields.optional_string("admin_email", 0..=320);
            if let Some(mut limits) = fields.optional_object("limits") {
                check_limits(&mut limits);
            }
        }
    }
}
