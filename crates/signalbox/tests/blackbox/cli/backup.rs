//! `signalbox backup` and `signalbox restore`: what they print, and what they refuse.

use std::fs;
use std::path::Path;

use super::{Cli, Printed, alone};

/// A command with directories among its words, and nothing but those.
fn run(words: &[&Path]) -> Printed {
    let setup = alone();
    Printed::of(setup.bare_command().args(words).output().expect("the binary starts"))
}

fn backup(to: &Path, data: &Path) -> Printed {
    run(&[Path::new("backup"), to, Path::new("--data-dir"), data])
}

fn restore(from: &Path, data: &Path) -> Printed {
    run(&[Path::new("restore"), from, Path::new("--data-dir"), data])
}

#[track_caller]
fn refused(printed: &Printed, parts: &[&str]) {
    assert!(printed.code == Some(1) && printed.stdout.is_empty(), "{printed:?}");
    for part in parts {
        assert!(printed.stderr.contains(part), "{part}: {printed:?}");
    }
}

#[test]
fn a_running_server_is_copied_and_restored_elsewhere() {
    let cli = Cli::start();
    let id = cli.api().register_at("kept", "http://127.0.0.1:9/run", &[]);
    let (data, dir) = (cli.server.data_dir(), cli.server.setup().dir().to_owned());
    let (copy, new) = (dir.join("copy"), dir.join("new"));

    let copied = backup(&copy, &data);
    assert_eq!((copied.code, copied.stdout.as_str()), (Some(0), ""), "{copied:?}");
    for part in
        ["copied platform.key", "signalbox.db", &data.display().to_string(), &copy.display().to_string()]
    {
        assert!(copied.stderr.contains(part), "{part}: {copied:?}");
    }
    refused(&backup(&copy, &data), &[&copy.display().to_string(), "is not empty; name a directory"]);
    refused(&backup(&dir.join("other"), &dir.join("nowhere")), &["there is no signalbox.db", "--data-dir"]);
    assert!(!dir.join("other").exists(), "what is refused leaves nothing");
    let parent = dir.join("no").join("such");
    refused(
        &backup(&parent.join("copy"), &data),
        &[&format!("there is no {0}; make that first ('mkdir -p {0}')", parent.display())],
    );
    assert!(!dir.join("no").exists(), "no parent is made");

    refused(&restore(&copy, &data), &[&data.display().to_string(), "in use", "--data-dir"]);
    let restored = restore(&copy, &new);
    assert_eq!((restored.code, restored.stdout.as_str()), (Some(0), ""), "{restored:?}");
    assert!(
        restored.stderr.contains("restart the agents that ran at the backup: else the tasks"),
        "{restored:?}"
    );
    assert!(
        restored.stderr.contains("restored platform.key") && restored.stderr.contains("signalbox.db"),
        "{restored:?}"
    );
    refused(&restore(&copy, &new), &[&new.display().to_string(), "is not empty"]);
    let served = cli.server.setup().clone().data_dir(Some(new)).start();
    served.get(&format!("/v1/agents/{id}")).is(200);
}

#[test]
fn keys_alone_are_copied_and_restored() {
    let cli = Cli::start();
    let (data, dir) = (cli.server.data_dir(), cli.server.setup().dir().to_owned());
    let (copy, new) = (dir.join("copy"), dir.join("new"));
    let copied =
        run(&[Path::new("backup"), &copy, Path::new("--without-database"), Path::new("--data-dir"), &data]);
    assert!(copied.code == Some(0) && !copied.stderr.contains("signalbox.db"), "{copied:?}");
    refused(&restore(&copy, &new), &["is no complete backup", "--without-database"]);
    assert!(!new.exists(), "what is refused leaves nothing");
    let restored =
        run(&[Path::new("restore"), &copy, Path::new("--without-database"), Path::new("--data-dir"), &new]);
    assert!(restored.code == Some(0) && restored.stderr.contains("platform.key"), "{restored:?}");
}

#[test]
fn a_broken_backup_is_told_and_leaves_nothing() {
    let cli = Cli::start();
    let (data, dir) = (cli.server.data_dir(), cli.server.setup().dir().to_owned());
    let (copy, new) = (dir.join("copy"), dir.join("new"));
    refused(
        &restore(&dir.join("nowhere"), &new),
        &["is no complete backup", "there is no signalbox.db in it"],
    );
    assert_eq!(backup(&copy, &data).code, Some(0));
    let file = copy.join("signalbox.db");
    let whole = fs::read(&file).unwrap();
    let mut garbled = whole.clone();
    garbled[4_096..].fill(0x5a);
    let cut = whole[..whole.len() / 2].to_vec();
    // It opens as a database, and is found out only when it is read.
    let mut one_page = whole.clone();
    let middle = whole.len() / 2 / 4_096 * 4_096;
    one_page[middle..middle + 2_048].fill(0x5a);
    for (what, content) in [
        ("no database", b"this is no database".to_vec()),
        ("garbled", garbled),
        ("cut", cut),
        ("one page", one_page),
        ("empty", Vec::new()),
    ] {
        fs::write(&file, content).unwrap();
        let printed = restore(&copy, &new);
        assert!(printed.code == Some(1), "{what}: {printed:?}");
        assert!(
            printed.stderr.contains("signalbox.db") && printed.stderr.contains("another backup"),
            "{what}: {printed:?}"
        );
        let left = fs::read_dir(&new).map(|files| files.count()).unwrap_or_default();
        assert_eq!(left, 0, "{what}: the same directory can be restored into");
    }
    fs::write(&file, whole).unwrap();
    assert_eq!(restore(&copy, &new).code, Some(0));
}
