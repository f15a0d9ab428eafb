//! The server under test: the real release binary on a free port, with a key of its own and nothing inherited.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::callgrind::Callgrind;
use crate::context::Context;
use crate::environment::Fact;
use crate::process::{Launch, Process, ReadyOn};

/// The bearer key of every measured request.
pub(crate) const KEY: &str = "bench-key-5d0c7b1a94f64d2f8e3a6c1b2f907e54";

/// The key that makes tenants.
pub(crate) const PLATFORM_KEY: &str = "bench-platform-key-0a6f2b8d5c714e93b1d84f7c2e605a9b";

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running server and where it listens.
pub(crate) struct Signalbox {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

impl Signalbox {
    /// Starts it on `data`, with SQLite there or with the given database.
    pub(crate) async fn start(
        context: &Context,
        data: &Path,
        database: Option<&str>,
    ) -> anyhow::Result<Self> {
        Self::start_at(context, "127.0.0.1:0", data, database).await
    }

    /// So many nodes on one database, each on a folder of its own.
    pub(crate) async fn start_nodes(
        context: &Context,
        count: usize,
        database: &str,
    ) -> anyhow::Result<(Vec<Self>, Vec<tempfile::TempDir>)> {
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let folder = context.temporary("node")?;
            nodes.push(Self::start(context, folder.path(), Some(database)).await?);
            folders.push(folder);
        }
        Ok((nodes, folders))
    }

    /// The same at an address that is known before.
    pub(crate) async fn start_at(
        context: &Context,
        listen: &str,
        data: &Path,
        database: Option<&str>,
    ) -> anyhow::Result<Self> {
        Self::start_as(Command::new(context.server()?), listen, data, database).await
    }

    /// The same under a program that counts its instructions.
    pub(crate) async fn start_counted(
        context: &Context,
        callgrind: &Callgrind,
        data: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_as(callgrind.command(context.server()?), "127.0.0.1:0", data, None).await
    }

    async fn start_as(
        mut command: Command,
        listen: &str,
        data: &Path,
        database: Option<&str>,
    ) -> anyhow::Result<Self> {
        command.env_clear().env("HOME", data).current_dir(data);
        command.env("OPSCORE_API_KEY", KEY).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY);
        // All agents of a run sign in from one address, as often as they can.
        for limit in ["SIGNALBOX_SIGN_IN_TRIES_PER_AGENT", "SIGNALBOX_SIGN_IN_TRIES_PER_ADDRESS"] {
            command.env(limit, "1000000000");
        }
        command.args(["serve", "--listen", listen, "--data-dir"]).arg(data.join("signalbox"));
        if let Some(database) = database {
            command.args(["--database", database]);
        }
        let process = Process::start(Launch {
            name: "signalbox",
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "listening on http://",
            within: READY_WITHIN,
            log: data.join("signalbox.log"),
            stop_signal: Signal::TERM,
        })
        .await?;
        let addr = listening_on(&process.ready_line)?;
        Ok(Self { process, addr })
    }

    /// Ends it the orderly way.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// The address at the end of `… listening on http://HOST:PORT`.
pub(crate) fn listening_on(line: &str) -> anyhow::Result<SocketAddr> {
    line.rsplit_once("listening on http://")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.trim_end_matches('/').parse().ok())
        .with_context(|| {
            format!("no address is in the ready line {line:?}; expected … listening on http://HOST:PORT")
        })
}

/// How the embedded database is kept, as far as it shows from outside.
pub(crate) fn sqlite_facts(data: &Path) -> Vec<Fact> {
    vec![
        Fact::new(
            "Signalbox, durability",
            "SQLite as the server sets it by default; `synchronous` does not show from outside",
        ),
        Fact::new("Signalbox, journal", journal(&data.join("signalbox"))),
    ]
}

/// Bytes 18 and 19 of a SQLite file are 2 when it is in write-ahead mode.
fn journal(folder: &Path) -> String {
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let head = read_head(&entry.path()).unwrap_or_default();
        if head.starts_with(b"SQLite format 3\0") {
            let mode = if head.get(18..20) == Some(&[2, 2]) { "write-ahead log" } else { "rollback journal" };
            modes.push(format!("{}: {mode}", entry.file_name().display()));
        }
    }
    modes.sort();
    if modes.is_empty() { "no SQLite file found".to_owned() } else { modes.join(", ") }
}

fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(100).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_ready_line() {
        let addr = listening_on("signalbox listening on http://127.0.0.1:4100").unwrap();
        assert_eq!(addr.port(), 4100);
        assert!(listening_on("signalbox is up").is_err());
    }

    #[test]
    fn the_journal_mode_is_read_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("signalbox")).unwrap();
        let mut head = b"SQLite format 3\0".to_vec();
        head.extend([16, 0, 2, 2]);
        std::fs::write(folder.path().join("signalbox/a.db"), head).unwrap();
        std::fs::write(folder.path().join("signalbox/lock"), "x").unwrap();
        assert_eq!(journal(&folder.path().join("signalbox")), "a.db: write-ahead log");
    }
}
