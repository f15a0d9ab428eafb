//! Fan-out: one publisher, many subscribers, each over a WebSocket of its own, and the same code for every server.
//!
//! All connections are new in every run. Subscribers are dealt out to the load threads; the publisher has its own. In a
//! backlog the publisher sends as fast as it may while no subscriber is further behind than a window, so that nobody is
//! cut off for being slow; when paced it sends what is due each millisecond, and a delivery is late by how long ago it
//! was due.

mod dialect;
mod publisher;
mod subscriber;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::task::LocalSet;

pub(crate) use dialect::{Dialect, PAYLOAD_BYTES, Seat};

use crate::clock;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the last deliveries may take after the publisher has stopped.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
const LATENCY_MAX_US: u64 = 120_000_000;

/// How the publisher sends.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As fast as it may, while nobody is further behind than so many messages.
    Backlog { window: u64 },
    /// So many messages a second.
    Fixed { per_s: f64 },
}

/// One run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) subject: String,
    /// Whether each message is acknowledged to its publisher.
    pub(crate) is_acknowledged: bool,
    pub(crate) publisher: Seat,
    pub(crate) subscribers: Vec<Seat>,
    pub(crate) threads: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What a run found.
pub(crate) struct Fanned {
    /// Deliveries to subscribers in the measured time.
    pub(crate) deliveries_per_s: f64,
    pub(crate) delivered: u64,
    /// How late deliveries came; empty for a backlog.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) faults: Vec<String>,
}

/// What the threads of a run share.
struct Board {
    begin: Instant,
    /// Deliveries to each subscriber.
    received: Vec<AtomicU64>,
    ready: AtomicU64,
    published: AtomicU64,
    acknowledged: AtomicU64,
    /// The publisher begins.
    goes: AtomicBool,
    /// The publisher stops.
    stops: AtomicBool,
    /// All connections end.
    ends: AtomicBool,
    /// Deliveries of messages that were due after this many microseconds count for the latency.
    counts_from_us: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Board {
    fn us(&self) -> u64 {
        u64::try_from((clock::now() - self.begin).as_micros()).unwrap_or(u64::MAX)
    }

    fn slowest(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    fn delivered(&self) -> u64 {
        self.received.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn fault(&self, fault: String) {
        const FAULTS_MAX: usize = 10;
        let mut faults = self.faults.lock();
        if faults.len() < FAULTS_MAX {
            faults.push(fault);
        }
    }

    fn has_faults(&self) -> bool {
        !self.faults.lock().is_empty()
    }
}

/// Runs a plan to its end on threads of its own.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Fanned> {
    let board = Arc::new(Board {
        begin: clock::now(),
        received: plan.subscribers.iter().map(|_| AtomicU64::new(0)).collect(),
        ready: AtomicU64::new(0),
        published: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        goes: AtomicBool::new(false),
        stops: AtomicBool::new(false),
        ends: AtomicBool::new(false),
        counts_from_us: AtomicU64::new(u64::MAX),
        faults: Mutex::default(),
    });
    let plan = Arc::new(plan);
    let threads = plan.threads.clamp(1, plan.subscribers.len().max(1));
    let mut running = Vec::new();
    for thread in 0..threads {
        let (plan, board) = (Arc::clone(&plan), Arc::clone(&board));
        running.push(std::thread::spawn(move || subscribers(&plan, &board, thread, threads)));
    }
    let publisher = {
        let (plan, board) = (Arc::clone(&plan), Arc::clone(&board));
        std::thread::spawn(move || on_a_thread(publisher::publish(plan, Arc::clone(&board)), &board))
    };
    let watched = watch(&plan, &board).await;
    for flag in [&board.goes, &board.stops, &board.ends] {
        flag.store(true, Ordering::Relaxed);
    }
    let mut latency_us = latencies()?;
    let joined = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<Histogram<u64>>> {
        let panicked = |_| anyhow::anyhow!("a thread of the fan-out panicked");
        publisher.join().map_err(panicked)??;
        running.into_iter().map(|thread| thread.join().map_err(panicked)?).collect()
    });
    for part in joined.await.context("the fan-out panicked")?? {
        latency_us.add(&part)?;
    }
    let deliveries_per_s = watched?;
    let faults = std::mem::take(&mut *board.faults.lock());
    let delivered = board.delivered();
    Ok(Fanned { deliveries_per_s, delivered, latency_us, faults })
}

/// Begins when everybody is ready, counts in the measured time, and sees that all came that was published.
async fn watch(plan: &Plan, board: &Board) -> anyhow::Result<f64> {
    let all = plan.subscribers.len() as u64 + 1;
    let until = clock::now() + READY_WITHIN;
    while board.ready.load(Ordering::Relaxed) < all {
        if clock::now() >= until || board.has_faults() {
            let ready = board.ready.load(Ordering::Relaxed);
            bail!("{ready} of {all} connections were ready within {READY_WITHIN:?}: {}", board.faults.lock().join("; "));
        }
        tokio::time::sleep(POLL).await;
    }
    board.goes.store(true, Ordering::Relaxed);
    tokio::time::sleep(plan.warm_up).await;
    board.counts_from_us.store(board.us(), Ordering::Relaxed);
    let (begin, before) = (clock::now(), board.delivered());
    tokio::time::sleep(plan.measured).await;
    let (end, after) = (clock::now(), board.delivered());
    board.stops.store(true, Ordering::Relaxed);
    let until = clock::now() + DRAINED_WITHIN;
    let is_drained = || {
        let published = board.published.load(Ordering::Relaxed);
        board.ready.load(Ordering::Relaxed) == all + 1
            && board.slowest() >= published
            && (!plan.is_acknowledged || board.acknowledged.load(Ordering::Relaxed) >= published)
    };
    while !is_drained() && clock::now() < until && !board.has_faults() {
        tokio::time::sleep(POLL).await;
    }
    let (published, acknowledged) =
        (board.published.load(Ordering::Relaxed), board.acknowledged.load(Ordering::Relaxed));
    let (wanted, delivered) = (published * plan.subscribers.len() as u64, board.delivered());
    if delivered != wanted {
        board.fault(format!("{delivered} of {wanted} deliveries came"));
    }
    if plan.is_acknowledged && acknowledged != published {
        board.fault(format!("{acknowledged} of {published} messages were acknowledged"));
    }
    Ok((after - before) as f64 / (end - begin).as_secs_f64())
}

fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?)
}

