//! Words of reports that carry no meaning. They are taken, as the contract says, and the agent counts as not available;
//! whoever wrote the agent finds a warning in the log, where the word was perhaps meant to settle something.

use signalbox_core::agent::Held;
use signalbox_core::engine::{AppendLogs, LogEntry};
use signalbox_core::event::Level;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::nearest::nearest;
use signalbox_wire::opscore::TaskAnswer;

/// What to add to the log about a report that `agent` is about to make: nothing where its word carries meaning, or is
/// what it said last, or is one of its own while it holds no task.
pub(super) async fn warning(
    store: &Store,
    tenant: &TenantId,
    agent: &AgentId,
    word: &str,
) -> Result<Option<AppendLogs>, StoreError> {
    if TaskAnswer::STATES.iter().any(|known| known.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let Some(status) = store.status(tenant, agent).await? else { return Ok(None) };
    let status = status.value;
    let meant = nearest(&word.to_ascii_lowercase(), TaskAnswer::STATES);
    let is_said_again = status.report.as_ref().is_some_and(|report| report.state == word);
    if is_said_again || (meant.is_none() && status.held.is_empty()) {
        return Ok(None);
    }
    let held = status.held.first();
    let entry = LogEntry {
        level: Level::Warning,
        message: told(word, meant, &status.held),
        timestamp: None,
        fields: None,
        session: held.map(|held| held.session.to_string()),
        task: held.map(|held| held.task.attempt_name(held.attempt)),
    };
    Ok(Some(AppendLogs { agent: agent.clone(), entries: vec![entry] }))
}

fn told(word: &str, meant: Option<&str>, held: &[Held]) -> String {
    let open = match held {
        [] => String::new(),
        [held] => format!(" Its task '{}' of session {} stays open.", held.step, held.session),
        held => format!(" Its {} tasks stay open.", held.len()),
    };
    let meant = meant.map(|meant| format!(" Did you mean '{meant}'?")).unwrap_or_default();
    format!(
        "The agent reported '{word}', a word without a meaning here: it settles nothing, and the agent gets no tasks \
         until it reports another.{open}{meant} The words with a meaning are {}.",
        TaskAnswer::STATES.join(", ")
    )
}
