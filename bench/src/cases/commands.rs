//! Commands to connected agents that answer at once: the clock runs from the POST with `wait=true` to its answer, which
//! holds the agent's. Beside it a bare WebSocket echo: one message there and back, and no HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;

use crate::baseline::{Bare, Kind, Live};
use crate::context::Context;
use crate::fleet::Fleet;
use crate::interleave::{Side, plan};
use crate::load::{self, EchoPlan, Ids, Template};
use crate::printer;
use crate::process::own_cpu_seconds;
use crate::report::{Cpu, Figure, Measured, P50_MS, P99_MS, PER_S, Verdict, figure_line};
use crate::server::{KEY, Signalbox, sqlite_facts};

/// Agents that the commands are spread over, so many that each has about one at a time.
const AGENTS: u64 = 256;
const OPEN: [usize; 3] = [1, 64, 256];
const ONLINE_WITHIN: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(30);
/// About what an agent gets, and sends back.
const MESSAGE_BYTES: usize = 200;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("commands")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let fleet = Fleet::sign_up(context, signalbox.addr, AGENTS, folder.path()).await?;
    let live = Live { to: signalbox.addr, heartbeat: HEARTBEAT, reconnects: true };
    let holders = fleet.hold(&live, folder.path()).await?;
    holders.all_online(1, ONLINE_WITHIN).await?;
    is_answered(&signalbox, &fleet.ids).await?;
    let echo = Bare::start(Kind::Echo, folder.path()).await?;

    let template = Arc::new(command(&fleet.ids)?);
    let mut measured = Measured::default();
    let mut first_ticket = 0;
    for open in OPEN {
        let mut side =
            Side::new("Signalbox", &signalbox.process, plan(context, signalbox.addr, &template, open));
        side.processes.extend(holders.processes.iter().map(|holder| &holder.process));
        side.plan.first_ticket = first_ticket;
        let bare = EchoPlan {
            addr: echo.addr,
            connections: open,
            threads: context.client_threads,
            warm_up: context.warm_up,
            measured: context.seconds,
            message: vec![b'x'; MESSAGE_BYTES],
        };
        let group = format!("{open} open");
        let mut rounds = Vec::new();
        for round in 1..=context.rounds {
            echo.process.pause();
            side.resume();
            let (outcome, cpu) = side.run().await?;
            let ours = Figure::of_load(&group, "Signalbox", round, &outcome, cpu);
            side.pause();
            echo.process.resume();
            let theirs = echoed(&group, round, &bare, &echo).await?;
            [&ours, &theirs].into_iter().for_each(|figure| printer::progress(&figure_line(figure)));
            rounds.push(vec![ours, theirs]);
        }
        side.resume();
        first_ticket = side.plan.first_ticket;
        for (what, metric) in [("rate", PER_S), ("p50", P50_MS), ("p99", P99_MS)] {
            let name = format!("{what}, {group}, commands over echoes");
            measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), metric, None));
        }
        measured.figures.extend(rounds.into_iter().flatten());
    }
    let held = holders.held().await?;
    ensure!(held.ends.is_empty() && held.faults.is_empty(), "the agents had trouble: {held:?}");
    describe(&template, &mut measured);
    measured.facts.extend(sqlite_facts(folder.path()));
    drop(holders);
    signalbox.stop().await?;
    Ok(measured)
}

async fn echoed(group: &str, round: u32, plan: &EchoPlan, echo: &Bare) -> anyhow::Result<Figure> {
    let (client, server) = (own_cpu_seconds(), echo.process.cpu_seconds());
    let outcome = load::run_echo(plan).await?;
    let cpu = Cpu {
        client_seconds: own_cpu_seconds() - client,
        server_seconds: echo.process.cpu_seconds() - server,
    };
    Ok(Figure::of_load(group, "bare WebSocket echo", round, &outcome, cpu))
}

fn describe(template: &Template, measured: &mut Measured) {
    measured.fact("requests", format!("{} bytes, spread over {AGENTS} agents", template.len()));
    measured.fact("agents", "in one process, each over a WebSocket of its own; their answers are immediate");
    measured.fact("bare WebSocket echo", format!("{MESSAGE_BYTES} bytes there and back, nothing kept"));
    measured.note(
        "A command is a request over HTTP, a message to the agent, its response and the request's answer, each kept \
         before the next; an echo is a message and its answer. Server CPU is that of the server and of its agents together.",
    );
}

fn command(ids: &Ids) -> anyhow::Result<Template> {
    let body = r#"{"command":"summarise","args":{"n":"<sequence>"},"timeout":60}"#;
    Template::new("POST", "/api/v1/agents/<id>/commands?wait=true", Some(KEY), Some(body), Some(ids.clone()))
}

/// An answer with the status 200 may hold an error: the first is looked at.
async fn is_answered(signalbox: &Signalbox, ids: &Ids) -> anyhow::Result<()> {
    let path = format!("/api/v1/agents/{}/commands?wait=true", ids.text(0));
    let body = r#"{"command":"summarise","args":{"n":"first"},"timeout":20}"#;
    let body = load::call(signalbox.addr, "POST", &path, Some(body)).await?;
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    ensure!(
        answer["status"] == "success" && answer["result"]["done"] == true,
        "the agent answers success with a result, but POST {path} says {answer}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_built() {
        let ids = Ids::new(&["live-00000000".to_owned()]).unwrap();
        assert!(command(&ids).unwrap().len() > MESSAGE_BYTES);
    }
}
