//! The tokens that agents get when they sign in: JWTs (RFC 7519) signed with Ed25519 (`alg: EdDSA`, RFC 8037), and the
//! public keys that check them, as a JWK set.
//!
//! Only what this server makes is read: one algorithm, one shape of header, each claim there. Whether the key that signed
//! in is still good is not in a token; whoever takes one asks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;
use utoipa::ToSchema;

use crate::id::{AgentId, KeyId, TenantId};
use crate::keys::hex;
use crate::time::Timestamp;

/// Seconds for which a token is good.
pub const LIFETIME_S: i64 = 3_600;

/// Characters of a token, at most: ids have up to 256 characters, each of up to four bytes.
pub const CHARS_MAX: usize = 8 * 1024;

/// What every token begins with: `{"` in base64.
const BEGIN: &str = "eyJ";
const ALGORITHM: &str = "EdDSA";
/// Bytes of a signing key's name.
const NAME_BYTES: usize = 8;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is about: the agent.
    pub sub: AgentId,
    /// The agent's tenant.
    pub tenant_id: TenantId,
    /// The agent that it acts for.
    pub agent_id: AgentId,
    /// The type of the key that signed in.
    pub key_type: String,
    /// The key that signed in.
    pub key_id: KeyId,
    /// When the agent registered: the token is not for one that takes its id later.
    pub registered_at: Timestamp,
    /// When it was made, in Unix seconds.
    pub iat: i64,
    /// From when on it is over, in Unix seconds.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
}

impl Claims {
    /// From when on it is over.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.exp)
    }
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// What tokens are signed with.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    header: String,
    verifying: VerifyingKey,
}

/// What checks tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Its name.
    pub kid: String,
    public: [u8; 32],
}

/// A token whose signature has not been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked<'a> {
    /// The name of the key that it says it is signed with.
    pub kid: String,
    signed: &'a str,
    claims: &'a str,
    signature: [u8; 64],
}

/// A text that is no token of this server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token that was made here")]
pub struct BadToken;

/// 32 bytes that are no seed of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seed of a signing key cannot be used")]
pub struct BadSeed;

/// A new id of a token.
#[must_use]
pub fn id(now: Timestamp, random: u128) -> String {
    Ulid::from_parts(now.as_millis().max(0).unsigned_abs(), random).to_string().to_ascii_lowercase()
}

/// Whether a bearer's text has the form of a token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.starts_with(BEGIN) && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl SigningKey {
    /// The key of 32 random bytes.
    ///
    /// # Errors
    /// [`BadSeed`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadSeed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadSeed)?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| BadSeed)?;
        let name = hex(Sha256::digest(public).get(..NAME_BYTES).ok_or(BadSeed)?);
        let header = Header { alg: ALGORITHM, typ: "JWT", kid: &name };
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(|_| BadSeed)?);
        Ok(Self { pair, header, verifying: VerifyingKey { kid: name, public } })
    }

    /// What checks its tokens.
    #[must_use]
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The token with these claims.
    ///
    /// # Errors
    /// Never: claims are texts and numbers.
    pub fn sign(&self, claims: &Claims) -> serde_json::Result<String> {
        let mut token = String::with_capacity(512);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

impl<'a> Unchecked<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn parse(token: &'a str) -> Result<Self, BadToken> {
        if token.len() > CHARS_MAX || !is_token(token) {
            return Err(BadToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken)?;
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| BadToken)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| BadToken)?;
        if header.alg != ALGORITHM {
            return Err(BadToken);
        }
        let kid = header.kid.to_owned();
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadToken)?;
        Ok(Self { kid, signed, claims, signature: signature.try_into().map_err(|_| BadToken)? })
    }
}

impl VerifyingKey {
    /// The claims of a token that is signed with this key and not over.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn check(&self, token: &Unchecked<'_>, now: Timestamp) -> Result<Claims, BadToken> {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        key.verify(token.signed.as_bytes(), &token.signature).map_err(|_| BadToken)?;
        let claims = URL_SAFE_NO_PAD.decode(token.claims).map_err(|_| BadToken)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| BadToken)?;
        if now < claims.expires_at() { Ok(claims) } else { Err(BadToken) }
    }

    /// The key in the form of RFC 8037.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        let text = str::to_owned;
        Jwk {
            kty: text("OKP"),
            crv: text("Ed25519"),
            alg: text(ALGORITHM),
            r#use: text("sig"),
            kid: self.kid.clone(),
            x: URL_SAFE_NO_PAD.encode(self.public),
        }
    }
}

/// A public key that checks tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    pub r#use: String,
    /// Its name, which the header of a token repeats.
    pub kid: String,
    /// The key, in base64url.
    pub x: String,
}

/// `GET /.well-known/jwks.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JwkSet {
    /// The keys that check tokens which are not over, the newest first.
    pub keys: Vec<Jwk>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn claims() -> Claims {
        let agent = AgentId::parse("agent-123").unwrap();
        Claims {
            sub: agent.clone(),
            tenant_id: TenantId::default_tenant(),
            agent_id: agent,
            key_type: "agent".to_owned(),
            key_id: KeyId::parse("key_1").unwrap(),
            registered_at: Timestamp::from_micros(1),
            iat: NOW.as_seconds(),
            exp: NOW.as_seconds() + LIFETIME_S,
            jti: "j".to_owned(),
        }
    }

    /// The seed and the key of RFC 8037, appendix A.
    #[test]
    fn the_public_key_is_that_of_rfc_8037() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        let expected = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
            "kid": key.verifying().kid, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(serde_json::to_value(key.verifying().jwk()).unwrap(), expected);
    }

    #[test]
    fn a_token_says_what_was_signed_until_it_is_over() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let token = key.sign(&claims()).unwrap();
        assert!(is_token(&token));
        let unchecked = Unchecked::parse(&token).unwrap();
        assert_eq!(unchecked.kid, key.verifying().kid);
        assert_eq!(key.verifying().check(&unchecked, NOW), Ok(claims()));
        assert_eq!(key.verifying().check(&unchecked, claims().expires_at()), Err(BadToken));
        let other = SigningKey::from_seed(&[2; 32]).unwrap();
        assert_eq!(other.verifying().check(&unchecked, NOW), Err(BadToken));
    }

    #[test]
    fn another_algorithm_is_not_taken() {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = encode(&serde_json::to_value(claims()).unwrap());
        let signature = URL_SAFE_NO_PAD.encode([0; 64]);
        for algorithm in ["none", "HS256", "eddsa", ""] {
            let header = encode(&json!({"alg": algorithm, "typ": "JWT", "kid": "k"}));
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(Unchecked::parse(&token), Err(BadToken), "{algorithm}");
        }
        for text in ["", "eyJ", "eyJ..", "a.b.c", "eyJ.eyJ.", &"eyJ.".repeat(3_000)] {
            assert_eq!(Unchecked::parse(text), Err(BadToken), "{text}");
        }
    }

    /// Bytes of a token, changed one by one under a fixed order: none of the changed ones counts, and none panics.
    #[test]
    fn a_changed_token_does_not_count() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let token = key.sign(&claims()).unwrap();
        for place in 0..token.len() {
            for with in [b'.', b'A', b'_', b'\\', 0xc3] {
                let mut changed = token.clone().into_bytes();
                if changed[place] == with {
                    continue;
                }
                changed[place] = with;
                let Ok(changed) = String::from_utf8(changed) else { continue };
                let claims = Unchecked::parse(&changed).and_then(|token| key.verifying().check(&token, NOW));
                assert_eq!(claims, Err(BadToken), "{changed}");
            }
        }
    }
}
