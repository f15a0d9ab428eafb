//! `signalbox tenants`, `keys` and `ssh-keys`.

use serde_json::json;

use super::{Cli, heads, row};
use crate::support::{Database, PLATFORM_KEY, Setup};

#[test]
fn keys_are_made_rotated_and_revoked() {
    let cli = Cli::start();
    let made = cli.run("keys create ci --scope agent --expires-in 90d", &[]);
    assert!(made.stdout.contains("sbk_") && made.stderr.contains("shown this once"), "{made:?}");
    let table = cli.ok("keys list");
    assert_eq!(heads(&table), ["NAME", "ID", "SCOPE", "LAST USED", "EXPIRES"]);
    assert!(row(&table, "ci").contains("agent") && !table.contains("sbk_"), "{table}");
    let id =
        cli.json("keys list").as_array().unwrap().iter().find(|key| key["name"] == "ci").unwrap()["keyId"]
            .as_str()
            .unwrap()
            .to_owned();
    let rotated = cli.json(&format!("keys rotate {id} --keep-earlier-for 1h"));
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

#[test]
fn tenants_are_made_limited_and_removed() {
    let server = Setup::new(&Database::sqlite()).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let cli = Cli { server };
    let platform = |line: &str| {
        let mut command = cli.command(line, &[]);
        let output = command.env("SIGNALBOX_API_KEY", PLATFORM_KEY).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{line}: {output:?}");
        (text(&output.stdout), text(&output.stderr))
    };
    let read = |line: &str| {
        serde_json::from_str::<serde_json::Value>(&platform(&format!("{line} -o json")).0).unwrap()
    };
    let (made, told) = platform("tenants create acme --agents 5");
    assert!(made.contains("api_key") && told.contains("shown this once"), "{made} {told}");
    let (table, _) = platform("tenants list");
    assert_eq!(heads(&table), ["NAME", "ID", "MADE"]);
    let tenants = read("tenants list");
    let acme = tenants.as_array().unwrap().iter().find(|tenant| tenant["name"] == "acme").unwrap();
    let id = acme["tenant_id"].as_str().unwrap().to_owned();
    assert_eq!(read(&format!("tenants show {id}"))["limits"]["agents"], 5);
    assert!(platform(&format!("tenants update {id} --name acme2 --channels 3")).1.contains("is updated"));
    assert!(platform(&format!("tenants show {id}")).0.contains("channels: 3"));
    assert_eq!(read(&format!("agents list --tenant {id}")), json!([]), "the platform key acts in any tenant");
    assert!(platform(&format!("tenants delete {id} --yes")).1.contains("is deleted"));
    let usage = cli.ok("tenants usage --days 3");
    assert_eq!(heads(&usage), ["DATE", "AGENTS", "CONNECTIONS", "MESSAGES", "TASKS"]);
    assert_eq!(usage.lines().count(), 4);
    assert_eq!(cli.json("tenants usage --days 3")["days"].as_array().unwrap().len(), 3);
    let (told, code) = cli.refused(&format!("tenants delete {id}"));
    assert!(code == 2 && told.contains("--yes"), "{told}");
}
