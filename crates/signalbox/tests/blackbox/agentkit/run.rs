//! `POST /v1/agents/{agentId}/run`: what is accepted, and what the agent then gets.

use serde_json::{Value, json};

use crate::support::{
    AFTER_A_CRASH, Agent, AgentReply, Database, PATIENCE, Request, Server, on_each_database,
};

on_each_database![
    a_message_is_accepted_at_once_and_delivered_with_all_its_fields,
    a_task_becomes_a_message_from_opscore,
    a_message_tells_where_it_is,
    the_callers_own_id_makes_one_delivery,
    a_trace_is_carried_on,
    what_cannot_be_run_is_refused,
    an_accepted_message_survives_a_kill,
    a_slow_agent_does_not_hold_up_another,
    a_busy_agent_gets_messages_as_it_wants_them,
];

fn message(payload: &Value) -> Value {
    json!({"senderId": "tester", "messageType": "text", "payload": payload})
}

fn a_busy_agent_gets_messages_as_it_wants_them(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let agent_wants = |policy: &str| {
        let metadata = json!({"metadata": {"onBusy": policy}});
        server.patch(&format!("/v1/agents/{id}"), &metadata)
    };
    assert_eq!(agent_wants("wait").faults(), ["/metadata/onBusy"]);
    let workflow = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t"}]});
    let session = server.trigger(&id, &workflow, &json!({}));
    let task = agent.next().json()["opscore_task_id"].clone();
    let path = format!("/v1/agents/{id}/run");
    server.run(&id, &json!({"n": 1}));
    assert_eq!(agent.next().json()["payload"]["n"], 1, "by default it is delivered all the same");
    drop(agent_wants("reject").is(200));
    server.post(&path, &message(&json!({"n": 2}))).problem(409);
    drop(agent_wants("interrupt").is(200));
    server.post(&path, &message(&json!({"n": 3}))).is(202);
    let mut got: Vec<Value> = (0..3).map(|_| agent.next().json()).collect();
    got.sort_by_key(|message| message["messageType"].to_string());
    assert_eq!(got[0]["payload"]["n"], 3);
    assert_eq!((&got[1]["messageType"], &got[1]["opscore_task_id"]), (&json!("workflow_cancel"), &task));
    assert_eq!(got[2]["messageType"], "workflow_task", "what was taken away is routed again");
    assert_eq!(server.session(&session)["tasks"][0]["attempt"], 2);
}

fn a_message_is_accepted_at_once_and_delivered_with_all_its_fields(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let sent = json!({
        "senderId": "tester", "messageType": "question", "payload": {"n": 1.0, "deep": {"list": [null, "ü"]}},
        "timestamp": "2024-01-01T12:00:00.000000+00:00",
        "sessionContext": {"sessionId": "s-1", "priorMessages": [{"role": "user"}], "own": 1},
        "task_name": "ask", "opscore_session_id": "os-1", "opscore_task_id": "ot-1",
        "aFieldOfTheFuture": {"kept": true},
    });
    let answer = server.without_key().post(&format!("/v1/agents/{id}/run"), &sent).is(202);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["message"], format!("Task accepted for agent {id}. Dispatch scheduled."));
    assert_eq!(answer["data"]["agentId"], id.as_str());
    assert_eq!(answer["data"]["dispatch_status"], "scheduled");

    let delivery = agent.next();
    assert_eq!((delivery.method.as_str(), delivery.path.as_str()), ("POST", "/run"));
    assert_eq!(delivery.json(), sent, "every field arrives as it was sent");
    assert!(delivery.header("content-type").starts_with("application/json"));
    assert_eq!(delivery.header("x-message-id"), answer["data"]["messageId"].as_str().unwrap());
    assert_eq!(delivery.header("x-attempt"), "1");
}

fn a_task_becomes_a_message_from_opscore(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("doer", &agent, &[]);
    let parameters = json!({"param1": "value1", "param2": 123});
    let sent = json!({
        "task_name": "example_task", "parameters": parameters,
        "opscore_session_id": "s-9", "opscore_task_id": "t-9",
    });
    server.post(&format!("/v1/agents/{id}/run"), &sent).is(202);
    let got = agent.next().json();
    assert_eq!((&got["senderId"], &got["messageType"]), (&json!("opscore"), &json!("workflow_task")));
    assert_eq!(got["payload"], json!({"task_name": "example_task", "parameters": parameters}));
    assert_eq!(got["task_name"], "example_task");
    assert_eq!((&got["opscore_session_id"], &got["opscore_task_id"]), (&json!("s-9"), &json!("t-9")));

    server.post(&format!("/v1/agents/{id}/run"), &json!({"task_name": "bare", "parameters": {}})).is(202);
    let bare = agent.next().json();
    assert_eq!(bare["payload"], json!({"task_name": "bare", "parameters": {}}));
    assert_eq!(bare["opscore_session_id"], Value::Null);
}

