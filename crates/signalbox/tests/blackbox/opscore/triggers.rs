//! Starting a session: by a kept definition, with an inline one, on a chosen agent.

use serde_json::{Value, json};

use crate::support::{
    AFTER_A_CRASH, Agent, Database, Delivery, Request, Server, Worker, on_each_database, task_of,
};

on_each_database![
    a_kept_definition_is_triggered_by_its_id,
    an_inline_definition_is_run_and_kept,
    exactly_one_of_the_two_is_needed,
    an_unknown_agent_or_definition_is_404,
    a_definition_without_tasks_is_done_at_once,
    three_steps_through_two_agents_pass_their_results_on,
    the_order_is_the_lists_or_the_links,
    an_expression_that_leads_nowhere_fails_the_session,
    a_started_session_survives_a_kill,
    a_trace_joins_the_trigger_and_its_dispatches,
];

fn one_task(id: &str) -> Value {
    json!({"id": id, "name": id, "tasks": [{"taskId": "only", "parameters": {"given": true}}]})
}

fn trigger_path(agent: &str) -> String {
    format!("/v1/opscore/agent/{agent}/workflow")
}

fn a_kept_definition_is_triggered_by_its_id(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    server.post("/v1/opscore/workflows", &one_task("kept")).succeeded();
    let body = json!({"workflowDefinitionId": "kept", "initialPayload": {"x": 1}});
    let answer = server.post(&trigger_path(&id), &body).is(202);
    assert_eq!(answer["workflowId"], "kept");
    assert_eq!(answer["message"], "Workflow triggered successfully");
    let session = answer["sessionId"].as_str().unwrap().to_owned();
    let task = agent.next();
    assert_task(&task, &session, &json!({"given": true, "x": 1}));
    server.complete(&id, &task, &json!({"y": 2}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["workflowId"], "kept");
    assert_eq!(done["tasks"][0]["result"], json!({"y": 2}));

    let answer = server.post("/v1/opscore/workflows/kept/trigger", &json!({"agentId": id})).is(202);
    let task = agent.next();
    assert_task(&task, answer["sessionId"].as_str().unwrap(), &json!({"given": true}));
    server.complete(&id, &task, &Value::Null);
    server.session_becomes(answer["sessionId"].as_str().unwrap(), "completed");
}

/// A dispatch has the form that AgentKit documents.
fn assert_task(task: &Delivery, session: &str, payload: &Value) {
    let body = task.json();
    assert_eq!((&body["senderId"], &body["messageType"]), (&json!("opscore"), &json!("workflow_task")));
    assert_eq!(&body["payload"], payload);
    assert_eq!(body["opscore_session_id"], session);
    assert!(!task_of(task).is_empty() && body["task_name"].is_string(), "{body}");
    let context = &body["sessionContext"];
    assert_eq!(context["sessionId"], session);
    assert!(context["workflowId"].is_string() && context["taskId"].is_string(), "{context}");
    assert!(!task.header("x-message-id").is_empty());
}

fn an_inline_definition_is_run_and_kept(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let session = server.trigger(&id, &one_task("inline"), &json!({}));
    let task = agent.next();
    server.complete(&id, &task, &json!(7));
    server.session_becomes(&session, "completed");
    let body = json!({"workflowDefinitionId": "inline"});
    server.post(&trigger_path(&id), &body).is(202);
    agent.next();
}

fn exactly_one_of_the_two_is_needed(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("worker", "http://127.0.0.1:9/run", &[]);
    let both = json!({"workflowDefinitionId": "kept", "workflowDefinition": one_task("kept")});
    for body in [json!({}), both, json!({"initialPayload": {}})] {
        let problem = server.post(&trigger_path(&id), &body).problem(422);
        assert!(problem.detail.contains("workflowDefinition"), "{}", problem.detail);
    }
    let mut wrong = one_task("w");
    wrong["tasks"][0]["parameters"] = json!(5);
    let body = json!({"workflowDefinition": wrong, "initialPayload": []});
    let faults = server.post(&trigger_path(&id), &body).faults();
    assert_eq!(faults, ["/initialPayload", "/workflowDefinition/tasks/0/parameters"]);
}

fn an_unknown_agent_or_definition_is_404(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("worker", "http://127.0.0.1:9/run", &[]);
    let problem =
        server.post(&trigger_path("nobody"), &json!({"workflowDefinition": one_task("w")})).absent();
    assert!(problem.detail.contains("nobody"), "{}", problem.detail);
    let problem = server.post(&trigger_path(&id), &json!({"workflowDefinitionId": "none"})).absent();
    assert!(problem.detail.contains("none"), "{}", problem.detail);
    server.post("/v1/opscore/workflows/none/trigger", &json!({})).absent();
    server.get("/v1/opscore/workflows/w").absent();
}

fn a_definition_without_tasks_is_done_at_once(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("worker", "http://127.0.0.1:9/run", &[]);
    let session = server.trigger(&id, &json!({"id": "empty", "name": "Empty", "tasks": []}), &json!({}));
    let done = server.session(&session);
    assert_eq!((&done["status"], &done["tasks"]), (&json!("completed"), &json!([])));
    assert!(done["endedAt"].is_string(), "{done}");
}

fn three_steps_through_two_agents_pass_their_results_on(database: &Database) {
    let server = Server::start(database);
    let (reader, writer) = (Agent::start(), Agent::start());
    let reader_id = server.register("reader", &reader, &["read"]);
    let writer_id = server.register("writer", &writer, &["write"]);
    let definition = json!({"id": "three", "name": "Three", "tasks": [
        {"taskId": "a", "agentCapability": "read", "parameters": {"path": "default", "mode": "${input.mode}"}},
        {"taskId": "b", "agentCapability": "write", "parameters": {
            "lines": "${tasks.a.result.lines}", "count": "${tasks.a.result.count}",
            "text": "found ${tasks.a.result.count} in ${input.path}", "list": ["${tasks.a.result}", 5],
        }},
        {"taskId": "c-1", "agentId": reader_id, "parameters": {"from": "${tasks.b.result.url}", "plain": "$5 {x}"}},
    ]});
    let session = server.trigger(&writer_id, &definition, &json!({"path": "/etc", "mode": "fast"}));

    let a = reader.next();
    assert_task(&a, &session, &json!({"path": "/etc", "mode": "fast"}));
    let lines = json!(["x", {"y": null}]);
    server.complete(&reader_id, &a, &json!({"lines": lines, "count": 2}));
    let b = writer.next();
    let given = json!({
        "lines": lines, "count": 2, "text": "found 2 in /etc", "list": [{"lines": lines, "count": 2}, 5],
    });
    assert_task(&b, &session, &given);
    server.complete(&writer_id, &b, &json!({"url": "http://x"}));
    let c = reader.next();
    assert_task(&c, &session, &json!({"from": "http://x", "plain": "$5 {x}"}));
    server.complete(&reader_id, &c, &json!({"end": true}));

    let done = server.session_becomes(&session, "completed");
    let results: Vec<_> =
        done["tasks"].as_array().unwrap().iter().map(|task| task["result"].clone()).collect();
    assert_eq!(
        results,
        [json!({"lines": lines, "count": 2}), json!({"url": "http://x"}), json!({"end": true})]
    );
    assert_eq!(done["error"], Value::Null);
    assert!(!done["result"].is_null(), "{done}");
    assert_eq!((reader.count(), writer.count()), (2, 1));
}

fn the_order_is_the_lists_or_the_links(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let given = |n: i32| json!({"n": n});
    let listed = json!({"id": "listed", "name": "L", "tasks": [
        {"taskId": "x", "parameters": given(1)}, {"taskId": "y", "parameters": given(2)},
        {"taskId": "z", "parameters": given(3)},
    ]});
    let linked = json!({"id": "linked", "name": "L", "tasks": [
        {"taskId": "x", "parameters": given(4), "nextTaskId": "z"}, {"taskId": "y", "parameters": given(6)},
        {"taskId": "z", "parameters": given(5), "nextTaskId": "y"},
    ]});
    for definition in [listed, linked] {
        let session = server.trigger(&worker.id, &definition, &json!({}));
        server.session_becomes(&session, "completed");
    }
    let order: Vec<_> =
        worker.received().iter().map(|task| task.json()["payload"]["n"].as_i64().unwrap()).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6]);
}

