//! `signalbox agents register`.

use serde_json::json;

use super::{Cli, alone, row};
use crate::support::{Agent, AgentReply, PATIENCE};

const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl robot";

#[test]
fn an_agent_with_an_endpoint_is_registered_and_gets_messages() {
    let cli = Cli::start();
    let agent = Agent::start();
    let registered = cli.run(
        "agents register reader --capability read --capability count --version 2.1 --concurrency 3 --endpoint",
        &[&agent.url(), "--metadata", r#"{"team": "docs"}"#],
    );
    assert_eq!(registered.code, Some(0), "{registered:?}");
    let id = registered.stdout.trim();
    assert!(id.starts_with("agt_") && !id.contains('\n'), "the id alone: {registered:?}");
    assert!(
        registered.stderr.contains("agent reader is registered")
            && registered.stderr.contains("agents message reader"),
        "{registered:?}"
    );
    let shown = cli.json("agents show reader");
    assert_eq!(shown["capabilities"], json!(["read", "count"]));
    assert_eq!((&shown["version"], &shown["contactEndpoint"]), (&json!("2.1"), &json!(agent.url())));
    assert_eq!(shown["metadata"], json!({"team": "docs", "concurrency": 3}));
    let message = cli.ok_with("agents message reader", &["{}"]);
    agent.next();
    cli.api().message_becomes(message.trim(), "delivered", PATIENCE);

    let (told, code) = cli.refused("agents register reader --connects");
    assert!(code == 1 && told.contains("there is an agent 'reader' already; --replace"), "{told}");
    let again = cli.json("agents register reader --connects --replace");
    assert_eq!(again["agentId"], id, "it keeps its id");
    for line in ["agents register other", "agents register other --connects --endpoint http://127.0.0.1:9"] {
        assert_eq!(cli.refused(line).1, 2, "{line}");
    }
    let (told, code) = cli.refused("agents register other --connects --metadata 3");
    assert!(code == 2 && told.contains("--metadata"), "{told}");
}

#[test]
fn an_agent_that_connects_is_told_what_it_needs() {
    let cli = Cli::start();
    let registered = cli.run("agents register robot --id robot-1 --connects --capability move", &[]);
    assert_eq!(registered.stdout, "robot-1\n", "{registered:?}");
    assert!(registered.stderr.contains("signalbox keys create robot --scope agent"), "{registered:?}");
    assert!(cli.json("agents show robot-1")["contactEndpoint"].is_null());
}

#[test]
fn an_agent_is_registered_with_its_ssh_key_or_not_at_all() {
    let cli = Cli::start();
    let file = cli.server.setup().dir().join("vault.pub");
    let name = file.to_str().unwrap();
    std::fs::write(&file, format!("{PUBLIC}\n")).unwrap();
    let registered = cli.run("agents register vault --id vault --capability measure --ssh-key", &[name]);
    assert_eq!((registered.stdout.as_str(), registered.code), ("vault\n", Some(0)), "{registered:?}");
    assert!(
        registered.stderr.contains("it signs in as vault") && registered.stderr.contains("SHA256:"),
        "{registered:?}"
    );
    let keys = cli.ok("ssh-keys list");
    assert!(row(&keys, "vault").contains("active"), "{keys}");

    // Whoever repeats it gets what is there.
    let again = cli.run("agents register vault --capability measure --replace --ssh-key", &[name]);
    assert_eq!((again.stdout.as_str(), again.code), ("vault\n", Some(0)), "{again:?}");
    assert!(again.stderr.contains("it signs in as vault") && again.stderr.contains("SHA256:"), "{again:?}");
    assert_eq!(cli.json("ssh-keys list").as_array().unwrap().len(), 1);

    // The key is another agent's: this one could never sign in.
    let refused = cli.run("agents register second --ssh-key", &[name]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the agent is not registered"), "{refused:?}");
    assert_eq!(cli.json("agents list").as_array().unwrap().len(), 1);
    std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let private = cli.run("agents register third --ssh-key", &[name]);
    assert!(private.code == Some(1) && private.stderr.contains("the private half"), "{private:?}");
}

/// A server that registers, answers keys with one status and removals with another.
fn with_keys_answered(key: u16, removal: u16) -> (Agent, std::process::Output) {
    let server = Agent::answering(move |asked, _| match (asked.method.as_str(), asked.path.as_str()) {
        ("DELETE", _) => AgentReply::Status(removal),
        (_, path) if path.starts_with("/api/v1/ssh-keys") => AgentReply::Status(key),
        _ => AgentReply::Created(json!({"data": {"agentId": "agt_1"}})),
    });
    let setup = alone();
    let file = setup.dir().join("vault.pub");
    std::fs::write(&file, PUBLIC).unwrap();
    let url = server.url();
    let mut command = setup.bare_command();
    command.args(["agents", "register", "vault", "--ssh-key"]).arg(&file);
    command.env("SIGNALBOX_URL", url.trim_end_matches("/run")).env("SIGNALBOX_API_KEY", "key");
    let output = command.output().expect("the binary starts");
    (server, output)
}

#[test]
fn an_agent_goes_only_where_its_key_is_surely_refused() {
    for (key, removal, is_removed, words) in [
        (500, 200, false, "whether its key was added is not known"),
        (403, 200, true, "the agent is not registered, for its key is not taken"),
        (403, 500, true, "agent agt_1 is registered without its key"),
    ] {
        let (server, output) = with_keys_answered(key, removal);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(words) && told.contains(&key.to_string()), "{told}");
        assert_eq!(server.all().iter().any(|asked| asked.method == "DELETE"), is_removed, "{told}");
    }
}
