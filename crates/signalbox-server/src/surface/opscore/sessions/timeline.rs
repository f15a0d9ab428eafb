//! `GET /v1/opscore/sessions/{id}/timeline`: what was the matter with each task, and for how long, from the session's
//! history.

use std::collections::HashMap;

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::session::SessionState;
use signalbox_store::{EventFilter, Page, Store, StoredEvent};
use signalbox_wire::id::{TaskId, TenantId};
use signalbox_wire::opscore::{SpanKind, SpanView, TaskTimeline, TimelineView};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::convert;
use crate::surface::opscore::lookup;

/// Events of a history that are read for one answer, at most.
const EVENTS_MAX: usize = 20_000;
/// Those read in one go: each may be as large as a request's body.
const EVENTS_AT_ONCE: usize = 50;

/// Show a session's tasks in time
///
/// For each task the spans in which it waited, was with an agent, was worked on, or waited for its next attempt, from
/// the first 20,000 events of the session's history.
#[utoipa::path(get, path = "/v1/opscore/sessions/{id}/timeline", tag = "Sessions",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "The tasks in time", body = TimelineView),
        (status = 404, description = "No such session", body = Problem)))]
pub(crate) async fn session_timeline(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(session): Path,
) -> Result<Reply, Refusal> {
    let id = lookup::session(&session)?;
    let read = store.session(context.tenant(), &id).await?;
    let state = read.ok_or_else(|| Rejected::UnknownSession(id.to_string()))?.value;
    let (spans, is_complete) = read_history(&store, context.tenant(), &state).await?;
    Ok(Reply::ok(&view(&state, spans, is_complete)))
}

/// The spans that the history gives, and whether it was read whole.
async fn read_history(
    store: &Store,
    tenant: &TenantId,
    state: &SessionState,
) -> Result<(Spans, bool), Refusal> {
    let session = Some(state.session.id.clone());
    let filter = EventFilter { session, after_in_session: Some(0), ..EventFilter::default() };
    let (mut spans, mut count, mut after) = (Spans::default(), 0, None);
    while count < EVENTS_MAX {
        let page = Page { limit: EVENTS_AT_ONCE, after: after.take() };
        let listed = store.events(tenant, &filter, &page).await?;
        count += listed.items.len();
        listed.items.iter().for_each(|event| spans.take(event));
        match listed.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    // What has happened since the session was read makes it longer, never shorter.
    let is_complete = after.is_none() && count as u64 >= state.session.sequence;
    Ok((spans, is_complete))
}

fn view(state: &SessionState, mut spans: Spans, is_complete: bool) -> TimelineView {
    let tasks = state.tasks.iter().map(|task| TaskTimeline {
        task_id: task.step.clone(),
        name: task.name.clone(),
        spans: spans.0.remove(&task.id).unwrap_or_default().spans,
    });
    TimelineView {
        tasks: tasks.collect(),
        session_id: state.session.id.clone(),
        workflow_id: state.session.workflow.clone(),
        status: convert::session_status(state.session.status),
        started_at: state.session.created_at,
        ended_at: state.session.ended_at,
        is_complete,
    }
}

/// The spans so far, by task.
#[derive(Default)]
struct Spans(HashMap<TaskId, TaskSpans>);

/// The spans of one task.
#[derive(Default)]
struct TaskSpans {
    spans: Vec<SpanView>,
    /// Whether it waits for an agent, and not for a signal, a person or a moment.
    is_queued: bool,
}

/// What a span is made of; whatever else an event keeps is passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    attempt: Option<u32>,
}

impl Spans {
    fn take(&mut self, event: &StoredEvent) {
        match (&event.task, event.kind.as_str()) {
            (Some(task), kind) => {
                if let Some(happened) = kind.strip_prefix("task.") {
                    let Facts { attempt } = serde_json::from_str(&event.data).unwrap_or_default();
                    self.0.entry(task.clone()).or_default().take(happened, attempt, event);
                }
            }
            // A paused session gives up its places in the queue.
            (None, "session.paused") => {
                let queued = self.0.values_mut().filter(|task| task.is_queued);
                queued.for_each(|task| task.end(event.at, "paused"));
            }
            (None, _) => {}
        }
    }
}