fn an_expression_that_leads_nowhere_fails_the_session(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let definition = json!({"id": "lost", "name": "Lost", "tasks": [
        {"taskId": "a", "parameters": {"n": 1}},
        {"taskId": "b", "parameters": {"x": "${tasks.a.result.nothing.there}"}, "maxRetries": 0},
    ]});
    let session = server.trigger(&worker.id, &definition, &json!({}));
    let failed = server.session_becomes(&session, "failed");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("nothing")), "{failed}");
}

fn a_started_session_survives_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let mut agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    agent.stop();
    let session = server.trigger(&id, &one_task("kept"), &json!({"n": 1}));
    server.kill();
    agent.resume();
    server.restart();
    let task = agent.next_within(AFTER_A_CRASH);
    assert_eq!(task.json()["payload"], json!({"given": true, "n": 1}));
    server.complete(&id, &task, &json!("done"));
    server.kill();
    server.restart();
    assert_eq!(server.session_becomes(&session, "completed")["tasks"][0]["result"], "done");
}

fn a_trace_joins_the_trigger_and_its_dispatches(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let definition = json!({"id": "two", "name": "Two", "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let trigger = Request::post(trigger_path(&id), &json!({"workflowDefinition": definition}));
    let answer =
        server.send(trigger.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))).is(202);
    for _ in 0..2 {
        let task = agent.next();
        let carried = task.header("traceparent");
        assert!(carried.starts_with(&format!("00-{trace}-")), "{carried:?}");
        server.complete(&id, &task, &Value::Null);
    }
    let session = answer["sessionId"].as_str().unwrap();
    server.session_becomes(session, "completed");
    let logged = server.all_pages(&format!("/v1/opscore/logs?session={session}"), 100);
    assert!(logged.iter().any(|entry| entry["traceId"] == trace), "the log has the trace too: {logged:?}");
}
