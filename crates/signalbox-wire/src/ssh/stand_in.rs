//! Keys of nobody: a response is checked with one wherever it cannot be the signature of any key that is there, so that how
//! long the answer takes does not tell whether there is one.
//!
//! How long a check takes follows from the kind and size of the key, and what cannot be a signature of a kind is refused
//! by its length at once. So the kinds follow from the response, never from the keys: each of them that none of the keys
//! is of gets a stand-in.

use sha2::{Digest, Sha256};

use super::public_key::{Material, PublicKey};
use super::response::{Response, WireAlgorithm};
use super::rsa_key::RsaKey;
use super::verify::MISSING_ZEROS_MAX;

/// The key of RFC 8032's first example.
const ED25519: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
/// The base point of the curve.
const P256: [u8; 65] = [
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];
/// The base point of the curve.
const P384: [u8; 97] = [
    0x04, 0xaa, 0x87, 0xca, 0x22, 0xbe, 0x8b, 0x05, 0x37, 0x8e, 0xb1, 0xc7, 0x1e, 0xf3, 0x20, 0xad, 0x74,
    0x6e, 0x1d, 0x3b, 0x62, 0x8b, 0xa7, 0x9b, 0x98, 0x59, 0xf7, 0x41, 0xe0, 0x82, 0x54, 0x2a, 0x38, 0x55,
    0x02, 0xf2, 0x5d, 0xbf, 0x55, 0x29, 0x6c, 0x3a, 0x54, 0x5e, 0x38, 0x72, 0x76, 0x0a, 0xb7, 0x36, 0x17,
    0xde, 0x4a, 0x96, 0x26, 0x2c, 0x6f, 0x5d, 0x9e, 0x98, 0xbf, 0x92, 0x92, 0xdc, 0x29, 0xf8, 0xf4, 0x1d,
    0xbd, 0x28, 0x9a, 0x14, 0x7c, 0xe9, 0xda, 0x31, 0x13, 0xb5, 0xf0, 0xb8, 0xc0, 0x0a, 0x60, 0xb1, 0xce,
    0x1d, 0x7e, 0x81, 0x9d, 0x7a, 0x43, 0x1d, 0x7c, 0x90, 0xea, 0x0e, 0x5f,
];

/// Bytes of the longest ECDSA signature in DER, that of P-384.
const DER_BYTES_MAX: usize = 104;
const ED25519_BYTES: usize = 64;
/// Bytes of the shortest and the longest modulus that is taken.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Moduli have a multiple of so many bytes, nearly all of them.
const USUAL_RSA_STEP: usize = 64;
/// Bytes of an RSA signature from which on a check takes a while.
const LONG_RSA_BYTES: usize = 512;

/// A kind of key that a response could be a signature of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
    P384,
    /// With a modulus of so many bytes.
    Rsa(usize),
}

impl Kind {
    fn has(self, key: &PublicKey) -> bool {
        match (&key.material, self) {
            (Material::Ed25519(_), Self::Ed25519)
            | (Material::EcdsaP256(_), Self::P256)
            | (Material::EcdsaP384(_), Self::P384) => true,
            (Material::Rsa(key), Self::Rsa(bytes)) => key.modulus.len() == bytes,
            _ => false,
        }
    }

    fn stand_in(self, seed: &[u8]) -> Option<PublicKey> {
        let material = match self {
            Self::Ed25519 => Material::Ed25519(ED25519),
            Self::P256 => Material::EcdsaP256(P256),
            Self::P384 => Material::EcdsaP384(P384),
            Self::Rsa(bytes) => Material::Rsa(RsaKey::new(&modulus(seed, bytes), &[1, 0, 1]).ok()?),
        };
        Some(PublicKey::of_nobody(material))
    }
}

