//! A throw-away PostgreSQL server on a free loopback port.
//!
//! [`Cluster`] holds the pipe to a keeper (`keeper.sh`) that stops the server and removes its folder when the
//! pipe closes: on drop, and equally when this process is interrupted or killed.

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use super::account::Account;
use crate::print;

const KEEPER: &str = include_str!("keeper.sh");

/// Another process may take a port between our choice and the server's start; then the next is tried.
const PORTS: usize = 3;

/// How much of the server's log is worth showing when it does not start.
const LOG_LINES: usize = 20;

/// A running server; dropping it stops the server and removes its data.
pub(crate) struct Cluster {
    keeper: Child,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// Starts a server with the programs in `programs`.
    pub(crate) fn start(programs: &Path) -> Result<Self> {
        let mut cluster = Self::spawn(programs)?;
        cluster.port = cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The address of the database from which tests create their own.
    pub(crate) fn url(&self) -> String {
        format!("postgres://signalbox@127.0.0.1:{}/postgres", self.port)
    }

    fn spawn(programs: &Path) -> Result<Self> {
        let account = Account::choose()?;
        let folder = create_folder(&account)?;
        let ports = free_ports()?;
        let mut words = vec!["sh".to_owned(), "-c".to_owned(), KEEPER.to_owned(), "keeper".to_owned()];
        words.extend([programs, &folder].map(|path| path.to_string_lossy().into_owned()));
        words.extend(ports.iter().map(u16::to_string));
        let keeper = account
            .command(&words.iter().map(String::as_str).collect::<Vec<_>>())
            .current_dir("/")
            .env("LC_ALL", "C")
            .process_group(0) // an interrupt from the terminal must not reach it
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a shell to keep PostgreSQL")?;
        Ok(Self { keeper, folder, port: 0 })
    }

    fn wait_until_ready(&mut self) -> Result<u16> {
        let said = self.keeper.stdout.take().context("the keeper of PostgreSQL has no output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).context("cannot hear the keeper of PostgreSQL")?;
        if let Ok(port) = line.trim().parse() {
            return Ok(port);
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        bail!("PostgreSQL did not start; its log ends with:\n{last}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Waiting closes the keeper's input, which is its sign to stop the server.
        if let Err(error) = self.keeper.wait() {
            print::notice(&format!("cannot wait for PostgreSQL to stop: {error}"));
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                print::notice(&format!("cannot remove {}: {error}", self.folder.display()));
            }
            _ => {}
        }
    }
}

/// A private folder that `account` can use, in the first temporary folder that lets it.
fn create_folder(account: &Account) -> Result<PathBuf> {
    for base in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        let Ok(folder) = create_unused(&base) else { continue };
        if account.take(&folder) {
            return Ok(folder);
        }
        fs::remove_dir(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    bail!("no temporary folder is open to the account that runs PostgreSQL; set TMPDIR to one that is")
}

fn create_unused(base: &Path) -> std::io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = base.join(format!("signalbox-test-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(folder),
        }
    }
}

/// Held together until all are known, so that they differ.
fn free_ports() -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..PORTS)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()
        .context("no free port on 127.0.0.1")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_that_cannot_start_is_an_error_and_leaves_no_folder() {
        let mut cluster = Cluster::spawn(Path::new("/nonexistent")).unwrap();
        let error = cluster.wait_until_ready().unwrap_err().to_string();
        assert!(error.contains("/nonexistent/initdb"), "{error}");
        let folder = cluster.folder.clone();
        drop(cluster);
        assert!(!folder.exists());
    }

    #[test]
    fn a_server_takes_connections_until_it_is_dropped() {
        if std::env::var_os("SIGNALBOX_TEST_POSTGRES").is_none() {
            return;
        }
        let cluster = Cluster::start(&super::super::find().unwrap()).unwrap();
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port)).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let folder = cluster.folder.clone();
        drop(cluster);
        let end = connection.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
        assert!(!folder.exists());
    }
}
