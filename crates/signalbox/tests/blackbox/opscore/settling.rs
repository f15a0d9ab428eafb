//! How reports settle tasks: which task, with what result, how often it is tried, and what changes nothing.

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, Delivery, PATIENCE, Server, Setup, iso, iso_from_now, on_each_database,
    task_of,
};

on_each_database![
    each_word_that_means_done_settles_the_task,
    a_report_may_name_its_task_in_three_ways_or_not_at_all,
    active_means_running,
    an_error_is_tried_again_and_may_succeed,
    attempts_run_out_and_the_session_says_why,
    no_retries_means_one_attempt,
    a_late_report_of_an_old_attempt_changes_nothing,
    a_report_of_anothers_task_settles_nothing,
    an_agent_whose_clock_was_wrong_still_settles,
    a_dispatch_that_is_refused_for_good_is_an_attempt,
    a_task_that_cannot_be_handed_over_is_a_dead_letter,
    an_unnamed_report_of_an_agent_that_names_its_tasks_counts_too,
    a_task_that_was_taken_is_not_sent_again_after_a_stop,
    an_agent_that_never_reports_costs_an_attempt,
    a_task_at_work_is_not_sent_again,
];

/// A server, one agent, and a session whose only task may be tried again so often.
struct Stage {
    server: Server,
    agent: Agent,
    id: String,
    session: String,
}

impl Stage {
    fn set(database: &Database, retries: Option<u32>) -> Self {
        let server = Server::start(database);
        let agent = Agent::start();
        let id = server.register("worker", &agent, &["work"]);
        let mut definition =
            json!({"id": "one", "name": "One", "tasks": [{"taskId": "only", "agentCapability": "work"}]});
        if let Some(retries) = retries {
            definition["tasks"][0]["maxRetries"] = json!(retries);
        }
        let session = server.trigger(&id, &definition, &json!({}));
        Self { server, agent, id, session }
    }

    fn again(&mut self) -> Delivery {
        let body = json!({"workflowDefinitionId": "one"});
        let answer = self.server.post(&format!("/v1/opscore/agent/{}/workflow", self.id), &body).is(202);
        answer["sessionId"].as_str().unwrap().clone_into(&mut self.session);
        self.agent.next()
    }

    fn task(&self) -> Value {
        self.server.session(&self.session)["tasks"][0].clone()
    }

    fn fail(&self, task: &Delivery, why: &str) {
        self.server.report(&self.id, "error", &json!({"opscore_task_id": task_of(task), "error": why}));
    }

    fn done(&self) -> Value {
        self.server.session_becomes(&self.session, "completed")["tasks"][0].clone()
    }
}

fn each_word_that_means_done_settles_the_task(database: &Database) {
    let mut stage = Stage::set(database, None);
    let mut given = stage.agent.next();
    for word in ["idle", "finished", "completed", "Completed"] {
        let details = json!({"opscore_task_id": task_of(&given), "result": {"by": word}});
        stage.server.report(&stage.id, word, &details);
        let task = stage.done();
        assert_eq!((&task["status"], &task["result"]), (&json!("completed"), &json!({"by": word})));
        given = stage.again();
    }
    // Without a result of its own, the details are the result.
    stage.server.report(&stage.id, "finished", &json!({"opscore_task_id": task_of(&given), "lines": 7}));
    assert_eq!(stage.done()["result"]["lines"], 7);
}

fn a_report_may_name_its_task_in_three_ways_or_not_at_all(database: &Database) {
    let mut stage = Stage::set(database, None);
    let mut given = stage.agent.next();
    for name in ["opscore_task_id", "task_id", "taskId"] {
        let mut details = json!({"result": name});
        details[name] = json!(task_of(&given));
        stage.server.report(&stage.id, "completed", &details);
        assert_eq!(stage.done()["result"], name);
        given = stage.again();
    }
    stage.server.report(&stage.id, "idle", &json!({"result": "the one in flight"}));
    assert_eq!(stage.done()["result"], "the one in flight");
    stage.again();
    stage.server.report(&stage.id, "active", &Value::Null);
    stage.server.report(&stage.id, "idle", &Value::Null);
    stage.done();
}

fn active_means_running(database: &Database) {
    let mut stage = Stage::set(database, None);
    let mut given = stage.agent.next();
    for word in ["active", "busy"] {
        assert_eq!(stage.task()["status"], "dispatched");
        stage.server.report(&stage.id, word, &json!({"opscore_task_id": task_of(&given)}));
        assert_eq!(stage.task()["status"], "running");
        assert_eq!(stage.server.session(&stage.session)["status"], "running");
        stage.server.complete(&stage.id, &given, &Value::Null);
        stage.done();
        given = stage.again();
    }
}

