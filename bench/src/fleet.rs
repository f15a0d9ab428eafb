//! Agents without an endpoint: registered, signed in, and held by processes of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::baseline::{Bare, Held, Live};
use crate::context::Context;
use crate::load::{self, Ids, Template};
use crate::{agents, clock, printer, sign_in};

/// Agents that one process holds: each is a file descriptor, and one thread looks after all of them.
const PER_PROCESS: usize = 5_000;
const POLL: Duration = Duration::from_millis(50);

/// Agents that may connect: the path of each, and its token, where one is needed.
pub(crate) struct Fleet {
    pub(crate) ids: Ids,
    pub(crate) tokens: Vec<String>,
}

impl Fleet {
    /// Registers so many agents and signs them in.
    pub(crate) async fn sign_up(
        context: &Context,
        addr: SocketAddr,
        count: u64,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let ids = register(context, addr, count).await?;
        let begin = clock::now();
        let tokens = sign_in::all(context, addr, &ids, folder).await?;
        let rate = count as f64 / (clock::now() - begin).as_secs_f64();
        printer::progress(&format!("  {count} agents signed in, {rate:.0} per second"));
        Ok(Self { ids, tokens })
    }

    /// The path of one agent's connection.
    pub(crate) fn path(&self, place: usize) -> String {
        path(&self.ids, place)
    }

    /// One line for each: a path and a token.
    fn lines(&self) -> Vec<String> {
        self.tokens.iter().enumerate().map(|(place, token)| format!("{} {token}", self.path(place))).collect()
    }

    /// Starts processes that hold the connections of all.
    pub(crate) async fn hold(&self, live: &Live, folder: &Path) -> anyhow::Result<Holders> {
        Holders::start(live, "signalbox", &self.lines(), folder).await
    }
}

/// Registers so many agents without an endpoint.
pub(crate) async fn register(context: &Context, addr: SocketAddr, count: u64) -> anyhow::Result<Ids> {
    let body = r#"{"agent_id":"live-<sequence>","name":"live-<sequence>","type":"bench"}"#;
    let registration = Template::new("POST", "/api/v1/agents", Some(crate::server::KEY), Some(body), None)?;
    let plan = agents::counted(context, addr, registration, count);
    agents::complete("registering the agents", count, load::run(&plan).await?)?;
    let names: Vec<String> = (0..count).map(|number| format!("live-{number:08}")).collect();
    Ids::new(&names)
}

fn path(ids: &Ids, place: usize) -> String {
    format!("/api/v1/ws/agent/{}", ids.text(place as u64))
}

/// Processes that hold connections.
pub(crate) struct Holders {
    pub(crate) processes: Vec<Bare>,
    count: u64,
}

impl Holders {
    /// As many connections without agents, to a server that knows none.
    pub(crate) async fn bare(live: &Live, count: u64, folder: &Path) -> anyhow::Result<Self> {
        let lines = vec!["/echo -".to_owned(); usize::try_from(count)?];
        Self::start(live, "echo", &lines, folder).await
    }

    async fn start(live: &Live, name: &str, lines: &[String], folder: &Path) -> anyhow::Result<Self> {
        let mut processes = Vec::new();
        for (number, share) in lines.chunks(PER_PROCESS).enumerate() {
            let file = folder.join(format!("agents-of-{name}-{number}"));
            std::fs::write(&file, share.join("\n") + "\n")
                .with_context(|| format!("{} cannot be written", file.display()))?;
            processes.push(Bare::start_live(live, &file).await?);
        }
        Ok(Self { processes, count: lines.len() as u64 })
    }

    /// How all of them fare.
    pub(crate) async fn held(&self) -> anyhow::Result<Held> {
        let mut all = Held::default();
        for process in &self.processes {
            all.add(process.held().await?);
        }
        Ok(all)
    }

    /// Waits until every agent is online, for the so-manieth time.
    pub(crate) async fn all_online(&self, times: u64, within: Duration) -> anyhow::Result<Held> {
        let until = clock::now() + within;
        loop {
            let held = self.held().await?;
            if held.online == self.count && held.onlines >= self.count * times {
                return Ok(held);
            }
            if clock::now() >= until {
                bail!("{} of {} agents are online after {within:?}: {held:?}", held.online, self.count);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
