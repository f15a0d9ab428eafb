//! A server with agents that answer at once, and sessions that run through it: shared by the cases about sessions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;

use crate::baseline::Bare;
use crate::context::Context;
use crate::interleave::{Side, plan};
use crate::load::{self, Ends, Plan, Template};
use crate::server::Signalbox;
use crate::{agents, clock, requests};

/// Agents that do the work, so many that they are never what is waited for.
pub(super) const AGENTS: u64 = 256;
/// Tasks that each of them takes at once.
pub(super) const CONCURRENCY: u32 = 4;
/// What they offer.
pub(super) const WORKER: &str = "worker";

/// How long the last sessions may take to end after their ends were told.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// How agents say what came of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reports {
    /// By a call to the server.
    ByCall,
    /// By their answer to the task's delivery.
    ByAnswer,
}

/// The server under test with its agents.
pub(super) struct Flow {
    pub(super) signalbox: Signalbox,
    /// Further nodes on the same database.
    others: Vec<Signalbox>,
    agents: Bare,
    ends: Arc<Ends>,
    /// What agents could not report, to be read when something went wrong.
    agents_log: PathBuf,
}

impl Flow {
    /// Gives a server agents, and the workflows of so many tasks each.
    pub(super) async fn new(
        context: &Context,
        signalbox: Signalbox,
        folder: &Path,
        tasks: &[u32],
        reports: Reports,
    ) -> anyhow::Result<Self> {
        Self::of_nodes(context, (signalbox, Vec::new()), folder, tasks, reports).await
    }

    /// The same for several nodes on one database. Connections are dealt out to them in turn, those of clients and those that
    /// agents report over.
    pub(super) async fn of_nodes(
        context: &Context,
        (signalbox, others): (Signalbox, Vec<Signalbox>),
        folder: &Path,
        tasks: &[u32],
        reports: Reports,
    ) -> anyhow::Result<Self> {
        let (ends, tell) = Ends::listen().await?;
        let nodes: Vec<SocketAddr> =
            std::iter::once(&signalbox).chain(&others).map(|node| node.addr).collect();
        let agents = Bare::start_agents(&nodes, tell, reports == Reports::ByAnswer, folder).await?;
        let agents_log = folder.join("baseline-agents.log");
        let flow = Self { signalbox, others, agents, ends, agents_log };
        flow.register(context, WORKER, AGENTS).await?;
        for tasks in tasks {
            flow.keep(&requests::workflow(&format!("tasks-{tasks}"), WORKER, *tasks)).await?;
        }
        Ok(flow)
    }

    /// Gives it so many agents more that offer `capability`.
    pub(super) async fn register(
        &self,
        context: &Context,
        capability: &str,
        count: u64,
    ) -> anyhow::Result<()> {
        let endpoint = format!("http://{}", self.agents.addr);
        let registration = requests::worker(capability, &endpoint, CONCURRENCY)?;
        let plan = agents::counted(context, self.signalbox.addr, registration, count);
        agents::complete("registering the agents", count, load::run(&plan).await?).map(drop)
    }

    /// Keeps a workflow on the server.
    pub(super) async fn keep(&self, workflow: &serde_json::Value) -> anyhow::Result<()> {
        let (addr, body) = (self.signalbox.addr, workflow.to_string());
        load::call(addr, "POST", "/v1/opscore/workflows", Some(&body)).await.map(drop)
    }

    /// Sessions of so many tasks, so many open at once.
    pub(super) fn side<'a>(
        &'a self,
        context: &Context,
        name: &str,
        (tasks, open): (u32, usize),
        first_ticket: u64,
    ) -> anyhow::Result<Side<'a>> {
        let plan = self.plan(context, (tasks, open), first_ticket)?;
        let mut side = Side::new(name, &self.signalbox.process, plan);
        side.processes.extend(self.others.iter().map(|node| &node.process));
        side.processes.push(&self.agents.process);
        Ok(side)
    }

    /// The same as a plan alone.
    pub(super) fn plan(
        &self,
        context: &Context,
        (tasks, open): (u32, usize),
        first_ticket: u64,
    ) -> anyhow::Result<Plan> {
        let trigger = Arc::new(requests::trigger(&format!("tasks-{tasks}"))?);
        Ok(self.plan_of(context, (&trigger, open), first_ticket))
    }

    /// The same for sessions of any workflow that tells its end.
    pub(super) fn plan_of(
        &self,
        context: &Context,
        (trigger, open): (&Arc<Template>, usize),
        first_ticket: u64,
    ) -> Plan {
        let plan = plan(context, self.signalbox.addr, trigger, open);
        let others = self.others.iter().map(|node| node.addr).collect();
        Plan { others, first_ticket, ends: Some(self.ends()), ..plan }
    }

    /// Where the ends of sessions are told.
    pub(super) fn ends(&self) -> Arc<Ends> {
        Arc::clone(&self.ends)
    }

    /// Nothing is left open and nothing went wrong: every session that began has completed, or does so in a moment.
    pub(super) async fn all_completed(&self) -> anyhow::Result<()> {
        let until = clock::now() + SETTLED_WITHIN;
        while let Err(error) = self.look().await {
            if clock::now() >= until {
                return Err(error);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn look(&self) -> anyhow::Result<()> {
        for status in ["started", "running", "failed", "cancelled", "paused"] {
            let path = format!("/v1/opscore/sessions?status={status}&limit=1");
            let body = load::call(self.signalbox.addr, "GET", &path, None).await?;
            let listed: serde_json::Value = serde_json::from_slice(&body)?;
            let Some(session) = listed["data"][0]["sessionId"].as_str() else { continue };
            bail!("a session is {status}; its history: {}", self.history(session).await?);
        }
        Ok(())
    }

    async fn history(&self, session: &str) -> anyhow::Result<String> {
        let path = format!("/v1/opscore/sessions/{session}/events");
        let body = load::call(self.signalbox.addr, "GET", &path, None).await?;
        let said = std::fs::read_to_string(&self.agents_log).unwrap_or_default();
        Ok(format!("{}; the agents said: {}", String::from_utf8_lossy(&body), said.trim()))
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for node in self.others {
            node.stop().await?;
        }
        self.signalbox.stop().await
    }
}