fn a_message_tells_where_it_is(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let message = server.run(&id, &json!({"n": 1}));
    agent.next();
    let delivered = server.message_becomes(&message, "delivered", PATIENCE);
    assert_eq!(delivered["messageId"], message.as_str());
    assert_eq!(delivered["agentId"], id.as_str());
    assert_eq!(delivered["attempts"], 1);
    server.get("/v1/messages/msg_unknown").absent();
}

fn the_callers_own_id_makes_one_delivery(database: &Database) {
    let mut server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let mut sent = message(&json!({"n": 1}));
    sent["messageId"] = json!("order-4711");
    let send = |server: &Server| {
        let answer = server.post(&format!("/v1/agents/{id}/run"), &sent).is(202);
        answer["data"]["messageId"].clone()
    };
    assert_eq!(send(&server), "order-4711");
    assert_eq!(send(&server), "order-4711");
    assert_eq!(agent.next().header("x-message-id"), "order-4711");
    server.message_becomes("order-4711", "delivered", PATIENCE);
    server.kill();
    server.restart();
    assert_eq!(send(&server), "order-4711");
    let other = server.register_at("other", "http://127.0.0.1:9/run", &[]);
    server.post(&format!("/v1/agents/{other}/run"), &sent).problem(409);
    sent["payload"] = json!({"n": 2});
    server.post(&format!("/v1/agents/{id}/run"), &sent).problem(409);
    let later = server.run(&id, &json!({"n": 2}));
    server.message_becomes(&later, "delivered", PATIENCE);
    assert_eq!(agent.count(), 2, "one of each");
}

fn a_trace_is_carried_on(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("traced", &agent, &[]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = Request::post(format!("/v1/agents/{id}/run"), &message(&json!({})))
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    server.send(request).is(202);
    let carried = agent.next().header("traceparent").to_owned();
    assert!(carried.starts_with(&format!("00-{trace}-")), "{carried:?}");
}

fn what_cannot_be_run_is_refused(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let run = |id: &str, body: &Value| server.post(&format!("/v1/agents/{id}/run"), body);
    let problem = run("agent-nobody", &message(&json!({}))).absent();
    assert!(problem.detail.contains("agent-nobody"), "{}", problem.detail);
    run("agent-nobody", &json!({"task_name": "x", "parameters": {}})).absent();

    let unreachable = json!({"agentName": "nowhere", "version": "1", "capabilities": []});
    let nowhere = server.post("/v1/agents/register", &unreachable).is(201)["data"]["agentId"].clone();
    let problem = run(nowhere.as_str().unwrap(), &message(&json!({}))).problem(400);
    assert!(problem.detail.len() > 20, "says what to do: {}", problem.detail);

    let wrong = json!({"messageType": 5, "payload": [], "sessionContext": "x"});
    let faults = run(&id, &wrong).faults();
    for pointer in ["/senderId", "/messageType", "/payload", "/sessionContext"] {
        assert!(faults.iter().any(|found| found == pointer), "{pointer}: {faults:?}");
    }
    run(&id, &json!({})).problem(422);
    run(&id, &json!({"task_name": 7, "parameters": []})).problem(422);
    run(&id, &json!("text")).problem(422);
    let bytes = Request::new("POST", format!("/v1/agents/{id}/run"));
    server.send(bytes.clone().body("application/json", "{\"senderId\":")).problem(400);
    server.send(bytes.body("text/plain", message(&json!({})).to_string())).problem(415);
    assert_eq!(agent.count(), 0, "nothing that was refused arrives");
}

fn an_accepted_message_survives_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let mut agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    agent.stop();
    let sent: Vec<String> = (0..10).map(|n| server.run(&id, &json!({"n": n}))).collect();
    server.kill();
    agent.resume();
    server.restart();
    let mut arrived = Vec::new();
    while arrived.len() < sent.len() {
        let message = agent.next_within(AFTER_A_CRASH).header("x-message-id").to_owned();
        if !arrived.contains(&message) {
            arrived.push(message);
        }
    }
    assert!(sent.iter().all(|message| arrived.contains(message)), "{sent:?} {arrived:?}");
    for message in &sent {
        server.message_becomes(message, "delivered", AFTER_A_CRASH);
    }
}

fn a_slow_agent_does_not_hold_up_another(database: &Database) {
    let server = Server::start(database);
    let slow = Agent::answering(|_, _| AgentReply::Hang);
    let quick = Agent::start();
    let slow_id = server.register("slow", &slow, &[]);
    let quick_id = server.register("quick", &quick, &[]);
    for n in 0..200 {
        server.run(&slow_id, &json!({"n": n}));
    }
    let message = server.run(&quick_id, &json!({}));
    assert_eq!(quick.next().header("x-message-id"), message);
}
