//! Sessions through two nodes on one PostgreSQL against one node on another: a node more must not make them slower.
//!
//! All run on the same cores, so what is measured is what nodes cost each other, and not what a second machine gives.
//! Triggers and reports go to either node, so that a session is decided by both.

use super::flow::{AGENTS, CONCURRENCY, Flow, Reports};
use super::reports::postgres_facts;
use crate::context::Context;
use crate::interleave::interleave;
use crate::postgres::Postgres;
use crate::report::{Goal, Measured};
use crate::server::Signalbox;

const TASKS: [u32; 2] = [1, 3];
/// Sessions that are open at once.
const OPEN: usize = 64;
const WAYS: [(Reports, &str); 2] =
    [(Reports::ByCall, "agents call back"), (Reports::ByAnswer, "agents answer")];

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for (reports, how) in WAYS {
        let sides = [Nodes::start(context, 2, reports).await?, Nodes::start(context, 1, reports).await?];
        let mut first_tickets = [0; 2];
        for tasks in TASKS {
            let mut compared = Vec::new();
            for (side, first) in sides.iter().zip(first_tickets) {
                let mut nodes = side.flow.side(context, side.name, (tasks, OPEN), first)?;
                nodes.processes.push(&side.postgres.process);
                compared.push(nodes);
            }
            let group = format!("{tasks} {}, {OPEN} open, {how}", if tasks == 1 { "task" } else { "tasks" });
            let rounds = interleave(context, &group, &mut compared).await?;
            for (side, first) in compared.iter().zip(&mut first_tickets) {
                *first = side.plan.first_ticket;
            }
            drop(compared);
            for side in &sides {
                side.flow.all_completed().await?;
            }
            measured.conclude(rounds, Some(Goal::AtLeast(1.0)), None);
        }
        for fact in postgres_facts(&sides[0].postgres) {
            measured.fact(&fact.name, fact.value);
        }
        for side in sides {
            side.stop().await?;
        }
    }
    measured.fact(
        "agents",
        format!("{AGENTS} in one process, found by capability, {CONCURRENCY} tasks at once each"),
    );
    measured.note(
        "Connections are dealt out to the nodes in turn, those of clients and those that agents report over: the tasks of \
         a session are decided by either node. Server CPU is that of nodes, agents and PostgreSQL together.",
    );
    Ok(measured)
}

/// Nodes on one database, with their agents.
struct Nodes {
    name: &'static str,
    flow: Flow,
    postgres: Postgres,
    _folders: Vec<tempfile::TempDir>,
}

impl Nodes {
    async fn start(context: &Context, count: usize, reports: Reports) -> anyhow::Result<Self> {
        let postgres = Postgres::start(context).await?;
        let (mut nodes, folders) = Signalbox::start_nodes(context, count, &postgres.url).await?;
        let (name, first) = (if count == 1 { "one node" } else { "two nodes" }, nodes.remove(0));
        let flow = Flow::of_nodes(context, (first, nodes), folders[0].path(), &TASKS, reports).await?;
        Ok(Self { name, flow, postgres, _folders: folders })
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.flow.stop().await?;
        self.postgres.stop().await
    }
}
