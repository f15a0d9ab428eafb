//! Signatures of webhooks, made and verified: AgentKit's own, and those of Standard Webhooks.
//!
//! Both are HMAC-SHA256 over text that begins with a timestamp, which must be within [`WINDOW_S`] of now. The
//! raw bytes of the body and of the timestamp's header are what is signed, never a reading of them.
//!
//! AgentKit's key is the secret's bytes as they are. The key of Standard Webhooks is what a secret
//! `whsec_<base64>` decodes to; a secret of any other form, also `whsec_` before something that is not base64,
//! is its own bytes there too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keys::hex;
use crate::time::Timestamp;

/// The header of AgentKit's timestamp.
pub const AGENTKIT_TIMESTAMP: &str = "x-agentkit-timestamp";
/// The header of AgentKit's signature.
pub const AGENTKIT_SIGNATURE: &str = "x-agentkit-signature";
/// The header of a Standard Webhook's id: the same at every attempt.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header of a Standard Webhook's timestamp, in Unix seconds.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header of a Standard Webhook's signatures, separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// How far a timestamp may lie from now, before or after, in seconds.
pub const WINDOW_S: i64 = 300;

/// What a secret in the form of Standard Webhooks begins with; the key follows in base64.
pub const SECRET_PREFIX: &str = "whsec_";

const BLOCK_BYTES: usize = 64;
const STANDARD_VERSION: &str = "v1,";

/// Why a signature was not accepted. A client is only told that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The timestamp is neither Unix seconds nor ISO 8601.
    #[error("the timestamp is neither Unix seconds nor ISO 8601")]
    BadTimestamp,
    /// The timestamp is too far from now.
    #[error("the timestamp is more than {WINDOW_S} seconds from now")]
    Stale,
    /// The signature is not that of this body with this secret.
    #[error("the signature does not match")]
    Mismatch,
}

/// AgentKit's signature: lower-case hex of HMAC-SHA256 over `timestamp.body`.
#[must_use]
pub fn sign_agentkit(secret: &str, timestamp: &str, body: &[u8]) -> String {
    hex(&mac(secret.as_bytes(), &[timestamp.as_bytes(), b".", body]))
}

