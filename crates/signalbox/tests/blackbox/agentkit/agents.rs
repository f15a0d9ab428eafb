//! `GET /v1/agents` with its filters and pages; `GET | PATCH | DELETE /v1/agents/{agentId}`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Agent, Api, Database, Server, items, on_each_database};

on_each_database![
    a_list_has_every_field_and_its_message,
    filters_narrow_the_list,
    pages_give_every_agent_once,
    a_page_that_cannot_be_is_refused,
    a_change_keeps_what_it_does_not_name,
    a_removed_agent_is_gone_and_its_name_is_free,
    an_unknown_agent_is_404_on_every_method,
    only_a_sign_of_life_moves_last_seen,
];

fn names(list: &Value) -> BTreeSet<String> {
    items(list).iter().map(|agent| agent["agentName"].as_str().unwrap().to_owned()).collect()
}

fn listed(api: &Api, query: &str) -> Vec<String> {
    names(&api.get(&format!("/v1/agents?{query}")).is(200)).into_iter().collect()
}

fn a_list_has_every_field_and_its_message(database: &Database) {
    let server = Server::start(database);
    let empty = server.without_key().get("/v1/agents").is(200);
    assert_eq!(empty["data"], json!([]));
    let id = server.register_at("only", "http://127.0.0.1:9/run", &["read"]);
    server.report(&id, "Idle", &json!({"note": 1}));
    let list = server.get("/v1/agents").is(200);
    assert_eq!(list["status"], "success");
    assert_eq!(list["message"], "Agents retrieved successfully.");
    assert_eq!(list["next_cursor"], Value::Null);
    let agent = &items(&list)[0];
    assert_eq!(agent["agentId"], id.as_str());
    assert_eq!(agent["state"], "Idle", "kept as sent");
    for name in ["agentName", "version", "capabilities", "contactEndpoint", "metadata", "registrationTime"] {
        assert!(!agent[name].is_null(), "{name}: {agent}");
    }
    assert!(agent["lastSeen"].as_str().is_some_and(|at| at.ends_with('Z')), "{agent}");
    assert_eq!(&server.get(&format!("/v1/agents/{id}")).is(200)["data"], agent, "the same by itself");
}

fn filters_narrow_the_list(database: &Database) {
    let server = Server::start(database);
    let at = "http://127.0.0.1:9/run";
    let a = server.register_at("alpha", at, &["read", "write"]);
    server.register_at("beta", at, &["read"]);
    server.register_at("gamma's & co", at, &["plan 9"]);
    server.report(&a, "Busy", &Value::Null);
    assert_eq!(listed(&server, "capability=read"), ["alpha", "beta"]);
    assert_eq!(listed(&server, "capability=plan%209"), ["gamma's & co"]);
    assert_eq!(listed(&server, "capability=rea"), [""; 0], "a capability matches whole");
    assert_eq!(listed(&server, "name=gamma%27s%20%26%20co"), ["gamma's & co"]);
    assert_eq!(listed(&server, "state=bUSY"), ["alpha"], "states are compared without case");
    assert_eq!(listed(&server, "capability=read&state=busy&name=alpha"), ["alpha"]);
    assert_eq!(listed(&server, "capability=write&name=beta"), [""; 0]);
    server.report(&a, "idle", &Value::Null);
    assert_eq!(listed(&server, "state=busy"), [""; 0]);
    assert_eq!(listed(&server, "state=idle"), ["alpha"]);
}

fn pages_give_every_agent_once(database: &Database) {
    let server = Server::start(database);
    let mut expected = BTreeSet::new();
    for number in 0..25 {
        let name = format!("agent {number}");
        let capability = if number % 2 == 0 { "even" } else { "odd" };
        server.register_at(&name, "http://127.0.0.1:9/run", &[capability]);
        expected.insert(name);
    }
    for limit in [1, 7, 25, 1000] {
        let agents = server.all_pages("/v1/agents", limit);
        assert_eq!(agents.len(), 25, "limit {limit}");
        assert_eq!(names(&json!({"data": agents})), expected, "limit {limit}");
    }
    assert_eq!(server.all_pages("/v1/agents?capability=even", 4).len(), 13, "a cursor keeps to its filter");
    assert_eq!(items(&server.get("/v1/agents?limit=10").is(200)).len(), 10);

    // One that goes away between two pages takes no other with it.
    let first = server.get("/v1/agents?limit=10").is(200);
    for agent in items(&first) {
        server.delete(&format!("/v1/agents/{}", agent["agentId"].as_str().unwrap())).succeeded();
    }
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = server.get(&format!("/v1/agents?limit=100&cursor={cursor}")).is(200);
    assert_eq!(items(&rest).len(), 15);
    assert!(names(&rest).is_disjoint(&names(&first)));
}

