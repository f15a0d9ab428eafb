//! The demo as whoever starts it sees it: what it prints, how it ends, and that nothing outlives it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::eventually;

/// A server and four agents.
const PROCESSES: usize = 5;

/// In a temporary folder with these files under audit.
fn demo(root: &Path, files: usize) -> Command {
    let folder = root.join("audited");
    fs::create_dir_all(&folder).unwrap();
    for file in 0..files {
        fs::write(folder.join(format!("{file}.md")), "# A heading\n\nand text\n").unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    command.args(["demo", "--plain"]).arg(folder).env("TMPDIR", root);
    command
}

/// With so many files that what the planner makes of them is kept apart.
#[test]
fn every_file_is_counted_once_though_a_reader_is_killed() {
    let root = tempfile::tempdir().unwrap();
    let output = demo(root.path(), 2_500).arg("--fast").output().unwrap();
    let (printed, told) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{printed}{told}");
    for line in
        ["killed with SIGKILL", "18 of 18 tasks done", "every one of the 2,500 files was counted once"]
    {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    for task in ["plan", "read[0]", "read[15]", "report"] {
        assert!(printed.lines().any(|row| row.starts_with(&format!("  {task} "))), "{task}: {printed}");
    }
    assert!(printed.contains("read[8] took 2 tries"), "the one in the middle: {printed}");
    assert_eq!(left(root.path()), [""; 0], "it cleans up after itself");
    for command in printed.lines().filter_map(|line| line.strip_prefix("    signalbox ")) {
        let words = command.split(" #").next().unwrap_or_default().split_whitespace();
        let words: Vec<&str> = words.filter(|word| *word != "--help").collect();
        let help = Command::new(env!("CARGO_BIN_EXE_signalbox")).args(&words).arg("--help").output().unwrap();
        assert!(help.status.success(), "{words:?}: {}", String::from_utf8_lossy(&help.stderr));
    }
    assert!(printed.contains("    signalbox serve"), "it ends with what to do next: {printed}");
}

/// However little there is to read, a task is tried again; and a narrow terminal has room for all of it.
#[test]
fn a_tiny_folder_shows_the_retry_too_and_50_columns_are_enough() {
    let root = tempfile::tempdir().unwrap();
    let output = demo(root.path(), 1).args(["--fast", "--keep"]).env("COLUMNS", "50").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        "killed with SIGKILL holding read[0], try 1",
        "read[0] took 2 tries",
        "the one file was counted once",
    ] {
        assert!(words.contains(text), "{text}: {printed}");
    }
    for line in printed.lines() {
        let is_one_word = line.split_whitespace().count() == 1;
        assert!(line.chars().count() <= 50 || is_one_word, "{line}");
    }
    let [kept] = &left(root.path())[..] else { panic!("{:?}", left(root.path())) };
    for part in ["out/report.md", "logs/server.log", "data"] {
        assert!(root.path().join(kept).join(part).exists(), "--keep keeps {part}");
    }
}

/// What the demo left in the folder for temporary files.
fn left(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name != "audited").collect()
}

#[test]
fn a_folder_with_nothing_to_read_is_told_with_its_cure() {
    let root = tempfile::tempdir().unwrap();
    let output = demo(root.path(), 0).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(told.contains("no text files") && told.contains("name another folder"), "{told}");
}

/// Killed without a warning, it stops nothing by itself: every process has to notice.
#[test]
fn no_process_outlives_the_demo() {
    let root = tempfile::tempdir().unwrap();
    let mut running = demo(root.path(), 40).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(running.stdout.take().unwrap()).lines().map_while(Result::ok);
    let addresses: Vec<String> = lines.filter_map(|line| address(&line)).take(PROCESSES).collect();
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(addresses.len(), PROCESSES, "{addresses:?}");
    eventually("the demo's processes to end", || {
        let listens = |address: &&String| TcpStream::connect(address.as_str()).is_ok();
        match addresses.iter().find(listens) {
            None => Ok(()),
            Some(address) => Err(format!("somebody at {address}")),
        }
    });
}

fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://")?;
    Some(rest.trim_end().trim_end_matches('/').to_owned())
}
