//! Starting baselines beside a case.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use super::{Kind, Seen, Sent};
use crate::load;
use crate::process::{Launch, Process, ReadyOn};
use crate::server::listening_on;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// A running baseline server.
pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

impl Bare {
    pub(crate) async fn start(kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(kind, command(kind)?, folder).await
    }

    /// Agents that report to `server`, or answer with their reports, and tell `ends` of each session's end.
    pub(crate) async fn start_agents(
        server: SocketAddr,
        ends: SocketAddr,
        is_answering: bool,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = command(Kind::Agents)?;
        command.args(["--report-to", &server.to_string(), "--tell", &ends.to_string()]);
        if is_answering {
            command.arg("--answer");
        }
        Self::start_with(Kind::Agents, command, folder).await
    }

    async fn start_with(kind: Kind, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let name = format!("baseline {}", kind.name());
        let process = Process::start(Launch {
            name: &name,
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "listening on http://",
            within: READY_WITHIN,
            log: folder.join(format!("baseline-{}.log", kind.name())),
            stop_signal: Signal::TERM,
        })
        .await?;
        let addr = listening_on(&process.ready_line)?;
        Ok(Self { process, addr })
    }

    /// What a sink has received.
    pub(crate) async fn seen(&self) -> anyhow::Result<Seen> {
        let body = load::call(self.addr, "GET", "/seen", None).await?;
        serde_json::from_slice(&body).context("the sink's count cannot be read")
    }

    /// Lets a sink begin from nothing.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        load::call(self.addr, "POST", "/reset", None).await.map(|_| ())
    }
}

/// Runs the bare client against a sink to its end.
pub(crate) async fn dispatch(to: SocketAddr, time: Duration, in_flight: usize) -> anyhow::Result<Sent> {
    let mut command = command(Kind::Dispatch)?;
    command.args(["--to", &format!("http://{to}"), "--in-flight", &in_flight.to_string()]);
    command.args(["--seconds", &time.as_secs_f64().to_string()]);
    command.stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("baseline dispatch failed: {}", String::from_utf8_lossy(&output.stderr).trim())
    })
}

fn command(kind: Kind) -> anyhow::Result<Command> {
    let own =
        std::env::current_exe().context("this program cannot tell where it is, so it cannot start itself")?;
    let mut command = Command::new(own);
    command.args(["baseline", kind.name()]);
    if kind != Kind::Dispatch {
        command.arg("--until-stdin-closes");
    }
    Ok(command)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Json => "json",
            Self::Sink => "sink",
            Self::Agents => "agents",
            Self::Dispatch => "dispatch",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for kind in Kind::value_variants() {
            assert!(Kind::from_str(kind.name(), false).is_ok_and(|parsed| parsed == *kind));
        }
    }
}