impl Response {
    /// What to check the response with beside `keys`, so that it takes as long as if one of them were of its kind. `seed`
    /// is a secret of the agent: an RSA signature that is larger than the modulus is refused at once, and nobody is to
    /// know which one is.
    #[must_use]
    pub fn stand_ins<'a>(
        &self,
        keys: impl Iterator<Item = &'a PublicKey> + Clone,
        seed: &[u8],
    ) -> Vec<PublicKey> {
        if let Self::Armoured(armoured) = self {
            // It brings its key, and no other is tried.
            let is_there = keys.clone().any(|key| key.is(&armoured.public_key));
            let own = (!is_there).then(|| PublicKey::from_blob(&armoured.public_key).ok()).flatten();
            return own.into_iter().collect();
        }
        let is_missing = |kind: &Kind| !keys.clone().any(|key| kind.has(key));
        self.kinds().into_iter().filter(is_missing).filter_map(|kind| kind.stand_in(seed)).collect()
    }

    /// Whether a check takes a while, with whichever key.
    #[must_use]
    pub fn takes_long(&self) -> bool {
        match self {
            Self::Wire(wire) => wire.signature.len() > LONG_RSA_BYTES,
            Self::Armoured(armoured) => armoured.wire.signature.len() > LONG_RSA_BYTES,
            Self::Raw(signature) => RSA_BYTES.contains(&signature.len()),
        }
    }

    fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Armoured(_) => Vec::new(),
            Self::Wire(wire) => match wire.algorithm {
                WireAlgorithm::Ed25519 => vec![Kind::Ed25519],
                WireAlgorithm::EcdsaP256 => vec![Kind::P256],
                WireAlgorithm::EcdsaP384 => vec![Kind::P384],
                WireAlgorithm::RsaSha256 | WireAlgorithm::RsaSha512 | WireAlgorithm::RsaSha1 => {
                    let bytes = wire.signature.len();
                    // Zeros that it begins with may be left out.
                    let usual = bytes.next_multiple_of(USUAL_RSA_STEP);
                    let bytes = if usual - bytes <= MISSING_ZEROS_MAX { usual } else { bytes };
                    rsa(bytes)
                }
            },
            Self::Raw(signature) => match signature.len() {
                ED25519_BYTES => vec![Kind::Ed25519, Kind::P256, Kind::P384],
                ..=DER_BYTES_MAX => vec![Kind::P256, Kind::P384],
                bytes => rsa(bytes),
            },
        }
    }
}

fn rsa(bytes: usize) -> Vec<Kind> {
    if RSA_BYTES.contains(&bytes) { vec![Kind::Rsa(bytes)] } else { Vec::new() }
}

/// An odd number of so many bytes, all of them in use.
fn modulus(seed: &[u8], bytes: usize) -> Vec<u8> {
    let block = |index: usize| Sha256::new().chain_update(index.to_be_bytes()).chain_update(seed).finalize();
    let mut modulus: Vec<u8> = (0..bytes.div_ceil(32)).flat_map(block).take(bytes).collect();
    if let Some(first) = modulus.first_mut() {
        *first |= 0x80;
    }
    if let Some(last) = modulus.last_mut() {
        *last |= 1;
    }
    modulus
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::ssh::Algorithm;

    fn raw(bytes: usize) -> Response {
        Response::Raw(vec![1; bytes])
    }

    fn kinds(response: &Response, keys: &[PublicKey]) -> Vec<(Algorithm, Option<usize>)> {
        let keys = response.stand_ins(keys.iter(), b"seed");
        keys.iter().map(|key| (key.algorithm(), key.rsa_bits())).collect()
    }

    #[test]
    fn what_could_be_a_signature_of_a_kind_is_checked_with_a_key_of_that_kind() {
        let (p256, p384) = ((Algorithm::EcdsaP256, None), (Algorithm::EcdsaP384, None));
        assert_eq!(kinds(&raw(71), &[]), [p256, p384]);
        assert_eq!(kinds(&raw(64), &[]), [(Algorithm::Ed25519, None), p256, p384]);
        for bytes in [256, 384, 512, 1024] {
            assert_eq!(kinds(&raw(bytes), &[]), [(Algorithm::Rsa, Some(bytes * 8))], "{bytes}");
        }
        assert!(kinds(&raw(200), &[]).is_empty() && kinds(&raw(1025), &[]).is_empty(), "refused by length");
        // A key of another kind fails at once, and does not stand in for one.
        let ed25519 = Kind::Ed25519.stand_in(b"").expect("a key");
        let rsa = Kind::Rsa(256).stand_in(b"").expect("a key");
        assert_eq!(kinds(&raw(256), std::slice::from_ref(&ed25519)), [(Algorithm::Rsa, Some(2048))]);
        assert!(kinds(&raw(256), &[ed25519, rsa.clone()]).is_empty());
        assert_eq!(kinds(&raw(384), &[rsa]), [(Algorithm::Rsa, Some(3072))], "of another size");
        assert_ne!(modulus(b"a", 256), modulus(b"b", 256));
    }

    #[test]
    fn a_signature_of_ssh_says_its_kind() {
        let wire = |name: &str, bytes: usize| {
            let mut blob = Vec::new();
            for part in [name.as_bytes(), &vec![1; bytes]] {
                blob.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
                blob.extend(part);
            }
            Response::parse(&STANDARD.encode(blob)).expect("a response")
        };
        assert_eq!(kinds(&wire("ssh-ed25519", 64), &[]), [(Algorithm::Ed25519, None)]);
        assert_eq!(kinds(&wire("rsa-sha2-256", 384), &[]), [(Algorithm::Rsa, Some(3072))]);
        assert_eq!(
            kinds(&wire("rsa-sha2-512", 255), &[]),
            [(Algorithm::Rsa, Some(2048))],
            "a zero is left out"
        );
        assert!(wire("rsa-sha2-512", 1024).takes_long() && !wire("rsa-sha2-512", 256).takes_long());
        assert!(raw(256).takes_long() && !raw(64).takes_long());
    }
}
