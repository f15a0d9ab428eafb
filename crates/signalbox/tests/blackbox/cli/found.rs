//! How the commands find the server and the key of their folder, and what is said where neither is there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Printed, alone, row};
use crate::support::{PATIENCE, Server, Setup, eventually};

/// A command in the setup's folder, with nothing in its environment that names a server or a key.
fn run(setup: &Setup, line: &str) -> Printed {
    run_with(setup, line, &[])
}

fn run_with(setup: &Setup, line: &str, variables: &[(&str, &str)]) -> Printed {
    let mut command = setup.bare_command();
    command.env_remove("OPSCORE_API_KEY").args(line.split_whitespace()).envs(variables.iter().copied());
    Printed::of(command.output().expect("the binary starts"))
}

/// A server whose data directory is the usual one in its folder.
fn here(listen: &str) -> Server {
    let setup = alone().without_key().listen(Some(listen));
    let data = setup.dir().join("signalbox-data");
    setup.data_dir(Some(data)).start()
}

fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn commands_find_the_server_of_their_folder() {
    let mut server = here("127.0.0.1:0");
    let setup = server.setup().clone();
    let url = server.url("");
    let file = server.data_dir().join("address");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), url);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = run(&setup, "agents list");
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), "there is no agent\n"), "{listed:?}");
    let doctor = run(&setup, "doctor");
    assert!(
        row(&doctor.stdout, "server").contains(&format!("{url} (from signalbox-data/address)")),
        "{doctor:?}"
    );
    let named = run_with(&setup, "agents list", &[("SIGNALBOX_URL", "http://127.0.0.1:9")]);
    assert!(named.stderr.contains("http://127.0.0.1:9"), "a variable counts first: {named:?}");
    assert_eq!(run(&setup, "config set away --server http://127.0.0.1:9").code, Some(0));
    let named = run(&setup, "agents list");
    assert!(named.stderr.contains("http://127.0.0.1:9"), "so does a profile: {named:?}");
    assert_eq!(run(&setup, "config remove away").code, Some(0));

    server.kill();
    let killed = run(&setup, "agents list");
    let expected = format!(
        "error: no server at {url} (from signalbox-data/address; it may have been killed): start one with \
         'signalbox serve', or name another with --url\n"
    );
    assert_eq!((killed.code, killed.stderr), (Some(1), expected));
    server.restart();
    assert_eq!(run(&setup, "agents list").code, Some(0), "the next one tells its own");
    server.terminate();
    assert!(server.ended(PATIENCE).success());
    assert!(!file.exists(), "an orderly stop takes it away");
}

#[test]
fn a_server_on_all_addresses_is_found_on_loopback() {
    let setup = alone().listen(Some("0.0.0.0:0"));
    let data = setup.dir().join("signalbox-data");
    let server = setup.data_dir(Some(data.clone())).start();
    let told = fs::read_to_string(data.join("address")).unwrap();
    assert!(told.starts_with("http://127.0.0.1:"), "{told}");
    let mut command = server.setup().bare_command();
    let listed = Printed::of(command.args(["agents", "list"]).output().unwrap());
    assert_eq!(listed.code, Some(0), "{listed:?}");
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let setup = alone();
    let cure = "start one with 'signalbox serve', or name another with --url or SIGNALBOX_URL\n";
    for line in ["agents list", "agents show reader", "workflows list", "sessions list", "logs", "keys list"]
    {
        let mut command = setup.bare_command();
        command.args(line.split_whitespace()).args(["--url", "http://127.0.0.1:9"]);
        let gone = Printed::of(command.output().unwrap());
        let expected = format!("error: no server at http://127.0.0.1:9 (from --url): {cure}");
        assert_eq!((gone.code, gone.stderr), (Some(1), expected), "{line}");
    }
    let named = run_with(
        &setup,
        "agents list",
        &[("SIGNALBOX_URL", "http://127.0.0.1:9"), ("SIGNALBOX_API_KEY", "a-key-of-16-chars")],
    );
    let place = "http://127.0.0.1:9 (from the variable SIGNALBOX_URL)";
    assert_eq!(named.stderr, format!("error: no server at {place}: {cure}"));
    let unknown = run_with(
        &setup,
        "agents list",
        &[("SIGNALBOX_URL", "http://nowhere.invalid"), ("SIGNALBOX_API_KEY", "a-key-of-16-chars")],
    );
    assert!(
        unknown.stderr.contains("could not be reached: ") && unknown.stderr.ends_with(cure),
        "{unknown:?}"
    );
    assert!(!unknown.stderr.contains("/v1/"), "{unknown:?}");
}

#[test]
fn a_key_that_cannot_be_sent_is_told_with_where_it_is_from() {
    let setup = alone();
    let bad = "a key\nof two lines";
    let told = run_with(&setup, "agents list --url http://127.0.0.1:9", &[("SIGNALBOX_API_KEY", bad)]);
    let expected = "error: the API key of the variable SIGNALBOX_API_KEY cannot be used: it holds characters that no \
                    HTTP header may hold; give it anew\n";
    assert_eq!((told.code, told.stderr.as_str()), (Some(1), expected));
    let doctor = run_with(&setup, "doctor --url http://127.0.0.1:9", &[("SIGNALBOX_API_KEY", bad)]);
    assert!(
        row(&doctor.stdout, "key ").contains("the API key of the variable SIGNALBOX_API_KEY cannot"),
        "{doctor:?}"
    );
    let data = setup.dir().join("signalbox-data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("admin.key"), bad).unwrap();
    let told = run(&setup, "agents list --url http://127.0.0.1:9");
    assert!(told.stderr.contains("the API key of signalbox-data/admin.key cannot be used"), "{told:?}");
    fs::remove_file(data.join("admin.key")).unwrap();
    let none = run(&setup, "agents list --url http://127.0.0.1:9");
    assert!(
        none.stderr
            .ends_with("--data-dir (signalbox-data/admin.key cannot be read: No such file or directory)\n"),
        "{none:?}"
    );
}

#[test]
fn a_port_that_is_taken_leaves_no_data_directory() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = alone().without_key().listen(Some(&address));
    let refused = setup.clone().try_start().err().expect("the port is taken");
    assert!(refused.stderr.contains(&format!("cannot listen on {address}")), "{}", refused.stderr);
    assert_eq!(entries(setup.dir()), [""; 0], "nothing is made");
    drop(taken);
    setup.start().get("/ready").is(200);
}

#[test]
fn the_log_says_at_the_start_what_is_open_without_a_key() {
    let local =
        "without a key, programs on this machine may use the AgentKit surface; everything else needs one";
    for (flag, rule) in [("", local), ("--require-keys", "without a key nothing is open")] {
        let server = alone().args(Some(flag).filter(|flag| !flag.is_empty())).start();
        eventually("the line of the log", || {
            let log = server.stderr();
            if log.contains(rule) { Ok(()) } else { Err(log) }
        });
        let is_open = server.without_key().get("/v1/agents").status == 200;
        assert_eq!(is_open, flag.is_empty(), "it is as the log says");
        server.without_key().get("/v1/opscore/sessions").problem(401);
    }
}
