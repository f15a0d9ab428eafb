//! Agents that hold connections: a process opens one for each line of a file, sends heartbeats over it, answers commands
//! at once, and connects again at once where that is wanted. `GET /held` tells how they fare.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::ws::{self, Ended, Refused, Scratch, Socket, Target};
use crate::{clock, printer};

/// Connections that are being opened at once, where nothing was lost.
const OPENING_MAX: usize = 64;
/// The pause after a connection that was not taken; it differs a little from one agent to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// Kinds of faults and of ends that are told apart.
const KINDS_MAX: usize = 32;
/// The golden ratio: multiples of it spread evenly over an interval, however many there are.
const SPREAD: f64 = 0.618_033_988_749_895;

/// Arguments of `bench baseline live`.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Where the agents connect.
    #[arg(long)]
    connect_to: Option<SocketAddr>,
    /// A file with a path and a token, or `-`, on each line.
    #[arg(long)]
    agents: Option<PathBuf>,
    /// How often each sends a heartbeat, in milliseconds.
    #[arg(long, default_value_t = 30_000)]
    heartbeat_ms: u64,
    /// Connect again at once when a connection ends.
    #[arg(long)]
    reconnect: bool,
    /// Addresses of the loopback network that the connections come from, in turn.
    #[arg(long, default_value_t = 4)]
    sources: u8,
}

/// How the agents of a process fare.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Agents whose heartbeat was answered on the connection that they have now.
    pub(crate) online: u64,
    /// How often one became so.
    pub(crate) onlines: u64,
    /// When one did last.
    pub(crate) last_online_unix_us: u64,
    pub(crate) heartbeats: u64,
    /// Heartbeats that were answered.
    pub(crate) answered: u64,
    /// Commands that were.
    pub(crate) commands: u64,
    /// Tries to connect that nobody took.
    pub(crate) unreached: u64,
    /// Tries that were answered 503.
    pub(crate) unavailable: u64,
    /// How connections ended.
    pub(crate) ends: BTreeMap<String, u64>,
    /// All else that went wrong.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Held {
    /// Adds those of another process.
    pub(crate) fn add(&mut self, other: Self) {
        self.online += other.online;
        self.onlines += other.onlines;
        self.last_online_unix_us = self.last_online_unix_us.max(other.last_online_unix_us);
        self.heartbeats += other.heartbeats;
        self.answered += other.answered;
        self.commands += other.commands;
        self.unreached += other.unreached;
        self.unavailable += other.unavailable;
        other.ends.into_iter().for_each(|(kind, count)| note(&mut self.ends, kind, count));
        other.faults.into_iter().for_each(|(kind, count)| note(&mut self.faults, kind, count));
    }
}

fn note(kinds: &mut BTreeMap<String, u64>, kind: String, count: u64) {
    let kind = if kinds.len() < KINDS_MAX || kinds.contains_key(&kind) { kind } else { "others".to_owned() };
    *kinds.entry(kind).or_default() += count;
}

/// Lets the agents connect, and tells how they fare.
pub(crate) fn routes(options: &Options) -> anyhow::Result<Router> {
    let addr = options.connect_to.context("--connect-to is the address of the server")?;
    let file = options.agents.as_ref().context("--agents is a file with a path and a token on each line")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let lines: Vec<(String, Option<String>)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, token)| (path.to_owned(), (token != "-").then(|| token.to_owned())))
        .collect();
    let held = Arc::new(Mutex::new(Held::default()));
    let settings = Settings {
        addr,
        interval: Duration::from_millis(options.heartbeat_ms.max(1)),
        reconnects: options.reconnect,
        sources: options.sources.max(1),
    };
    let noted = Arc::clone(&held);
    std::thread::spawn(move || {
        if let Err(error) = hold_all(settings, lines, noted) {
            printer::error(&format!("the agents ended: {error:#}"));
            std::process::exit(1);
        }
    });
    Ok(Router::new()
        .route("/held", get(async |State(held): State<Arc<Mutex<Held>>>| Json(held.lock().clone())))
        .with_state(held))
}

