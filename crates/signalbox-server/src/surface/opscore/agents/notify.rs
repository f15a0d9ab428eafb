//! `POST /v1/opscore/internal/agent/notify`: AgentKit tells of an agent that came or went. The call brings no
//! key; its signature is what it is believed by, verified over the raw body before anything of it is read.

use axum::extract::State;
use http::HeaderMap;
use signalbox_core::engine::{Notification, NotifiedEvent};
use signalbox_store::Store;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::opscore::{DEREGISTER, Done, NotifyBody, REGISTER};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::notification;
use super::signed;
use crate::auth::Authenticator;
use crate::clock;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::http::context::Input;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::registering;
use crate::surface::state::Announcements;

/// Tell of an agent that registered or is gone
///
/// Signed with the shared webhook secret, by the headers of AgentKit or of Standard Webhooks. A signature counts
/// once and for 300 s.
#[utoipa::path(post, path = "/v1/opscore/internal/agent/notify", tag = "Agent state", request_body = NotifyBody,
    params(
        ("X-AgentKit-Timestamp" = Option<String>, Header, description = "Unix seconds or ISO 8601"),
        ("X-AgentKit-Signature" = Option<String>, Header,
            description = "Lower-case hex of HMAC-SHA256 over the timestamp, a dot and the body")),
    responses(
        (status = 200, description = "Taken, or known already", body = Done),
        (status = 400, description = "Not JSON, or an unknown event", body = Problem),
        (status = 401, description = "Unsigned, badly signed, stale, or seen before", body = Problem),
        (status = 403, description = "Unsigned, and relayed by this server or sent by a foreign page", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "As many agents are registered as may be", body = Problem)))]
pub(crate) async fn notify_agent(
    (State(store), State(quotas)): (State<Store>, State<Quotas>),
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    State(egress): State<Egress>,
    State(announcements): State<Announcements>,
    headers: HeaderMap,
    input: Input,
) -> Result<Reply, Refusal> {
    let seen = match &announcements.secret {
        Some(secret) => signed::verify(secret, &headers, &input.bytes, clock::system())?,
        None => {
            // A key is nothing that this call is believed by: where it would help, a signature does.
            let unsigned =
                |problem: Problem| if problem.status == 401 { signed::unsigned() } else { problem };
            authenticator.admit_keyless(&headers).map_err(unsigned)?;
            Vec::new()
        }
    };
    let body: NotifyBody = input.parse()?;
    let agent = body.agent_details.agent_id.clone();
    let (event, done) = match body.event_type.as_str() {
        REGISTER => (
            NotifiedEvent::Registered(notification::registration(body.agent_details, &input.bytes)),
            "registered",
        ),
        DEREGISTER => {
            let registered_at = notification::time(body.agent_details.registration_time.as_deref());
            (NotifiedEvent::Gone { agent: agent.clone(), registered_at }, "deregistered")
        }
        other => return Err(unknown(other).into()),
    };
    if let NotifiedEvent::Registered(announce) = &event
        && let Some(message) = announce.endpoint.as_deref().and_then(|url| egress.fault(url))
        && announcements.calls_endpoints
    {
        return Err(vec![Fault::new("/agent_details/contactEndpoint", message)].into());
    }
    let message = format!("Agent {agent} {done} successfully.");
    let (tenant, is_registered) = (TenantId::default_tenant(), matches!(event, NotifiedEvent::Registered(_)));
    let notification = Notification { event, seen };
    let told = drive.answer(&tenant, None, &notification, move |()| Reply::ok(&Done::new(message.as_str())));
    if is_registered {
        registering::announce((&store, &quotas), &tenant, &agent, told).await
    } else {
        told.await
    }
}

fn unknown(event: &str) -> Problem {
    let event: String = event.chars().take(64).collect();
    Problem::new(
        ProblemKind::UnknownEvent,
        format!("The event '{event}' is not known; send {REGISTER} or {DEREGISTER}."),
    )
}
