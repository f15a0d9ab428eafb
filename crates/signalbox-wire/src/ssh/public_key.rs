//! Public keys in OpenSSH's form, `ssh-ed25519 AAAA… comment`: which are taken, and their fingerprints.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::frames::{Cut, Frames};
use super::rsa_key::{BadRsa, RsaKey};

/// Characters of a public key that are looked at, at most: an RSA key of 8192 bits takes about 1,500.
pub const PUBLIC_KEY_CHARS_MAX: usize = 8 * 1024;

/// Characters of an unknown kind of key that its refusal repeats.
const KIND_CHARS_MAX: usize = 64;

/// The points of edwards25519 of small order, and those that are written in a second way, without their sign. Anybody can
/// make a signature that such a key accepts.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    little(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_the_prime(0xec),
    near_the_prime(0xed),
    near_the_prime(0xee),
];

const fn little(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = number;
    bytes
}

const fn near_the_prime(first: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = first;
    bytes[31] = 0x7f;
    bytes
}

/// What a key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    Ed25519,
    /// ECDSA over NIST P-256.
    EcdsaP256,
    /// ECDSA over NIST P-384.
    EcdsaP384,
    /// RSA of 2048 to 8192 bits.
    Rsa,
}

impl Algorithm {
    /// What OpenSSH calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::Rsa]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A public key that may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) material: Material,
    blob: Vec<u8>,
}

/// The numbers of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    Ed25519([u8; 32]),
    /// The point, as `04 x y`.
    EcdsaP256([u8; 65]),
    /// The point, as `04 x y`.
    EcdsaP384([u8; 97]),
    Rsa(RsaKey),
}

/// Why a text is no public key that may sign in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicKey {
    /// It is longer than any key.
    #[error("is longer than {PUBLIC_KEY_CHARS_MAX} characters; send one line of a .pub file")]
    TooLong,
    /// It is a private key.
    #[error(
        "is a private key; it must never leave its machine: make a new pair, and send the line of its .pub file"
    )]
    Private,
    /// It is not one line of OpenSSH's form.
    #[error(
        "is not in OpenSSH's form; send the one line of a .pub file, such as 'ssh-ed25519 AAAA… comment'"
    )]
    Form,
    /// The data and the kind before it disagree, or the data is cut.
    #[error("is damaged: {0}; copy the whole line of the .pub file")]
    Damaged(&'static str),
    /// A kind that is not taken, and why.
    #[error("is of the kind '{kind}', {reason}")]
    Kind {
        /// What kind.
        kind: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// An RSA key that is not taken.
    #[error(transparent)]
    Rsa(#[from] BadRsa),
    /// A key that everybody can sign for.
    #[error("is a point of small order, for which everybody can sign; make a key with ssh-keygen")]
    SmallOrder,
}

impl From<Cut> for BadPublicKey {
    fn from(_: Cut) -> Self {
        Self::Damaged("its data ends early or is not written as a key's")
    }
}

impl PublicKey {
    /// Reads the one line of a `.pub` file.
    ///
    /// # Errors
    /// [`BadPublicKey`], to be read after the name of the field.
    pub fn parse(text: &str) -> Result<Self, BadPublicKey> {
        if text.len() > PUBLIC_KEY_CHARS_MAX {
            return Err(BadPublicKey::TooLong);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(BadPublicKey::Private);
        }
        let line = text.trim();
        if line.is_empty() || line.chars().any(|c| c != '\t' && c.is_control()) {
            return Err(BadPublicKey::Form);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else { return Err(BadPublicKey::Form) };
        let Some(algorithm) = Algorithm::named(kind) else { return Err(other_kind(kind)) };
        let blob = STANDARD.decode(data).map_err(|_| BadPublicKey::Damaged("its data is not base64"))?;
        Ok(Self { material: material(algorithm, &blob)?, blob })
    }

    /// Reads the data of a key as it stands inside a signature.
    pub(super) fn from_blob(blob: &[u8]) -> Result<Self, BadPublicKey> {
        let algorithm = Algorithm::named(Frames::new(blob).text()?).ok_or(BadPublicKey::Form)?;
        Ok(Self { material: material(algorithm, blob)?, blob: blob.to_vec() })
    }

    /// A key that nobody has sent.
    pub(super) fn of_nobody(material: Material) -> Self {
        Self { material, blob: Vec::new() }
    }

    /// Whether this is its data.
    pub(super) fn is(&self, blob: &[u8]) -> bool {
        self.blob == blob
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::EcdsaP256(_) => Algorithm::EcdsaP256,
            Material::EcdsaP384(_) => Algorithm::EcdsaP384,
            Material::Rsa(_) => Algorithm::Rsa,
        }
    }

    /// How many bits an RSA key has.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.material {
            Material::Rsa(key) => Some(key.bits()),
            _ => None,
        }
    }

    /// The fingerprint that `ssh-keygen -l` prints: `SHA256:` and base64 without padding.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// The key in OpenSSH's form, without a comment.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.algorithm().name(), STANDARD.encode(&self.blob))
    }
}

