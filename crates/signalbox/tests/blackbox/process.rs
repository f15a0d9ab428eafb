//! The process: its data directory, its signals, its configuration, its sub-commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Connection, Database, Request, Server, Setup, Worker, eventually, hmac_base64, items,
    on_each_database,
};

on_each_database![
    a_second_process_on_the_same_data_is_refused,
    sigterm_ends_it_in_order,
    a_drain_tells_what_is_open_and_what_became_of_it,
    it_says_that_it_will_not_be_ready_before_it_stops_listening,
    it_starts_again_on_its_data,
    a_flag_beats_the_environment_beats_the_file,
    a_file_with_an_unknown_key_is_refused,
    a_bad_flag_is_told_with_its_cure,
    every_fault_of_a_configuration_is_told_at_once,
    a_backup_of_a_running_server_serves,
    a_restored_server_has_its_keys_and_signs_as_before,
    data_is_for_its_owner_alone,
    lists_on_the_command_line_are_whole,
    a_job_is_run_from_the_command_line,
];

/// What is under way when the signal comes has this long.
const DRAIN: Duration = Duration::from_secs(30);

fn a_second_process_on_the_same_data_is_refused(database: &Database) {
    let mut server = Server::start(database);
    let Err(refused) = server.setup().clone().try_start() else { panic!("two processes share the data") };
    assert!(!refused.status.success());
    let data_dir = server.data_dir().display().to_string();
    assert!(refused.stderr.contains(&data_dir), "it names the directory: {}", refused.stderr);
    server.get("/health").is(200);
    // The lock goes with the process, however that ended.
    server.kill();
    server.restart();
    server.get("/ready").is(200);
}

fn sigterm_ends_it_in_order(database: &Database) {
    let mut server = Server::start(database);
    let agent = Agent::answering(|_, _| AgentReply::Hang);
    let id = server.register("hangs", &agent, &[]);
    let message = server.run(&id, &json!({}));
    agent.next();
    let stream = server.follow("/v1/opscore/logs", None);
    let mut idle = Connection::open(&server.address()).unwrap();
    assert_eq!(idle.send(&Request::get("/health")).unwrap().status, 200);

    server.terminate();
    let status = server.ended(DRAIN);
    assert_eq!(status.code(), Some(0), "{status}: {}", server.stderr());
    drop(stream);
    server.restart();
    let kept = server.message(&message);
    assert_ne!(kept["status"], "delivered", "{kept}");
}

/// The entry of a server's own log that begins with this message.
fn logged(server: &Server, message: &str) -> Value {
    let log = server.stderr();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_it = |entry: &Value| entry["message"].as_str().is_some_and(|text| text.starts_with(message));
    entries.into_iter().find(is_it).unwrap_or_else(|| panic!("no '{message}' in {log}"))
}

fn a_drain_tells_what_is_open_and_what_became_of_it(database: &Database) {
    let mut server = Setup::new(database).env("SIGNALBOX_SHUTDOWN_TIMEOUT", "1s").start();
    let agent = Agent::answering(|_, _| AgentReply::Hang);
    let id = server.register("hangs", &agent, &[]);
    server.run(&id, &json!({}));
    agent.next();
    let stream = server.follow("/v1/opscore/logs", None);
    let mut slow = Connection::open(&server.address()).unwrap();
    let head = "POST /v1/agents/register HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    slow.write_raw(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).unwrap();
    let figures = |name: &str| {
        let metrics = server.get("/metrics").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("signalbox_{name} ")));
        line.and_then(|figure| figure.parse::<u64>().ok()).unwrap_or_else(|| panic!("{name}: {metrics}"))
    };
    // Itself included.
    eventually("the slow request", || match figures("requests_in_flight") {
        2 => Ok(()),
        count => Err(count.to_string()),
    });
    assert_eq!(figures("streams"), 1);
    server.terminate();
    assert_eq!(server.ended(DRAIN).code(), Some(0), "{}", server.stderr());
    let draining = logged(&server, "draining");
    let counts =
        |entry: &Value| ["requests", "streams", "deliveries", "calls"].map(|name| entry[name].clone());
    assert_eq!(counts(&draining), [1, 1, 1, 0].map(Value::from), "{draining}");
    assert!(draining["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{draining}");
    let cut = logged(&server, "not everything that was open finished in time");
    assert_eq!((&cut["level"], &counts(&cut)[2]), (&json!("WARN"), &json!(1)), "{cut}");
    drop((stream, slow));

    let mut server = Server::start(database);
    server.terminate();
    assert_eq!(server.ended(DRAIN).code(), Some(0), "{}", server.stderr());
    assert_eq!(counts(&logged(&server, "draining")), [0, 0, 0, 0].map(Value::from));
    logged(&server, "drained");
}

