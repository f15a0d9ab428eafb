//! The examples of the page on the agent protocol, against what a server really sends and takes. A field that is on the
//! page and does not come fails, and so does one that comes and is not on the page.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::compare::{shape, values};
use super::root;
use crate::artcafe::client::{Socket, register};
use crate::support::{
    Agent, AgentReply, Database, Delivery, Request, Server, eventually, iso, on_each_database, task_of,
};

on_each_database![
    what_is_posted_to_an_agent_is_on_the_page,
    what_an_agent_says_is_taken_as_the_page_says,
    an_answer_to_the_delivery_settles_as_the_page_says,
    what_goes_over_a_connection_is_on_the_page,
    the_codes_of_the_page_are_those_that_a_rule_sees,
    a_task_for_an_item_has_its_tasks_name,
];

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The page's examples by their names, and which of them were looked at.
struct Examples(BTreeMap<String, Value>);

impl Examples {
    fn read() -> Self {
        let page = fs::read_to_string(root().join("docs/reference/agent-protocol.md")).expect("the page");
        let examples = page.split("<!-- example: ").skip(1).map(|rest| {
            let (name, rest) = rest.split_once(" -->").expect("the comment ends");
            let text = rest.split("```").nth(1).and_then(|text| text.strip_prefix("json\n"));
            let values = values(text.expect("a block of JSON")).expect("JSON");
            (name.to_owned(), values.into_iter().next().expect("a value"))
        });
        Self(examples.collect())
    }

    #[track_caller]
    fn named(&self, name: &str) -> Value {
        self.0.get(name).unwrap_or_else(|| panic!("no example {name:?} on the page")).clone()
    }

    /// An example as an agent sends it: about this task, of now.
    #[track_caller]
    fn of_task(&self, name: &str, agent: &str, task: &str) -> Value {
        let mut body = self.named(name);
        body["agentId"] = json!(agent);
        body["timestamp"] = json!(iso());
        body["details"]["opscore_task_id"] = json!(task);
        body
    }

    #[track_caller]
    fn same(&self, name: &str, came: &Value) {
        let fault = shape("", &self.named(name), came);
        assert!(fault.is_none(), "{name}: {}\n{came:#}", fault.unwrap_or_default());
    }
}

fn definition(task: Value) -> Value {
    json!({"id": "count-twice", "name": "Count twice", "tasks": [task]})
}

fn task() -> Value {
    json!({"taskId": "first", "parameters": {"text": "one two three"}, "maxRetries": 0})
}

/// An agent registered as the page does it.
fn registered(server: &Server, examples: &Examples, agent: &Agent) -> String {
    let mut body = examples.named("registration");
    body["contactEndpoint"] = json!(agent.url());
    let answer = server.post("/v1/agents/register", &body).is(201);
    examples.same("registered", &answer);
    answer["data"]["agentId"].as_str().expect("its id").to_owned()
}

fn triggered(server: &Server, agent: &str, task: Value) -> String {
    let body = json!({"workflowDefinition": definition(task)});
    let request =
        Request::post(format!("/v1/opscore/agent/{agent}/workflow"), &body).header("traceparent", TRACE);
    server.send(request).is(202)["sessionId"].as_str().expect("its id").to_owned()
}

