//! `POST /v1/opscore/hooks/{tenant}/{id}/receive`: something outside tells of something. The call brings no key; its
//! signature is what it is believed by, verified over the raw body before anything of it is read.
//!
//! Who cannot sign learns nothing: an unknown tenant, an unknown hook and a bad signature get the same answer, and
//! each costs a signature to compute. A webhook's id counts once: its answer is kept in the commit that starts
//! the session, and is what every repeat gets.

use axum::extract::State;
use http::{HeaderMap, StatusCode};
use signalbox_core::engine::ReceiveWebhook;
use signalbox_core::hook::{HookSecret, WebhookTrigger};
use signalbox_store::Store;
use signalbox_wire::id::{HookId, TenantId};
use signalbox_wire::opscore::{HookInput, TriggerAnswer};
use signalbox_wire::problem::Problem;
use signalbox_wire::signature::{self, SignatureError};
use signalbox_wire::time::Timestamp;

use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Input, trace_of};
use crate::http::idempotency::IdempotencyClaim;
use crate::http::params::PathPair;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;

/// The longest id of a webhook, in characters.
const WEBHOOK_ID_MAX: usize = 255;

/// Start a session by a signed webhook
///
/// Signed by the headers of Standard Webhooks with the hook's secret; the timestamp must be within 300 s of now. The
/// body, a JSON object, is the session's input. A repeat of a `webhook-id` within a day gets the first answer again.
#[utoipa::path(post, path = "/v1/opscore/hooks/{tenant}/{id}/receive", tag = "Webhook triggers", request_body = HookInput,
    params(
        ("tenant" = String, Path, description = "Whose hook"),
        ("id" = String, Path, description = "Which hook"),
        ("webhook-id" = String, Header, description = "The webhook's own id, the same at every attempt"),
        ("webhook-timestamp" = String, Header, description = "Unix seconds"),
        ("webhook-signature" = String, Header,
            description = "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body, each after a dot; several may be given")),
    responses(
        (status = 202, description = "Started, or started before", body = TriggerAnswer),
        (status = 400, description = "Not JSON", body = Problem),
        (status = 401, description = "Not signed by the secret of a hook, or stale", body = Problem),
        (status = 404, description = "The hook's workflow or agent is gone", body = Problem),
        (status = 422, description = "Not an object, or not what the workflow's input schema asks for", body = Problem)))]
pub(crate) async fn receive_webhook(
    State(store): State<Store>,
    State(drive): State<Drive>,
    headers: HeaderMap,
    PathPair(tenant, id): PathPair,
    input: Input,
) -> Result<Reply, Refusal> {
    let call = Call::read(&headers, &input.bytes)?;
    let found = match (TenantId::parse(&tenant), HookId::parse(&id)) {
        (Ok(tenant), Ok(id)) => store.hook(&tenant, &id).await?.map(|read| (tenant, read.value)),
        _ => None,
    };
    // The sender stamped it by the world's time.
    let now = clock::system();
    let believed_by = call.verify(found.as_ref().map(|(_, hook)| &**hook), now).map_err(refused)?;
    let (Some((tenant, hook)), Some(believed_by)) = (found, believed_by) else {
        return Err(refused(SignatureError::Mismatch).into());
    };
    let HookInput(body) = input.parse()?;
    let operation = ReceiveWebhook {
        hook: hook.id.clone(),
        believed_by,
        webhook: call.id.to_owned(),
        input: body,
        trace: trace_of(&headers),
    };
    // Whatever else a repeat says, it is the same webhook.
    let claim = IdempotencyClaim::of(format!("hook {} {}", hook.id, call.id), String::new());
    drive
        .answer(&tenant, Some(&claim), &operation, |started| {
            let answer = TriggerAnswer::new(started.session.clone(), started.workflow.clone());
            Reply::json(StatusCode::ACCEPTED, &answer)
        })
        .await
}

