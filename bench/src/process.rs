//! Child processes: started until they say that they are ready, stopped and continued between rounds, measured
//! through `/proc`, and gone when the value is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use crate::clock;

const STOP_WITHIN: Duration = Duration::from_secs(20);
const DROP_WITHIN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// Which stream carries the line that says "ready".
#[derive(Clone, Copy)]
pub(crate) enum ReadyOn {
    Stdout,
    Stderr,
}

/// How to start a child and what to expect of it.
pub(crate) struct Launch<'a> {
    /// For messages.
    pub(crate) name: &'a str,
    pub(crate) command: Command,
    pub(crate) ready_on: ReadyOn,
    /// The line that contains this is the ready line.
    pub(crate) ready_mark: &'a str,
    pub(crate) within: Duration,
    /// Where the other stream goes, to be read when the start fails.
    pub(crate) log: PathBuf,
    /// What asks it to end.
    pub(crate) stop_signal: Signal,
}

/// A running child.
pub(crate) struct Process {
    name: String,
    child: Child,
    stop_signal: Signal,
    /// The line that said "ready".
    pub(crate) ready_line: String,
    /// From before the spawn to the ready line.
    pub(crate) ready_after: Duration,
}

impl Process {
    pub(crate) async fn start(launch: Launch<'_>) -> anyhow::Result<Self> {
        let Launch { name, mut command, ready_on, ready_mark, within, log, stop_signal } = launch;
        let log_file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        command.stdin(Stdio::piped());
        match ready_on {
            ReadyOn::Stdout => command.stdout(Stdio::piped()).stderr(log_file),
            ReadyOn::Stderr => command.stderr(Stdio::piped()).stdout(log_file),
        };
        let begin = clock::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} did not start from {}", command.get_program().display()))?;
        let lines: Option<Box<dyn Read + Send>> = match ready_on {
            ReadyOn::Stdout => child.stdout.take().map(|stream| Box::new(stream) as _),
            ReadyOn::Stderr => child.stderr.take().map(|stream| Box::new(stream) as _),
        };
        // Owned from here on: whatever fails below ends the child.
        let mut process = Self {
            name: name.to_owned(),
            child,
            stop_signal,
            ready_line: String::new(),
            ready_after: within,
        };
        let ready = watch(lines.context("the child's output is not a pipe")?, ready_mark);
        match tokio::time::timeout(within, ready).await {
            Ok(Ok((line, at))) => {
                process.ready_line = line;
                process.ready_after = at - begin;
                Ok(process)
            }
            Ok(Err(_)) => bail!("{name} ended before it was ready; its last words:\n{}", tail(&log)),
            Err(_) => bail!("{name} was not ready within {within:?}; its last words:\n{}", tail(&log)),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the process and its children where they are, so that work they put off cannot run while the other
    /// side is measured: it runs, and counts, when their own round comes.
    pub(crate) fn pause(&self) {
        self.signal_tree(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal_tree(Signal::CONT);
    }

    /// Asks the process to end and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.resume();
        signal(self.id(), self.stop_signal);
        let deadline = clock::now() + STOP_WITHIN;
        while self.child.try_wait()?.is_none() {
            if clock::now() > deadline {
                bail!("{} did not end within {STOP_WITHIN:?} of being asked to, and was killed", self.name);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Memory and processor time as the kernel counts them now.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(&self.id().to_string())
    }

    /// Processor seconds of the process and of the children it has now.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        tree(self.id()).into_iter().map(|id| cpu_seconds(&id.to_string())).sum()
    }

    fn signal_tree(&self, what: Signal) {
        for id in tree(self.id()) {
            signal(id, what);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let all = tree(self.id());
        self.resume();
        signal(self.id(), self.stop_signal);
        let deadline = clock::now() + DROP_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && clock::now() < deadline {
            std::thread::sleep(POLL);
        }
        for id in all {
            signal(id, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Resident memory by kind, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident: u64,
    pub(crate) resident_max: u64,
    pub(crate) anonymous: u64,
}

impl Usage {
    fn of(id: &str) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Self { resident: bytes("VmRSS"), resident_max: bytes("VmHWM"), anonymous: bytes("RssAnon") }
    }
}

/// Processor seconds that this program has used itself.
pub(crate) fn own_cpu_seconds() -> f64 {
    cpu_seconds("self")
}

fn cpu_seconds(id: &str) -> f64 {
    let user_and_system = stat_fields(id).skip(11).take(2);
    let ticks: u64 = user_and_system.filter_map(|text| text.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The fields of `stat` from the state on; the name before them may hold spaces.
fn stat_fields(id: &str) -> impl Iterator<Item = String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The process and all its descendants, parents first.
fn tree(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found
}

/// Every process with its parent; not every kernel lists a process's children.
fn parents() -> Vec<(u32, u32)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, stat_fields(&id.to_string()).nth(1)?.parse().ok()?))).collect()
}

fn signal(id: u32, what: Signal) {
    // A process that has just ended has nothing left to be told.
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, what);
    }
}

/// Hands over the first line with `mark` and when it came, and goes on reading so that the child never blocks
/// on a full pipe.
fn watch(stream: Box<dyn Read + Send>, mark: &str) -> oneshot::Receiver<(String, Instant)> {
    let (found, ready) = oneshot::channel();
    let mark = mark.to_owned();
    std::thread::spawn(move || {
        let mut found = Some(found);
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            if line.contains(&mark)
                && let Some(found) = found.take()
            {
                let _ = found.send((line, clock::now()));
            }
        }
    });
    ready
}

fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    match lines.len() {
        0 => "(nothing)".to_owned(),
        count => lines[count.saturating_sub(LINES)..].join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Launch<'static> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Launch {
            name: "the shell",
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "ready",
            within: Duration::from_secs(10),
            log: log.to_owned(),
            stop_signal: Signal::TERM,
        }
    }

    fn state(id: u32) -> String {
        stat_fields(&id.to_string()).next().unwrap()
    }

    async fn until_state(id: u32, wanted: fn(&str) -> bool) {
        let waited = async {
            while !wanted(&state(id)) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap();
    }

    #[tokio::test]
    async fn a_child_is_awaited_paused_resumed_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 100 & echo starting; echo ready now; wait";
        let process = Process::start(shell(script, &folder.path().join("log"))).await.unwrap();
        assert_eq!(process.ready_line, "ready now");
        assert!(process.usage().resident > 0 && process.cpu_seconds() >= 0.0);
        let sleeper = *tree(process.id()).last().unwrap();
        assert_ne!(sleeper, process.id());

        process.pause();
        until_state(sleeper, |state| state == "T").await;
        process.resume();
        until_state(sleeper, |state| state != "T").await;
        signal(sleeper, Signal::KILL);
        process.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_child_that_fails_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error = Process::start(shell("echo no disk >&2; exit 3", &log)).await.err().unwrap();
        assert!(
            error.to_string().contains("ended before it was ready") && error.to_string().contains("no disk")
        );
    }
}
