//! TLS on the listener, with certificates that the test makes.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::artcafe::client::Socket;
use crate::artcafe::seed_agent::{self, SeedAgent};
use crate::support::{Connection, Database, KEY, PLATFORM_KEY, Request, Server, Setup, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a certificate for 127.0.0.1 and its key, as `<name>.pem` and `<name>.key`.
fn make_certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(folder.join(format!("{name}.pem")))
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Puts a certificate and its key where the server looks for them.
fn put(folder: &Path, name: &str) {
    for (from, to) in [(format!("{name}.pem"), "tls.pem"), (format!("{name}.key"), "tls.key")] {
        std::fs::copy(folder.join(from), folder.join(to)).expect("copied");
    }
}

fn setup() -> Setup {
    let setup = Setup::new(&Database::sqlite());
    make_certificate(setup.dir(), "one");
    put(setup.dir(), "one");
    let (certificate, key) = (setup.dir().join("tls.pem"), setup.dir().join("tls.key"));
    setup.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key)
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and trusts this certificate alone.
fn connect(server: &Server, trusted: &str) -> io::Result<Stream> {
    let path = server.setup().dir().join(format!("{trusted}.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(server.address())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    connection.complete_io(&mut socket)?;
    Ok(StreamOwned::new(connection, socket))
}

/// The status of an answer over TLS.
fn status(stream: &mut Stream, path: &str) -> io::Result<u16> {
    let (status, _) = exchange(stream, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))?;
    Ok(status)
}

/// What is answered with this status to a body that is posted over TLS.
#[track_caller]
fn posted(stream: &mut Stream, path: &str, key: &str, body: &Value, expected: u16) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, answer) = exchange(stream, &request).expect("an answer");
    assert_eq!(status, expected, "{}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).expect("JSON")
}

/// Writes a request and reads its answer.
fn exchange(stream: &mut Stream, request: &str) -> io::Result<(u16, Vec<u8>)> {
    stream.write_all(request.as_bytes())?;
    let (first, headers) = crate::support::read_head(&mut BufReader::with_capacity(1, &mut *stream))?;
    let length = crate::support::header(&headers, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, body)).ok_or_else(|| io::Error::other(first))
}

#[test]
fn https_is_served_and_plain_http_is_told_so() {
    let server = setup().start();
    assert!(server.stdout().contains("listening on https://127.0.0.1:"), "{}", server.stdout());
    let mut stream = connect(&server, "one").expect("a handshake");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        assert_eq!(status(&mut stream, "/health").expect("an answer"), 200);
    }

    let body = json!({"senderId": "s", "payload": "x".repeat(30_000)});
    for plain in [Request::get("/health"), Request::post("/v1/agents/a/run", &body)] {
        let answer = Connection::open(&server.address()).unwrap().send(&plain).expect("an answer");
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("https://"), "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for garbage in [&b"\x00\x01\x02\x03"[..], &b"\x16\x03\x01\x00\x05hello"[..]] {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(garbage).unwrap();
        let mut rest = Vec::new();
        // Closed, in whatever way.
        let closed = socket.read_to_end(&mut rest);
        assert!(
            closed.as_ref().is_ok_and(|_| rest.len() < 64)
                || closed.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
        );
    }
    assert_eq!(status(&mut stream, "/health").expect("an answer"), 200, "others are served as before");
}

#[test]
fn an_agent_connects_by_wss_and_does_a_command() {
    let server = setup().start();
    let mut http = connect(&server, "one").expect("a handshake");
    let made = posted(&mut http, "/api/v1/agents", KEY, &json!({"name": "remote"}), 201);
    let agent = super::text(&made["agent_id"]);
    let stream = connect(&server, "one").expect("a handshake");
    let (path, header) = (format!("/api/v1/ws/agent/{agent}"), format!("authorization: Bearer {KEY}\r\n"));
    let mut socket = Socket::upgrade_over(stream, &server.address(), &path, &header).expect("an upgrade");
    socket.send("heartbeat", &json!({"status": "online"}));
    socket.expect("heartbeat_ack");

    // More than fits in one record of TLS, there and back.
    let (commands, long) = (format!("/api/v1/agents/{agent}/commands"), "x".repeat(40_000));
    let accepted =
        posted(&mut http, &commands, KEY, &json!({"command": "echo", "args": {"text": long}}), 202);
    let command = socket.expect("command");
    assert_eq!((&command["id"], &command["data"]["args"]["text"]), (&accepted["command_id"], &json!(long)));
    let response =
        json!({"command_id": command["id"], "status": "success", "result": command["data"]["args"]});
    socket.done("response", &response);
    server.terminate();
    assert_eq!(socket.end(), Some(1012), "told that the server stops");
}

