//! Schedules: their resource, their fire times, and that each makes one session also over crashes and two servers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    AFTER_A_CRASH, Agent, Database, Server, Setup, eventually, items, on_each_database, within,
};

on_each_database![
    a_schedule_is_kept_shown_changed_and_removed,
    a_schedule_that_does_not_fit_is_refused_with_all_its_faults,
    the_input_must_fit_the_workflow,
    what_a_schedule_names_must_be_there,
    fire_times_make_sessions_with_their_time,
    a_trigger_says_what_came_of_it,
    what_waits_starts_when_the_session_before_it_is_over,
    a_backfill_makes_up_for_what_went_by,
    each_fire_time_makes_one_session_over_kills,
    the_log_tells_of_schedules,
];

const SCHEDULES: &str = "/v1/opscore/schedules";

fn path(rest: &str) -> String {
    format!("{SCHEDULES}/{rest}")
}

/// Keeps a workflow whose sessions are over at once.
fn keep_empty(server: &Server) {
    server.post("/v1/opscore/workflows", &json!({"id": "empty", "name": "Empty", "tasks": []})).succeeded();
}

/// Keeps a workflow whose sessions stay open until an agent reports.
fn keep_open(server: &Server) -> (Agent, String) {
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let tasks = json!([{"taskId": "only", "agentCapability": "work"}]);
    server.post("/v1/opscore/workflows", &json!({"id": "open", "name": "Open", "tasks": tasks})).succeeded();
    (agent, id)
}

/// The fire times that are known, newest first.
fn runs(server: &Server, id: &str) -> Vec<Value> {
    server.all_pages(&path(&format!("{id}/runs")), 50)
}

fn outcomes(runs: &[Value]) -> Vec<&str> {
    runs.iter().filter_map(|run| run["outcome"].as_str()).collect()
}

fn a_schedule_is_kept_shown_changed_and_removed(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let body = json!({
        "id": "nightly", "workflowId": "empty", "cron": "0 3 * * *", "timeZone": "Europe/Berlin",
        "input": {"day": "${scheduledAt}"}, "note": "the report", "overlap": "bufferOne", "catchUp": "1h"
    });
    let made = server.post(SCHEDULES, &body).is(201);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(
        (&made["status"], &made["every"], &made["waiting"]),
        (&json!("active"), &json!(null), &json!(0))
    );
    let next = made["nextAt"].as_str().expect("armed");
    assert!(next.ends_with(":00:00.000000Z"), "{next}");
    assert_eq!(server.post(SCHEDULES, &body).is(200), made, "the same again changes nothing");
    assert_eq!(server.get(&path("nightly")).is(200), made);
    assert_eq!(items(&server.get(SCHEDULES).is(200)), std::slice::from_ref(&made));

    let changed = server.patch(&path("nightly"), &json!({"every": 3600, "note": null})).is(200);
    assert_eq!(
        (&changed["cron"], &changed["every"], &changed["note"], &changed["overlap"]),
        (&json!(null), &json!("1h"), &json!(null), &json!("bufferOne"))
    );
    let paused = server.post(&path("nightly/pause"), &json!({})).is(200);
    assert_eq!((&paused["status"], &paused["nextAt"]), (&json!("paused"), &json!(null)));
    server.post(&path("nightly/pause"), &json!({})).is(200);
    let resumed = server.post(&path("nightly/resume"), &json!({})).is(200);
    assert!(resumed["status"] == "active" && resumed["nextAt"].is_string(), "{resumed}");
    server.delete(&path("nightly")).is(200);
    server.get(&path("nightly")).absent();
    server.delete(&path("nightly")).absent();
    assert_eq!(items(&server.get(SCHEDULES).is(200)), [Value::Null; 0]);
}

