//! Whether a call is to be believed by its signature, which must come with the body's raw bytes and only once.

use std::time::Duration;

use http::HeaderMap;
use signalbox_core::decision::SeenSignature;
use signalbox_wire::keys::Secret;
use signalbox_wire::problem::Problem;
use signalbox_wire::signature::{self, SignatureError};
use signalbox_wire::time::Timestamp;

use crate::http::problem::Refusal;

/// How long a signature is remembered: longer than its timestamp is accepted, before and after.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Verifies a call over the raw bytes of its body, and names the signatures that it uses up.
pub(crate) fn verify(
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<SeenSignature>, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agentkit = (header(signature::AGENTKIT_TIMESTAMP), header(signature::AGENTKIT_SIGNATURE));
    let standard = (
        header(signature::WEBHOOK_ID),
        header(signature::WEBHOOK_TIMESTAMP),
        header(signature::WEBHOOK_SIGNATURE),
    );
    let verified = match (agentkit, standard) {
        ((Some(timestamp), Some(given)), _) => {
            signature::verify_agentkit(secret.expose(), timestamp, given, body, now)
        }
        ((None, None), (Some(id), Some(timestamp), Some(given))) => {
            signature::verify_standard(secret.expose(), id, timestamp, given, body, now)
        }
        _ => return Err(unsigned().into()),
    };
    verified.map_err(refused)?;
    // One call may be signed both ways. Whichever was looked at, both are used up: the signature over each
    // timestamp and the body stands for both, since a header that was left out cannot be asked for.
    let mut stamps: Vec<&str> = [agentkit.0, standard.1].into_iter().flatten().collect();
    stamps.dedup();
    let seen = stamps.into_iter().map(|stamp| SeenSignature {
        signature: signature::sign_agentkit(secret.expose(), stamp, body),
        expires_at: now + REMEMBERED_FOR,
    });
    Ok(seen.collect())
}

/// An unsigned call where a secret is needed.
pub(crate) fn unsigned() -> Problem {
    Problem::unauthorized(
        "The call is not signed; send X-AgentKit-Timestamp and X-AgentKit-Signature, made with the shared webhook secret.",
    )
}

/// Which of the two it was helps whoever has a wrong clock, and nobody who guesses.
fn refused(error: SignatureError) -> Problem {
    let detail = match error {
        SignatureError::Stale | SignatureError::BadTimestamp => format!(
            "The call's timestamp is not within {} s of now; check the sender's clock.",
            signature::WINDOW_S
        ),
        SignatureError::Mismatch => {
            "The call's signature is not that of its body; check that both sides have the same webhook secret.".to_owned()
        }
    };
    Problem::unauthorized(detail)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_704_110_400);
    const STAMP: &str = "1704110400";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"))
        };
        pairs.iter().map(pair).collect()
    }

    fn verdict(pairs: &[(&'static str, &str)]) -> Result<Vec<String>, u16> {
        let seen =
            verify(&Secret::new("s"), &headers(pairs), b"{}", NOW).map_err(|refusal| refusal.0.status)?;
        Ok(seen.into_iter().map(|seen| seen.signature).collect())
    }

    #[test]
    fn a_call_is_believed_by_either_signature_and_uses_up_both() {
        let agentkit = signature::sign_agentkit("s", STAMP, b"{}");
        let standard = signature::sign_standard("s", "msg_1", 1_704_110_400, b"{}");
        let first = [("x-agentkit-timestamp", STAMP), ("x-agentkit-signature", agentkit.as_str())];
        let second =
            [("webhook-id", "msg_1"), ("webhook-timestamp", STAMP), ("webhook-signature", standard.as_str())];
        let expected = Ok(vec![agentkit.clone()]);
        assert_eq!(verdict(&first), expected);
        assert_eq!(verdict(&second), expected, "the same call with the other headers left out");
        assert_eq!(verdict(&[&first[..], &second[..]].concat()), expected);
        let later = signature::sign_standard("s", "msg_1", 1_704_110_401, b"{}");
        let apart = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1704110401"),
            ("webhook-signature", later.as_str()),
        ];
        assert_eq!(verdict(&[&first[..], &apart[..]].concat()).map(|seen| seen.len()), Ok(2));
    }

    #[test]
    fn a_call_without_a_good_signature_is_not_believed() {
        let good = signature::sign_agentkit("s", STAMP, b"{}");
        let foreign = signature::sign_agentkit("t", STAMP, b"{}");
        let stale = signature::sign_agentkit("s", "1704110000", b"{}");
        for pairs in [
            &[][..],
            &[("x-agentkit-signature", good.as_str())],
            &[("x-agentkit-timestamp", STAMP)],
            &[("x-agentkit-timestamp", STAMP), ("x-agentkit-signature", foreign.as_str())],
            &[("x-agentkit-timestamp", "1704110000"), ("x-agentkit-signature", stale.as_str())],
            &[("webhook-id", "m"), ("webhook-timestamp", STAMP), ("webhook-signature", "v1,AAAA")],
        ] {
            assert_eq!(verdict(pairs), Err(401), "{pairs:?}");
        }
    }
}