#[derive(Clone, Copy)]
struct Settings {
    addr: SocketAddr,
    interval: Duration,
    reconnects: bool,
    sources: u8,
}

struct Agents {
    settings: Settings,
    held: Arc<Mutex<Held>>,
    scratch: Scratch,
    opening: Semaphore,
}

fn hold_all(
    settings: Settings,
    lines: Vec<(String, Option<String>)>,
    held: Arc<Mutex<Held>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let opening = Semaphore::new(OPENING_MAX);
    let agents = Rc::new(Agents { settings, held, scratch: ws::scratch(), opening });
    LocalSet::new().block_on(&runtime, async {
        let tasks: Vec<_> = lines
            .into_iter()
            .enumerate()
            .map(|(number, (path, token))| {
                let agent = Agent { agents: Rc::clone(&agents), number, path, token };
                tokio::task::spawn_local(agent.hold())
            })
            .collect();
        for task in tasks {
            task.await?;
        }
        anyhow::Ok(())
    })?;
    // The figures stay readable.
    loop {
        std::thread::park();
    }
}

/// One agent.
struct Agent {
    agents: Rc<Agents>,
    number: usize,
    path: String,
    token: Option<String>,
}

impl Agent {
    async fn hold(self) {
        let reconnects = self.agents.settings.reconnects;
        let mut is_first = true;
        loop {
            match self.open(is_first).await {
                Ok(socket) => {
                    is_first = false;
                    let (ended, was_online) = self.stay(socket).await;
                    note(&mut self.agents.held.lock().ends, ended.to_string(), 1);
                    if !reconnects {
                        return;
                    }
                    // At once, but for a server that takes connections only to end them.
                    if was_online {
                        continue;
                    }
                }
                // Nobody listens, or whoever did has gone before it answered.
                Err(Refused::Unreachable(_)) if reconnects => self.agents.held.lock().unreached += 1,
                // As a server does that is about to end.
                Err(Refused::Answered(line)) if reconnects && line.starts_with("HTTP/1.1 503") => {
                    self.agents.held.lock().unavailable += 1;
                }
                Err(refused) => {
                    self.fault(refused.to_string());
                    if !reconnects {
                        return;
                    }
                }
            }
            tokio::time::sleep(PAUSE + PAUSE.mul_f64(self.share())).await;
        }
    }

    /// Opens its connection: the first one when some others have theirs, a later one at once.
    async fn open(&self, is_first: bool) -> Result<Socket, Refused> {
        let Settings { addr, sources, .. } = self.agents.settings;
        let last = u8::try_from(self.number % usize::from(sources)).unwrap_or(0);
        // The first address is left to everything else.
        let source = (sources > 1).then(|| Ipv4Addr::new(127, 0, 0, last.saturating_add(2)));
        let target = Target { addr, source, path: &self.path, token: self.token.as_deref() };
        // The semaphore is never closed.
        let _permit = if is_first { self.agents.opening.acquire().await.ok() } else { None };
        ws::open(target).await
    }

    /// Its place among all, from 0 to 1.
    fn share(&self) -> f64 {
        (self.number as f64 * SPREAD).fract()
    }

    fn fault(&self, kind: String) {
        note(&mut self.agents.held.lock().faults, kind, 1);
    }

    /// Sends heartbeats and answers commands until the connection ends; answers whether the agent was online.
    async fn stay(&self, mut socket: Socket) -> (Ended, bool) {
        let is_online = RefCell::new(false);
        let interval = self.agents.settings.interval;
        let mut next = clock::now();
        let mut beats = 0_u64;
        let ended = loop {
            let mut answers = Vec::new();
            let read =
                socket.read(&self.agents.scratch, |message| self.take(message, &is_online, &mut answers));
            tokio::select! {
                biased;
                read = read => if let Err(ended) = read {
                    break ended;
                },
                () = tokio::time::sleep_until(next.into()) => {
                    socket.writer.put(self.heartbeat(beats).as_bytes());
                    next = self.after(next, beats, interval);
                    beats += 1;
                    self.agents.held.lock().heartbeats += 1;
                }
            }
            answers.iter().for_each(|answer: &String| socket.writer.put(answer.as_bytes()));
            if let Err(ended) = socket.writer.flush().await {
                break ended;
            }
        };
        let was_online = is_online.into_inner();
        if was_online {
            self.agents.held.lock().online -= 1;
        }
        (ended, was_online)
    }

