//! The command line as people and scripts see it: what each command prints, and how it ends.

mod agents;
mod backup;
mod channels;
mod exec;
mod found;
mod keys;
mod local;
mod missing;
mod register;
mod retention;
mod sessions;
mod starts;
mod tenants;
mod waits;
mod workflows;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Api, Database, PATIENCE, Server, Setup};

/// A server, and the command line that asks it.
pub(super) struct Cli {
    pub(super) server: Server,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: Option<i32>,
}

impl Cli {
    pub(super) fn start() -> Self {
        Self { server: Server::start(&Database::sqlite()) }
    }

    /// With settings of the server, as environment variables.
    pub(super) fn start_with(settings: &[(&str, &str)]) -> Self {
        let setup = Setup::new(&Database::sqlite());
        Self { server: settings.iter().fold(setup, |setup, (name, value)| setup.env(name, value)).start() }
    }

    pub(super) fn api(&self) -> Api {
        self.server.api()
    }

    fn command(&self, line: &str, more: &[&str]) -> Command {
        let mut command = self.server.setup().bare_command();
        command.args(line.split_whitespace()).args(more).env("SIGNALBOX_URL", self.server.url(""));
        command
    }

    /// A command whose words are split at blanks, and more words as they are.
    pub(super) fn run(&self, line: &str, more: &[&str]) -> Printed {
        Printed::of(self.command(line, more).output().expect("the binary starts"))
    }

    /// A command that runs on beside the test.
    pub(super) fn spawn(&self, line: &str, more: &[&str]) -> Running {
        let mut command = self.command(line, more);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { child, said, all: String::new() }
    }

    /// The same with standard input.
    pub(super) fn fed(&self, line: &str, input: &str) -> Printed {
        let mut command = self.command(line, &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        Printed::of(child.wait_with_output().expect("it ends"))
    }

    /// What a command prints that must do well.
    #[track_caller]
    pub(super) fn ok(&self, line: &str) -> String {
        self.ok_with(line, &[])
    }

    #[track_caller]
    pub(super) fn ok_with(&self, line: &str, more: &[&str]) -> String {
        let printed = self.run(line, more);
        assert_eq!(printed.code, Some(0), "{line} {more:?}: {printed:?}");
        assert!(!printed.stdout.contains('\u{1b}'), "nothing but plain text without a terminal: {printed:?}");
        printed.stdout
    }

    /// What a command says on standard error that must do well.
    #[track_caller]
    pub(super) fn said(&self, line: &str) -> String {
        let printed = self.run(line, &[]);
        assert_eq!(printed.code, Some(0), "{line}: {printed:?}");
        printed.stderr
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub(super) fn json(&self, line: &str) -> Value {
        self.json_with(line, &[])
    }

    #[track_caller]
    pub(super) fn json_with(&self, line: &str, more: &[&str]) -> Value {
        let printed = self.ok_with(line, &[more, &["-o", "json"]].concat());
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{line} prints JSON: {error}: {printed}"))
    }

    /// What is said of a command that must fail, with its exit code.
    #[track_caller]
    pub(super) fn refused(&self, line: &str) -> (String, i32) {
        let printed = self.run(line, &[]);
        assert!(printed.code != Some(0) && printed.stdout.is_empty(), "{line}: {printed:?}");
        (printed.stderr, printed.code.expect("a code"))
    }

    /// The same with another key.
    pub(super) fn run_with_key(&self, key: &str, line: &str) -> Printed {
        let output = self.command(line, &[]).env("SIGNALBOX_API_KEY", key).output();
        Printed::of(output.expect("the binary starts"))
    }

    /// Keeps a workflow.
    #[track_caller]
    pub(super) fn keep(&self, definition: &Value) {
        let printed = self.fed("workflows apply -", &definition.to_string());
        assert_eq!(printed.code, Some(0), "{printed:?}");
    }

    /// A workflow whose only task waits for a signal.
    #[track_caller]
    pub(super) fn keep_waiting(&self, id: &str) {
        self.keep(&json!({"id": id, "name": id, "tasks": [{"taskId": "wait", "wait": {"signal": "go"}}]}));
    }
}

/// A command that has not ended yet.
pub(super) struct Running {
    child: Child,
    said: Receiver<String>,
    all: String,
}

impl Running {
    /// The next line on standard error that holds a word.
    #[track_caller]
    pub(super) fn says(&mut self, word: &str) -> String {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.all.push_str(&line);
                    self.all.push('\n');
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(_) => panic!("it never says {word}: {}", self.all),
            }
        }
    }

    /// Ends it at once.
    pub(super) fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    /// How it ends.
    pub(super) fn ends(mut self) -> Printed {
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            self.all.push_str(&line);
            self.all.push('\n');
        }
        let ended = self.child.wait_with_output().expect("it ends");
        Printed { stderr: self.all, ..Printed::of(ended) }
    }
}

impl Printed {
    fn of(output: Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

/// The binary alone, in a folder of its own.
pub(super) fn alone() -> Setup {
    Setup::new(&Database::sqlite())
}

/// The heads of a table.
#[track_caller]
pub(super) fn heads(table: &str) -> Vec<&str> {
    table
        .lines()
        .next()
        .expect("a table has a head")
        .split("  ")
        .map(str::trim)
        .filter(|head| !head.is_empty())
        .collect()
}

/// The row of a table that begins with, or holds, a word.
#[track_caller]
pub(super) fn row<'a>(table: &'a str, word: &str) -> &'a str {
    table.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no row has {word}: {table}"))
}
