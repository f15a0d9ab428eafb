//! Starting baselines beside a case.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use super::{Held, Kind, Seen, Sent};
use crate::callgrind::Callgrind;
use crate::load;
use crate::process::{Launch, Process, ReadyOn};
use crate::server::listening_on;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running baseline server.
pub(crate) struct Bare {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// How agents hold their connections.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    /// Where they connect.
    pub(crate) to: SocketAddr,
    pub(crate) heartbeat: Duration,
    /// Whether they connect again when a connection ends.
    pub(crate) reconnects: bool,
}

impl Bare {
    pub(crate) async fn start(kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(kind.name(), command(kind)?, folder).await
    }

    /// The same under a program that counts its instructions.
    pub(crate) async fn start_counted(
        kind: Kind,
        callgrind: &Callgrind,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let bare = command(kind)?;
        let mut counted = callgrind.command(Path::new(bare.get_program()));
        counted.args(bare.get_args());
        Self::start_with(kind.name(), counted, folder).await
    }

    /// Agents that report to `nodes`, over connections that are dealt out in turn, or answer with their reports, and tell
    /// `ends` of each session's end.
    pub(crate) async fn start_agents(
        nodes: &[SocketAddr],
        ends: SocketAddr,
        is_answering: bool,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = command(Kind::Agents)?;
        command.args(["--tell", &ends.to_string()]);
        for node in nodes {
            command.args(["--report-to", &node.to_string()]);
        }
        if is_answering {
            command.arg("--answer");
        }
        Self::start_with(Kind::Agents.name(), command, folder).await
    }

    /// The same server again where an earlier one listened.
    pub(crate) async fn start_at(kind: Kind, addr: SocketAddr, folder: &Path) -> anyhow::Result<Self> {
        let mut command = command(kind)?;
        command.args(["--listen", &addr.to_string()]);
        Self::start_with(kind.name(), command, folder).await
    }

    /// Agents that hold connections, one for each line of `agents`.
    pub(crate) async fn start_live(live: &Live, agents: &Path) -> anyhow::Result<Self> {
        let mut command = command(Kind::Live)?;
        command.args(["--connect-to", &live.to.to_string(), "--agents"]).arg(agents);
        command.args(["--heartbeat-ms", &live.heartbeat.as_millis().to_string()]);
        if live.reconnects {
            command.arg("--reconnect");
        }
        let name = agents.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::start_with(&name, command, agents.parent().unwrap_or(agents)).await
    }

    async fn start_with(kind: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        let name = format!("baseline {kind}");
        let process = Process::start(Launch {
            name: &name,
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "listening on http://",
            within: READY_WITHIN,
            log: folder.join(format!("baseline-{kind}.log")),
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

    /// How the agents of a process fare that hold connections.
    pub(crate) async fn held(&self) -> anyhow::Result<Held> {
        let body = load::call(self.addr, "GET", "/held", None).await?;
        serde_json::from_slice(&body).context("how the agents fare cannot be read")
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
            Self::Echo => "echo",
            Self::Live => "live",
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
