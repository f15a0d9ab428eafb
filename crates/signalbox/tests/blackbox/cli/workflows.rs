//! `signalbox workflows`.

use std::fs;

use serde_json::{Value, json};

use super::{Cli, heads, row};
use crate::support::{Agent, Worker};

#[test]
fn workflows_are_applied_compared_and_rolled_back() {
    let cli = Cli::start();
    cli.api().register_at("worker", "http://127.0.0.1:9/run", &["work"]);
    assert_eq!(cli.said("workflows list"), "there is no workflow\n");
    let file = cli.server.setup().dir().join("pay.yaml");
    let name = file.to_str().unwrap();
    let text =
        "id: pay\nname: Pay\ntasks:\n  - taskId: pay\n    agentCapability: work\n    parameters: {n: 1}\n";
    fs::write(&file, text).unwrap();
    let applied = cli.run("workflows apply", &[name]);
    assert_eq!(
        (applied.stdout.as_str(), applied.stderr.as_str()),
        ("", "workflow pay is kept as revision 1\n")
    );
    assert_eq!(cli.json(&format!("workflows apply {name}"))["revision"], 1, "the same again changes nothing");
    let shown = cli.server.setup().dir().join("shown.yaml");
    fs::write(&shown, cli.ok("workflows show pay -o yaml")).unwrap();
    let again = cli.said(&format!("workflows apply {}", shown.display()));
    assert_eq!(again, "workflow pay is unchanged: it is as its revision 1 is\n");
    assert!(cli.said(&format!("workflows validate {}", shown.display())).ends_with("is a workflow\n"));
    let table = cli.ok("workflows list");
    assert_eq!(heads(&table), ["ID", "NAME", "TASKS", "REVISION", "CHANGED"]);
    assert_eq!(cli.json("workflows list")[0]["id"], "pay");
    assert!(cli.ok("workflows show pay").contains("agentCapability: work"));
    assert_eq!(cli.json("workflows show pay")["tasks"][0]["parameters"]["n"], 1);

    assert_eq!(cli.said(&format!("workflows diff {name}")), "there is no difference\n");
    fs::write(&file, text.replace("n: 1", "n: 2")).unwrap();
    let told = cli.ok(&format!("workflows diff {name}"));
    assert_eq!(told, "- tasks[0].parameters.n: 1\n+ tasks[0].parameters.n: 2\n");
    cli.ok(&format!("workflows apply {name}"));
    assert_eq!(cli.ok("workflows diff pay 1 2"), told);
    let versions = cli.ok("workflows versions pay");
    assert!(heads(&versions).contains(&"CURRENT") && versions.lines().count() == 3, "{versions}");
    assert_eq!(cli.json("workflows versions pay")[0]["revision"], 2);
    assert!(cli.said("workflows rollback pay 1").contains("workflow pay is as its revision 1 was"));
    assert_eq!(cli.json("workflows show pay")["tasks"][0]["parameters"]["n"], 1);
    for (asked, missing) in
        [("workflows trigger pay {} --agent nobody", "nobody"), ("workflows diff pay 1 9", "revision 9")]
    {
        let (told, code) = cli.refused(asked);
        assert!(
            told.contains(missing) && !told.contains("there is no workflow") && code == 1,
            "{asked}: {told}"
        );
    }
    assert!(cli.said("workflows delete pay --revision 2").contains("revision 2 of workflow pay is deleted"));
    cli.ok(&format!("workflows apply {name}"));
    let back = cli.said(&format!("workflows apply {}", shown.display()));
    assert!(back.contains("is of revision 1: what revisions 2 to 4 changed is taken back"), "{back}");
    assert!(back.ends_with("workflow pay is kept as revision 5\n"), "{back}");
    assert!(cli.said("workflows delete pay").contains("workflow pay is deleted"));
    let (told, code) = cli.refused("workflows show nope");
    let expected = "error: there is no workflow 'nope'; 'signalbox workflows list' shows what there is\n";
    assert_eq!((told.as_str(), code), (expected, 1));
}

#[test]
fn a_definition_with_unknown_keys_is_refused() {
    let cli = Cli::start();
    let text =
        "id: pay\nname: Pay\nmaxParalel: 3\ntasks:\n  - {taskId: a, capability: work, param: {n: 1}}\n";
    let printed = cli.fed("workflows apply -", text);
    assert_eq!(printed.code, Some(1), "{printed:?}");
    for part in [
        "  maxParalel is not known; did you mean 'maxParallel'?",
        "  tasks[0].capability is not known; did you mean 'agentCapability'?",
        "  tasks[0].param is not known; did you mean 'parameters'?",
    ] {
        assert_eq!(printed.stderr.matches(part).count(), 1, "{printed:?}");
    }
    assert_eq!(cli.json("workflows list"), json!([]), "nothing is kept");
    let wrong = "id: pay\nname: Pay\ntasks: [{taskId: a, nextTaskId: b}, {taskId: a}]\n";
    let (applied, validated) = (cli.fed("workflows apply -", wrong), cli.fed("workflows validate -", wrong));
    for printed in [&applied, &validated] {
        assert_eq!(printed.code, Some(1), "{printed:?}");
        let faults: Vec<&str> = printed.stderr.lines().filter(|line| line.contains("tasks[")).collect();
        let mut once = faults.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), faults.len(), "each fault is told once: {printed:?}");
    }
    let good = cli.fed("workflows validate -", "id: pay\nname: Pay\ntasks: [{taskId: a}]\n");
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), "standard input is a workflow\n"));
    let yaml = cli.fed("workflows validate -", "id: [\n");
    let expected = "error: standard input, line 1, column 5: unclosed bracket '[' (read as YAML)\n";
    assert_eq!((yaml.code, yaml.stderr.as_str()), (Some(1), expected));
    let json = cli.fed("workflows apply -", "{\n  \"id\": \"w\"\n  \"name\": \"W\"\n}\n");
    let expected = "error: standard input, line 3, column 3: expected `,` or `}` (read as JSON)\n";
    assert_eq!((json.code, json.stderr.as_str()), (Some(1), expected));
}

