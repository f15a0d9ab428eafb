//! A run: threads for the subscribers, one for the publisher, and somebody who watches them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::board::{Board, DRAINED_WITHIN, Plan, latencies};
use super::dialect::READY_WITHIN;
use super::{publisher, subscriber};
use crate::clock;

const POLL: Duration = Duration::from_millis(5);

/// What a run found.
pub(crate) struct Fanned {
    /// Deliveries to subscribers in the measured time.
    pub(crate) deliveries_per_s: f64,
    pub(crate) delivered: u64,
    /// How late deliveries came; empty for a backlog.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) faults: Vec<String>,
}

/// Runs a plan to its end on threads of its own.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<Fanned> {
    let board = Arc::new(Board::new(plan.subscribers.len()));
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
            bail!(
                "{ready} of {all} connections were ready within {READY_WITHIN:?}: {}",
                board.faults.lock().join("; ")
            );
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

/// The subscribers of one thread.
fn subscribers(
    plan: &Arc<Plan>,
    board: &Arc<Board>,
    thread: usize,
    threads: usize,
) -> anyhow::Result<Histogram<u64>> {
    let shared = Rc::new(subscriber::Shared::new(Arc::clone(plan), Arc::clone(board))?);
    let all = Rc::clone(&shared);
    let count = plan.subscribers.len();
    on_a_thread(
        async move {
            let places = (thread..count).step_by(threads);
            let tasks: Vec<_> = places
                .map(|place| tokio::task::spawn_local(subscriber::subscribe(Rc::clone(&all), place)))
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
    use std::net::SocketAddr;

    use tokio::net::TcpListener;
    use tokio::sync::broadcast;

    use super::*;
    use crate::fan::{Dialect, Pace, Seat};
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
        for pace in [Pace::Backlog { window: 500 }, Pace::Fixed { per_s: 2_000.0, window: 500 }] {
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
                let sent: serde_json::Value =
                    serde_json::from_slice(&bytes[header.payload_at..header.end]).ok()?;
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
