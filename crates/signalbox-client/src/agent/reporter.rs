//! How the outcome of work is told: by reports over HTTP, or over the agent's connection. The invariant: each task that was
//! begun ends in one settling report, also when its result is refused.

use std::time::Duration;

use serde_json::{Map, Value};

use super::about::About;
use super::connection::{Acting, Link};
use super::context::Progress;
use super::failure::Failure;
use super::handlers::Outcome;
use super::happening::{Happening, Observer};
use crate::edge;
use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::state_report::StateReport;

/// How often a settling report is tried again beyond the client's own repeats: with its waits of up to 10 s,
/// about five minutes, in which a server can be restarted.
const REPORT_ROUNDS_MAX: u32 = 40;
const REPORT_WAITS: RetryPolicy = RetryPolicy {
    attempts_max: REPORT_ROUNDS_MAX,
    wait_first: Duration::from_millis(500),
    wait_max: Duration::from_secs(10),
    retry_after_max: Duration::from_secs(60),
};

/// How outcomes are told.
pub(super) enum Reporter {
    Http(HttpReporter),
    /// Over the connection; what is too large for it by reports.
    Link(Link, HttpReporter),
}

/// How long a handler of a connected agent may take before it is told that the agent is at it.
const ACTIVE_AFTER: Duration = Duration::from_secs(1);

/// Tells by reports over HTTP.
pub(super) struct HttpReporter {
    pub(super) acting: Acting,
    pub(super) agent_id: String,
    pub(super) observer: Observer,
}

impl Reporter {
    /// How long a handler may take before it is told that the agent is at it; `None` where that is told at once.
    pub(super) fn active_after(&self) -> Option<Duration> {
        match self {
            Self::Http(_) => None,
            Self::Link(..) => Some(ACTIVE_AFTER),
        }
    }

    /// Tells that a task is being done, and how far it is. What is lost of it is no loss.
    pub(super) async fn active(&self, about: &About, progress: Option<&Progress>) {
        match self {
            Self::Http(http) => http.active(about, progress).await,
            Self::Link(link, _) => link.active(about, progress),
        }
    }

    /// Tells what came of it, to whoever waits for that.
    pub(super) async fn settle(&self, outcome: Outcome, about: &About) {
        match self {
            Self::Http(http) => http.settle(outcome, about).await,
            Self::Link(link, http) => {
                if link.settle(&outcome, about).await {
                    return;
                }
                if let Some(task_id) = &about.task_id {
                    http.settle(outcome, about).await;
                    return link.settled(task_id).await;
                }
                let failure = Failure::new("the answer is larger than a connection takes").code("too-large");
                link.settle(&Err(failure), about).await;
            }
        }
    }
}

impl HttpReporter {
    async fn active(&self, about: &About, progress: Option<&Progress>) {
        let Some(id) = &about.task_id else { return };
        let mut report = StateReport::new("active").detail("opscore_task_id", id.as_str());
        if let Some(progress) = progress {
            report = report.detail("progress", progress.percent);
            if let Some(note) = &progress.note {
                report = report.detail("note", note.as_str());
            }
        }
        let report = StateReport { traceparent: about.traceparent.clone(), ..report };
        self.report(report, 1).await.unwrap_or(());
    }

    /// A message that is no task is not reported.
    async fn settle(&self, outcome: Outcome, about: &About) {
        let Some(id) = &about.task_id else { return };
        let trace = &about.traceparent;
        match self.report(report(&outcome, id, trace), REPORT_ROUNDS_MAX).await {
            Err(error) if outcome.is_ok() && !error.is_transient() => {
                let refused = Err(format!("the task's result was refused: {error}").into());
                self.report(report(&refused, id, trace), REPORT_ROUNDS_MAX).await.unwrap_or(());
            }
            _ => {}
        }
    }

    /// Reports under one timestamp, at most in so many rounds; what is given up is told to the observer.
    async fn report(&self, report: StateReport, rounds: u32) -> Result<(), Error> {
        let report = StateReport { timestamp: Some(edge::now()), ..report };
        let mut round = 1;
        loop {
            let Err(error) = self.acting.client().report_state(&self.agent_id, &report).await else {
                return Ok(());
            };
            if round >= rounds || !error.is_transient() {
                let unreported = Happening::Unreported { state: report.state, reason: error.to_string() };
                self.observer.tell(unreported);
                return Err(error);
            }
            tokio::time::sleep(REPORT_WAITS.jitter(round, edge::fraction())).await;
            round += 1;
        }
    }
}

fn report(outcome: &Outcome, task_id: &str, traceparent: &Option<String>) -> StateReport {
    let (state, details) = report_of(outcome, task_id);
    let report = StateReport::new(state);
    StateReport { details: Some(details), traceparent: traceparent.clone(), ..report }
}

/// The state and the details that tell how a task ended.
pub(super) fn report_of(outcome: &Outcome, task_id: &str) -> (&'static str, Map<String, Value>) {
    let mut details = Map::from_iter([("opscore_task_id".to_owned(), Value::from(task_id))]);
    match outcome {
        Ok(result) => {
            details.insert("result".to_owned(), result.clone());
            ("completed", details)
        }
        Err(failure) => {
            details.insert("error".to_owned(), Value::from(failure.message.as_str()));
            if let Some(code) = &failure.code {
                details.insert("code".to_owned(), Value::from(code.as_str()));
            }
            if let Some(more) = &failure.details {
                details.insert("error_details".to_owned(), more.clone());
            }
            ("error", details)
        }
    }
}
