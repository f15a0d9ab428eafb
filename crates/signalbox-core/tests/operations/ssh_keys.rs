//! SSH keys: kept once, revoked for good, and signing in each challenge once.

use std::time::Duration;

use serde_json::Map;
use signalbox_core::Rejected;
use signalbox_core::decision::{Key, SeenSignature};
use signalbox_core::engine::{
    CreateSshKey, DeleteSshKey, Deregister, Register, RevokeSshKey, RotateTokenKeys, SignIn, UseChallenge,
};
use signalbox_core::ssh_key::{SshKey, SshKeyKind};
use signalbox_core::token_keys::Seed;
use signalbox_wire::id::{AgentId, KeyId};
use signalbox_wire::time::Timestamp;

use crate::stage::Stage;

fn id(text: &str) -> KeyId {
    KeyId::parse(text).expect("valid")
}

fn key(name: &str, fingerprint: &str, agent: Option<&AgentId>) -> CreateSshKey {
    CreateSshKey {
        key: SshKey {
            id: id(name),
            name: name.to_owned(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            fingerprint: fingerprint.to_owned(),
            kind: SshKeyKind::Agent,
            agent: agent.cloned(),
            registered_at: None,
            created_at: Timestamp::default(),
            created_by: "an admin".to_owned(),
            revoked: None,
        },
    }
}

fn sign_in(stage: &Stage, agent: &AgentId, key: &str, challenge: &str) -> SignIn {
    let seen =
        SeenSignature { signature: challenge.to_owned(), expires_at: stage.now + Duration::from_secs(300) };
    SignIn { agent: agent.clone(), key: id(key), seen }
}

fn revoke(key: &str) -> RevokeSshKey {
    RevokeSshKey { key: id(key), by: "an admin".to_owned(), reason: Some("lost".to_owned()) }
}

#[test]
fn a_key_is_kept_once_until_it_is_deleted() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    let nobody = AgentId::parse("nobody").expect("valid");
    assert!(matches!(stage.run(&key("k", "f", Some(&nobody))), Err(Rejected::UnknownAgent(_))));
    let made = stage.run(&key("k", "f", Some(&agent))).expect("made");
    assert_eq!(made.created_at, stage.now);
    let taken = |stage: &mut Stage| match stage.run(&key("other", "f", None)) {
        Err(Rejected::SshKeyTaken { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(&mut stage), id("k"));
    let revoked = stage.run(&revoke("k")).expect("revoked");
    assert!(!revoked.is_active());
    assert_eq!(stage.run(&revoke("k")), Ok(revoked), "once is enough");
    assert_eq!(taken(&mut stage), id("k"), "one that was revoked does not come back");
    stage.run(&DeleteSshKey { key: id("k") }).expect("deleted");
    for key in [Key::SshKey(id("k")), Key::SshFingerprint("f".to_owned())] {
        assert!(stage.store.loaded(&key).is_none(), "{key:?}");
    }
    assert!(matches!(stage.run(&DeleteSshKey { key: id("k") }), Err(Rejected::UnknownSshKey(_))));
    assert!(matches!(stage.run(&revoke("k")), Err(Rejected::UnknownSshKey(_))));
    stage.run(&key("other", "f", None)).expect("made");
}

#[test]
fn a_challenge_counts_once_and_for_an_active_key_of_an_agent_that_is_there() {
    let mut stage = Stage::new();
    let (agent, other) = (stage.agent("a", 1), stage.agent("b", 1));
    stage.run(&key("k", "f", Some(&agent))).expect("made");
    stage.run(&key("any", "g", None)).expect("made");
    let first = sign_in(&stage, &agent, "k", "1");
    stage.run(&first).expect("signed in");
    assert_eq!(stage.run(&first), Err(Rejected::Replayed));
    let others = sign_in(&stage, &other, "k", "2");
    assert!(matches!(stage.run(&others), Err(Rejected::SshKeyEnded(_))), "another agent's key");
    let any = sign_in(&stage, &other, "any", "2");
    stage.run(&any).expect("a key of no agent signs in any");
    stage.run(&revoke("k")).expect("revoked");
    let late = sign_in(&stage, &agent, "k", "3");
    assert!(matches!(stage.run(&late), Err(Rejected::SshKeyEnded(_))));
    stage.run(&Deregister { agent: other.clone(), trace: None }).expect("gone");
    let gone = sign_in(&stage, &other, "any", "4");
    assert!(matches!(stage.run(&gone), Err(Rejected::UnknownAgent(_))));
}

#[test]
fn a_key_of_an_agent_is_not_for_one_that_takes_its_id() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    let made = stage.run(&key("k", "f", Some(&agent))).expect("made");
    stage.run(&key("any", "g", None)).expect("made");
    let first = sign_in(&stage, &agent, "k", "1");
    assert_eq!(Some(stage.run(&first).expect("signed in")), made.registered_at);
    stage.run(&Deregister { agent: agent.clone(), trace: None }).expect("gone");
    stage.now = stage.now + Duration::from_micros(1);
    let again = Register {
        id: Some(agent.clone()),
        name: "again".to_owned(),
        version: "1".to_owned(),
        endpoint: None,
        capabilities: Vec::new(),
        metadata: Map::new(),
        replace: false,
        trace: None,
    };
    stage.run(&again).expect("registered");
    let late = sign_in(&stage, &agent, "k", "2");
    assert!(matches!(stage.run(&late), Err(Rejected::SshKeyEnded(_))));
    let any = sign_in(&stage, &agent, "any", "3");
    assert!(stage.run(&any).expect("signed in") > first_registration(&made), "another registration");
    stage.run(&DeleteSshKey { key: id("k") }).expect("deleted");
    stage.run(&key("k", "f", Some(&agent))).expect("added for the new one");
    let now = sign_in(&stage, &agent, "k", "4");
    stage.run(&now).expect("signed in");
}

fn first_registration(key: &SshKey) -> Timestamp {
    key.registered_at.expect("of an agent")
}

#[test]
fn a_challenge_of_no_tenant_is_used_up_once() {
    let mut stage = Stage::new();
    let seen = SeenSignature { signature: "1".to_owned(), expires_at: stage.now + Duration::from_secs(300) };
    stage.run(&UseChallenge { seen: seen.clone() }).expect("used");
    assert_eq!(stage.run(&UseChallenge { seen }), Err(Rejected::Replayed));
}

#[test]
fn a_sign_in_that_meets_a_revocation_conflicts() {
    let mut stage = Stage::new();
    let agent = stage.agent("a", 1);
    stage.run(&key("k", "f", Some(&agent))).expect("made");
    let signed_in = sign_in(&stage, &agent, "k", "1");
    let (decision, _) = stage.decide(&signed_in).expect("it may");
    stage.run(&revoke("k")).expect("revoked");
    assert!(stage.store.commit(&decision, None).is_err(), "it rests on a key that was active");
}

#[test]
fn keys_of_tokens_are_made_once_and_replaced_when_they_are_worn() {
    let mut stage = Stage::new();
    let rotate = |seed: u8| RotateTokenKeys {
        challenge: Seed::new([seed; 32]),
        signing: Seed::new([seed; 32]),
        rotation: Duration::from_secs(86_400),
    };
    let first = stage.run(&rotate(1)).expect("made");
    assert_eq!(stage.run(&rotate(2)), Ok(first.clone()), "they are there");
    stage.now = stage.now + Duration::from_secs(86_401);
    let second = stage.run(&rotate(3)).expect("replaced");
    assert_eq!(second.signing.iter().map(|key| key.seed.expose()[0]).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(second.challenge, first.challenge);
}
