//! Which answers of an agent are tried again, when, and which are final.

use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, AgentReply, Database, PATIENCE, Server, Setup, on_each_database};

on_each_database![
    a_failed_attempt_is_tried_again_with_the_same_id,
    retry_after_is_honoured,
    a_refused_connection_is_tried_again,
    a_timeout_is_tried_again,
    another_4xx_is_final,
    a_redirect_is_not_followed,
    eight_attempts_end_as_a_dead_letter,
];

/// A destination that keeps failing is given a rest, however short its backoff is.
const WITH_RESTS: Duration = Duration::from_secs(90);

fn a_failed_attempt_is_tried_again_with_the_same_id(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::first([AgentReply::Status(500), AgentReply::Status(408), AgentReply::Status(503)]);
    let id = server.register("flaky", &agent, &[]);
    let message = server.run(&id, &json!({"n": 1}));
    let deliveries: Vec<_> = (1..=4).map(|_| agent.next()).collect();
    for (index, delivery) in deliveries.iter().enumerate() {
        assert_eq!(delivery.header("x-message-id"), message);
        assert_eq!(delivery.header("x-attempt"), (index + 1).to_string());
        assert_eq!(delivery.body, deliveries[0].body, "the same words each time");
    }
    assert_eq!(server.message_becomes(&message, "delivered", PATIENCE)["attempts"], 4);
    let waits: Vec<_> = deliveries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (wait, most) in waits.iter().zip([1, 2, 4]) {
        assert!(*wait < Duration::from_secs(most) + PATIENCE / 3, "{waits:?}");
    }
}

fn retry_after_is_honoured(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::first([AgentReply::TooMany(3)]);
    let id = server.register("busy", &agent, &[]);
    server.run(&id, &json!({}));
    let (first, second) = (agent.next(), agent.next());
    let waited = second.at - first.at;
    assert!(waited >= Duration::from_millis(2_900), "backoff alone is at most a second: {waited:?}");
    assert_eq!(second.header("x-attempt"), "2");
}

fn a_refused_connection_is_tried_again(database: &Database) {
    let server = Server::start(database);
    let mut agent = Agent::start();
    let id = server.register("away", &agent, &[]);
    agent.stop();
    let message = server.run(&id, &json!({}));
    let failed = crate::support::eventually("a failed attempt", || {
        let message = server.message(&message);
        if message["attempts"].as_u64() >= Some(1) { Ok(message) } else { Err(message.to_string()) }
    });
    assert_eq!(failed["status"], "scheduled");
    assert!(failed["lastError"].as_str().is_some_and(|error| !error.is_empty()), "{failed}");
    assert!(failed["nextAttemptAt"].is_string(), "{failed}");
    agent.resume();
    let delivery = agent.next();
    assert_eq!(delivery.header("x-message-id"), message);
    assert_ne!(delivery.header("x-attempt"), "1");
    server.message_becomes(&message, "delivered", PATIENCE);
}

fn a_timeout_is_tried_again(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_DELIVERY_TIMEOUT", "1s").start();
    let agent = Agent::first([AgentReply::Hang]);
    let id = server.register("hangs once", &agent, &[]);
    let message = server.run(&id, &json!({}));
    agent.next();
    assert_eq!(agent.next().header("x-attempt"), "2");
    server.message_becomes(&message, "delivered", PATIENCE);
}

fn another_4xx_is_final(database: &Database) {
    let server = Server::start(database);
    for status in [400, 401, 403, 404, 409, 410, 413, 422] {
        let agent = Agent::first([AgentReply::Status(status)]);
        let id = server.register(&format!("refuses with {status}"), &agent, &[]);
        let message = server.run(&id, &json!({}));
        agent.next();
        let dead = server.message_becomes(&message, "dead", PATIENCE);
        assert_eq!(dead["attempts"], 1, "{dead}");
        assert!(
            dead["lastError"].as_str().is_some_and(|error| error.contains(&status.to_string())),
            "{dead}"
        );
        assert_eq!(agent.count(), 1);
    }
}

fn a_redirect_is_not_followed(database: &Database) {
    let server = Server::start(database);
    let elsewhere = Agent::start();
    let url = elsewhere.url();
    let agent = Agent::answering(move |_, _| AgentReply::Redirect(url.clone()));
    let id = server.register("redirects", &agent, &[]);
    let message = server.run(&id, &json!({}));
    agent.next();
    let seen = crate::support::eventually("the attempt to count as failed", || {
        let message = server.message(&message);
        if message["lastError"].is_string() { Ok(message) } else { Err(message.to_string()) }
    });
    assert_ne!(seen["status"], "delivered");
    assert_eq!(elsewhere.count(), 0);
}

fn eight_attempts_end_as_a_dead_letter(database: &Database) {
    let server = Setup::new(database)
        .env("SIGNALBOX_DELIVERY_BACKOFF_INITIAL", "10ms")
        .env("SIGNALBOX_DELIVERY_BACKOFF_MAX", "50ms")
        .start();
    let agent = Agent::answering(|_, _| AgentReply::Status(500));
    let id = server.register("broken", &agent, &[]);
    let message = server.run(&id, &json!({"lost": "never"}));
    for attempt in 1..=8 {
        assert_eq!(agent.next_within(WITH_RESTS).header("x-attempt"), attempt.to_string());
    }
    let dead = server.message_becomes(&message, "dead", PATIENCE);
    assert_eq!(dead["attempts"], 8);
    let letter = server.get(&format!("/v1/dead-letters/{message}")).is(200)["data"].clone();
    assert_eq!(letter["body"]["payload"], json!({"lost": "never"}));
    assert_eq!(agent.count(), 8);
}
