//! Challenges that an agent signs to sign in: 32 bytes in hex that any node can check, without a row or a memory.
//!
//! A challenge is `nonce (12) · expiry (4) · code (16)`. The code is an HMAC over nonce, expiry, agent, and the tenant
//! where one was named, so that nobody makes one up, and one of another agent or tenant does not count; the expiry is
//! masked, so that all of it looks random. That each is used once is for whoever takes the answer to see to.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::keys::hex;
use crate::time::Timestamp;

/// Seconds for which a challenge can be answered.
pub const LIFETIME_S: i64 = 300;

/// Characters of a challenge.
pub const CHARS: usize = 64;

const NONCE: usize = 12;
const EXPIRY: usize = 4;
const CODE: usize = 16;

/// What challenges are made with; every node has the same.
#[derive(Clone)]
pub struct ChallengeSecret([u8; 32]);

/// A challenge that was made here and can still be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Good {
    /// Until when it can be.
    pub expires_at: Timestamp,
    /// Whether it was made for one tenant.
    pub is_of_tenant: bool,
}

/// Why a challenge does not count. A client is only told that something did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChallenge {
    /// It was not made here, or not for this agent.
    #[error("the challenge was not made here for this agent")]
    Unknown,
    /// It was made too long ago.
    #[error("the challenge has expired")]
    Expired,
}

impl ChallengeSecret {
    /// The secret of 32 random bytes.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// A new challenge for an agent, which may exist or not, in one tenant or in whichever; and until when it can be
    /// answered.
    #[must_use]
    pub fn challenge(
        &self,
        agent: &str,
        tenant: Option<&str>,
        now: Timestamp,
        random: u128,
    ) -> (String, Timestamp) {
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&random.to_be_bytes()[..NONCE]);
        let expiry_s = now.as_seconds().saturating_add(LIFETIME_S);
        let expiry = u32::try_from(expiry_s).unwrap_or(u32::MAX).to_be_bytes();
        let mask = self.code(b"mask", &[&nonce]);
        let masked: [u8; EXPIRY] = std::array::from_fn(|index| expiry[index] ^ mask[index]);
        let code = self.code_of((&nonce, &expiry), agent, tenant);
        let challenge = [&nonce[..], &masked, &code].concat();
        (hex(&challenge), Timestamp::from_seconds(i64::from(u32::from_be_bytes(expiry))))
    }

    /// Checks that a challenge was made here for this agent, and for this tenant or none, and can still be answered.
    ///
    /// # Errors
    /// [`BadChallenge`].
    pub fn check(
        &self,
        agent: &str,
        tenant: &str,
        challenge: &str,
        now: Timestamp,
    ) -> Result<Good, BadChallenge> {
        let bytes = from_hex(challenge).ok_or(BadChallenge::Unknown)?;
        let (nonce, rest) = bytes.split_at(NONCE);
        let (masked, code) = rest.split_at(EXPIRY);
        let mask = self.code(b"mask", &[nonce]);
        let expiry: [u8; EXPIRY] = std::array::from_fn(|index| masked[index] ^ mask[index]);
        let is_made = |tenant| bool::from(self.code_of((nonce, &expiry), agent, tenant).ct_eq(code));
        let (is_of_tenant, is_of_any) = (is_made(Some(tenant)), is_made(None));
        if !is_of_tenant && !is_of_any {
            return Err(BadChallenge::Unknown);
        }
        let expires_at = Timestamp::from_seconds(i64::from(u32::from_be_bytes(expiry)));
        if now < expires_at { Ok(Good { expires_at, is_of_tenant }) } else { Err(BadChallenge::Expired) }
    }

    /// What is the same for an agent each time, and known to nobody else.
    #[must_use]
    pub fn seed_of(&self, agent: &str) -> [u8; CODE] {
        self.code(b"seed", &[agent.as_bytes()])
    }

    fn code_of(&self, (nonce, expiry): (&[u8], &[u8]), agent: &str, tenant: Option<&str>) -> [u8; CODE] {
        // No id has a control character: where one ends is clear.
        let tenant = tenant.map(|tenant| format!("\0{tenant}")).unwrap_or_default();
        self.code(b"code", &[nonce, expiry, agent.as_bytes(), tenant.as_bytes()])
    }

    fn code(&self, purpose: &[u8; 4], parts: &[&[u8]]) -> [u8; CODE] {
        let mut block = [0_u8; 64];
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(purpose);
        for part in parts {
            mac.update(part);
        }
        let code: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|index| code[index])
    }
}

/// The bytes of a challenge. Upper-case hex is refused: it would be a second spelling, by which one could be used twice.
fn from_hex(text: &str) -> Option<[u8; CHARS / 2]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().as_chunks::<2>();
    let ([.., _], []) = pairs else { return None };
    let mut bytes = [0; CHARS / 2];
    if pairs.0.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs.0) {
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn secret() -> ChallengeSecret {
        ChallengeSecret::new([7; 32])
    }

    #[test]
    fn a_challenge_is_32_bytes_in_hex_and_good_for_five_minutes() {
        let (challenge, expires_at) = secret().challenge("agent-1", None, NOW, 5);
        assert_eq!(challenge.len(), CHARS);
        assert!(challenge.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{challenge}");
        assert_eq!(expires_at, NOW + Duration::from_secs(300));
        let good = Ok(Good { expires_at, is_of_tenant: false });
        assert_eq!(secret().check("agent-1", "t", &challenge, NOW), good);
        let last = NOW + Duration::from_secs(299);
        assert_eq!(secret().check("agent-1", "t", &challenge, last), good);
        assert_eq!(secret().check("agent-1", "t", &challenge, expires_at), Err(BadChallenge::Expired));
    }

    #[test]
    fn a_challenge_of_a_tenant_does_not_count_in_another() {
        let (challenge, expires_at) = secret().challenge("a", Some("t"), NOW, 5);
        assert_eq!(secret().check("a", "t", &challenge, NOW), Ok(Good { expires_at, is_of_tenant: true }));
        for (agent, tenant) in [("a", "u"), ("at", ""), ("a", ""), ("b", "t")] {
            assert_eq!(secret().check(agent, tenant, &challenge, NOW), Err(BadChallenge::Unknown));
        }
    }

    #[test]
    fn challenges_have_nothing_in_common() {
        let (one, _) = secret().challenge("a", None, NOW, 1 << 64);
        let (other, _) = secret().challenge("a", None, NOW, 2 << 64);
        let same = one.bytes().zip(other.bytes()).skip(NONCE * 2).filter(|(one, other)| one == other).count();
        assert!(same < 12, "{one} {other}: also the expiry is masked");
    }

    #[test]
    fn what_was_not_made_here_for_this_agent_does_not_count() {
        let (challenge, _) = secret().challenge("agent-1", None, NOW, u128::MAX);
        let verdict = |agent: &str, challenge: &str| secret().check(agent, "t", challenge, NOW);
        assert_eq!(verdict("agent-2", &challenge), Err(BadChallenge::Unknown));
        assert_eq!(
            ChallengeSecret::new([8; 32]).check("agent-1", "t", &challenge, NOW),
            Err(BadChallenge::Unknown)
        );
        for text in ["", "00", &challenge.to_uppercase(), &challenge[1..], &format!("{challenge}00"), "é"] {
            assert_eq!(verdict("agent-1", text), Err(BadChallenge::Unknown), "{text}");
        }
        for place in 0..CHARS {
            let mut changed = challenge.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verdict("agent-1", &changed), Err(BadChallenge::Unknown), "{changed}");
        }
    }
}
