//! A private SSH key, and what it signs: [`SigningKey`] reads OpenSSH's form, PKCS#8 and PKCS#1, without a passphrase, and
//! makes the raw signatures that the server takes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

use crate::error::Error;

/// The longest file that is taken for a key, in bytes.
const FILE_BYTES_MAX: usize = 64 << 10;
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// A private key.
pub(crate) enum SigningKey {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair, SystemRandom),
    Rsa(Box<RsaKeyPair>, SystemRandom),
}

/// Why something is no key.
type Reason = String;

impl SigningKey {
    /// Reads a key from a file's path or from its text.
    pub(crate) fn read(path_or_pem: &str) -> Result<Self, Error> {
        if path_or_pem.contains("-----BEGIN") {
            return Self::parse(path_or_pem).map_err(|reason| Error::unusable("the SSH key", reason));
        }
        let what = || format!("the SSH key {path_or_pem}");
        let text = std::fs::read_to_string(path_or_pem)
            .map_err(|source| Error::Local { what: format!("reading {}", what()), source })?;
        Self::parse(&text).map_err(|reason| Error::unusable(what(), reason))
    }

    fn parse(text: &str) -> Result<Self, Reason> {
        if text.len() > FILE_BYTES_MAX {
            return Err(format!("it is larger than {FILE_BYTES_MAX} bytes, and so no key"));
        }
        let (label, bytes) = pem(text)?;
        let random = SystemRandom::new;
        match label {
            "OPENSSH PRIVATE KEY" => openssh(&bytes),
            "PRIVATE KEY" => pkcs8(&bytes),
            "RSA PRIVATE KEY" if !text.contains("Proc-Type:") => RsaKeyPair::from_der(&bytes)
                .map(|key| Self::Rsa(Box::new(key), random()))
                .map_err(|error| rejected("RSA", error)),
            "RSA PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => Err(has_passphrase()),
            "EC PRIVATE KEY" => {
                Err("it is in an old form; 'ssh-keygen -p -f FILE' writes it in OpenSSH's".to_owned())
            }
            "PUBLIC KEY" | "SSH2 PUBLIC KEY" => Err("it is the public key; give the private one".to_owned()),
            other => Err(format!("'{other}' is no kind of private key")),
        }
    }

    /// The raw signature of a message, in base64: what a challenge is answered with.
    pub(crate) fn respond(&self, message: &[u8]) -> Result<String, Error> {
        let failed = || Error::unusable("the SSH key", "it does not sign");
        let signature = match self {
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Ecdsa(key, random) => key.sign(random, message).map_err(|_| failed())?.as_ref().to_vec(),
            Self::Rsa(key, random) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, random, message, &mut signature).map_err(|_| failed())?;
                signature
            }
        };
        Ok(STANDARD.encode(signature))
    }
}

fn rejected(kind: &str, error: impl fmt::Display) -> Reason {
    format!("its {kind} numbers are not taken: {error}")
}

fn has_passphrase() -> Reason {
    "it has a passphrase; 'ssh-keygen -p -N \"\" -f FILE' takes that away".to_owned()
}

/// The label and the bytes of the first block.
fn pem(text: &str) -> Result<(&str, Vec<u8>), Reason> {
    let damaged = || "it is damaged: copy the whole file, with its first and last lines".to_owned();
    let (_, rest) = text.split_once("-----BEGIN ").ok_or("it has no line '-----BEGIN … PRIVATE KEY-----'")?;
    let (label, rest) = rest.split_once("-----").ok_or_else(damaged)?;
    let (body, _) = rest.split_once("-----END ").ok_or_else(damaged)?;
    // Headers of old forms have a colon, and base64 has none.
    let body: String = body.lines().filter(|line| !line.contains(':')).flat_map(str::chars).collect();
    let body: String = body.chars().filter(|character| !character.is_whitespace()).collect();
    STANDARD.decode(body).map(|bytes| (label, bytes)).map_err(|_| damaged())
}

