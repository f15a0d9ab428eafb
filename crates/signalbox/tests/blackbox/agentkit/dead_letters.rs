//! `/v1/dead-letters`: what could not be delivered is kept, shown, sent again, or dropped by choice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, PATIENCE, Server, eventually, iso_from_now, items, on_each_database,
};

on_each_database![
    a_dead_letter_shows_what_it_carried,
    filters_narrow_the_list,
    one_is_sent_again,
    many_are_sent_again_by_filter,
    what_takes_several_requests_says_that_there_is_more,
    one_of_a_task_is_not_sent_again_and_says_what_to_do,
    one_is_dropped_by_choice,
    many_are_dropped_by_filter,
    an_unknown_one_is_404,
];

/// An agent that refuses everything until it is told to be good.
fn refusing() -> (Agent, Arc<AtomicBool>) {
    let good = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&good);
    let agent =
        Agent::answering(move |_, _| AgentReply::Status(if told.load(Ordering::SeqCst) { 200 } else { 422 }));
    (agent, good)
}

fn dead(server: &Server, agent: &str, payload: &Value) -> String {
    let message = server.run(agent, payload);
    server.message_becomes(&message, "dead", PATIENCE);
    message
}

fn ids(list: &Value) -> BTreeSet<String> {
    items(list).iter().map(|letter| letter["messageId"].as_str().unwrap().to_owned()).collect()
}

fn a_dead_letter_shows_what_it_carried(database: &Database) {
    let mut server = Server::start(database);
    let (agent, _) = refusing();
    let id = server.register("refuses", &agent, &[]);
    let message = dead(&server, &id, &json!({"order": 4711}));
    server.kill();
    server.restart();
    let letter = server.get(&format!("/v1/dead-letters/{message}")).is(200)["data"].clone();
    assert_eq!(letter["messageId"], message.as_str());
    assert_eq!(letter["agentId"], id.as_str());
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["body"]["payload"]["order"], 4711);
    assert!(letter["lastError"].as_str().is_some_and(|error| error.contains("422")), "{letter}");
    let list = server.get("/v1/dead-letters").is(200);
    assert_eq!(items(&list), [letter], "the same in the list");
}

fn filters_narrow_the_list(database: &Database) {
    let server = Server::start(database);
    let (agent, _) = refusing();
    let a = server.register("a", &agent, &[]);
    let b = server.register("b", &agent, &[]);
    let of_a: BTreeSet<_> = (0..5).map(|n| dead(&server, &a, &json!({"n": n}))).collect();
    let of_b = BTreeSet::from([dead(&server, &b, &json!({}))]);
    let listed = |query: &str| ids(&server.get(&format!("/v1/dead-letters?{query}")).is(200));
    assert_eq!(listed(&format!("agent={a}")), of_a);
    assert_eq!(listed(&format!("agent={b}")), of_b);
    assert_eq!(listed("kind=message").len(), 6);
    assert_eq!(listed("kind=webhook").len(), 0);
    assert_eq!(listed(&format!("since={}", iso_from_now(-3600))).len(), 6);
    assert_eq!(listed(&format!("since={}", iso_from_now(3600))).len(), 0);
    server.get("/v1/dead-letters?since=yesterday").problem(422);
    assert_eq!(server.all_pages("/v1/dead-letters", 2).len(), 6);
    assert_eq!(server.all_pages(&format!("/v1/dead-letters?agent={a}"), 2).len(), 5);
}

fn one_is_sent_again(database: &Database) {
    let server = Server::start(database);
    let (agent, good) = refusing();
    let id = server.register("recovers", &agent, &[]);
    let message = dead(&server, &id, &json!({"n": 1}));
    let other = dead(&server, &id, &json!({"n": 2}));
    good.store(true, Ordering::SeqCst);
    server.post(&format!("/v1/dead-letters/{message}/redrive"), &json!({})).succeeded();
    server.message_becomes(&message, "delivered", PATIENCE);
    let last = agent.all().pop().unwrap();
    assert_eq!(last.header("x-message-id"), message, "its id stays, so that the agent can drop a repeat");
    assert_eq!(last.json()["payload"]["n"], 1);
    assert_eq!(ids(&server.get("/v1/dead-letters").is(200)), BTreeSet::from([other]));
    server.get(&format!("/v1/dead-letters/{message}")).absent();
}

fn many_are_sent_again_by_filter(database: &Database) {
    let server = Server::start(database);
    let (agent, good) = refusing();
    let a = server.register("a", &agent, &[]);
    let b = server.register("b", &agent, &[]);
    let of_a: Vec<_> = (0..4).map(|n| dead(&server, &a, &json!({"n": n}))).collect();
    let of_b = dead(&server, &b, &json!({}));
    good.store(true, Ordering::SeqCst);
    server.post(&format!("/v1/dead-letters/redrive?agent={a}"), &json!({})).succeeded();
    for message in &of_a {
        server.message_becomes(message, "delivered", PATIENCE);
    }
    assert_eq!(ids(&server.get("/v1/dead-letters").is(200)), BTreeSet::from([of_b.clone()]));
    server.post("/v1/dead-letters/redrive", &json!({})).succeeded();
    server.message_becomes(&of_b, "delivered", PATIENCE);
    assert_eq!(items(&server.get("/v1/dead-letters").is(200)), [Value::Null; 0]);
}