impl TaskSpans {
    /// Lets an event end the span that there is and begin another.
    fn take(&mut self, happened: &str, attempt: Option<u32>, event: &StoredEvent) {
        let kind = match happened {
            "waiting" | "begun" => Some(SpanKind::Waiting),
            "dispatched" => Some(SpanKind::Dispatched),
            "running" | "expanded" => Some(SpanKind::Running),
            "retrying" => Some(SpanKind::RetryWait),
            "progress" => return,
            _ => None,
        };
        let (before, last) = self.spans.last().map_or((0, None), |span| (span.attempt, Some(span.kind)));
        let is_open = self.spans.last().is_some_and(|span| span.end.is_none());
        if is_open && kind.is_some() && kind == last {
            return;
        }
        self.end(event.at, happened);
        self.is_queued = happened == "waiting";
        let Some(kind) = kind else { return };
        let is_with_somebody = matches!(kind, SpanKind::Dispatched | SpanKind::Running);
        let attempt = match kind {
            SpanKind::Dispatched | SpanKind::Running => attempt.unwrap_or(before).max(1),
            SpanKind::RetryWait => attempt.unwrap_or(before) + 1,
            // The attempt waited for is the next after one that was with an agent. An unknown kind is never made here.
            SpanKind::Waiting | SpanKind::Unknown => match last {
                Some(SpanKind::Dispatched | SpanKind::Running) | None => before + 1,
                Some(SpanKind::Waiting | SpanKind::RetryWait | SpanKind::Unknown) => before,
            },
        };
        let agent_id = event.agent.clone().filter(|_| is_with_somebody);
        self.spans.push(SpanView { kind, start: event.at, end: None, attempt, agent_id, outcome: None });
    }

    fn end(&mut self, at: Timestamp, outcome: &str) {
        if let Some(span) = self.spans.last_mut().filter(|span| span.end.is_none()) {
            (span.end, span.outcome) = (Some(at), Some(outcome.to_owned()));
        }
        self.is_queued = false;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_core::event::Level;
    use signalbox_wire::id::{AgentId, SessionId};

    use super::*;

    fn event(at: i64, kind: &str, attempt: Option<u32>, agent: Option<&str>) -> StoredEvent {
        StoredEvent {
            sequence: 1,
            kind: kind.to_owned(),
            level: Level::Info,
            at: Timestamp::from_seconds(at),
            session: Some((SessionId::parse("s").expect("valid"), 1)),
            agent: agent.map(|id| AgentId::parse(id).expect("valid")),
            task: kind.starts_with("task.").then(|| TaskId::parse("t").expect("valid")),
            data: json!({"attempt": attempt, "result": {"large": "and passed over"}}).to_string(),
        }
    }

    /// The spans as words: kind, start, end, attempt, agent, outcome.
    fn told(events: &[StoredEvent]) -> Vec<String> {
        let mut spans = Spans::default();
        events.iter().for_each(|event| spans.take(event));
        let told = spans.0.into_values().flat_map(|task| task.spans).map(|span| {
            let end = span
                .end
                .map_or("now".to_owned(), |end| end.since(Timestamp::default()).as_secs().to_string());
            let start = span.start.since(Timestamp::default()).as_secs();
            let agent = span.agent_id.map_or("nobody".to_owned(), |agent| agent.to_string());
            let outcome = span.outcome.unwrap_or_default();
            format!("{:?} {start}-{end} #{} {agent} {outcome}", span.kind, span.attempt)
        });
        told.collect()
    }

    #[test]
    fn a_task_is_told_span_by_span() {
        let events = [
            event(0, "session.started", None, None),
            event(1, "task.waiting", None, None),
            event(3, "task.dispatched", Some(1), Some("a")),
            event(4, "task.running", Some(1), Some("a")),
            event(5, "task.running", Some(1), Some("a")),
            event(7, "task.retrying", Some(1), None),
            event(9, "task.waiting", None, None),
            event(10, "session.paused", None, None),
            event(12, "session.resumed", None, None),
            event(12, "task.dispatched", Some(2), Some("b")),
            event(13, "delivery.failed", Some(2), Some("b")),
            event(14, "task.returned", Some(2), Some("b")),
            event(14, "task.waiting", None, None),
            event(15, "task.dispatched", Some(3), Some("c")),
            event(18, "task.completed", Some(3), Some("c")),
        ];
        let expected = [
            "Waiting 1-3 #1 nobody dispatched",
            "Dispatched 3-4 #1 a running",
            "Running 4-7 #1 a retrying",
            "RetryWait 7-9 #2 nobody waiting",
            "Waiting 9-10 #2 nobody paused",
            "Dispatched 12-14 #2 b returned",
            "Waiting 14-15 #3 nobody dispatched",
            "Dispatched 15-18 #3 c completed",
        ];
        assert_eq!(told(&events), expected);
        let approval = [
            event(1, "task.begun", None, None),
            event(2, "session.paused", None, None),
            event(3, "task.progress", None, None),
            event(5, "task.completed", Some(0), None),
        ];
        assert_eq!(told(&approval), ["Waiting 1-5 #1 nobody completed"], "a pause does not stop a clock");
        assert_eq!(told(&events[..4]).last().map(String::as_str), Some("Running 4-now #1 a "));
    }
}
