//! Goal 9: one publisher, and 1 to 1,000 subscribers over WebSockets, beside `nats-server` with the same clients. In a
//! backlog as fast as it goes, and paced at a share of what NATS delivered a moment before.

use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::fan::{self, Dialect, PAYLOAD_BYTES, Pace, Plan, Seat};
use crate::fleet::Fleet;
use crate::load;
use crate::nats::Nats;
use crate::printer;
use crate::process::{Process, own_cpu_seconds};
use crate::report::{
    CLIENT_US, Figure, Goal, MAX_MS, Measured, P50_MS, P99_MS, PER_S, SERVER_US, Verdict, figure_line,
};
use crate::server::{Signalbox, sqlite_facts};

const SUBSCRIBERS: [usize; 4] = [1, 10, 100, 1_000];
const SUBSCRIBERS_QUICK: [usize; 3] = [1, 10, 100];
/// From so many on there are goals.
const GOALS_FROM: usize = 100;
/// Over the flood of NATS.
const BACKLOG: Goal = Goal::AtLeast(1.5);
const PACED: Goal = Goal::AtLeast(0.5);
/// The share of NATS's flood that is published when paced: a little over the goal, so that keeping up meets it.
const PACE: f64 = 0.55;
/// Deliveries per second that are paced where there is no NATS.
const PACE_ALONE: f64 = 100_000.0;
/// A channel with a history, and a subject without one.
const KEPT: &str = "bench.kept";
const LIVE: &str = "bench.live";
const HISTORY: u32 = 10_000;

/// The sides, in the order of their turns.
const SIDES: [(&str, Server, bool); 3] = [
    ("NATS", Server::Nats, false),
    ("Signalbox, live only", Server::Signalbox, false),
    ("Signalbox, durable history", Server::Signalbox, true),
];
/// How long a server has to see that its connections have ended.
const SETTLED_AFTER: Duration = Duration::from_millis(300);
const PER_MESSAGE: &str = "messages per second";

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Nats,
    Signalbox,
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let counts = if context.quick { &SUBSCRIBERS_QUICK[..] } else { &SUBSCRIBERS[..] };
    let most = counts.iter().copied().max().unwrap_or(1);
    let folder = context.temporary("fan-out")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let fleet = Fleet::sign_up(context, signalbox.addr, most as u64 + 1, folder.path()).await?;
    let channel = serde_json::json!({"name": KEPT, "retention": {"max_messages": HISTORY}}).to_string();
    load::call(signalbox.addr, "POST", "/api/v1/channels", Some(&channel)).await?;
    let nats = Nats::start(folder.path()).await;
    if let Err(error) = &nats {
        printer::error(&format!("NATS is left out: {error:#}"));
    }
    let stage = Stage { context, signalbox: &signalbox, fleet: &fleet, nats: nats.as_ref().ok() };
    let mut measured = Measured::default();
    for count in counts {
        stage.compare(*count, &mut measured).await?;
    }
    describe(folder.path(), nats.as_ref(), &mut measured);
    if let Ok(nats) = nats {
        nats.stop().await?;
    }
    signalbox.stop().await?;
    Ok(measured)
}

struct Stage<'a> {
    context: &'a Context,
    signalbox: &'a Signalbox,
    fleet: &'a Fleet,
    nats: Option<&'a Nats>,
}