fn an_error_is_tried_again_and_may_succeed(database: &Database) {
    let stage = Stage::set(database, None);
    let mut names = Vec::new();
    for attempt in 1..=2 {
        let given = stage.agent.next();
        stage.fail(&given, &format!("attempt {attempt} failed"));
        names.push(task_of(&given));
    }
    let given = stage.agent.next();
    assert_eq!(given.header("x-attempt"), "1", "each attempt is a message of its own");
    stage.server.complete(&stage.id, &given, &json!("at last"));
    let task = stage.done();
    assert_eq!((&task["result"], &task["attempt"]), (&json!("at last"), &json!(3)));
    assert_eq!(stage.agent.count(), 3);
}

fn attempts_run_out_and_the_session_says_why(database: &Database) {
    let stage = Stage::set(database, None);
    for attempt in 1..=4 {
        stage.fail(&stage.agent.next(), &format!("no luck {attempt}"));
    }
    let failed = stage.server.session_becomes(&stage.session, "failed");
    let error = failed["error"].as_str().expect("a reason");
    assert!(error.contains("no luck 4"), "{error}");
    assert_eq!(
        (&failed["tasks"][0]["status"], &failed["tasks"][0]["attempt"]),
        (&json!("failed"), &json!(4))
    );
    assert_eq!(stage.agent.count(), 4, "the default is three more attempts");

    // An error that settled a task leaves the agent available.
    let other = stage.server.trigger(
        &stage.id,
        &json!({"id": "o", "name": "O", "tasks": [{"taskId": "t"}]}),
        &json!({}),
    );
    let given = stage.agent.next();
    stage.server.complete(&stage.id, &given, &Value::Null);
    stage.server.session_becomes(&other, "completed");
}

fn no_retries_means_one_attempt(database: &Database) {
    let stage = Stage::set(database, Some(0));
    let given = stage.agent.next();
    let details = json!({"opscore_task_id": task_of(&given), "error": "once is enough"});
    stage.server.report(&stage.id, "failed", &details);
    let failed = stage.server.session_becomes(&stage.session, "failed");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("once is enough")), "{failed}");
    assert_eq!(stage.agent.count(), 1);
}

fn a_late_report_of_an_old_attempt_changes_nothing(database: &Database) {
    let stage = Stage::set(database, None);
    let first = stage.agent.next();
    stage.fail(&first, "first");
    let second = stage.agent.next();
    assert_ne!(task_of(&first), task_of(&second), "an attempt can be told from another");
    stage.server.complete(&stage.id, &first, &json!("late"));
    stage.fail(&first, "late");
    let task = stage.task();
    assert_eq!((&task["attempt"], &task["result"]), (&json!(2), &Value::Null));
    assert!(["dispatched", "running"].contains(&task["status"].as_str().unwrap()), "{task}");
    stage.server.complete(&stage.id, &second, &json!("in time"));
    assert_eq!(stage.done()["result"], "in time");

    let again = json!({"opscore_task_id": task_of(&second), "result": "twice"});
    stage.server.report(&stage.id, "completed", &again);
    stage.fail(&second, "thought better of it");
    assert_eq!(stage.done()["result"], "in time", "a settled task is settled");
    assert_eq!(stage.agent.count(), 2);
}

fn a_report_of_anothers_task_settles_nothing(database: &Database) {
    let stage = Stage::set(database, None);
    let given = stage.agent.next();
    let liar = stage.server.register_at("liar", "http://127.0.0.1:9/run", &[]);
    stage.server.complete(&liar, &given, &json!("a lie"));
    stage.server.report(&liar, "idle", &json!({"result": "another"}));
    stage.fail_as(&liar, &given);
    assert_eq!(stage.task()["status"], "dispatched");
    let history = stage.server.all_pages(&format!("/v1/opscore/agent/{liar}/history"), 10);
    assert_eq!(history.len(), 3, "kept as reports");
    stage.server.complete(&stage.id, &given, &json!("the truth"));
    assert_eq!(stage.done()["result"], "the truth");
}

impl Stage {
    fn fail_as(&self, agent: &str, task: &Delivery) {
        self.server.report(agent, "error", &json!({"opscore_task_id": task_of(task)}));
    }
}

