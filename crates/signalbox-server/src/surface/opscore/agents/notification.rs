//! A notification that is believed, and what it changes.
//!
//! The signature is used up in the very commit that makes the event true, so that a crash can neither lose the
//! event nor leave the signature open to a second use: either both happened or neither did. A sender that got no
//! answer signs and sends again, and an event that happened already changes nothing.

use serde::Deserialize;
use signalbox_core::decision::SeenSignature;
use signalbox_core::engine::{Announce, Deregister, Operation, SeeSignature};
use signalbox_core::{Decision, DecisionContext, Halt, Rejected, Snapshot};
use signalbox_wire::id::AgentId;
use signalbox_wire::opscore::AgentDetails;
use signalbox_wire::time::Timestamp;

/// What a notification tells.
#[derive(Debug, Clone)]
pub(crate) enum Told {
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
pub(crate) struct Notification {
    pub(crate) told: Told,
    pub(crate) seen: Vec<SeenSignature>,
}

impl Operation for Notification {
    type Output = ();

    fn decide(&self, view: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut whole = Decision::default();
        for seen in &self.seen {
            let (used_up, ()) = SeeSignature { seen: seen.clone() }.decide(view, context)?;
            add(&mut whole, used_up);
        }
        add(&mut whole, self.told.decide(view, context)?);
        Ok((whole, ()))
    }
}

impl Told {
    fn decide(&self, view: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        let (id, registered_at) = match self {
            Self::Registered(announce) => (&announce.id, announce.registered_at),
            Self::Gone { agent, registered_at } => (agent, *registered_at),
        };
        let known = view.agent(id)?;
        if known.is_some_and(|known| registered_at.is_some_and(|at| at < known.value.registered_at)) {
            // A newer registration of the agent is known: notifications may overtake one another.
            return Ok(Decision::default());
        }
        match self {
            Self::Registered(announce) => Ok(announce.decide(view, context)?.0),
            Self::Gone { agent, .. } => {
                match (Deregister { agent: agent.clone(), trace: None }).decide(view, context) {
                    Ok((decision, _)) => Ok(decision),
                    // It is gone already, which is what was to become of it.
                    Err(Halt::Rejected(Rejected::UnknownAgent(_))) => Ok(Decision::default()),
                    Err(halt) => Err(halt),
                }
            }
        }
    }
}

fn add(whole: &mut Decision, part: Decision) {
    let Decision { writes, expects, events, due, done, hints, may_wait } = part;
    whole.writes.extend(writes);
    whole.expects.extend(expects);
    whole.events.extend(events);
    whole.due.extend(due);
    whole.done.extend(done);
    whole.hints.extend(hints);
    whole.may_wait &= may_wait;
}

/// A registration as it was told; `generation` is not part of the body's schema and is read where it is there.
pub(crate) fn registration(details: AgentDetails, body: &[u8]) -> Announce {
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
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
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
    use serde_json::json;
    use signalbox_core::decision::{Row, Write};
    use signalbox_core::limits::Policy;
    use signalbox_core::snapshot::Loaded;
    use signalbox_core::{Need, Versioned};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_704_110_400);

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
        let context = DecisionContext::new(NOW, 1, &policy);
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
        let mut view = Snapshot::new();
        loop {
            match operation.decide(&view, &mut context.clone()) {
                Err(Halt::Need(Need::Row(key))) => {
                    let row = match &key {
                        signalbox_core::decision::Key::Agent(_) => agent.clone().map(|agent| {
                            Loaded::Agent(Versioned { version: 1, value: std::sync::Arc::new(agent) })
                        }),
                        _ => None,
                    };
                    view.show(key, row);
                }
                Err(Halt::Need(Need::Rows(keys))) => keys.into_iter().for_each(|key| view.show(key, None)),
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
        let changed = Told::Registered(Announce { version: "3".into(), ..announce(Some(1), 101) });
        for outdated in [gone(99), told(Some(9), 99), told(Some(2), 100)] {
            assert!(
                is_only_the_signature(&decided(Some(&known), outdated.clone()).expect("decided")),
                "{outdated:?}"
            );
        }
        for newer in [gone(100), gone(101), told(Some(4), 100), changed] {
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
