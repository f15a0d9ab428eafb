//! One attempt to deliver one message.
//!
//! Run twice, it sends twice with the same `x-message-id`; the second outcome finds the message settled, or
//! counted on, and changes nothing. A process that dies here leaves a lease that runs out.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use http_body_util::Full;
use signalbox_core::Decision;
use signalbox_core::decision::Key;
use signalbox_core::delivery::{Message, MessageKind, MessageStatus, Outcome};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{DeliveredReport, SettleDelivery};
use signalbox_core::payload;
use signalbox_core::task::TaskStatus;
use signalbox_store::{Claimed, StoreError};
use signalbox_wire::id::{MessageId, TenantId};
use signalbox_wire::opscore::{ACCEPTS_REPORT, TaskAnswer};
use signalbox_wire::signature;
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use super::keep::{keep, retry_soon};
use super::postpone::{ROOM_AGAIN, postpone};
use crate::clock::{self, Stopwatch};
use crate::egress::{Egress, EgressError, Room};
use crate::engine::slots::Slot;
use crate::engine::{DriveError, payloads};
use crate::telemetry;

/// The most of an agent's answer that is read for its report of the task: as much as a report may have that is sent.
const REPORT_BYTES_MAX: usize = 1 << 20;
/// What an attempt needs of its lease besides the destination's time to answer.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Does something claimed that is sent.
pub(super) async fn run(app: Jobs, claimed: Claimed, slot: Slot) {
    let message = match &claimed.work {
        DueJob::Deliver { message } => message,
        DueJob::Call { session, task, attempt } => {
            return super::call::run(&app, &claimed, (session, task, *attempt), slot).await;
        }
        _ => return,
    };
    app.metrics.delivering(1);
    if let Err(error) = attempt(&app, &claimed, message, slot).await {
        tracing::warn!(%error, message_id = %message, "a delivery is made again");
        // What the store refused for good would be sent again and again: that waits for the end of its lease.
        if matches!(&error, DriveError::Store(error) if error.is_passing()) {
            retry_soon(&app, &claimed).await;
        }
    }
    app.metrics.delivering(-1);
}

async fn attempt(app: &Jobs, claimed: &Claimed, id: &MessageId, mut slot: Slot) -> Result<(), DriveError> {
    let tenant = &claimed.tenant;
    let read = app.store.message(tenant, id).await?;
    let version = read.as_ref().map(|read| read.version);
    let scheduled = read.filter(|read| read.value.status == MessageStatus::Scheduled);
    let Some(message) = scheduled.map(|read| read.value) else {
        return finish(app, claimed, id, version).await;
    };
    let attempt = message.attempts + 1;
    let settle = |outcome| SettleDelivery::at(clock::now(), id.clone(), attempt, outcome);
    let target = match target(app, tenant, &message).await? {
        Ok(target) => target,
        Err(outcome) => return keep(app, claimed, &settle(outcome)).await,
    };
    // Made only where there is room for it; until then it stays due.
    let Some(room) = app.egress.room_now(body_bytes(app, &message)) else {
        return Ok(postpone(app, claimed, clock::now() + ROOM_AGAIN).await?);
    };
    let body = match body(app, tenant, &message).await? {
        Ok(body) => body,
        Err(outcome) => return keep(app, claimed, &settle(outcome)).await,
    };
    let now = clock::now();
    // With less left than the destination may take, another would send it beside this one.
    if !claimed.lease.covers(now, app.config.delivery_timeout + LEASE_MARGIN) {
        return Ok(postpone(app, claimed, now).await?);
    }
    let watch = Stopwatch::start();
    let (mut outcome, report) = match request(app, &target, (&message, body, room), attempt) {
        Some(request) => send(app, &message, request).await,
        None => (failed("the message's address or id cannot be written as HTTP".to_owned(), false), None),
    };
    let answered_at = clock::now();
    // The next one may call it while what came of this is being kept.
    slot.leave(is_reached(&outcome), answered_at);
    if slot.is_probe() {
        end_in_time(app, &message, slot.open_for(answered_at), answered_at, &mut outcome);
    }
    app.metrics.delivered(kind_name(message.kind), outcome_name(&outcome), watch.elapsed());
    if let Outcome::Failed { error, .. } = &outcome {
        tracing::info!(message_id = %id, attempt, error, "a delivery failed");
    }
    let settled = SettleDelivery { message: id.clone(), attempt, outcome, sent_at: now, answered_at, report };
    keep(app, claimed, &settled).await?;
    if let Outcome::Failed { error, may_retry, .. } = &settled.outcome
        && (!may_retry || attempt >= message.attempts_max)
    {
        let dead = Message { attempts: attempt, last_error: Some(error.clone()), ..Message::clone(&message) };
        telemetry::dead_letters::tell(&app.metrics, &app.store, tenant, &dead).await;
    }
    Ok(())
}

