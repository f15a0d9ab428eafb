//! What sessions wait for, as lists and watchers tell it; and what is done to many of them.

use serde_json::{Value, json};

use super::{Cli, Printed, heads, row};
use crate::support::{Agent, PATIENCE, Worker, task_of, within};

fn keep(cli: &Cli, id: &str, task: Value) {
    cli.keep(&json!({"id": id, "name": id, "tasks": [task, {"taskId": "end", "sleep": "1ms"}]}));
}

fn trigger(cli: &Cli, workflow: &str) -> String {
    cli.ok(&format!("workflows trigger {workflow}")).trim().to_owned()
}

#[test]
fn open_sessions_say_what_they_wait_for() {
    let cli = Cli::start();
    keep(&cli, "pay", json!({"taskId": "ask", "approve": {"who": "finance", "what": "Pay?"}}));
    keep(&cli, "hold", json!({"taskId": "hold", "wait": {"signal": "go", "timeout": "3h"}}));
    keep(&cli, "lost", json!({"taskId": "read", "agentCapability": "read"}));
    keep(&cli, "away", json!({"taskId": "call", "agentCapability": "call"}));
    keep(&cli, "late", json!({"taskId": "late", "sleep": "3h"}));
    keep(&cli, "again", json!({"taskId": "work", "agentCapability": "work", "retry": {"initial": "9h"}}));
    cli.keep(&json!({"id": "none", "name": "None", "tasks": []}));
    let body = json!({"agentName": "caller", "version": "1", "capabilities": ["call"], "metadata": {}});
    cli.api().post("/v1/agents/register", &body).is(201);
    let worker = Agent::start();
    let id = cli.api().register("worker", &worker, &["work"]);
    for workflow in ["pay", "hold", "lost", "away", "late", "again", "none"] {
        trigger(&cli, workflow);
    }
    let details = json!({"opscore_task_id": task_of(&worker.next()), "error": "boom"});
    cli.api().report(&id, "error", &details);

    let told = within(PATIENCE, "the retry", || {
        let told = cli.ok("sessions list --status open");
        if told.contains("next try in") { Ok(told) } else { Err(told) }
    });
    assert_eq!(heads(&told), ["ID", "WORKFLOW", "STATUS", "STARTED", "WAITING FOR/ERROR"]);
    for (workflow, expected) in [
        (" pay ", "  approval by finance (task ask)"),
        (" hold ", "  signal 'go' (task hold), 3h left"),
        (" lost ", "  agent with capability 'read': none is registered (task read)"),
        (" away ", "  agent with capability 'call': the only one is not connected (task call)"),
        (" late ", "  delay to end (task late), "),
        (" again ", "  next try in 9h (task work)"),
    ] {
        assert!(row(&told, workflow).contains(expected), "{workflow}: {told}");
    }
    assert!(!told.contains("  none  "), "{told}");
    let waiting = cli.ok("sessions list --waiting");
    for (workflow, is_told) in [
        (" pay ", true),
        (" hold ", true),
        (" lost ", true),
        (" away ", true),
        (" late ", false),
        (" again ", false),
    ] {
        assert_eq!(waiting.contains(workflow), is_told, "{workflow}: {waiting}");
    }
    assert_eq!(
        cli.json("sessions list --waiting --workflow pay")[0]["waitingFor"],
        "an approval by finance (task ask)"
    );
    cli.ok("sessions pause --workflow late");
    assert!(row(&cli.ok("sessions list --waiting"), " late ").contains("somebody to resume it"));
    let unasked = cli.api().get("/v1/opscore/sessions?workflow=pay").is(200);
    assert!(
        unasked["data"][0].get("waitingFor").is_none(),
        "tasks are not read unless that is asked for: {unasked}"
    );
}

/// How often a delivery was tried, as it is told: by the time that it is read there may have been one more.
fn tried(shown: &str) -> Option<u32> {
    let (_, told) = shown.split_once("was tried ")?;
    told.split_once(" times")?.0.parse().ok()
}

#[test]
fn a_delivery_that_fails_is_told() {
    let cli = Cli::start();
    cli.api().register_at("worker", "http://127.0.0.1:9/run", &["work"]);
    keep(&cli, "w", json!({"taskId": "a", "agentCapability": "work"}));
    let session = trigger(&cli, "w");
    let mut watching = cli.spawn(&format!("sessions watch {session} -o jsonl"), &[]);
    let shown = within(PATIENCE, "a delivery that failed twice", || {
        let shown = cli.ok(&format!("sessions show {session}"));
        if tried(&shown) >= Some(2) { Ok(shown) } else { Err(shown) }
    });
    let told = row(&shown, "was tried");
    assert!(told.starts_with("task a: agent worker was tried "), "{shown}");
    assert!(told.contains(" times, last: "), "{shown}");
    assert!(told.contains("; next try "), "{shown}");
    let list = cli.ok("sessions list");
    assert!(list.contains("agent worker to take it (task a)"), "{list}");
    watching.says("waiting for agent worker to take it (task a): tried");
    cli.ok(&format!("sessions cancel {session}"));
    assert_eq!(watching.ends().code, Some(4));
}

