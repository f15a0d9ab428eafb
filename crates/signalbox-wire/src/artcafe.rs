//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

mod limits;
mod tenant;

pub use limits::{
    LIMIT_MAX, LIMITS, TenantLimits, TenantLimitsPatch, TenantPatch, UsageDayView, UsageMetrics,
};
pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
