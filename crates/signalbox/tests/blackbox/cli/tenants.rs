//! `signalbox tenants`, and `--tenant`.

use serde_json::json;

use super::{Cli, heads, row};
use crate::support::{Database, PLATFORM_KEY, Setup};

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

#[test]
fn a_tenant_is_named_by_its_name_and_only_with_the_platform_key() {
    let server = Setup::new(&Database::sqlite()).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let cli = Cli { server };
    let platform = |line: &str| cli.run_with_key(PLATFORM_KEY, line);
    let made = platform("tenants create acme -o json");
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let (id, key) = (made["tenant_id"].as_str().unwrap(), made["api_key"].as_str().unwrap());
    cli.run_with_key(key, "agents register reader --connects");

    for tenant in ["acme", id] {
        let listed = platform(&format!("agents list --tenant {tenant}"));
        assert!(row(&listed.stdout, "reader").starts_with("reader"), "{tenant}: {listed:?}");
    }
    assert!(platform("tenants show acme").stdout.contains(id));
    let unknown = platform("agents list --tenant nope");
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.stderr.contains("there is no tenant 'nope'; 'signalbox tenants list' shows"),
        "{unknown:?}"
    );
    let own = cli.run_with_key(key, &format!("agents list --tenant {id}"));
    assert_eq!(own.code, Some(0), "a key may name its own tenant: {own:?}");

    // The admin key of the tenant 'default', and a key of one tenant.
    for (key, whose) in
        [(crate::support::KEY, "the admin key of the tenant 'default'"), (key, "of the tenant 'tnt_")]
    {
        for tenant in ["acme", "tnt_035f1ee60f5fec593cfd331c3f"] {
            let refused = cli.run_with_key(key, &format!("agents list --tenant {tenant}"));
            assert!(refused.code == Some(1) && refused.stdout.is_empty(), "{tenant}: {refused:?}");
            for part in [whose, "Only the platform key", "SIGNALBOX_API_KEY", "platform.key"] {
                assert!(refused.stderr.contains(part), "{part}: {refused:?}");
            }
        }
    }
    let listed = cli.run("tenants list", &[]);
    assert!(listed.code == Some(1) && listed.stderr.contains("platform.key"), "{listed:?}");
}

#[test]
fn several_tenants_of_one_name_are_told_by_their_ids() {
    let server = Setup::new(&Database::sqlite()).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let cli = Cli { server };
    for _ in 0..2 {
        assert_eq!(cli.run_with_key(PLATFORM_KEY, "tenants create twin").code, Some(0));
    }
    let refused = cli.run_with_key(PLATFORM_KEY, "agents list --tenant twin");
    assert!(refused.code == Some(1) && refused.stderr.contains("give one's id: tnt_"), "{refused:?}");
}
