//! `signalbox agents register`.

use serde_json::json;

use super::{Cli, row};
use crate::support::{Agent, PATIENCE};

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

    // The key is another agent's: this one could never sign in.
    let refused = cli.run("agents register second --ssh-key", &[name]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the agent is not registered"), "{refused:?}");
    assert_eq!(cli.json("agents list").as_array().unwrap().len(), 1);
    std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let private = cli.run("agents register third --ssh-key", &[name]);
    assert!(private.code == Some(1) && private.stderr.contains("the private half"), "{private:?}");
}