fn an_agent_whose_clock_was_wrong_still_settles(database: &Database) {
    let stage = Stage::set(database, None);
    let given = stage.agent.next();
    let details = json!({"opscore_task_id": task_of(&given)});
    let far = iso_from_now(10 * 365 * 86_400);
    stage.server.try_report(&stage.id, "active", &details, &far).is(202);
    let result = json!({"opscore_task_id": task_of(&given), "result": "done"});
    stage.server.try_report(&stage.id, "completed", &result, &iso()).is(202);
    assert_eq!(stage.done()["result"], "done");
}

fn a_dispatch_that_is_refused_for_good_is_an_attempt(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::first([crate::support::AgentReply::Status(400)]);
    let id = server.register("picky", &agent, &[]);
    let definition = json!({"id": "p", "name": "P", "tasks": [{"taskId": "only", "maxRetries": 1}]});
    let session = server.trigger(&id, &definition, &json!({}));
    agent.next();
    let second = agent.next();
    server.complete(&id, &second, &json!("took it"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!((&done["tasks"][0]["attempt"], &done["tasks"][0]["result"]), (&json!(2), &json!("took it")));
}

fn a_task_that_cannot_be_handed_over_is_a_dead_letter(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::answering(|_, _| crate::support::AgentReply::Status(400));
    let id = server.register("picky", &agent, &[]);
    let definition = json!({"id": "p", "name": "P",
        "tasks": [{"taskId": "only", "maxRetries": 0, "parameters": {"n": 7}}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let given = agent.next();
    let message = given.header("x-message-id").to_owned();
    assert_eq!(given.json()["messageId"], message.as_str(), "its id is in its body too");
    server.session_becomes(&session, "failed");
    let letter = server.get(&format!("/v1/dead-letters/{message}")).is(200)["data"].clone();
    assert_eq!(
        (&letter["kind"], &letter["attempts"], &letter["lastStatus"]),
        (&json!("task"), &json!(1), &json!(400))
    );
    assert_eq!(letter["body"], given.json(), "as it was sent");
    assert_eq!(server.message(&message)["status"], "dead");
    assert_eq!(server.all_pages("/v1/dead-letters?kind=task", 10).len(), 1);
    // Nobody waits for it any more.
    server.post(&format!("/v1/dead-letters/{message}/redrive"), &json!({})).is(409);
    assert_eq!(server.message(&message)["status"], "dead");
    assert_eq!(agent.count(), 1);
}

/// What it said before says that it names its tasks: that it has taken the next one is not written for a while.
fn an_unnamed_report_of_an_agent_that_names_its_tasks_counts_too(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let definition = json!({"id": "two", "name": "Two", "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    server.complete(&id, &agent.next(), &json!("named"));
    let second = agent.next();
    // Whether that is known in memory, or written, or the answer is still under way.
    server.report(&id, "completed", &json!({"result": "unnamed"}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][1]["result"], "unnamed", "{done}");
    assert_eq!(agent.count(), 2);
    assert_eq!(server.message(second.header("x-message-id"))["status"], "delivered");
}

fn a_task_that_was_taken_is_not_sent_again_after_a_stop(database: &Database) {
    let mut server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let definition = json!({"id": "two", "name": "Two", "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    server.complete(&id, &agent.next(), &json!("named"));
    let second = agent.next();
    server.terminate();
    assert!(server.ended(PATIENCE).success());
    server.restart();
    server.message_becomes(second.header("x-message-id"), "delivered", PATIENCE);
    server.complete(&id, &second, &json!("done"));
    server.session_becomes(&session, "completed");
    assert_eq!(agent.count(), 2);
}

fn an_agent_that_never_reports_costs_an_attempt(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_TASK_TIMEOUT", "1s").start();
    let agent = Agent::start();
    let id = server.register("silent", &agent, &[]);
    let definition = json!({"id": "s", "name": "S", "tasks": [{"taskId": "only", "maxRetries": 1}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let (first, second) = (agent.next(), agent.next());
    assert_ne!(task_of(&first), task_of(&second));
    let failed = server.session_becomes(&session, "failed");
    assert!(failed["error"].as_str().is_some_and(|error| !error.is_empty()), "{failed}");
    assert_eq!(agent.count(), 2);
}

/// Its endpoint answers badly, and yet it works: what it says counts.
fn a_task_at_work_is_not_sent_again(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::answering(|_, _| AgentReply::Status(503));
    let id = server.register("worker", &agent, &["work"]);
    let definition =
        json!({"id": "one", "name": "One", "tasks": [{"taskId": "only", "agentCapability": "work"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let given = agent.next();
    server.report(&id, "active", &json!({"opscore_task_id": task_of(&given)}));
    server.message_becomes(given.header("x-message-id"), "delivered", PATIENCE);
    server.complete(&id, &given, &json!("done"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][0]["attempt"], 1, "{done}");
}