fn a_schedule_that_does_not_fit_is_refused_with_all_its_faults(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let bad = json!({"id": "a b", "every": "10ms", "cron": 5, "overlap": "maybe", "catchUp": "long"});
    let faults = server.post(SCHEDULES, &bad).faults();
    assert_eq!(faults, ["", "/catchUp", "/cron", "/every", "/id", "/overlap", "/workflowId"]);
    let bad = json!({"id": "a b", "cron": "* *", "timeZone": "Mars/Base", "paused": "yes"});
    assert_eq!(
        server.post(SCHEDULES, &bad).faults(),
        ["/cron", "/id", "/paused", "/timeZone", "/workflowId"]
    );
    let bad = json!({"id": "s", "workflowId": "empty", "cron": "0 0 30 2 *", "timeZone": "Mars/Base"});
    assert_eq!(server.post(SCHEDULES, &bad).faults(), ["/cron", "/timeZone"]);
    let large =
        json!({"id": "s", "workflowId": "empty", "cron": "@daily", "input": {"x": "y".repeat(70_000)}});
    assert_eq!(server.post(SCHEDULES, &large).faults(), ["/input"]);
    server.post(SCHEDULES, &json!({"id": "s", "workflowId": "empty", "every": "1h"})).is(201);
    assert_eq!(server.patch(&path("s"), &json!({"cron": "x", "input": 1})).faults(), ["/cron", "/input"]);
    assert_eq!(server.patch(&path("s"), &json!({"cron": "x"})).faults(), ["/cron"]);
    let backwards = json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"});
    assert_eq!(server.post(&path("s/backfill"), &backwards).faults(), ["/to"]);
    let years = json!({"from": "2020-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"});
    server.patch(&path("s"), &json!({"cron": "@hourly"})).is(200);
    let problem = server.post(&path("s/backfill"), &years).problem(422);
    assert!(problem.detail.contains("1000"), "{}", problem.detail);
}

fn the_input_must_fit_the_workflow(database: &Database) {
    let server = Server::start(database);
    let schema = json!({"type": "object", "required": ["day"], "properties": {"day": {"format": "date-time", "type": "string"}}});
    let workflow = json!({"id": "strict", "name": "Strict", "input": schema, "tasks": []});
    server.post("/v1/opscore/workflows", &workflow).succeeded();
    let mut body = json!({"id": "s", "workflowId": "strict", "every": "1h", "input": {}});
    assert_eq!(server.post(SCHEDULES, &body).faults().len(), 1);
    server.get(&path("s")).absent();
    body["input"] = json!({"day": "${scheduledAt}"});
    server.post(SCHEDULES, &body).is(201);
    assert_eq!(server.patch(&path("s"), &json!({"input": {"day": 5}})).faults(), ["/input/day"]);
}

fn what_a_schedule_names_must_be_there(database: &Database) {
    let server = Server::start(database);
    let body = json!({"id": "s", "workflowId": "none", "every": "1h"});
    assert!(server.post(SCHEDULES, &body).absent().detail.contains("none"));
    keep_empty(&server);
    let body = json!({"id": "s", "workflowId": "empty", "agentId": "nobody", "every": "1h"});
    assert!(server.post(SCHEDULES, &body).absent().detail.contains("nobody"));
    for rest in ["s/pause", "s/resume", "s/trigger"] {
        assert!(server.post(&path(rest), &json!({})).absent().detail.contains("Schedule not found: s"));
    }
    server.patch(&path("s"), &json!({"every": 5})).absent();
    server.get(&path("s/runs")).absent();
}

fn fire_times_make_sessions_with_their_time(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let body = json!({
        "id": "often", "workflowId": "empty", "cron": "* * * * * *", "input": {"at": "${scheduledAt}", "n": 1}
    });
    server.post(SCHEDULES, &body).is(201);
    let fired = eventually("three fire times", || {
        let runs = runs(&server, "often");
        if runs.len() >= 3 { Ok(runs) } else { Err(format!("{runs:?}")) }
    });
    for run in &fired {
        assert_eq!((&run["outcome"], &run["cause"]), (&json!("started"), &json!("schedule")));
        let session = server.session(run["sessionId"].as_str().expect("a session"));
        assert_eq!(session["scheduleId"], "often");
        assert_eq!(session["input"], json!({"at": run["scheduledAt"], "n": 1}));
    }
    let times: BTreeSet<&str> = fired.iter().filter_map(|run| run["scheduledAt"].as_str()).collect();
    assert_eq!(times.len(), fired.len(), "each at another second");
}

