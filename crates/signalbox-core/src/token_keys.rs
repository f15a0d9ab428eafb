//! What tokens are signed with and challenges are made of: kept with the data, so that every node has the same.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_wire::time::Timestamp;

/// How long a key that has been replaced is kept: longer than its last token is good, and than any node signs with it still.
pub const KEPT_AFTER: Duration = Duration::from_secs(2 * 3_600);

/// 32 bytes that nobody sees.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed([u8; 32]);

impl Seed {
    /// These bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, where they are really needed.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The keys of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKeys {
    /// What challenges are made with.
    pub challenge: Seed,
    /// What tokens are signed with, the newest first; the others only check.
    pub signing: Vec<SigningSeed>,
}

/// One key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSeed {
    /// What it is made from.
    pub seed: Seed,
    /// When it was made.
    pub created_at: Timestamp,
}

impl TokenKeys {
    /// Whether the newest key has been in use for as long as one is.
    #[must_use]
    pub fn is_worn(&self, now: Timestamp, rotation: Duration) -> bool {
        self.signing.first().is_none_or(|newest| now >= newest.created_at + rotation)
    }

    /// The keys with a new one in front, and without those whose tokens are over.
    #[must_use]
    pub fn rotated(&self, seed: Seed, now: Timestamp) -> Self {
        let mut signing = vec![SigningSeed { seed, created_at: now }];
        // A key was replaced when the one before it in the list was made.
        let mut replaced_at = now;
        for key in &self.signing {
            if now < replaced_at + KEPT_AFTER {
                signing.push(key.clone());
            }
            replaced_at = key.created_at;
        }
        Self { challenge: self.challenge, signing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_key_is_kept_until_its_tokens_are_over() {
        let start = Timestamp::from_seconds(0);
        let first = TokenKeys { challenge: Seed::new([9; 32]), signing: Vec::new() };
        assert!(first.is_worn(start, DAY));
        let one = first.rotated(Seed::new([1; 32]), start);
        assert!(!one.is_worn(start + DAY / 2, DAY) && one.is_worn(start + DAY, DAY));
        let two = one.rotated(Seed::new([2; 32]), start + DAY);
        assert_eq!(two.signing.iter().map(|key| key.seed.expose()[0]).collect::<Vec<_>>(), [2, 1]);
        let soon = two.rotated(Seed::new([3; 32]), start + DAY + KEPT_AFTER / 2);
        assert_eq!(soon.signing.iter().map(|key| key.seed.expose()[0]).collect::<Vec<_>>(), [3, 2, 1]);
        let later = two.rotated(Seed::new([3; 32]), start + DAY * 2);
        assert_eq!(later.signing.iter().map(|key| key.seed.expose()[0]).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(later.challenge, first.challenge);
        assert_eq!(format!("{:?}", later.challenge), "[redacted]");
    }
}
