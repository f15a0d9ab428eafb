//! What settles a task besides a report that names it: a report that can be about nothing else, and the answer to
//! the task's own delivery.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, Delivery, PATIENCE, Server, Setup, iso, iso_from_now, on_each_database,
    task_of,
};

on_each_database![
    idle_while_the_delivery_is_open_completes_nothing,
    what_is_said_before_the_answer_counts_with_it,
    only_the_newest_report_counts_with_the_answer,
    idle_settles_what_was_active_or_comes_with_a_result,
    a_report_from_before_the_delivery_settles_nothing,
    an_answer_to_the_delivery_may_be_the_report,
    an_answer_may_say_that_the_task_failed,
    an_answer_that_is_no_report_only_takes_the_task,
    an_answer_that_is_a_report_survives_a_kill,
];

/// A gate that requests wait at.
#[derive(Clone, Default)]
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    fn wait(&self) {
        let (open, opened) = &*self.0;
        let is_open = open.lock().unwrap();
        drop(opened.wait_timeout_while(is_open, PATIENCE, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A server, and an agent with a task in a session of its own.
struct Stage {
    server: Server,
    agent: Agent,
    id: String,
    session: String,
    task: Delivery,
}

impl Stage {
    fn set(server: Server, agent: Agent) -> Self {
        let id = server.register("worker", &agent, &[]);
        let definition = json!({"id": "one", "name": "One", "tasks": [{"taskId": "only", "maxRetries": 1}]});
        let session = server.trigger(&id, &definition, &json!({}));
        let task = agent.next();
        Self { server, agent, id, session, task }
    }

    /// The agent takes the task only when the latch is opened.
    fn held_up(database: &Database) -> (Self, Latch) {
        let latch = Latch::default();
        let waits = latch.clone();
        let agent = Agent::answering(move |_, _| {
            waits.wait();
            AgentReply::Status(200)
        });
        (Self::set(Server::start(database), agent), latch)
    }

    fn answering(database: &Database, answer: impl Into<Vec<AgentReply>>) -> Self {
        Self::set(Server::start(database), Agent::first(answer))
    }

    /// The same in another session.
    fn again(self) -> Self {
        let body = json!({"workflowDefinitionId": "one"});
        let session = self.server.post(&format!("/v1/opscore/agent/{}/workflow", self.id), &body).is(202);
        let task = self.agent.next();
        Self { session: session["sessionId"].as_str().unwrap().to_owned(), task, ..self }
    }

    fn is_taken(&self) {
        self.server.message_becomes(self.task.header("x-message-id"), "delivered", PATIENCE);
    }

    fn report(&self, state: &str, details: &Value) {
        self.server.report(&self.id, state, details);
    }

    #[track_caller]
    fn stands(&self, status: &str) {
        let session = self.server.session(&self.session);
        assert_eq!(session["tasks"][0]["status"], status, "{session}");
    }

    #[track_caller]
    fn completes(&self, result: &Value) {
        let done = self.server.session_becomes(&self.session, "completed");
        assert_eq!(&done["tasks"][0]["result"], result, "{done}");
        assert_eq!(done["tasks"][0]["attempt"], 1, "{done}");
    }
}

fn idle_while_the_delivery_is_open_completes_nothing(database: &Database) {
    let (stage, latch) = Stage::held_up(database);
    stage.report("idle", &Value::Null);
    stage.report("idle", &json!({"note": "still here"}));
    stage.stands("dispatched");
    latch.open();
    stage.is_taken();
    stage.stands("dispatched");
    stage.report("idle", &Value::Null);
    stage.stands("dispatched");
    stage.server.complete(&stage.id, &stage.task, &json!("the real result"));
    stage.completes(&json!("the real result"));
    assert_eq!(stage.agent.count(), 1);
}

fn what_is_said_before_the_answer_counts_with_it(database: &Database) {
    let (stage, latch) = Stage::held_up(database);
    stage.report("completed", &json!({"result": "early"}));
    stage.stands("dispatched");
    latch.open();
    stage.completes(&json!("early"));
    // It is as free as any agent that is done.
    let definition = json!({"id": "next", "name": "Next", "tasks": [{"taskId": "only"}]});
    stage.server.trigger(&stage.id, &definition, &json!({}));
    stage.agent.next();
}

fn only_the_newest_report_counts_with_the_answer(database: &Database) {
    let (stage, latch) = Stage::held_up(database);
    stage.report("failed", &json!({"error": "thought so"}));
    stage.report("idle", &Value::Null);
    latch.open();
    stage.is_taken();
    stage.stands("dispatched");
    stage.server.complete(&stage.id, &stage.task, &json!("and yet"));
    stage.completes(&json!("and yet"));
}

fn idle_settles_what_was_active_or_comes_with_a_result(database: &Database) {
    let stage = Stage::answering(database, []);
    stage.is_taken();
    stage.report("idle", &json!({"result": 7}));
    stage.completes(&json!(7));

    let stage = stage.again();
    stage.report("active", &Value::Null);
    stage.stands("running");
    stage.report("idle", &json!({"lines": 3}));
    stage.completes(&json!({"lines": 3}));
}

fn a_report_from_before_the_delivery_settles_nothing(database: &Database) {
    let stage = Stage::answering(database, []);
    stage.is_taken();
    let earlier = iso_from_now(-5);
    for state in ["active", "completed", "error"] {
        stage.server.try_report(&stage.id, state, &json!({"result": "old"}), &earlier).is(202);
        stage.stands("dispatched");
    }
    let named = json!({"opscore_task_id": task_of(&stage.task), "result": "old, and named"});
    stage.server.try_report(&stage.id, "completed", &named, &earlier).is(202);
    stage.completes(&json!("old, and named"));
}

fn an_answer_to_the_delivery_may_be_the_report(database: &Database) {
    let report = json!({"state": "Completed", "details": {"result": {"n": 1}}, "more": true});
    let stage = Stage::answering(database, [AgentReply::Json(report)]);
    assert_eq!(stage.task.header("x-accepts-report"), "true");
    stage.completes(&json!({"n": 1}));
    let message = stage.server.message(stage.task.header("x-message-id"));
    assert_eq!(message["status"], "delivered", "{message}");
    let state = stage.server.get(&format!("/v1/opscore/agent/{}/state", stage.id)).is(200);
    assert_eq!((&state["state"], &state["details"]["result"]), (&json!("Completed"), &json!({"n": 1})));
    let history = stage.server.all_pages(&format!("/v1/opscore/agent/{}/history", stage.id), 10);
    assert_eq!(history.len(), 1, "{history:?}");
}

fn an_answer_may_say_that_the_task_failed(database: &Database) {
    let failed = AgentReply::Json(json!({"state": "error", "details": {"error": "no paper"}}));
    let busy = AgentReply::Json(json!({"state": "busy"}));
    let stage = Stage::answering(database, [failed, busy]);
    let second = stage.agent.next();
    let session = stage.server.session(&stage.session);
    assert_eq!(session["tasks"][0]["error"], "no paper", "{session}");
    stage.server.message_becomes(second.header("x-message-id"), "delivered", PATIENCE);
    stage.stands("running");
    stage.report("idle", &json!({"result": "in the end"}));
    let done = stage.server.session_becomes(&stage.session, "completed");
    assert_eq!((&done["tasks"][0]["attempt"], &done["result"]), (&json!(2), &json!("in the end")));
}

fn an_answer_that_is_no_report_only_takes_the_task(database: &Database) {
    let answers = [
        AgentReply::Json(json!({"state": "accepted", "details": {"result": 1}})),
        AgentReply::Json(json!({"state": "completed", "details": "done"})),
        AgentReply::Json(json!(["completed"])),
        AgentReply::Text("completed"),
        AgentReply::Status(204),
        AgentReply::Huge,
    ];
    let count = answers.len();
    let mut stage = Stage::answering(database, answers);
    for number in 1..=count {
        stage.is_taken();
        stage.stands("dispatched");
        stage.server.try_report(&stage.id, "completed", &json!({"result": number}), &iso()).is(202);
        stage.completes(&json!(number));
        if number < count {
            stage = stage.again();
        }
    }
}

/// Either its answer was kept, or the task comes again and is answered again.
fn an_answer_that_is_a_report_survives_a_kill(database: &Database) {
    let setup = Setup::new(database).env("SIGNALBOX_DELIVERY_TIMEOUT", "1s");
    let agent =
        Agent::answering(|_, _| AgentReply::Json(json!({"state": "completed", "details": {"result": 1}})));
    let mut stage = Stage::set(setup.start(), agent);
    stage.server.kill();
    stage.server.restart();
    // Until the lease of the attempt that was lost is over.
    stage.server.session_becomes_within(Duration::from_secs(60), &stage.session, "completed");
    stage.completes(&json!(1));
}