fn a_trigger_says_what_came_of_it(database: &Database) {
    let server = Server::start(database);
    let (agent, worker) = keep_open(&server);
    let body = json!({"id": "s", "workflowId": "open", "cron": "0 0 1 1 *", "paused": true});
    server.post(SCHEDULES, &body).is(201);
    let first = server.post(&path("s/trigger"), &json!({})).is(202);
    assert_eq!(
        (&first["outcome"], &first["cause"], &first["number"]),
        (&json!("started"), &json!("trigger"), &json!(1))
    );
    let second = server.post(&path("s/trigger"), &json!({})).is(202);
    assert_eq!((&second["outcome"], &second["sessionId"]), (&json!("skipped"), &json!(null)));
    assert!(second["reason"].as_str().is_some_and(|reason| reason.contains("not over")), "{second}");
    let third = server.post(&path("s/trigger"), &json!({"overlap": "bufferAll"})).is(202);
    assert_eq!(third["outcome"], "waiting");
    assert_eq!(outcomes(&runs(&server, "s")), ["waiting", "skipped", "started"]);
    assert_eq!(server.all_pages(&path("s/runs"), 2), runs(&server, "s"), "page by page the same");
    let task = agent.next();
    server.complete(&worker, &task, &json!(1));
    server.session_becomes(first["sessionId"].as_str().unwrap(), "completed");
    let task = agent.next();
    assert_eq!(outcomes(&runs(&server, "s"))[0], "started");
    server.complete(&worker, &task, &json!(1));
}

fn what_waits_starts_when_the_session_before_it_is_over(database: &Database) {
    let server = Server::start(database);
    let (agent, worker) = keep_open(&server);
    let body = json!({"id": "s", "workflowId": "open", "every": "1s", "overlap": "bufferOne"});
    server.post(SCHEDULES, &body).is(201);
    let first = agent.next();
    eventually("a second one to wait and a third to be passed over", || {
        let runs = runs(&server, "s");
        if outcomes(&runs).starts_with(&["skipped", "waiting", "started"]) {
            Ok(())
        } else {
            Err(format!("{runs:?}"))
        }
    });
    server.post(&path("s/pause"), &json!({})).is(200);
    server.complete(&worker, &first, &json!(1));
    eventually("the first session to be over", || {
        let runs = runs(&server, "s");
        let first = runs.last().and_then(|run| run["sessionId"].as_str()).expect("a session").to_owned();
        let session = server.session(&first);
        if session["status"] == "completed" { Ok(()) } else { Err(session.to_string()) }
    });
    assert_eq!(server.get(&path("s")).is(200)["waiting"], 1, "it is held while the schedule is paused");
    server.post(&path("s/resume"), &json!({})).is(200);
    let second = agent.next();
    server.complete(&worker, &second, &json!(1));
}

fn a_backfill_makes_up_for_what_went_by(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let body = json!({"id": "s", "workflowId": "empty", "cron": "0 * * * *", "paused": true});
    server.post(SCHEDULES, &body).is(201);
    let day = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
    assert_eq!(server.post(&path("s/backfill"), &day).is(202)["fireTimes"], 24);
    let runs = eventually("all of them", || {
        let runs = runs(&server, "s");
        if outcomes(&runs) == ["started"; 24] { Ok(runs) } else { Err(format!("{:?}", outcomes(&runs))) }
    });
    assert_eq!(
        (&runs[23]["scheduledAt"], &runs[23]["cause"]),
        (&json!("2026-01-01T00:00:00.000000Z"), &json!("backfill"))
    );
    assert_eq!(items(&server.get("/v1/opscore/sessions?workflow=empty").is(200)).len(), 24);
}

