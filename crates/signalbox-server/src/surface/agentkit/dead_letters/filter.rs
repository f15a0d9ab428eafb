//! Which dead letters are meant: by agent, kind and age.

use serde::Deserialize;
use signalbox_store::DeadLetterFilter;
use signalbox_wire::id::AgentId;

use crate::http::params::{self, Reader};
use crate::surface::agentkit::convert;

/// Which dead letters are meant.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeadLetterQuery {
    /// Those for this agent.
    agent: Option<String>,
    /// Those of this kind: `message`, `task` or `webhook`.
    kind: Option<String>,
    /// Those given up at or after this moment.
    since: Option<String>,
}

impl DeadLetterQuery {
    /// Reads the filters.
    pub(crate) fn read(&self, reader: &mut Reader) -> DeadLetterFilter {
        DeadLetterFilter {
            agent: reader.read("agent", self.agent.as_deref(), params::id(AgentId::parse)),
            kind: reader.read("kind", self.kind.as_deref(), convert::kind),
            since: reader.read("since", self.since.as_deref(), params::timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_of_the_filters_are_told() {
        let query = DeadLetterQuery {
            agent: Some(String::new()),
            kind: Some("letter".to_owned()),
            since: Some("yesterday".to_owned()),
        };
        let mut reader = Reader::default();
        query.read(&mut reader);
        let refusal = reader.finish().expect_err("faults");
        let pointers: Vec<&str> = refusal.0.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/agent", "/kind", "/since"]);
    }
}
