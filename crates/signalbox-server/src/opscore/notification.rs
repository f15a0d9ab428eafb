//! A signed notification: whether it is to be believed, and what it changes.
//!
//! The signature is used up in the very commit that makes the event true, so that a crash can neither lose the
//! event nor leave the signature open to a second use: either both happened or neither did, and a sender that
//! got no answer may send again, with the same signature or a new one.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use signalbox_core::decision::SeenSignature;
use signalbox_core::engine::{Announce, Deregister, Operation, SeeSignature};
use signalbox_core::{Decision, Halt, Rejected, Turn, View};
use signalbox_wire::id::AgentId;
use signalbox_wire::keys::Secret;
use signalbox_wire::opscore::AgentDetails;
use signalbox_wire::problem::Problem;
use signalbox_wire::signature::{self, SignatureError};
use signalbox_wire::time::Timestamp;

use crate::problem::Refusal;

/// How long a signature is remembered: longer than its timestamp is accepted, before and after.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// Verifies a call over the raw bytes of its body, and names the signatures that it uses up.
pub(super) fn verify(
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<SeenSignature>, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let agentkit = (header(signature::AGENTKIT_TIMESTAMP), header(signature::AGENTKIT_SIGNATURE));
    let standard = (
        header(signature::WEBHOOK_ID),
        header(signature::WEBHOOK_TIMESTAMP),
        header(signature::WEBHOOK_SIGNATURE),
    );
    let verified = match (agentkit, standard) {
        ((Some(timestamp), Some(given)), _) => {
            signature::verify_agentkit(secret.expose(), timestamp, given, body, now)
        }
        ((None, None), (Some(id), Some(timestamp), Some(given))) => {
            signature::verify_standard(secret.expose(), id, timestamp, given, body, now)
        }
        _ => return Err(unsigned().into()),
    };
    verified.map_err(refused)?;
    // One call may be signed both ways. Whichever was looked at, both are used up: the signature over each
    // timestamp and the body stands for both, since a header that was left out cannot be asked for.
    let mut stamps: Vec<&str> = [agentkit.0, standard.1].into_iter().flatten().collect();
    stamps.dedup();
    let seen = stamps.into_iter().map(|stamp| SeenSignature {
        signature: signature::sign_agentkit(secret.expose(), stamp, body),
        expires_at: now + REMEMBERED_FOR,
    });
    Ok(seen.collect())
}

/// An unsigned call where a secret is needed.
pub(super) fn unsigned() -> Problem {
    Problem::unauthorized(
        "The call is not signed; send X-AgentKit-Timestamp and X-AgentKit-Signature, made with the shared webhook secret.",
    )
}

/// Which of the two it was helps whoever has a wrong clock, and nobody who guesses.
fn refused(error: SignatureError) -> Problem {
    let detail = match error {
        SignatureError::Stale | SignatureError::BadTimestamp => format!(
            "The call's timestamp is not within {} s of now; check the sender's clock.",
            signature::WINDOW_S
        ),
        SignatureError::Mismatch => {
            "The call's signature is not that of its body; check that both sides have the same webhook secret.".to_owned()
        }
    };
    Problem::unauthorized(detail)
}

/// What a notification tells.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// An agent registered.
    Registered(Announce),
    /// An agent is gone.
    Gone {
        /// Which.
        agent: AgentId,
        /// When the registration that ended had begun.
        registered_at: Option<Timestamp>,
    },
}

/// A notification that was verified.
#[derive(Debug, Clone)]
pub(super) struct Notification {
    pub(super) told: Told,
    pub(super) seen: Vec<SeenSignature>,
}

impl Operation for Notification {
    type Answer = ();

    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<(Decision, ()), Halt> {
        let mut whole = Decision::default();
        for seen in &self.seen {
            let (used_up, ()) = SeeSignature { seen: seen.clone() }.decide(view, turn)?;
            add(&mut whole, used_up);
        }
        add(&mut whole, self.told.decide(view, turn)?);
        Ok((whole, ()))
    }
}

impl Told {
    fn decide(&self, view: &View, turn: &mut Turn<'_>) -> Result<Decision, Halt> {
        if self.is_outdated(view)? {
            return Ok(Decision::default());
        }
        match self {
            Self::Registered(announce) => Ok(announce.decide(view, turn)?.0),
            Self::Gone { agent, .. } => match (Deregister { agent: agent.clone() }).decide(view, turn) {
                Ok((decision, _)) => Ok(decision),
                // It is gone already, which is what was to become of it.
                Err(Halt::Rejected(Rejected::UnknownAgent(_))) => Ok(Decision::default()),
                Err(halt) => Err(halt),
            },
        }
    }

