//! Routes whose handlers describe themselves. The router is made at the start; the description, which is large, only when
//! somebody asks for it.

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa::openapi::{HttpMethod, OpenApi};
#[cfg(test)]
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::PathItemExt as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::surface::state::AppState;

/// The routes of some part of the API.
#[derive(Default)]
pub(crate) struct ApiRouter {
    router: Router<AppState>,
    describe: Vec<fn() -> UtoipaMethodRouter<AppState>>,
}

/// The operations of one path. Made by [`routes!`].
pub(crate) struct PathRoutes {
    path: String,
    methods: MethodRouter<AppState>,
    describe: fn() -> UtoipaMethodRouter<AppState>,
}

/// The operations of one path, by their handlers, each with `#[utoipa::path]`.
macro_rules! routes {
    ($($first:ident $(:: $rest:ident)*),+ $(,)?) => {{
        let routes = $crate::surface::api_router::PathRoutes::new(|| {
            ::utoipa_axum::routes!($($first $(:: $rest)*),+)
        });
        $(
            let path = ::utoipa_axum::routes!(@path [path()] of $first $(:: $rest)*);
            let methods = ::utoipa_axum::routes!(@path [methods()] of $first $(:: $rest)*);
            let routes = routes.on(path, &methods, |router, method| router.on(method, $first $(:: $rest)*));
        )+
        routes
    }};
}

pub(crate) use routes;

impl PathRoutes {
    pub(crate) fn new(describe: fn() -> UtoipaMethodRouter<AppState>) -> Self {
        Self { path: String::new(), methods: MethodRouter::new(), describe }
    }

    /// With an operation of these methods.
    pub(crate) fn on(
        self,
        path: String,
        methods: &[HttpMethod],
        add: impl Fn(MethodRouter<AppState>, MethodFilter) -> MethodRouter<AppState>,
    ) -> Self {
        debug_assert!(self.path.is_empty() || self.path == path, "{path} is not {}", self.path);
        let methods =
            methods.iter().fold(self.methods, |router, method| add(router, method.to_method_filter()));
        Self { path, methods, ..self }
    }
}

impl ApiRouter {
    /// No routes.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With the operations of one more path.
    pub(crate) fn routes(mut self, routes: PathRoutes) -> Self {
        self.router = self.router.route(&routes.path, routes.methods);
        self.describe.push(routes.describe);
        self
    }

    /// With the routes of another part.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.describe.extend(other.describe);
        self
    }

    /// The routes.
    pub(crate) fn into_router(self) -> Router<AppState> {
        self.router
    }

    /// The schemas that the handlers name, each as often as it is named.
    #[cfg(test)]
    pub(crate) fn schemas(&self) -> impl Iterator<Item = (String, RefOr<Schema>)> {
        self.describe.iter().flat_map(|routes| routes().0)
    }

    /// Adds to a description what the handlers say of themselves.
    pub(crate) fn describe(&self, description: OpenApi) -> OpenApi {
        let described = self
            .describe
            .iter()
            .fold(OpenApiRouter::<AppState>::with_openapi(description), |described, routes| {
                described.routes(routes())
            });
        described.split_for_parts().1
    }
}