fn headers(delivery: &Delivery) -> Value {
    delivery
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn what_is_posted_to_an_agent_is_on_the_page(database: &Database) {
    let (server, examples, agent) = (Server::start(database), Examples::read(), Agent::start());
    let id = registered(&server, &examples, &agent);
    let session = triggered(&server, &id, task());
    let delivery = agent.next();
    examples.same("task", &delivery.json());
    examples.same("task headers", &headers(&delivery));
    assert_eq!(delivery.json()["messageId"], delivery.header("x-message-id"));
    server.report(&id, "active", &json!({"opscore_task_id": task_of(&delivery)}));
    server.post(&format!("/v1/opscore/sessions/{session}/cancel"), &json!({"reason": "no need"})).is(200);
    examples.same("cancel", &agent.next().json());
    server.report(&id, "idle", &json!({"opscore_task_id": task_of(&delivery)}));

    let message = examples.named("message");
    server.post(&format!("/v1/agents/{id}/run"), &message).is(202);
    let delivery = agent.next();
    assert_eq!(delivery.json(), message, "as it was sent");
    examples.same("message", &delivery.json());
    examples.same("message headers", &headers(&delivery));
}

fn what_an_agent_says_is_taken_as_the_page_says(database: &Database) {
    let (server, examples, agent) = (Server::start(database), Examples::read(), Agent::start());
    let id = registered(&server, &examples, &agent);
    let path = format!("/v1/opscore/agent/{id}/state");
    for (end, becomes) in [("completed", "completed"), ("error", "failed")] {
        let session = triggered(&server, &id, task());
        let task = task_of(&agent.next());
        let active = examples.of_task("active", &id, &task);
        examples.same("reported", &server.post(&path, &active).is(202));
        eventually("the progress to be shown", || {
            let shown = server.session(&session)["tasks"][0].clone();
            let is_shown = shown["status"] == "running" && shown["progress"] == active["details"]["progress"];
            is_shown.then_some(()).ok_or_else(|| shown.to_string())
        });
        let report = examples.of_task(end, &id, &task);
        examples.same("reported", &server.post(&path, &report).is(202));
        server.post(&path, &report).is(202);
        let ended = server.session_becomes(&session, becomes);
        let (shown, told) = (&ended["tasks"][0], &report["details"]);
        assert_eq!(shown["result"], told.get("result").cloned().unwrap_or_default(), "{ended}");
        if let Some(error) = told["error"].as_str() {
            assert!(shown["error"].as_str().is_some_and(|shown| shown.contains(error)), "{ended}");
        }
    }
    let log = server.post(&format!("/v1/opscore/agent/{id}/logs"), &examples.named("log")).is(202);
    examples.same("logged", &log);
}

fn an_answer_to_the_delivery_settles_as_the_page_says(database: &Database) {
    let (server, examples) = (Server::start(database), Examples::read());
    let answer = examples.named("answer");
    let reply = answer.clone();
    let agent = Agent::answering(move |_, _| AgentReply::Json(reply.clone()));
    let id = registered(&server, &examples, &agent);
    let session = triggered(&server, &id, task());
    let ended = server.session_becomes(&session, "completed");
    assert_eq!(ended["tasks"][0]["result"], answer["details"]["result"], "{ended}");
}

fn what_goes_over_a_connection_is_on_the_page(database: &Database) {
    let (server, examples) = (Server::start(database), Examples::read());
    let agent = register(&server, "connected");
    let mut socket = Socket::connect(&server, &agent);
    let about = |name: &str, field: &str, task: &str| {
        let mut envelope = examples.named(name);
        envelope["data"][field] = json!(task);
        envelope
    };
    let session = triggered(&server, &agent, task());
    let command = socket.expect("command");
    examples.same("execute_task", &command);
    let id = command["id"].as_str().expect("its id").to_owned();
    for envelope in [about("status", "current_task", &id), about("response", "command_id", &id)] {
        socket.send_text(&envelope.to_string());
        let ack = socket.expect("ack");
        examples.same("ack", &ack);
        assert_eq!(ack["data"]["message_id"], envelope["id"], "{ack}");
    }
    let ended = server.session_becomes(&session, "completed");
    assert_eq!(ended["tasks"][0]["progress"], examples.named("status")["data"]["progress"], "{ended}");

    let retried =
        json!({"taskId": "first", "maxRetries": 1, "retry": {"initial": "1ms", "retryOn": ["no_text"]}});
    let session = triggered(&server, &agent, retried);
    for becomes in ["running", "failed"] {
        let id = socket.expect("command")["id"].as_str().expect("its id").to_owned();
        let failed = about("failed response", "command_id", &id);
        socket.send_text(&failed.to_string());
        examples.same("ack", &socket.expect("ack"));
        let shown = server.session_becomes(&session, becomes);
        let words = &failed["data"]["error"]["message"];
        assert!(
            becomes == "running" || shown["error"].to_string().contains(words.as_str().expect("words")),
            "{shown}"
        );
    }

    let session = triggered(&server, &agent, task());
    let id = socket.expect("command")["id"].as_str().expect("its id").to_owned();
    socket.done("status", &json!({"status": "busy", "current_task": id}));
    server.post(&format!("/v1/opscore/sessions/{session}/cancel"), &json!({"reason": "no need"})).is(200);
    examples.same("cancel_task", &socket.expect("command"));
    server.post(&format!("/v1/agents/{agent}/run"), &examples.named("message")).is(202);
    examples.same("message frame", &socket.expect("message"));
}

fn the_codes_of_the_page_are_those_that_a_rule_sees(database: &Database) {
    let (server, examples, agent) = (Server::start(database), Examples::read(), Agent::start());
    let id = registered(&server, &examples, &agent);
    let retried = |words: Value| {
        let task = json!({"taskId": "first", "maxRetries": 1, "retry": {"initial": "1ms", "retryOn": words}});
        let session = triggered(&server, &id, task);
        let first = task_of(&agent.next());
        let report = examples.of_task("error", &id, &first);
        server.post(&format!("/v1/opscore/agent/{id}/state"), &report).is(202);
        (session, first)
    };
    for words in [json!(["error"]), json!(["no_text"])] {
        let (session, first) = retried(words);
        let second = task_of(&agent.next());
        assert_ne!(first, second);
        server.report(&id, "completed", &json!({"opscore_task_id": second}));
        server.session_becomes(&session, "completed");
    }
    let (session, _) = retried(json!(["timeout", "heartbeat", "undelivered", "another"]));
    server.session_becomes(&session, "failed");
}

fn a_task_for_an_item_has_its_tasks_name(database: &Database) {
    let (server, examples, agent) = (Server::start(database), Examples::read(), Agent::start());
    let id = registered(&server, &examples, &agent);
    let task = json!({"taskId": "first", "forEach": "['a', 'b']", "parameters": {"text": "${item}"}});
    triggered(&server, &id, task);
    let mut ids: Vec<_> = (0..2)
        .map(|_| {
            let delivery = agent.next().json();
            examples.same("task", &delivery);
            assert_eq!(delivery["task_name"], "first", "by which an agent finds what does it: {delivery}");
            delivery["sessionContext"]["taskId"].clone()
        })
        .collect();
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, ["first[0]", "first[1]"]);
}