#[test]
fn a_trigger_waits_and_ends_as_its_session_does() {
    let cli = Cli::start();
    let worker = Worker::start(&cli.api(), "worker", &["work"]);
    let task = json!({"taskId": "a", "agentCapability": "work", "parameters": {"n": "${input.n}"}});
    cli.keep(&json!({"id": "good", "name": "Good", "tasks": [task]}));
    cli.keep(&json!({"id": "bad", "name": "Bad", "tasks": [
        {"taskId": "ask", "approve": {"timeout": "1ms"}}, {"taskId": "end", "sleep": "1ms"}]}));
    let session = cli.ok_with("workflows trigger good", &[r#"{"n": 5}"#]);
    assert!(session.starts_with("ses_") && session.lines().count() == 1, "{session}");
    assert_eq!(cli.json("workflows trigger good")["workflowId"], "good");
    let waited = cli.run("workflows trigger good --wait", &[r#"{"n": 5}"#]);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert!(waited.stderr.ends_with("is completed\n") && waited.stdout.starts_with("ses_"), "{waited:?}");
    let waited: Value = cli.json_with("workflows trigger good --wait", &[r#"{"n": 5}"#]);
    assert_eq!((&waited["status"], &waited["input"]["n"]), (&json!("completed"), &json!(5)));
    let failed = cli.run("workflows trigger bad --wait", &[]);
    assert!(failed.code == Some(3) && failed.stderr.contains("is failed: "), "{failed:?}");
    let default = Agent::start();
    cli.api().register("other", &default, &[]);
    cli.keep(&json!({"id": "free", "name": "Free", "tasks": [{"taskId": "a"}]}));
    cli.ok("workflows trigger free --agent other");
    assert_eq!(default.next().json()["task_name"], "a");
    let (told, code) = cli.refused("workflows trigger good {n:5}");
    assert!(code == 2 && told.contains("not JSON"), "{told}");
    let (told, _) = cli.refused("workflows trigger nope");
    assert!(told.contains("there is no workflow 'nope'"), "{told}");
    assert!(row(&cli.ok("sessions list --status completed"), "good").contains("completed"));
    drop(worker);
}

#[test]
fn what_is_given_is_told_in_words_of_the_command_line() {
    let cli = Cli::start();
    cli.keep(&json!({"id": "w", "name": "W", "tasks": [{"taskId": "wait", "wait": {"signal": "go"}}],
        "input": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}));
    assert_eq!(cli.refused("workflows trigger w"), ("error: INPUT: text is required\n".to_owned(), 1));
    let broken = cli.run("workflows trigger w", &["{\"text\": 1,}"]);
    assert!(broken.code == Some(2) && broken.stderr.contains("'[INPUT]'"), "{broken:?}");
    assert_eq!(broken.stderr.matches("line 1, column 12: trailing comma").count(), 1, "{broken:?}");
    let file = cli.server.setup().dir().join("input.json");
    fs::write(&file, "{\n  \"text\" 1\n}").unwrap();
    let input = format!("@{}", file.display());
    let broken = cli.run("workflows trigger w", &[&input]);
    let expected = format!("{}, line 2, column 10: expected `:`", file.display());
    assert!(broken.code == Some(2) && broken.stderr.contains(&expected), "{broken:?}");
    fs::write(&file, r#"{"text": "long"}"#).unwrap();
    let session = cli.ok_with("workflows trigger w", &[&input]).trim().to_owned();
    assert_eq!(cli.api().session(&session)["input"]["text"], "long");
    let broken = cli.run("sessions signal", &[&session, "go", "{"]);
    let expected = "error: PAYLOAD: it is not JSON: line 1, column 1: EOF while parsing an object";
    assert!(broken.code == Some(2) && broken.stderr.starts_with(expected), "{broken:?}");
    let (told, code) = cli.refused("workflows trigger w {\"text\":\"x\"} --agent nobody");
    assert!(code == 1 && told.contains("'signalbox agents list'") && !told.contains("/v1/"), "{told}");
    let (told, _) = cli.refused("sessions list --status nonsense");
    assert!(told.starts_with("error: --status must be any of started"), "{told}");
}

#[test]
fn a_workflow_that_something_starts_is_not_deleted_by_a_slip() {
    let cli = Cli::start();
    cli.keep(&json!({"id": "w", "name": "W", "tasks": []}));
    cli.ok("schedules set nightly --workflow w --every 1h");
    cli.ok("webhooks create deploys --workflow w");
    let (told, code) = cli.refused("workflows delete w");
    for part in ["schedule nightly", "webhook deploys", "'signalbox schedules delete nightly'", "--force"] {
        assert!(code == 1 && told.contains(part), "{part}: {told}");
    }
    assert!(cli.said("workflows delete w --force").contains("workflow w is deleted"));
    cli.keep(&json!({"id": "w", "name": "W", "tasks": []}));
    cli.ok("schedules delete nightly");
    cli.ok("webhooks delete deploys");
    assert!(cli.said("workflows delete w").contains("workflow w is deleted"));
}
