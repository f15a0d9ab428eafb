//! What happens in an agent, in words for Python's log, at most so many waiting at once.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;

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
        if let Some(waiting) = Waiting::begin(&self.waiting, WAITING_MAX) {
            let (level, text) = words(happening);
            drop(self.events.send(Event::happening(level, text, waiting)));
        }
    }
}

/// How much it matters, and what it is.
fn words(happening: &Happening) -> (&'static str, String) {
    match happening {
        Happening::Taken { kind, name, attempt } => {
            ("debug", format!("took the {} '{name}', try {attempt}", kind.as_str()))
        }
        Happening::Repeated { message_id } => ("debug", format!("dropped a repeat of {message_id}")),
        Happening::Done { kind, name, failure: None } => {
            ("debug", format!("the {} '{name}' is done", kind.as_str()))
        }
        Happening::Done { kind, name, failure: Some(failure) } => {
            ("info", format!("the {} '{name}' failed: {failure}", kind.as_str()))
        }
        Happening::Unreported { state, reason } => {
            ("error", format!("the report '{state}' did not get through and is given up: {reason}"))
        }
        Happening::Connected { .. } => ("info", "connected".to_owned()),
        Happening::Disconnected { reason, retry_in } => {
            ("warning", format!("not connected: {reason}; trying again in {} s", retry_in.as_secs_f64()))
        }
        Happening::Gap { data } => ("warning", format!("messages are missing: {data}")),
        Happening::Refused { data } => ("warning", format!("the server refused something: {data}")),
        other => ("debug", format!("{other:?}")),
    }
}
