//! What needs no server, or finds one: `doctor`, `init`, `config`, `completions`, and how errors and misuse end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::{Cli, Printed, alone, heads, row};
use crate::support::{Database, KEY, Setup};

fn run(setup: &Setup, line: &str) -> Printed {
    Printed::of(setup.bare_command().args(line.split_whitespace()).output().expect("the binary starts"))
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let cli = Cli::start();
    let data = cli.server.data_dir();
    let line = format!("doctor --data-dir {}", data.display());
    let table = cli.ok(&line);
    assert_eq!(heads(&table), ["CHECK", "STATUS", "FOUND"]);
    for check in ["configuration", "data directory", "disk", "server", "clock", "database", "bus", "key"] {
        assert!(row(&table, check).contains(" ok"), "{check}: {table}");
    }
    let checks = cli.json(&line);
    assert!(checks.as_array().unwrap().iter().all(|check| check["status"] == "ok"), "{checks}");

    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let table = cli.ok(&line);
    assert!(row(&table, "data directory").contains("warn") && table.contains("chmod 700"), "{table}");
    let mut wrong = cli.command("doctor", &[]);
    let wrong = Printed::of(wrong.env("SIGNALBOX_API_KEY", "wrong-key-0123456789").output().unwrap());
    assert!(wrong.code == Some(1) && row(&wrong.stdout, "key").contains("fail"), "{wrong:?}");
    assert!(wrong.stdout.contains("SIGNALBOX_API_KEY"), "{wrong:?}");
    assert_eq!(wrong.stdout.matches("variable SIGNALBOX_API_KEY").count(), 1, "{wrong:?}");

    let setup = alone().without_key();
    fs::write(setup.dir().join("signalbox.toml"), "listn = \"127.0.0.1:1\"\n").unwrap();
    let nothing = run(&setup, "doctor --url http://127.0.0.1:9");
    assert_eq!(nothing.code, Some(1));
    assert!(row(&nothing.stdout, "configuration").contains("fail"), "{nothing:?}");
    assert!(nothing.stdout.contains("did you mean 'listen'?"), "{nothing:?}");
    for once in ["signalbox serve", "did you mean 'listen'?", "http://127.0.0.1:9", "could not be reached"] {
        assert_eq!(nothing.stdout.matches(once).count(), 1, "{once} is told once: {nothing:?}");
    }
    assert!(nothing.stdout.contains("could not be reached: Connection refused\n"), "{nothing:?}");
}

#[test]
fn init_writes_a_configuration_that_serves() {
    let setup = alone();
    let written = run(&setup, "init");
    assert!(written.code == Some(0) && written.stderr.contains("wrote signalbox.toml"), "{written:?}");
    let text = fs::read_to_string(setup.dir().join("signalbox.toml")).unwrap();
    assert!(text.contains("#listen = \"127.0.0.1:8000\""), "{text}");
    assert_eq!(run(&setup, "init -").stdout, text);
    let again = run(&setup, "init");
    assert!(again.code == Some(1) && again.stderr.contains("--force"), "{again:?}");
    assert_eq!(run(&setup, "init --force").code, Some(0));
    setup.start().get("/ready").is(200);
}

