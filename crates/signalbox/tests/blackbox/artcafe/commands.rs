//! `/api/v1/agents/{agent_id}/commands`: what is accepted is kept, and ends once.

use serde_json::{Value, json};

use crate::support::{Database, Request, Server, eventually, on_each_database};

on_each_database![
    a_command_for_an_agent_that_is_offline_waits_and_expires,
    waiting_for_an_answer_ends_with_the_commands_time,
    a_command_is_cancelled_once,
    whoever_waits_for_a_command_is_told_that_it_was_cancelled,
    commands_are_listed_newest_first,
    a_repeat_under_the_same_key_is_the_same_command,
    what_waits_survives_a_kill,
    what_does_not_fit_or_is_not_there_is_told,
    a_field_by_another_name_is_told,
];

fn remote(server: &Server) -> String {
    let made = server.post("/api/v1/agents", &json!({"name": "remote"})).is(201);
    made["agent_id"].as_str().unwrap().to_owned()
}

fn send(server: &Server, agent: &str, timeout: u64) -> String {
    let body = json!({"command": "restart", "args": {"now": true}, "timeout": timeout});
    let accepted = server.post(&format!("/api/v1/agents/{agent}/commands"), &body).is(202);
    accepted["command_id"].as_str().unwrap().to_owned()
}

fn shown(server: &Server, agent: &str, command: &str) -> Value {
    server.get(&format!("/api/v1/agents/{agent}/commands/{command}")).is(200)
}

fn a_command_for_an_agent_that_is_offline_waits_and_expires(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let command = send(&server, &agent, 1);
    let queued = shown(&server, &agent, &command);
    assert_eq!(
        (&queued["status"], &queued["args"], &queued["attempts"]),
        (&json!("queued"), &json!({"now": true}), &json!(0))
    );
    assert!(queued["by"].is_string(), "{queued}");
    let expired = eventually("the command to expire", || {
        let command = shown(&server, &agent, &command);
        if command["status"] == "expired" { Ok(command) } else { Err(command.to_string()) }
    });
    assert!(expired["error"].as_str().is_some_and(|error| error.contains("not reached")), "{expired}");
    assert_eq!((&expired["attempts"], expired.get("result")), (&json!(0), None), "it was never tried");
    assert!(expired["ended_at"].is_string());
}

fn waiting_for_an_answer_ends_with_the_commands_time(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let body = json!({"command": "restart", "timeout": 1});
    let problem = server.post(&format!("/api/v1/agents/{agent}/commands?wait=true"), &body).problem(504);
    assert!(problem.detail.contains("not answered in time"), "{}", problem.detail);
}

fn a_command_is_cancelled_once(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let command = send(&server, &agent, 300);
    let path = format!("/api/v1/agents/{agent}/commands/{command}/cancel");
    let cancelled = server.post(&path, &json!({"reason": "no need"})).is(200);
    assert_eq!((&cancelled["status"], &cancelled["error"]), (&json!("cancelled"), &json!("no need")));
    let problem = server.post(&path, &json!({})).problem(409);
    assert!(problem.detail.contains("is cancelled already"), "{}", problem.detail);
}

fn whoever_waits_for_a_command_is_told_that_it_was_cancelled(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let path = format!("/api/v1/agents/{agent}/commands");
    let waiting = std::thread::spawn({
        let (api, path) = (server.api(), path.clone());
        move || api.post(&format!("{path}?wait=true"), &json!({"command": "restart", "timeout": 300}))
    });
    let id = eventually("the command", || {
        let listed = server.get(&path).is(200);
        listed["commands"][0]["command_id"].as_str().map(str::to_owned).ok_or_else(|| listed.to_string())
    });
    server.post(&format!("{path}/{id}/cancel"), &json!({"reason": "no need"})).is(200);
    let problem = waiting.join().expect("answered").problem(409);
    assert!(problem.detail.contains("cancelled"), "{}", problem.detail);
}

fn commands_are_listed_newest_first(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let mut expected: Vec<String> = (0..5).map(|_| send(&server, &agent, 300)).collect();
    expected.reverse();
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/v1/agents/{agent}/commands?limit=2{token}")).is(200);
        for command in page["commands"].as_array().unwrap() {
            listed.push(command["command_id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_token"].as_str() else { break };
        token = format!("&next_token={next}");
    }
    assert_eq!(listed, expected);
}

fn a_repeat_under_the_same_key_is_the_same_command(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let body = json!({"command": "restart", "timeout": 300});
    let request =
        || Request::post(format!("/api/v1/agents/{agent}/commands"), &body).header("idempotency-key", "once");
    let first = server.send(request()).is(202);
    assert_eq!(server.send(request()).is(202), first);
    let listed = server.get(&format!("/api/v1/agents/{agent}/commands")).is(200);
    assert_eq!(listed["commands"].as_array().unwrap().len(), 1);
}

fn what_waits_survives_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let agent = remote(&server);
    let command = send(&server, &agent, 300);
    server.kill();
    server.restart();
    assert_eq!(shown(&server, &agent, &command)["status"], "queued");
}

fn what_does_not_fit_or_is_not_there_is_told(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let commands = format!("/api/v1/agents/{agent}/commands");
    assert_eq!(server.post(&commands, &json!({"args": [], "timeout": 0})).faults().len(), 3);
    server.post(&format!("{commands}?wait=maybe"), &json!({"command": "x"})).problem(422);
    server.post("/api/v1/agents/nobody/commands", &json!({"command": "x"})).absent();
    server.get("/api/v1/agents/nobody/commands").absent();
    server.get(&format!("{commands}/cmd_none")).absent();
    server.post(&format!("{commands}/cmd_none/cancel"), &json!({})).absent();
    let other = server.post("/api/v1/agents", &json!({"name": "other"})).is(201);
    let command = send(&server, &agent, 300);
    let path = format!("/api/v1/agents/{}/commands/{command}", other["agent_id"].as_str().unwrap());
    server.get(&path).absent();
}

fn a_field_by_another_name_is_told(database: &Database) {
    let server = Server::start(database);
    let agent = remote(&server);
    let commands = format!("/api/v1/agents/{agent}/commands");
    let body = json!({"command": "x", "arguments": {"n": 1}});
    let accepted = server.post(&commands, &body);
    accepted.is(202);
    let warning = accepted.header("warning").expect("a warning");
    assert!(warning.contains("/arguments") && warning.contains("args, timeout"), "{warning}");
    let fits = server.post(&commands, &json!({"command": "x", "args": {"arguments": 1}}));
    assert!(fits.header("warning").is_none(), "{:?}", fits.header("warning"));
}
