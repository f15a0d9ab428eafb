//! The working side of an agent: takes messages from the queue, at most so many at once, runs the handler
//! and reports. The invariant: each task that was begun ends in one settling report, also when its handler
//! panics or its result is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use signalbox_wire::opscore::{LogLevel, TaskAnswer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, Span, info_span};

use super::about::About;
use super::at_work::AtWork;
use super::call::{Call, Kind};
use super::context::{Context, Progress};
use super::failure::Failure;
use super::handlers::{Handlers, Outcome};
use super::happening::{Happening, Observer, TARGET};
use super::inbox::{ANSWER_BYTES_MAX, Queued, work_id};
use super::reporter::{Reporter, report_of};

/// Everything that handling one piece of work needs.
pub(super) struct Worker(Arc<Parts>);

struct Parts {
    handlers: Handlers,
    reporter: Reporter,
    observer: Observer,
    running: AtWork,
}

/// How often an agent may be told to tell how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

impl Worker {
    pub(super) fn new(handlers: Handlers, reporter: Reporter, observer: Observer, running: AtWork) -> Self {
        Self(Arc::new(Parts { handlers, reporter, observer, running }))
    }

    /// Works until told to stop, then finishes what was taken.
    pub(super) async fn run(
        self,
        mut queue: mpsc::Receiver<Queued>,
        concurrency: usize,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut working = JoinSet::new();
        let mut open = true;
        while open || !working.is_empty() {
            tokio::select! {
                call = queue.recv(), if open && working.len() < concurrency => match call {
                    Some(queued) => {
                        let span = self.0.span_of(&queued.call);
                        working.spawn(Arc::clone(&self.0).handle(queued).instrument(span));
                    }
                    None => open = false,
                },
                Some(_) = working.join_next() => {}
                // Closing lets what is in the queue be received to its end.
                _ = stopping.wait_for(|stop| *stop), if !queue.is_closed() => queue.close(),
            }
        }
    }
}

impl Parts {
    /// The span of a piece of work: the handler runs in it, and so do the reports of it.
    fn span_of(&self, call: &Call) -> Span {
        info_span!(
            target: TARGET, parent: self.observer.span(), "work", kind = call.kind.as_str(), name = call.name.as_str(),
            task_id = call.task_id.as_deref(), session_id = call.session_id.as_deref(), attempt = call.attempt,
            traceparent = call.traceparent.as_deref()
        )
    }

    /// A task whose delivery waits for the answer is reported by that, if its handler ends before the delivery is
    /// answered; any other is reported `active` first.
    async fn handle(self: Arc<Self>, queued: Queued) {
        let Queued { call, reply_to, progress, answer, _in_hand } = queued;
        let (about, id) = (About::of(&call, reply_to), work_id(&call).map(str::to_owned));
        let context = call.context.clone();
        let mut answer = answer.filter(|answer| !answer.is_closed());
        let mut handler = Box::pin(self.run_handler(call));
        let at_once = match &mut answer {
            Some(answer) => tokio::select! {
                outcome = &mut handler => Some(outcome),
                () = answer.closed() => None,
            },
            None => match self.reporter.active_after() {
                Some(within) => tokio::time::timeout(within, &mut handler).await.ok(),
                None => None,
            },
        };
        let outcome = match at_once {
            Some(outcome) => outcome,
            None => self.work_at_length(handler, progress, &about).await,
        };
        let failure = outcome.as_ref().err().cloned();
        if let Some(failure) = &failure {
            log_lost(&context, &about, failure);
        }
        self.observer.tell(Happening::Done { kind: about.kind, name: about.name.clone(), failure });
        let is_given = match (answer, &about.task_id) {
            (Some(answer), Some(id)) => give(answer, &outcome, id),
            _ => false,
        };
        if !is_given {
            self.reporter.settle(outcome, &about).await;
        }
        if let Some(id) = &id {
            self.running.end(id);
        }
    }

