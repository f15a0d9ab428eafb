//! What a tenant took, by day.

use serde_json::{Value, json};

use super::{make_tenant, with_platform_key};
use crate::support::{Api, Database, PATIENCE, PLATFORM_KEY, Worker, eventually, on_each_database};

on_each_database![
    what_is_taken_is_counted_by_day,
    what_two_servers_count_adds_up,
    what_a_removed_tenant_took_is_dropped,
];

#[track_caller]
fn today(api: &Api) -> Value {
    let usage = api.get("/api/v1/usage-metrics?days=1").is(200);
    let mut day = usage["days"][0].clone();
    day.as_object_mut().expect("a day").remove("date");
    day
}

fn what_is_taken_is_counted_by_day(database: &Database) {
    let mut server = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&server, &json!({"name": "acme"}));
    let (_, idle) = make_tenant(&server, &json!({"name": "idle"}));
    let worker = Worker::start(&api, "worker", &[]);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let session = api.trigger(&worker.id, &definition, &json!({}));
    api.session_becomes(&session, "completed");
    let silent = api.register_at("silent", "http://127.0.0.1:9/", &[]);
    api.replace("silent", "http://127.0.0.1:9/", &[]);
    for number in 0..3 {
        api.run(&silent, &json!({"number": number}));
    }
    let expected = json!({"agents": 2, "connections": 0, "messages": 3, "tasks": 2});
    assert_eq!(today(&api), expected, "at once");
    server.stop_and_restart();
    assert_eq!(today(&api), expected, "kept when the server ends in order");
    api.run(&silent, &json!({"number": 4}));
    eventually("one more", || {
        let day = today(&api);
        if day["messages"] == 4 { Ok(()) } else { Err(day.to_string()) }
    });

    let usage = api.get("/api/v1/usage-metrics").is(200);
    let days = usage["days"].as_array().expect("days");
    assert_eq!((usage["tenant_id"].as_str(), days.len()), (Some(tenant.as_str()), 30));
    let dates: Vec<&str> = days.iter().filter_map(|day| day["date"].as_str()).collect();
    assert!(dates.is_sorted() && dates.len() == 30 && dates[0].len() == 10, "{dates:?}");
    assert_eq!(days[0]["messages"], 0);
    assert_eq!(today(&idle), json!({"agents": 0, "connections": 0, "messages": 0, "tasks": 0}));
    for wrong in ["0", "401", "-1", "all"] {
        assert_eq!(api.get(&format!("/api/v1/usage-metrics?days={wrong}")).faults(), ["/days"]);
    }
}

fn what_two_servers_count_adds_up(database: &Database) {
    if database.url().is_none() {
        return;
    }
    let one = with_platform_key(database).start();
    let two = with_platform_key(database).start();
    let (_, api) = make_tenant(&one, &json!({"name": "acme", "limits": {"messages_per_day": 4}}));
    let key = api.post("/v1/keys", &json!({"name": "of both", "scope": "admin"})).is(201);
    let there = two.with_key(key["key"].as_str().expect("a key"));
    let agent = api.register_at("a", "http://127.0.0.1:9/", &[]);
    for number in 0..2 {
        api.run(&agent, &json!({"number": number}));
        there.run(&agent, &json!({"number": number}));
    }
    for api in [&api, &there] {
        eventually("each to know of all", || {
            let day = today(api);
            if day["messages"] == 4 { Ok(()) } else { Err(day.to_string()) }
        });
        eventually("the limit to hold on both", || {
            let body = json!({"senderId": "s", "messageType": "text", "payload": {}});
            let answer = api.post(&format!("/v1/agents/{agent}/run"), &body);
            if answer.status == 429 { Ok(()) } else { Err(answer.shown()) }
        });
    }
}

fn what_a_removed_tenant_took_is_dropped(database: &Database) {
    if database.url().is_none() {
        return;
    }
    let one = with_platform_key(database).start();
    let mut two = with_platform_key(database).start();
    let (tenant, api) = make_tenant(&one, &json!({"name": "acme"}));
    let key = api.post("/v1/keys", &json!({"name": "of both", "scope": "admin"})).is(201);
    let there = two.with_key(key["key"].as_str().expect("a key"));
    let agent = api.register_at("a", "http://127.0.0.1:9/", &[]);
    there.run(&agent, &json!({"number": 1}));
    let removed = one.with_key(PLATFORM_KEY).delete(&format!("/api/v1/tenants/{tenant}"));
    assert_eq!(removed.status, 204, "{}", removed.shown());
    // The other still has what it counted, and adds it in the end.
    two.terminate();
    assert!(two.ended(PATIENCE).success());
    assert!(!two.stderr().contains("could not be added"), "{}", two.stderr());
}
