//! Wide sessions: many agents and many tools settle tasks of one session at the same moment.

use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Agent, AgentReply, Database, PATIENCE, Server, iso, on_each_database, task_of};

on_each_database![
    many_agents_settle_one_session_at_once,
    a_long_list_is_done_to_its_end_while_others_are_served,
    a_tool_is_called_once_for_each_item_of_a_wide_session
];

const WIDTH: usize = 200;
/// Items of a list that takes many decisions to begin.
const THOUSANDS: usize = 2_000;
const AGENTS: usize = 64;

fn start(server: &Server, task: &Value) -> String {
    start_of(server, task, WIDTH)
}

fn start_of(server: &Server, task: &Value, items: usize) -> String {
    let starter = server.register_at(&format!("starter {items}"), "http://127.0.0.1:9/run", &[]);
    let workflow = json!({"id": format!("wide-{items}"), "name": "Wide", "tasks": [task]});
    let list: Vec<usize> = (0..items).collect();
    server.trigger(&starter, &workflow, &json!({ "list": list }))
}

fn attempts(session: &Value) -> Vec<u64> {
    let tasks = session["tasks"].as_array().expect("tasks").iter();
    let instances = tasks.filter(|task| task["taskId"].as_str().is_some_and(|id| id.contains('[')));
    instances.map(|task| task["attempt"].as_u64().expect("an attempt")).collect()
}

fn many_agents_settle_one_session_at_once(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::start();
    let agents: HashMap<String, String> = (0..WIDTH)
        .map(|n| {
            let path = format!("/run/{n}");
            let url = endpoint.url().replace("/run", &path);
            (path, server.register_at(&format!("reader {n}"), &url, &["read"]))
        })
        .collect();
    let task = json!({"taskId": "read", "agentCapability": "read", "forEach": "input.list",
        "parameters": {"n": "${item}"}});
    let session = start(&server, &task);
    let given: Vec<_> = (0..WIDTH).map(|_| endpoint.next_within(PATIENCE * 2)).collect();
    let together = Barrier::new(WIDTH);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let reports = given.iter().map(|delivery| {
            let (api, together, agent) = (server.api(), &together, &agents[&delivery.path]);
            scope.spawn(move || {
                let result = &delivery.json()["payload"]["n"];
                let details = json!({"opscore_task_id": task_of(delivery), "result": result});
                together.wait();
                api.try_report(agent, "completed", &details, &iso()).status
            })
        });
        let reports: Vec<_> = reports.collect();
        reports.into_iter().map(|report| report.join().expect("reported")).collect()
    });
    assert!(statuses.iter().all(|status| *status == 202), "{statuses:?}");
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], json!((0..WIDTH).collect::<Vec<_>>()));
    assert_eq!(attempts(&done), vec![1; WIDTH], "no report was lost");
}

fn a_long_list_is_done_to_its_end_while_others_are_served(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|asked, _| {
        let details = json!({"result": asked.json()["payload"]["n"]});
        AgentReply::Json(json!({"state": "completed", "details": details}))
    });
    for n in 0..AGENTS {
        let url = endpoint.url().replace("/run", &format!("/run/{n}"));
        server.register_at(&format!("reader {n}"), &url, &["read"]);
    }
    let task = json!({"taskId": "read", "agentCapability": "read", "forEach": "input.list",
        "parameters": {"n": "${item}"}});
    let session = start_of(&server, &task, THOUSANDS);
    let other = json!({"taskId": "read", "agentCapability": "read", "priority": 9, "parameters": {"n": 7}});
    let beside = start_of(&server, &other, 0);
    let beside = server.session_becomes_within(PATIENCE * 2, &beside, "completed");
    assert_eq!(beside["result"], json!(7));
    let done = server.session_becomes_within(PATIENCE * 12, &session, "completed");
    // A long result is kept apart.
    let sha256 = done["result"]["$payload"]["sha256"].as_str().expect("a payload");
    let result = server.get(&format!("/v1/opscore/payloads/{sha256}")).is(200);
    assert_eq!(result, json!((0..THOUSANDS).collect::<Vec<_>>()));
    assert_eq!(attempts(&done), vec![1; THOUSANDS], "each item is done once");
    assert_eq!(endpoint.count(), THOUSANDS + 1);
}

fn a_tool_is_called_once_for_each_item_of_a_wide_session(database: &Database) {
    let server = Server::start(database);
    let tool = Agent::answering(|_, _| AgentReply::Json(json!({"status": "SUCCESS", "message": "done"})));
    let body = json!({"name": "reader", "description": "reads", "endpoint": tool.url(),
        "parameters": {"type": "object"}});
    server.post("/v1/tools", &body).is(201);
    let task = json!({"taskId": "read", "tool": "reader", "forEach": "input.list", "maxRetries": 0,
        "parameters": {"n": "${item}"}});
    let session = start(&server, &task);
    let done = server.session_becomes_within(PATIENCE * 2, &session, "completed");
    assert_eq!(attempts(&done), vec![1; WIDTH]);
    assert_eq!(tool.count(), WIDTH, "no tool is called twice");
}
