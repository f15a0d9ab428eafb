//! `signalbox workflows`.

use std::fs;

use serde_json::{Value, json};

use super::{Cli, heads, row};
use crate::support::{Agent, Worker};

#[test]
fn workflows_are_applied_compared_and_rolled_back() {
    let cli = Cli::start();
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
    let table = cli.ok("workflows list");
    assert_eq!(heads(&table), ["ID", "NAME", "TASKS", "REVISION", "CHANGED"]);
    assert_eq!(cli.json("workflows list")[0]["id"], "pay");
    assert!(cli.ok("workflows show pay").contains("agentCapability: work"));
    assert_eq!(cli.json("workflows show pay")["tasks"][0]["parameters"]["n"], 1);

    assert_eq!(cli.said(&format!("workflows diff {name}")), "there is no difference\n");
    fs::write(&file, text.replace("n: 1", "n: 2")).unwrap();
    let told = cli.ok(&format!("workflows diff {name}"));
    assert_eq!(told, "- /tasks/0/parameters/n: 1\n+ /tasks/0/parameters/n: 2\n");
    cli.ok(&format!("workflows apply {name}"));
    assert_eq!(cli.ok("workflows diff pay 1 2"), told);
    assert_eq!(cli.json("workflows diff pay 1 2")["differences"].as_array().unwrap().len(), 1);
    assert_eq!(cli.json("workflows show pay --revision 1")["tasks"][0]["parameters"]["n"], 1);
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
        "/maxParalel is not known; did you mean 'maxParallel'?",
        "/tasks/0/capability is not known; did you mean 'agentCapability'?",
        "/tasks/0/param is not known; did you mean 'parameters'?",
    ] {
        assert_eq!(printed.stderr.matches(part).count(), 1, "{printed:?}");
    }
    assert_eq!(cli.json("workflows list"), json!([]), "nothing is kept");
    let wrong = "id: pay\nname: Pay\ntasks: [{taskId: a, nextTaskId: b}, {taskId: a}]\n";
    let (applied, validated) = (cli.fed("workflows apply -", wrong), cli.fed("workflows validate -", wrong));
    for printed in [&applied, &validated] {
        assert_eq!(printed.code, Some(1), "{printed:?}");
        let faults: Vec<&str> = printed.stderr.lines().filter(|line| line.contains("/tasks/")).collect();
        let mut once = faults.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), faults.len(), "each fault is told once: {printed:?}");
    }
    let good = cli.fed("workflows validate -", "id: pay\nname: Pay\ntasks: [{taskId: a}]\n");
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), "- is a workflow\n"));
    let yaml = cli.fed("workflows validate -", "id: [\n");
    assert!(yaml.code == Some(1) && yaml.stderr.contains("neither YAML nor JSON"), "{yaml:?}");
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