/// Every session of a schedule, by the time that it was for.
fn scheduled(server: &Server) -> Vec<String> {
    let sessions = server.all_pages("/v1/opscore/sessions?workflow=empty", 100);
    sessions.iter().map(|session| session["input"]["at"].as_str().expect("a time").to_owned()).collect()
}

#[track_caller]
fn assert_once_each(times: &[String]) {
    let distinct: BTreeSet<&String> = times.iter().collect();
    assert_eq!(distinct.len(), times.len(), "a fire time made two sessions: {times:?}");
}

const OFTEN: &str = r#"{"id": "often", "workflowId": "empty", "cron": "* * * * * *", "overlap": "allowAll",
    "input": {"at": "${scheduledAt}"}, "catchUp": "1h"}"#;

fn each_fire_time_makes_one_session_over_kills(database: &Database) {
    let mut server = Server::start(database);
    keep_empty(&server);
    server.post(SCHEDULES, &serde_json::from_str(OFTEN).unwrap()).is(201);
    for round in 1..=3 {
        let before = scheduled(&server).len();
        within(AFTER_A_CRASH, &format!("fire times of round {round}"), || {
            let times = scheduled(&server);
            if times.len() > before + 1 { Ok(()) } else { Err(format!("{times:?}")) }
        });
        server.kill();
        server.restart();
    }
    let times = within(AFTER_A_CRASH, "what was missed to be caught up with", || {
        let mut times = scheduled(&server);
        times.sort();
        let seconds = |time: &str| time[17..19].parse::<i64>().expect("seconds");
        let is_whole =
            times.windows(2).all(|pair| (seconds(&pair[1]) - seconds(&pair[0])).rem_euclid(60) <= 1);
        if is_whole && times.len() > 6 { Ok(times) } else { Err(format!("{times:?}")) }
    });
    assert_once_each(&times);
}

/// Only PostgreSQL has more than one server.
#[test]
fn two_servers_fire_once() {
    let Some(database) = Database::postgres("two_servers_fire_once") else { return };
    let server = Server::start(&database);
    let other = Setup::new(&database).start();
    keep_empty(&server);
    server.post(SCHEDULES, &serde_json::from_str(OFTEN).unwrap()).is(201);
    let times = within(AFTER_A_CRASH, "six fire times", || {
        let times = scheduled(&other);
        if times.len() >= 6 { Ok(times) } else { Err(format!("{times:?}")) }
    });
    assert_once_each(&times);
    other.post(&path("often/pause"), &json!({})).is(200);
    assert_eq!(server.get(&path("often")).is(200)["status"], "paused");
}

fn the_log_tells_of_schedules(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    server.post(SCHEDULES, &json!({"id": "s", "workflowId": "empty", "every": "1h"})).is(201);
    let fired = server.post(&path("s/trigger"), &json!({})).is(202);
    let session = fired["sessionId"].as_str().unwrap();
    let held = server.delete("/v1/opscore/workflows/empty").problem(409);
    assert!(held.detail.contains("DELETE /v1/opscore/schedules/s"), "{held:?}");
    server.delete("/v1/opscore/workflows/empty?force=true").is(200);
    let skipped = server.post(&path("s/trigger"), &json!({})).is(202);
    assert!(skipped["reason"].as_str().is_some_and(|reason| reason.contains("empty")), "{skipped}");
    let logged = server.all_pages("/v1/opscore/logs", 100);
    let messages: Vec<&str> = logged.iter().filter_map(|entry| entry["message"].as_str()).collect();
    let has = |text: &str| messages.iter().any(|message| message.contains(text));
    assert!(has("Schedule s made"), "{messages:?}");
    assert!(has(&format!("Schedule s started session {session}")), "{messages:?}");
    assert!(has("Schedule s started nothing"), "{messages:?}");
}