fn it_says_that_it_will_not_be_ready_before_it_stops_listening(database: &Database) {
    let mut server = Setup::new(database).env("SIGNALBOX_SHUTDOWN_DELAY", "3s").start();
    server.get("/ready").is(200);
    server.terminate();
    let refused = eventually("a 503 from /ready", || {
        let answer = server.api().try_send(Request::get("/ready")).map_err(|error| error.to_string())?;
        if answer.status == 503 { Ok(answer) } else { Err(answer.shown()) }
    });
    refused.problem(503);
    server.get("/v1/agents").is(200);
    assert_eq!(server.ended(DRAIN).code(), Some(0));
}

fn it_starts_again_on_its_data(database: &Database) {
    let mut server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t"}]});
    let session = server.trigger(&worker.id, &definition, &json!({}));
    let before = server.session_becomes(&session, "completed");
    server.terminate();
    assert!(server.ended(DRAIN).success());
    server.restart();
    assert_eq!(server.session(&session), before);
    assert_eq!(server.get("/v1/opscore/workflows/w").is(200)["id"], "w");
}

/// Each source names another address of the loopback network, so that the address tells which one counted.
fn a_flag_beats_the_environment_beats_the_file(database: &Database) {
    let host = |setup: Setup| {
        let server = setup.start();
        server.address().rsplit_once(':').unwrap().0.to_owned()
    };
    let with_file = || {
        let setup = Setup::new(database).listen(None);
        let file = setup.dir().join("signalbox.toml");
        fs::write(&file, "listen = \"127.0.0.1:0\"\n").unwrap();
        setup.arg("--config").arg(file)
    };
    assert_eq!(host(with_file()), "127.0.0.1");
    assert_eq!(host(with_file().env("SIGNALBOX_LISTEN", "127.0.0.2:0")), "127.0.0.2");
    let all = with_file().env("SIGNALBOX_LISTEN", "127.0.0.2:0").listen(Some("127.0.0.3:0"));
    assert_eq!(host(all), "127.0.0.3");
}

fn a_file_with_an_unknown_key_is_refused(database: &Database) {
    let refused = |text: &str| {
        let setup = Setup::new(database);
        let file = setup.dir().join("signalbox.toml");
        fs::write(&file, text).unwrap();
        match setup.listen(None).arg("--config").arg(file).try_start() {
            Ok(_) => panic!("it serves with {text}"),
            Err(refused) => refused.stderr,
        }
    };
    let stderr = refused("lissten = \"127.0.0.1:0\"\n");
    assert!(stderr.contains("lissten") && stderr.contains("signalbox.toml"), "{stderr}");
    assert!(refused("listen = [").contains("signalbox.toml"));
    assert!(refused("listen = 7\n").contains("listen"));
    let setup = Setup::new(database);
    let missing = setup.dir().join("missing.toml");
    let Err(refused) = setup.arg("--config").arg(&missing).try_start() else {
        panic!("a file was not missed")
    };
    assert!(refused.stderr.contains("missing.toml"), "{}", refused.stderr);
}