fn a_page_that_cannot_be_is_refused(database: &Database) {
    let server = Server::start(database);
    for number in 0..3 {
        server.register_at(&format!("agent {number}"), "http://127.0.0.1:9/run", &[]);
    }
    for limit in ["0", "1001", "-1", "x", "1.5", "", "99999999999999999999"] {
        let faults = server.get(&format!("/v1/agents?limit={limit}")).faults();
        assert!(faults.iter().any(|pointer| pointer.contains("limit")), "{limit}: {faults:?}");
    }
    let own = server.get("/v1/agents?limit=1").is(200)["next_cursor"].as_str().unwrap().to_owned();
    let foreign = ["x", "AAAA", "not%20base64%21", "%00", &own[1..]];
    for cursor in foreign {
        let faults = server.get(&format!("/v1/agents?cursor={cursor}")).faults();
        assert!(faults.iter().any(|pointer| pointer.contains("cursor")), "{cursor}: {faults:?}");
    }
    for list in ["/v1/tools", "/v1/dead-letters", "/v1/opscore/sessions", "/v1/opscore/workflows"] {
        server.get(&format!("{list}?cursor={own}")).problem(422);
        server.get(&format!("{list}?limit=0")).problem(422);
        server.get(&format!("{list}?limit=1001")).problem(422);
    }
}

fn a_change_keeps_what_it_does_not_name(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("changing", "http://127.0.0.1:9/run", &["old"]);
    let path = format!("/v1/agents/{id}");
    let before = server.get(&path).is(200)["data"].clone();
    server.patch(&path, &json!({"version": "9", "capabilities": ["new"]})).is(200);
    let after = server.get(&path).is(200)["data"].clone();
    assert_eq!((&after["version"], &after["capabilities"]), (&json!("9"), &json!(["new"])));
    for name in ["agentId", "agentName", "contactEndpoint", "metadata", "registrationTime"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(listed(&server, "capability=old"), [""; 0]);
    assert_eq!(listed(&server, "capability=new"), ["changing"]);

    let faults = server.patch(&path, &json!({"version": 9, "contactEndpoint": "x", "metadata": 1})).faults();
    assert_eq!(faults, ["/contactEndpoint", "/metadata", "/version"]);
    assert_eq!(server.get(&path).is(200)["data"], after, "a refused change changes nothing");

    let agent = Agent::start();
    server.patch(&path, &json!({"contactEndpoint": agent.url(), "metadata": {"moved": true}})).is(200);
    server.run(&id, &json!({"to": "the new place"}));
    assert_eq!(agent.next().json()["payload"]["to"], "the new place");
}

fn a_removed_agent_is_gone_and_its_name_is_free(database: &Database) {
    let mut server = Server::start(database);
    let id = server.register_at("leaving", "http://127.0.0.1:9/run", &["read"]);
    server.report(&id, "idle", &Value::Null);
    server.delete(&format!("/v1/agents/{id}")).succeeded();
    server.kill();
    server.restart();
    server.get(&format!("/v1/agents/{id}")).absent();
    assert_eq!(listed(&server, "capability=read"), [""; 0]);
    assert_eq!(listed(&server, "state=idle"), [""; 0]);
    server.try_report(&id, "idle", &Value::Null, &crate::support::iso()).absent();
    assert_eq!(listed(&server, ""), [""; 0], "a report does not bring it back to life");
    let again = server.register_at("leaving", "http://127.0.0.1:9/run", &["read"]);
    assert_ne!(again, id, "a new registration is a new agent");
}

fn an_unknown_agent_is_404_on_every_method(database: &Database) {
    let server = Server::start(database);
    let path = "/v1/agents/agent-nobody";
    for response in [server.get(path), server.patch(path, &json!({"version": "2"})), server.delete(path)] {
        let problem = response.absent();
        assert!(problem.detail.contains("agent-nobody"), "{}", problem.detail);
    }
}

fn only_a_sign_of_life_moves_last_seen(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("quiet", "http://127.0.0.1:9/run", &[]);
    server.report(&id, "idle", &Value::Null);
    let path = format!("/v1/agents/{id}");
    let seen = || server.get(&path).is(200)["data"]["lastSeen"].as_str().unwrap().to_owned();
    let before = seen();
    server.patch(&path, &json!({"version": "3"})).is(200);
    server.run(&id, &json!({}));
    assert_eq!(seen(), before, "what others do with it is no sign of life");
    server.report(&id, "idle", &Value::Null);
    assert!(seen() > before, "a report is");
}
