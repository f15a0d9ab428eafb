//! `signalbox schedules`, `webhooks` and `tools`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, mpsc};

use serde_json::json;

use super::{Cli, heads, row};
use crate::support::{Agent, AgentReply, PATIENCE};

#[test]
fn schedules_are_set_and_kept_in_hand() {
    let cli = Cli::start();
    cli.keep_waiting("w");
    let kept = cli.run("schedules set nightly --workflow w --time-zone Europe/Berlin --cron", &["0 3 * * *"]);
    assert!(
        kept.code == Some(0) && kept.stderr.contains("schedule nightly is kept; it starts next at"),
        "{kept:?}"
    );
    assert_eq!(cli.json("schedules set often --workflow w --every 1h --overlap allowAll")["every"], "1h");
    let table = cli.ok("schedules list");
    assert_eq!(heads(&table), ["ID", "WORKFLOW", "CRON", "EVERY", "STATUS", "NEXT"]);
    assert!(
        row(&table, "nightly").contains("0 3 * * *") && row(&table, "nightly").contains("in "),
        "{table}"
    );
    assert_eq!(cli.json("schedules list").as_array().unwrap().len(), 2);
    assert!(cli.ok("schedules show nightly").contains("Europe/Berlin"));
    assert_eq!(cli.json("schedules show nightly")["timeZone"], "Europe/Berlin");
    assert!(cli.said("schedules pause nightly").contains("is paused"));
    assert_eq!(cli.json("schedules resume nightly")["status"], "active");
    let session = cli.ok("schedules trigger often");
    assert!(session.starts_with("ses_"), "{session}");
    let filled = cli.said("schedules backfill nightly --from 3d --to 1h --overlap allowAll");
    assert!(filled.contains("runs of schedule nightly are made up for"), "{filled}");
    let filled = cli.said("schedules backfill nightly --from 2026-01-31T04:00:00Z --to 2026-01-31T05:00:00Z");
    assert!(filled.contains("has no time between --from and --to: nothing is started"), "{filled}");
    let (told, code) = cli.refused("schedules runs nope");
    let expected = "error: there is no schedule 'nope'; 'signalbox schedules list' shows what there is\n";
    assert_eq!((told.as_str(), code), (expected, 1));
    let (told, code) = cli.refused("schedules set x --workflow w --every 5");
    assert!(code == 2 && told.contains("with its unit"), "{told}");
    let (told, code) = cli.refused("schedules set x --workflow w --cron nonsense");
    assert!(code == 1 && told.starts_with("error: --cron "), "{told}");
    let (told, code) = cli.refused("schedules set x --workflow w --every 1h --overlap maybe");
    assert!(code == 2 && told.contains("cancelOther"), "{told}");
    let runs = cli.ok("schedules runs often");
    assert_eq!(heads(&runs), ["NUMBER", "TIME", "CAUSE", "OUTCOME", "SESSION", "REASON"]);
    assert!(row(&runs, session.trim()).contains("trigger"), "{runs}");
    assert!(cli.json("schedules runs nightly").as_array().unwrap().len() >= 2);
    assert!(cli.said("schedules delete often").contains("schedule often is deleted"));
    let (told, code) = cli.refused("schedules set x --workflow w");
    assert!(code == 2 && told.contains("--cron"), "{told}");
    let (told, _) = cli.refused("schedules show often");
    assert!(told.contains("there is no schedule 'often'"), "{told}");
}

#[test]
fn webhooks_are_made_and_their_secrets_rotated() {
    let cli = Cli::start();
    cli.keep_waiting("w");
    let made = cli.run("webhooks create deploys --workflow w --note n", &[]);
    assert!(made.stdout.contains("secret") && made.stderr.contains("shown this once"), "{made:?}");
    let table = cli.ok("webhooks list");
    assert_eq!(heads(&table), ["ID", "WORKFLOW", "PATH", "MADE"]);
    assert_eq!(cli.json("webhooks list")[0]["id"], "deploys");
    assert!(!cli.ok("webhooks show deploys").contains("secret"));
    assert_eq!(cli.json("webhooks show deploys")["workflowId"], "w");
    assert!(cli.json("webhooks rotate deploys --keep-earlier-for 1h")["secret"].is_string());
    assert!(cli.said("webhooks delete deploys").contains("webhook deploys is deleted"));
    assert_eq!(cli.said("webhooks list"), "there is no webhook\n");
}

#[test]
fn tools_are_registered_and_called() {
    let cli = Cli::start();
    let endpoint = Agent::answering(|_, _| AgentReply::Json(json!({"sum": 3})));
    cli.api().register_at("caller", "http://127.0.0.1:9/run", &[]);
    let registered = cli.run("tools register add --endpoint", &[&endpoint.url(), "--description", "Adds"]);
    assert!(registered.stderr.contains("tool add is registered"), "{registered:?}");
    let table = cli.ok("tools list");
    assert_eq!(heads(&table), ["NAME", "DESCRIPTION", "ENDPOINT"]);
    assert!(row(&table, "Adds").starts_with("add "), "{table}");
    assert!(cli.json("tools list").as_array().unwrap().iter().any(|tool| tool["name"] == "echo"));
    assert!(row(&cli.ok("tools show add"), "description").ends_with("Adds"));
    assert_eq!(cli.json("tools show add")["name"], "add");
    let called = cli.json_with("tools call add", &[r#"{"a": 1}"#, "--agent", "caller"]);
    assert_eq!(called["sum"], 3);
    let echoed = cli.ok_with("tools call echo", &[r#"{"a": 1}"#, "--agent", "caller"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&echoed).unwrap(), json!({"a": 1}));
    assert!(cli.said("tools delete add").contains("tool add is deleted"));
    let (told, code) = cli.refused("tools show add");
    assert!(code == 1 && told.contains("there is no tool 'add'"), "{told}");
}

#[test]
fn whoever_calls_a_slow_tool_is_told_whom_it_waits_for() {
    let cli = Cli::start();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let slow = Agent::answering(move |_, _| {
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        AgentReply::Json(json!({"done": true}))
    });
    cli.ok("agents register caller --connects");
    cli.ok_with("tools register slow --description Slow --endpoint", &[&slow.url()]);
    let mut command = cli.command("tools call slow --agent caller", &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert_eq!(line, format!("waiting for the tool slow at {}", slow.url()));
    release.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("done"),
        "{output:?}"
    );
}

#[test]
fn a_tool_that_is_not_there_is_told_at_once_in_plain_words() {
    let cli = Cli::start();
    cli.ok("agents register caller --connects");
    cli.ok("tools register gone --description Gone --endpoint http://127.0.0.1:9/gone");
    let (told, code) = cli.refused("tools call gone --agent caller");
    assert_eq!(code, 1);
    let expected = "Tool 'gone' could not be reached at 127.0.0.1:9: no connection: Connection refused; see that it runs";
    assert!(told.contains(expected), "{told}");
    assert!(!told.contains("waiting") && !told.contains("/gone"), "a path may hold a secret: {told}");
}