    /// Whether a newer registration of the agent is known: notifications may overtake one another.
    fn is_outdated(&self, view: &View) -> Result<bool, Halt> {
        let (id, registered_at, generation) = match self {
            Self::Registered(announce) => (&announce.id, announce.registered_at, announce.generation),
            Self::Gone { agent, registered_at } => (agent, *registered_at, None),
        };
        let Some(known) = view.agent(id)? else { return Ok(false) };
        let began_earlier = registered_at.is_some_and(|at| at < known.value.registered_at);
        let same_life = registered_at.is_none_or(|at| at == known.value.registered_at);
        let counts_less = generation.is_some_and(|generation| generation < known.value.generation);
        Ok(began_earlier || (same_life && counts_less))
    }
}

fn add(whole: &mut Decision, part: Decision) {
    let Decision { writes, expects, events, due, done, hints } = part;
    whole.writes.extend(writes);
    whole.expects.extend(expects);
    whole.events.extend(events);
    whole.due.extend(due);
    whole.done.extend(done);
    whole.hints.extend(hints);
}

/// A registration as it was told; `generation` is not part of the body's schema and is read where it is there.
pub(super) fn registration(details: AgentDetails, body: &[u8]) -> Announce {
    Announce {
        id: details.agent_id,
        name: details.agent_name,
        version: details.version,
        endpoint: details.contact_endpoint,
        capabilities: details
            .capabilities
            .iter()
            .filter_map(|given| serde_json::to_value(given).ok())
            .collect(),
        metadata: details.metadata,
        registered_at: time(details.registration_time.as_deref()),
        generation: generation(body),
    }
}

/// The moment that a sender gave in its own words, where it is one.
pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    Timestamp::parse(text?).ok()
}

