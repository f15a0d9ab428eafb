//! `signalbox agents`, `commands`, `dead-letters` and `logs`.

use serde_json::json;

use super::{Cli, heads, row};
use crate::support::{Agent, AgentReply, PATIENCE, eventually, task_of};

#[test]
fn agents_are_listed_shown_and_put_out_of_service() {
    let cli = Cli::start();
    assert_eq!(cli.said("agents list"), "there is no agent\n");
    assert_eq!(cli.json("agents list"), json!([]));
    let id = cli.api().register_at("reader-1", "http://127.0.0.1:9/run", &["read", "count"]);
    cli.api().register_at("writer", "http://127.0.0.1:9/run", &["write"]);
    cli.api().report(&id, "idle", &json!({"load": 1}));

    let table = cli.ok("agents list");
    assert_eq!(heads(&table), ["NAME", "ID", "STATUS", "LAST REPORT", "CAPABILITIES"]);
    assert!(
        row(&table, "reader-1").contains(&id) && row(&table, "reader-1").contains("read, count"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3);
    let wide = cli.ok("agents list --output wide --capability read");
    assert!(
        heads(&wide).contains(&"ENDPOINT") && row(&wide, &id).contains("http://127.0.0.1:9/run"),
        "{wide}"
    );
    assert_eq!(cli.json("agents list --state idle")[0]["agentId"], json!(id));
    assert_eq!(cli.json("agents list --limit 1").as_array().unwrap().len(), 1);
    assert!(cli.said("agents list --limit 1").contains("there are more than 1"), "says that it is cut");
    let lines = cli.ok("agents list -o jsonl");
    assert_eq!(lines.lines().count(), 2);
    assert!(cli.ok("agents list -o yaml").starts_with("- "), "a list");

    let shown = cli.ok("agents show reader-1");
    assert!(row(&shown, "agentId").ends_with(&id), "{shown}");
    assert_eq!(cli.json(&format!("agents show {id}"))["agentName"], "reader-1");
    assert!(cli.ok("agents show reader-1 -o yaml").contains("agentName: reader-1"));
    assert_eq!(cli.json("agents state reader-1")["details"]["load"], 1);
    assert!(cli.ok("agents state reader-1").contains("idle"));
    let history = cli.ok("agents history reader-1");
    assert!(
        heads(&history).contains(&"DETAILS") && row(&history, "idle").contains(r#"{"load":1}"#),
        "{history}"
    );
    assert_eq!(cli.json("agents history reader-1")[0]["state"], "idle");

    assert!(cli.said("agents drain reader-1").contains("agent reader-1 gets no new task"));
    let drained = cli.ok("agents list");
    assert_eq!(
        row(&drained, "reader-1").split_whitespace().skip(2).take(2).collect::<Vec<_>>(),
        ["draining", "idle,"],
        "{drained}"
    );
    assert!(cli.ok("agents show reader-1").starts_with("status "), "how it stands comes first");
    assert!(row(&cli.ok("agents show reader-1"), "status").ends_with("draining"));
    assert!(cli.said("agents undrain reader-1").contains("agent reader-1 is back in service"));
    assert_eq!(cli.json("agents show reader-1")["draining"], false);
    assert_eq!(cli.json("agents drain reader-1")["status"], "success");
    assert!(cli.said("agents remove writer").contains("agent writer is removed"));
    assert_eq!(cli.json("agents list").as_array().unwrap().len(), 1);
    let (told, code) = cli.refused("agents show nobody");
    assert_eq!(
        (told.as_str(), code),
        ("error: there is no agent 'nobody'; 'signalbox agents list' shows what there is\n", 1)
    );
    let (told, _) = cli.refused("agents drain nobody");
    assert!(told.contains("there is no agent 'nobody'"), "{told}");
}

#[test]
fn messages_are_sent_and_followed_to_their_end() {
    let cli = Cli::start();
    let agent = Agent::answering(|asked, _| {
        AgentReply::Status(if asked.json()["payload"]["bad"] == true { 422 } else { 200 })
    });
    let id = cli.api().register("reader", &agent, &[]);
    let message = cli.ok_with("agents message reader", &[r#"{"text": "hello"}"#, "--type", "note"]);
    let got = agent.next().json();
    assert_eq!((&got["messageType"], &got["payload"]["text"]), (&json!("note"), &json!("hello")));
    cli.api().message_becomes(message.trim(), "delivered", PATIENCE);
    assert!(row(&cli.ok(&format!("agents message-status {message}")), "status").ends_with("delivered"));
    assert_eq!(cli.json(&format!("agents message-status {message}"))["status"], "delivered");
    let again = cli.json_with("agents message reader", &["{}", "--id", "mine"]);
    assert_eq!((&again["messageId"], &again["agentId"]), (&json!("mine"), &json!(id)));

    let dead: Vec<String> = (0..3)
        .map(|_| cli.ok_with("agents message reader", &[r#"{"bad": true}"#]).trim().to_owned())
        .collect();
    dead.iter().for_each(|id| drop(cli.api().message_becomes(id, "dead", PATIENCE)));
    let table = cli.ok("dead-letters list");
    assert_eq!(heads(&table), ["ID", "KIND", "DIED", "TRIES", "LAST ERROR"]);
    assert_eq!(table.lines().count(), 4);
    assert_eq!(cli.json("dead-letters list --agent reader --since 1h").as_array().unwrap().len(), 3);
    assert!(cli.ok(&format!("dead-letters show {}", dead[0])).contains("bad: true"));
    assert_eq!(cli.json(&format!("dead-letters show {}", dead[0]))["lastStatus"], 422);
    let redriven = cli.said(&format!("dead-letters redrive {}", dead[0]));
    assert!(redriven.contains(&format!("message {} will be delivered anew", dead[0])), "{redriven}");
    cli.api().message_becomes(&dead[0], "dead", PATIENCE);
    assert_eq!(cli.json("dead-letters redrive --all --kind message")["redriven"], 3);
    dead.iter().for_each(|id| drop(cli.api().message_becomes(id, "dead", PATIENCE)));
    assert!(cli.said(&format!("dead-letters drop {}", dead[1])).contains("is dropped"));
    assert_eq!(cli.json("dead-letters drop --all")["discarded"], 2);
    assert_eq!(cli.said("dead-letters list"), "there is no dead letter\n");
    let (told, code) = cli.refused("dead-letters drop");
    assert!(code == 2 && told.contains("--all"), "{told}");
}

#[test]
fn the_last_delivery_that_failed_is_shown_with_its_agent() {
    let cli = Cli::start();
    let agent = Agent::answering(|asked, _| {
        AgentReply::Status(if asked.json()["payload"]["bad"] == true { 422 } else { 200 })
    });
    let id = cli.api().register("reader", &agent, &[]);
    let failed = || cli.json(&format!("agents show {id}"))["deliveryFailure"].clone();
    assert_eq!(failed(), json!(null));
    let bad = cli.ok_with("agents message reader", &[r#"{"bad": true}"#]).trim().to_owned();
    cli.api().message_becomes(&bad, "dead", PATIENCE);
    let failure = failed();
    assert_eq!(
        (&failure["messageId"], &failure["status"], &failure["kind"]),
        (&json!(bad), &json!(422), &json!("message"))
    );
    assert!(failure["at"].is_string() && failure["attempt"] == 1, "{failure}");
    let table = cli.ok("agents list");
    assert_eq!(heads(&table), ["NAME", "ID", "STATUS", "LAST REPORT", "FAILED", "CAPABILITIES"]);
    assert!(row(&table, "reader").contains("ago") || row(&table, "reader").contains("now"), "{table}");
    assert!(row(&table, "reader").contains("answers 422"), "{table}");
    assert!(row(&cli.ok("agents list -o wide"), "reader").contains("the endpoint answered 422"));
    assert!(cli.ok("agents show reader").contains("error: the endpoint answered 422"));

    let good = cli.ok_with("agents message reader", &["{}"]).trim().to_owned();
    cli.api().message_becomes(&good, "delivered", PATIENCE);
    assert_eq!(failed(), json!(null), "one that goes well ends it");

    let gone = cli.api().register_at("gone", "http://127.0.0.1:9/run", &["work"]);
    cli.keep(&json!({"id": "w", "name": "W", "tasks": [{"taskId": "a", "agentCapability": "work"}]}));
    cli.ok("workflows trigger w");
    let failure = eventually("the failure of a task's delivery", || {
        let failure = cli.json(&format!("agents show {gone}"))["deliveryFailure"].clone();
        if failure.is_object() { Ok(failure) } else { Err("none yet".to_owned()) }
    });
    let error = failure["error"].as_str().unwrap();
    assert!(failure["kind"] == "task" && error.contains("Connection refused"), "{failure}");
    assert!(!error.contains("os error"), "{failure}");
    assert!(row(&cli.ok("agents list"), "gone").contains("unreachable"));
}

#[test]
fn what_an_agent_holds_is_shown_with_what_becomes_of_it() {
    let cli = Cli::start();
    let agent = Agent::start();
    let id = cli.api().register("worker", &agent, &["work"]);
    cli.api().patch(&format!("/v1/agents/{id}"), &json!({"metadata": {"concurrency": 2}})).is(200);
    assert!(row(&cli.ok("agents list"), "worker").contains("  idle  "));
    cli.keep(&json!({"id": "w", "name": "W", "tasks": [{"taskId": "a", "agentCapability": "work", "timeout": 600}]}));
    cli.ok("workflows trigger w");
    let asked = agent.next();
    cli.api().report(&id, "active", &json!({"opscore_task_id": task_of(&asked)}));
    let table = cli.ok("agents list");
    let worker = row(&table, "worker");
    assert!(worker.contains("  busy 1/2  ") && worker.contains("active, "), "{table}");
    let shown = cli.ok("agents show worker");
    let holds = row(&shown, "holds");
    assert!(row(&shown, "status").ends_with("busy 1/2"), "{shown}");
    assert!(
        holds.contains("1 task; last word ")
            && holds.contains("; given out again at ")
            && holds.ends_with(" UTC (timeout), or when it registers anew"),
        "{shown}"
    );
    let told = cli.json("agents show worker");
    let task = &told["heldTasks"][0];
    assert!(told["activeTasks"] == 1 && task["taskId"] == "a" && task["timesOutAt"].is_string(), "{told}");
    cli.api().report(&id, "completed", &json!({"opscore_task_id": task_of(&asked)}));
    assert!(row(&cli.ok("agents list"), "worker").contains("  idle  "));
    let socket = cli.ok("agents register robot --connects --capability move");
    assert!(row(&cli.ok("agents list"), socket.trim()).contains("  offline  "));
}

#[test]
fn commands_are_sent_to_connected_agents() {
    let cli = Cli::start();
    let id = cli.api().register_at("robot", "http://127.0.0.1:9/run", &[]);
    let command = cli.ok_with("commands send robot", &["move", r#"{"x": 3}"#, "--timeout", "60"]);
    let command = command.trim();
    let table = cli.ok("commands list robot");
    assert_eq!(heads(&table), ["ID", "COMMAND", "STATUS", "SENT", "ERROR"]);
    assert!(row(&table, command).contains("move"), "{table}");
    assert_eq!(cli.json(&format!("commands list {id}"))[0]["args"]["x"], 3);
    assert!(cli.ok(&format!("commands show robot {command}")).contains("x: 3"));
    assert_eq!(cli.json(&format!("commands show robot {command}"))["status"], "queued");
    assert!(cli.said(&format!("commands cancel robot {command} --reason no")).contains("is cancelled"));
    assert_eq!(cli.json(&format!("commands show robot {command}"))["status"], "cancelled");
    let (told, code) = cli.refused("commands list nobody");
    assert!(code == 1 && told.contains("there is no agent 'nobody'"), "{told}");
}

#[test]
fn the_log_is_shown_and_followed() {
    let cli = Cli::start();
    let id = cli.api().register_at("reader", "http://127.0.0.1:9/run", &[]);
    let write = |message: &str| {
        let entry = json!({"level": "warning", "message": message, "fields": {"pages": 12}});
        cli.api().post(&format!("/v1/opscore/agent/{id}/logs"), &entry).is(202);
    };
    write("half is missing");
    let line = eventually("the entry", || {
        let printed = cli.ok("logs --level warning");
        if printed.contains("half is missing") { Ok(printed) } else { Err(printed) }
    });
    assert!(line.trim_end().ends_with("warning  reader           half is missing"), "{line}");
    assert!(
        cli.ok("logs --level warning -o wide").contains(" pages=12"),
        "the rest is told where it is asked for"
    );
    assert_eq!(cli.json("logs --agent reader --level warning --since 1h")[0]["message"], "half is missing");
    assert!(cli.ok("agents logs reader --text MISSING").contains("half is missing"));
    assert_eq!(cli.json("agents logs reader --level warning")[0]["fields"]["pages"], 12);

    let mut command = cli.command("logs --follow --level warning -o jsonl", &[]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("half is missing"), "what there is comes first");
    write("all is missing");
    assert!(lines.next().unwrap().unwrap().contains("all is missing"));
    child.kill().unwrap();
    child.wait().unwrap();
}
