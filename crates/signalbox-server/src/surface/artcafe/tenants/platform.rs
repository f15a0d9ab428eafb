//! Tenants are the platform key's.

use signalbox_wire::problem::Problem;

use crate::http::context::{Administers, Context};
use crate::http::problem::Refusal;

pub(super) fn only_platform(context: &Context<Administers>) -> Result<(), Refusal> {
    if context.caller.is_platform {
        return Ok(());
    }
    let detail = "Only the platform key makes, lists and removes tenants; this call has another.";
    Err(Problem::forbidden(detail).into())
}
