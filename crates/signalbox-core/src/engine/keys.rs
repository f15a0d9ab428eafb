//! API keys: made, given another secret, used, revoked.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::KeyId;
use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use super::records::logged;
use crate::decision::{ApiKey, Key, PreviousSecret, Row};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A key is made; the key itself is never stored.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// The key's record.
    pub key: ApiKey,
}

impl Operation for CreateKey {
    type Output = ();

    fn decide(&self, _: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let data = json!({"keyId": self.key.id, "name": self.key.name, "scope": self.key.scope});
        let mut decision = logged(context, "key.created", &data);
        decision.create(Row::ApiKey(Arc::new(self.key.clone())), context.version_after(None));
        Ok((decision, ()))
    }
}

/// A key is revoked: it opens nothing from now on.
#[derive(Debug, Clone)]
pub struct RevokeKey {
    /// Which.
    pub key: KeyId,
}

impl Operation for RevokeKey {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        vec![Key::ApiKey(self.key.clone())]
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read = snapshot.api_key(&self.key)?.ok_or_else(|| Rejected::UnknownKey(self.key.clone()))?;
        let mut decision = logged(context, "key.revoked", &json!({"keyId": self.key}));
        decision.remove(Key::ApiKey(self.key.clone()), read.version);
        Ok((decision, ()))
    }
}

/// A key gets another secret; the one before is good for a while, or no more.
#[derive(Debug, Clone)]
pub struct RotateKey {
    /// Which.
    pub key: KeyId,
    /// SHA-256 of the new secret, in hex.
    pub hash: String,
    /// Until when the secret before is good too.
    pub previous_until: Option<Timestamp>,
    /// Its new expiry; where absent, the old one stays.
    pub expires_at: Option<Timestamp>,
}

impl Operation for RotateKey {
    type Output = ApiKey;

    fn keys(&self) -> Vec<Key> {
        vec![Key::ApiKey(self.key.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, ApiKey), Halt> {
        let read = snapshot.api_key(&self.key)?.ok_or_else(|| Rejected::UnknownKey(self.key.clone()))?;
        let (before, now) = (&read.value, context.now);
        let expires_at = self.expires_at.or(before.expires_at);
        if let Some(expired_at) = expires_at.filter(|at| *at <= now) {
            return Err(Rejected::KeyExpired { key: self.key.clone(), expired_at }.into());
        }
        let previous = self.previous_until.filter(|until| *until > now);
        let key = ApiKey {
            hash: self.hash.clone(),
            expires_at,
            rotated_at: Some(now),
            previous: previous.map(|until| PreviousSecret { hash: before.hash.clone(), until }),
            ..ApiKey::clone(before)
        };
        let mut decision = logged(context, "key.rotated", &json!({"keyId": key.id, "name": key.name}));
        let version = context.version_after(Some(read.version));
        decision.put(Row::ApiKey(Arc::new(key.clone())), Some(read.version), version);
        Ok((decision, key))
    }
}

/// Keys of a tenant were used. What is not there any more is passed over.
#[derive(Debug, Clone)]
pub struct NoteKeyUses {
    /// Which, and when last.
    pub uses: Vec<(KeyId, Timestamp)>,
}

impl Operation for NoteKeyUses {
    type Output = ();

    fn keys(&self) -> Vec<Key> {
        self.uses.iter().map(|(key, _)| Key::ApiKey(key.clone())).collect()
    }

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        snapshot.require(self.keys())?;
        let mut decision = Decision::default();
        for (id, used_at) in &self.uses {
            let Some(read) = snapshot.api_key(id)? else { continue };
            if read.value.last_used_at.is_some_and(|known| known >= *used_at) {
                continue;
            }
            let key = ApiKey { last_used_at: Some(*used_at), ..ApiKey::clone(&read.value) };
            let version = context.version_after(Some(read.version));
            decision.put(Row::ApiKey(Arc::new(key)), Some(read.version), version);
        }
        Ok((decision, ()))
    }
}
