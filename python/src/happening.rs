//! What happens in an agent, told to Python's log by the agent's observer, at most so many waiting at once. Not by a
//! subscriber of `tracing`: that would be one for the whole process, while each agent has its own events here.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;

use signalbox_client::LogLevel;
use signalbox_client::agent::Happening;

use crate::waiting::Waiting;
use crate::work::Event;

/// Happenings that may wait for Python; further ones are dropped.
const WAITING_MAX: usize = 1_024;

/// Tells Python of happenings.
#[derive(Clone)]
pub(crate) struct Happenings {
    events: Sender<Event>,
    waiting: Arc<AtomicUsize>,
}

impl Happenings {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self { events, waiting: Arc::default() }
    }

    pub(crate) fn tell(&self, happening: &Happening) {
        if let Happening::Ended { reason } = happening {
            drop(self.events.send(Event::over(reason.clone())));
            return;
        }
        if was_logged(happening) {
            return;
        }
        if let Some(waiting) = Waiting::begin(&self.waiting, WAITING_MAX) {
            drop(self.events.send(Event::happening(level(happening), happening.to_string(), waiting)));
        }
    }
}

/// Whether Python's log has it already: an exception is logged there with its traceback, which the failure has too.
fn was_logged(happening: &Happening) -> bool {
    let Happening::Done { failure: Some(failure), .. } = happening else { return false };
    failure.details.as_ref().is_some_and(|details| details.get("traceback").is_some())
}

/// How much it matters, in the words of Python's log.
fn level(happening: &Happening) -> &'static str {
    match happening.level() {
        LogLevel::Debug => "debug",
        LogLevel::Warning => "warning",
        LogLevel::Error | LogLevel::Critical => "error",
        _ => "info",
    }
}