/// Verifies AgentKit's signature; `timestamp` is its header as it was sent.
///
/// # Errors
/// [`SignatureError`].
pub fn verify_agentkit(
    secret: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), SignatureError> {
    // Upper-case hex is refused: it would be a second spelling, by which a call could be replayed.
    let expected = sign_agentkit(secret, timestamp, body);
    let matches = expected.as_bytes().ct_eq(signature.as_bytes());
    check_window(timestamp, now)?;
    if bool::from(matches) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// The value of [`WEBHOOK_SIGNATURE`]: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.
#[must_use]
pub fn sign_standard(secret: &str, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    standard(secret, id, &timestamp_s.to_string(), body)
}

/// Verifies a Standard Webhook; one matching signature of the header's list is enough.
///
/// # Errors
/// [`SignatureError`].
pub fn verify_standard(
    secret: &str,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), SignatureError> {
    let expected = standard(secret, id, timestamp, body);
    let matches = |given: &str| bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
    check_window(timestamp, now)?;
    if signatures.split(' ').any(matches) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn standard(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let code = mac(&standard_key(secret), &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    format!("{STANDARD_VERSION}{}", STANDARD.encode(code))
}

fn standard_key(secret: &str) -> Vec<u8> {
    let decoded = secret.strip_prefix(SECRET_PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    decoded.filter(|key| !key.is_empty()).unwrap_or_else(|| secret.as_bytes().to_vec())
}

/// HMAC with a key of any length, brought to the block's length as RFC 2104 says, so that it cannot fail.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let hashed;
    let short = if key.len() > BLOCK_BYTES {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    let mut block = [0_u8; BLOCK_BYTES];
    block[..short.len()].copy_from_slice(short);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn check_window(timestamp: &str, now: Timestamp) -> Result<(), SignatureError> {
    let sent = read_timestamp(timestamp).ok_or(SignatureError::BadTimestamp)?;
    let apart_s = now.as_seconds().saturating_sub(sent.as_seconds()).saturating_abs();
    if apart_s <= WINDOW_S { Ok(()) } else { Err(SignatureError::Stale) }
}

/// Unix seconds, with or without a fraction, or one of the wire's timestamps.
fn read_timestamp(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(whole) && digits(fraction) {
        return whole.parse().ok().map(Timestamp::from_seconds);
    }
    Timestamp::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_704_110_400);

    /// Made with `printf '1704110400.{"event_type":"REGISTER"}' | openssl dgst -sha256 -hmac topsecret`, and
    /// with Python's `hmac.new(b"topsecret", …, hashlib.sha256).hexdigest()`; both gave this value.
    #[test]
    fn agentkit_s_signature_is_what_openssl_and_python_make() {
        let body = br#"{"event_type":"REGISTER"}"#;
        let expected = "21f0e78b2758648d4bff261e056a2f97509f7435eb921184596b9f9f98632068";
        assert_eq!(sign_agentkit("topsecret", "1704110400", body), expected);
        assert_eq!(verify_agentkit("topsecret", "1704110400", expected, body, NOW), Ok(()));
    }

    /// Made with Python's `hmac.new(b"k" * 100, b"1.{}", hashlib.sha256).hexdigest()`.
    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        let expected = "5a3cea565c7c1096e8ae387825a7997028a7399dfb36bf0eb69f7088a72092f4";
        assert_eq!(sign_agentkit(&"k".repeat(100), "1", b"{}"), expected);
    }

    /// Made with Python's `hmac` and `base64`; the second also with
    /// `printf 'msg_1.1704110400.{}' | openssl dgst -sha256 -hmac plain -binary | base64`.
    #[test]
    fn a_standard_signature_is_what_python_and_openssl_make() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign_standard(secret, id, 1_614_265_330, body), expected);
        let then = Timestamp::from_seconds(1_614_265_330);
        let list = format!("v2,x {expected} v1,AAAA");
        assert_eq!(verify_standard(secret, id, "1614265330", &list, body, then), Ok(()));
        assert_eq!(
            sign_standard("plain", "msg_1", 1_704_110_400, b"{}"),
            "v1,Q+5Mz4VOfBwInCwvySFKB+qG3WyGnQDYgxqGpsC2FTU="
        );
    }

    #[test]
    fn what_was_not_signed_so_is_refused() {
        let good = sign_agentkit("s", "1704110400", b"{}");
        let verify = |secret: &str, timestamp: &str, signature: &str, body: &[u8]| {
            verify_agentkit(secret, timestamp, signature, body, NOW)
        };
        assert_eq!(verify("s", "1704110400", &good, b"{}"), Ok(()));
        for (secret, timestamp, signature, body) in [
            ("t", "1704110400", good.as_str(), b"{}".as_slice()),
            ("s", "1704110401", &good, b"{}"),
            ("s", "1704110400", &good, b"{} "),
            ("s", "1704110400", &good.to_uppercase(), b"{}"),
            ("s", "1704110400", &good[..63], b"{}"),
            ("s", "1704110400", "", b"{}"),
        ] {
            assert_eq!(verify(secret, timestamp, signature, body), Err(SignatureError::Mismatch));
        }
        assert_eq!(
            verify_standard("s", "m", "1704110400", "v1, v1", b"{}", NOW),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn the_window_is_300_seconds_either_way_in_every_form() {
        let verdict = |timestamp: &str| {
            let signature = sign_agentkit("s", timestamp, b"{}");
            verify_agentkit("s", timestamp, &signature, b"{}", NOW)
        };
        for timestamp in [
            "1704110100",
            "1704110700",
            "1704110400.25",
            "2024-01-01T12:04:59Z",
            "2024-01-01T13:55:30+02:00",
            "2024-01-01T12:00:00.123456",
        ] {
            assert_eq!(verdict(timestamp), Ok(()), "{timestamp}");
        }
        for timestamp in ["1704110099", "1704110701", "0", "2024-01-01T12:06:00Z", "1704110400000"] {
            assert_eq!(verdict(timestamp), Err(SignatureError::Stale), "{timestamp}");
        }
        for timestamp in ["", "now", "-1", "1704110400.", "99999999999999999999999"] {
            assert_eq!(verdict(timestamp), Err(SignatureError::BadTimestamp), "{timestamp}");
        }
    }

    #[test]
    fn a_secret_that_only_looks_encoded_is_its_own_bytes() {
        assert_eq!(standard_key("whsec_%%%"), b"whsec_%%%");
        assert_eq!(standard_key("whsec_"), b"whsec_");
        assert_eq!(standard_key("whsec_YWJj"), b"abc");
    }
}
