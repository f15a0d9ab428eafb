//! Handlers that do the least: a line of text, and a JSON body that is read and forgotten.

use std::hint::black_box;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::value::RawValue;

/// `GET /hello`.
pub(crate) fn hello() -> Router {
    Router::new().route("/hello", get(async || "Hello, World!"))
}

/// The paths of a state report and of a registration, so that both sides get the same bytes.
pub(crate) fn json() -> Router {
    Router::new()
        .route("/v1/opscore/agent/{agent_id}/state", post(report))
        .route("/v1/agents/register", post(register))
        .route("/api/v1/auth/challenge", post(challenge))
        .route("/api/v1/auth/verify", post(verify))
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields are read from the body and nothing is done with them")]
#[serde(rename_all = "camelCase")]
struct Report {
    agent_id: String,
    timestamp: String,
    state: String,
    details: Option<Box<RawValue>>,
}

async fn report(Json(report): Json<Report>) -> impl IntoResponse {
    black_box(&report);
    const BODY: &str = r#"{"status":"success","message":"State update accepted"}"#;
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], BODY)
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields are read from the body and nothing is done with them")]
#[serde(rename_all = "camelCase")]
struct Registration {
    agent_name: String,
    version: String,
    contact_endpoint: String,
    capabilities: Vec<String>,
    metadata: Box<RawValue>,
}

async fn register(Json(registration): Json<Registration>) -> impl IntoResponse {
    black_box(&registration);
    const BODY: &str =
        r#"{"status":"success","message":"Agent registered successfully.","data":{"agentId":"none"}}"#;
    (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], BODY)
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields are read from the body and nothing is done with them")]
struct ForChallenge {
    agent_id: String,
}

async fn challenge(Json(body): Json<ForChallenge>) -> impl IntoResponse {
    black_box(&body);
    const BODY: &str = concat!(
        r#"{"challenge":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","#,
        r#""expires_at":"2026-11-29T00:05:00Z"}"#
    );
    ([(header::CONTENT_TYPE, "application/json")], BODY)
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "fields are read from the body and nothing is done with them")]
struct ForToken {
    tenant_id: String,
    agent_id: String,
    key_id: String,
    challenge: String,
    response: String,
}

async fn verify(Json(body): Json<ForToken>) -> impl IntoResponse {
    black_box(&body);
    const BODY: &str = r#"{"valid":true,"token":"none","expires_at":"2026-11-29T01:00:00Z"}"#;
    ([(header::CONTENT_TYPE, "application/json")], BODY)
}
