//! Several nodes over one PostgreSQL and one NATS: what one does the others see at once, and they get over the loss of the
//! bus and of each other.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::artcafe::client::{Socket, register};
use crate::support::{
    AFTER_A_CRASH, Agent, AgentReply, Database, Deployment, NatsServer, PATIENCE, Server, Setup, Worker,
    bus_warning, eventually, now, on_the_bus, within,
};

/// How soon something has to cross nodes to have come by the bus and not by a poll, which comes every second or later.
const AT_ONCE: Duration = Duration::from_millis(250);
/// Rounds of which most have to be that quick: polls alone would make a quarter of them so.
const ROUNDS: usize = 16;

/// Carries out rounds and fails unless most of them took no time.
#[track_caller]
fn mostly_at_once(what: &str, mut round: impl FnMut(usize)) {
    let mut took = Vec::new();
    for number in 0..ROUNDS {
        let began = now().instant;
        round(number);
        took.push(began.elapsed());
    }
    let quick = took.iter().filter(|took| **took < AT_ONCE).count();
    assert!(quick >= ROUNDS * 3 / 4, "{what}: {took:?}");
}

/// Lets one node log something that a stream of the other shows.
fn log_across(what: &str, writer: &Server, reader: &Server) {
    let agent = writer.register_at(what, "http://127.0.0.1:9/run", &[]);
    let stream = reader.follow(&format!("/v1/opscore/logs?agent={agent}"), None);
    mostly_at_once(what, |number| {
        writer.report(&agent, "idle", &json!({"n": number}));
        stream.until(|event| event.data.to_string().contains(&format!("\"n\":{number}")));
    });
}

