//! What is taken, what is refused, and how that is told.

use std::ffi::OsString;

use super::*;

/// What is read from flags and variables, as text where it is refused.
fn given(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let arguments = flags.iter().map(OsString::from).collect();
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    read::read(arguments, &environment).map_err(|error| error.to_string())
}

#[test]
fn durations_are_written_as_in_the_api() {
    for (text, millis) in [
        ("0s", 0),
        ("500ms", 500),
        ("900", 900_000),
        ("1h30m", 5_400_000),
        ("PT15M", 900_000),
        ("1w", 604_800_000),
    ] {
        let config = given(&["--shutdown-timeout", text], &[]).expect(text);
        assert_eq!(config.server.shutdown_timeout, Duration::from_millis(millis), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "1 h", "99999999999999999999s", "9999999999d", "soon"] {
        let refused = given(&[&format!("--shutdown-timeout={text}")], &[]).expect_err(text);
        assert!(refused.contains("must be a duration"), "{refused}");
    }
}

#[test]
fn all_faults_are_told_each_with_its_source() {
    let folder = std::env::temp_dir().join(format!("signalbox-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let path = folder.join("some.toml");
    std::fs::write(
        &path,
        "connections_max = 5\n\nbody_byte_max = 7\ntask_timeout = \"soon\"\nbus = { a = 1 }\n",
    )
    .expect("file");
    let file = path.to_str().expect("text");
    let refused = given(
        &["--lissten", "localhost:1", "--delivery-attempts", "0", "--config", file],
        &[
            ("SIGNALBOX_DATA_DRI", "x"),
            ("SIGNALBOX_STORE_TIMEOUT", "0s"),
            ("OPSCORE_API_KEY", "hunter2"),
            ("AGENTKIT_API_URL", "ftp://kit"),
            ("SIGNALBOX_LOG_FORMAT", "xml"),
            ("OPSCORE_API_KYE", "hunter2"),
            ("OPSCORE_API_URL", "http://ops:8000"),
            ("SIGNALBOX_URL", "http://127.0.0.1:8000"),
        ],
    );
    let refused = refused.expect_err("all of it is wrong");
    for expected in [
        "has 11 faults".to_owned(),
        "--lissten: there is no such flag; did you mean '--listen'?".to_owned(),
        "variable OPSCORE_API_KYE: there is no such setting; did you mean 'OPSCORE_API_KEY'?".to_owned(),
        "flag --delivery-attempts: '0' must be a whole number".to_owned(),
        "variable SIGNALBOX_DATA_DRI: there is no such setting; did you mean 'SIGNALBOX_DATA_DIR'?"
            .to_owned(),
        "variable SIGNALBOX_STORE_TIMEOUT: '0s' must be longer".to_owned(),
        "variable OPSCORE_API_KEY: has 7 characters".to_owned(),
        "variable AGENTKIT_API_URL: 'ftp://kit' has the scheme 'ftp'".to_owned(),
        "variable SIGNALBOX_LOG_FORMAT: 'xml' must be one of auto, json, text".to_owned(),
        format!("{file}:3: unknown key 'body_byte_max'; did you mean 'body_bytes_max'?"),
        format!("{file}:4: task_timeout 'soon' must be a duration"),
        format!("{file}:5: the value of 'bus' must be"),
    ] {
        assert!(refused.contains(&expected), "{expected} is not in {refused}");
    }
    assert!(!refused.contains("hunter2"), "{refused}");
    std::fs::remove_dir_all(&folder).expect("clean up");
}

#[test]
fn a_broken_file_is_told_with_its_line() {
    let path = std::env::temp_dir().join(format!("signalbox-broken-{}.toml", std::process::id()));
    std::fs::write(&path, "bus = \"local\"\nlisten = [\n").expect("file");
    let file = path.to_str().expect("text");
    let refused = given(&["--config", file], &[]).expect_err("no TOML");
    assert!(refused.contains(&format!("{file}:")), "{refused}");
    std::fs::remove_file(&path).expect("clean up");
}

#[test]
fn a_name_is_resolved_and_a_service_is_named_with_or_without_its_version() {
    let config = given(&["--listen", "localhost:0"], &[]).expect("a name");
    assert!(config.server.listen.ip().is_loopback());
    for refused in ["localhost", ":8000", "localhost:eight", "8000"] {
        assert!(given(&["--listen", refused], &[]).expect_err(refused).contains("localhost:8000"));
    }
    for url in ["http://kit:8000", "http://kit:8000/", "http://kit:8000/v1", "http://kit:8000/v1/"] {
        let config = given(&["--surfaces", "opscore"], &[("AGENTKIT_API_URL", url)]).expect(url);
        assert_eq!(config.dispatches_through(), Some("http://kit:8000"), "{url}");
    }
}

#[test]
fn lists_and_switches_are_read_from_everywhere() {
    let config = given(&[], &[("SIGNALBOX_SURFACES", "agentkit,opscore"), ("SIGNALBOX_INSECURE", "yes")]);
    let config = config.expect("good");
    assert_eq!((config.server.surfaces.len(), config.server.insecure), (2, true));
    let config = given(&["--insecure", "--surfaces", "artcafe"], &[("SIGNALBOX_INSECURE", "no")]);
    let config = config.expect("good");
    assert_eq!((config.server.surfaces, config.server.insecure), (vec![Surface::Artcafe], true));
    assert!(given(&[], &[("SIGNALBOX_INSECURE", "maybe")]).expect_err("no switch").contains("true or false"));
    let help = given(&["--help"], &[]).expect_err("help");
    for expected in ["--listen", "[default: 127.0.0.1:8000]", "- auto: Text on a terminal, JSON elsewhere"] {
        assert!(help.contains(expected), "{expected} is not in {help}");
    }
}

#[test]
fn limits_have_bounds() {
    for (flag, text) in [
        ("--connections-max", "0"),
        ("--connections-max", "18446744073709551615"),
        ("--deliveries-max", "0"),
        ("--deliveries-per-destination-max", "0"),
        ("--delivery-attempts", "0"),
        ("--commit-queue-max", "0"),
        ("--body-bytes-max", "0"),
        ("--cache-bytes", "99999999999999999"),
        ("--store-timeout", "0s"),
        ("--agent-sync-interval", "0ms"),
    ] {
        let refused = Config::read([flag, text].map(OsString::from)).expect_err(flag).to_string();
        assert!(refused.contains(flag) && refused.contains("must be"), "{refused}");
    }
    assert!(Config::read(["--connections-max", "1"].map(OsString::from)).is_ok());
}

#[test]
fn a_file_is_overruled_by_flags_and_its_unknown_keys_are_refused() {
    let folder = std::env::temp_dir().join(format!("signalbox-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let path = folder.join("some.toml");
    let read = |content: &str, extra: &[&str]| {
        std::fs::write(&path, content).expect("file");
        let arguments = ["--config", path.to_str().expect("text")].into_iter().chain(extra.iter().copied());
        Config::read(arguments.map(OsString::from))
    };
    let config = read(
        "listen = \"127.0.0.1:9\"\nbody_bytes_max = 7\nsurfaces = [\"opscore\"]\ninsecure = true",
        &["--body-bytes-max", "8"],
    );
    let config = config.expect("a good file");
    assert_eq!(config.server.listen.port(), 9);
    assert_eq!(config.http.body_bytes_max, 8);
    assert_eq!(config.server.surfaces, [Surface::Opscore]);
    assert!(config.server.insecure);
    let fault = read("lisen = 1", &[]).expect_err("unknown key").to_string();
    assert!(fault.contains("lisen"), "{fault}");
    assert!(read("listen = \"nowhere\"", &[]).is_err());
    std::fs::remove_dir_all(&folder).expect("clean up");
}

#[test]
fn secrets_do_not_print() {
    let arguments = ["--opscore-api-key", "s3cret-s3cret-s3cret", "--database", "postgres://u:pw@h/d"];
    let config = Config::read(arguments.map(OsString::from)).expect("good flags");
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cret") && !printed.contains("pw@"), "{printed}");
}
