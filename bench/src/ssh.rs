//! SSH keys of agents, made for a run, and what they sign.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};

/// The kinds that agents may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    Rsa2048,
    Rsa4096,
}

impl KeyKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa4096 => "RSA 4096",
        }
    }
}

/// A key pair.
pub(crate) struct Key {
    pair: Pair,
    /// The public key as OpenSSH writes it.
    pub(crate) public: String,
    random: SystemRandom,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(&'static str, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// Makes a key; one of RSA is made by `ssh-keygen`, in `folder`.
    pub(crate) fn make(kind: KeyKind, folder: &Path) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let refused = |_| anyhow::anyhow!("a key of {} could not be made", kind.name());
        let rejected = |error| anyhow::anyhow!("a key of {} is not taken: {error}", kind.name());
        let ecdsa = |algorithm, name: &'static str| {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(refused)?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(rejected)?;
            let curve = name.rsplit('-').next().unwrap_or_default();
            let public = line(name, &[curve.as_bytes(), pair.public_key().as_ref()]);
            anyhow::Ok((Pair::Ecdsa(name, pair), public))
        };
        let (pair, public) = match kind {
            KeyKind::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(refused)?;
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(rejected)?;
                let public = line("ssh-ed25519", &[pair.public_key().as_ref()]);
                (Pair::Ed25519(pair), public)
            }
            KeyKind::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "ecdsa-sha2-nistp256")?,
            KeyKind::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "ecdsa-sha2-nistp384")?,
            KeyKind::Rsa2048 => rsa(2_048, folder)?,
            KeyKind::Rsa4096 => rsa(4_096, folder)?,
        };
        Ok(Self { pair, public, random })
    }

    /// A signature as SSH's protocol has it, in base64: what paramiko and OpenSSH's own clients make.
    pub(crate) fn sign(&self, message: &[u8]) -> anyhow::Result<String> {
        let refused = |_| anyhow::anyhow!("a challenge could not be signed");
        let (name, signature) = match &self.pair {
            Pair::Ed25519(pair) => ("ssh-ed25519", pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(name, pair) => {
                let signature = pair.sign(&self.random, message).map_err(refused)?;
                let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
                (*name, blob(&[&integer(r), &integer(s)]))
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(refused)?;
                ("rsa-sha2-256", signature)
            }
        };
        Ok(STANDARD.encode(blob(&[name.as_bytes(), &signature])))
    }
}

/// Parts with their lengths before them.
fn blob(parts: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for part in parts {
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        blob.extend_from_slice(part);
    }
    blob
}

/// A positive number without leading zeros, but with one where it would look negative.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = &bytes[from..];
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    [sign, digits].concat()
}

/// A public key as one line: its name, then its name and its parts with their lengths.
fn line(name: &str, parts: &[&[u8]]) -> String {
    format!("{name} {}", STANDARD.encode(blob(&[&[name.as_bytes()], parts].concat())))
}

fn rsa(bits: u32, folder: &Path) -> anyhow::Result<(Pair, String)> {
    let file = folder.join(format!("rsa-{bits}"));
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "rsa", "-b", &bits.to_string(), "-m", "PEM", "-N", "", "-C", "", "-f"])
        .arg(&file);
    let output = command.stdin(Stdio::null()).output();
    let output =
        output.context("ssh-keygen makes the keys of RSA (Debian: `apt-get install openssh-client`)")?;
    if !output.status.success() {
        bail!("ssh-keygen failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let pem = std::fs::read_to_string(&file)?;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_der(&STANDARD.decode(body).context("ssh-keygen wrote no PEM")?)
        .map_err(|error| anyhow::anyhow!("the key of ssh-keygen is not taken: {error}"))?;
    let public = std::fs::read_to_string(file.with_extension("pub"))?;
    Ok((Pair::Rsa(pair), public.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    /// The parts of a blob.
    fn parts(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (part, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            parts.push(part.to_vec());
            bytes = rest;
        }
        parts
    }

    #[test]
    fn numbers_are_positive_and_short() {
        assert_eq!(integer(&[0, 0, 1, 2]), [1, 2]);
        assert_eq!(integer(&[0, 0x80]), [0, 0x80]);
        assert_eq!(integer(&[0, 0]), [0; 0]);
    }

    #[test]
    fn what_is_signed_verifies_with_the_key_of_the_line() {
        let algorithms: [(KeyKind, &dyn VerificationAlgorithm, usize); 3] = [
            (KeyKind::Ed25519, &ED25519, 0),
            (KeyKind::EcdsaP256, &ECDSA_P256_SHA256_FIXED, 32),
            (KeyKind::EcdsaP384, &ECDSA_P384_SHA384_FIXED, 48),
        ];
        for (kind, algorithm, width) in algorithms {
            let key = Key::make(kind, Path::new("/")).unwrap();
            let (name, public) = key.public.split_once(' ').unwrap();
            let public = parts(&STANDARD.decode(public).unwrap());
            let signature = parts(&STANDARD.decode(key.sign(b"challenge").unwrap()).unwrap());
            assert_eq!((&public[0], &signature[0]), (&name.as_bytes().to_vec(), &name.as_bytes().to_vec()));
            let mut signature = signature[1].clone();
            if width > 0 {
                // Each number as wide as the curve's.
                let numbers = parts(&signature);
                signature = numbers
                    .iter()
                    .flat_map(|number| {
                        let padded = [vec![0; width], number.clone()].concat();
                        padded[padded.len() - width..].to_vec()
                    })
                    .collect();
            }
            let public = UnparsedPublicKey::new(algorithm, public.last().unwrap());
            public.verify(b"challenge", &signature).unwrap();
        }
    }
}
