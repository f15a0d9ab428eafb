//! `signalbox sessions` and `events`.

use serde_json::{Value, json};

use super::{Cli, heads, row};
use crate::support::Worker;

fn trigger(cli: &Cli, workflow: &str) -> String {
    cli.ok(&format!("workflows trigger {workflow}")).trim().to_owned()
}

#[test]
fn sessions_are_listed_shown_and_steered() {
    let cli = Cli::start();
    cli.keep_waiting("w");
    let session = trigger(&cli, "w");
    let table = cli.ok("sessions list --workflow w --since 1h");
    assert_eq!(heads(&table), ["ID", "WORKFLOW", "STATUS", "STARTED", "WAITING FOR/ERROR"]);
    assert_eq!(cli.json("sessions list")[0]["sessionId"], json!(session));
    assert!(cli.said("sessions pause --workflow w").contains("1 session is paused"));
    assert!(row(&cli.ok("sessions list"), &session).contains("paused"));
    assert!(cli.said(&format!("sessions resume {session}")).contains("is resumed"));
    let shown = cli.ok(&format!("sessions show {session}"));
    assert!(row(&shown, "wait").contains("waiting") && row(&shown, "workflowId").ends_with('w'), "{shown}");
    assert_eq!(cli.json(&format!("sessions show {session} --whole"))["tasks"][0]["status"], "waiting");
    let result = cli.run(&format!("sessions result {session}"), &[]);
    assert!(result.code == Some(1) && result.stderr.contains("--wait"), "{result:?}");
    let signalled = cli.run("sessions signal", &[&session, "go", r#"{"no": 7}"#]);
    assert_eq!(signalled.code, Some(0), "{signalled:?}");
    assert!(signalled.stderr.contains("is signalled"), "{signalled:?}");
    cli.api().session_becomes(&session, "completed");
    assert_eq!(
        cli.json(&format!("sessions result {session} --wait")),
        cli.json(&format!("sessions show {session}"))["result"]
    );

    let again = cli.ok(&format!("sessions rerun {session}")).trim().to_owned();
    assert!(again.starts_with("ses_") && again != session, "{again}");
    assert!(cli.said(&format!("sessions cancel {again} --reason enough")).contains("is cancelled"));
    let cancelled = cli.run(&format!("sessions result {again}"), &[]);
    assert!(cancelled.code == Some(4) && cancelled.stderr.contains("was cancelled: enough"), "{cancelled:?}");
    let third = trigger(&cli, "w");
    let many = cli.json("sessions cancel --workflow w --status started,running");
    assert_eq!((&many["done"], &many["matched"]), (&json!(1), &json!(1)));
    cli.api().session_becomes(&third, "cancelled");
    assert!(cli.said(&format!("sessions delete {third}")).contains("is deleted"));
    assert_eq!(cli.json("sessions delete --workflow w")["done"], 2);
    assert_eq!(cli.said("sessions list"), "there is no session\n");
    let (told, code) = cli.refused("sessions cancel");
    assert!(code == 2 && told.contains("name a session, or give a filter"), "{told}");
    let (told, code) = cli.refused("sessions cancel ses_1 --workflow w");
    assert!(code == 2 && told.contains("not both"), "{told}");
    let (told, code) = cli.refused("sessions show ses_1");
    assert!(code == 1 && told.contains("there is no session 'ses_1'"), "{told}");
}

#[test]
fn approvals_are_given_and_refused() {
    let cli = Cli::start();
    cli.keep(&json!({"id": "pay", "name": "Pay", "tasks": [
        {"taskId": "ask", "approve": {"what": "Pay ${input.n}?"}}, {"taskId": "end", "sleep": "1ms"}]}));
    let start = || cli.ok_with("workflows trigger pay", &[r#"{"n": 5}"#]).trim().to_owned();
    let session = start();
    let shown = cli.run(&format!("sessions show {session}"), &[]);
    assert!(
        shown.stdout.contains("Pay 5?") && shown.stderr.contains(&format!("sessions approve {session} ask")),
        "{shown:?}"
    );
    let unseen = cli.run(&format!("sessions approve {session} ask --digest"), &[&"0".repeat(64)]);
    assert_eq!(unseen.code, Some(1), "{unseen:?}");
    let (told, _) = cli.refused(&format!("sessions approve {session} aks"));
    assert!(told.contains("has no task 'aks', but ask, end; did you mean 'ask'?"), "{told}");
    let seen = cli.json(&format!("sessions approve {session} --comment fine"));
    assert_eq!(seen["what"], "Pay 5?");
    cli.api().session_becomes(&session, "completed");
    let (told, _) = cli.refused(&format!("sessions approve {session}"));
    assert!(told.contains(&format!("no task of session {session} asks for approval now")), "{told}");
    for (command, expected) in [
        ("sessions show", "task ask: approved by the admin key: fine"),
        ("sessions timeline", "ask: approved by the admin key: fine"),
        ("sessions watch", "Task ask approved by the admin key: fine"),
        ("events", "Task ask approved by the admin key: fine"),
    ] {
        let told = cli.ok(&format!("{command} {session}"));
        assert!(told.contains(expected), "{command}: {told}");
    }
    let refused = start();
    assert!(cli.said(&format!("sessions refuse {refused} --comment no")).contains("is refused"));
    cli.api().session_becomes(&refused, "failed");
    let several = [start(), start()];
    let digest = cli.json(&format!("sessions show {}", several[0]))["tasks"][0]["approval"]["digest"].clone();
    let (told, code) = cli.refused("sessions approve ask --workflow pay");
    assert!(code == 2 && told.contains("--digest"), "{told}");
    let line = format!(
        "sessions approve ask --workflow pay --status running,started --digest {}",
        digest.as_str().unwrap()
    );
    assert_eq!(cli.json(&line)["done"], 2);
    several.iter().for_each(|id| drop(cli.api().session_becomes(id, "completed")));
    let (told, code) = cli.refused(&format!("sessions approve {session}"));
    assert!(code == 2 && told.contains("SESSION and TASK"), "{told}");
}

#[test]
fn a_session_is_watched_to_its_end() {
    let cli = Cli::start();
    let worker = Worker::start(&cli.api(), "worker", &["work"]);
    cli.keep(&json!({"id": "two", "name": "Two", "tasks": [
        {"taskId": "first", "agentCapability": "work"}, {"taskId": "second", "agentCapability": "work"}]}));
    let session = trigger(&cli, "two");
    let watched = cli.run(&format!("sessions watch {session}"), &[]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    let shown = cli.ok(&format!("sessions show {session}"));
    let result = cli.json(&format!("sessions show {session}"))["tasks"][0]["result"].to_string();
    assert!(shown.contains("  RESULT") && row(&shown, "first").ends_with(&result), "{shown}");
    for part in ["session.started", "task.completed", "first", "second", "worker", "tries", "took"] {
        assert!(watched.stdout.contains(part), "{part}: {watched:?}");
    }
    assert!(watched.stdout.lines().all(|line| line.chars().count() <= 110), "{}", watched.stdout);
    assert!(watched.stderr.contains(&format!("session {session} is completed")), "{watched:?}");
    let timeline = cli.ok(&format!("sessions timeline {session}"));
    assert!(
        row(&timeline, "first").contains("worker") && (3..=4).contains(&timeline.lines().count()),
        "{timeline}"
    );
    assert!(timeline.lines().all(|line| line.chars().count() <= 80), "{timeline}");
    assert_eq!(cli.json(&format!("sessions timeline {session}"))["tasks"][0]["taskId"], "first");

    let told = cli.ok(&format!("events {session}"));
    assert!(
        told.lines().count() > 4 && told.lines().last().unwrap().to_lowercase().contains("complete"),
        "{told}"
    );
    let events = cli.json(&format!("events {session}"));
    assert_eq!(events.as_array().unwrap().last().unwrap()["type"], "session.completed");
    let followed = cli.ok(&format!("events {session} --follow -o jsonl"));
    let kinds: Vec<Value> =
        followed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
    assert_eq!(kinds.first(), Some(&json!("session.started")));
    assert_eq!(kinds.len(), events.as_array().unwrap().len());
    drop(worker);

    cli.keep(&json!({"id": "late", "name": "Late", "tasks": [
        {"taskId": "ask", "approve": {"timeout": "1ms"}}, {"taskId": "end", "sleep": "1ms"}]}));
    let late = trigger(&cli, "late");
    let watched = cli.run(&format!("sessions watch {late}"), &[]);
    assert!(watched.code == Some(3) && watched.stderr.contains("is failed"), "{watched:?}");
    assert!(cli.said(&format!("sessions retry {late}")).contains("is retried"));
    let watched = cli.run(&format!("sessions watch {late}"), &[]);
    assert_eq!(watched.code, Some(3), "it is watched to its last end: {watched:?}");
    let (told, _) = cli.refused("sessions watch ses_1");
    assert!(told.contains("there is no session 'ses_1'"), "{told}");
}
