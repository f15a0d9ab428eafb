//! The edge: connections come in, requests go to the router, answers go out with what every answer carries.
//!
//! Bounds: connections at once, time for headers, time for a body (see [`crate::http::body`]), handshakes at once and
//! time for one. A connection that is over its time is closed and costs nobody else anything.

mod handshakes;
mod received;
mod socket;
mod timer;
pub(crate) mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, extract::Request};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, ServiceExt as _};

use crate::auth::Authenticator;
use crate::clock::Stopwatch;
use crate::http::access::Visit;
use crate::http::answered::{finish, request_id};
use crate::http::fast_path::{FastPath, Outgoing};
use crate::http::idempotency::{Idempotency, IdempotencyClaim};
use crate::http::peer::Peer;
use crate::http::problem::Refusal;
use crate::http::route_table::RouteTable;
use crate::http::streams::WriteDeadline;
use crate::http::unknown_fields::Told;
use crate::telemetry::metrics::Metrics;
use handshakes::Handshakes;
use received::DROPPED_BYTES_MAX;
pub(crate) use received::Received;
use socket::Socket;
use timer::{ConnectionTimer, Timed};
use tls::Tls;

/// How long a client may stop reading what it is sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// A connection that goes on as something else than HTTP: with the deadline of its writes, and without the timer of its
/// requests.
pub(crate) type AfterHttp = WriteDeadline<Socket>;

/// What goes on after HTTP, with what was read of it already; nothing of a connection that is not of this edge.
pub(crate) fn after_http(upgraded: Upgraded) -> Option<(AfterHttp, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<Timed<AfterHttp>>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf))
}

/// What connections and the requests on them go through.
pub(crate) struct Edge {
    /// Connections at once; further ones wait.
    pub(crate) connections_max: usize,
    /// How long a client may take to send a request's headers.
    pub(crate) header_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub(crate) keep_alive_timeout: Duration,
    /// How long the rest of a body may take that is not read.
    pub(crate) body_timeout: Duration,
    /// What TLS is spoken with, where it is.
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics: Metrics,
    pub(crate) authenticator: Authenticator,
    pub(crate) idempotency: Idempotency,
    /// Cancelled when the server begins to drain.
    pub(crate) draining: CancellationToken,
}

