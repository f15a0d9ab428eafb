//! RSA public keys: their bounds, and the check of a PSS signature whose salt may have any length.
//!
//! What the TLS library verifies (PKCS#1 v1.5, and PSS with a salt as long as the hash) it verifies; the salts that
//! OpenSSL makes by default are as long as fits, and those are left to the `rsa` crate.

use rsa::BoxedUint;
use rsa::pss::{Signature, VerifyingKey};
use rsa::signature::Verifier as _;
use sha2::digest::FixedOutputReset;
use sha2::{Digest, Sha256, Sha512};

/// Bits of the shortest modulus that is taken.
const BITS_MIN: usize = 2048;
/// Bits of the longest modulus that can be verified.
const BITS_MAX: usize = 8192;
/// Bytes of the longest exponent: 65537 has three, and what is longer only makes checks slow.
const EXPONENT_BYTES_MAX: usize = 4;

/// The two numbers of an RSA key, big-endian, without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RsaKey {
    pub(super) modulus: Vec<u8>,
    pub(super) exponent: Vec<u8>,
}

/// Why an RSA key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRsa {
    /// It is too short.
    #[error("is an RSA key of {0} bits; it needs {BITS_MIN} or more: make one with 'ssh-keygen -t ed25519'")]
    Short(usize),
    /// It is too long.
    #[error("is an RSA key of {0} bits; {BITS_MAX} are taken at most")]
    Long(usize),
    /// Its numbers cannot be those of a key.
    #[error("is damaged: its numbers are not those of an RSA key; copy the whole line of the .pub file")]
    Numbers,
}

impl RsaKey {
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, BadRsa> {
        let bits = bits(modulus);
        if bits < BITS_MIN {
            return Err(BadRsa::Short(bits));
        }
        if bits > BITS_MAX {
            return Err(BadRsa::Long(bits));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        let is_one = exponent == [1];
        if !is_odd(modulus) || !is_odd(exponent) || is_one || exponent.len() > EXPONENT_BYTES_MAX {
            return Err(BadRsa::Numbers);
        }
        Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    pub(super) fn bits(&self) -> usize {
        bits(&self.modulus)
    }

    /// Whether `signature` is a PSS one of `message`, with SHA-256 or SHA-512 and a salt of any length.
    pub(super) fn verifies_pss(&self, message: &[u8], signature: &[u8]) -> bool {
        let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
        let (modulus, exponent) = (number(&self.modulus), number(&self.exponent));
        let key = rsa::PublicKey::new_with_size_limits(modulus, exponent, BITS_MIN..=BITS_MAX);
        let signature = Signature::from_bytes_with_max_len(signature, self.modulus.len());
        let (Ok(key), Ok(signature)) = (key, signature) else { return false };
        pss::<Sha256>(&key, message, &signature) || pss::<Sha512>(&key, message, &signature)
    }
}

fn pss<D: Digest + FixedOutputReset>(key: &rsa::PublicKey, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::<D>::new_with_auto_salt_len(key.clone()).verify(message, signature).is_ok()
}

/// The bits of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    let first = number.first().map_or(0, |first| first.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(first).unwrap_or_default())
}
