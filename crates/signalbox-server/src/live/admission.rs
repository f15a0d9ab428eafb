//! Who may connect as which agent: a request's credentials become an [`Admitted`], or the reason why not.

use http::{HeaderMap, HeaderValue, header};
use signalbox_core::decision::Scope;
use signalbox_store::Store;
use signalbox_wire::id::{AgentId, KeyId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use crate::auth::{AuthError, Authenticator, Caller, UsedKey};
use crate::http::problem::Refusal;
use crate::transport::outbox::CloseReason;

/// An agent that may connect.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) tenant: TenantId,
    pub(crate) agent: AgentId,
    /// The SSH key that its token was given for.
    pub(crate) key: Option<KeyId>,
    /// When it registered: what takes its id later is another agent.
    pub(crate) registered_at: Timestamp,
    /// The API key by which it came.
    pub(crate) api_key: Option<UsedKey>,
}

/// What is said to a request to connect.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may.
    Admitted(Admitted),
    /// It may not, for this reason; told by how the connection ends, or as the problem.
    Refused(CloseReason, Problem),
}

/// What of a request's headers tells who calls, with the token of its query in place of the header that browsers cannot
/// send.
pub(crate) fn credentials(headers: &HeaderMap, token: Option<&str>) -> HeaderMap {
    let mut credentials = headers.clone();
    if let Some(token) = token.filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
        // What cannot be in a header is no token.
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer.unwrap_or_else(|_| HeaderValue::from_static("Bearer -"));
        bearer.set_sensitive(true);
        credentials.insert(header::AUTHORIZATION, bearer);
    }
    credentials
}

/// Whether whoever has these credentials may connect as `agent`: a request like any other, and counted as one. Without any
/// it is refused at once.
pub(crate) async fn admit(
    authenticator: &Authenticator,
    store: &Store,
    (credentials, path): (&HeaderMap, &str),
    agent: &str,
) -> Result<Verdict, Refusal> {
    let is_named = credentials.contains_key(header::AUTHORIZATION);
    match authenticator.admitted(credentials, path).await {
        Ok(caller) => admit_caller(store, caller, agent).await,
        Err(AuthError::Denied(problem)) if is_named => {
            // Good credentials that may not do this, as those of another tenant, are told apart from bad ones.
            let is_forbidden = problem.kind.known() == Some(ProblemKind::Forbidden);
            let reason = if is_forbidden { CloseReason::Forbidden } else { CloseReason::Unauthorized };
            Ok(Verdict::Refused(reason, problem))
        }
        // What says nothing of the credentials is told before there is a WebSocket.
        Err(error) => Err(error.into()),
    }
}

/// Whether a caller may connect as `agent`.
pub(crate) async fn admit_caller(store: &Store, caller: Caller, agent: &str) -> Result<Verdict, Refusal> {
    let refused = |reason, detail: String| Ok(Verdict::Refused(reason, Problem::forbidden(detail)));
    if caller.scope < Scope::Agent {
        let detail = "This key has the scope 'read'; a key with the scope 'agent' is needed.";
        return refused(CloseReason::Forbidden, detail.to_owned());
    }
    let Ok(agent) = AgentId::parse(agent) else { return Ok(unknown()) };
    if !is_its_own(&caller, &agent) {
        let detail = "This token is another agent's; connect as the agent that it was given to.";
        return refused(CloseReason::Forbidden, detail.to_owned());
    }
    let Some(known) = store.agent(&caller.tenant, &agent).await? else { return Ok(unknown()) };
    let registered_at = known.value.registered_at;
    if caller.registered_at.is_some_and(|at| at != registered_at) {
        let detail = "This token was given to an agent that had this id before; sign in again.";
        return Ok(Verdict::Refused(CloseReason::Unauthorized, Problem::unauthorized(detail)));
    }
    let Caller { tenant, key, api_key, .. } = caller;
    Ok(Verdict::Admitted(Admitted { tenant, agent, registered_at, key, api_key }))
}

/// Whether a caller that proved to be an agent is this one.
fn is_its_own(caller: &Caller, agent: &AgentId) -> bool {
    caller.agent.as_ref().is_none_or(|own| own == agent)
}

fn unknown() -> Verdict {
    let detail = "Agent not found; register it with POST /api/v1/agents.";
    let problem = Problem::new(ProblemKind::UnknownAgent, detail);
    Verdict::Refused(CloseReason::Removed, problem)
}
