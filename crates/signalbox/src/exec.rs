//! `signalbox agent run --exec 'CMD'`: any program as an agent. Each piece of work is a run of the program: what it is
//! called with comes on standard input as JSON, what it prints is the result.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use signalbox_client::Client;
use signalbox_client::agent::{Agent as Runtime, Call, Credentials, Failure, Happening};
use signalbox_wire::reason;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::admin::{Misused, Target, with_client};
use crate::printer;

/// What a program may print as its result, in bytes; what the server takes at most is less.
const STDOUT_MAX: u64 = 16 << 20;
/// How much of the end of standard error is told of a failure, in bytes.
const STDERR_TOLD: usize = 2_000;
/// How long a program may take to end after it was asked to, before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long work may go on once the agent is asked to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// What is done with an agent of this machine.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a program as an agent: parameters on standard input as JSON, its result on standard output
    #[command(after_help = example!("agent run --name shouter --capability shout --exec 'tr a-z A-Z'",
                                    "agent run --name counter --capability count --exec 'python3 count.py' --connect"))]
    Run(Box<Run>),
}

/// A program, and the agent that it is to be.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The program, as a line for sh; it sees SIGNALBOX_TASK_ID, SIGNALBOX_TASK_NAME, SIGNALBOX_SESSION_ID and
    /// SIGNALBOX_ATTEMPT
    #[arg(long, value_name = "CMD")]
    exec: String,
    /// The name to register under; one that is taken is taken over
    #[arg(long)]
    name: String,
    /// Something that it can do; may be given several times
    #[arg(long = "capability", value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// How many runs of the program there may be at once
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
    /// Connect to the server in place of listening, for machines that it cannot reach
    #[arg(long, conflicts_with_all = ["listen", "reached_at"])]
    connect: bool,
    /// The private SSH key to sign in with when connecting; the API key where absent
    #[arg(long, requires = "connect", value_name = "FILE")]
    ssh_key: Option<String>,
    /// Where to listen for the server
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The address that the server reaches it under, where it is not the one that it listens on
    #[arg(long, value_name = "URL")]
    reached_at: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Runs a program as an agent until it is interrupted.
pub(crate) fn agent(asked: &Agent) -> anyhow::Result<ExitCode> {
    let Verb::Run(run) = &asked.verb;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("the asynchronous runtime cannot be started")?.block_on(run.serve())
}

impl Run {
    async fn serve(&self) -> anyhow::Result<ExitCode> {
        check(&self.exec)?;
        let line: Arc<str> = self.exec.as_str().into();
        let handler = move |call: Call| {
            let line = Arc::clone(&line);
            async move { perform(&line, &call).await }
        };
        let mut running =
            with_client(&self.target, |client| async { Ok(self.agent(client, handler).start().await?) })
                .await?;
        let place =
            running.endpoint().map_or_else(|| "connected".to_owned(), |endpoint| format!("at {endpoint}"));
        printer::line(&format!("agent {} is {} {place}", self.name, running.agent_id()));
        if self.capabilities.is_empty() {
            printer::notice(&format!(
                "warning: it has no capability, so it gets only what names the agent '{}'; --capability gives it one",
                self.name
            ));
        }
        tokio::select! {
            () = running.ended() => anyhow::bail!("the agent is over; the line above says why"),
            outcome = crate::signals::interrupted() => outcome?,
        }
        printer::notice("stopping; work that is under way may end");
        Ok(if running.stop(DRAIN).await { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The agent that answers with `handler`.
    fn agent<F: Future<Output = Result<Value, Failure>> + Send + 'static>(
        &self,
        client: Client,
        handler: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Runtime {
        let agent = Runtime::new(client, &self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .concurrency(self.concurrency)
            .handler(handler)
            .observer(|happening| tell(&happening));
        let agent =
            self.capabilities.iter().fold(agent, |agent, capability| agent.capability(capability.as_str()));
        match (self.connect, &self.ssh_key, &self.reached_at) {
            (true, Some(key), _) => agent.connect(Credentials::ssh_key(key)),
            (true, None, _) => agent.connect(Credentials::ClientKey),
            (false, _, Some(endpoint)) => agent.listen(self.listen).reached_at(endpoint),
            (false, _, None) => agent.listen(self.listen),
        }
    }
}

/// Refuses a line whose program is not there. What only the shell can tell, it tells at the first task.
fn check(line: &str) -> Result<(), Misused> {
    let Some(word) = line.split_whitespace().next() else {
        return Err(Misused("--exec names no program".to_owned()));
    };
    let is_plain = word.chars().all(|letter| letter.is_alphanumeric() || "/._-+,@:".contains(letter));
    let fault = match (is_plain, word.contains('/')) {
        (false, _) => None,
        (true, true) => path_fault(Path::new(word)),
        (true, false) if is_known(word) => None,
        (true, false) => Some("is not found on PATH; give its path, such as ./program".to_owned()),
    };
    fault.map_or(Ok(()), |fault| Err(Misused(format!("the program '{word}' of --exec {fault}"))))
}

/// Why a file cannot be run, if so.
fn path_fault(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some("is a directory; name a file in it".to_owned()),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some(format!("may not be run; 'chmod +x {}' allows it", path.display()))
        }
        Ok(_) => None,
        Err(error) => {
            let here = std::env::current_dir().unwrap_or_default();
            Some(format!("cannot be run: {}; paths count from {}", reason::of(&error), here.display()))
        }
    }
}

/// Whether the shell knows a word: as a program on PATH, or as its own.
fn is_known(word: &str) -> bool {
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "command -v -- \"$1\"", "sh", word]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Where the shell itself is lost, its first task tells so.
    shell.status().map_or(true, |status| status.success())
}

/// Standard error is the agent's log.
fn tell(happening: &Happening) {
    let words = match happening {
        Happening::Taken { kind, name, attempt } => {
            format!("{} {name} taken (attempt {attempt})", kind.as_str())
        }
        Happening::Done { kind, name, failure: None } => format!("{} {name} done", kind.as_str()),
        Happening::Done { kind, name, failure: Some(failure) } => {
            format!("{} {name} failed: {failure}", kind.as_str())
        }
        Happening::Repeated { message_id } => format!("message {message_id} came again"),
        Happening::Unreported { state, reason } => format!("the report '{state}' is given up: {reason}"),
        Happening::Ended { reason } => format!("over: {reason}"),
        other => other.to_string(),
    };
    printer::notice(&words);
}

/// One run of the program. Where the work is no longer wanted, this is dropped, and with it all of its processes.
async fn perform(line: &str, call: &Call) -> Result<Value, Failure> {
    let mut program = Program::start(line, call).map_err(|error| {
        Failure::new(format!("the program '{line}' cannot be started: {error}")).code("exec-failed")
    })?;
    let input = call.payload.to_string();
    let Some(child) = program.child.as_mut() else { return Err(Failure::new("the program is lost")) };
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input is none the worse for it.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ((), output, errors, status) = tokio::join!(write, read(stdout), read_end(stderr), child.wait());
    // It is over: nothing is to be ended.
    program.child = None;
    let status = status.map_err(|error| Failure::new(format!("the program '{line}' is lost: {error}")))?;
    if !status.success() {
        return Err(failure(line, status, &errors));
    }
    let output = output
        .map_err(|error| Failure::new(format!("what '{line}' printed: {error}")).code("exec-output"))?;
    Ok(result(&output))
}

/// JSON where it is JSON, else a text.
fn result(output: &[u8]) -> Value {
    let text = String::from_utf8_lossy(output);
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap_or_else(|_| json!(text)) }
}

