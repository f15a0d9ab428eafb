//! SSH keys of agents, made for a run, and what they sign.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
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
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    /// Makes a key; one of RSA is made by `ssh-keygen`, in `folder`.
    pub(crate) fn make(kind: KeyKind, folder: &Path) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let refused = |_| anyhow::anyhow!("a key of {} could not be made", kind.name());
        let rejected = |error| anyhow::anyhow!("a key of {} is not taken: {error}", kind.name());
        let ecdsa = |algorithm, curve: &str| {
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(refused)?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(rejected)?;
            let name = format!("ecdsa-sha2-{curve}");
            let public = line(&name, &[curve.as_bytes(), pair.public_key().as_ref()]);
            anyhow::Ok((Pair::Ecdsa(pair), public))
        };
        let (pair, public) = match kind {
            KeyKind::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(refused)?;
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(rejected)?;
                let public = line("ssh-ed25519", &[pair.public_key().as_ref()]);
                (Pair::Ed25519(pair), public)
            }
            KeyKind::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, "nistp256")?,
            KeyKind::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, "nistp384")?,
            KeyKind::Rsa2048 => rsa(2_048, folder)?,
            KeyKind::Rsa4096 => rsa(4_096, folder)?,
        };
        Ok(Self { pair, public, random })
    }

    /// A raw signature in base64.
    pub(crate) fn sign(&self, message: &[u8]) -> anyhow::Result<String> {
        let refused = |_| anyhow::anyhow!("a challenge could not be signed");
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.sign(&self.random, message).map_err(refused)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(refused)?;
                signature
            }
        };
        Ok(STANDARD.encode(signature))
    }
}

/// A public key as one line: its name, then its name and its parts with their lengths.
fn line(name: &str, parts: &[&[u8]]) -> String {
    let mut blob = Vec::new();
    for part in [&[name.as_bytes()], parts].concat() {
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        blob.extend_from_slice(part);
    }
    format!("{name} {}", STANDARD.encode(blob))
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
        ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    #[test]
    fn a_line_holds_the_name_and_the_parts() {
        let blob = STANDARD.decode(line("ssh-x", &[b"ab"]).strip_prefix("ssh-x ").unwrap()).unwrap();
        assert_eq!(blob, b"\0\0\0\x05ssh-x\0\0\0\x02ab");
    }

    #[test]
    fn what_is_signed_verifies_with_the_key_at_the_end_of_the_line() {
        let algorithms: [(KeyKind, &dyn VerificationAlgorithm, usize); 3] = [
            (KeyKind::Ed25519, &ED25519, 32),
            (KeyKind::EcdsaP256, &ECDSA_P256_SHA256_ASN1, 65),
            (KeyKind::EcdsaP384, &ECDSA_P384_SHA384_ASN1, 97),
        ];
        for (kind, algorithm, bytes) in algorithms {
            let key = Key::make(kind, Path::new("/")).unwrap();
            let blob = STANDARD.decode(key.public.split(' ').nth(1).unwrap()).unwrap();
            let signature = STANDARD.decode(key.sign(b"challenge").unwrap()).unwrap();
            let public = UnparsedPublicKey::new(algorithm, &blob[blob.len() - bytes..]);
            public.verify(b"challenge", &signature).unwrap();
        }
    }
}
