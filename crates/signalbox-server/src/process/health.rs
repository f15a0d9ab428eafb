//! `GET /health`, `/ready` and `/metrics`: is it alive, can it work, how is it doing.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use crate::answer::Answer;
use crate::app::App;
use crate::clock;

/// Whether the process is alive
#[utoipa::path(get, path = "/health", tag = "Process", responses((status = 200, description = "Alive", body = serde_json::Value)))]
pub(super) async fn health() -> Answer {
    Answer::ok(&json!({"status": "ok"}))
}

/// Whether the process can do its work
#[utoipa::path(get, path = "/ready", tag = "Process", responses(
    (status = 200, description = "Ready", body = serde_json::Value),
    (status = 503, description = "Not ready, and why", body = serde_json::Value)))]
pub(super) async fn ready(State(app): State<App>) -> Answer {
    let mut not_ready = Vec::new();
    if app.draining.is_cancelled() {
        not_ready.push(json!({"what": "process", "reason": "it is shutting down"}));
    }
    if let Err(error) = app.store.is_writable().await {
        tracing::warn!(%error, "the store is not ready");
        not_ready.push(json!({"what": "store", "reason": "it cannot take writes now"}));
    }
    if not_ready.is_empty() {
        Answer::ok(&json!({"status": "ready", "store": app.store.kind(), "bus": app.config.bus}))
    } else {
        Answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not ready", "not_ready": not_ready}))
    }
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Process", responses((status = 200, description = "Prometheus text", body = String)))]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let backlog = app.store.backlog().await.ok();
    let text = app.metrics.text(clock::now(), backlog.as_ref(), &app.store.figures());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}
