//! One tenant beside another: the p99 of a tenant's paced requests alone, and while another tenant sends as fast as it can
//! over 256 connections. With a limit of requests for the flood, which is what an operator has, there is a goal.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::context::Context;
use crate::interleave::plan;
use crate::load::{self, Ids, Outcome, PacedPlan, Template};
use crate::process::own_cpu_seconds;
use crate::report::{Cpu, Figure, Goal, Measured, P50_MS, P99_MS, Verdict, figure_line};
use crate::server::{PLATFORM_KEY, Signalbox, sqlite_facts};
use crate::{agents, printer, requests};

const GOAL: Goal = Goal::AtMost(2.0);
/// Connections of the flood.
const CONNECTIONS: usize = 256;
/// Requests that the tenant of the flood may send in a second, where it is limited.
const LIMIT: u64 = 50;
/// Connections of the tenant that is measured, which take turns.
const PACED_CONNECTIONS: u32 = 8;
/// The time between two of its requests.
const PACE: Duration = Duration::from_millis(5);
const AGENTS: u64 = 16;
/// How the answer to a request over the limit is counted.
const REFUSED: &str = "status 429";

/// A tenant with a few agents that have a state.
struct Tenant {
    key: String,
    ids: Ids,
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("flood")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let quiet = Tenant::make(&signalbox, &json!({"name": "quiet"})).await?;
    let limits = json!({"name": "limited", "limits": {"requests_per_second": LIMIT}});
    let limited = Tenant::make(&signalbox, &limits).await?;
    let unlimited = Tenant::make(&signalbox, &json!({"name": "unlimited"})).await?;
    let reads = Arc::new(requests::state_by(&quiet.key, &quiet.ids)?);
    let reports = Arc::new(requests::report_by(&quiet.key, &quiet.ids)?);

    let mut measured = Measured::default();
    for (flooding, limit, goal) in [
        (&limited, format!("a flood limited to {LIMIT}/s"), Some(GOAL)),
        (&unlimited, "a flood without a limit".to_owned(), None),
    ] {
        let flood = Arc::new(requests::report_by(&flooding.key, &flooding.ids)?);
        for (what, template) in [("reads", &reads), ("reports", &reports)] {
            let group = format!("{what} beside {limit}");
            let side = Side { context, signalbox: &signalbox, template, group: &group };
            let mut rounds = Vec::new();
            for round in 1..=context.rounds {
                let alone = side.alone(round).await?;
                let (flooded, flood) = side.flooded(round, &flood, goal.is_some()).await?;
                for figure in [&alone, &flooded, &flood] {
                    printer::progress(&figure_line(figure));
                }
                rounds.push(vec![alone, flooded, flood]);
            }
            for (name, metric, goal) in [("p50", P50_MS, None), ("p99", P99_MS, goal)] {
                let name = format!("{name} of {group}, over alone");
                measured.verdicts.push(Verdict::ratio(&name, &rounds, (1, 0), metric, goal));
            }
            measured.figures.extend(rounds.into_iter().flatten());
        }
    }
    describe(&mut measured);
    measured.facts.extend(sqlite_facts(folder.path()));
    signalbox.stop().await?;
    Ok(measured)
}

impl Tenant {
    async fn make(signalbox: &Signalbox, body: &Value) -> anyhow::Result<Self> {
        let (addr, body) = (signalbox.addr, body.to_string());
        let made = load::call_by(PLATFORM_KEY, addr, ("POST", "/api/v1/tenants"), Some(&body)).await?;
        let made: Value = serde_json::from_slice(&made)?;
        let key = made["api_key"].as_str().context("a new tenant has a key")?.to_owned();
        let mut ids = Vec::new();
        for number in 0..AGENTS {
            let body = json!({"agentName": format!("agent-{number}"), "version": "1", "capabilities": [],
                              "contactEndpoint": agents::NOWHERE});
            let path = ("POST", "/v1/agents/register");
            let answer = load::call_by(&key, addr, path, Some(&body.to_string())).await?;
            ids.push(agents::agent_id(&answer).context("a registration has an id")?);
        }
        let ids = Ids::new(&ids)?;
        for place in 0..AGENTS {
            let id = ids.text(place);
            let path = format!("/v1/opscore/agent/{id}/state");
            let body = json!({"agentId": id, "timestamp": "2026-01-31T12:00:00Z", "state": "idle"});
            load::call_by(&key, addr, ("POST", &path), Some(&body.to_string())).await?;
        }
        Ok(Self { key, ids })
    }
}

/// What is measured of the quiet tenant in one group.
struct Side<'a> {
    context: &'a Context,
    signalbox: &'a Signalbox,
    template: &'a Arc<Template>,
    group: &'a str,
}

impl Side<'_> {
    fn paced(&self) -> PacedPlan {
        PacedPlan {
            addr: self.signalbox.addr,
            template: Arc::clone(self.template),
            connections: PACED_CONNECTIONS,
            pace: PACE,
            warm_up: self.context.warm_up,
            measured: self.context.seconds,
            first_ticket: 0,
            ends: None,
        }
    }

    async fn alone(&self, round: u32) -> anyhow::Result<Figure> {
        let (client, server) = (own_cpu_seconds(), self.signalbox.process.cpu_seconds());
        let outcome = load::run_paced(&self.paced()).await?;
        let cpu = Cpu {
            client_seconds: own_cpu_seconds() - client,
            server_seconds: self.signalbox.process.cpu_seconds() - server,
        };
        Ok(Figure::of_load(self.group, "alone", round, &outcome, cpu))
    }

    /// The same in a flood; and what the flood came to.
    async fn flooded(
        &self,
        round: u32,
        flood: &Arc<Template>,
        is_limited: bool,
    ) -> anyhow::Result<(Figure, Figure)> {
        let flood = plan(self.context, self.signalbox.addr, flood, CONNECTIONS);
        let paced = self.paced();
        let (outcome, flood) = tokio::join!(load::run_paced(&paced), load::run(&flood));
        let (outcome, flood) = (outcome?, flood?);
        let metrics = [(P50_MS, outcome.latency_ms(0.50)), (P99_MS, outcome.latency_ms(0.99))];
        let flooded = Figure::new(self.group, "in the flood", round, &metrics);
        let flooded = Figure { faults: outcome.fault_lines(), ..flooded };
        Ok((flooded, self.flood_figure(round, flood, is_limited)))
    }

    fn flood_figure(&self, round: u32, mut flood: Outcome, is_limited: bool) -> Figure {
        // A flood under a limit is refused most of the time; one that never is was none.
        let refused = if is_limited { flood.faults.remove(REFUSED).unwrap_or_default() } else { 0 };
        let time = (self.context.warm_up + self.context.seconds).as_secs_f64();
        let metrics = [
            ("taken per second", flood.succeeded as f64 / time),
            ("refused per second", refused as f64 / time),
        ];
        let mut faults = flood.fault_lines();
        if is_limited && refused <= flood.succeeded {
            faults.push(format!("the flood was not limited: {} taken, {refused} refused", flood.succeeded));
        }
        Figure { faults, ..Figure::new(self.group, "the flood", round, &metrics) }
    }
}

fn describe(measured: &mut Measured) {
    measured.fact(
        "measured tenant",
        format!(
            "{} requests per second over {PACED_CONNECTIONS} connections, each counted from when it was due",
            1_000 / PACE.as_millis()
        ),
    );
    measured.fact("flood", format!("reports of {AGENTS} agents over {CONNECTIONS} connections, closed loop"));
    measured.note(
        "The flood, what is measured and the server share the processor's cores: a ratio holds what the flood's own client \
         takes from them.",
    );
}
