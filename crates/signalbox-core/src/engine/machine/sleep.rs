//! A task waits for time to pass.

use std::sync::Arc;

use serde_json::Value;
use signalbox_wire::duration::Period;
use signalbox_wire::id::SessionId;
use signalbox_wire::time::Timestamp;

use super::command::{Command, Commands};
use crate::Halt;
use crate::definition::Kind;
use crate::engine::unit_of_work::UnitOfWork;
use crate::expression;
use crate::task::Task;

pub(super) fn sleep(
    session: &SessionId,
    task: &Arc<Task>,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let Kind::Sleep(text) = &task.kind else { return Ok(()) };
    let template = Value::String(text.clone());
    let value = work.see(session, task, |scope| expression::render_any(&template, scope))?;
    let until = value.map_err(|fault| fault.to_string()).and_then(|value| moment(&value, work.context.now));
    match until {
        Ok(until) => work.begin_waiting(session, task, until.to_string(), Some(until), None),
        Err(fault) => {
            then.push(Command::fail(session, task, format!("The task's sleep: {fault}")));
            Ok(())
        }
    }
}

/// When a sleep ends that was given as a duration, a number of seconds or a moment.
fn moment(value: &Value, now: Timestamp) -> Result<Timestamp, String> {
    let fault = || format!("{value} is neither a duration, such as \"5m\", nor a moment in RFC 3339");
    if value.as_f64() == Some(0.0) {
        return Ok(now);
    }
    match (Period::from_value(value), value.as_str()) {
        (Ok(length), _) => Ok(now + length.into()),
        (Err(_), Some(text)) => Timestamp::parse(text).map_err(|_| fault()),
        (Err(_), None) => Err(fault()),
    }
}
