//! `POST /v1/keys`: a new key, shown once.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::engine::CreateKey;
use signalbox_core::quota::Limit;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::process::{KeyBody, KeyView};

use super::convert::{expiry, scope_in, view};
use crate::auth::api_key;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;

/// Make a key
///
/// The key is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused with
/// 409 and names the key that was made: revoke that one where its first answer was lost.
#[utoipa::path(post, path = "/v1/keys", operation_id = "create_key", tag = "API keys", request_body = KeyBody, responses(
    (status = 201, description = "Made; the key is shown only now", body = KeyView),
    (status = 403, description = "Not an admin key", body = Problem),
    (status = 409, description = "Made before, under the same Idempotency-Key", body = Problem),
    (status = 422, description = "The body does not fit", body = Problem),
    (status = 429, description = "The tenant has as many keys as it may", body = Problem)))]
pub(crate) async fn create(
    State(drive): State<Drive>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: KeyBody = input.parse()?;
    let secret = keys::from_random(&clock::secret_bytes());
    let now = clock::now();
    let expires_at = expiry(body.expires_at, body.expires_in, now)?;
    let _permit = quotas.check(context.tenant(), Limit::ApiKeys, now).await?;
    let key = api_key(&secret, body.name, scope_in(body.scope), expires_at);
    let operation = CreateKey { key: key.clone() };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            let made = KeyView { key: Some(secret.expose().to_owned()), ..view(&key) };
            let detail = format!(
                "The key {} was made and shown in the first answer; if that is lost, revoke it and make another under a new Idempotency-Key.",
                key.id
            );
            let shown_before = Problem::new(ProblemKind::KeyShownBefore, detail);
            Reply::json(StatusCode::CREATED, &made).shown_once(&shown_before)
        })
        .await
}
