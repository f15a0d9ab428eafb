//! A token acts for its own agent alone: where a path names an agent, it is that one.
//!
//! What is sent to another agent, and what everybody in the tenant may read of one, is listed here; every other route that
//! names an agent, also one that is added later, is closed to the tokens of others.

use axum::extract::MatchedPath;
use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use signalbox_wire::problem::Problem;

use crate::auth::Caller;

/// The parameters of a path that name an agent.
const NAMES: [&str; 2] = ["{agentId}", "{agent_id}"];

/// Routes that a token of another agent may take: a message or a command to a colleague, and what is known of one and came
/// of the command.
const OF_OTHERS: [(Method, &str); 6] = [
    (Method::POST, "/v1/agents/{agentId}/run"),
    (Method::POST, "/api/v1/agents/{agent_id}/commands"),
    (Method::GET, "/api/v1/agents/{agent_id}/commands/{command_id}"),
    (Method::GET, "/v1/agents/{agentId}"),
    (Method::GET, "/v1/opscore/agent/{agentId}/state"),
    (Method::GET, "/api/v1/agents/{agent_id}"),
];

/// Refuses a token on a path that names another agent.
pub(super) fn check(caller: &Caller, parts: &Parts) -> Result<(), Problem> {
    if caller.agent.is_none() {
        return Ok(());
    }
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    check_on(caller, &parts.method, route, parts.uri.path())
}

/// The same for a request to `path` that is on `route`.
pub(super) fn check_on(caller: &Caller, method: &Method, route: &str, path: &str) -> Result<(), Problem> {
    let Some(own) = &caller.agent else { return Ok(()) };
    let mut segments = route.split('/').zip(path.split('/'));
    let Some((_, named)) = segments.find(|(of_route, _)| NAMES.contains(of_route)) else { return Ok(()) };
    let is_own = percent_decode_str(named).decode_utf8().is_ok_and(|named| named == own.as_str());
    // What answers GET answers HEAD.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    if is_own || OF_OTHERS.iter().any(|(of, open)| of == method && *open == route) {
        return Ok(());
    }
    let detail =
        format!("This token speaks for agent {own}, and the path names another; use that one's token.");
    Err(Problem::forbidden(detail))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_core::decision::Scope;
    use signalbox_wire::id::{AgentId, TenantId};

    use super::*;

    fn caller(agent: Option<&str>) -> Caller {
        Caller {
            tenant: TenantId::default_tenant(),
            scope: Scope::Agent,
            name: Arc::from("x"),
            is_platform: false,
            api_key: None,
            agent: agent.map(|agent| AgentId::parse(agent).expect("valid")),
            registered_at: None,
            key: None,
        }
    }

    #[test]
    fn a_token_acts_for_its_own_agent_alone() {
        let verdict = |agent: Option<&str>, method: Method, route: &str, path: &str| {
            check_on(&caller(agent), &method, route, path).err().map(|problem| problem.status)
        };
        let state = "/v1/opscore/agent/{agentId}/state";
        for (agent, method, path, expected) in [
            (Some("a b"), Method::POST, "/v1/opscore/agent/a%20b/state", None),
            (Some("a"), Method::POST, "/v1/opscore/agent/b/state", Some(403)),
            (Some("a"), Method::POST, "/v1/opscore/agent/%ff/state", Some(403)),
            (Some("a"), Method::GET, "/v1/opscore/agent/b/state", None),
            (None, Method::POST, "/v1/opscore/agent/b/state", None),
        ] {
            assert_eq!(verdict(agent, method, state, path), expected, "{path}");
        }
        let commands = "/api/v1/agents/{agent_id}/commands";
        assert_eq!(verdict(Some("a"), Method::GET, commands, "/api/v1/agents/b/commands"), Some(403));
        assert_eq!(verdict(Some("a"), Method::GET, "/v1/agents", "/v1/agents"), None);
        assert_eq!(
            verdict(Some("a"), Method::POST, commands, "/api/v1/agents/b/commands"),
            None,
            "a command"
        );
        let command = "/api/v1/agents/{agent_id}/commands/{command_id}";
        assert_eq!(verdict(Some("a"), Method::GET, command, "/api/v1/agents/b/commands/c"), None);
        let run = "/v1/agents/{agentId}/run";
        assert_eq!(verdict(Some("a"), Method::POST, run, "/v1/agents/b/run"), None, "a message to it");
    }
}
