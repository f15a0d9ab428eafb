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
