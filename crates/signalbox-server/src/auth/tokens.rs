//! Tokens as credentials: whom one speaks for, and when it ends.
//!
//! A token's signature says who signed in and until when. Whether the key that signed in, the agent and the tenant are
//! still there is asked of the store: at each request that comes more than [`BELIEVED_FOR`] after the last look, and for
//! a connection when something was revoked, and now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::decision::Scope;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, KeyId, TenantId};
use signalbox_wire::jwt::{Claims, Unchecked};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;
use tokio::sync::{Notify, Semaphore};

use super::caller::{AuthError, Caller};
use super::token_ring::TokenRing;
use crate::clock;

/// How long a token that was looked up is believed.
pub(super) const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// How often a connection's token is looked up again, in case word of its end was lost.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// Tokens of connections that are looked up at once.
const CHECKS_AT_ONCE: usize = 16;

/// A token that is good now.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) caller: Caller,
    /// From when on it is over.
    pub(crate) expires_at: Timestamp,
}

/// Why a token is good no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenEnd {
    /// Its time is over.
    Expired,
    /// The key that signed in was revoked or deleted, or the tenant removed.
    Revoked,
    /// The agent was removed.
    AgentRemoved,
}

/// Checks tokens and watches over those of connections.
pub(crate) struct Tokens {
    store: Store,
    ring: TokenRing,
    watches: Watches,
}

/// Connections that wait for the end of their token, by the key that signed in.
struct Watches {
    by_key: Mutex<HashMap<KeyId, Arc<Notify>>>,
    checks: Semaphore,
}

impl Default for Watches {
    fn default() -> Self {
        Self { by_key: Mutex::default(), checks: Semaphore::new(CHECKS_AT_ONCE) }
    }
}

/// One that waits; no longer once it is dropped.
struct Watch<'a> {
    watches: &'a Watches,
    key: KeyId,
    woken: Arc<Notify>,
}

impl Watches {
    fn watch(&self, key: &KeyId) -> Watch<'_> {
        let woken = Arc::clone(self.by_key.lock().entry(key.clone()).or_default());
        Watch { watches: self, key: key.clone(), woken }
    }

    fn wake(&self, key: Option<&KeyId>) {
        let by_key = self.by_key.lock();
        match key {
            Some(key) => by_key.get(key).into_iter().for_each(|woken| woken.notify_waiters()),
            None => by_key.values().for_each(|woken| woken.notify_waiters()),
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut by_key = self.watches.by_key.lock();
        // The map has one and this has one: nobody else waits.
        if Arc::strong_count(&self.woken) <= 2 {
            by_key.remove(&self.key);
        }
    }
}

impl Tokens {
    pub(super) fn new(store: Store) -> Self {
        Self { store, ring: TokenRing::default(), watches: Watches::default() }
    }

    /// What tokens are signed and checked with.
    pub(crate) fn ring(&self) -> &TokenRing {
        &self.ring
    }

    /// Whom a token speaks for.
    pub(crate) async fn token(&self, text: &str) -> Result<Token, AuthError> {
        let now = clock::now();
        let unchecked = Unchecked::parse(text).map_err(|_| bad_token())?;
        let key = self.ring.key(&self.store, &unchecked.kid, now).await?.ok_or_else(bad_token)?;
        let claims = key.check(&unchecked, now).map_err(|_| bad_token())?;
        if self.end_of(&claims.tenant_id, &claims.key_id, &claims.agent_id).await?.is_some() {
            return Err(bad_token().into());
        }
        Ok(Token { expires_at: claims.expires_at(), caller: caller(claims) })
    }

    /// Waits for the end of a token: for a connection that was opened with it.
    pub(crate) async fn ended(&self, token: &Token) -> TokenEnd {
        let Caller { tenant, agent: Some(agent), key: Some(key), .. } = &token.caller else {
            return std::future::pending().await;
        };
        let watch = self.watches.watch(key);
        loop {
            // Whoever is woken while this looks is woken for the next look.
            let woken = watch.woken.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let left = token.expires_at.since(clock::now());
            if left.is_zero() {
                return TokenEnd::Expired;
            }
            // The semaphore is never closed. A store that cannot answer now proves nothing.
            let place = self.watches.checks.acquire().await;
            if let Ok(Some(end)) = self.end_of(tenant, key, agent).await {
                return end;
            }
            drop(place);
            let _ = tokio::time::timeout(left.min(CHECK_EVERY), woken).await;
        }
    }

    /// Tokens of this key, or of all keys, may have ended: connections that rest on one are looked at.
    pub(crate) fn may_have_ended(&self, key: Option<&KeyId>) {
        self.watches.wake(key);
    }

    /// Why tokens of this key for this agent are good no more, if so.
    async fn end_of(
        &self,
        tenant: &TenantId,
        key: &KeyId,
        agent: &AgentId,
    ) -> Result<Option<TokenEnd>, StoreError> {
        // The keys of a tenant that is removed go first.
        let row = self.store.ssh_key(tenant, key).await?;
        if !row.is_some_and(|row| row.value.signs_in(agent)) {
            return Ok(Some(TokenEnd::Revoked));
        }
        let is_there = self.store.agent(tenant, agent).await?.is_some();
        Ok((!is_there).then_some(TokenEnd::AgentRemoved))
    }
}

