//! `POST /v1/keys/{keyId}/rotate`: a key gets another secret, shown once.

use axum::extract::State;
use http::StatusCode;
use signalbox_bus::Ended;
use signalbox_core::engine::RotateKey;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::process::{KeyView, RotateKeyBody};

use super::convert::{expiry, view};
use super::revoke::key_id;
use crate::auth::Authenticator;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// Give a key another secret
///
/// The secret is shown in this answer alone. The one before is good no more, unless `keepEarlierFor` says how long, and
/// then the connections of agents that came by it are closed; a node that cannot be told may take it for five seconds
/// more. Rotated again meanwhile, only the newest two are good. Sent again under the same `Idempotency-Key`, the request is
/// refused with 409: rotate the key again where its first answer was lost.
#[utoipa::path(post, path = "/v1/keys/{keyId}/rotate", operation_id = "rotate_key", tag = "API keys", request_body = RotateKeyBody,
    params(("keyId" = String, Path, description = "Which key")),
    responses(
        (status = 200, description = "The key; the secret is shown only now", body = KeyView),
        (status = 403, description = "Not an admin key", body = Problem),
        (status = 404, description = "No such key", body = Problem),
        (status = 409, description = "It has expired and gets no new expiry, or was rotated under the same Idempotency-Key", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn rotate(
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    context: Context<Administers>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    let body: RotateKeyBody = input.parse_or_default()?;
    let now = clock::now();
    let secret = keys::from_random(&clock::secret_bytes());
    let operation = RotateKey {
        key: id.clone(),
        hash: keys::hash_hex(secret.expose()),
        previous_until: body.keep_earlier_for.map(|period| now + period.into()),
        expires_at: expiry(body.expires_at, body.expires_in, now)?,
    };
    let reply = drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |key| {
            let shown = KeyView { key: Some(secret.expose().to_owned()), ..view(key) };
            let detail = format!(
                "The key {} was rotated and its secret shown in the first answer; if that is lost, rotate it again under a new Idempotency-Key.",
                key.id
            );
            let shown_before = Problem::new(ProblemKind::KeyShownBefore, detail);
            Reply::json(StatusCode::OK, &shown).shown_once(&shown_before)
        })
        .await?;
    authenticator.end(drive.wake_ups(), Ended::Key(context.tenant().clone(), id));
    Ok(reply)
}
