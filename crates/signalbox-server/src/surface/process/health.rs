//! `GET /health`, `/ready` and `/metrics`: is it alive, can it work, how is it doing.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use signalbox_store::Store;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::process::{HealthView, ReadyView, ReadyWord};

use crate::clock;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::state::Readiness;
use crate::telemetry::metrics::Metrics;

/// Seconds after which to ask again whether it is ready.
const RETRY_AFTER_S: u32 = 2;

/// Whether the process is alive
#[utoipa::path(get, path = "/health", tag = "Process", responses((status = 200, description = "Alive", body = HealthView)))]
pub(super) async fn health() -> Reply {
    Reply::ok(&HealthView::default())
}

/// Whether the process can do its work
#[utoipa::path(get, path = "/ready", tag = "Process", responses(
    (status = 200, description = "Ready", body = ReadyView),
    (status = 503, description = "Not ready, and why", body = Problem)))]
pub(super) async fn ready(
    State(store): State<Store>,
    State(readiness): State<Readiness>,
) -> Result<Reply, Refusal> {
    let mut not_ready = Vec::new();
    if readiness.stopping.is_cancelled() {
        not_ready.push("the process is shutting down");
    }
    if let Err(error) = store.is_writable().await {
        tracing::warn!(%error, "the store is not ready");
        not_ready.push("the store cannot take writes now");
    }
    if not_ready.is_empty() {
        let mut warnings = clock::complaints();
        // A node takes durable work without a bus, and all nodes lose it at once: none of them is to be left out.
        warnings.extend(readiness.bus.outage().map(|why| {
            format!(
                "the bus is not ready: {why}; durable work goes on, live requests across nodes answer 503"
            )
        }));
        Ok(Reply::ok(&ReadyView {
            status: ReadyWord::Ready,
            store: store.kind().to_owned(),
            bus: readiness.bus.kind().to_owned(),
            warnings,
        }))
    } else {
        let detail = format!("Not ready: {}; try again later.", not_ready.join(", "));
        Err(Problem::new(ProblemKind::NotReady, detail).retry_after(RETRY_AFTER_S).into())
    }
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Process", responses((status = 200, description = "Prometheus text", body = String)))]
pub(super) async fn metrics(State(store): State<Store>, State(metrics): State<Metrics>) -> Response {
    let text = metrics.text(clock::now(), &store).await;
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}