/// The message that tries a destination which is left alone is due anew after each try, so the time that it has waited is
/// counted from its start, and that of the destination since it was reached last.
fn end_in_time(
    app: &Jobs,
    message: &Message,
    open_for: Option<Duration>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let span = app.policy.delivery_span();
    let is_over = now.since(message.scheduled_at()) >= span && open_for.is_some_and(|open| open >= span);
    if let (true, Outcome::Failed { may_retry: may_retry @ true, error, .. }) = (is_over, outcome) {
        *may_retry = false;
        error.push_str(&format!("; the time of all attempts ({} s) is over", span.as_secs()));
    }
}

/// Where a message goes now, or why it goes nowhere.
async fn target(
    app: &Jobs,
    tenant: &TenantId,
    message: &Message,
) -> Result<Result<String, Outcome>, StoreError> {
    if message.kind == MessageKind::SessionWebhook {
        return Ok(message.url.clone().ok_or_else(|| unwanted("the notice names no address")));
    }
    if message.kind == MessageKind::RegistrationWebhook {
        return Ok(app
            .config
            .opscore_webhook_url
            .clone()
            .ok_or_else(|| unwanted("no webhook address is configured any more")));
    }
    if let Some(carried) = &message.task {
        let session = app.store.session(tenant, &carried.session).await?;
        let task = session.as_ref().and_then(|session| session.value.task(&carried.task));
        match task.filter(|task| task.attempt == carried.attempt).map(|task| task.status) {
            Some(TaskStatus::Dispatched) => {}
            // An attempt that got no answer has arrived all the same.
            Some(TaskStatus::Running) => return Ok(Err(unwanted("the agent works on the task already"))),
            _ => return Ok(Err(unwanted("the task is no longer with this agent in this attempt"))),
        }
    }
    let Some(agent) = &message.agent else { return Ok(Err(unwanted("the message names no agent"))) };
    let Some(registration) = app.store.agent(tenant, agent).await? else {
        return Ok(Err(failed(format!("agent {agent} is no longer registered"), false)));
    };
    if message.kind == MessageKind::Task
        && let Some(service) = app.config.dispatches_through()
    {
        let agent = percent_encoding::utf8_percent_encode(agent.as_str(), percent_encoding::NON_ALPHANUMERIC);
        return Ok(Ok(format!("{}/v1/agents/{agent}/run", service.trim_end_matches('/'))));
    }
    let endpoint = registration.value.endpoint.clone();
    Ok(endpoint.ok_or_else(|| failed(format!("agent {agent} has no contact endpoint"), true)))
}

/// How many bytes [`body`] is going to take.
fn body_bytes(app: &Jobs, message: &Message) -> u64 {
    let stored = message.body.len() as u64;
    if !refers(message) {
        return stored;
    }
    let said = serde_json::from_str(&message.body).map_or(stored, |value| payload::bytes(&value));
    said.clamp(stored, app.config.payload_bytes_max.max(stored))
}

/// Whether its body may hold references to payloads.
fn refers(message: &Message) -> bool {
    message.kind == MessageKind::Task && message.body.contains(payload::REFERENCE)
}

/// What is sent: for a task, with the payloads that its parameters refer to in their places.
async fn body(
    app: &Jobs,
    tenant: &TenantId,
    message: &Message,
) -> Result<Result<Bytes, Outcome>, StoreError> {
    if !refers(message) {
        return Ok(Ok(Bytes::from(message.body.clone())));
    }
    let Ok(stored) = serde_json::from_str(&message.body) else {
        return Ok(Ok(Bytes::from(message.body.clone())));
    };
    let whole = payloads::inline(&app.store, tenant, &stored, app.config.payload_bytes_max).await?;
    Ok(match whole {
        Ok(whole) => Ok(Bytes::from(whole.to_string())),
        Err(fault) => Err(failed(format!("the task cannot be sent: {fault}"), false)),
    })
}