#[test]
fn who_waits_for_a_session_is_told_what_it_waits_for() {
    let cli = Cli::start();
    cli.keep(&json!({"id": "pay", "name": "Pay", "tasks": [
        {"taskId": "ask", "approve": {"who": "finance", "what": "Pay ${input.n}?"}},
        {"taskId": "hold", "wait": {"signal": "go"}}, {"taskId": "read", "agentCapability": "read"}]}));
    let mut triggered = cli.spawn("workflows trigger pay --wait", &[r#"{"n": 5}"#]);
    assert_eq!(triggered.says("waiting for"), "waiting for an approval by finance (task ask): Pay 5?");
    let command = triggered.says("signalbox sessions approve ses_");
    let session = command.split_whitespace().nth(3).expect("a session").to_owned();
    let mut watching = cli.spawn(&format!("sessions watch {session}"), &[]);
    assert_eq!(watching.says("signalbox sessions approve"), command);
    cli.ok(command.trim().strip_prefix("signalbox ").expect("a command"));
    let command = triggered.says("signalbox sessions signal ses_");
    assert_eq!(watching.says("signalbox sessions signal"), command);
    cli.ok(command.trim().strip_prefix("signalbox ").expect("a command"));
    let nobody = "waiting for an agent with capability 'read': none is registered (task read)";
    assert_eq!(triggered.says("waiting for an agent"), nobody);
    assert_eq!(watching.says("waiting for an agent"), nobody);
    let worker = Worker::start(&cli.api(), "reader", &["read"]);
    for ended in [triggered.ends(), watching.ends()] {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr.matches("sessions approve").count(), 1, "each is said once: {ended:?}");
        assert!(ended.stderr.contains("is completed"), "{ended:?}");
    }
    drop(worker);
}

#[test]
fn only_what_can_be_acted_upon_is_chosen() {
    let cli = Cli::start();
    cli.keep_waiting("w");
    let [over, first, second] = [(); 3].map(|()| trigger(&cli, "w"));
    cli.ok(&format!("sessions cancel {over}"));
    let told = cli.said("sessions pause --workflow w");
    let head = told.strip_suffix("2 sessions are paused\n").expect("how many are paused");
    assert!(head.starts_with("2 sessions to be paused:\n  ses_"), "{told}");
    assert!([&first, &second].iter().all(|id| head.contains(&format!("  {id}  w  "))), "{told}");
    assert_eq!(
        cli.said("sessions pause --workflow w"),
        "no session that matches is started or running: none is paused\n"
    );
    let dry = cli.said("sessions resume --workflow w --dry-run");
    assert!(dry.starts_with("2 sessions would be resumed; nothing is done:\n  ses_"), "{dry}");
    assert_eq!(cli.json("sessions resume --workflow w --dry-run")["matched"], 2);
    let dry = cli.said(&format!("sessions resume {first} --dry-run"));
    assert!(dry.contains(&first) && !dry.contains(&second), "{dry}");
    assert_eq!(cli.json("sessions list --status paused").as_array().map(Vec::len), Some(2));
    assert!(cli.said("sessions resume --workflow w --status open").ends_with("2 sessions are resumed\n"));
    assert_eq!(
        cli.said("sessions retry --workflow w"),
        "no session that matches is failed: none is retried\n"
    );
    assert_eq!(cli.said("sessions rerun --workflow nope"), "no session matches\n");
    let (told, code) = cli.refused("sessions cancel --workflow w --status completed");
    assert!(
        code == 2 && told.contains("only sessions that are started, running or paused can be cancelled"),
        "{told}"
    );
    cli.ok(&format!("sessions signal {first} go"));
    cli.api().session_becomes(&first, "completed");
    assert_eq!(cli.said("sessions cancel --workflow w"), "1 session is cancelled\n");
    cli.api().session_becomes(&second, "cancelled");
    assert!(cli.said("sessions delete --workflow w").ends_with("3 sessions are deleted\n"));
    let Printed { stderr, code, .. } = cli.run("sessions list --since 5", &[]);
    assert!(code == Some(2) && stderr.contains("with its unit (s, m, h, d or w)"), "{stderr}");
}

#[test]
fn why_nobody_takes_a_task_is_told() {
    let cli = Cli::start();
    let worker = Agent::start();
    let id = cli.api().register("writer", &worker, &["summarise"]);
    let definition = json!({"id": "w", "name": "W", "tasks": [
        {"taskId": "sum", "agentCapability": "summarize"}]});
    let applied = cli.fed("workflows apply -", &definition.to_string());
    assert!(
        applied.code == Some(0)
            && applied
                .stderr
                .contains("warning: no registered agent offers capability 'summarize' of task sum")
            && applied.stderr.contains("did you mean 'summarise'?"),
        "{applied:?}"
    );
    let mut triggered = cli.spawn("workflows trigger w --wait", &[]);
    assert_eq!(
        triggered.says("waiting for"),
        "waiting for an agent with capability 'summarize': none is registered; did you mean 'summarise'? (task sum)"
    );
    cli.ok("sessions cancel --workflow w");
    assert_eq!(triggered.ends().code, Some(4));

    cli.ok(&format!("agents drain {id}"));
    cli.keep(&json!({"id": "v", "name": "V", "tasks": [{"taskId": "sum", "agentCapability": "summarise"}]}));
    let mut triggered = cli.spawn("workflows trigger v --wait", &[]);
    assert_eq!(
        triggered.says("waiting for"),
        "waiting for an agent with capability 'summarise': the only one is draining (task sum)"
    );
    cli.ok("sessions cancel --workflow v");
    assert_eq!(triggered.ends().code, Some(4));
    let (told, code) = cli.refused("sessions list --status waiting");
    assert!(code == 2 && told.contains("sessions list --waiting"), "{told}");
}
