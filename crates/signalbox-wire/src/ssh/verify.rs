//! Whether a response is a signature of a message with a key.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::frames::Frames;
use super::public_key::{Material, PublicKey};
use super::response::{NAMESPACE, Response, Wire, WireAlgorithm};
use super::rsa_key::RsaKey;

/// Zeros at the beginning of an RSA signature that may be left out; each is as rare as one in 256.
pub(super) const MISSING_ZEROS_MAX: usize = 8;

/// Whether signatures with SHA-1 count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sha1 {
    /// They do not.
    Refused,
    /// They do, as the operator said in so many words.
    Allowed,
}

/// Why a response does not count. A client is told of the second only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no signature of the message with this key.
    #[error("the signature does not match")]
    Mismatch,
    /// It is one, or says so, made with SHA-1.
    #[error("the signature is made with SHA-1")]
    Sha1,
}

impl PublicKey {
    /// Whether `response` is a signature of `message` with this key.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, message: &[u8], response: &Response, sha1: Sha1) -> Result<(), Refused> {
        if response.says_sha1() && sha1 == Sha1::Refused {
            return Err(Refused::Sha1);
        }
        let verifies = match response {
            Response::Wire(wire) => self.verifies_wire(message, wire),
            Response::Armoured(armoured) => {
                armoured.namespace == NAMESPACE.as_bytes()
                    && armoured.wire.algorithm != WireAlgorithm::RsaSha1
                    && self.is(&armoured.public_key)
                    && self.verifies_wire(&armoured.signed(message), &armoured.wire)
            }
            Response::Raw(signature) => return self.verify_raw(message, signature, sha1),
        };
        if verifies { Ok(()) } else { Err(Refused::Mismatch) }
    }

    fn verifies_wire(&self, message: &[u8], Wire { algorithm, signature }: &Wire) -> bool {
        match (&self.material, algorithm) {
            (Material::Ed25519(key), WireAlgorithm::Ed25519) => verifies(&ED25519, key, message, signature),
            (Material::EcdsaP256(key), WireAlgorithm::EcdsaP256) => fixed::<32, 64>(signature)
                .is_some_and(|signature| verifies(&ECDSA_P256_SHA256_FIXED, key, message, &signature)),
            (Material::EcdsaP384(key), WireAlgorithm::EcdsaP384) => fixed::<48, 96>(signature)
                .is_some_and(|signature| verifies(&ECDSA_P384_SHA384_FIXED, key, message, &signature)),
            (Material::Rsa(key), _) => {
                let parameters = match algorithm {
                    WireAlgorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
                    WireAlgorithm::RsaSha512 => &RSA_PKCS1_2048_8192_SHA512,
                    WireAlgorithm::RsaSha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    _ => return false,
                };
                // Some leave out the zeros that it begins with.
                match key.modulus.len().checked_sub(signature.len()) {
                    Some(0) => verifies_rsa(parameters, key, message, signature),
                    Some(missing) if missing <= MISSING_ZEROS_MAX => {
                        let padded = [&vec![0; missing][..], signature].concat();
                        verifies_rsa(parameters, key, message, &padded)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn verify_raw(&self, message: &[u8], signature: &[u8], sha1: Sha1) -> Result<(), Refused> {
        let is_one = match &self.material {
            Material::Ed25519(key) => verifies(&ED25519, key, message, signature),
            Material::EcdsaP256(key) => verifies(&ECDSA_P256_SHA256_ASN1, key, message, signature),
            Material::EcdsaP384(key) => {
                verifies(&ECDSA_P384_SHA384_ASN1, key, message, signature)
                    || verifies(&ECDSA_P384_SHA256_ASN1, key, message, signature)
            }
            Material::Rsa(key) if signature.len() != key.modulus.len() => false,
            Material::Rsa(key) => {
                let strong = [
                    &RSA_PKCS1_2048_8192_SHA256,
                    &RSA_PKCS1_2048_8192_SHA512,
                    &RSA_PSS_2048_8192_SHA256,
                    &RSA_PSS_2048_8192_SHA512,
                ];
                let weak = &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
                if strong.iter().any(|parameters| verifies_rsa(parameters, key, message, signature)) {
                    return Ok(());
                }
                if verifies_rsa(weak, key, message, signature) {
                    return if sha1 == Sha1::Allowed { Ok(()) } else { Err(Refused::Sha1) };
                }
                key.verifies_pss(message, signature)
            }
        };
        if is_one { Ok(()) } else { Err(Refused::Mismatch) }
    }
}

fn verifies(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}

fn verifies_rsa(parameters: &RsaParameters, key: &RsaKey, message: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKeyComponents { n: &key.modulus, e: &key.exponent };
    key.verify(parameters, message, signature).is_ok()
}

/// The two numbers of an ECDSA signature, each as long as the curve's order; `TWICE` is twice `N`.
fn fixed<const N: usize, const TWICE: usize>(signature: &[u8]) -> Option<[u8; TWICE]> {
    let mut frames = Frames::new(signature);
    let (r, s) = (frames.positive().ok()?, frames.positive().ok()?);
    frames.end().ok()?;
    let mut fixed = [0; TWICE];
    let (first, second) = fixed.split_at_mut(N);
    for (place, number) in [(first, r), (second, s)] {
        let begin = place.len().checked_sub(number.len())?;
        place.get_mut(begin..)?.copy_from_slice(number);
    }
    Some(fixed)
}
