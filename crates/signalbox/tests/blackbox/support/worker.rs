//! An agent that does what it is given: each task is reported as completed, for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use super::agent::{Agent, Delivery};
use super::api::{Api, task_of};
use super::clock::iso;
use super::http::Request;

const POLL: Duration = Duration::from_millis(50);

/// A registered agent that works; its result is the payload that it was given.
pub(crate) struct Worker {
    pub(crate) id: String,
    agent: Arc<Agent>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(api: &Api, name: &str, capabilities: &[&str]) -> Self {
        let agent = Arc::new(Agent::start());
        let id = api.register(name, &agent, capabilities);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (api, id, agent, stop) = (api.clone(), id.clone(), Arc::clone(&agent), Arc::clone(&stop));
            thread::spawn(move || work(&api, &id, &agent, &stop))
        };
        Self { id, agent, stop, thread: Some(thread) }
    }

    /// Everything that was delivered to it so far.
    pub(crate) fn received(&self) -> Vec<Delivery> {
        self.agent.all()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the worker {} failed", self.id);
        }
    }
}

fn work(api: &Api, id: &str, agent: &Agent, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        if let Some(delivery) =
            agent.poll(POLL).filter(|delivery| delivery.json()["messageType"] == "workflow_task")
        {
            settle(api, id, &delivery, stop);
        }
    }
}

/// Reports until the report is accepted: the server may be away for a while.
fn settle(api: &Api, id: &str, delivery: &Delivery, stop: &AtomicBool) {
    let details = json!({"opscore_task_id": task_of(delivery), "result": delivery.json()["payload"]});
    while !stop.load(Ordering::SeqCst) {
        let body = json!({"agentId": id, "timestamp": iso(), "state": "completed", "details": details});
        let request = Request::post(format!("/v1/opscore/agent/{id}/state"), &body);
        if api.try_send(request).is_ok_and(|answer| answer.status == 202) {
            return;
        }
        thread::park_timeout(POLL);
    }
}