fn pkcs8(bytes: &[u8]) -> Result<SigningKey, Reason> {
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
        return Ok(SigningKey::Ed25519(key));
    }
    let random = SystemRandom::new();
    for curve in [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING] {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(curve, bytes, &random) {
            return Ok(SigningKey::Ecdsa(key, random));
        }
    }
    let key = RsaKeyPair::from_pkcs8(bytes).map_err(|error| {
        format!(
            "it is no Ed25519, ECDSA (P-256, P-384) or RSA (2048 bits or more) key that can be read: {error}"
        )
    })?;
    Ok(SigningKey::Rsa(Box::new(key), random))
}

/// OpenSSH's own form: a public part, and a private one that is not encrypted.
fn openssh(bytes: &[u8]) -> Result<SigningKey, Reason> {
    let mut outer = Strings(bytes.strip_prefix(MAGIC).ok_or_else(cut)?);
    if outer.next()? != b"none" {
        return Err(has_passphrase());
    }
    let (_kdf, _options) = (outer.next()?, outer.next()?);
    if outer.number()? != 1 {
        return Err("it holds several keys".to_owned());
    }
    let _public = outer.next()?;
    let mut inner = Strings(outer.next()?);
    if inner.number()? != inner.number()? {
        return Err(cut());
    }
    match inner.next()? {
        b"ssh-ed25519" => {
            let public = inner.next()?;
            let seed = inner.next()?.get(..32).ok_or_else(cut)?;
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map(SigningKey::Ed25519)
                .map_err(|error| rejected("Ed25519", error))
        }
        b"ecdsa-sha2-nistp256" => ecdsa(&mut inner, &ECDSA_P256_SHA256_ASN1_SIGNING, 32),
        b"ecdsa-sha2-nistp384" => ecdsa(&mut inner, &ECDSA_P384_SHA384_ASN1_SIGNING, 48),
        b"ssh-rsa" => rsa(&mut inner),
        other => Err(format!(
            "'{}' is no kind of key that signs in; make one with 'ssh-keygen -t ed25519'",
            String::from_utf8_lossy(other)
        )),
    }
}

fn ecdsa(
    parts: &mut Strings<'_>,
    curve: &'static EcdsaSigningAlgorithm,
    bytes: usize,
) -> Result<SigningKey, Reason> {
    let _curve = parts.next()?;
    let public = parts.next()?;
    let scalar = unsigned(parts.next()?);
    let mut private = vec![0; bytes.checked_sub(scalar.len()).ok_or_else(cut)?];
    private.extend_from_slice(scalar);
    let random = SystemRandom::new();
    EcdsaKeyPair::from_private_key_and_public_key(curve, &private, public, &random)
        .map(|key| SigningKey::Ecdsa(key, random))
        .map_err(|error| rejected("ECDSA", error))
}

fn rsa(parts: &mut Strings<'_>) -> Result<SigningKey, Reason> {
    let [n, e, d, q_inverse, p, q] =
        [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?]
            .map(unsigned);
    let (d_p, d_q) = (remainder(d, &less_one(p)), remainder(d, &less_one(q)));
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d,
        p,
        q,
        dP: unsigned(&d_p),
        dQ: unsigned(&d_q),
        qInv: q_inverse,
    };
    RsaKeyPair::from_components(&components)
        .map(|key| SigningKey::Rsa(Box::new(key), SystemRandom::new()))
        .map_err(|error| rejected("RSA", error))
}