fn a_bad_flag_is_told_with_its_cure(database: &Database) {
    let refused = |args: &[&str]| {
        let setup = args.iter().fold(Setup::new(database).listen(None), |setup, arg| setup.arg(*arg));
        match setup.try_start() {
            Ok(_) => panic!("it serves with {args:?}"),
            Err(refused) => refused.stderr,
        }
    };
    assert!(refused(&["--lissten", "127.0.0.1:0"]).contains("--listen"));
    let stderr = refused(&["--listen", "nonsense"]);
    assert!(stderr.contains("nonsense") && stderr.contains("listen"), "{stderr}");
    let stderr = refused(&["--listen", "127.0.0.1:0", "--surfaces", "agentkit,opscroe"]);
    assert!(stderr.contains("opscroe") && stderr.contains("opscore"), "{stderr}");
    let other = Setup::new(database).database(Some("mysql://localhost/x".to_owned())).try_start();
    let stderr = other.err().expect("there is no such database").stderr;
    assert!(stderr.contains("postgres://"), "{stderr}");

    let limits = [
        ("SIGNALBOX_CONNECTIONS_MAX", "many"),
        ("SIGNALBOX_CONNECTIONS_MAX", "-1"),
        ("SIGNALBOX_DELIVERY_ATTEMPTS", "1.5"),
        ("SIGNALBOX_DELIVERY_TIMEOUT", "soon"),
        ("SIGNALBOX_CONNECTIONS_MAX", "0"),
        ("SIGNALBOX_CONNECTIONS_MAX", "18446744073709551615"),
        ("SIGNALBOX_DELIVERIES_MAX", "0"),
        ("SIGNALBOX_DELIVERY_ATTEMPTS", "0"),
        ("SIGNALBOX_AGENT_SYNC_INTERVAL", "0s"),
        ("SIGNALBOX_PUBLIC_URL", "signalbox.example"),
        ("AGENTKIT_API_URL", "nota"),
        ("OPSCORE_WEBHOOK_URL", "http://169.254.1.1/"),
    ];
    for (variable, value) in limits {
        let setup = Setup::new(database).env("OPSCORE_WEBHOOK_SECRET", "s").env(variable, value);
        let Err(refused) = setup.try_start() else {
            panic!("{variable}={value} was taken");
        };
        let told = &refused.stderr;
        let says_why = told.contains(value) || told.contains("URL") || told.contains("link-local");
        let key = variable.trim_start_matches("SIGNALBOX_").to_lowercase();
        assert!(says_why && told.to_lowercase().contains(&key), "{told}");
    }

    let Err(refused) =
        Setup::new(database).arg("--insecure").arg("--require-keys").arg("--surfaces").arg("").try_start()
    else {
        panic!("it serves nothing, to everybody and nobody")
    };
    assert!(refused.stderr.contains("--surfaces"), "{}", refused.stderr);

    let taken = Server::start(database);
    let again = Setup::new(&Database::sqlite()).listen(Some(&taken.address())).try_start();
    let stderr = again.err().expect("the port is taken").stderr;
    assert!(stderr.contains(&taken.address()), "{stderr}");
}

