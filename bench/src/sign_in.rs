//! Signing in: a challenge for each, their answers signed between the two runs of load, and what came of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::context::Context;
use crate::load::{self, Ids, Outcome, Plan, Template};
use crate::ssh::{Key, KeyKind};
use crate::{agents, clock};

/// A key that may sign in any agent of its tenant.
pub(crate) struct Credential {
    key: Key,
    id: String,
}

impl Credential {
    /// Makes a key and lets the server know it.
    pub(crate) async fn register(
        addr: std::net::SocketAddr,
        kind: KeyKind,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Registered {
            key_id: String,
        }
        let key = Key::make(kind, folder)?;
        let name = format!("bench {}", kind.name());
        let body =
            serde_json::json!({"name": name, "public_key": key.public, "key_type": "access"}).to_string();
        let answer = load::call(addr, "POST", "/api/v1/ssh-keys", Some(&body)).await?;
        let registered: Registered = serde_json::from_slice(&answer).context("the key got no id")?;
        Ok(Self { key, id: registered.key_id })
    }

    /// Signs challenges, each of the agent in its place from `first` on, on so many threads. The bodies that answer them
    /// are padded to one length; answers as well how long a signature took.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        ids: &Ids,
        first: u64,
        challenges: Vec<String>,
        threads: usize,
    ) -> anyhow::Result<(Ids, Duration)> {
        let count = challenges.len();
        ensure!(count > 0, "no challenge was given");
        let share = count.div_ceil(threads.max(1));
        let mut signing = Vec::new();
        for (place, part) in challenges.chunks(share).enumerate() {
            let (credential, ids, part) = (Arc::clone(self), ids.clone(), part.to_vec());
            let first = first + (place * share) as u64;
            signing.push(tokio::task::spawn_blocking(move || credential.bodies(&ids, first, &part)));
        }
        let (mut bodies, mut time) = (Vec::with_capacity(count), Duration::ZERO);
        for part in signing {
            let (signed, took) = part.await.context("a thread that signs panicked")??;
            bodies.extend(signed);
            time += took;
        }
        let width = bodies.iter().map(String::len).max().unwrap_or(0);
        bodies.iter_mut().for_each(|body| body.extend(std::iter::repeat_n(' ', width - body.len())));
        Ok((Ids::new(&bodies)?, time / u32::try_from(count)?))
    }

    fn bodies(
        &self,
        ids: &Ids,
        first: u64,
        challenges: &[String],
    ) -> anyhow::Result<(Vec<String>, Duration)> {
        let begin = clock::now();
        let bodies: anyhow::Result<Vec<String>> = (first..)
            .zip(challenges)
            .map(|(place, challenge)| {
                let response = self.key.sign(challenge.as_bytes())?;
                let body = serde_json::json!({
                    "tenant_id": "default",
                    "agent_id": ids.text(place),
                    "key_id": self.id,
                    "challenge": challenge,
                    "response": response,
                });
                Ok(body.to_string())
            })
            .collect();
        Ok((bodies?, clock::now() - begin))
    }
}

/// Asks for a challenge for each agent in turn.
pub(crate) fn challenge(ids: &Ids) -> anyhow::Result<Template> {
    Template::new("POST", "/api/v1/auth/challenge", None, Some(r#"{"agent_id":"<id>"}"#), Some(ids.clone()))
}

/// Gives each of the answers in turn.
pub(crate) fn verify(bodies: &Ids) -> anyhow::Result<Template> {
    Template::new("POST", "/api/v1/auth/verify", None, Some("<id>"), Some(bodies.clone()))
}

/// The challenge in an answer.
fn given_challenge(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Given {
        challenge: String,
    }
    serde_json::from_slice::<Given>(body).ok().map(|given| given.challenge)
}

/// The token in an answer.
fn given_token(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Given {
        valid: bool,
        token: String,
    }
    serde_json::from_slice::<Given>(body).ok().filter(|given| given.valid).map(|given| given.token)
}

/// Either of the two.
pub(crate) fn given(body: &[u8]) -> Option<String> {
    given_challenge(body).or_else(|| given_token(body))
}

/// Signs in every agent, once, and gives their tokens in their order.
pub(crate) async fn all(
    context: &Context,
    addr: std::net::SocketAddr,
    ids: &Ids,
    folder: &Path,
) -> anyhow::Result<Vec<String>> {
    let count = ids.len() as u64;
    let credential = Arc::new(Credential::register(addr, KeyKind::Ed25519, folder).await?);
    let plan = Plan { pick: Some(given), ..agents::counted(context, addr, challenge(ids)?, count) };
    let challenges = complete("asking for challenges", count, load::run(&plan).await?)?;
    let (bodies, _) = credential.answer(ids, 0, challenges, context.client_threads).await?;
    let plan = Plan { pick: Some(given), ..agents::counted(context, addr, verify(&bodies)?, count) };
    complete("signing in", count, load::run(&plan).await?)
}

fn complete(what: &str, count: u64, outcome: Outcome) -> anyhow::Result<Vec<String>> {
    let outcome = agents::complete(what, count, outcome)?;
    let picked = outcome.picked.len();
    ensure!(picked as u64 == count, "{what}: {picked} of {count} answers hold what was asked for");
    Ok(outcome.picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_name_their_agents_and_share_one_length() {
        let key = Key::make(KeyKind::EcdsaP256, Path::new("/")).unwrap();
        let credential = Arc::new(Credential { key, id: "key_1".to_owned() });
        let ids = Ids::new(&["a".to_owned(), "b".to_owned(), "c".to_owned()]).unwrap();
        let challenges: Vec<String> = (0..5).map(|number| format!("{number:064}")).collect();
        let (bodies, _) = credential.answer(&ids, 1, challenges.clone(), 2).await.unwrap();
        assert_eq!(bodies.len(), 5);
        for (place, agent) in ["b", "c", "a", "b", "c"].into_iter().enumerate() {
            let body: serde_json::Value = serde_json::from_str(&bodies.text(place as u64)).unwrap();
            assert_eq!(
                (&body["agent_id"], &body["challenge"]),
                (&agent.into(), &challenges[place].clone().into())
            );
        }
        verify(&bodies).unwrap();
        challenge(&ids).unwrap();
    }

    #[test]
    fn tokens_and_challenges_are_found() {
        assert_eq!(given_token(br#"{"valid":true,"token":"t","expires_at":"x"}"#).as_deref(), Some("t"));
        assert_eq!(given_token(br#"{"valid":false,"token":"t"}"#), None);
        assert_eq!(given_challenge(br#"{"challenge":"c","expires_at":"x"}"#).as_deref(), Some("c"));
    }
}
