//! API keys, and texts that must not be shown.
//!
//! A key is `sbk_` and 43 characters of base64url: 32 random bytes. It is shown once and kept as the SHA-256
//! of its text; being random, it needs no salt and no slow hash. A [`Secret`] cannot be printed by accident,
//! and has no `Serialize`, so that no answer or stored row can hold one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What API keys begin with.
pub const PREFIX: &str = "sbk_";

/// The key of 32 random bytes.
#[must_use]
pub fn from_random(random: &[u8; 32]) -> Secret {
    Secret(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// What is kept of a key: SHA-256 of its text. Keys of any form hash, also those that an operator made up.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The hash in lower-case hex.
#[must_use]
pub fn hash_hex(key: &str) -> String {
    hex(&hash(key))
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0x0f)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A text that is never printed and never serialised; its comparison takes the same time wherever the texts
/// differ.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, where it is really needed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values were made with Python: `base64.urlsafe_b64encode(bytes(range(32)))` without its
    /// padding, and `hashlib.sha256` of the whole key.
    #[test]
    fn a_key_has_its_form_and_its_hash() {
        let key = from_random(&std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(key.expose(), "sbk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(key.expose().len(), PREFIX.len() + 43);
        let expected = "9f43839dfc8ba6e2db66f69b067651267537f6d51f9f1fd4eb79526e3d256cee";
        assert_eq!(hash_hex(key.expose()), expected);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "[redacted] [redacted] Some([redacted])"
        );
        assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").unwrap(), secret);
        assert_ne!(Secret::new("hunter3"), secret);
    }
}
