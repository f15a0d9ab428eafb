//! A throw-away PostgreSQL cluster with its durable defaults, on the measured disk and a free loopback port.
//!
//! PostgreSQL refuses to run as root, so root hands it to an unprivileged user together with its folder.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::context::Context;
use crate::environment::Fact;
use crate::process::{Launch, Process, ReadyOn};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// What decides whether a commit is durable, and what it costs.
const SETTINGS: [&str; 6] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_connections",
];

/// A running cluster; its folder goes after its process.
pub(crate) struct Postgres {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) facts: Vec<Fact>,
    _folder: TempDir,
}

impl Postgres {
    pub(crate) async fn start(context: &Context) -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = context.temporary("postgres")?;
        let user = unprivileged()?;
        if let Some(user) = &user {
            chown(folder.path(), Some(user.id), Some(user.group))
                .context("the cluster's folder cannot be handed over")?;
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
        let cluster = folder.path().join("cluster");
        let run = |program: &str| as_user(user.as_ref(), &programs.join(program), folder.path());

        let mut initialise = run("initdb");
        initialise.arg("-D").arg(&cluster).args([
            "-U",
            "signalbox",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
        ]);
        checked(initialise, "initdb", &context.data_root).await?;
        let facts = facts(&run, &cluster).await?;

        let port = free_port()?;
        let mut command = run("postgres");
        command.arg("-D").arg(&cluster).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        let process = Process::start(Launch {
            name: "postgres",
            command,
            ready_on: ReadyOn::Stderr,
            ready_mark: "ready to accept connections",
            within: READY_WITHIN,
            log: folder.path().join("stdout.log"),
            stop_signal: Signal::INT,
        })
        .await?;
        let url = format!("postgres://signalbox@127.0.0.1:{port}/postgres");
        Ok(Self { process, url, facts, _folder: folder })
    }

    /// Ends the cluster and removes it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

struct User {
    id: u32,
    group: u32,
}

/// Whom to become: nobody else unless this runs as root.
fn unprivileged() -> anyhow::Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users =
        std::fs::read_to_string("/etc/passwd").context("/etc/passwd tells who PostgreSQL may run as")?;
    let named = |name: &str| users.lines().find_map(|line| user(line, name));
    let found = named("postgres").or_else(|| named("nobody"));
    found
        .map(Some)
        .context("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
}

fn user(line: &str, name: &str) -> Option<User> {
    let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
    Some(User { id: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

fn as_user(user: Option<&User>, program: &Path, folder: &Path) -> Command {
    let mut command = match user {
        None => Command::new(program),
        Some(User { id, group }) => {
            // It replaces itself by the program, so the process that is signalled is PostgreSQL's own.
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={id}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
            command.arg(program);
            command
        }
    };
    command.env("LC_ALL", "C").env_remove("PGDATA").env_remove("PGPORT").current_dir(folder);
    command
}

/// The folder that holds both `postgres` and `initdb`.
fn programs() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path =
        std::env::split_paths(&path).filter_map(|folder| folder.join("postgres").canonicalize().ok());
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin/postgres")).collect();
    installed.sort();
    let mut candidates = in_path.chain(installed.into_iter().rev());
    let found = candidates.find(|program| program.is_file() && program.with_file_name("initdb").is_file());
    found.and_then(|program| program.parent().map(Path::to_owned)).context(
        "no PostgreSQL is in PATH or /usr/lib/postgresql: install it (Debian: `apt-get install postgresql`)",
    )
}

async fn facts(run: &impl Fn(&str) -> Command, cluster: &Path) -> anyhow::Result<Vec<Fact>> {
    let mut version = run("postgres");
    version.arg("--version");
    let mut facts = vec![Fact::new("PostgreSQL", checked(version, "postgres --version", cluster).await?)];
    let mut settings = Vec::new();
    for name in SETTINGS {
        let mut command = run("postgres");
        command.arg("-D").arg(cluster).args(["-C", name]);
        settings.push(format!("{name}={}", checked(command, "postgres -C", cluster).await?));
    }
    facts.push(Fact::new("PostgreSQL, settings", settings.join(", ")));
    Ok(facts)
}

/// Runs a program to its end away from the conducting thread, and gives its trimmed output.
async fn checked(mut command: Command, name: &str, at: &Path) -> anyhow::Result<String> {
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output
        .with_context(|| format!("{name} did not start (as root, `setpriv` of util-linux is needed)"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} failed in {}: {}; its user must be able to enter that folder",
            at.display(),
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A port that was free a moment ago: PostgreSQL cannot choose one itself.
fn free_port() -> anyhow::Result<u16> {
    let probe = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no loopback port is free")?;
    Ok(probe.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let line = "nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin";
        let found = user(line, "nobody").unwrap();
        assert_eq!((found.id, found.group), (65_534, 65_533));
        assert!(user(line, "nobod").is_none());
    }
}