#[test]
fn a_stream_on_one_node_shows_at_once_what_happens_on_another() {
    let Some(deployment) = Deployment::new("a stream across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    log_across("one to two", &one, &two);
    log_across("two to one", &two, &one);
}

#[test]
fn work_that_one_node_has_no_room_for_is_done_by_another_at_once() {
    let Some(deployment) = Deployment::new("due work across nodes") else { return };
    let full = deployment.setup().arg("--deliveries-max").arg("1").start();
    on_the_bus(&full);
    let silent = Agent::first([AgentReply::Hang]);
    let holds = full.register("holds the only slot", &silent, &[]);
    full.run(&holds, &json!({}));
    silent.next();
    let other = deployment.node();
    let agent = Agent::start();
    let id = full.register("receiver", &agent, &[]);
    mostly_at_once("deliveries", |number| {
        let message = full.run(&id, &json!({"n": number}));
        assert_eq!(agent.next().header("x-message-id"), message);
    });
    other.get("/ready").is(200);
}

#[test]
fn a_revoked_key_is_refused_on_every_node_within_a_second() {
    let Some(deployment) = Deployment::new("a revoked key across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    for _ in 0..3 {
        let made = one.post("/v1/keys", &json!({"name": "short-lived", "scope": "read"})).is(201);
        let (id, key) = (made["keyId"].as_str().unwrap(), made["key"].as_str().unwrap());
        let there = two.with_key(key);
        // From here on the other node remembers it, for longer than it may now.
        there.get("/v1/opscore/sessions").is(200);
        one.delete(&format!("/v1/keys/{id}")).succeeded();
        within(Duration::from_secs(2), "the key to be refused", || {
            let answer = there.get("/v1/opscore/sessions");
            if answer.status == 401 { Ok(()) } else { Err(answer.shown()) }
        });
    }
}

/// A session that is triggered on one node and whose task is reported to another.
#[track_caller]
fn runs_a_session(on: &Server, worker: &Worker, id: &str) {
    let definition = json!({"id": id, "name": id, "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let session = on.trigger(&worker.id, &definition, &json!({}));
    on.session_becomes(&session, "completed");
}

/// Each agent is the first choice of one node: together they use all, and each task goes to one.
#[test]
fn nodes_that_start_sessions_at_the_same_time_share_the_agents() {
    const SESSIONS: usize = 40;
    let Some(deployment) = Deployment::new("agents are shared") else { return };
    let nodes = [deployment.node(), deployment.node()];
    let workers: Vec<Worker> =
        (0..8).map(|n| Worker::start(&nodes[n % 2].api(), &format!("worker {n}"), &["share"])).collect();
    let definition =
        json!({"id": "shared", "name": "shared", "tasks": [{"taskId": "a", "agentCapability": "share"}]});
    let sessions: Vec<(usize, String)> = std::thread::scope(|scope| {
        let start = |n: usize| (n % 2, nodes[n % 2].trigger(&workers[0].id, &definition, &json!({})));
        let starts: Vec<_> = (0..SESSIONS).map(|n| scope.spawn(move || start(n))).collect();
        starts.into_iter().map(|start| start.join().expect("started")).collect()
    });
    for (node, session) in &sessions {
        nodes[1 - node].session_becomes(session, "completed");
    }
    let each: Vec<usize> = workers.iter().map(|worker| worker.received().len()).collect();
    assert!(each.iter().all(|count| *count > 0), "{each:?}");
    let all = workers.iter().flat_map(Worker::received);
    let tasks: HashSet<String> = all.map(|delivery| delivery.header("x-message-id").to_owned()).collect();
    assert_eq!(tasks.len(), SESSIONS, "{each:?}");
}

#[test]
fn nats_may_go_away_and_come_back() {
    let Some((mut nats, deployment)) = Deployment::with_own_nats("NATS goes away") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let worker = Worker::start(&two.api(), "worker", &[]);
    runs_a_session(&one, &worker, "before");
    for round in 0..2 {
        nats.kill();
        for node in [&one, &two] {
            let warning =
                eventually("the node to say that its bus is away", || bus_warning(node).ok_or(String::new()));
            assert!(warning.contains("not ready") && warning.contains(&nats.authority()), "{warning}");
        }
        runs_a_session(&one, &worker, &format!("meanwhile-{round}"));
        // One that starts now works too, and finds the bus when it comes.
        let late = deployment.setup().start();
        runs_a_session(&late, &worker, &format!("late-{round}"));
        nats.restart();
        for node in [&one, &two, &late] {
            on_the_bus(node);
        }
        log_across(&format!("after {round}"), &late, &two);
        runs_a_session(&two, &worker, &format!("after-{round}"));
    }
}

#[test]
fn a_stream_that_was_open_while_nats_was_away_misses_nothing() {
    let Some((mut nats, deployment)) = Deployment::with_own_nats("a stream over an outage of NATS") else {
        return;
    };
    let [one, two] = [deployment.node(), deployment.node()];
    let agent = one.register_at("agent", "http://127.0.0.1:9/run", &[]);
    let stream = two.follow(&format!("/v1/opscore/logs?agent={agent}"), None);
    for number in 0..30 {
        match number {
            10 => nats.kill(),
            20 => nats.restart(),
            _ => {}
        }
        one.report(&agent, "idle", &json!({"n": number}));
    }
    let mut expected = 0;
    while expected < 30 {
        let text = stream.next().data.to_string();
        if text.contains("\"n\":") {
            assert!(
                text.contains(&format!("\"n\":{expected}}}")) || text.contains(&format!("\"n\":{expected},")),
                "{text}"
            );
            expected += 1;
        }
    }
}

#[test]
fn what_a_killed_node_held_is_done_by_another() {
    let Some(deployment) = Deployment::new("a node is killed") else { return };
    // Leases last as long as what they are for.
    let node =
        || deployment.setup().arg("--delivery-timeout").arg("1s").arg("--tool-timeout").arg("1s").start();
    let (mut dies, lives) = (node(), node());
    for node in [&dies, &lives] {
        on_the_bus(node);
    }
    let connected = register(&dies.api(), "connected");
    let _socket = Socket::connect(&dies.api(), &connected);
    let silent = Agent::first([AgentReply::Hang]);
    let id = dies.register("silent at first", &silent, &[]);
    let message = dies.run(&id, &json!({}));
    silent.next();
    dies.kill();
    let again = silent.next_within(AFTER_A_CRASH);
    assert_eq!(again.header("x-message-id"), message);
    lives.message_becomes(&message, "delivered", PATIENCE);
    // What is new does not wait for it.
    let worker = Worker::start(&lives.api(), "worker", &[]);
    runs_a_session(&lives, &worker, "goes-on");
    eventually("the survivor to say that a node is gone", || {
        let log = lives.stderr();
        if log.contains("a node is gone") { Ok(()) } else { Err(log) }
    });
    eventually("the agent that was connected to it to be offline", || {
        let agent = lives.get(&format!("/api/v1/agents/{connected}")).is(200);
        if agent["status"] == "offline" { Ok(()) } else { Err(agent.to_string()) }
    });
}

#[test]
fn a_node_without_its_bus_starts_and_works() {
    let database = Database::sqlite();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nowhere.local_addr().expect("bound");
    drop(nowhere);
    let url = format!("nats://user:s3cret-of-nats@{address}");
    let node = Setup::new(&database).env("SIGNALBOX_BUS", url).env("SIGNALBOX_LOG", "debug").start();
    let agent = Agent::start();
    let id = node.register("agent", &agent, &[]);
    node.run(&id, &json!({}));
    agent.next();
    let warning = bus_warning(&node).expect("nobody is there");
    assert!(warning.contains(&address.to_string()), "{warning}");
    eventually("the log to say what is amiss", || {
        let log = node.stderr();
        if log.contains("the bus cannot be reached") { Ok(()) } else { Err(log) }
    });
    for said in [node.stderr(), node.stdout(), warning, node.get("/metrics").text().to_owned()] {
        assert!(!said.contains("s3cret-of-nats"), "{said}");
    }
}

#[test]
fn nats_is_spoken_to_over_tls() {
    if std::env::var_os("SIGNALBOX_TEST_NATS").is_none() {
        return;
    }
    let database = Database::sqlite();
    let setup = Setup::new(&database);
    let (certificate, key) = (setup.dir().join("certificate.pem"), setup.dir().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=nats", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let nats = NatsServer::start(&["--tls", "--tlscert", certificate, "--tlskey", key]).expect("nats-server");
    let url = format!("tls://{}", nats.authority());
    let trusts = setup.clone().arg("--bus").arg(&url).env("SSL_CERT_FILE", certificate).start();
    on_the_bus(&trusts);
    drop(trusts);
    let distrusts = setup.arg("--bus").arg(&url).start();
    eventually("the log to say that it is not trusted", || {
        let log = distrusts.stderr();
        if log.contains("the bus cannot be reached") { Ok(()) } else { Err(log) }
    });
    assert!(bus_warning(&distrusts).is_some());
}

#[test]
fn a_misspelt_bus_is_refused_with_the_cure_and_without_its_password() {
    let database = Database::sqlite();
    for (flag, value, said) in [
        ("--bus", "nats://user:s3cret-of-nats@host:port", "nats://user:password@nats.example:4222"),
        ("--bus", "natz://user:s3cret-of-nats@host", "names no bus"),
        ("--bus", "nats://host:4222/s3cret-of-nats", "give the server's address alone"),
        ("--bus-subject-prefix", "a b", "parts of letters, digits"),
    ] {
        let Err(refused) = Setup::new(&database).arg(flag).arg(value).try_start() else {
            panic!("{value} was taken")
        };
        assert!(!refused.status.success());
        assert!(refused.stderr.contains(flag) && refused.stderr.contains(said), "{}", refused.stderr);
        assert!(!refused.stderr.contains("s3cret-of-nats"), "{}", refused.stderr);
    }
}