fn what_takes_several_requests_says_that_there_is_more(database: &Database) {
    let server = Server::start(database);
    let (agent, _) = refusing();
    let id = server.register("a", &agent, &[]);
    let letters: Vec<_> = (0..5).map(|n| dead(&server, &id, &json!({"n": n}))).collect();
    let redrive = |query: &str| {
        server.post(&format!("/v1/dead-letters/redrive?{query}"), &json!({})).is(202)["data"].clone()
    };
    let mut cursor = String::new();
    for (redriven, more) in [(2, true), (2, true), (1, false)] {
        let answer = redrive(&format!("limit=2{cursor}"));
        assert_eq!((&answer["redriven"], &answer["more"]), (&json!(redriven), &json!(more)), "{answer}");
        // They die again at once, and none of them comes round again.
        for message in &letters {
            server.message_becomes(message, "dead", PATIENCE);
        }
        cursor = answer["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!(agent.count(), 10);
    let told = server.delete("/v1/dead-letters?kind=message&limit=3").is(200)["data"].clone();
    assert_eq!((&told["discarded"], &told["more"]), (&json!(3), &json!(true)), "{told}");
    server.delete("/v1/dead-letters?kind=message&cursor=x").problem(422);
    server.post("/v1/dead-letters/redrive?limit=0", &json!({})).problem(422);
    let mut command = server.setup().bare_command();
    command.args(["dead-letters", "redrive", "--all", "--agent", &id]);
    let output = command.env("SIGNALBOX_URL", server.url("")).output().expect("the binary starts");
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("2 messages"), "{told}");
    eventually("two more attempts", || {
        if agent.count() == 12 { Ok(()) } else { Err(agent.count().to_string()) }
    });
}

/// What is sent again must have an effect: a task's attempt failed when it died.
fn one_of_a_task_is_not_sent_again_and_says_what_to_do(database: &Database) {
    let server = Server::start(database);
    let (agent, good) = refusing();
    let id = server.register("recovers", &agent, &[]);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "read", "maxRetries": 0}]});
    let session = server.trigger(&id, &definition, &json!({}));
    server.session_becomes(&session, "failed");
    let letters = || ids(&server.get("/v1/dead-letters?kind=task").is(200));
    let letter = letters().pop_first().expect("the attempt's");
    let message = dead(&server, &id, &json!({}));
    let redrive = format!("/v1/dead-letters/{letter}/redrive");
    let problem = server.post(&redrive, &json!({})).problem(409);
    assert!(problem.kind.ends_with("/dead-letter-of-task"), "{}", problem.kind);
    for part in ["task 'read'", &format!("POST /v1/opscore/sessions/{session}/retry")] {
        assert!(problem.detail.contains(part), "{part}: {}", problem.detail);
    }
    good.store(true, Ordering::SeqCst);
    let answer = server.post("/v1/dead-letters/redrive", &json!({})).is(202);
    assert_eq!(
        (&answer["data"]["redriven"], &answer["data"]["passed_over"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    assert!(answer["message"].as_str().is_some_and(|text| text.contains("retry their sessions")), "{answer}");
    server.message_becomes(&message, "delivered", PATIENCE);
    assert_eq!(letters(), BTreeSet::from([letter.clone()]), "it is still there");
    server.post(&format!("/v1/opscore/sessions/{session}/retry"), &json!({})).succeeded();
    let task = std::iter::repeat_with(|| agent.next())
        .find(|delivery| {
            !delivery.header("x-message-id").contains(&letter) && delivery.json()["task_name"] == "read"
        })
        .expect("it goes on until it is found");
    server.complete(&id, &task, &json!({}));
    server.session_becomes(&session, "completed");
    let problem = server.post(&redrive, &json!({})).problem(409);
    assert!(problem.detail.contains(&format!("{session}/rerun")), "{}", problem.detail);
    server.delete(&format!("/v1/dead-letters/{letter}")).is(200);
    assert!(letters().is_empty());
}

fn one_is_dropped_by_choice(database: &Database) {
    let server = Server::start(database);
    let (agent, _) = refusing();
    let id = server.register("refuses", &agent, &[]);
    let message = dead(&server, &id, &json!({}));
    server.delete(&format!("/v1/dead-letters/{message}")).succeeded();
    server.get(&format!("/v1/dead-letters/{message}")).absent();
    assert_eq!(items(&server.get("/v1/dead-letters").is(200)), [Value::Null; 0]);
}

fn many_are_dropped_by_filter(database: &Database) {
    let server = Server::start(database);
    let (agent, _) = refusing();
    let a = server.register("a", &agent, &[]);
    let b = server.register("b", &agent, &[]);
    for n in 0..3 {
        dead(&server, &a, &json!({"n": n}));
    }
    let of_b = dead(&server, &b, &json!({}));
    server.delete(&format!("/v1/dead-letters?agent={a}")).succeeded();
    assert_eq!(ids(&server.get("/v1/dead-letters").is(200)), BTreeSet::from([of_b]));
    server.delete(&format!("/v1/dead-letters?agent={b}&since=tomorrow")).problem(422);
    assert_eq!(items(&server.get("/v1/dead-letters").is(200)).len(), 1, "a wrong filter is not no filter");
}

fn an_unknown_one_is_404(database: &Database) {
    let server = Server::start(database);
    let (agent, good) = refusing();
    good.store(true, Ordering::SeqCst);
    let id = server.register("fine", &agent, &[]);
    let delivered = server.run(&id, &json!({}));
    server.message_becomes(&delivered, "delivered", PATIENCE);
    for message in ["msg_unknown", &delivered] {
        server.get(&format!("/v1/dead-letters/{message}")).absent();
        server.post(&format!("/v1/dead-letters/{message}/redrive"), &json!({})).absent();
        server.delete(&format!("/v1/dead-letters/{message}")).absent();
    }
    assert_eq!(agent.count(), 1);
}