/// A slip in one variable must not hide behind a slip in another, nor be passed over in silence.
fn every_fault_of_a_configuration_is_told_at_once(database: &Database) {
    let setup = Setup::new(database).listen(None);
    let file = setup.dir().join("signalbox.toml");
    fs::write(&file, "connections_max = 10\nbody_bytes = 5\ntask_timeout = \"soon\"\n").unwrap();
    let refused = setup
        .arg("--listen")
        .arg("localhost")
        .env("OPSCORE_API_KEY", "short-key")
        .env("SIGNALBOX_TASK_TIMOUT", "1m")
        .env("SIGNALBOX_STORE_TIMEOUT", "0s")
        .try_start();
    let Err(refused) = refused else { panic!("it serves whatever is configured") };
    assert_eq!(refused.status.code(), Some(2));
    for expected in [
        "signalbox.toml:2: unknown key 'body_bytes'",
        "signalbox.toml:3: task_timeout",
        "flag --listen",
        "variable OPSCORE_API_KEY",
        "variable SIGNALBOX_TASK_TIMOUT: there is no such setting; did you mean 'SIGNALBOX_TASK_TIMEOUT'?",
        "variable SIGNALBOX_STORE_TIMEOUT",
    ] {
        assert!(refused.stderr.contains(expected), "{expected} is not in {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("short-key"), "a secret is not shown: {}", refused.stderr);

    let server = Setup::new(database)
        .listen(Some("localhost:0"))
        .env("SIGNALBOX_TASK_TIMEOUT", "1h30m")
        .env("SIGNALBOX_STORE_TIMEOUT", "900")
        .env("SIGNALBOX_SERVICE_HOST", "10.0.0.1")
        .start();
    server.get("/health").is(200);
}

fn a_backup_of_a_running_server_serves(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("kept", "http://127.0.0.1:9/run", &["read"]);
    for n in 0..20 {
        server.report(&id, "idle", &json!({"n": n}));
    }
    let folder = server.setup().dir().join("backup");
    let output = backup(&server, &folder, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if database.url().is_some() {
        assert!(!output.status.success() && stderr.contains("--without-database"), "{stderr}");
        return;
    }
    assert!(output.status.success(), "{stderr}");
    server.report(&id, "busy", &json!({"after": "the backup"}));

    let copy = restored(&Setup::new(&Database::sqlite()), &folder, &[]).start();
    assert_eq!(copy.get(&format!("/v1/agents/{id}")).is(200)["data"]["agentName"], "kept");
    assert_eq!(copy.get(&format!("/v1/opscore/agent/{id}/state")).is(200)["details"]["n"], 19);
    let history = copy.get(&format!("/v1/opscore/agent/{id}/history")).is(200);
    assert_eq!(items(&history).len(), 20);
    copy.report(&id, "idle", &Value::Null);

    let data_dir = copy.data_dir();
    // The server that was restored runs, and so its data directory is in use.
    for (copies, target, reason) in [("backup", &folder, "not empty"), ("restore", &data_dir, "in use")] {
        let mut command = server.setup().bare_command();
        command.arg(copies).arg(&folder).arg("--data-dir").arg(&data_dir);
        let output = command.output().expect("the binary starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{copies} writes over what is there");
        assert!(stderr.contains(&target.display().to_string()) && stderr.contains(reason), "{stderr}");
    }
}

/// Keys and secrets come back too: who called before calls on, and who verified webhooks verifies them on, with the
/// rules of Standard Webhooks.
fn a_restored_server_has_its_keys_and_signs_as_before(database: &Database) {
    let mut server = Setup::new(database).without_key().start();
    let data_dir = server.data_dir();
    let read = |name: &str| fs::read_to_string(data_dir.join(name)).expect(name).trim().to_owned();
    let [admin, platform, secret] = ["admin.key", "platform.key", "webhook.secret"].map(read);
    let folder = server.setup().dir().join("backup");
    let args: &[&str] = if database.url().is_some() { &["--without-database"] } else { &[] };
    let output = backup(&server, &folder, args);
    assert!(output.status.success(), "{output:?}");
    server.kill();
    fs::remove_dir_all(&data_dir).unwrap();

    let restored = restored(server.setup(), &folder, args).start();
    let api = restored.with_key(&admin);
    api.get("/v1/opscore/sessions").is(200);
    restored.with_key(&platform).get("/api/v1/tenants").is(200);
    let receiver = Agent::start();
    let workflow = json!({"id": "w", "name": "W", "tasks": [], "notify": {"url": receiver.url()}});
    api.post("/v1/opscore/workflows", &workflow).is(201);
    api.post("/v1/opscore/workflows/w/trigger", &json!({})).is(202);
    let webhook = receiver.next();
    let encoded = secret.strip_prefix("whsec_").expect("the form of Standard Webhooks");
    let key = STANDARD.decode(encoded).expect("base64");
    let header = |name: &str| webhook.header(name).to_owned();
    let mut signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&webhook.body);
    assert_eq!(header("webhook-signature"), format!("v1,{}", hmac_base64(&key, &signed)));
}

fn backup(server: &Server, target: &Path, args: &[&str]) -> Output {
    let mut command = server.setup().bare_command();
    command.arg("backup").arg(target).args(args).env("SIGNALBOX_DATA_DIR", server.data_dir());
    command.output().expect("the binary starts")
}

/// The same setup on a new data directory that was restored from a backup.
fn restored(setup: &Setup, source: &Path, args: &[&str]) -> Setup {
    let data_dir = setup.dir().join("restored");
    let mut command = setup.bare_command();
    command.arg("restore").arg(source).args(args).arg("--data-dir").arg(&data_dir);
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{output:?}");
    setup.clone().data_dir(Some(data_dir))
}

fn data_is_for_its_owner_alone(database: &Database) {
    let server = Server::start(database);
    server.register_at("a", "http://127.0.0.1:9/run", &[]);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&server.data_dir()), 0o700);
    if database.url().is_some() {
        return;
    }
    let folder = server.setup().dir().join("backup");
    assert!(backup(&server, &folder, &[]).status.success());
    for name in ["signalbox.db", "signalbox.db-wal", "signalbox.db-shm", "signalbox.db-redo"] {
        assert_eq!(mode(&server.data_dir().join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

fn lists_on_the_command_line_are_whole(database: &Database) {
    let server = Server::start(database);
    let mut connection = Connection::open(&server.address()).unwrap();
    for number in 0..1_001 {
        let agent = json!({"agentName": format!("agent {number}"), "version": "1", "capabilities": []});
        let request = server.authorized(Request::post("/v1/agents", &agent));
        assert_eq!(connection.send(&request).unwrap().status, 201);
    }
    let ask = |words: &[&str]| {
        let mut command = server.setup().bare_command();
        command.args(words).env("SIGNALBOX_URL", server.url("")).output().expect("the binary starts")
    };
    let listed = ask(&["agents", "list", "-o", "jsonl"]);
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 1_001);

    let refusing = Agent::answering(|_, _| AgentReply::Status(422));
    let agent = server.register("refuses", &refusing, &[]);
    let dead = server.run(&agent, &json!({}));
    server.message_becomes(&dead, "dead", crate::support::PATIENCE);
    let redriven = ask(&["dead-letters", "redrive", &dead]);
    assert!(redriven.status.success() && redriven.stdout.is_empty(), "{redriven:?}");
    assert!(String::from_utf8_lossy(&redriven.stderr).contains(&dead), "it says what was done");
}

#[test]
fn what_a_later_server_tells_is_printed_as_it_is() {
    let session =
        json!({"sessionId": "ses_1", "status": "hibernating", "invented": {"later": 1.0}, "tasks": null});
    let (told, page) = (session.clone(), json!({"data": [session], "next_cursor": null}));
    let later = Agent::answering(move |asked, _| {
        AgentReply::Json(if asked.path.contains("/ses_1") { told.clone() } else { page.clone() })
    });
    let setup = Setup::new(&Database::sqlite());
    let ask = |words: &[&str]| {
        let mut command = setup.bare_command();
        let output = command.args(words).env("SIGNALBOX_URL", later.url()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for group in ["sessions", "dead-letters", "workflows", "agents"] {
        assert_eq!(ask(&[group, "list", "-o", "jsonl"]), session.to_string(), "{group}");
        let array: Value = serde_json::from_str(&ask(&[group, "list", "-o", "json"])).unwrap();
        assert_eq!(array, json!([session]), "{group}");
    }
    let shown: Value = serde_json::from_str(&ask(&["sessions", "show", "ses_1", "-o", "json"])).unwrap();
    assert_eq!(shown, session);
}

fn a_job_is_run_from_the_command_line(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let worker = server.register("worker", &agent, &["work"]);
    let ask = |words: &[&str]| {
        let mut command = server.setup().bare_command();
        let output = command.args(words).env("SIGNALBOX_URL", server.url("")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {told}");
        (String::from_utf8_lossy(&output.stdout).trim().to_owned(), told)
    };
    let file = server.setup().dir().join("pay.yaml");
    let text = "id: pay\nname: Pay\ntasks:\n  - {taskId: ask, approve: {what: 'Pay ${input.n}?'}}\n  \
                - {taskId: pay, agentCapability: work, parameters: {n: '${input.n}'}}\n  \
                - {taskId: receipt, wait: {signal: received}}\n";
    fs::write(&file, text).unwrap();
    ask(&["workflows", "apply", file.to_str().unwrap()]);

    let (session, _) = ask(&["workflows", "trigger", "pay", r#"{"n": 5}"#]);
    ask(&["sessions", "pause", &session]);
    ask(&["sessions", "resume", &session]);
    let shown: Value = serde_json::from_str(&ask(&["sessions", "show", &session, "-o", "json"]).0).unwrap();
    assert_eq!((&shown["tasks"][0]["status"], &shown["input"]["n"]), (&json!("waiting"), &json!(5)));
    let mut unseen = server.setup().bare_command();
    let unseen = unseen.args(["sessions", "approve", &session, "ask", "--digest", &"0".repeat(64)]);
    assert!(!unseen.env("SIGNALBOX_URL", server.url("")).output().unwrap().status.success());
    let (seen, _) = ask(&["sessions", "approve", &session, "ask", "-o", "json"]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["what"], &seen["parameters"]), (&json!("Pay 5?"), &json!({"pay": {"n": 5}})));
    server.complete(&worker, &agent.next(), &json!("x".repeat(20_000)));
    ask(&["sessions", "signal", &session, "received", r#"{"no": 7}"#]);
    server.session_becomes(&session, "completed");
    let (events, _) = ask(&["events", &session, "--follow", "-o", "jsonl"]);
    assert!(events.lines().last().is_some_and(|last| last.contains("session.completed")), "{events}");
    assert!(!ask(&["sessions", "show", &session, "-o", "json"]).0.contains("xxx"));
    assert!(ask(&["sessions", "show", &session, "--whole", "-o", "json"]).0.contains("xxx"));
    let listed =
        |words: &[&str]| ask(&[&["sessions", "list", "-o", "jsonl"], words].concat()).0.lines().count();
    assert_eq!(listed(&["--workflow", "pay", "--status", "completed"]), 1);
    assert_eq!(listed(&["--status", "failed,cancelled"]), 0);

    let (again, _) = ask(&["sessions", "rerun", &session]);
    ask(&["sessions", "refuse", &again, "ask", "--comment", "too much"]);
    assert!(server.session_becomes(&again, "failed")["error"].as_str().unwrap().contains("too much"));
    ask(&["workflows", "delete", "pay"]);
    let mut wrong = server.setup().bare_command();
    let wrong = wrong.args(["workflows", "trigger", "pay", "{n: 5}"]).output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("not JSON"), "{wrong:?}");
}
