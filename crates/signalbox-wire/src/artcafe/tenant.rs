//! Tenants: what is asked for, and how they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

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
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
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
        }
    }
}
