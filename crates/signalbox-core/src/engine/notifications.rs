//! A notification that is believed, and what it changes.
//!
//! The signature is used up in the very commit that makes the event true, so that a crash can neither lose the
//! event nor leave the signature open to a second use: either both happened or neither did. A sender that got no
//! answer signs and sends again, and an event that happened already changes nothing.

use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

use super::agents::Deregister;
use super::announce::Announce;
use super::operation::Operation;
use super::records::SeeSignature;
use crate::decision::{Fold, SeenSignature};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// What a notification tells.
#[derive(Debug, Clone)]
pub enum NotifiedEvent {
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
pub struct Notification {
    /// What it tells.
    pub event: NotifiedEvent,
    /// The signatures that it was believed by, which are used up.
    pub seen: Vec<SeenSignature>,
}

impl Operation for Notification {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut fold = Fold::default();
        for seen in &self.seen {
            let (used_up, ()) = SeeSignature { seen: seen.clone() }.decide(snapshot, context)?;
            fold.add(used_up);
        }
        fold.add(self.event.decide(snapshot, context)?);
        Ok((fold.finish(), ()))
    }
}

impl NotifiedEvent {
    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        let (id, registered_at) = match self {
            Self::Registered(announce) => (&announce.id, announce.registered_at),
            Self::Gone { agent, registered_at } => (agent, *registered_at),
        };
        let known = snapshot.agent(id)?;
        if known.is_some_and(|known| registered_at.is_some_and(|at| at < known.value.registered_at)) {
            // A newer registration of the agent is known: notifications may overtake one another.
            return Ok(Decision::default());
        }
        match self {
            Self::Registered(announce) => Ok(announce.decide(snapshot, context)?.0),
            Self::Gone { agent, .. } => {
                match (Deregister { agent: agent.clone(), trace: None }).decide(snapshot, context) {
                    Ok((decision, _)) => Ok(decision),
                    // It is gone already, which is what was to become of it.
                    Err(Halt::Rejected(Rejected::UnknownAgent(_))) => Ok(Decision::default()),
                    Err(halt) => Err(halt),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::decision::{Row, Write};
    use crate::limits::Policy;
    use crate::snapshot::Loaded;
    use crate::{Need, Versioned};

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
    fn decided(known: Option<&Announce>, event: NotifiedEvent) -> Result<Decision, Halt> {
        let policy = Policy::default();
        let context = DecisionContext::new(NOW, 1, &policy);
        let seen = SeenSignature { signature: "sig".into(), expires_at: NOW };
        let operation = Notification { event, seen: vec![seen] };
        let agent = known.map(|known| crate::agent::Agent {
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
        let mut snapshot = Snapshot::new();
        loop {
            match operation.decide(&snapshot, &mut context.clone()) {
                Err(Halt::Need(Need::Row(key))) => {
                    let row = match &key {
                        crate::decision::Key::Agent(_) => agent.clone().map(|agent| {
                            Loaded::Agent(Versioned { version: 1, value: std::sync::Arc::new(agent) })
                        }),
                        _ => None,
                    };
                    snapshot.show(key, row);
                }
                Err(Halt::Need(Need::Rows(keys))) => {
                    keys.into_iter().for_each(|key| snapshot.show(key, None))
                }
                Err(Halt::Need(Need::Candidates(route))) => snapshot.show_candidates(route, Vec::new()),
                Err(Halt::Need(Need::OpenCommands(agent))) => snapshot.show_open_commands(agent, Vec::new()),
                Err(Halt::Need(Need::Waiting(routes))) => snapshot.show_waiting(routes, Vec::new()),
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
        let decision = decided(None, NotifiedEvent::Registered(announce(Some(1), 10))).expect("decided");
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
        let told = NotifiedEvent::Gone { agent: AgentId::parse("a").expect("valid"), registered_at: None };
        assert!(is_only_the_signature(&decided(None, told).expect("decided")));
    }

    #[test]
    fn news_of_an_earlier_life_change_nothing() {
        let known = announce(Some(3), 100);
        let gone = |registered_s| NotifiedEvent::Gone {
            agent: known.id.clone(),
            registered_at: Some(Timestamp::from_seconds(registered_s)),
        };
        let told = |generation, registered_s| NotifiedEvent::Registered(announce(generation, registered_s));
        let changed = NotifiedEvent::Registered(Announce { version: "3".into(), ..announce(Some(1), 101) });
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
}
