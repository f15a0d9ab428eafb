//! `nats-server`, to compare fan-out with: the distribution's own, with its WebSocket listener and nothing else changed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::environment::Fact;
use crate::process::{Launch, Process, ReadyOn};

const READY_WITHIN: Duration = Duration::from_secs(20);
const READY: &str = "Listening for websocket clients on ws://";
/// Ports are free ones; all else is as it comes.
const CONFIGURATION: &str =
    "host: 127.0.0.1\nport: -1\nwebsocket {\n  host: 127.0.0.1\n  port: -1\n  no_tls: true\n}\n";

/// A running server and where its WebSockets are.
pub(crate) struct Nats {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    pub(crate) facts: Vec<Fact>,
}

impl Nats {
    /// Starts the server of the distribution.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = program()?;
        let configuration = folder.join("nats.conf");
        std::fs::write(&configuration, CONFIGURATION)?;
        let mut command = Command::new(&program);
        command.arg("-c").arg(&configuration).current_dir(folder);
        let process = Process::start(Launch {
            name: "nats-server",
            command,
            ready_on: ReadyOn::Stderr,
            ready_mark: READY,
            within: READY_WITHIN,
            log: folder.join("nats.log"),
            stop_signal: Signal::TERM,
        })
        .await?;
        let addr = websocket(&process.ready_line)?;
        Ok(Self { process, addr, facts: facts(&program) })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

fn websocket(line: &str) -> anyhow::Result<SocketAddr> {
    let addr = line.rsplit_once("ws://").and_then(|(_, addr)| addr.trim().parse().ok());
    addr.with_context(|| format!("no address is in {line:?}"))
}

/// In `PATH`, or where Debian has it.
fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    match folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => bail!("nats-server is not here; install it (Debian: `apt-get install nats-server`)"),
    }
}

fn facts(program: &Path) -> Vec<Fact> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    vec![
        Fact::new("NATS", text),
        Fact::new("NATS, settings", "its defaults but for addresses and a WebSocket listener without TLS"),
        Fact::new("NATS, durability", "keeps nothing: no JetStream"),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_address_is_read_from_the_log() {
        let line =
            "[1] 2026/11/29 17:27:04.071034 [INF] Listening for websocket clients on ws://127.0.0.1:46801";
        assert_eq!(super::websocket(line).unwrap().port(), 46_801);
    }
}
