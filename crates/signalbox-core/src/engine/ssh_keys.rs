//! SSH keys: added, revoked, deleted, and what signs in with one.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::{AgentId, KeyId};
use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use crate::decision::{Key, Row, SeenSignature};
use crate::event::{Level, NewEvent};
use crate::ssh_key::{Revocation, SshFingerprint, SshKey};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot, Versioned};

/// A key is added.
#[derive(Debug, Clone)]
pub struct CreateSshKey {
    /// The key.
    pub key: SshKey,
}

impl Operation for CreateSshKey {
    type Output = SshKey;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SshKey), Halt> {
        let (fingerprint, agent) = (&self.key.fingerprint, self.key.agent.as_ref());
        let of_agent = agent.map(|agent| Key::Agent(agent.clone()));
        snapshot.require([Key::SshFingerprint(fingerprint.clone())].into_iter().chain(of_agent))?;
        let taken = snapshot.ssh_fingerprint(fingerprint)?;
        let replaced = match &taken {
            Some(taken) => orphan(snapshot, &taken.value)?,
            None => None,
        };
        let registered_at = match agent {
            Some(agent) => match snapshot.agent(agent)? {
                Some(known) => Some(known.value.registered_at),
                None => return Err(Rejected::UnknownAgent(agent.to_string()).into()),
            },
            None => None,
        };
        let key = SshKey { created_at: context.now, registered_at, ..self.key.clone() };
        let mut decision = logged(context, "ssh_key.created", &key, None);
        let version = context.version_after(None);
        let now_taken =
            Row::SshFingerprint(SshFingerprint { fingerprint: key.fingerprint.clone(), key: key.id.clone() });
        decision.create(Row::SshKey(Arc::new(key.clone())), version);
        if let Some(replaced) = replaced {
            let entry = logged(context, "ssh_key.deleted", &replaced.value, Some("its agent is gone"));
            decision.events.extend(entry.events);
            decision.remove(Key::SshKey(replaced.value.id.clone()), replaced.version);
        }
        let before = taken.map(|taken| taken.version);
        decision.put(now_taken, before, context.version_after(before));
        Ok((decision, key))
    }
}

/// The key that has taken a fingerprint, where it may be replaced: its agent is gone, so it signs nobody in and never will.
fn orphan(snapshot: &Snapshot, taken: &SshFingerprint) -> Result<Option<Versioned<SshKey>>, Halt> {
    let Some(held) = snapshot.ssh_key(&taken.key)? else { return Ok(None) };
    let is_orphan = match &held.value.agent {
        Some(agent) => {
            let agent = snapshot.agent(agent)?;
            held.value.is_orphaned(agent.as_ref().map(|agent| &*agent.value))
        }
        None => false,
    };
    if held.value.is_active() && is_orphan {
        return Ok(Some(held));
    }
    let (fingerprint, key) = (taken.fingerprint.clone(), taken.key.clone());
    Err(Rejected::SshKeyTaken { fingerprint, key, is_revoked: !held.value.is_active() }.into())
}

/// A key is revoked: it signs nobody in any more, and its tokens end. Its fingerprint stays taken, so that it does not
/// come back by mistake.
#[derive(Debug, Clone)]
pub struct RevokeSshKey {
    /// Which.
    pub key: KeyId,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Operation for RevokeSshKey {
    type Output = SshKey;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, SshKey), Halt> {
        let read =
            snapshot.ssh_key(&self.key)?.ok_or_else(|| Rejected::UnknownSshKey(self.key.to_string()))?;
        if !read.value.is_active() {
            return Ok((Decision::default(), SshKey::clone(&read.value)));
        }
        let revoked = Revocation { at: context.now, by: self.by.clone(), reason: self.reason.clone() };
        let key = SshKey { revoked: Some(revoked), ..SshKey::clone(&read.value) };
        let mut decision = logged(context, "ssh_key.revoked", &key, self.reason.as_deref());
        let version = context.version_after(Some(read.version));
        decision.put(Row::SshKey(Arc::new(key.clone())), Some(read.version), version);
        Ok((decision, key))
    }
}

/// A key is deleted, with its fingerprint.
#[derive(Debug, Clone)]
pub struct DeleteSshKey {
    /// Which.
    pub key: KeyId,
}

impl Operation for DeleteSshKey {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read =
            snapshot.ssh_key(&self.key)?.ok_or_else(|| Rejected::UnknownSshKey(self.key.to_string()))?;
        let mut decision = logged(context, "ssh_key.deleted", &read.value, None);
        decision.remove(Key::SshKey(self.key.clone()), read.version);
        decision.remove_guarded(Key::SshFingerprint(read.value.fingerprint.clone()));
        Ok((decision, ()))
    }
}

/// An agent signs in: its challenge is used up. That the signature is one is found out before it gets here.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Who.
    pub agent: AgentId,
    /// With which key.
    pub key: KeyId,
    /// The challenge, and until when it is remembered.
    pub seen: SeenSignature,
}

impl Operation for SignIn {
    /// When the agent registered that has signed in.
    type Output = Timestamp;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Timestamp), Halt> {
        let (key, seen) = (Key::SshKey(self.key.clone()), Key::Signature(self.seen.signature.clone()));
        snapshot.require([key.clone(), seen, Key::Agent(self.agent.clone())])?;
        if snapshot.signature(&self.seen.signature)?.is_some() {
            return Err(Rejected::Replayed.into());
        }
        let Some(agent) = snapshot.agent(&self.agent)? else {
            return Err(Rejected::UnknownAgent(self.agent.to_string()).into());
        };
        let registered_at = agent.value.registered_at;
        let Some(read) = snapshot.ssh_key(&self.key)?.filter(|read| read.value.signs_in(&agent.value)) else {
            return Err(Rejected::SshKeyEnded(self.key.clone()).into());
        };
        let data = json!({"keyId": self.key, "fingerprint": read.value.fingerprint});
        let event = NewEvent::new("agent.signed_in", Level::Info, context.now, &data).about(&self.agent);
        let mut decision = Decision { events: vec![event], ..Decision::default() };
        decision.expects.push((key, Some(read.version)));
        decision.create(Row::Signature(self.seen.clone()), context.version_after(None));
        Ok((decision, registered_at))
    }
}

/// A challenge that names no tenant is used up in the one tenant where such are remembered, so that it counts once and not
/// once in each tenant.
#[derive(Debug, Clone)]
pub struct UseChallenge {
    /// The challenge, and until when it is remembered.
    pub seen: SeenSignature,
}

impl Operation for UseChallenge {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        if snapshot.signature(&self.seen.signature)?.is_some() {
            return Err(Rejected::Replayed.into());
        }
        let mut decision = Decision::default();
        decision.create(Row::Signature(self.seen.clone()), context.version_after(None));
        Ok((decision, ()))
    }
}

fn logged(context: &DecisionContext<'_>, kind: &str, key: &SshKey, reason: Option<&str>) -> Decision {
    let mut data = json!({"keyId": key.id, "name": key.name, "fingerprint": key.fingerprint,
        "keyType": key.kind.name()});
    if let (Some(reason), Some(data)) = (reason, data.as_object_mut()) {
        data.insert("reason".to_owned(), reason.into());
    }
    let event = NewEvent::new(kind, Level::Info, context.now, &data);
    let event = match &key.agent {
        Some(agent) => event.about(agent),
        None => event,
    };
    Decision { events: vec![event], ..Decision::default() }
}
