//! A throw-away NATS server for the tests: where its program is, or how it comes onto this machine.
//!
//! As with PostgreSQL, a shell that holds the other end of a pipe stops the server when this process ends, however it ends.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::postgres::{is_root, quietly};
use crate::print;

/// Where distributions put it, outside the `PATH` of many users.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/bin"];

/// Runs the server until its own input closes.
const KEEPER: &str = r#"
trap '' HUP INT PIPE TERM
"$1" --addr 127.0.0.1 --port "$2" </dev/null >/dev/null 2>&1 &
read -r _
kill -KILL $!
"#;

/// Time between two looks whether it takes connections.
const LOOK: Duration = Duration::from_millis(20);
/// Looks, at most.
const LOOKS_MAX: usize = 500;

/// A running server; dropping it stops the server.
pub(crate) struct Nats {
    keeper: Child,
    port: u16,
}

/// The program of the server.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
}

/// Installs the distribution's server.
pub(crate) fn install() -> Result<PathBuf> {
    if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
        bail!("nats-server is not in PATH, and only root can install it with apt-get");
    }
    print::notice("nats-server is missing: installing it with apt-get");
    quietly(Command::new("apt-get").arg("update"))?;
    quietly(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "nats-server"]))?;
    // The package starts a server of the system where there is somebody to start it.
    let _ = quietly(Command::new("systemctl").args(["disable", "--now", "nats-server"]));
    find().context("apt-get installed it, but nats-server is nowhere")
}

impl Nats {
    /// Starts the server on a free loopback port.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        let port = free.local_addr()?.port();
        drop(free);
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(program)
            .arg(port.to_string())
            .process_group(0) // an interrupt from the terminal must not reach it
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start a shell to keep the NATS server")?;
        let nats = Self { keeper, port };
        for _ in 0..LOOKS_MAX {
            if nats.greets() {
                return Ok(nats);
            }
            sleep(LOOK);
        }
        bail!("the NATS server at {} does not say that it is one", nats.url())
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Whether it takes a connection and says what a NATS server says first.
    fn greets(&self) -> bool {
        let mut greeting = [0; 4];
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok_and(|mut connection| {
            connection.set_read_timeout(Some(LOOK * 50)).is_ok()
                && connection.read_exact(&mut greeting).is_ok()
                && greeting == *b"INFO"
        })
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // Waiting closes the keeper's input, which is its sign to stop the server.
        if let Err(error) = self.keeper.wait() {
            print::notice(&format!("cannot wait for the NATS server to stop: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_greets_until_it_is_dropped() {
        let Some(program) = find() else { return };
        let nats = Nats::start(&program).unwrap();
        let port = nats.port;
        drop(nats);
        let is_gone = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
        assert!(
            (0..LOOKS_MAX).any(|_| is_gone() || {
                sleep(LOOK);
                false
            }),
            "it still takes connections"
        );
    }
}
