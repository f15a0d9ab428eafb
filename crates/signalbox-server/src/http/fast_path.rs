//! The fast path: routes that nearly every request takes are told by their text and answered without the layers that
//! every other route goes through, which cost about as much as a report itself.
//!
//! Which routes these are, the surfaces say ([`FastRoute`]). They answer as the router does, with the same handlers.
//! Whatever is unusual about a request, such as a query, a percent sign in its path or an `Idempotency-Key`, leaves it to
//! the router.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use axum::body::Body;
use axum::extract::FromRef;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::auth::Authenticator;
use crate::clock::Stopwatch;
use crate::http::access::Visit;
use crate::http::answered::{finish, request_id};
use crate::http::body::BodyLimits;
use crate::http::context::{Context, Input, Requirement};
use crate::http::edge::Received;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::telemetry::metrics::{Metrics, RouteMetrics};

/// What a fast route answers.
type Answering = Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>>;

/// A route that is answered without the router.
pub(crate) struct FastRoute {
    method: &'static str,
    path: &'static str,
    /// What stands before and after the one parameter of the path.
    around: (&'static str, &'static str),
    handler: Box<dyn Fn(FastRequest) -> Answering + Send + Sync>,
}

/// A request on a fast route.
pub(crate) struct FastRequest {
    parts: Parts,
    body: Received,
    route: &'static str,
    parameter: Range<usize>,
}

impl FastRequest {
    /// The parameter of the path, as it stands there.
    pub(crate) fn parameter(&self) -> &str {
        self.parts.uri.path().get(self.parameter.clone()).unwrap_or_default()
    }

    /// What the handler's extractor would find.
    pub(crate) async fn context<R: Requirement, S>(&self, state: &S) -> Result<Context<R>, Refusal>
    where
        Authenticator: FromRef<S>,
    {
        Context::of(&Authenticator::from_ref(state), &self.parts, self.route).await
    }

    /// What the handler's extractor would read.
    pub(crate) async fn input<S>(&mut self, state: &S) -> Result<Input, Refusal>
    where
        BodyLimits: FromRef<S>,
    {
        Input::of(&BodyLimits::from_ref(state), &self.parts.headers, &mut self.body).await
    }
}

impl FastRoute {
    /// A route for `method` at `path`, which has one parameter, such as `/v1/agents/{agentId}/run`. `handler` gets a
    /// copy of `state` for each request.
    pub(crate) fn new<S, F>(
        method: &'static str,
        path: &'static str,
        state: &S,
        handler: impl Fn(S, FastRequest) -> F + Send + Sync + 'static,
    ) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Future<Output = Result<Reply, Refusal>> + Send + 'static,
    {
        let state = state.clone();
        let begin = path.split('{').next().unwrap_or_default();
        let end = path.rsplit('}').next().unwrap_or_default();
        let handler = Box::new(move |request| -> Answering { Box::pin(handler(state.clone(), request)) });
        Self { method, path, around: (begin, end), handler }
    }

    /// Where the parameter is in the path of a request that is on this route.
    fn parameter_in<B>(&self, request: &Request<B>) -> Option<Range<usize>> {
        let (begin, end) = self.around;
        if request.uri().query().is_some() {
            return None;
        }
        let path = request.uri().path();
        let parameter = path.strip_prefix(begin)?.strip_suffix(end)?;
        let is_plain = !parameter.is_empty() && !parameter.bytes().any(|byte| matches!(byte, b'/' | b'%'));
        let is_usual = is_plain && request.method().as_str() == self.method && !is_to_be_kept(request);
        is_usual.then(|| begin.len()..begin.len() + parameter.len())
    }
}

/// Whether the answer is one that the router's layers keep.
fn is_to_be_kept<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.headers().contains_key("idempotency-key")
}

/// All fast routes of a server.
pub(crate) struct FastPath(Vec<(Arc<FastRoute>, Arc<RouteMetrics>)>);

impl FastPath {
    pub(crate) fn new(routes: Vec<FastRoute>, metrics: &Metrics) -> Self {
        let measured = |route: FastRoute| {
            let measures = metrics.route(route.path);
            (Arc::new(route), measures)
        };
        Self(routes.into_iter().map(measured).collect())
    }

    /// The fast route that a request is on, if it is on one.
    pub(crate) fn find<B>(&self, request: &Request<B>) -> Option<Found> {
        self.0.iter().find_map(|(route, metrics)| {
            let parameter = route.parameter_in(request)?;
            Some(Found { route: Arc::clone(route), metrics: Arc::clone(metrics), parameter })
        })
    }
}

/// A fast route that a request was found to be on.
pub(crate) struct Found {
    route: Arc<FastRoute>,
    metrics: Arc<RouteMetrics>,
    parameter: Range<usize>,
}

impl Found {
    /// Answers that request.
    pub(crate) async fn answer(self, metrics: Metrics, request: Request<Received>) -> Response<Outgoing> {
        let watch = Stopwatch::start();
        let (parts, body) = request.into_parts();
        let (id, visit) = (request_id(&parts.headers), Visit::of(&parts.extensions));
        let request = FastRequest { parts, body, route: self.route.path, parameter: self.parameter };
        let mut response = match (self.route.handler)(request).await {
            Ok(answer) => answer.into_parts_and(Outgoing::Whole),
            Err(refusal) => refusal.into_response().map(Outgoing::Routed),
        };
        finish(&metrics, self.route.method, &self.metrics, (id, visit), watch, &mut response);
        response
    }
}

/// The body of an answer.
pub(crate) enum Outgoing {
    /// All of it, until it is sent.
    Whole(Bytes),
    /// What a route answered.
    Routed(Body),
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Routed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fast(method: &str, path: &str, key: bool) -> Option<String> {
        let route = FastRoute::new("POST", "/v1/agents/{agentId}/run", &(), |(), _| async {
            Ok(Reply::accepted(""))
        });
        let mut request = Request::builder().method(method).uri(path);
        if key {
            request = request.header("Idempotency-Key", "k");
        }
        let request = request.body(()).expect("valid");
        route.parameter_in(&request).map(|range| request.uri().path()[range].to_owned())
    }

    #[test]
    fn the_usual_is_told_by_its_path() {
        assert_eq!(is_fast("POST", "/v1/agents/a.b/run", false).as_deref(), Some("a.b"));
    }

    #[test]
    fn the_unusual_is_left_to_the_router() {
        for (method, path) in [
            ("PUT", "/v1/agents/a/run"),
            ("GET", "/v1/agents/a/run"),
            ("POST", "/v1/agents/a%20b/run"),
            ("POST", "/v1/agents//run"),
            ("POST", "/v1/agents/run"),
            ("POST", "/v1/agents/a/b/run"),
            ("POST", "/v1/agents/a/run/"),
            ("POST", "/v1/agents/a/running"),
            ("POST", "/v1/agents/a/run?x=/run"),
            ("POST", "/v1/agents/a/run?"),
        ] {
            assert_eq!(is_fast(method, path, false), None, "{method} {path}");
        }
        assert_eq!(is_fast("POST", "/v1/agents/a/run", true), None, "its answer is to be kept");
    }
}