/// A number without the zeros before it.
fn unsigned(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// An odd number less one.
fn less_one(odd: &[u8]) -> Vec<u8> {
    let mut even = odd.to_vec();
    if let Some(last) = even.last_mut() {
        *last &= 0xfe;
    }
    even
}

/// The remainder of a division of big-endian numbers, bit by bit: a key is read once.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    // One byte more, so that doubling does not overflow.
    let modulus = [&[0], modulus].concat();
    let mut left = vec![0; modulus.len()];
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |place| (byte >> place) & 1)) {
        let mut carry = bit;
        for byte in left.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | u16::from(carry);
            let [high, low] = doubled.to_be_bytes();
            (*byte, carry) = (low, high);
        }
        if left >= modulus {
            subtract(&mut left, &modulus);
        }
    }
    left
}

fn subtract(from: &mut [u8], number: &[u8]) {
    let mut borrow = false;
    for (byte, less) in from.iter_mut().zip(number).rev() {
        let (once, under) = byte.overflowing_sub(*less);
        let (twice, under_again) = once.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (twice, under || under_again);
    }
}

fn cut() -> Reason {
    "it is damaged: copy the whole file, with its first and last lines".to_owned()
}

/// Strings and numbers as the SSH protocol has them (RFC 4251, section 5).
struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn number(&mut self) -> Result<u32, Reason> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or_else(cut)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn next(&mut self) -> Result<&'a [u8], Reason> {
        let length = usize::try_from(self.number()?).map_err(|_| cut())?;
        let (string, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(string)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::Ecdsa(..) => "Ecdsa",
            Self::Rsa(..) => "Rsa",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use signalbox_wire::ssh::{PublicKey, Response, Sha1};

    use super::*;

    /// Makes a key with ssh-keygen; `None` where that is not there.
    fn made(arguments: &[&str]) -> Option<(String, String)> {
        let folder = std::env::temp_dir().join(format!("signalbox-key-{}", crate::edge::unique_key()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-f"]).arg(&file).args(arguments).output().ok()?;
        assert!(made.status.success(), "{made:?}");
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let private = std::fs::read_to_string(&file).unwrap();
        assert_eq!(SigningKey::read(file.to_str().unwrap()).is_ok(), SigningKey::read(&private).is_ok());
        std::fs::remove_dir_all(folder).unwrap();
        Some((private, public))
    }

    #[test]
    fn what_each_kind_of_key_signs_is_taken_by_the_server() {
        for arguments in [
            &["-t", "ed25519", "-N", ""][..],
            &["-t", "ecdsa", "-b", "256", "-N", ""],
            &["-t", "ecdsa", "-b", "384", "-N", ""],
            &["-t", "rsa", "-b", "2048", "-N", ""],
            &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"],
            &["-t", "rsa", "-b", "3072", "-N", "", "-m", "PKCS8"],
            &["-t", "ecdsa", "-b", "256", "-N", "", "-m", "PKCS8"],
        ] {
            let Some((private, public)) = made(arguments) else { return };
            let key = SigningKey::read(&private).unwrap();
            let response = Response::parse(&key.respond(b"challenge").unwrap()).unwrap();
            let public = PublicKey::parse(public.trim()).unwrap();
            assert!(public.verify(b"challenge", &response, Sha1::Refused).is_ok(), "{arguments:?}");
            assert!(public.verify(b"another", &response, Sha1::Refused).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_with_the_cure() {
        if let Some((locked, public)) = made(&["-t", "ed25519", "-N", "secret"]) {
            let error = SigningKey::read(&locked).unwrap_err().to_string();
            assert!(error.contains("passphrase") && error.contains("ssh-keygen -p"), "{error}");
            assert!(matches!(SigningKey::read(&public), Err(Error::Local { .. })), "no such file");
        }
        for (text, reason) in [
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "damaged"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "damaged"),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----", "old form"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "public key"),
        ] {
            let error = SigningKey::read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn remainders_are_those_of_arithmetic() {
        for (number, modulus) in [(1_000_003_u64, 997_u64), (5, 7), (u64::MAX, 65_537), (0, 3)] {
            let left = remainder(&number.to_be_bytes(), unsigned(&modulus.to_be_bytes()));
            let left = left.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            assert_eq!(left, number % modulus);
        }
    }
}