    /// Says that the agent is at it, and how far it is whenever the handler tells.
    async fn work_at_length(
        &self,
        mut handler: impl Future<Output = Outcome> + Unpin,
        mut progress: watch::Receiver<Option<Progress>>,
        about: &About,
    ) -> Outcome {
        // The handler begins at once, however long that takes; what settles the task comes after it.
        if let Some(outcome) = self.until_active(&mut handler, about).await {
            return outcome;
        }
        let mut may_change = true;
        loop {
            tokio::select! {
                outcome = &mut handler => return outcome,
                changed = progress.changed(), if may_change => {
                    may_change = changed.is_ok();
                    let told = progress.borrow_and_update().clone();
                    if let Some(told) = told {
                        self.reporter.active(about, Some(&told)).await;
                        if let Ok(outcome) = tokio::time::timeout(PROGRESS_EVERY, &mut handler).await {
                            return outcome;
                        }
                    }
                }
            }
        }
    }

    async fn until_active(
        &self,
        handler: &mut (impl Future<Output = Outcome> + Unpin),
        about: &About,
    ) -> Option<Outcome> {
        let mut active = std::pin::pin!(self.reporter.active(about, None));
        tokio::select! {
            outcome = handler => {
                active.await;
                Some(outcome)
            }
            () = &mut active => None,
        }
    }

    /// In a task of its own, so that a panic is a failure of this work and of nothing else.
    async fn run_handler(self: &Arc<Self>, call: Call) -> Outcome {
        let context = call.context.clone();
        let no_longer_wanted = || Err(Failure::new("it is no longer wanted").code("cancelled"));
        match self.handlers.of(call.kind, &call.name) {
            _ if context.is_cancelled() => no_longer_wanted(),
            None => Err(nobody_takes(&call, &self.handlers.names(call.kind))),
            Some(handler) => {
                let handler = handler.clone();
                let handler = async move {
                    tokio::select! {
                        biased;
                        () = context.cancelled() => no_longer_wanted(),
                        outcome = handler.run(call) => outcome,
                    }
                };
                let handler = tokio::spawn(handler.in_current_span());
                match AbortOnDrop(handler).join().await {
                    Ok(outcome) => outcome,
                    Err(error) if error.is_cancelled() => no_longer_wanted(),
                    Err(_) => Err(Failure::new("the agent's handler panicked").code("panic")),
                }
            }
        }
    }
}

/// Nobody is answered what becomes of a message: that it failed is told in the server's log. What the agent's language told there
/// already has a traceback.
fn log_lost(context: &Context, about: &About, failure: &Failure) {
    let is_told = failure.details.as_ref().is_some_and(|details| details.get("traceback").is_some());
    let is_unwanted = failure.code.as_deref() == Some("cancelled");
    if !matches!(about.kind, Kind::Message | Kind::Publication) || is_told || is_unwanted {
        return;
    }
    let (kind, name, id) = (about.kind.as_str(), &about.name, about.id.as_deref().unwrap_or("without an id"));
    let fields =
        [("message_id", Value::from(about.id.clone())), ("message_type", Value::from(name.as_str()))];
    let fields = fields.map(|(field, value)| (field.to_owned(), value));
    let line = format!("the {kind} '{name}' ({id}) failed: {failure}");
    context.log(LogLevel::Error, line, Some(Map::from_iter(fields)));
}

fn nobody_takes(call: &Call, names: &[&str]) -> Failure {
    let kind = call.kind.as_str();
    let has = match names {
        [] => "none".to_owned(),
        names => names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "),
    };
    let name = &call.name;
    let how = match (call.kind, names) {
        (Kind::Task, [first, ..]) => format!(
            "; a task goes to the handler of its `name`, else of its `taskId`, whatever capability it asked for: add \
             `name: {first}`{} to the task in the workflow, or a handler '{name}' or '*' to the agent",
            if names.len() > 1 { " (or another of these)" } else { "" }
        ),
        _ => format!("; add a handler '{name}' or '*' to the agent"),
    };
    Failure::new(format!("no handler for the {kind} '{name}'; this agent has: {has}{how}")).code("no-handler")
}

/// A handler's task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives the report as the delivery's answer; `false` where it has to be reported, because nobody waits for it any
/// longer or it would not be read as one.
fn give(answer: oneshot::Sender<Bytes>, outcome: &Outcome, task_id: &str) -> bool {
    let (state, details) = report_of(outcome, task_id);
    let body = Bytes::from(serde_json::json!({"state": state, "details": details}).to_string());
    body.len() <= ANSWER_BYTES_MAX && TaskAnswer::read(&body).is_some() && answer.send(body).is_ok()
}