impl Stage<'_> {
    /// All rounds with so many subscribers.
    async fn compare(&self, count: usize, measured: &mut Measured) -> anyhow::Result<()> {
        let (mut backlogs, mut paced) = (Vec::new(), Vec::new());
        let all =
            || [Some(&self.signalbox.process), self.nats.map(|nats| &nats.process)].into_iter().flatten();
        all().for_each(Process::pause);
        for round in 1..=self.context.rounds {
            let group = format!("{}, backlog", subscribers(count));
            let flood = self.turn(&group, round, count, Pace::Backlog { window: window(count) }).await?;
            let of_nats = flood.first().filter(|_| self.nats.is_some());
            let deliveries_per_s = of_nats.map_or(PACE_ALONE, |figure| figure.metric(PER_S) * PACE);
            let group = format!("{}, paced", subscribers(count));
            let pace = Pace::Fixed { per_s: deliveries_per_s / count as f64, window: window(count) };
            let mut steady = self.turn(&group, round, count, pace).await?;
            // What a paced rate is held against is the flood of the same round.
            steady.extend(of_nats.cloned());
            backlogs.push(flood);
            paced.push(steady);
        }
        all().for_each(Process::resume);
        if self.nats.is_some() {
            conclude(count, &backlogs, &paced, measured);
        }
        paced.iter_mut().filter(|_| self.nats.is_some()).for_each(|round| drop(round.pop()));
        measured.figures.extend(backlogs.into_iter().chain(paced).flatten());
        Ok(())
    }

    /// One turn of every side that is there.
    async fn turn(&self, group: &str, round: u32, count: usize, pace: Pace) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (name, server, is_durable) in SIDES {
            let process = match (server, self.nats) {
                (Server::Nats, None) => continue,
                (Server::Nats, Some(nats)) => &nats.process,
                (Server::Signalbox, _) => &self.signalbox.process,
            };
            process.resume();
            let (client, used) = (own_cpu_seconds(), process.cpu_seconds());
            let fanned = fan::run(self.plan(server, is_durable, count, pace)).await?;
            let (client, used) = (own_cpu_seconds() - client, process.cpu_seconds() - used);
            // Connections that have just ended are seen to in the turn that they belong to.
            tokio::time::sleep(SETTLED_AFTER).await;
            process.pause();
            let each = |seconds: f64| seconds * 1e6 / fanned.delivered.max(1) as f64;
            let late_ms = |quantile: f64| fanned.latency_us.value_at_quantile(quantile) as f64 / 1e3;
            let mut metrics =
                vec![(PER_S, fanned.deliveries_per_s), (PER_MESSAGE, fanned.deliveries_per_s / count as f64)];
            if !fanned.latency_us.is_empty() {
                metrics.extend([(P50_MS, late_ms(0.50)), (P99_MS, late_ms(0.99)), (MAX_MS, late_ms(1.0))]);
            }
            metrics.extend([(CLIENT_US, each(client)), (SERVER_US, each(used))]);
            let mut figure = Figure::new(group, name, round, &metrics);
            figure.faults = fanned.faults;
            printer::progress(&figure_line(&figure));
            figures.push(figure);
        }
        Ok(figures)
    }

    fn plan(&self, server: Server, is_durable: bool, count: usize, pace: Pace) -> Plan {
        let seat = |place: usize| match server {
            Server::Nats => Seat { path: "/".to_owned(), token: None },
            Server::Signalbox => {
                Seat { path: self.fleet.path(place), token: self.fleet.tokens.get(place).cloned() }
            }
        };
        let (dialect, addr) = match (server, self.nats) {
            (Server::Nats, Some(nats)) => (Dialect::Nats, nats.addr),
            _ => (Dialect::Signalbox, self.signalbox.addr),
        };
        Plan {
            addr,
            dialect,
            subject: if is_durable { KEPT } else { LIVE }.to_owned(),
            is_acknowledged: server == Server::Signalbox,
            publisher: seat(0),
            subscribers: (1..=count).map(seat).collect(),
            threads: self.context.client_threads,
            pace,
            warm_up: self.context.warm_up,
            measured: self.context.seconds,
        }
    }
}

/// How far the slowest subscriber may be behind: within what either server lets wait for one.
fn window(subscribers: usize) -> u64 {
    match subscribers {
        0..=10 => 4_096,
        11..=100 => 2_048,
        _ => 1_024,
    }
}

fn subscribers(count: usize) -> String {
    format!("{count} subscriber{}", if count == 1 { "" } else { "s" })
}

fn conclude(count: usize, backlogs: &[Vec<Figure>], paced: &[Vec<Figure>], measured: &mut Measured) {
    let who = subscribers(count);
    let flood = SIDES.len();
    for (side, how) in [(1, "live only"), (2, "durable history")] {
        let has_goal = count >= GOALS_FROM && side == 1;
        let name = format!("{who}, backlog, {how}, deliveries over NATS's");
        measured.verdicts.push(Verdict::ratio(
            &name,
            backlogs,
            (side, 0),
            PER_S,
            has_goal.then_some(BACKLOG),
        ));
        let name = format!("{who}, paced, {how}, deliveries over NATS's flood");
        measured.verdicts.push(Verdict::ratio(&name, paced, (side, flood), PER_S, has_goal.then_some(PACED)));
        let name = format!("{who}, paced, {how}, p99 over NATS's at the same pace");
        measured.verdicts.push(Verdict::ratio(&name, paced, (side, 0), P99_MS, None));
    }
}

fn describe(folder: &Path, nats: Result<&Nats, &anyhow::Error>, measured: &mut Measured) {
    measured.facts.extend(sqlite_facts(folder));
    measured.fact(
        "messages",
        format!("{PAYLOAD_BYTES} bytes of JSON; our envelope around it is larger than NATS's line"),
    );
    measured.fact("durable history", format!("a channel that keeps its newest {HISTORY} messages"));
    measured.fact(
        "clients",
        "one publisher on a thread of its own; subscribers on the load threads; all connections new in every turn",
    );
    match nats {
        Ok(nats) => measured.facts.extend(nats.facts.iter().cloned()),
        Err(error) => measured.note(&format!("NATS was not compared: {error:#}")),
    }
    measured.note(
        "NATS keeps nothing and acknowledges nothing; Signalbox acknowledges every message to its publisher, and with a \
         durable history only after its commit. Both are counted against NATS without a history: JetStream is not run.",
    );
    measured.note(
        "Backlog: the publisher sends while the slowest subscriber is within a window of messages; nobody is cut off. \
         Paced: the publisher sends what is due each millisecond, at 0.55 of what NATS delivered in the backlog of the \
         same round, unless somebody is a window behind; a delivery is as late as it comes after it was due.",
    );
    measured.note("Rates are deliveries to subscribers. Every message must come to every subscriber, else the run is invalid.");
}
