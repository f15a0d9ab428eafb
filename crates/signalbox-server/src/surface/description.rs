//! What a surface says of itself.

use crate::config;
use crate::http::fast_path::FastRoute;
use crate::surface::api_router::ApiRouter;
use crate::surface::state::AppState;

/// A surface, in its own words. `surfaces.rs` lists them all.
pub(crate) struct Description {
    /// What the operator calls it in `--surfaces`; none for what is always served.
    pub(crate) name: Option<config::Surface>,
    /// What its paths begin with; no other surface has a path under one of these.
    pub(crate) prefixes: &'static [&'static str],
    /// Whether it may be called without a key where the operator lets anybody in.
    pub(crate) is_keyless: bool,
    /// Every route.
    pub(crate) routes: fn() -> ApiRouter,
    /// The routes that nearly every request takes, which are answered without the router too.
    pub(crate) fast_routes: fn(&AppState) -> Vec<FastRoute>,
}
