//! Rounds in which the sides take turns, so that a change of the machine's mood falls on all of them.
//!
//! Whoever is not measured is stopped: what a server puts off runs, and counts, in its own rounds.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::context::Context;
use crate::load::{self, Extent, Outcome, Plan, Template};
use crate::printer;
use crate::process::{self, Process};
use crate::report::{Cpu, Figure, figure_line};

/// One of the things compared.
pub(crate) struct Side<'a> {
    pub(crate) name: String,
    /// All that works for this side; the first is the server.
    pub(crate) processes: Vec<&'a Process>,
    pub(crate) plan: Plan,
}

impl<'a> Side<'a> {
    /// A side whose server works alone.
    pub(crate) fn new(name: &str, process: &'a Process, plan: Plan) -> Self {
        Self { name: name.to_owned(), processes: vec![process], plan }
    }

    pub(crate) fn pause(&self) {
        self.processes.iter().for_each(|process| process.pause());
    }

    pub(crate) fn resume(&self) {
        self.processes.iter().for_each(|process| process.resume());
    }

    fn cpu_seconds(&self) -> f64 {
        self.processes.iter().map(|process| process.cpu_seconds()).sum()
    }

    /// One run of the plan, with the processor time of both ends. Names go on from where this run left off.
    pub(crate) async fn run(&mut self) -> anyhow::Result<(Outcome, Cpu)> {
        let (client, server) = (process::own_cpu_seconds(), self.cpu_seconds());
        let outcome = load::run(&self.plan).await?;
        let cpu = Cpu {
            client_seconds: process::own_cpu_seconds() - client,
            server_seconds: self.cpu_seconds() - server,
        };
        self.plan.first_ticket = outcome.next_ticket;
        Ok((outcome, cpu))
    }
}

/// Runs every side once a round, for the context's rounds; figures by round, then by side.
pub(crate) async fn interleave(
    context: &Context,
    group: &str,
    sides: &mut [Side<'_>],
) -> anyhow::Result<Vec<Vec<Figure>>> {
    sides.iter().for_each(Side::pause);
    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        let mut figures = Vec::new();
        for side in sides.iter_mut() {
            side.resume();
            let (outcome, cpu) = side.run().await?;
            side.pause();
            let figure = Figure::of_load(group, &side.name, round, &outcome, cpu);
            printer::progress(&figure_line(&figure));
            figures.push(figure);
        }
        rounds.push(figures);
    }
    sides.iter().for_each(Side::resume);
    Ok(rounds)
}

/// A measured round of the context's length.
pub(crate) fn plan(
    context: &Context,
    addr: SocketAddr,
    template: &Arc<Template>,
    connections: usize,
) -> Plan {
    Plan {
        addr,
        others: Vec::new(),
        template: Arc::clone(template),
        connections,
        threads: context.client_threads,
        extent: Extent::Timed { warm_up: context.warm_up, measured: context.seconds },
        first_ticket: 0,
        pick: None,
        ends: None,
    }
}
