//! State reports through two nodes on one PostgreSQL against one node on another: a node more must not make it slower.
//!
//! All run on the same cores, so what is measured is what nodes cost each other, and not what a second machine gives.

use std::sync::Arc;

use super::reports::{FLEET, postgres_facts};
use crate::agents;
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::load::{Plan, Template};
use crate::postgres::Postgres;
use crate::report::{Goal, Measured};
use crate::requests;
use crate::server::Signalbox;

const CONNECTIONS: [usize; 2] = [64, 256];

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for connections in CONNECTIONS {
        // Nodes that had company act as if they had it still for a while: each side has a database of its own.
        let sides = [Nodes::start(context, 2).await?, Nodes::start(context, 1).await?];
        let mut compared = [sides[0].side(context, connections), sides[1].side(context, connections)];
        let rounds = interleave(context, &format!("{connections} connections"), &mut compared).await?;
        measured.conclude(rounds, Some(Goal::AtLeast(1.0)), None);
        for fact in postgres_facts(&sides[0].postgres) {
            measured.fact(&fact.name, fact.value);
        }
        for side in sides {
            side.stop().await?;
        }
    }
    measured
        .note("Connections are dealt out to the nodes in turn, and an agent's reports go over all of them.");
    Ok(measured)
}

/// Nodes on one database.
struct Nodes {
    nodes: Vec<Signalbox>,
    postgres: Postgres,
    template: Arc<Template>,
    _folders: Vec<tempfile::TempDir>,
}

impl Nodes {
    async fn start(context: &Context, count: usize) -> anyhow::Result<Self> {
        let postgres = Postgres::start(context).await?;
        let (nodes, folders) = Signalbox::start_nodes(context, count, &postgres.url).await?;
        let ids = agents::register(context, nodes[0].addr, context.fleet(FLEET), agents::NOWHERE).await?;
        let template = Arc::new(requests::report(&ids)?);
        Ok(Self { nodes, postgres, template, _folders: folders })
    }

    fn side(&self, context: &Context, connections: usize) -> Side<'_> {
        let (first, others) = (&self.nodes[0], &self.nodes[1..]);
        let plan = Plan {
            others: others.iter().map(|node| node.addr).collect(),
            ..plan(context, first.addr, &self.template, connections)
        };
        let name =
            if others.is_empty() { "one node".to_owned() } else { format!("{} nodes", self.nodes.len()) };
        let mut side = Side::new(&name, &first.process, plan);
        side.processes.extend(others.iter().map(|node| &node.process));
        side.processes.push(&self.postgres.process);
        side
    }

    async fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.stop().await?;
        }
        self.postgres.stop().await
    }
}
