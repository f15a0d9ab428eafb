//! What a notification says of an agent, read from its body.

use serde::Deserialize;
use signalbox_core::engine::Announce;
use signalbox_wire::opscore::AgentDetails;
use signalbox_wire::time::Timestamp;

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

    use super::*;

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
