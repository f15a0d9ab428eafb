//! The real binary as a process: started with chosen flags and environment, killed, stopped, started again.
//!
//! Nothing of the environment of the tests reaches it. A server that panicked fails the test that it served.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::api::Api;
use super::database::Database;
use super::wait::within;

/// The key that servers of tests are given, an admin's of the tenant `default`.
pub(crate) const KEY: &str = "blackbox-key-7f3c1d5e9a2b4c6d8e0f";
/// The key that makes tenants.
pub(crate) const PLATFORM_KEY: &str = "blackbox-platform-key-1a2b3c4d5e6f";

const START: Duration = Duration::from_secs(60);
const READY: &str = "signalbox listening on ";

/// How to start a server.
#[derive(Clone)]
pub(crate) struct Setup {
    dir: Arc<TempDir>,
    data_dir: Option<PathBuf>,
    listen: Option<String>,
    database: Option<String>,
    key: Option<String>,
    env: Vec<(String, OsString)>,
    args: Vec<OsString>,
}

/// A running server. Its requests carry [`KEY`] unless it was started without.
pub(crate) struct Server {
    setup: Setup,
    process: Process,
    api: Api,
}

/// A server that ended before it served.
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Setup {
    pub(crate) fn new(database: &Database) -> Self {
        let dir = tempfile::Builder::new().prefix("signalbox-blackbox-").tempdir().expect("a folder");
        Self {
            data_dir: Some(dir.path().join("data")),
            dir: Arc::new(dir),
            listen: Some("127.0.0.1:0".to_owned()),
            database: database.url().map(str::to_owned),
            key: Some(KEY.to_owned()),
            env: Vec::new(),
            args: Vec::new(),
        }
    }

    /// With a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// With a flag, or a flag's value.
    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With flags and their values.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Without `OPSCORE_API_KEY`.
    pub(crate) fn without_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// With this `--listen`, or none.
    pub(crate) fn listen(mut self, listen: Option<&str>) -> Self {
        self.listen = listen.map(str::to_owned);
        self
    }

    /// With this `--data-dir`, or none.
    pub(crate) fn data_dir(mut self, data_dir: Option<PathBuf>) -> Self {
        self.data_dir = data_dir;
        self
    }

    /// With this `--database`.
    pub(crate) fn database(mut self, url: Option<String>) -> Self {
        self.database = url;
        self
    }

    /// The folder that the test may fill; the data directory is `data` in it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts, and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err(refused) => panic!("the server ended with {}: {}", refused.status, refused.stderr),
        }
    }

    /// Starts a server that may refuse to.
    pub(crate) fn try_start(self) -> Result<Server, Refused> {
        let mut process = Process::spawn(self.command("serve"));
        match process.ready() {
            Some(address) => {
                let api = Api::new(&address, self.key.as_deref());
                Ok(Server { setup: self, process, api })
            }
            None => {
                let status = process.wait(START);
                Err(Refused { status, stderr: process.stderr() })
            }
        }
    }

    /// The binary with a sub-command and the setup's flags.
    pub(crate) fn command(&self, sub_command: &str) -> Command {
        let mut command = self.bare_command();
        command.arg(sub_command);
        for (flag, value) in [("--listen", &self.listen), ("--database", &self.database)] {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        if let Some(data_dir) = &self.data_dir {
            command.arg("--data-dir").arg(data_dir);
        }
        command.args(&self.args);
        command
    }

    /// The binary in the setup's environment.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
        command.env_clear().env("HOME", self.dir()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(key) = &self.key {
            command.env("OPSCORE_API_KEY", key);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(self.dir());
        command
    }
}

impl Server {
    /// A server on this database, with nothing else chosen.
    #[track_caller]
    pub(crate) fn start(database: &Database) -> Self {
        Setup::new(database).start()
    }

    /// The client that follows the server to wherever it is started again.
    pub(crate) fn api(&self) -> Api {
        self.api.clone()
    }

    /// A client with another key.
    pub(crate) fn with_key(&self, key: &str) -> Api {
        self.api.with_key(Some(key))
    }

    /// A client without a key.
    pub(crate) fn without_key(&self) -> Api {
        self.api.with_key(None)
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.setup.data_dir.clone().expect("this setup has a data directory")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Ends it without a warning, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process.assert_calm();
        self.process = Process::spawn(self.setup.command("serve"));
        match self.process.ready() {
            Some(address) => self.api.move_to(&address),
            None => panic!("the server did not start again: {}", self.process.stderr()),
        }
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, Signal::TERM).expect("the server is there");
    }

    /// Asks it to read its certificate again.
    pub(crate) fn hang_up(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, Signal::HUP).expect("the server is there");
    }

    /// Stops it in order, and starts it again on the same data.
    #[track_caller]
    pub(crate) fn stop_and_restart(&mut self) {
        self.terminate();
        self.process.wait(START);
        self.restart();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn ended(&mut self, patience: Duration) -> ExitStatus {
        self.process.wait(patience)
    }

    pub(crate) fn stdout(&self) -> String {
        self.process.stdout()
    }

    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }
}

impl Deref for Server {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        if thread::panicking() {
            eprintln!("--- the server's log\n{}---", self.process.stderr());
        } else {
            self.process.assert_calm();
        }
    }
}

/// A child with its output, which is read as it comes so that it never blocks.
struct Process {
    child: Child,
    lines: std::sync::Mutex<Receiver<String>>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (sender, lines) = channel();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let readers = vec![
            read_lines(out, &stdout, move |line| drop(sender.send(line.to_owned()))),
            read_lines(err, &stderr, |_| {}),
        ];
        Self { child, lines: std::sync::Mutex::new(lines), stdout, stderr, readers }
    }

    /// The address it serves on; `None` where it ended instead.
    fn ready(&mut self) -> Option<String> {
        loop {
            match self.lines.get_mut().expect("no reader has panicked").recv_timeout(START) {
                Ok(line) => {
                    if let Some((_, url)) = line.split_once(READY) {
                        let authority = url.trim().split_once("://").map_or(url, |(_, authority)| authority);
                        return Some(authority.trim_end_matches('/').to_owned());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.kill();
                    panic!("the server was not ready within {START:?}: {}", self.stderr());
                }
            }
        }
    }

    #[track_caller]
    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = within(patience, "the server to end", || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        self.read_to_end();
        status
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_end();
    }

    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    #[track_caller]
    fn assert_calm(&self) {
        let stderr = self.stderr();
        assert!(!stderr.contains("panicked"), "the server panicked:\n{stderr}");
    }
}

fn read_lines(
    source: impl Read + Send + 'static,
    into: &Arc<Mutex<String>>,
    mut each: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
            drop(text);
            each(&line);
        }
    })
}
