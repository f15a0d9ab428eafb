//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

mod tenant;

pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
