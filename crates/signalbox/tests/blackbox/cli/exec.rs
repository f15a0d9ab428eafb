//! `signalbox agent run`: any program as an agent.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::Cli;
use crate::support::{PATIENCE, within};

/// An agent that runs a program; ended with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(cli: &Cli, name: &str, program: &str, more: &[&str]) -> Self {
        let words = [&["--name", name, "--capability", name, "--exec", program], more].concat();
        let mut command = cli.command("agent run", &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("it starts").unwrap();
        assert!(first.starts_with(&format!("agent {name} is agt_")), "{first}");
        Self { child, lines }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_program_does_the_tasks_of_a_workflow() {
    let cli = Cli::start();
    let mut shouter = Running::start(&cli, "shouter", "tr a-z A-Z", &[]);
    let _failing = Running::start(&cli, "failing", "echo no such page >&2; exit 7", &[]);
    let task = |capability: &str| json!({"taskId": "a", "agentCapability": capability, "maxRetries": 0, "parameters": {"text": "hello"}});
    cli.keep(&json!({"id": "shout", "name": "S", "tasks": [task("shouter")]}));
    cli.keep(&json!({"id": "fail", "name": "F", "tasks": [task("failing")]}));
    let done = cli.json("workflows trigger shout --wait");
    assert_eq!(done["tasks"][0]["result"], json!({"TEXT": "HELLO"}));
    let failed = cli.run("workflows trigger fail --wait", &[]);
    assert!(failed.code == Some(3) && failed.stderr.contains("no such page"), "{failed:?}");

    let pid = i32::try_from(shouter.child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(shouter.child.wait().unwrap().success(), "it stops in order");
    assert!(shouter.lines.next().is_none());
}

#[test]
fn a_cancelled_task_ends_its_program() {
    let cli = Cli::start();
    let file = cli.server.setup().dir().join("pid");
    let program = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
    let _sleeper = Running::start(&cli, "sleeper", &program, &[]);
    cli.keep(&json!({"id": "sleep", "name": "S", "tasks": [{"taskId": "a", "agentCapability": "sleeper"}]}));
    let session = cli.ok("workflows trigger sleep");
    within(
        PATIENCE,
        "the program to start",
        || if file.exists() { Ok(()) } else { Err("no file".to_owned()) },
    );
    cli.ok(&format!("sessions cancel {session}"));
    let pid = std::fs::read_to_string(&file).unwrap();
    within(PATIENCE, "the program to end", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

#[test]
fn a_program_can_be_an_agent_that_connects() {
    let cli = Cli::start();
    let _counter = Running::start(&cli, "counter", "wc -c", &["--connect"]);
    cli.keep(&json!({"id": "count", "name": "C", "tasks": [
        {"taskId": "a", "agentCapability": "counter", "parameters": {"n": 1}}]}));
    assert_eq!(cli.json("workflows trigger count --wait")["tasks"][0]["result"], 7);
}

#[test]
fn a_program_that_is_not_there_is_refused_at_the_start() {
    let cli = Cli::start();
    let file = cli.server.setup().dir().join("plain.sh");
    std::fs::write(&file, "echo hello\n").unwrap();
    for (program, told) in [
        (
            "./nosuch.sh",
            "'./nosuch.sh' of --exec cannot be run: No such file or directory; paths count from /",
        ),
        ("nosuch-program --flag", "'nosuch-program' of --exec is not found on PATH"),
        ("./plain.sh", "'./plain.sh' of --exec may not be run; 'chmod +x ./plain.sh' allows it"),
        (" ", "--exec names no program"),
    ] {
        let refused = cli.run("agent run --name none --exec", &[program]);
        assert!(refused.code == Some(2) && refused.stdout.is_empty(), "{program}: {refused:?}");
        assert!(refused.stderr.contains(told), "{program}: {refused:?}");
    }
    assert_eq!(cli.json("agents list"), json!([]), "nothing is registered");
    // What the shell knows itself, or is to find out, starts.
    for (place, program) in
        ["exit 3", "if true; then cat; fi", "A=1 cat", "'cat'", "/bin/cat", "cat"].iter().enumerate()
    {
        drop(Running::start(&cli, &format!("known-{place}"), program, &[]));
    }
}

#[test]
fn an_agent_without_a_capability_is_warned_of() {
    let cli = Cli::start();
    let mut running = cli.spawn("agent run --name bare --exec cat", &[]);
    let line = running.says("warning");
    assert!(
        line.contains("has no capability") && line.contains("'bare'") && line.contains("--capability"),
        "{line}"
    );
    running.kill();
}
