//! The demo's processes: a server and its agents, each started from this very binary. The invariant: none of
//! them outlives its [`Process`], whatever ends the demo.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::arguments::Args;
use super::roles::Role;

/// How long a process may take to say that it is there.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// What the server's line begins with once it listens.
const LISTENING: &str = "listening on ";
/// What an agent's line begins with once it is registered.
pub(super) const READY: &str = "ready ";

/// Where the demo plays: its folders, its key, and how to start what takes part.
#[derive(Debug)]
pub(super) struct Stage {
    /// The folder under audit.
    pub(super) folder: PathBuf,
    /// Everything that the demo writes is below this; it goes with the stage, unless it is kept.
    temp: TempDir,
    /// The key that the server takes for this run alone.
    pub(super) key: String,
    /// Whether the readers work at full speed.
    pub(super) fast: bool,
    /// Whether what the demo writes outlasts it.
    pub(super) keep: bool,
    program: PathBuf,
}

/// A process of the demo; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a process says of itself once it is there; comes from [`Process::start`].
pub(super) struct Arrival {
    name: &'static str,
    log: PathBuf,
    line: oneshot::Receiver<String>,
}

/// What an agent says of itself once it is registered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) agent_id: String,
    pub(super) endpoint: String,
}

impl Stage {
    /// Makes the folders and the key. `folder` is absolute: the processes work elsewhere.
    pub(super) fn set(folder: PathBuf, args: &Args) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file cannot be found")?;
        let temp = tempfile::Builder::new().prefix("signalbox-demo-").tempdir();
        let mut temp = temp.context("no temporary folder can be made")?;
        for name in ["data", "logs", "out"] {
            let folder = temp.path().join(name);
            fs::create_dir(&folder).with_context(|| format!("{} cannot be written", folder.display()))?;
        }
        temp.disable_cleanup(args.keep);
        Ok(Self { folder, temp, key: fresh_key()?, fast: args.fast, keep: args.keep, program })
    }

    /// Leaves everything where it is, and says where that is.
    pub(super) fn leave(self) -> PathBuf {
        self.temp.keep()
    }

    /// Where the report goes.
    pub(super) fn out(&self) -> PathBuf {
        self.temp.path().join("out")
    }

    /// Where the processes' logs are.
    pub(super) fn logs(&self) -> PathBuf {
        self.temp.path().join("logs")
    }

    /// Where the server keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    /// Starts the server on a free port and answers its address.
    pub(super) async fn server(&self) -> anyhow::Result<(Process, String)> {
        let mut command = self.command();
        command.args(["demo-server", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data());
        let (process, arrival) = Process::start("server", command, &self.logs(), LISTENING)?;
        let address = arrival.wait().await?;
        Ok((process, address.split_whitespace().next().unwrap_or_default().to_owned()))
    }

    /// Starts an agent; it is there when the arrival says so.
    pub(super) fn agent(
        &self,
        name: &'static str,
        role: Role,
        server: &str,
    ) -> anyhow::Result<(Process, Arrival)> {
        let mut command = self.command();
        command.args(["demo-agent", "--name", name, "--role", role.name(), "--server", server]);
        command.arg("--folder").arg(&self.folder).arg("--out").arg(self.out());
        if self.fast {
            command.arg("--fast");
        }
        Process::start(name, command, &self.logs(), READY)
    }

    /// This binary, in an environment without whatever the user's own server is configured by.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| {
                ["SIGNALBOX_", "OPSCORE_", "AGENTKIT_"].iter().any(|own| name.starts_with(own))
            });
            if ours {
                command.env_remove(name);
            }
        }
        command.env("OPSCORE_API_KEY", &self.key).current_dir(self.temp.path());
        command
    }
}

impl Process {
    /// Its input is a pipe that ends with this process, so that it notices even when this process had no time
    /// to kill it.
    fn start(
        name: &'static str,
        mut command: Command,
        logs: &Path,
        marker: &'static str,
    ) -> anyhow::Result<(Self, Arrival)> {
        let log = logs.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("{} cannot be written", log.display()))?;
        let copy = file.try_clone().context("the log file cannot be shared")?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("the {name} cannot be started"))?;
        let (sender, line) = oneshot::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || copy_lines(stdout, copy, marker, sender));
        }
        Ok((Self { name, child, log: log.clone() }, Arrival { name, log, line }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub(super) fn kill(&mut self) {
        // It fails only for a process that is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// An error if it ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("the {} ended ({status}){}", self.name, tail(&self.log)),
            Err(error) => Err(error).with_context(|| format!("the {} cannot be looked after", self.name)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Arrival {
    /// The rest of the line that says that the process is there.
    pub(super) async fn wait(self) -> anyhow::Result<String> {
        match tokio::time::timeout(ARRIVAL_TIMEOUT, self.line).await {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(_)) => bail!("the {} ended before it was ready{}", self.name, tail(&self.log)),
            Err(_) => bail!(
                "the {} was not ready within {} s{}",
                self.name,
                ARRIVAL_TIMEOUT.as_secs(),
                tail(&self.log)
            ),
        }
    }

    /// The same of an agent.
    pub(super) async fn ready(self) -> anyhow::Result<Ready> {
        let name = self.name;
        let line = self.wait().await?;
        serde_json::from_str(&line)
            .with_context(|| format!("the {name} said something else than that it is ready"))
    }
}

/// Copies what a process prints into its log and sends on the rest of the first line with the marker in it.
fn copy_lines(stdout: ChildStdout, mut log: File, marker: &str, arrived: oneshot::Sender<String>) {
    let mut arrived = Some(arrived);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        drop(writeln!(log, "{line}"));
        if let Some((_, rest)) = line.split_once(marker)
            && let Some(arrived) = arrived.take()
        {
            drop(arrived.send(rest.to_owned()));
        }
    }
}

/// The end of a log, to be appended to an error.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(8).collect();
    let lines: String = lines.into_iter().rev().map(|line| format!("\n    {line}")).collect();
    format!("; its log {} ends with:{lines}", log.display())
}

fn fresh_key() -> anyhow::Result<String> {
    let mut random = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("the system's source of randomness, /dev/urandom, cannot be read")?;
    Ok(signalbox_wire::keys::from_random(&random).expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process, Arrival) {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let (process, arrival) = Process::start("server", command, logs.path(), LISTENING).unwrap();
        (logs, process, arrival)
    }

    #[tokio::test]
    async fn a_process_is_there_when_its_line_says_so() {
        let (_logs, mut process, arrival) =
            shell("echo hello; echo it is listening on http://x:1; read wait");
        assert_eq!(arrival.wait().await.unwrap(), "http://x:1");
        process.check().unwrap();
        process.kill();
        assert!(process.check().unwrap_err().to_string().contains("signal: 9"));
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_an_error_with_its_last_words() {
        let (_logs, _process, arrival) = shell("echo no port >&2; exit 3");
        let error = arrival.wait().await.unwrap_err().to_string();
        assert!(error.contains("ended before it was ready") && error.contains("no port"), "{error}");
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let (_logs, process, arrival) = shell("echo listening on x; read wait");
        arrival.wait().await.unwrap();
        let pid = process.pid();
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn every_run_has_a_key_of_its_own() {
        assert_ne!(fresh_key().unwrap(), fresh_key().unwrap());
    }
}