fn generation(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Body {
        agent_details: Details,
    }
    #[derive(Deserialize)]
    struct Details {
        generation: Option<u64>,
    }
    serde_json::from_slice::<Body>(body).ok()?.agent_details.generation
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;
    use signalbox_core::decision::{Row, Write};
    use signalbox_core::limits::Policy;
    use signalbox_core::view::Loaded;
    use signalbox_core::{Need, Versioned};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_704_110_400);
    const STAMP: &str = "1704110400";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"))
        };
        pairs.iter().map(pair).collect()
    }

    fn verdict(pairs: &[(&'static str, &str)]) -> Result<Vec<String>, u16> {
        let seen =
            verify(&Secret::new("s"), &headers(pairs), b"{}", NOW).map_err(|refusal| refusal.0.status)?;
        Ok(seen.into_iter().map(|seen| seen.signature).collect())
    }

    #[test]
    fn a_call_is_believed_by_either_signature_and_uses_up_both() {
        let agentkit = signature::sign_agentkit("s", STAMP, b"{}");
        let standard = signature::sign_standard("s", "msg_1", 1_704_110_400, b"{}");
        let first = [("x-agentkit-timestamp", STAMP), ("x-agentkit-signature", agentkit.as_str())];
        let second =
            [("webhook-id", "msg_1"), ("webhook-timestamp", STAMP), ("webhook-signature", standard.as_str())];
        let expected = Ok(vec![agentkit.clone()]);
        assert_eq!(verdict(&first), expected);
        assert_eq!(verdict(&second), expected, "the same call with the other headers left out");
        assert_eq!(verdict(&[&first[..], &second[..]].concat()), expected);
        let later = signature::sign_standard("s", "msg_1", 1_704_110_401, b"{}");
        let apart = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1704110401"),
            ("webhook-signature", later.as_str()),
        ];
        assert_eq!(verdict(&[&first[..], &apart[..]].concat()).map(|seen| seen.len()), Ok(2));
    }

    #[test]
    fn a_call_without_a_good_signature_is_not_believed() {
        let good = signature::sign_agentkit("s", STAMP, b"{}");
        let foreign = signature::sign_agentkit("t", STAMP, b"{}");
        let stale = signature::sign_agentkit("s", "1704110000", b"{}");
        for pairs in [
            &[][..],
            &[("x-agentkit-signature", good.as_str())],
            &[("x-agentkit-timestamp", STAMP)],
            &[("x-agentkit-timestamp", STAMP), ("x-agentkit-signature", foreign.as_str())],
            &[("x-agentkit-timestamp", "1704110000"), ("x-agentkit-signature", stale.as_str())],
            &[("webhook-id", "m"), ("webhook-timestamp", STAMP), ("webhook-signature", "v1,AAAA")],
        ] {
            assert_eq!(verdict(pairs), Err(401), "{pairs:?}");
        }
    }

    fn announce(generation: Option<u64>, registered_s: i64) -> Announce {
        Announce {
            id: AgentId::parse("a").expect("valid"),
            name: "A".into(),
            version: "2".into(),
            endpoint: None,
            capabilities: Vec::new(),
            metadata: serde_json::Map::new(),
            registered_at: Some(Timestamp::from_seconds(registered_s)),
            generation,
        }
    }

    /// The decision over a store that holds agent `a` as it was announced by `known`, if at all.
    fn decided(known: Option<&Announce>, told: Told) -> Result<Decision, Halt> {
        let policy = Policy::default();
        let turn = Turn::new(NOW, 1, &policy);
        let seen = SeenSignature { signature: "sig".into(), expires_at: NOW };
        let operation = Notification { told, seen: vec![seen] };
        let agent = known.map(|known| signalbox_core::agent::Agent {
            id: known.id.clone(),
            name: known.name.clone(),
            version: known.version.clone(),
            endpoint: None,
            capabilities: Vec::new(),
            metadata: serde_json::Map::new(),
            registered_at: known.registered_at.unwrap_or_default(),
            generation: known.generation.unwrap_or(1),
            concurrency: 1,
        });
        let mut view = View::new();
        loop {
            match operation.decide(&view, &mut turn.clone()) {
                Err(Halt::Need(Need::Row(key))) => {
                    let row = match &key {
                        signalbox_core::decision::Key::Agent(_) => agent.clone().map(|agent| {
                            Loaded::Agent(Versioned { version: 1, value: std::sync::Arc::new(agent) })
                        }),
                        _ => None,
                    };
                    view.show(key, row);
                }
                Err(Halt::Need(Need::Candidates(route))) => view.show_candidates(route, Vec::new()),
                Err(Halt::Need(Need::Waiting(routes))) => view.show_waiting(routes, Vec::new()),
                other => return other.map(|(decision, ())| decision),
            }
        }
    }

    fn is_only_the_signature(decision: &Decision) -> bool {
        matches!(decision.writes.as_slice(), [Write::Put { row: Row::Signature(_), .. }])
            && decision.events.is_empty()
    }

    #[test]
    fn an_event_and_its_signature_are_one_decision() {
        let decision = decided(None, Told::Registered(announce(Some(1), 10))).expect("decided");
        let rows = |wanted: fn(&Row) -> bool| {
            decision
                .writes
                .iter()
                .filter(|write| matches!(write, Write::Put { row, .. } if wanted(row)))
                .count()
        };
        assert_eq!(rows(|row| matches!(row, Row::Signature(_))), 1);
        assert_eq!(rows(|row| matches!(row, Row::Agent(_))), 1);
        assert!(!decision.events.is_empty());
    }

    #[test]
    fn an_agent_that_is_gone_already_is_no_fault() {
        let told = Told::Gone { agent: AgentId::parse("a").expect("valid"), registered_at: None };
        assert!(is_only_the_signature(&decided(None, told).expect("decided")));
    }

    #[test]
    fn news_of_an_earlier_life_change_nothing() {
        let known = announce(Some(3), 100);
        let gone = |registered_s| Told::Gone {
            agent: known.id.clone(),
            registered_at: Some(Timestamp::from_seconds(registered_s)),
        };
        let told = |generation, registered_s| Told::Registered(announce(generation, registered_s));
        for outdated in [gone(99), told(Some(9), 99), told(Some(2), 100)] {
            assert!(
                is_only_the_signature(&decided(Some(&known), outdated.clone()).expect("decided")),
                "{outdated:?}"
            );
        }
        for newer in [gone(100), gone(101), told(Some(4), 100), told(Some(1), 101)] {
            assert!(
                !is_only_the_signature(&decided(Some(&known), newer.clone()).expect("decided")),
                "{newer:?}"
            );
        }
    }

    #[test]
    fn a_generation_is_read_where_it_is_there() {
        let with = |generation: serde_json::Value| {
            generation_of(
                &json!({"event_type": "REGISTER", "agent_details": {"agentId": "a", "generation": generation}}),
            )
        };
        fn generation_of(body: &serde_json::Value) -> Option<u64> {
            generation(body.to_string().as_bytes())
        }
        assert_eq!(with(json!(4)), Some(4));
        for odd in [json!(null), json!("4"), json!(-1), json!({})] {
            assert_eq!(with(odd.clone()), None, "{odd}");
        }
    }
}
