//! How many durable state reports a second a store takes: the engine's own operation, loaded, decided and
//! committed from many tasks over many agents. With several nodes each report goes to the next one, as behind a round
//! robin.
//!
//! `cargo run --release -p signalbox-store --example commits -- [database] [tasks] [seconds] [agents] [nodes]`

mod support;

use std::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Map;
use signalbox_core::engine::attempt::{Asked, Attempt, Next, Resolution, Terms};
use signalbox_core::engine::{Operation, Register, ReportState};
use signalbox_core::limits::Policy;
use signalbox_store::{Options, Store, StoreError};
use signalbox_wire::id::{AgentId, NodeId, TenantId};
use signalbox_wire::raw::RawObject;

use support::{cpu_micros, now, stopwatch};

/// Seeds of turns: each differs, so that ids do too.
static SEED: AtomicU64 = AtomicU64::new(1);
/// Whose turn it is among the nodes.
static TURN: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut given = std::env::args().skip(1);
    let file = directory.path().join("bench.db");
    let database = given.next().filter(|text| text.contains("://"));
    let database = database.unwrap_or_else(|| format!("sqlite://{}", file.display()));
    let mut number = |default: u64| given.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (tasks, seconds, agents, nodes) = (number(64), number(5), number(1_000), number(1));

    let mut stores = Vec::new();
    for number in 1..=nodes.max(1) {
        stores
            .push(Store::open(Options::new(database.clone(), NodeId::new(now(), u128::from(number)))).await?);
    }
    let ids = register(&stores[0], agents).await?;
    let before = written(&stores);
    let written_before = written_bytes()?;
    let cpu_before = [cpu_micros("")?, cpu_micros("store-writer")?];
    let started = stopwatch();
    let deadline = started + Duration::from_secs(seconds);
    // An agent reports from one place at a time, as real ones do.
    let workers = (0..tasks as usize).map(|worker| {
        let mine = ids.iter().skip(worker).step_by(tasks as usize).cloned().collect();
        tokio::spawn(report_until(deadline, stores.clone(), mine))
    });
    let mut counts = Counts::default();
    for worker in workers.collect::<Vec<_>>() {
        counts.add(worker.await??);
    }
    let took = started.elapsed().as_secs_f64();
    let after = written(&stores);
    let commits = after.0 - before.0;
    println!(
        "{:>9.0} reports/s from {tasks} tasks over {agents} agents by way of {} nodes",
        counts.done as f64 / took,
        stores.len()
    );
    println!(
        "{:>9.0} physical commits/s, {:.1} decisions each",
        commits as f64 / took,
        counts.done as f64 / commits.max(1) as f64
    );
    println!(
        "{:>9.2} of the time in the writer",
        (after.1 - before.1) as f64 / took / 1e6 / stores.len() as f64
    );
    println!(
        "{:>9} conflicts, {:.3} a report, {} busy",
        counts.conflicts,
        counts.conflicts as f64 / counts.done.max(1) as f64,
        counts.busy
    );
    counts.micros.sort_unstable();
    let percentile = |part: f64| counts.micros[((counts.micros.len() - 1) as f64 * part) as usize];
    println!("{:>9} us p50, {} us p99, {} us max", percentile(0.5), percentile(0.99), percentile(1.0));
    let done = counts.done as f64;
    let [all, writer] = [cpu_micros("")? - cpu_before[0], cpu_micros("store-writer")? - cpu_before[1]];
    println!("{:>9.2} us of processor a report, {:.2} of it the writer's", all / done, writer / done);
    println!("{:>9.0} bytes written a report", (written_bytes()? - written_before) / done);
    if let Some(resident) = resident_kib() {
        println!("{resident:>9} KiB resident");
    }
    for store in stores {
        store.close().await?;
    }
    Ok(())
}

/// Physical commits of all nodes so far, and the microseconds that they took.
fn written(stores: &[Store]) -> (u64, u64) {
    let figures = stores.iter().map(Store::figures);
    figures.fold((0, 0), |sum, one| (sum.0 + one.commits, sum.1 + one.commit_micros))
}

#[derive(Default)]
struct Counts {
    done: u64,
    conflicts: u64,
    busy: u64,
    micros: Vec<u32>,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.conflicts += other.conflicts;
        self.busy += other.busy;
        self.micros.extend(other.micros);
    }
}

async fn register(store: &Store, count: u64) -> Result<Vec<AgentId>, StoreError> {
    let mut ids = Vec::new();
    for number in 0..count {
        let operation = Register {
            id: None,
            name: format!("agent-{number}"),
            version: "1".to_owned(),
            endpoint: Some(format!("http://127.0.0.1:9/{number}")),
            capabilities: vec!["read".into(), "write".into()],
            metadata: Map::new(),
            replace: false,
            trace: None,
        };
        let mut counts = Counts::default();
        ids.push(drive(store, &operation, &mut counts).await?.agent);
    }
    Ok(ids)
}

async fn report_until(
    deadline: Instant,
    stores: Vec<Store>,
    agents: Vec<AgentId>,
) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let details = r#"{"progress":42,"note":"halfway there, all is well","queue":[1,2,3]}"#;
    for agent in agents.iter().cycle() {
        if stopwatch() >= deadline {
            break;
        }
        let operation = ReportState {
            agent: agent.clone(),
            state: "active".to_owned(),
            timestamp: now(),
            details: RawObject::parse(details.to_owned()).ok(),
            task: None,
            session: None,
        };
        let began = stopwatch();
        let store = &stores[TURN.fetch_add(1, Ordering::Relaxed) % stores.len()];
        drive(store, &operation, &mut counts).await?;
        counts.micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        counts.done += 1;
    }
    Ok(counts)
}

async fn drive<O: Operation>(
    store: &Store,
    operation: &O,
    counts: &mut Counts,
) -> Result<O::Output, StoreError> {
    let tenant = TenantId::default_tenant();
    let policy = Policy::default();
    let seed = SEED.fetch_add(1, Ordering::Relaxed);
    let terms = Terms { policy: &policy, inputs: None };
    let mut asked = [Asked::new(operation)];
    let mut attempt = Attempt::new(now(), seed);
    loop {
        let decision = loop {
            match attempt.step(&mut asked, terms) {
                Next::Load(need) => {
                    let fresh = attempt.is_fresh();
                    store.load(&tenant, &need, attempt.snapshot(), fresh).await?;
                }
                Next::Long => attempt.allow_long(),
                Next::Commit(decision) => break decision,
                Next::Done => return made(&mut asked[0]),
            }
        };
        match store.commit(&tenant, decision, attempt.now(), None).await {
            Ok(_) => return made(&mut asked[0]),
            Err(StoreError::Conflict) => counts.conflicts += 1,
            Err(StoreError::Busy(_)) => {
                counts.busy += 1;
                tokio::task::yield_now().await;
            }
            Err(error) => return Err(error),
        }
        attempt.conflicted(now(), seed);
    }
}

fn made<O: Operation>(asked: &mut Asked<&O>) -> Result<O::Output, StoreError> {
    match asked.take_resolution() {
        Some(Resolution::Made(output)) => Ok(output),
        Some(Resolution::Rejected(rejected)) => Err(StoreError::Corrupt(rejected.to_string())),
        Some(Resolution::Repeated(_)) | None => Err(StoreError::Corrupt("no outcome".to_owned())),
    }
}

/// Bytes handed to write calls.
fn written_bytes() -> Result<f64, Box<dyn Error>> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap_or("0");
    Ok(line.parse()?)
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
