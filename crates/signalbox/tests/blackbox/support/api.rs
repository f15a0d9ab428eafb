//! A client of one server with one key, and the few steps that nearly every scenario takes.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::{Agent, Delivery};
use super::clock::iso;
use super::http::{Connection, Request};
use super::response::Response;
use super::sse::Events;
use super::wait::{PATIENCE, within};

/// A client. Its copies follow the server when that is started again elsewhere.
#[derive(Clone)]
pub(crate) struct Api {
    address: Arc<Mutex<String>>,
    key: Option<String>,
}

impl Api {
    pub(crate) fn new(address: &str, key: Option<&str>) -> Self {
        Self { address: Arc::new(Mutex::new(address.to_owned())), key: key.map(str::to_owned) }
    }

    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self { address: Arc::clone(&self.address), key: key.map(str::to_owned) }
    }

    pub(crate) fn move_to(&self, address: &str) {
        address.clone_into(&mut self.address.lock().unwrap());
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(Request::get(path))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.send(Request::post(path, body))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Response {
        self.send(Request::new("PATCH", path).json(body))
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Response {
        self.send(Request::new("DELETE", path))
    }

    /// Sends on a connection of its own; no answer at all fails the test.
    #[track_caller]
    pub(crate) fn send(&self, request: Request) -> Response {
        let label = request.label();
        match self.try_send(request) {
            Ok(response) => response,
            Err(error) => panic!("{label} was not answered: {error}"),
        }
    }

    /// The same for a server that may be gone.
    pub(crate) fn try_send(&self, request: Request) -> io::Result<Response> {
        let request = self.authorized(request).header("connection", "close");
        Connection::open(&self.address())?.send(&request)
    }

    pub(crate) fn authorized(&self, request: Request) -> Request {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// Opens a stream of events, after the one with this id where one is named.
    pub(crate) fn follow(&self, path: &str, last_event_id: Option<&str>) -> Events {
        let mut request = self.authorized(Request::get(path));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Events::open(&self.address(), request).expect("a stream")
    }
}

impl Api {
    /// Registers an agent at an endpoint and gives its id.
    #[track_caller]
    pub(crate) fn register(&self, name: &str, agent: &Agent, capabilities: &[&str]) -> String {
        self.register_at(name, &agent.url(), capabilities)
    }

    #[track_caller]
    pub(crate) fn register_at(&self, name: &str, endpoint: &str, capabilities: &[&str]) -> String {
        let answer = self.post("/v1/agents/register", &registration(name, endpoint, capabilities));
        text(&answer.is(201)["data"]["agentId"])
    }

    /// The same agent started again: its name is taken over.
    #[track_caller]
    pub(crate) fn replace(&self, name: &str, endpoint: &str, capabilities: &[&str]) -> String {
        let body = registration(name, endpoint, capabilities);
        text(&self.post("/v1/agents/register?replace=true", &body).is(200)["data"]["agentId"])
    }

    /// Reports a state as of now; the report must be accepted.
    #[track_caller]
    pub(crate) fn report(&self, agent: &str, state: &str, details: &Value) {
        self.try_report(agent, state, details, &iso()).is(202);
    }

    #[track_caller]
    pub(crate) fn try_report(&self, agent: &str, state: &str, details: &Value, timestamp: &str) -> Response {
        self.send(report_of(agent, state, details, timestamp))
    }

    /// Reports the task of a delivery as done.
    #[track_caller]
    pub(crate) fn complete(&self, agent: &str, task: &Delivery, result: &Value) {
        self.report(agent, "completed", &json!({"opscore_task_id": task_of(task), "result": result}));
    }

    /// Sends a message and gives its id.
    #[track_caller]
    pub(crate) fn run(&self, agent: &str, payload: &Value) -> String {
        let body = json!({"senderId": "test", "messageType": "text", "payload": payload});
        text(&self.post(&format!("/v1/agents/{agent}/run"), &body).is(202)["data"]["messageId"])
    }

    /// A message as it stands.
    #[track_caller]
    pub(crate) fn message(&self, id: &str) -> Value {
        self.get(&format!("/v1/messages/{id}")).is(200)["data"].clone()
    }

    /// Waits until a message stands so.
    #[track_caller]
    pub(crate) fn message_becomes(&self, id: &str, status: &str, patience: Duration) -> Value {
        within(patience, &format!("message {id} to be {status}"), || {
            let message = self.message(id);
            if message["status"] == status { Ok(message) } else { Err(message.to_string()) }
        })
    }

    /// Triggers an inline definition with the given default agent and gives the session's id.
    #[track_caller]
    pub(crate) fn trigger(&self, agent: &str, definition: &Value, input: &Value) -> String {
        let body = json!({"workflowDefinition": definition, "initialPayload": input});
        let answer = self.post(&format!("/v1/opscore/agent/{agent}/workflow"), &body).is(202);
        text(&answer["sessionId"])
    }

    #[track_caller]
    pub(crate) fn session(&self, id: &str) -> Value {
        self.get(&format!("/v1/opscore/sessions/{id}")).is(200)
    }

    /// Waits until a session stands so.
    #[track_caller]
    pub(crate) fn session_becomes(&self, id: &str, status: &str) -> Value {
        self.session_becomes_within(PATIENCE, id, status)
    }

    #[track_caller]
    pub(crate) fn session_becomes_within(&self, patience: Duration, id: &str, status: &str) -> Value {
        within(patience, &format!("session {id} to be {status}"), || {
            let session = self.session(id);
            if session["status"] == status { Ok(session) } else { Err(session.to_string()) }
        })
    }

    /// All entries of a list, page by page.
    #[track_caller]
    pub(crate) fn all_pages(&self, path: &str, limit: usize) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{separator}limit={limit}{cursor}")).is(200);
            let entries = items(&page);
            assert!(entries.len() <= limit, "{path} gave {} entries of {limit}", entries.len());
            found.extend(entries);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }
}

/// A registration with nothing special about it.
fn registration(name: &str, endpoint: &str, capabilities: &[&str]) -> Value {
    json!({
        "agentName": name, "version": "1.0.0", "contactEndpoint": endpoint,
        "capabilities": capabilities, "metadata": {},
    })
}

fn report_of(agent: &str, state: &str, details: &Value, timestamp: &str) -> Request {
    let body = json!({"agentId": agent, "timestamp": timestamp, "state": state, "details": details});
    Request::post(format!("/v1/opscore/agent/{agent}/state"), &body)
}

/// The entries of a list.
#[track_caller]
pub(crate) fn items(list: &Value) -> Vec<Value> {
    list["data"].as_array().unwrap_or_else(|| panic!("not a list: {list}")).clone()
}

/// Under which name a task was given to its agent.
#[track_caller]
pub(crate) fn task_of(delivery: &Delivery) -> String {
    text(&delivery.json()["opscore_task_id"])
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