    /// When the next heartbeat is due: the second one is where its place among all says, so that they are spread.
    fn after(&self, last: Instant, beats: u64, interval: Duration) -> Instant {
        last + if beats == 0 { interval.mul_f64(self.share()) } else { interval }
    }

    fn heartbeat(&self, beats: u64) -> String {
        let stamp = clock::rfc3339_second(clock::unix_micros() / 1_000_000);
        format!(
            r#"{{"type":"heartbeat","id":"beat-{beats}","data":{{"cpu_usage":12.5,"memory_usage":40.25}},"timestamp":"{stamp}Z"}}"#
        )
    }

    fn take(&self, message: &[u8], is_online: &RefCell<bool>, answers: &mut Vec<String>) {
        match kind(message) {
            // A server that says everything back answers a heartbeat with a heartbeat.
            "heartbeat_ack" | "heartbeat" => {
                let mut held = self.agents.held.lock();
                held.answered += 1;
                if !is_online.replace(true) {
                    held.online += 1;
                    held.onlines += 1;
                    held.last_online_unix_us = clock::unix_micros();
                }
            }
            "command" => match serde_json::from_slice::<Command<'_>>(message) {
                Ok(command) => {
                    answers.push(response(command.id));
                    self.agents.held.lock().commands += 1;
                }
                Err(error) => self.fault(format!("a command that cannot be read: {error}")),
            },
            "ack" => {}
            _ => self.fault(format!("said by the server: {}", String::from_utf8_lossy(message))),
        }
    }
}

#[derive(Deserialize)]
struct Command<'a> {
    id: &'a str,
}

fn response(command: &str) -> String {
    let stamp = clock::rfc3339_second(clock::unix_micros() / 1_000_000);
    format!(
        concat!(
            r#"{{"type":"response","id":"r-{0}","data":{{"command_id":"{0}","status":"success","#,
            r#""result":{{"done":true}}}},"timestamp":"{1}Z"}}"#
        ),
        command, stamp
    )
}

/// The type of a message whose first field it is.
pub(crate) fn kind(message: &[u8]) -> &str {
    let rest = message.strip_prefix(br#"{"type":""#).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_message_is_its_first_field() {
        assert_eq!(kind(br#"{"type":"heartbeat_ack","id":"x"}"#), "heartbeat_ack");
        assert_eq!(kind(br#"{"id":"x"}"#), "");
    }

    #[test]
    fn a_response_names_the_command() {
        let response: serde_json::Value = serde_json::from_str(&response("cmd_1")).unwrap();
        assert_eq!(
            (&response["type"], &response["data"]["command_id"]),
            (&"response".into(), &"cmd_1".into())
        );
    }

    #[test]
    fn kinds_are_bounded() {
        let mut kinds = BTreeMap::new();
        (0..100).for_each(|number| note(&mut kinds, format!("{number}"), 1));
        assert_eq!((kinds.len(), kinds["others"]), (KINDS_MAX + 1, 100 - KINDS_MAX as u64));
    }

    #[tokio::test]
    async fn agents_are_online_once_their_heartbeat_is_answered() {
        let addr = super::super::serve_here(super::super::Kind::Echo).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agents");
        std::fs::write(&file, "/echo -\n".repeat(10)).unwrap();
        let options = Options {
            connect_to: Some(addr),
            agents: Some(file),
            heartbeat_ms: 20,
            reconnect: false,
            sources: 2,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let told = listener.local_addr().unwrap();
        let router = routes(&options).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let held = async {
            loop {
                let body = crate::load::call(told, "GET", "/held", None).await.unwrap();
                let held: Held = serde_json::from_slice(&body).unwrap();
                if held.online == 10 && held.answered > 30 {
                    return held;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let held = tokio::time::timeout(Duration::from_secs(10), held).await.unwrap();
        assert_eq!((held.onlines, held.faults.len(), held.ends.len()), (10, 0, 0), "{held:?}");
    }
}
