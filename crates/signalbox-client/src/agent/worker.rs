//! The working side of an agent: takes messages from the queue, at most so many at once, runs the handler
//! and reports. The invariant: each task that was begun ends in one settling report, also when its handler
//! panics or its result is refused.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use signalbox_wire::opscore::TaskAnswer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::at_work::AtWork;
use super::happening::{Happening, Observer};
use super::inbox::{ANSWER_BYTES_MAX, Queued, TaskCall};
use crate::client::Client;
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

/// Everything that handling one message needs.
pub(super) struct Worker<H>(Arc<Parts<H>>);

struct Parts<H> {
    client: Client,
    agent_id: String,
    observer: Observer,
    running: AtWork,
    handler: H,
}

impl<H, F, E> Worker<H>
where
    H: Fn(TaskCall) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Value, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    pub(super) fn new(
        client: Client,
        agent_id: String,
        observer: Observer,
        running: AtWork,
        handler: H,
    ) -> Self {
        Self(Arc::new(Parts { client, agent_id, observer, running, handler }))
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
                    Some(queued) => drop(working.spawn(Arc::clone(&self.0).handle(queued))),
                    None => open = false,
                },
                Some(_) = working.join_next() => {}
                // Closing lets what is in the queue be received to its end.
                _ = stopping.wait_for(|stop| *stop), if !queue.is_closed() => queue.close(),
            }
        }
    }
}

impl<H, F, E> Parts<H>
where
    H: Fn(TaskCall) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Value, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    /// A task whose delivery waits for the answer is reported by that, if its handler ends before the delivery is
    /// answered; any other is reported `active` first.
    async fn handle(self: Arc<Self>, Queued { call, answer }: Queued) {
        let name = call.name().to_owned();
        let task = call.opscore_task_id.clone().map(|id| (id, call.traceparent.clone()));
        let mut answer = answer.filter(|answer| !answer.is_closed());
        let mut handler = Box::pin(self.run_handler(call));
        let at_once = match &mut answer {
            Some(answer) => tokio::select! {
                outcome = &mut handler => Some(outcome),
                () = answer.closed() => None,
            },
            None => None,
        };
        let outcome = match at_once {
            Some(outcome) => outcome,
            None => {
                if let Some((id, trace)) = &task {
                    self.report(about("active", id, trace.as_deref()), 1).await.unwrap_or(());
                }
                handler.await
            }
        };
        self.observer.tell(Happening::Done { name, failure: outcome.as_ref().err().cloned() });
        if let (Some(answer), Some((id, _))) = (answer, &task)
            && give(answer, &outcome, id)
        {
            return;
        }
        // A message that is no task is not reported: without a task's id, the report would settle whatever
        // task the agent happens to have.
        if let Some((id, trace)) = task {
            self.settle(outcome, &id, trace.as_deref()).await;
        }
    }

    /// In a task of its own, so that a panic is a failure of this message and of nothing else.
    async fn run_handler(self: &Arc<Self>, call: TaskCall) -> Result<Value, String> {
        let parts = Arc::clone(self);
        let task = call.opscore_task_id.clone();
        let handler = async move { (parts.handler)(call).await.map_err(|failure| failure.to_string()) };
        let handler = tokio::spawn(handler);
        if let Some(task) = &task {
            self.running.begin(task.clone(), handler.abort_handle());
        }
        let outcome = AbortOnDrop(handler).join().await;
        if let Some(task) = &task {
            self.running.end(task);
        }
        match outcome {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => Err("the task is no longer wanted".to_owned()),
            Err(_) => Err("the agent's handler panicked".to_owned()),
        }
    }

    async fn settle(&self, outcome: Result<Value, String>, id: &str, trace: Option<&str>) {
        let failure = match outcome {
            Ok(result) => {
                let report = about("completed", id, trace).detail("result", result);
                match self.report(report, REPORT_ROUNDS_MAX).await {
                    Ok(()) => return,
                    Err(error) if error.is_transient() => return,
                    Err(error) => format!("the task's result was refused: {error}"),
                }
            }
            Err(failure) => failure,
        };
        let report = about("error", id, trace).detail("error", failure);
        self.report(report, REPORT_ROUNDS_MAX).await.unwrap_or(());
    }

    /// Reports under one timestamp, at most in so many rounds; what is given up is told to the observer.
    async fn report(&self, report: StateReport, rounds: u32) -> Result<(), Error> {
        let report = StateReport { timestamp: Some(edge::now()), ..report };
        let mut round = 1;
        loop {
            let Err(error) = self.client.report_state(&self.agent_id, &report).await else { return Ok(()) };
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
fn give(answer: oneshot::Sender<Bytes>, outcome: &Result<Value, String>, task_id: &str) -> bool {
    let body = match outcome {
        Ok(result) => serde_json::json!({
            "state": "completed",
            "details": {"opscore_task_id": task_id, "result": result},
        }),
        Err(failure) => serde_json::json!({
            "state": "error",
            "details": {"opscore_task_id": task_id, "error": failure},
        }),
    };
    let body = Bytes::from(body.to_string());
    body.len() <= ANSWER_BYTES_MAX && TaskAnswer::read(&body).is_some() && answer.send(body).is_ok()
}

fn about(state: &str, task_id: &str, traceparent: Option<&str>) -> StateReport {
    let report = StateReport::new(state).detail("opscore_task_id", task_id);
    StateReport { traceparent: traceparent.map(str::to_owned), ..report }
}
