//! One call of the tool that does a task.
//!
//! Run twice, it calls twice; the second outcome finds the attempt over and changes nothing. A process that dies
//! here leaves a lease that runs out.

use serde_json::Value;
use signalbox_core::definition::Kind;
use signalbox_core::engine::SettleCall;
use signalbox_core::task::TaskStatus;
use signalbox_store::Claimed;
use signalbox_wire::agentkit::{ToolAnswer, ToolStatus};
use signalbox_wire::id::{SessionId, TaskId};

use super::context::Jobs;
use super::slots::Slots;
use crate::engine::DriveError;
use crate::engine::payloads;
use crate::http::problem::Refusal;

/// Calls the tool of a claimed task.
pub(super) async fn run(
    app: &Jobs,
    claimed: &Claimed,
    session: &SessionId,
    task: &TaskId,
    attempt: u32,
    _slot: Option<Slots>,
) {
    if let Err(error) = call(app, claimed, session, task, attempt).await {
        // The lease runs out and the tool is called again.
        tracing::warn!(%error, task = %task, "what came of calling a tool could not be kept");
    }
}

async fn call(
    app: &Jobs,
    claimed: &Claimed,
    session: &SessionId,
    task: &TaskId,
    attempt: u32,
) -> Result<(), DriveError> {
    let tenant = &claimed.tenant;
    let read = app.store.session(tenant, session).await?;
    let current = read.as_ref().and_then(|read| read.value.task(task));
    let wanted = current.filter(|task| task.attempt == attempt && task.status == TaskStatus::Dispatched);
    let outcome = match wanted.map(|task| (&task.kind, &task.parameters)) {
        Some((Kind::Tool(tool), parameters)) => {
            let arguments = Value::Object(parameters.clone().unwrap_or_default());
            match payloads::inline(&app.store, tenant, &arguments, app.config.payload_bytes_max).await? {
                Ok(arguments) => {
                    let trace = read.as_ref().and_then(|read| read.value.session.trace.as_deref());
                    let arguments = (&arguments, "/parameters");
                    let asked = app.tools.call(tenant, tool.as_str(), arguments, trace).await;
                    asked.map_or_else(|refusal| Err(unasked(&refusal)), answered)
                }
                Err(fault) => Err(("PAYLOAD".to_owned(), format!("the tool was not called: {fault}"))),
            }
        }
        // The attempt is over; all that is left is to strike it out.
        _ => Err(("NOT_WANTED".to_owned(), "the task is no longer with its tool".to_owned())),
    };
    let operation = SettleCall { session: session.clone(), task: task.clone(), attempt, outcome };
    app.drive.run(tenant, &operation).await
}

fn answered(answer: ToolAnswer) -> Result<Value, (String, String)> {
    let code = answer.error_code.unwrap_or_default();
    match answer.status {
        ToolStatus::Error => Err((code, answer.error_message.unwrap_or(answer.message))),
        ToolStatus::Success => {
            let data = answer.data.map_or(Ok(Value::Null), |data| serde_json::from_str(data.get()));
            data.map_err(|error| (code, error.to_string()))
        }
    }
}

/// Why a tool could not be asked; its code is the problem's type.
fn unasked(refusal: &Refusal) -> (String, String) {
    let faults: Vec<String> = refusal.0.errors.iter().map(ToString::to_string).collect();
    let faults = if faults.len() > 1 { format!(" ({})", faults.join("; ")) } else { String::new() };
    (refusal.0.kind.to_string(), format!("{}{faults}", refusal.0.detail))
}