/// What a webhook says of itself.
struct Call<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    fn read(headers: &'a HeaderMap, body: &'a [u8]) -> Result<Self, Problem> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let id = header(signature::WEBHOOK_ID).filter(|id| (1..=WEBHOOK_ID_MAX).contains(&id.len()));
        match (id, header(signature::WEBHOOK_TIMESTAMP), header(signature::WEBHOOK_SIGNATURE)) {
            (Some(id), Some(timestamp), Some(signatures)) => Ok(Self { id, timestamp, signatures, body }),
            _ => Err(Problem::unauthorized(
                "The webhook is not signed; send webhook-id, webhook-timestamp and webhook-signature.",
            )),
        }
    }

    /// The secret of `hook` that signed this. Without a hook, some secret is tried all the same.
    fn verify(
        &self,
        hook: Option<&WebhookTrigger>,
        now: Timestamp,
    ) -> Result<Option<HookSecret>, SignatureError> {
        let nobodys = HookSecret::new("whsec_");
        let mut refused = SignatureError::Mismatch;
        let secrets: Vec<&HookSecret> = match hook {
            Some(hook) => hook.secrets(now).collect(),
            None => vec![&nobodys],
        };
        for secret in secrets {
            let Self { id, timestamp, signatures, body } = self;
            match signature::verify_standard(secret.expose(), id, timestamp, signatures, body, now) {
                Ok(()) => return Ok(hook.map(|_| secret.clone())),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// A wrong clock is told apart, which helps nobody who guesses: it is found out before the signature is looked at.
fn refused(error: SignatureError) -> Problem {
    Problem::unauthorized(match error {
        SignatureError::Stale | SignatureError::BadTimestamp => format!(
            "The webhook's timestamp is not within {} s of now; check the sender's clock.",
            signature::WINDOW_S
        ),
        SignatureError::Mismatch => {
            "There is no such hook, or the signature is not made with its secret over this very body."
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::WorkflowId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_704_110_400);

    fn hook(earlier_until: i64) -> WebhookTrigger {
        WebhookTrigger {
            id: HookId::parse("h").expect("valid"),
            workflow: WorkflowId::parse("w").expect("valid"),
            agent: None,
            note: None,
            secret: HookSecret::new("whsec_bmV3"),
            earlier: Some((HookSecret::new("whsec_b2xk"), Timestamp::from_seconds(earlier_until))),
            created_at: NOW,
            rotated_at: None,
        }
    }

    fn verdict(secret: &str, hook: Option<&WebhookTrigger>, stamp: i64) -> Result<bool, SignatureError> {
        let (timestamp, signatures) =
            (stamp.to_string(), signature::sign_standard(secret, "m", stamp, b"{}"));
        let call = Call { id: "m", timestamp: &timestamp, signatures: &signatures, body: b"{}" };
        call.verify(hook, NOW).map(|secret| secret.is_some())
    }

    #[test]
    fn either_secret_is_good_as_long_as_it_is() {
        let hook = hook(NOW.as_seconds() + 1);
        assert_eq!(verdict("whsec_bmV3", Some(&hook), 1_704_110_400), Ok(true));
        assert_eq!(verdict("whsec_b2xk", Some(&hook), 1_704_110_400), Ok(true));
        let hook = self::hook(NOW.as_seconds());
        assert_eq!(verdict("whsec_b2xk", Some(&hook), 1_704_110_400), Err(SignatureError::Mismatch));
        assert_eq!(verdict("whsec_bmV3", Some(&hook), 1_704_110_000), Err(SignatureError::Stale));
    }

    #[test]
    fn an_unknown_hook_is_answered_as_a_bad_signature_is() {
        let hook = hook(0);
        for stamp in [1_704_110_400, 1_704_110_000] {
            let (unknown, bad) = (verdict("x", None, stamp), verdict("x", Some(&hook), stamp));
            assert_eq!(unknown, bad, "{stamp}");
            assert!(unknown.is_err());
        }
        // Not even with the secret that is tried in place of one.
        assert_eq!(verdict("whsec_", None, 1_704_110_400), Ok(false));
    }
}