/// What a token is refused with, whatever is wrong with it.
fn bad_token() -> Problem {
    Problem::unauthorized(
        "The token is not good here, or is over; sign in again with POST /api/v1/auth/challenge and /api/v1/auth/verify.",
    )
}

fn caller(claims: Claims) -> Caller {
    let name = format!("the agent {} by its SSH key {}", claims.agent_id, claims.key_id);
    Caller {
        tenant: claims.tenant_id,
        scope: Scope::Agent,
        name: Arc::from(name),
        is_platform: false,
        api_key: None,
        agent: Some(claims.agent_id),
        key: Some(claims.key_id),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_core::Decision;
    use signalbox_core::agent::Agent;
    use signalbox_core::decision::{Key, Row};
    use signalbox_core::ssh_key::{Revocation, SshKey, SshKeyKind};
    use signalbox_store::Options;
    use signalbox_wire::id::NodeId;

    use super::*;

    fn id(text: &str) -> KeyId {
        KeyId::parse(text).expect("valid")
    }

    fn key(name: &str, revoked: Option<Revocation>) -> Row {
        Row::SshKey(Arc::new(SshKey {
            id: id(name),
            name: name.to_owned(),
            public_key: String::new(),
            fingerprint: name.to_owned(),
            kind: SshKeyKind::Agent,
            agent: None,
            created_at: Timestamp::default(),
            created_by: String::new(),
            revoked,
        }))
    }

    fn token(key: &str, expires_at: Timestamp) -> Token {
        let agent = AgentId::parse("a").expect("valid");
        let claims = Claims {
            sub: agent.clone(),
            tenant_id: TenantId::default_tenant(),
            agent_id: agent,
            key_type: "agent".to_owned(),
            key_id: id(key),
            iat: 0,
            exp: expires_at.as_seconds(),
            jti: "j".to_owned(),
        };
        Token { expires_at, caller: caller(claims) }
    }

    #[tokio::test]
    async fn a_connection_is_told_of_its_token_s_end() {
        let folder = std::env::temp_dir().join(format!("signalbox-tokens-{:016x}", clock::seed()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let url = format!("sqlite://{}", folder.join("signalbox.db").display());
        let node = NodeId::parse("nod_test").expect("valid");
        let store = Store::open(Options::new(url, node)).await.expect("a new store");
        let (tenant, now) = (TenantId::default_tenant(), clock::now());
        let agent: Agent =
            serde_json::from_value(json!({"id": "a", "name": "a", "version": "1", "endpoint": null,
            "capabilities": [], "metadata": {}, "registered_at": now, "generation": 1, "concurrency": 1}))
            .expect("an agent");
        let mut made = Decision::default();
        made.create(Row::Agent(Arc::new(agent)), 1);
        ["one", "other"].into_iter().for_each(|name| made.create(key(name, None), 1));
        store.commit(&tenant, made, now, None).await.expect("made");

        let tokens = Arc::new(Tokens::new(store.clone()));
        let later = now + Duration::from_secs(600);
        assert_eq!(tokens.ended(&token("one", now)).await, TokenEnd::Expired);
        assert_eq!(tokens.ended(&token("none", later)).await, TokenEnd::Revoked);
        let waits = |key: &'static str| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.ended(&token(key, later)).await })
        };
        let (one, other) = (waits("one"), waits("other"));
        let revoked = Revocation { at: now, by: String::new(), reason: None };
        let mut ended = Decision::default();
        ended.put(key("one", Some(revoked)), Some(1), 2);
        store.commit(&tenant, ended, now, None).await.expect("revoked");
        tokens.may_have_ended(Some(&id("one")));
        assert_eq!(one.await.expect("told"), TokenEnd::Revoked);
        assert!(!other.is_finished());
        let mut removed = Decision::default();
        removed.remove(Key::Agent(AgentId::parse("a").expect("valid")), 1);
        store.commit(&tenant, removed, now, None).await.expect("removed");
        tokens.may_have_ended(None);
        assert_eq!(other.await.expect("told"), TokenEnd::AgentRemoved);
        assert!(tokens.watches.by_key.lock().is_empty());
        store.close().await.expect("closed");
        std::fs::remove_dir_all(&folder).expect("clean up");
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_its_key_and_forgotten_when_it_goes() {
        let watches = Watches::default();
        let (one, other) = (watches.watch(&id("one")), watches.watch(&id("other")));
        let again = watches.watch(&id("one"));
        let mut woken = Box::pin(one.woken.notified());
        let mut others = Box::pin(other.woken.notified());
        woken.as_mut().enable();
        others.as_mut().enable();
        watches.wake(Some(&id("one")));
        woken.await;
        assert!(tokio::time::timeout(Duration::ZERO, others.as_mut()).await.is_err());
        watches.wake(None);
        others.await;
        drop(again);
        assert_eq!(watches.by_key.lock().len(), 2, "one of two still waits");
        drop(one);
        drop(other);
        assert!(watches.by_key.lock().is_empty());
    }
}
