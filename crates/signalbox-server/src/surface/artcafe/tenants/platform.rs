//! Tenants are the platform key's.

use signalbox_core::limits::bounded;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::context::{Administers, Context};
use crate::http::problem::Refusal;

pub(super) fn only_platform(context: &Context<Administers>) -> Result<(), Refusal> {
    if context.caller.is_platform {
        return Ok(());
    }
    let detail = format!(
        "Only the platform key makes, lists, changes and removes tenants; this call is by {} of the tenant '{}'.",
        context.caller.name,
        context.tenant(),
    );
    Err(Problem::forbidden(detail).into())
}

/// The tenant that a path names; one that is no id is unknown.
pub(super) fn tenant_id(named: &str) -> Result<TenantId, Problem> {
    TenantId::parse(named).map_err(|_| unknown(named))
}

pub(super) fn unknown(named: &str) -> Problem {
    let detail = format!("Tenant not found: {}; GET /api/v1/tenants lists them.", bounded(named));
    Problem::new(ProblemKind::UnknownTenant, detail)
}