#[test]
fn an_agent_in_python_connects_by_wss() {
    let Some(python) = seed_agent::python() else { return };
    let server = setup().env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let (key, public) = seed_agent::key_pair(server.setup().dir(), "ed25519", &["-t", "ed25519"]);
    let mut http = connect(&server, "one").expect("a handshake");
    let tenant = posted(&mut http, "/api/v1/tenants", PLATFORM_KEY, &json!({"name": "guide"}), 201);
    let (tenant, api_key) = (super::text(&tenant["tenant_id"]), super::text(&tenant["api_key"]));
    let made = posted(&mut http, "/api/v1/agents", &api_key, &json!({"name": "reader"}), 201);
    let agent = super::text(&made["agent_id"]);
    let body = json!({"name": "key", "public_key": public, "key_type": "agent", "agent_id": agent});
    posted(&mut http, "/api/v1/ssh-keys", &api_key, &body, 201);
    let (url, trusted) = (format!("https://{}", server.address()), server.setup().dir().join("one.pem"));
    let running = SeedAgent::start_at(&python, &url, (&tenant, &agent), &key, "ed25519", Some(&trusted));
    running.tells("connected");
    let path = format!("/api/v1/agents/{agent}/commands?wait=true");
    let answer = posted(&mut http, &path, &api_key, &json!({"command": "look", "args": {"at": "this"}}), 200);
    assert_eq!(answer["result"]["echo"]["at"], "this", "{answer}");
}

#[test]
fn a_slow_handshake_costs_only_itself() {
    let server = setup().arg("--header-timeout").arg("3s").start();
    let open = || TcpStream::connect(server.address()).unwrap();
    let silent: Vec<TcpStream> = (0..50).map(|_| open()).collect();
    let halting: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = open();
            stream.write_all(b"\x16\x03\x01").unwrap();
            stream
        })
        .collect();
    let mut stream = connect(&server, "one").expect("a handshake beside the slow ones");
    assert_eq!(status(&mut stream, "/health").expect("an answer"), 200);
    for mut slow in silent.into_iter().chain(halting) {
        slow.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = slow.read(&mut [0; 16]);
        let is_closed = match &read {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "{read:?}");
    }
}

#[test]
fn a_certificate_is_read_again_and_a_bad_one_is_not_taken() {
    let server = setup().start();
    let folder = server.setup().dir();
    make_certificate(folder, "two");
    let mut old = connect(&server, "one").expect("a handshake");
    put(folder, "two");
    server.hang_up();
    eventually("the new certificate", || connect(&server, "two").map_err(|error| error.to_string()));
    assert!(connect(&server, "one").is_err(), "the one before is shown no more");
    assert_eq!(status(&mut old, "/health").expect("an answer"), 200, "open connections stay");

    std::fs::write(folder.join("tls.pem"), "no certificate").unwrap();
    server.hang_up();
    eventually("the fault to be told", || {
        let log = server.stderr();
        let is_told = log.contains("could not be read again") && log.contains("tls.pem");
        if is_told { Ok(()) } else { Err(log) }
    });
    assert_eq!(status(&mut connect(&server, "two").expect("as before"), "/health").unwrap(), 200);
}

#[test]
fn what_cannot_be_used_is_named_with_its_file_and_cure() {
    let setup = setup();
    let folder = setup.dir().to_owned();
    make_certificate(&folder, "other");
    let refused = |change: &dyn Fn(), expected: &[&str]| {
        put(&folder, "one");
        change();
        let refused = setup.clone().try_start().err().expect("it does not start");
        for expected in expected {
            assert!(refused.stderr.contains(expected), "{expected} is not in {}", refused.stderr);
        }
    };
    refused(
        &|| std::fs::remove_file(folder.join("tls.pem")).unwrap(),
        &["tls_cert", "tls.pem", "cannot be read"],
    );
    refused(
        &|| std::fs::write(folder.join("tls.pem"), "x").unwrap(),
        &["tls_cert", "holds no certificate", "as PEM"],
    );
    refused(&|| std::fs::write(folder.join("tls.key"), "x").unwrap(), &["tls_key", "tls.key", "private key"]);
    let other = || {
        std::fs::copy(folder.join("other.key"), folder.join("tls.key")).unwrap();
    };
    refused(&other, &["tls_key", "does not go with", "tls.pem"]);
    let one =
        Setup::new(&Database::sqlite()).arg("--tls-cert").arg("x.pem").try_start().err().expect("alone");
    assert!(one.stderr.contains("tls_cert is set without tls_key"), "{}", one.stderr);
}
