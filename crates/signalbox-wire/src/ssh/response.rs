//! The `response` to a challenge: base64 of a signature in one of three forms, or the armoured one as it is.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest, Sha256, Sha512};

use super::frames::{Cut, Frames, put_string};
use super::public_key::fingerprint;

/// Characters of a response, at most: an armoured signature of an RSA key of 8192 bits, in base64 once more, has 4,400.
pub const RESPONSE_CHARS_MAX: usize = 16 * 1024;

/// The namespace of signatures that `ssh-keygen -Y sign` makes for a challenge.
pub const NAMESPACE: &str = "artcafe";

const ARMOUR_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const ARMOUR_END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: [u8; 6] = *b"SSHSIG";
const VERSION: u32 = 1;

/// What encoders make, with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A signature in the form in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The protocol's own: an algorithm with its signature.
    Wire(Wire),
    /// What `ssh-keygen -Y sign` makes.
    Armoured(Armoured),
    /// The bytes of a signature without a name.
    Raw(Vec<u8>),
}

/// A signature under the name of its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    pub(super) algorithm: WireAlgorithm,
    pub(super) signature: Vec<u8>,
}

/// A signature that says of what, by whom and for what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armoured {
    pub(super) public_key: Vec<u8>,
    pub(super) namespace: Vec<u8>,
    reserved: Vec<u8>,
    hash: Hash,
    pub(super) wire: Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha512,
}

/// The algorithms of signatures by their names in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireAlgorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    RsaSha256,
    RsaSha512,
    /// RSA with SHA-1, under the name of the key's kind.
    RsaSha1,
}

/// A response that can be no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is not a signature in any of the forms that are taken")]
pub struct BadResponse;

impl From<Cut> for BadResponse {
    fn from(_: Cut) -> Self {
        Self
    }
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// [`BadResponse`].
    pub fn parse(text: &str) -> Result<Self, BadResponse> {
        if text.len() > RESPONSE_CHARS_MAX {
            return Err(BadResponse);
        }
        if let Some(armour) = armour(text) {
            return Ok(Self::Armoured(Armoured::parse(&decoded(armour)?)?));
        }
        let bytes = decoded(text)?;
        if let Some(armour) = std::str::from_utf8(&bytes).ok().and_then(armour) {
            return Ok(Self::Armoured(Armoured::parse(&decoded(armour)?)?));
        }
        if bytes.starts_with(&MAGIC) {
            return Ok(Self::Armoured(Armoured::parse(&bytes)?));
        }
        Ok(match Wire::parse(&bytes) {
            Ok(wire) => Self::Wire(wire),
            Err(Cut) if bytes.is_empty() => return Err(BadResponse),
            Err(Cut) => Self::Raw(bytes),
        })
    }

    /// Whether it is made with SHA-1, which it says itself.
    #[must_use]
    pub fn says_sha1(&self) -> bool {
        match self {
            Self::Wire(wire) => wire.algorithm == WireAlgorithm::RsaSha1,
            Self::Armoured(_) | Self::Raw(_) => false,
        }
    }

    /// The fingerprint of the key that it says it is made with.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Armoured(armoured) => Some(fingerprint(&armoured.public_key)),
            Self::Wire(_) | Self::Raw(_) => None,
        }
    }
}

impl Wire {
    fn parse(bytes: &[u8]) -> Result<Self, Cut> {
        let mut frames = Frames::new(bytes);
        let algorithm = WireAlgorithm::named(frames.text()?).ok_or(Cut)?;
        let signature = frames.string()?.to_vec();
        frames.end()?;
        Ok(Self { algorithm, signature })
    }
}

impl WireAlgorithm {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ssh-ed25519" => Self::Ed25519,
            "ecdsa-sha2-nistp256" => Self::EcdsaP256,
            "ecdsa-sha2-nistp384" => Self::EcdsaP384,
            "rsa-sha2-256" => Self::RsaSha256,
            "rsa-sha2-512" => Self::RsaSha512,
            "ssh-rsa" => Self::RsaSha1,
            _ => return None,
        })
    }
}

impl Armoured {
    fn parse(bytes: &[u8]) -> Result<Self, BadResponse> {
        let mut frames = Frames::new(bytes);
        if frames.bytes()? != MAGIC || u32::from_be_bytes(frames.bytes()?) != VERSION {
            return Err(BadResponse);
        }
        let public_key = frames.string()?.to_vec();
        let namespace = frames.string()?.to_vec();
        let reserved = frames.string()?.to_vec();
        let hash = match frames.text()? {
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            _ => return Err(BadResponse),
        };
        let wire = Wire::parse(frames.string()?)?;
        frames.end()?;
        Ok(Self { public_key, namespace, reserved, hash, wire })
    }

    /// What is signed where `message` is what was meant.
    pub(super) fn signed(&self, message: &[u8]) -> Vec<u8> {
        let mut signed = MAGIC.to_vec();
        put_string(&mut signed, &self.namespace);
        put_string(&mut signed, &self.reserved);
        match self.hash {
            Hash::Sha256 => {
                put_string(&mut signed, b"sha256");
                put_string(&mut signed, &Sha256::digest(message));
            }
            Hash::Sha512 => {
                put_string(&mut signed, b"sha512");
                put_string(&mut signed, &Sha512::digest(message));
            }
        }
        signed
    }
}

/// What stands between the lines that begin and end an armoured signature.
fn armour(text: &str) -> Option<&str> {
    text.trim().strip_prefix(ARMOUR_BEGIN)?.strip_suffix(ARMOUR_END)
}

/// The bytes of a text in base64, in which there may be line breaks.
fn decoded(text: &str) -> Result<Vec<u8>, BadResponse> {
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(compact).map_err(|_| BadResponse)
}
