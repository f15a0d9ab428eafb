//! What must hold of a single decision: that it follows from what caused it, and says what goes with it.

use signalbox_core::Decision;
use signalbox_core::agent::{AgentStatus, Held, Meaning};
use signalbox_core::decision::{Guard, Row, Write};
use signalbox_core::delivery::{MessageKind, MessageStatus, TaskAttempt};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{ReportState, TimerFired};
use signalbox_core::session::{SessionEvent, SessionState};

use crate::calls::Call;
use crate::store::Store;

/// What happens to a task in an agent's hands comes from that agent, or from what belongs to this very attempt.
pub(crate) fn check_cause(store: &Store, call: &Call, event: &SessionEvent, before: &SessionState) {
    use SessionEvent as E;
    let (E::TaskRunning { task, attempt, .. }
    | E::TaskCompleted { task, attempt, .. }
    | E::DeliveryFailed { task, attempt, .. }
    | E::TaskRetrying { task, attempt, .. }
    | E::TaskFailed { task, attempt, .. }) = event
    else {
        return;
    };
    let held = before.task(task).expect("a task of the session");
    if !held.status.is_held() || held.agent.is_none() {
        return; // A task that follows fails on its own; one that no agent holds has other causes.
    }
    assert_eq!(held.attempt, *attempt, "{task} is moved in another attempt");
    match call {
        // An agent that says that it goes gives back everything that it holds.
        Call::ReportState(report) if report.state.eq_ignore_ascii_case("offline") => {
            assert_eq!(held.agent.as_ref(), Some(&report.agent), "{task} is moved by another agent's report");
        }
        Call::ReportState(report) => {
            assert_eq!(held.agent.as_ref(), Some(&report.agent), "{task} is moved by another agent's report");
            let is_exact =
                report.task.as_ref().is_some_and(|named| task.matches(named) == Some(Some(*attempt)));
            let status = store.status_before(&report.agent);
            let is_only = |fits: &dyn Fn(&Held) -> bool| {
                let its = |held: &&Held| {
                    let session = report.session.as_deref();
                    fits(held) && session.is_none_or(|session| held.session.as_str() == session)
                };
                status.is_some_and(|status| status.held.iter().filter(its).count() == 1)
            };
            let is_named = match report.task.as_deref() {
                None => is_only(&|_| true),
                Some(named) if named == task.as_str() => is_only(&|held| held.task == *task),
                Some(named) => held.step == named && is_only(&|held| held.step == named),
            };
            let is_late = status.is_some_and(|status| is_late(status, report));
            let held = status.and_then(|status| status.held.iter().find(|held| held.task == *task));
            let is_taken = held.is_some_and(|held| held.taken_at.is_some());
            let is_said_of =
                report.task.is_some() || is_taken || Meaning::of(&report.state) == Meaning::Working;
            let is_meant = is_exact || (is_named && !is_late && is_said_of);
            assert!(is_meant, "{task} attempt {attempt} is moved by a report on {:?}", report.task);
        }
        Call::SettleDispatch(settled) => {
            let TaskAttempt { task: its, attempt: number, .. } = &settled.attempt;
            assert_eq!((its, number), (task, attempt), "the outcome of another attempt moves {task}");
            if matches!(event, E::DeliveryFailed { .. }) {
                assert_eq!(held.tries() + 1, settled.tries, "{task} takes an outcome of another try");
            }
        }
        Call::TimerFired(TimerFired {
            work:
                DueJob::Timeout { task: timed, attempt: its, .. }
                | DueJob::Dispatch { task: timed, attempt: its, .. },
        }) => {
            assert_eq!((timed, its), (task, attempt), "the timer of another attempt moves {task}");
        }
        _ => {}
    }
}

/// Whether a report is older than what its agent has said, as far as that was not dated ahead.
pub(crate) fn is_late(status: &AgentStatus, report: &ReportState) -> bool {
    let newest = status.report.as_ref().filter(|newest| newest.counts_as.is_none());
    newest.is_some_and(|newest| newest.timestamp > report.timestamp)
        || status.earlier_until.is_some_and(|until| until >= report.timestamp)
}

/// A message that is scheduled is due at its own time, and an outcome counts for the attempt that it is of.
pub(crate) fn check_delivery(call: &Call, decision: &Decision) {
    for write in &decision.writes {
        let Write::Put { row: Row::Message(message), .. } = write else { continue };
        if let Some(next) = message.next_at {
            let work = DueJob::Deliver { message: message.id.clone() };
            assert!(
                decision.due.iter().any(|due| (&due.work, due.at, &due.lane) == (&work, next, &message.lane)),
                "{} is not due at its time",
                message.id
            );
        }
        if let Call::SettleDelivery(settled) = call
            && settled.message == message.id
        {
            let attempts = message.attempts + u32::from(message.status == MessageStatus::Cancelled);
            assert_eq!(attempts, settled.attempt, "{} takes an outcome of another attempt", message.id);
        }
    }
}

/// A session starts with the revision that its workflow has at that moment.
pub(crate) fn check_revision(store: &Store, decision: &Decision) {
    for write in &decision.writes {
        let Write::Put { row: Row::Session(session), guard: Guard::Absent, .. } = write else { continue };
        let current = store.revision(&session.workflow);
        assert_eq!(
            current,
            Some(session.revision),
            "{} starts with an old revision of its workflow",
            session.id
        );
    }
}

/// Who comes and goes is announced in the same commit, and nothing else is.
pub(crate) fn check_announced(decision: &Decision, is_wanted: bool) {
    let is_webhook = |write: &&Write| matches!(write, Write::Put { row: Row::Message(message), guard: Guard::Absent, .. } if message.kind == MessageKind::RegistrationWebhook);
    let webhooks = decision.writes.iter().filter(is_webhook).count();
    assert_eq!(webhooks, usize::from(is_wanted), "webhooks for {:?}", decision.events);
}
