//! The paths that nearly every request takes: reports, states and messages. They are told by their text and answered
//! without the layers that every other route goes through, which cost about as much as a report itself.
//!
//! They answer as their routes do, with the same handlers. Whatever is unusual about a request, such as a percent
//! sign in its path or an `Idempotency-Key`, leaves it to the router.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::app::App;
use crate::clock::Stopwatch;
use crate::config::Surface;
use crate::http::context::{Context, Input};
use crate::http::edge;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::{agentkit, opscore};
use crate::telemetry::metrics::RouteMetrics;

/// The hot paths of the surfaces that are served.
pub(crate) struct FastPath {
    reports: Option<Arc<RouteMetrics>>,
    messages: Option<Arc<RouteMetrics>>,
}

/// A request on a hot path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// `POST /v1/opscore/agent/{agentId}/state`
    Report,
    /// `GET /v1/opscore/agent/{agentId}/state`
    State,
    /// `POST /v1/agents/{agentId}/run`
    Run,
}

const STATES: (&str, &str) = ("/v1/opscore/agent/", "/state");
const RUNS: (&str, &str) = ("/v1/agents/", "/run");

impl FastPath {
    pub(crate) fn new(app: &App) -> Self {
        let route = |surface, (begin, end): (&str, &str)| {
            app.config.serves(surface).then(|| app.metrics.route(&[begin, "{agentId}", end].concat()))
        };
        Self { reports: route(Surface::Opscore, STATES), messages: route(Surface::Agentkit, RUNS) }
    }

    /// What a request asks for, where it is on a hot path.
    pub(crate) fn find<B>(&self, request: &Request<B>) -> Option<Found> {
        let asks = asks(request)?;
        let route = match asks {
            Asks::Report | Asks::State => &self.reports,
            Asks::Run => &self.messages,
        };
        Some(Found { asks, route: Arc::clone(route.as_ref()?) })
    }
}

/// A hot path that a request was found to be on.
pub(crate) struct Found {
    asks: Asks,
    route: Arc<RouteMetrics>,
}

impl Found {
    /// Answers that request.
    pub(crate) async fn answer(self, app: App, request: Request<Incoming>) -> Response<Outgoing> {
        let watch = Stopwatch::start();
        let (parts, body) = request.into_parts();
        let id = edge::request_id(&parts.headers);
        let answered = match self.asks {
            Asks::Report => report(&app, &parts, body).await,
            Asks::State => state(&app, &parts).await,
            // Boxed, so that the others do not carry the room that it needs.
            Asks::Run => Box::pin(run(&app, &parts, body)).await,
        };
        let mut response = match answered {
            Ok(answer) => answer.into_parts_and(Outgoing::Whole),
            Err(refusal) => refusal.into_response().map(Outgoing::Routed),
        };
        let method = if self.asks == Asks::State { "GET" } else { "POST" };
        edge::finish(&app, method, &self.route, id, watch, &mut response);
        response
    }
}

/// What is asked for, where that is something on a hot path.
fn asks<B>(request: &Request<B>) -> Option<Asks> {
    let (path, is_post) = (request.uri().path(), request.method() == Method::POST);
    if agent_in(path, STATES).is_some() {
        let is_get = request.method() == Method::GET;
        let found = if is_post { Some(Asks::Report) } else { is_get.then_some(Asks::State) };
        return found.filter(|asks| *asks == Asks::State || !is_to_be_kept(request));
    }
    (is_post && agent_in(path, RUNS).is_some() && !is_to_be_kept(request)).then_some(Asks::Run)
}

fn is_to_be_kept<B>(request: &Request<B>) -> bool {
    request.headers().contains_key("idempotency-key")
}

/// The agent between two parts of a path, as it stands there.
fn agent_in<'p>(path: &'p str, (begin, end): (&str, &str)) -> Option<&'p str> {
    let agent = path.strip_prefix(begin)?.strip_suffix(end)?;
    let is_plain = !agent.is_empty() && !agent.bytes().any(|byte| matches!(byte, b'/' | b'%'));
    is_plain.then_some(agent)
}

async fn report(app: &App, parts: &Parts, body: Incoming) -> Result<Reply, Refusal> {
    let context = Context::of(app, parts).await?;
    let input = Input::of(app, &parts.headers, body).await?;
    opscore::report(app, &context, agent_in(parts.uri.path(), STATES).unwrap_or_default(), &input).await
}

async fn state(app: &App, parts: &Parts) -> Result<Reply, Refusal> {
    let context = Context::of(app, parts).await?;
    opscore::state(app, &context, agent_in(parts.uri.path(), STATES).unwrap_or_default()).await
}

async fn run(app: &App, parts: &Parts, body: Incoming) -> Result<Reply, Refusal> {
    let context = Context::of(app, parts).await?;
    let input = Input::of(app, &parts.headers, body).await?;
    agentkit::run(app, &context, agent_in(parts.uri.path(), RUNS).unwrap_or_default(), &input).await
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

    fn asked(method: &str, path: &str, key: bool) -> Option<Asks> {
        let mut request = Request::builder().method(method).uri(path);
        if key {
            request = request.header("Idempotency-Key", "k");
        }
        asks(&request.body(()).expect("valid"))
    }

    #[test]
    fn the_usual_is_told_by_its_path() {
        let (state, run) = ("/v1/opscore/agent/agt_1/state", "/v1/agents/a.b/run");
        assert_eq!(asked("POST", state, false), Some(Asks::Report));
        assert_eq!(asked("GET", state, true), Some(Asks::State));
        assert_eq!(asked("POST", &format!("{run}?x=/state"), false), Some(Asks::Run));
        assert_eq!(agent_in(run, RUNS), Some("a.b"));
    }

    #[test]
    fn the_unusual_is_left_to_the_router() {
        for (method, path) in [
            ("PUT", "/v1/opscore/agent/a/state"),
            ("HEAD", "/v1/opscore/agent/a/state"),
            ("GET", "/v1/agents/a/run"),
            ("POST", "/v1/agents/a%20b/run"),
            ("POST", "/v1/agents//run"),
            ("POST", "/v1/agents/run"),
            ("POST", "/v1/agents/a/b/run"),
            ("POST", "/v1/agents/a/run/"),
            ("POST", "/v1/opscore/agent/a/state/"),
            ("POST", "/v1/opscore/agent/state"),
            ("POST", "/v1/opscore/agent/a/statement"),
        ] {
            assert_eq!(asked(method, path, false), None, "{method} {path}");
        }
        for path in ["/v1/opscore/agent/a/state", "/v1/agents/a/run"] {
            assert_eq!(asked("POST", path, true), None, "{path}: its answer is to be kept");
        }
    }
}