/// The subscribers of one thread.
fn subscribers(
    plan: &Arc<Plan>,
    board: &Arc<Board>,
    thread: usize,
    threads: usize,
) -> anyhow::Result<Histogram<u64>> {
    let shared = std::rc::Rc::new(subscriber::Shared::new(Arc::clone(plan), Arc::clone(board))?);
    let all = std::rc::Rc::clone(&shared);
    let count = plan.subscribers.len();
    on_a_thread(
        async move {
            let places = (thread..count).step_by(threads);
            let tasks: Vec<_> = places
                .map(|place| tokio::task::spawn_local(subscriber::subscribe(std::rc::Rc::clone(&all), place)))
                .collect();
            for task in tasks {
                task.await?;
            }
            Ok(())
        },
        board,
    )?;
    Ok(shared.latencies())
}

/// Runs this on the thread that it is called on; what goes wrong is a fault of the run.
fn on_a_thread(work: impl Future<Output = anyhow::Result<()>>, board: &Board) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Err(error) = LocalSet::new().block_on(&runtime, work) {
        board.fault(format!("{error:#}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::broadcast;

    use super::*;
    use crate::nats::Nats;
    use crate::ws;

    fn plan(addr: SocketAddr, dialect: Dialect, pace: Pace) -> Plan {
        let seat = Seat { path: "/".to_owned(), token: None };
        Plan {
            addr,
            dialect,
            subject: "bench.test".to_owned(),
            is_acknowledged: dialect == Dialect::Signalbox,
            publisher: seat.clone(),
            subscribers: vec![seat; 5],
            threads: 2,
            pace,
            warm_up: Duration::from_millis(50),
            measured: Duration::from_millis(300),
        }
    }

    async fn all_is_delivered(addr: SocketAddr, dialect: Dialect) {
        for pace in [Pace::Backlog { window: 500 }, Pace::Fixed { per_s: 2_000.0 }] {
            let fanned = run(plan(addr, dialect, pace)).await.unwrap();
            assert_eq!(fanned.faults, Vec::<String>::new());
            assert!(fanned.delivered > 0 && fanned.delivered % 5 == 0 && fanned.deliveries_per_s > 0.0);
            assert_eq!(fanned.latency_us.is_empty(), matches!(pace, Pace::Backlog { .. }));
        }
    }

    #[tokio::test]
    async fn all_that_is_published_on_nats_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        // It is not everywhere.
        if let Ok(nats) = Nats::start(folder.path()).await {
            all_is_delivered(nats.addr, Dialect::Nats).await;
            nats.stop().await.unwrap();
        }
    }

    #[tokio::test]
    async fn all_that_is_published_in_envelopes_is_delivered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (messages, _) = broadcast::channel(4_096);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let messages = messages.clone();
                tokio::spawn(async move { speak(stream, messages).await });
            }
        });
        all_is_delivered(addr, Dialect::Signalbox).await;
    }

    /// What the server says, and no more: the upgrade, acknowledgements, and messages to whoever subscribed.
    async fn speak(mut stream: tokio::net::TcpStream, messages: broadcast::Sender<String>) -> Option<()> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
        }
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.ok()?;
        bytes.clear();
        let mut subscription: Option<broadcast::Receiver<String>> = None;
        loop {
            let mut out = Vec::new();
            let told = async {
                match &mut subscription {
                    Some(subscription) => subscription.recv().await.ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = stream.read_buf(&mut bytes) => { read.ok().filter(|read| *read > 0)?; }
                told = told => ws::put_unmasked(&mut out, ws::TEXT, told?.as_bytes()),
            }
            while let Some(header) = ws::parse(&bytes).ok()? {
                let sent: serde_json::Value = serde_json::from_slice(&bytes[header.payload_at..header.end]).ok()?;
                let id = &sent["id"];
                let answer = match sent["type"].as_str()? {
                    "heartbeat" => r#"{"type":"heartbeat_ack","id":"1","data":{}}"#.to_owned(),
                    kind => {
                        if kind == "subscribe" {
                            subscription = Some(messages.subscribe());
                        } else {
                            let data = &sent["data"];
                            let _ = messages.send(format!(r#"{{"type":"message","id":{id},"data":{data}}}"#));
                        }
                        format!(r#"{{"type":"ack","id":"1","data":{{"message_id":{id}}}}}"#)
                    }
                };
                ws::put_unmasked(&mut out, ws::TEXT, answer.as_bytes());
                bytes.drain(..header.end);
            }
            stream.write_all(&out).await.ok()?;
        }
    }
}