fn failure(line: &str, status: ExitStatus, errors: &str) -> Failure {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    };
    let why = if errors.is_empty() { String::new() } else { format!(": {errors}") };
    let code = status.code().map_or_else(|| "exec-signal".to_owned(), |code| format!("exit-{code}"));
    Failure::new(format!("'{line}' {how}{why}")).code(code)
}

async fn read(stdout: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        let mut limited = stdout.take(STDOUT_MAX + 1);
        limited.read_to_end(&mut output).await?;
        if output.len() as u64 > STDOUT_MAX {
            // The program is not to hang on a pipe that nobody reads.
            tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
            return Err(io::Error::other(format!("it is more than {STDOUT_MAX} bytes")));
        }
    }
    Ok(output)
}

/// The end of what comes.
async fn read_end(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    if let Some(mut stderr) = stderr {
        while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
            kept.extend_from_slice(&buffer[..count]);
            let surplus = kept.len().saturating_sub(STDERR_TOLD);
            kept.drain(..surplus);
        }
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// A program under way, in a process group of its own.
struct Program {
    child: Option<Child>,
    group: Option<Pid>,
}

impl Program {
    fn start(line: &str, call: &Call) -> io::Result<Self> {
        let mut command = std::process::Command::new("/bin/sh");
        command.arg("-c").arg(line).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("SIGNALBOX_TASK_NAME", &call.name).env("SIGNALBOX_ATTEMPT", call.attempt.to_string());
        for (name, value) in
            [("SIGNALBOX_TASK_ID", &call.task_id), ("SIGNALBOX_SESSION_ID", &call.session_id)]
        {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = Command::from(command).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child: Some(child), group })
    }
}

impl Drop for Program {
    /// Asks the whole group to end, and kills it where it does not.
    fn drop(&mut self) {
        let (Some(mut child), Some(group)) = (self.child.take(), self.group) else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let end = async move {
            let _ = timeout(TERM_GRACE, child.wait()).await;
            // Also what the program left behind.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait().await;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(end)),
            Err(_) => drop(kill_process_group(group, Signal::KILL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(payload: Value) -> Call {
        Call { name: "count".into(), payload, attempt: 2, ..Call::default() }
    }

    #[tokio::test]
    async fn a_program_gets_json_and_its_output_is_the_result() {
        let n = |line: &'static str| async move { perform(line, &call(json!({"n": 3}))).await };
        assert_eq!(n("cat").await, Ok(json!({"n": 3})));
        assert_eq!(n("echo hello there").await, Ok(json!("hello there")));
        assert_eq!(n("echo 17").await, Ok(json!(17)));
        assert_eq!(n("true").await, Ok(Value::Null));
        assert_eq!(n("echo $SIGNALBOX_TASK_NAME $SIGNALBOX_ATTEMPT").await, Ok(json!("count 2")));
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_with_the_end_of_what_it_said() {
        let failed =
            perform("seq 1 5000 >&2; echo 'no such page' >&2; exit 7", &call(json!({}))).await.unwrap_err();
        assert_eq!(failed.code.as_deref(), Some("exit-7"));
        assert!(failed.message.ends_with("no such page") && failed.message.len() < 3_000, "{failed}");
        let killed = perform("kill -9 $$", &call(json!({}))).await.unwrap_err();
        assert_eq!(killed.code.as_deref(), Some("exec-signal"));
    }

    #[tokio::test]
    async fn what_is_no_longer_wanted_ends_with_all_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let line = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let call = call(json!({}));
        let work = perform(&line, &call);
        let started = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = work => panic!("it does not end by itself"),
            () = started => {}
        }
        let pid: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let is_there = || {
            // What has ended but was not waited for by the one that took it over is over all the same.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let ended = async {
            while is_there() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), ended).await.expect("the processes end");
    }
}
