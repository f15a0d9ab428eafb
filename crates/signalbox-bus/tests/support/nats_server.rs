//! A NATS server of one test alone: started on a free port, killed, started again on the same one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Time between two looks whether it takes connections.
const LOOK: Duration = Duration::from_millis(10);
/// Looks, at most.
const LOOKS_MAX: usize = 2_000;
/// Where Debian and others put what is not for every user.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// A running server; it is killed when it is dropped.
pub(crate) struct NatsServer {
    program: PathBuf,
    args: Vec<String>,
    port: u16,
    child: Child,
}

impl NatsServer {
    /// Starts a server with further arguments, where there is such a program.
    pub(crate) fn start(args: &[&str]) -> Option<Self> {
        let program = find()?;
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let child = spawn(&program, &args, port);
        Some(Self { program, args, port, child })
    }

    /// Its address, without user and password.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, &self.args, self.port);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
}

/// Starts it and waits until it takes connections.
fn spawn(program: &PathBuf, args: &[String], port: u16) -> Child {
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]).args(args);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("a NATS server starts");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..LOOKS_MAX {
        if TcpStream::connect(address).is_ok() {
            return child;
        }
        sleep(LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("the NATS server takes no connections at {address}");
}