/// Accepts connections until the server drains.
pub(crate) async fn serve(
    edge: Arc<Edge>,
    listener: TcpListener,
    (fast_path, router): (FastPath, Router),
    tracker: TaskTracker,
) {
    let fast_path = Arc::new(fast_path);
    let room = Arc::new(Semaphore::new(edge.connections_max));
    let handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            () = edge.draining.cancelled() => return,
            accepted = accept(&room, &listener) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (edge, router, fast_path) = (Arc::clone(&edge), router.clone(), Arc::clone(&fast_path));
                let handshakes = handshakes.clone();
                tracker.spawn(async move {
                    edge.metrics.connection(1);
                    if let Some(stream) = opened(&edge, &handshakes, stream, peer).await {
                        connection(&edge, (stream, peer), router, &fast_path).await;
                    }
                    edge.metrics.connection(-1);
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come free.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A connection and the room for it, whenever there are both.
async fn accept(
    room: &Arc<Semaphore>,
    listener: &TcpListener,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// What a connection is read from and written to: itself, or TLS over it once its handshake is done. `None` where that
/// comes to nothing.
async fn opened(edge: &Edge, handshakes: &Handshakes, stream: TcpStream, peer: SocketAddr) -> Option<Socket> {
    let _ = stream.set_nodelay(true);
    let Some(tls) = &edge.tls else { return Some(Socket::Plain(stream)) };
    let handshake = handshakes.begin();
    let done = tokio::time::timeout(edge.header_timeout, tls.accept(stream));
    let why = tokio::select! {
        () = edge.draining.cancelled() => return None,
        () = handshake.pushed_out() => "it took longer than all others, and there were too many".to_owned(),
        done = done => match done {
            Ok(Ok(stream)) => return Some(Socket::Tls(stream)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it was not done in time".to_owned(),
        },
    };
    tracing::debug!(%peer, why, "a TLS handshake failed");
    None
}

async fn connection(
    edge: &Arc<Edge>,
    (stream, peer): (Socket, SocketAddr),
    router: Router,
    fast_path: &Arc<FastPath>,
) {
    let (metrics, fast_path, body_timeout) = (edge.metrics.clone(), Arc::clone(fast_path), edge.body_timeout);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        Visit::begin(Some(peer), request.extensions_mut());
        let waits_to_send = request.headers().contains_key(header::EXPECT);
        let rest_stays = waits_to_send || request.body().size_hint().lower() > DROPPED_BYTES_MAX;
        let rest_within = (!waits_to_send).then_some(body_timeout);
        let mut request = request.map(|body| Received::new(body, rest_within));
        let open = metrics.request();
        let answer = match fast_path.find(&request) {
            Some(found) => Ok(found.answer(metrics.clone(), request)),
            None => {
                request.extensions_mut().insert(Peer(peer.ip()));
                Err(router.clone().oneshot(request.map(Body::new)))
            }
        };
        async move {
            let mut response = match answer {
                Ok(fast) => fast.await,
                Err(routed) => routed.await?.map(Outgoing::Routed),
            };
            drop(open);
            if rest_stays && response.status().as_u16() >= 400 {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let timer = ConnectionTimer::new(edge.header_timeout);
    let stream = Timed::new(WriteDeadline::new(stream, WRITE_PATIENCE), timer.clone());
    let connection = http1::Builder::new()
        .timer(timer)
        .header_read_timeout(edge.keep_alive_timeout.max(edge.header_timeout))
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = edge.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Puts [`around`] around a route.
#[derive(Clone)]
pub(crate) struct Around(pub(crate) Arc<Edge>);

/// A route with [`around`] around it.
#[derive(Clone)]
pub(crate) struct Surrounded<S> {
    edge: Arc<Edge>,
    route: S,
}

impl<S> Layer<S> for Around {
    type Service = Surrounded<S>;

    fn layer(&self, route: S) -> Surrounded<S> {
        Surrounded { edge: Arc::clone(&self.0), route }
    }
}

impl<S> Service<Request> for Surrounded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready is used; its clone becomes ready before the next call.
        let fresh = self.route.clone();
        let route = std::mem::replace(&mut self.route, fresh);
        let edge = Arc::clone(&self.edge);
        Box::pin(async move { Ok(around(&edge, request, route).await) })
    }
}

async fn run<S>(mut route: S, request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    match route.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// What every request goes through: its id, its measure, and its `Idempotency-Key` where it has one.
async fn around<S>(edge: &Edge, mut request: Request, next: S) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Send,
    S::Future: Send,
{
    let watch = Stopwatch::start();
    let method = method_name(request.method());
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let visit = Visit::of(request.extensions());
    let told = Told::is_for(request.method()).then(Told::default);
    if let Some(told) = &told {
        request.extensions_mut().insert(told.clone());
    }
    let mut response =
        if request.headers().contains_key("idempotency-key") && request.method() == Method::POST {
            Box::pin(once(edge, request, next)).await
        } else {
            request.extensions_mut().remove::<IdempotencyClaim>();
            run(next, request).await
        };
    if let Some(told) = told {
        told.add_to(&mut response);
    }
    let route = edge.metrics.route(route.as_ref().map_or("none", MatchedPath::as_str));
    finish(&edge.metrics, method, &route, (id, visit), watch, &mut response);
    response
}

/// Answers a request that carries an `Idempotency-Key`; who calls is found out first, since keys are a tenant's.
async fn once<S>(edge: &Edge, mut request: Request, next: S) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Send,
    S::Future: Send,
{
    let caller = match edge.authenticator.admitted(request.headers(), request.uri().path()).await {
        Ok(caller) => caller,
        // Without a caller there is nobody to keep an answer for; the handler says what is wrong.
        Err(_) => return run(next, request).await,
    };
    let tenant = caller.tenant.clone();
    request.extensions_mut().insert(caller);
    let answered = edge.idempotency.answer(&tenant, request, |request| run(next, request)).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// What is answered where there is no route.
pub(crate) async fn no_route(State(routes): State<RouteTable>, request: Request) -> Refusal {
    let path = request.uri().path();
    let meant = routes.nearest_path(path).await.map(|meant| format!("; did you mean {meant}?"));
    let detail = format!(
        "There is nothing at {}; GET /openapi.json lists what there is{}",
        bounded(path),
        meant.as_deref().unwrap_or(".")
    );
    Problem::new(ProblemKind::UnknownRoute, detail).into()
}

/// What is answered where there is a route, but not for this method.
pub(crate) async fn no_method(request: Request) -> Refusal {
    let detail = format!(
        "{} is not for {}; GET /openapi.json lists what is.",
        bounded(request.uri().path()),
        request.method()
    );
    Problem::new(ProblemKind::MethodNotAllowed, detail).into()
}

fn bounded(path: &str) -> String {
    path.chars().take(200).collect()
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
