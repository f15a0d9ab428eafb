//! What goes over an agent's WebSocket: envelopes and what is not one.

use std::time::Duration;

use serde_json::json;

use super::client::{Socket, register};
use crate::support::{Database, Server, Setup, eventually, on_each_database};

on_each_database![
    heartbeats_are_answered_and_kept,
    what_is_malformed_or_unknown_is_told_and_the_connection_stays,
    a_message_that_is_too_big_ends_the_connection,
    what_is_no_websocket_ends_the_connection,
    pings_are_answered_and_fragments_put_together,
    a_slow_reader_is_closed_and_holds_up_nobody,
    an_agent_that_sends_and_never_reads_is_closed,
    a_silent_agent_is_asked_for_a_sign_of_life,
];

fn heartbeats_are_answered_and_kept(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("3s").start();
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.send_as(
        "heartbeat",
        "hb-1",
        &json!({"agent_id": agent, "status": "online", "cpu_usage": 12.5, "memory_usage": 256.3, "queue": 7}),
    );
    let ack = socket.expect("heartbeat_ack");
    assert_eq!(ack["data"]["message_id"], "hb-1");
    assert!(ack["data"]["connection_id"].as_str().is_some_and(|id| id.starts_with("con_")), "{ack}");
    assert!(ack["id"].is_string() && ack["timestamp"].is_string(), "{ack}");
    // One without an id is answered as well.
    socket.send_text(r#"{"type":"heartbeat"}"#);
    assert!(socket.expect("heartbeat_ack")["data"].get("message_id").is_none());
    let error = socket.refused("heartbeat", &json!({"cpu_usage": "much"}));
    assert_eq!((&error["code"], &error["pointer"]), (&json!("invalid"), &json!("/cpu_usage")));
    let figures = eventually("the figures to be shown", || {
        let shown = api.get(&format!("/api/v1/agents/{agent}")).is(200);
        if shown["figures"].is_object() { Ok(shown["figures"].clone()) } else { Err(shown.to_string()) }
    });
    assert_eq!((&figures["cpu_usage"], &figures["memory_usage"]), (&json!(12.5), &json!(256.3)), "{figures}");
    assert_eq!(figures["metrics"], json!({"queue": 7}));
    let sample = &figures["samples"][0];
    assert_eq!((&sample["cpu_usage"], &sample["memory_usage"]), (&json!(12.5), &json!(256.3)), "{figures}");
}

fn what_is_malformed_or_unknown_is_told_and_the_connection_stays(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let mut socket = Socket::connect(&api, &register(&api, "a"));
    for (text, code, pointer) in [
        ("garbage", "not-json", None),
        ("{", "not-json", None),
        ("", "not-json", None),
        ("[]", "invalid", None),
        ("7", "invalid", None),
        (r#"{"id":"x"}"#, "invalid", Some("/type")),
        (r#"{"type":7}"#, "invalid", Some("/type")),
        (r#"{"type":"status","data":[]}"#, "invalid", Some("/data")),
        (r#"{"type":"status","id":{}}"#, "invalid", Some("/id")),
        (r#"{"type":"nonsense"}"#, "invalid", None),
        (r#"{"type":"status","data":{}}"#, "invalid", Some("/status")),
        (r#"{"type":"status","data":{"status":"busy","progress":101}}"#, "invalid", Some("/progress")),
        (r#"{"type":"response","data":{"status":"success"}}"#, "invalid", Some("/command_id")),
        (r#"{"type":"response","data":{"command_id":"c","status":"well"}}"#, "invalid", Some("/status")),
        (r#"{"type":"ack","data":{}}"#, "invalid", Some("")),
    ] {
        socket.send_text(text);
        let error = socket.expect("error");
        assert_eq!(error["data"]["code"], code, "{text}: {error}");
        assert_eq!(error["data"]["pointer"].as_str(), pointer, "{text}: {error}");
        assert!(error["data"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    }
    let deep = format!("{{\"type\":\"status\",\"data\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    socket.send_text(&deep);
    assert_eq!(socket.expect("error")["data"]["code"], "not-json");
    // Bytes that are no text are told of as well.
    socket.try_write(2, &[0xff, 0xfe]).expect("sent");
    assert_eq!(socket.expect("error")["data"]["code"], "not-json");
    let error = socket.refused("heartbeet", &json!({}));
    assert!(error["message"].as_str().is_some_and(|told| told.contains("did you mean heartbeat")), "{error}");
    let error = socket.refused("response", &json!({"command_id": "cmd_none", "status": "success"}));
    assert_eq!(error["code"], "unknown-command");
    socket.done("status", &json!({"status": "online"}));
}

fn a_message_that_is_too_big_ends_the_connection(database: &Database) {
    let server = Setup::new(database).arg("--agent-message-bytes-max").arg("2048").start();
    let api = server.api();
    let mut socket = Socket::connect(&api, &register(&api, "a"));
    let fits = format!(r#"{{"type":"heartbeat","data":{{"x":"{}"}}}}"#, "y".repeat(2_048 - 39));
    assert!(fits.len() <= 2_048);
    socket.send_text(&fits);
    socket.expect("heartbeat_ack");
    // The end is told although all of it is still on its way.
    let _ = socket.try_write(1, &vec![b'x'; 4 << 20]);
    assert_eq!(socket.end(), Some(1009));
}

fn what_is_no_websocket_ends_the_connection(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.done("status", &json!({"status": "online"}));
    // A frame of a kind that there is not.
    socket.try_write(3, b"x").expect("sent");
    assert!(matches!(socket.end(), Some(1002 | 1003)), "told");
    // Text that is no text.
    let mut socket = Socket::connect(&api, &agent);
    socket.try_write(1, &[0xff, 0xfe]).expect("sent");
    assert!(matches!(socket.end(), Some(1007)), "told");
}

fn pings_are_answered_and_fragments_put_together(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let mut socket = Socket::connect(&api, &register(&api, "a"));
    socket.try_write(9, b"are you there").expect("sent");
    assert_eq!(socket.raw(10), b"are you there");
    socket.try_write_part(1, false, br#"{"type":"heart"#).expect("sent");
    socket.try_write(9, b"between").expect("sent");
    socket.try_write_part(0, true, br#"beat","id":"parts"}"#).expect("sent");
    assert_eq!(socket.expect("heartbeat_ack")["data"]["message_id"], "parts");
    // A goodbye is answered.
    socket.try_write(8, &1000_u16.to_be_bytes()).expect("sent");
    assert_eq!(socket.end(), Some(1000));
}

fn a_slow_reader_is_closed_and_holds_up_nobody(database: &Database) {
    let server = Setup::new(database).arg("--agent-buffer-bytes-max").arg("65536").start();
    let api = server.api();
    let [slow, quick, publisher] = ["slow", "quick", "publisher"].map(|name| register(&api, name));
    let (mut slow, mut quick) = (Socket::connect(&api, &slow), Socket::connect(&api, &quick));
    let mut publisher = Socket::connect(&api, &publisher);
    for reader in [&mut slow, &mut quick] {
        reader.done("subscribe", &json!({"subject": "news"}));
    }
    let text = "x".repeat(8_192);
    // As much as the buffers of both ends take, and the server's own.
    for _ in 0..2_048 {
        publisher.done("publish", &json!({"subject": "news", "payload": text}));
        quick.expect("message");
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        if metrics.contains("signalbox_agent_connections_closed_total{reason=\"too_slow\"} 1") {
            slow.set_patience(Duration::from_secs(30));
            assert_eq!(slow.end(), Some(4429));
            quick.done("status", &json!({"status": "online"}));
            return;
        }
    }
    panic!("a reader that takes nothing is kept");
}

fn an_agent_that_sends_and_never_reads_is_closed(database: &Database) {
    let server = Setup::new(database)
        .arg("--agent-buffer-bytes-max")
        .arg("65536")
        .arg("--heartbeat-interval")
        .arg("300ms")
        .start();
    let api = server.api();
    let mut socket = Socket::connect(&api, &register(&api, "a"));
    // Each is answered by about twice as much, until nothing more of it fits anywhere: then nothing more is read.
    let envelope = json!({"type": "heartbeat", "id": "x".repeat(256)}).to_string();
    while socket.try_write(1, envelope.as_bytes()).is_ok() {}
    eventually("its end", || {
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        let closed = "signalbox_agent_connections_closed_total{reason=\"silent\"} 1";
        if metrics.contains(closed) { Ok(()) } else { Err("it is kept".to_owned()) }
    });
}

fn a_silent_agent_is_asked_for_a_sign_of_life(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("300ms").start();
    let api = server.api();
    let mut socket = Socket::connect(&api, &register(&api, "a"));
    assert_eq!(socket.raw(9), b"", "a ping that acknowledges nothing");
}
