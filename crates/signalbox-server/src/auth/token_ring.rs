//! The [`TokenRing`]: what this node signs tokens with, checks them with, and makes challenges of.
//!
//! All of it is one row of the store, so that every node has the same. A node reads it again now and then, and at once for
//! a token that names a key it does not know: another node may have made that a moment ago.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use signalbox_core::token_keys::TokenKeys;
use signalbox_store::{Store, StoreError};
use signalbox_wire::challenge::ChallengeSecret;
use signalbox_wire::id::TenantId;
use signalbox_wire::jwt::{JwkSet, SigningKey, VerifyingKey};
use signalbox_wire::time::Timestamp;

/// How long the row is relied on before it is read again.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// The least time between two looks for a key that is not known, so that made-up names do not become reads.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The keys as this node last saw them.
#[derive(Default)]
pub(crate) struct TokenRing {
    ring: RwLock<Option<Arc<Ring>>>,
    /// Held by whoever reads or makes the keys: others that need them wait, and find them.
    pub(crate) making: tokio::sync::Mutex<()>,
}

/// Keys, ready for use.
pub(crate) struct Ring {
    pub(crate) challenges: ChallengeSecret,
    /// The newest key.
    pub(crate) signing: SigningKey,
    /// Those that check, the newest first.
    verifying: Vec<VerifyingKey>,
    keys: TokenKeys,
    read_at: Timestamp,
}

impl Ring {
    fn new(keys: &TokenKeys, now: Timestamp) -> Option<Self> {
        let mut signing = keys.signing.iter().filter_map(|key| SigningKey::from_seed(key.seed.expose()).ok());
        let newest = signing.next()?;
        let others = signing.map(|key| key.verifying().clone());
        let verifying = std::iter::once(newest.verifying().clone()).chain(others).collect();
        let challenges = ChallengeSecret::new(*keys.challenge.expose());
        Some(Self { challenges, signing: newest, verifying, keys: keys.clone(), read_at: now })
    }

    fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.verifying.iter().find(|key| key.kid == kid)
    }

    /// The public keys.
    pub(crate) fn public(&self) -> JwkSet {
        JwkSet { keys: self.verifying.iter().map(VerifyingKey::jwk).collect() }
    }
}

impl TokenRing {
    /// The keys, where they were read a moment ago and the newest is not to be replaced.
    pub(crate) fn current(&self, now: Timestamp, rotation: Duration) -> Option<Arc<Ring>> {
        let ring = self.ring.read().clone()?;
        let is_fresh = now < ring.read_at + BELIEVED_FOR && !ring.keys.is_worn(now, rotation);
        is_fresh.then_some(ring)
    }

    /// Takes in what was read. `None` for a row without a key that can be used.
    pub(crate) fn take_in(&self, keys: &TokenKeys, now: Timestamp) -> Option<Arc<Ring>> {
        let ring = Arc::new(Ring::new(keys, now)?);
        *self.ring.write() = Some(Arc::clone(&ring));
        Some(ring)
    }

    /// The key with this name that checks tokens.
    pub(super) async fn key(
        &self,
        store: &Store,
        kid: &str,
        now: Timestamp,
    ) -> Result<Option<VerifyingKey>, StoreError> {
        if let Some(known) = self.known(kid, now) {
            return Ok(known);
        }
        let _making = self.making.lock().await;
        if let Some(known) = self.known(kid, now) {
            return Ok(known);
        }
        let Some(keys) = store.token_keys(&TenantId::default_tenant()).await? else { return Ok(None) };
        let ring = self.take_in(&keys.value, now);
        Ok(ring.and_then(|ring| ring.key(kid).cloned()))
    }

    /// What is known of a key without a look; `None` where one is due.
    fn known(&self, kid: &str, now: Timestamp) -> Option<Option<VerifyingKey>> {
        let ring = self.ring.read();
        let ring = ring.as_ref()?;
        match ring.key(kid) {
            Some(key) if now < ring.read_at + BELIEVED_FOR => Some(Some(key.clone())),
            None if now < ring.read_at + LOOK_AGAIN_AFTER => Some(None),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_core::token_keys::{Seed, SigningSeed};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn keys(seeds: &[u8]) -> TokenKeys {
        let signing = seeds
            .iter()
            .map(|seed| SigningSeed { seed: Seed::new([*seed; 32]), created_at: Timestamp::from_seconds(0) });
        TokenKeys { challenge: Seed::new([0; 32]), signing: signing.collect() }
    }

    #[test]
    fn the_keys_are_read_again_when_they_are_old_worn_or_not_the_ones_that_are_asked_for() {
        let (ring, start) = (TokenRing::default(), Timestamp::from_seconds(0));
        assert!(ring.current(start, DAY).is_none() && ring.known("k", start).is_none());
        let read = ring.take_in(&keys(&[2, 1]), start).expect("keys");
        assert_eq!(read.public().keys.len(), 2);
        let kid = read.verifying[1].kid.clone();
        assert!(ring.current(start + DAY / 2, DAY).is_none(), "old");
        assert!(ring.current(start + Duration::from_secs(1), Duration::from_secs(1)).is_none(), "worn");
        assert!(ring.current(start + Duration::from_secs(59), DAY).is_some());
        assert!(ring.known(&kid, start).expect("known").is_some(), "one that is replaced checks too");
        assert_eq!(ring.known("made up", start), Some(None), "not looked for again and again");
        assert_eq!(ring.known("made up", start + LOOK_AGAIN_AFTER), None);
        assert!(ring.take_in(&keys(&[]), start).is_none());
    }
}
