//! Bodies of the ArtCafe surface (`/api/v1`), in its own words: snake_case, and `next_token` in lists.

pub mod live;
mod tenant;

pub use tenant::{TenantBody, TenantCreated, TenantList, TenantView};