/// The fingerprint of a key's data.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

fn material(algorithm: Algorithm, blob: &[u8]) -> Result<Material, BadPublicKey> {
    let mut frames = Frames::new(blob);
    if frames.text()? != algorithm.name() {
        return Err(BadPublicKey::Damaged("the kind inside it is not the one before it"));
    }
    let material = match algorithm {
        Algorithm::Ed25519 => Material::Ed25519(ed25519(frames.string()?)?),
        Algorithm::EcdsaP256 => Material::EcdsaP256(point(&mut frames, "nistp256")?),
        Algorithm::EcdsaP384 => Material::EcdsaP384(point(&mut frames, "nistp384")?),
        Algorithm::Rsa => {
            let (exponent, modulus) = (frames.positive()?, frames.positive()?);
            Material::Rsa(RsaKey::new(modulus, exponent)?)
        }
    };
    frames.end()?;
    Ok(material)
}

fn ed25519(bytes: &[u8]) -> Result<[u8; 32], BadPublicKey> {
    let key: [u8; 32] = bytes.try_into().map_err(|_| BadPublicKey::Damaged("an Ed25519 key has 32 bytes"))?;
    let mut unsigned = key;
    unsigned[31] &= 0x7f;
    if SMALL_ORDER.contains(&unsigned) { Err(BadPublicKey::SmallOrder) } else { Ok(key) }
}

fn point<const N: usize>(frames: &mut Frames<'_>, curve: &str) -> Result<[u8; N], BadPublicKey> {
    if frames.text()? != curve {
        return Err(BadPublicKey::Damaged("its curve is not the one of its kind"));
    }
    let point: [u8; N] = frames
        .string()?
        .try_into()
        .map_err(|_| BadPublicKey::Damaged("its point has not the length of its curve"))?;
    if point[0] == 4 { Ok(point) } else { Err(BadPublicKey::Damaged("its point is compressed")) }
}

fn other_kind(kind: &str) -> BadPublicKey {
    let reason = if kind.contains("-cert-v01@") {
        "a certificate; send the public key that it certifies"
    } else if kind.starts_with("sk-") {
        "which signs with a security key's counter and cannot sign a challenge alone; make one with 'ssh-keygen -t ed25519'"
    } else if kind == "ssh-dss" {
        "which is broken; make one with 'ssh-keygen -t ed25519'"
    } else if kind.starts_with("ecdsa-") {
        "a curve that is not taken; Ed25519, ECDSA P-256 and P-384 and RSA are"
    } else if !kind.starts_with("ssh-") {
        return BadPublicKey::Form;
    } else {
        "which is not taken; Ed25519, ECDSA P-256 and P-384 and RSA are"
    };
    BadPublicKey::Kind { kind: kind.chars().take(KIND_CHARS_MAX).collect(), reason }
}