fn request(
    app: &Jobs,
    target: &str,
    (message, body, room): (&Message, Bytes, Room),
    attempt: u32,
) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::post(target)
        .extension(room)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("signalbox/", env!("CARGO_PKG_VERSION")))
        .header("x-message-id", message.id.as_str())
        .header("x-attempt", attempt);
    if let Some(trace) = &message.trace {
        request = request.header("traceparent", trace);
    }
    if may_report(app, message) {
        request = request.header(ACCEPTS_REPORT, "true");
    }
    let secret = match message.kind {
        MessageKind::RegistrationWebhook => Some(app.config.opscore_webhook_secret.as_ref()?.expose()),
        MessageKind::SessionWebhook => Some(app.notice_secret.expose()),
        MessageKind::Message | MessageKind::Task => None,
    };
    if let Some(secret) = secret {
        // Receivers compare it with their own clocks.
        let seconds = clock::system().as_seconds();
        request = request
            .header(
                signature::WEBHOOK_SIGNATURE,
                signature::sign_standard(secret, message.id.as_str(), seconds, &body),
            )
            .header(signature::WEBHOOK_ID, message.id.as_str())
            .header(signature::WEBHOOK_TIMESTAMP, seconds);
        if message.kind == MessageKind::RegistrationWebhook {
            let stamp = seconds.to_string();
            request = request
                .header(signature::AGENTKIT_SIGNATURE, signature::sign_agentkit(secret, &stamp, &body))
                .header(signature::AGENTKIT_TIMESTAMP, stamp);
        }
    }
    if app.config.dispatches_through().is_some()
        && message.kind == MessageKind::Task
        && let Some(key) = &app.config.agentkit_api_key
    {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Full::new(body)).ok()
}

/// What clients named goes by the policy for them; the operator's own services are the operator's choice.
fn way_out<'a>(app: &'a Jobs, message: &Message) -> &'a Egress {
    let is_service = match message.kind {
        MessageKind::RegistrationWebhook => true,
        MessageKind::Task => app.config.dispatches_through().is_some(),
        MessageKind::Message | MessageKind::SessionWebhook => false,
    };
    if is_service { &app.services } else { &app.egress }
}

/// Sends a request: what came of it, and what the agent answered of its task.
async fn send(
    app: &Jobs,
    message: &Message,
    request: Request<Full<Bytes>>,
) -> (Outcome, Option<DeliveredReport>) {
    let (egress, timeout) = (way_out(app, message), app.config.delivery_timeout);
    let answer = if may_report(app, message) {
        egress.answer_of(request, timeout, REPORT_BYTES_MAX).await
    } else {
        egress.status_of(request, timeout).await.map(|(status, headers)| (status, headers, None))
    };
    match answer {
        Ok((status, headers, body)) => {
            let report = body.filter(|_| status.is_success()).and_then(|body| TaskAnswer::read(&body));
            let report =
                report.map(|answer| DeliveredReport { state: answer.state, details: answer.details });
            (Outcome::of_status(status.as_u16(), retry_after(&headers)), report)
        }
        Err(error @ EgressError::Forbidden(_)) => (failed(error.to_string(), false), None),
        Err(error) => (failed(error.to_string(), true), None),
    }
}

/// Whether the answer may be the agent's report: its own answer to a task, not that of a service in between.
fn may_report(app: &Jobs, message: &Message) -> bool {
    message.task.is_some() && app.config.dispatches_through().is_none()
}

/// `Retry-After` in seconds; its date form is left to the backoff.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether the destination is there: an answer of any kind but overload says so.
fn is_reached(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Delivered { .. } => Some(true),
        Outcome::Failed { may_retry: true, .. } => Some(false),
        Outcome::Failed { status, .. } => status.map(|_| true),
        Outcome::Unwanted { .. } => None,
    }
}

/// Nothing is left to do, unless the message has changed since it was read: then whoever changed it has said
/// what is due.
async fn finish(
    app: &Jobs,
    claimed: &Claimed,
    id: &MessageId,
    version: Option<i64>,
) -> Result<(), DriveError> {
    match app.drive.commit(&claimed.tenant, finished(&claimed.work, id, version), clock::now()).await {
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn finished(work: &DueJob, id: &MessageId, version: Option<i64>) -> Decision {
    let expects = vec![(Key::Message(id.clone()), version)];
    Decision { expects, done: vec![work.id()], ..Decision::default() }
}

fn failed(error: String, may_retry: bool) -> Outcome {
    Outcome::Failed { status: None, error, retry_after: None, may_retry }
}

fn unwanted(reason: &str) -> Outcome {
    Outcome::Unwanted { reason: reason.to_owned() }
}

fn kind_name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Message => "message",
        MessageKind::Task => "task",
        MessageKind::RegistrationWebhook => "webhook",
        MessageKind::SessionWebhook => "notice",
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Failed { may_retry: true, .. } => "failed",
        Outcome::Failed { may_retry: false, .. } => "refused",
        Outcome::Unwanted { .. } => "unwanted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A redrive between the look at a dead letter and its removal from what is due must keep its delivery.
    #[test]
    fn what_is_finished_is_the_message_as_it_was_read() {
        let id = MessageId::parse("m").expect("valid");
        let work = DueJob::Deliver { message: id.clone() };
        for version in [None, Some(7)] {
            let decision = finished(&work, &id, version);
            assert_eq!(decision.expects, [(Key::Message(id.clone()), version)]);
            assert_eq!(decision.done, [work.id()]);
        }
    }
}
