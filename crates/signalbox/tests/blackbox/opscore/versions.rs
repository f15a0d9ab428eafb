//! `/v1/opscore/workflows/{id}/versions`: what was kept before, what differs, and going back.

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, on_each_database};

on_each_database![
    as_many_revisions_are_kept_as_may_be,
    every_revision_is_kept_and_shown,
    two_revisions_are_compared,
    a_definition_goes_back_to_a_revision,
    a_revision_is_removed_unless_it_is_needed,
    what_is_not_there_is_404,
];

const WORKFLOW: &str = "/v1/opscore/workflows/w";
const VERSIONS: &str = "/v1/opscore/workflows/w/versions";

/// Keeps three revisions of `w`.
fn keep(server: &Server) {
    for (name, tasks) in [
        ("First", json!([{"taskId": "a", "parameters": {"n": 1}}])),
        ("Second", json!([{"taskId": "x"}, {"taskId": "a", "parameters": {"n": 2}}])),
        ("Third", json!([{"taskId": "x"}])),
    ] {
        server.post("/v1/opscore/workflows", &json!({"id": "w", "name": name, "tasks": tasks})).succeeded();
    }
}

fn revisions(server: &Server) -> Vec<(u64, bool)> {
    let listed = server.all_pages(VERSIONS, 2);
    let told = |one: &Value| (one["revision"].as_u64().unwrap(), one["isCurrent"].as_bool().unwrap());
    listed.iter().map(told).collect()
}

fn every_revision_is_kept_and_shown(database: &Database) {
    let mut server = Server::start(database);
    keep(&server);
    server.kill();
    server.restart();
    assert_eq!(revisions(&server), [(3, true), (2, false), (1, false)]);
    let first = server.get(&format!("{VERSIONS}/1")).is(200);
    assert_eq!((&first["name"], &first["tasks"][0]["parameters"]["n"]), (&json!("First"), &json!(1)));
    assert_eq!(server.get(&format!("{VERSIONS}/3")).is(200), server.get(WORKFLOW).is(200));
}

fn two_revisions_are_compared(database: &Database) {
    let server = Server::start(database);
    keep(&server);
    let compared = server.get(&format!("{VERSIONS}/1/compare/2")).is(200);
    assert_eq!(
        (&compared["from"], &compared["to"], &compared["more"]),
        (&json!(1), &json!(2), &json!(false))
    );
    let expected = json!([
        {"op": "replace", "path": "/name", "from": "First", "to": "Second"},
        {"op": "add", "path": "/tasks/0", "to": {"taskId": "x"}},
        {"op": "replace", "path": "/tasks/1/parameters/n", "from": 1, "to": 2},
    ]);
    assert_eq!(compared["differences"], expected);
    assert_eq!(server.get(&format!("{VERSIONS}/2/compare/2")).is(200)["differences"], json!([]));
}

fn a_definition_goes_back_to_a_revision(database: &Database) {
    let server = Server::start(database);
    keep(&server);
    let back = server.post(&format!("{VERSIONS}/1/rollback"), &json!({})).is(200);
    assert_eq!((&back["revision"], &back["name"]), (&json!(4), &json!("First")));
    assert_eq!(server.get(WORKFLOW).is(200), back);
    let again = server.post(&format!("{VERSIONS}/1/rollback"), &json!({})).is(200);
    assert_eq!(again, back, "it says that already");
    assert_eq!(revisions(&server).len(), 4);
}

fn a_revision_is_removed_unless_it_is_needed(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("agent", &agent, &[]);
    let definition = |name: &str| json!({"id": "w", "name": name, "tasks": [{"taskId": "a"}]});
    let session = server.trigger(&id, &definition("First"), &json!({}));
    assert_eq!(server.session(&session)["workflowRevision"], 1);
    for name in ["Second", "Third"] {
        server.post("/v1/opscore/workflows", &definition(name)).succeeded();
    }

    let current = server.delete(&format!("{VERSIONS}/3")).problem(409);
    assert!(current.detail.contains("current"), "{}", current.detail);
    let used = server.delete(&format!("{VERSIONS}/1")).problem(409);
    assert!(used.detail.contains("open sessions"), "{}", used.detail);
    server.delete(&format!("{VERSIONS}/2")).is(200);
    server.complete(&id, &agent.next(), &json!("done"));
    server.session_becomes(&session, "completed");
    server.delete(&format!("{VERSIONS}/1")).is(200);
    server.delete(&format!("{VERSIONS}/1")).absent();
    assert_eq!(revisions(&server), [(3, true)]);
    assert_eq!(server.session(&session)["status"], "completed", "a session carries its own tasks");

    let fourth = server.post("/v1/opscore/workflows", &definition("Fourth")).is(200);
    assert_eq!(fourth["revision"], 4, "a number that was used once is not used again");
    server.delete(WORKFLOW).is(200);
    server.get(VERSIONS).absent();
}

fn what_is_not_there_is_404(database: &Database) {
    let server = Server::start(database);
    keep(&server);
    for path in ["/9", "/0", "/x", "/-1", "/1/compare/9", "/9/compare/1", "/99999999999"] {
        server.get(&format!("{VERSIONS}{path}")).absent();
    }
    server.post(&format!("{VERSIONS}/9/rollback"), &json!({})).absent();
    server.delete(&format!("{VERSIONS}/9")).absent();
    server.get("/v1/opscore/workflows/none/versions").absent();
    server.get("/v1/opscore/workflows/none/versions/1").absent();
}

fn as_many_revisions_are_kept_as_may_be(database: &Database) {
    let server = Server::start(database);
    let agent = server.register_at("agent", "http://127.0.0.1:9/run", &[]);
    let inline = |n: u32| json!({"id": "inline", "name": format!("Inline {n}"), "tasks": []});
    for n in 1..=103 {
        server.trigger(&agent, &inline(n), &json!({}));
    }
    server.trigger(&agent, &inline(103), &json!({}));
    let kept = server.all_pages("/v1/opscore/workflows/inline/versions", 1000);
    let revisions: Vec<u64> = kept.iter().map(|kept| kept["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, (4..=103).rev().collect::<Vec<_>>(), "the newest 100, and none for the same again");
    server.get("/v1/opscore/workflows/inline/versions/3").problem(404);
    server.delete("/v1/opscore/workflows/inline").is(200);
    server.get("/v1/opscore/workflows/inline/versions/103").problem(404);
}
