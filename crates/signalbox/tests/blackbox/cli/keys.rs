//! `signalbox keys` and `signalbox ssh-keys`.

use serde_json::json;

use super::{Cli, heads, row};

#[test]
fn keys_are_made_rotated_and_revoked() {
    let cli = Cli::start();
    let made = cli.run("keys create ci --scope agent --expires-in 90d", &[]);
    let is_alone = |text: &str| text.starts_with("sbk_") && text.lines().count() == 1;
    assert!(is_alone(&made.stdout) && made.stderr.contains("shown this once"), "{made:?}");
    let listed = cli.run_with_key(made.stdout.trim(), "agents list");
    assert_eq!(listed.code, Some(0), "what a script keeps of it is the key: {listed:?}");
    assert!(cli.ok("keys create more --scope read -o wide").contains("scope"), "all about it");
    let table = cli.ok("keys list");
    assert_eq!(heads(&table), ["NAME", "ID", "SCOPE", "LAST USED", "EXPIRES"]);
    assert!(row(&table, "ci").contains("agent") && !table.contains("sbk_"), "{table}");
    let id =
        cli.json("keys list").as_array().unwrap().iter().find(|key| key["name"] == "ci").unwrap()["keyId"]
            .as_str()
            .unwrap()
            .to_owned();
    let rotated = cli.json(&format!("keys rotate {id} --keep-earlier-for 1h"));
    assert!(is_alone(&cli.ok(&format!("keys rotate {id}"))));
    assert!(rotated["key"].as_str().is_some_and(|key| key.starts_with("sbk_")), "{rotated}");
    assert!(cli.said(&format!("keys revoke {id}")).contains("is revoked"));
    let (told, code) = cli.refused("keys revoke key_nope");
    assert!(code == 1 && told.contains("there is no key 'key_nope'"), "{told}");
}

#[test]
fn ssh_keys_are_added_and_revoked() {
    let cli = Cli::start();
    let agent = cli.api().register_at("robot", "http://127.0.0.1:9/run", &[]);
    let file = cli.server.setup().dir().join("key.pub");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl robot";
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let added = cli.run("ssh-keys add robot --agent robot", &[file.to_str().unwrap()]);
    assert!(added.code == Some(0) && added.stderr.contains("SSH key robot is added as "), "{added:?}");
    let table = cli.ok("ssh-keys list");
    assert_eq!(heads(&table), ["NAME", "ID", "TYPE", "STATUS", "AGENT"]);
    assert!(row(&table, "robot").contains(&agent), "{table}");
    let id = cli.json("ssh-keys list")[0]["key_id"].as_str().unwrap().to_owned();
    assert!(cli.ok(&format!("ssh-keys show {id}")).contains("SHA256:"));
    assert_eq!(cli.json(&format!("ssh-keys show {id}"))["status"], "active");
    assert!(cli.said(&format!("ssh-keys revoke {id} --reason lost")).contains("is revoked"));
    assert_eq!(cli.json(&format!("ssh-keys show {id}"))["revoked_reason"], "lost");
    assert!(cli.said(&format!("ssh-keys delete {id}")).contains("is deleted"));
    assert_eq!(cli.json("ssh-keys list"), json!([]));
}