#[test]
fn profiles_name_servers() {
    let cli = Cli::start();
    let folder = cli.server.setup().dir().join("config");
    let ask = |line: &str, more: &[&str]| {
        let mut command = cli.server.setup().bare_command();
        command.args(line.split_whitespace()).args(more).env_remove("OPSCORE_API_KEY");
        Printed::of(command.env("SIGNALBOX_CONFIG_DIR", &folder).output().unwrap())
    };
    assert!(ask("config list", &[]).stderr.contains("there is no profile"));
    let key = cli.server.setup().dir().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    let set = ask("config set here --server", &[&cli.server.url(""), "--key-file", key.to_str().unwrap()]);
    assert!(set.code == Some(0) && set.stderr.contains("profile here is kept"), "{set:?}");
    let file = folder.join("config.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ask("config path", &[]).stdout.trim(), file.to_str().unwrap());
    let listed = ask("agents list -o json", &[]);
    assert_eq!((listed.stdout.trim(), listed.code), ("[]", Some(0)), "{listed:?}");
    ask("config set away --server http://127.0.0.1:9", &[]);
    let table = ask("config list", &[]).stdout;
    assert_eq!(heads(&table), ["CURRENT", "NAME", "SERVER", "KEY", "TENANT"]);
    assert!(row(&table, "here").starts_with('*') && !table.contains(KEY), "{table}");
    let profiles: Value = serde_json::from_str(&ask("config list -o json", &[]).stdout).unwrap();
    assert_eq!(profiles.as_array().unwrap().len(), 2);
    assert!(!ask("config show", &[]).stdout.contains(KEY));
    assert!(ask("config use away", &[]).stderr.contains("is the current one"));
    assert_eq!(ask("agents list", &[]).code, Some(1), "it asks the other server, without a key");
    assert_eq!(ask("agents list --profile here", &[]).code, Some(0));
    assert!(ask("config remove away", &[]).stderr.contains("is removed"));
    let unknown = ask("agents list --profile nope", &[]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no profile 'nope'"), "{unknown:?}");
    let bad = ask("config set bad --server localhost:8000", &[]);
    assert!(bad.code == Some(1) && bad.stderr.contains("write it as http://localhost:8000"), "{bad:?}");
}

#[test]
fn server_and_key_are_found_in_this_order() {
    let cli = Cli::start();
    let ask = |variables: &[(&str, &str)], line: &str| {
        let mut command: Command = cli.server.setup().bare_command();
        command.env_remove("OPSCORE_API_KEY").args(line.split_whitespace()).envs(variables.iter().copied());
        Printed::of(command.output().unwrap())
    };
    let url = cli.server.url("");
    let good = |variables: &[(&str, &str)], line: &str| {
        let printed = ask(variables, line);
        assert_eq!(printed.code, Some(0), "{variables:?} {line}: {printed:?}");
    };
    good(&[("SIGNALBOX_URL", &url), ("SIGNALBOX_API_KEY", KEY), ("OPSCORE_API_KEY", "other")], "agents list");
    good(&[("OPSCORE_API_URL", &url), ("OPSCORE_API_KEY", KEY)], "agents list");
    good(
        &[("SIGNALBOX_URL", "http://127.0.0.1:9"), ("SIGNALBOX_API_KEY", KEY)],
        &format!("agents list --url {url}"),
    );
    let wrong = ask(&[("SIGNALBOX_URL", &url), ("SIGNALBOX_API_KEY", "wrong-key")], "agents list");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("does not take the key of the variable SIGNALBOX_API_KEY"), "{wrong:?}");
    let none = ask(&[("SIGNALBOX_URL", &url)], "agents list");
    assert!(none.code == Some(1) && none.stderr.contains("signalbox-data/admin.key"), "{none:?}");
    let data = alone().without_key().start();
    let line = format!("agents list --data-dir {} --url {}", data.data_dir().display(), data.url(""));
    good(&[], &line);
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(&alone(), &["completions", shell].join(" "));
        assert!(printed.code == Some(0) && printed.stdout.contains("dead-letters"), "{shell}: {printed:?}");
        assert!(printed.stdout.contains("data-dir"), "{shell}");
    }
    assert_eq!(run(&alone(), "completions tcsh").code, Some(2));
}

#[test]
fn misuse_ends_with_2_and_what_cannot_be_asked_with_1() {
    let setup = Setup::new(&Database::sqlite());
    for line in
        ["nonsense", "agents", "agents list --nope", "agents list -o xml", "sessions list --since yesterday"]
    {
        assert_eq!(run(&setup, line).code, Some(2), "{line}");
    }
    let gone = run(&setup, "agents list --url http://127.0.0.1:9");
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.starts_with("error: no server at http://127.0.0.1:9 "), "{gone:?}");
    assert!(run(&setup, "--help").stdout.contains("Exit codes"));
}

#[test]
fn serve_reads_what_follows_it_as_every_command_does() {
    for line in ["serve --help", "serve -- --help", "demo-server -- --help"] {
        let printed = run(&alone(), line);
        assert!(printed.code == Some(0) && printed.stdout.contains("--data-dir"), "{line}: {printed:?}");
    }
    for line in ["serve --nope", "serve -- --nope", "demo-server --nope"] {
        assert_eq!(run(&alone(), line).code, Some(2), "{line}");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn an_allocator_of_its_own_takes_the_place_of_the_c_librarys() {
    let mut version = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    let told = version.arg("--version").env("MIMALLOC_VERBOSE", "1").output().unwrap();
    // It is in the binary as a whole, `malloc` with it, or not at all.
    assert!(String::from_utf8_lossy(&told.stderr).contains("mimalloc"), "{told:?}");
}

#[test]
fn the_reference_has_every_group() {
    let page = run(&alone(), "reference cli").stdout;
    for heading in
        ["## signalbox agents", "### signalbox sessions watch", "## Exit codes", "## signalbox serve"]
    {
        assert!(page.lines().any(|line| line == heading), "{heading}");
    }
    assert_eq!(json!(page.contains("demo-agent")), json!(false));
}
