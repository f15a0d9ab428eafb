//! [`Work`]: a call of the agent's runtime while Python handles it, and the [`Event`]s by which Python gets to know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{Map, Value, json};
use signalbox_client::LogLevel;
use signalbox_client::agent::{Call, Context, Failure};
use tokio::sync::oneshot;

use crate::waiting::Waiting;

/// How Python ends a piece of work.
pub(crate) type Outcome = Result<Value, Failure>;

/// A piece of work for a handler in Python.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Work {
    number: u64,
    call: Vec<u8>,
    /// Until it ends: what Python keeps of it after that must not keep the agent from ending.
    live: Mutex<Option<Live>>,
    /// Whether it ended because it was no longer wanted.
    ended_unwanted: AtomicBool,
}

/// What there is of a piece of work as long as it is handled.
struct Live {
    context: Context,
    outcome: oneshot::Sender<Outcome>,
}

/// Something that Python is to know.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Event {
    kind: &'static str,
    number: Option<u64>,
    work: Mutex<Option<Work>>,
    level: Option<&'static str>,
    text: Option<String>,
    _waiting: Option<Waiting>,
}

/// Tells Python that a piece of work is no longer wanted, unless it is over.
pub(crate) struct Wanted {
    pub(crate) number: u64,
    pub(crate) events: Sender<Event>,
    pub(crate) is_over: bool,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.events.send(Event::cancelled(self.number));
        }
    }
}

impl Live {
    /// Nobody waits for the outcome either where the agent ended meanwhile.
    fn is_unwanted(&self) -> bool {
        self.context.is_cancelled() || self.outcome.is_closed()
    }
}

impl Work {
    pub(crate) fn new(number: u64, call: &Call, outcome: oneshot::Sender<Outcome>) -> Self {
        let told = json!({
            "kind": call.kind.as_str(),
            "name": call.name,
            "payload": call.payload,
            "id": call.id,
            "task_id": call.task_id,
            "session_id": call.session_id,
            "attempt": call.attempt,
            "deadline": call.deadline,
            "traceparent": call.traceparent,
            "sender": call.from,
            "sequence": call.sequence,
            "more": call.more,
        });
        let call_bytes = told.to_string().into_bytes();
        let live = Live { context: call.context.clone(), outcome };
        let live = Mutex::new(Some(live));
        Self { number, call: call_bytes, live, ended_unwanted: AtomicBool::new(false) }
    }

    fn end(&self, outcome: Outcome) -> bool {
        let Some(live) = self.live.lock().take() else { return false };
        self.ended_unwanted.store(live.is_unwanted(), Ordering::Relaxed);
        live.outcome.send(outcome).is_ok()
    }
}

#[pymethods]
impl Work {
    /// A number of its own within this process.
    #[getter]
    fn number(&self) -> u64 {
        self.number
    }

    /// What is to be done, as JSON.
    #[getter]
    fn call<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.call)
    }

    #[getter]
    fn cancelled(&self) -> bool {
        self.live
            .lock()
            .as_ref()
            .map_or_else(|| self.ended_unwanted.load(Ordering::Relaxed), Live::is_unwanted)
    }

    /// Ends it with a value; `False` where nobody waits for that any longer.
    fn finish(&self, result: &[u8]) -> PyResult<bool> {
        Ok(self.end(Ok(parse("the result", result)?)))
    }

    /// Ends it with a failure; `False` where nobody waits for that any longer.
    #[pyo3(signature = (message, code=None, details=None))]
    fn fail(&self, message: String, code: Option<String>, details: Option<&[u8]>) -> PyResult<bool> {
        let details = details.map(|details| parse("the details", details)).transpose()?;
        Ok(self.end(Err(Failure { code, message, details })))
    }

    #[pyo3(signature = (percent, note=None))]
    fn progress(&self, percent: f64, note: Option<&str>) {
        if let Some(live) = &*self.live.lock() {
            live.context.progress(percent, note);
        }
    }

    #[pyo3(signature = (level, message, fields=None))]
    fn log(&self, level: &str, message: String, fields: Option<&[u8]>) -> PyResult<()> {
        let level = match level {
            "debug" => LogLevel::Debug,
            "warning" => LogLevel::Warning,
            "error" => LogLevel::Error,
            "critical" => LogLevel::Critical,
            _ => LogLevel::Info,
        };
        let fields: Option<Map<String, Value>> = match fields {
            Some(fields) => parse("the fields", fields)?.as_object().cloned(),
            None => None,
        };
        if let Some(live) = &*self.live.lock() {
            live.context.log(level, message, fields);
        }
        Ok(())
    }
}

impl Event {
    fn new(kind: &'static str) -> Self {
        Self { kind, number: None, work: Mutex::new(None), level: None, text: None, _waiting: None }
    }

    pub(crate) fn work(work: Work) -> Self {
        Self { number: Some(work.number), work: Mutex::new(Some(work)), ..Self::new("work") }
    }

    pub(crate) fn cancelled(number: u64) -> Self {
        Self { number: Some(number), ..Self::new("cancelled") }
    }

    pub(crate) fn happening(level: &'static str, text: String, waiting: Waiting) -> Self {
        Self { level: Some(level), text: Some(text), _waiting: Some(waiting), ..Self::new("happening") }
    }

    pub(crate) fn over(reason: String) -> Self {
        Self { text: Some(reason), ..Self::new("over") }
    }

    pub(crate) fn ended() -> Self {
        Self::new("ended")
    }
}

#[pymethods]
impl Event {
    /// `work`, `cancelled`, `happening`, `over` (and why) or `ended`.
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind
    }

    /// The number of the work that it is about.
    #[getter]
    fn number(&self) -> Option<u64> {
        self.number
    }

    /// The work, once.
    fn take(&self) -> Option<Work> {
        self.work.lock().take()
    }

    /// How much a happening matters.
    #[getter]
    fn level(&self) -> Option<&'static str> {
        self.level
    }

    /// A happening, or why the agent is over, in words.
    #[getter]
    fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

fn parse(what: &str, text: &[u8]) -> PyResult<Value> {
    serde_json::from_slice(text).map_err(|error| PyValueError::new_err(format!("{what} is no JSON: {error}")))
}
