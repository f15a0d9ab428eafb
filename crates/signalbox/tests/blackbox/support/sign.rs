//! HMAC-SHA256 as a receiver of webhooks computes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// In lower-case hex.
pub(crate) fn hmac_hex(key: &[u8], message: &[u8]) -> String {
    hmac(key, message).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In base64.
pub(crate) fn hmac_base64(key: &[u8], message: &[u8]) -> String {
    STANDARD.encode(hmac(key, message))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length fits");
    hmac.update(message);
    hmac.finalize().into_bytes().to_vec()
}
