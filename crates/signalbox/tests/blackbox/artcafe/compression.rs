//! Compressed messages (`permessage-deflate`) over an agent's WebSocket, both ways, and what becomes of those that unpack to
//! more than a message may have.

use serde_json::{Value, json};

use super::client::{COMPRESSED, Socket, register};
use super::deflate::{deflated, deflated_times};
use super::seed_agent::{SeedAgent, Tenant, key_pair, python};
use crate::support::{Api, Database, KEY, PLATFORM_KEY, Proxy, Server, Setup, eventually};

const OFFER: &str = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";

fn compressing() -> Setup {
    Setup::new(&Database::sqlite()).arg("--websocket-compression")
}

/// Connects an agent of its own that offers compression.
fn connect(api: &Api, name: &str) -> Socket {
    let path = format!("/api/v1/ws/agent/{}?token={KEY}", register(api, name));
    Socket::try_upgrade(api, &path, OFFER).expect("an upgrade")
}

/// A heartbeat of exactly so many bytes, which its answer names.
fn heartbeat(id: &str, bytes: usize) -> String {
    let empty = json!({"type": "heartbeat", "id": id, "data": {"x": ""}}).to_string();
    empty.replace(r#""x":"""#, &format!(r#""x":"{}""#, "y".repeat(bytes - empty.len())))
}

#[test]
fn compression_is_agreed_on_where_it_is_turned_on() {
    let server = Server::start(&Database::sqlite());
    let mut plain = connect(&server.api(), "plain");
    assert!(!plain.head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{}", plain.head);
    plain.done("status", &json!({"status": "online"}));
    assert!(plain.compressed.iter().all(Option::is_none), "{:?}", plain.compressed);
    // What nobody agreed on is not the protocol.
    plain.send_compressed(r#"{"type":"heartbeat"}"#, 1_000);
    assert_eq!(plain.end(), Some(1002));
    let server = compressing().start();
    let agreed = connect(&server.api(), "compressed");
    let head = agreed.head.to_ascii_lowercase();
    for term in ["permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"] {
        assert!(head.contains(term), "{head}");
    }
    // Who offers nothing gets nothing.
    let mut other = Socket::connect(&server.api(), &register(&server.api(), "offers nothing"));
    other.done("status", &json!({"status": "online"}));
    assert!(other.compressed.iter().all(Option::is_none), "{:?}", other.compressed);
}

#[test]
fn compressed_messages_are_understood_and_compressed_ones_are_sent() {
    let server = compressing().start();
    let api = server.api();
    let mut socket = connect(&api, "a");
    let is_answered = |socket: &mut Socket, id: &str| {
        assert_eq!(socket.expect("heartbeat_ack")["data"]["message_id"], id);
    };
    // Whole, twice the same as nothing is remembered, in frames with a ping between two, and not compressed.
    for _ in 0..2 {
        socket.send_compressed(&heartbeat("whole", 2_000), usize::MAX);
        is_answered(&mut socket, "whole");
    }
    let packed = deflated(heartbeat("parts", 2_000).as_bytes());
    let (first, rest) = packed.split_at(packed.len() / 2);
    socket.try_write_part(COMPRESSED | 1, false, first).expect("sent");
    socket.try_write(9, b"between").expect("sent");
    socket.try_write_part(0, true, rest).expect("sent");
    is_answered(&mut socket, "parts");
    socket.send_compressed(&heartbeat("many parts", 2_000), 3);
    is_answered(&mut socket, "many parts");
    socket.send_text(&heartbeat("plain", 2_000));
    is_answered(&mut socket, "plain");

    let text = "the figures of the day ".repeat(1_000);
    socket.done("subscribe", &json!({"subject": "news"}));
    let mut publisher = connect(&api, "publisher");
    for _ in 0..2 {
        publisher.done("publish", &json!({"subject": "news", "payload": text}));
        assert_eq!(socket.payloads(1), [json!(text)]);
        let last = socket.compressed.last().copied().flatten();
        assert!(last.is_some_and(|bytes| bytes < text.len() / 10), "{last:?} bytes for {}", text.len());
    }
    assert!(socket.compressed.iter().all(Option::is_some), "each is compressed: {:?}", socket.compressed);
}

#[test]
fn what_unpacks_to_more_than_a_message_may_have_is_refused() {
    const BYTES_MAX: usize = 65_536;
    let server = compressing().arg("--agent-message-bytes-max").arg(BYTES_MAX.to_string()).start();
    let api = server.api();
    let mut socket = connect(&api, "as much as may be");
    for frame_bytes_max in [usize::MAX, 16] {
        let id = format!("in frames of {frame_bytes_max}");
        socket.send_compressed(&heartbeat(&id, BYTES_MAX), frame_bytes_max);
        assert_eq!(socket.expect("heartbeat_ack")["data"]["message_id"], *id);
    }
    socket.send_compressed(&heartbeat("one too many", BYTES_MAX + 1), usize::MAX);
    assert_eq!(socket.end(), Some(1009));
    // In frames, each of which unpacks to less than may be.
    let mut socket = connect(&api, "in frames");
    let packed = deflated(heartbeat("in frames", 4 * BYTES_MAX).as_bytes());
    let _ = socket.try_write_deflated(&packed, packed.len() / 8);
    assert_eq!(socket.end(), Some(1009));
    let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
    assert!(metrics.contains("closed_total{reason=\"too_big\"} 2"), "{metrics}");
}

/// The most memory that the server ever held, in bytes.
fn most_resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}

#[test]
fn a_message_that_unpacks_a_thousandfold_takes_no_memory() {
    let server = compressing().start();
    let api = server.api();
    let mut socket = connect(&api, "a");
    socket.done("status", &json!({"status": "online"}));
    let before = most_resident(&server);
    // Less than a message may have on the wire, and nearly a gigabyte of zeros.
    let bomb = deflated_times(&vec![0; 1 << 20], 900);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    for frame_bytes_max in [usize::MAX, 1 << 16, 1 << 10] {
        let mut socket = connect(&api, &format!("in frames of {frame_bytes_max}"));
        let _ = socket.try_write_deflated(&bomb, frame_bytes_max);
        assert_eq!(socket.end(), Some(1009));
    }
    let more = most_resident(&server).saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes more");
    socket.done("status", &json!({"status": "online"}));
}

#[test]
fn a_compressed_message_that_cannot_be_unpacked_ends_the_connection() {
    let server = compressing().start();
    let api = server.api();
    let mut whole = deflated(heartbeat("damaged", 2_000).as_bytes());
    whole[0] = 0x07;
    for (name, packed) in [("damaged", &*whole), ("noise", &[0xff; 40])] {
        let mut socket = connect(&api, name);
        socket.done("status", &json!({"status": "online"}));
        socket.try_write_deflated(packed, usize::MAX).expect("sent");
        assert_eq!(socket.end(), Some(1011), "{name}");
    }
    // What unpacks to no UTF-8 is no text.
    let mut socket = connect(&api, "no text");
    socket.try_write_deflated(&deflated(&[0xff, 0xfe]), usize::MAX).expect("sent");
    assert_eq!(socket.end(), Some(1007));
    let closed = |reason: &str| format!("signalbox_agent_connections_closed_total{{reason=\"{reason}\"}}");
    eventually("the ends to be counted", || {
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        let is_counted = [closed("protocol") + " 2", closed("not_utf8") + " 1"];
        if is_counted.iter().all(|line| metrics.contains(line)) { Ok(()) } else { Err(metrics) }
    });
}

/// The first bytes and the payloads' lengths of the frames with messages, in what went one way over a WebSocket.
fn messages(seen: &[u8]) -> Vec<(u8, usize)> {
    let mut rest = seen.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |at| &seen[at + 4..]);
    let mut found = Vec::new();
    while let [first, second, after @ ..] = rest {
        let (length, after) = match (second & 0x7f, after) {
            (126, [high, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
            (126 | 127, _) => panic!("a frame of these tests is smaller"),
            (small, after) => (usize::from(small), after),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if first & 0x0f < 8 {
            found.push((*first, length));
        }
        rest = after.get(mask + length..).unwrap_or_default();
    }
    found
}

#[test]
fn a_foreign_client_compresses_and_is_sent_compressed_messages() {
    let Some(python) = python() else { return };
    let server = compressing().env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let (key, public) = key_pair(server.setup().dir(), "ed25519", &["-t", "ed25519"]);
    let tenant = Tenant::with_agent(&server, &public);
    let proxy = Proxy::start(Some(tenant.api.address()));
    proxy.look();
    let url = format!("http://{}", proxy.address());
    let agent = SeedAgent::start_at(&python, &url, (&tenant.id, &tenant.agent), &key, "ed25519", None);
    let connected = agent.tells("connected");
    assert_eq!(connected["extensions"], json!(["permessage-deflate"]));
    let text = "a page of the report ".repeat(500);
    let path = format!("/api/v1/agents/{}/commands?wait=true", tenant.agent);
    for number in 0..3 {
        let args = json!({"number": number, "page": text});
        let command = json!({"command": "look", "args": args, "timeout": 30});
        let answer: Value = tenant.api.post(&path, &command).is(200);
        assert_eq!((&answer["status"], &answer["result"]["echo"]), (&json!("success"), &args));
    }
    let is_upgrade = |bytes: &[u8]| bytes.starts_with(b"GET /api/v1/ws/agent/");
    let seen = proxy.seen().into_iter().find(|seen| is_upgrade(&seen.of_client()));
    let seen = seen.expect("the WebSocket");
    for (side, bytes) in [("the client", seen.of_client()), ("the server", seen.of_server())] {
        let messages = messages(&bytes);
        assert!(messages.len() >= 3, "{side}: {messages:?}");
        assert!(messages.iter().all(|(first, _)| first & COMPRESSED != 0), "{side}: {messages:?}");
        let length: usize = messages.iter().map(|(_, length)| length).sum();
        assert!(length < text.len(), "{side} sent {length} bytes");
    }
}
