//! A subscriber: it counts what comes, and how late, where that is asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;

use super::board::{Board, Pace, Plan, latencies};
use super::dialect::{Parser, Said, due_us};
use crate::ws::{self, Scratch};

/// How often a quiet subscriber looks whether it is over.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// What the subscribers of a thread share.
pub(super) struct Shared {
    plan: Arc<Plan>,
    board: Arc<Board>,
    scratch: Scratch,
    latency_us: RefCell<Histogram<u64>>,
}

impl Shared {
    pub(super) fn new(plan: Arc<Plan>, board: Arc<Board>) -> anyhow::Result<Self> {
        Ok(Self { plan, board, scratch: ws::scratch(), latency_us: RefCell::new(latencies()?) })
    }

    pub(super) fn latencies(&self) -> Histogram<u64> {
        self.latency_us.borrow().clone()
    }
}

/// Subscribes, and counts until all connections end.
pub(super) async fn subscribe(shared: Rc<Shared>, place: usize) {
    if let Err(error) = listen(&shared, place).await {
        shared.board.fault(format!("a subscriber: {error:#}"));
    }
}

async fn listen(shared: &Shared, place: usize) -> anyhow::Result<()> {
    let Shared { plan, board, scratch, latency_us } = shared;
    let (Some(seat), Some(received)) = (plan.subscribers.get(place), board.received.get(place)) else {
        return Ok(());
    };
    let mut parser = Parser::new(plan.dialect);
    let mut socket = plan.dialect.connect(plan.addr, seat, Some(&plan.subject)).await?;
    plan.dialect.begun(&mut socket, scratch, &mut parser).await?;
    board.ready.fetch_add(1, Ordering::Relaxed);
    let is_timed = matches!(plan.pace, Pace::Fixed { .. });
    while !board.ends.load(Ordering::Relaxed) {
        let (mut count, mut fault, mut is_asked) = (0, None, false);
        let mut now_us = None;
        let read = socket.read(scratch, |bytes| {
            parser.feed(bytes, |said| match said {
                Said::Message(message) => {
                    count += 1;
                    if is_timed && let Some(due_us) = due_us(message) {
                        // What is read at once came at once.
                        let now_us = *now_us.get_or_insert_with(|| board.us());
                        if due_us >= board.counts_from_us.load(Ordering::Relaxed) {
                            latency_us.borrow_mut().saturating_record(now_us.saturating_sub(due_us).max(1));
                        }
                    }
                }
                Said::Ping => is_asked = true,
                Said::Fault(said) => fault = Some(said),
                _ => {}
            });
        });
        let read = tokio::time::timeout(LOOK_EVERY, read).await;
        received.fetch_add(count, Ordering::Relaxed);
        if let Some(fault) = fault {
            anyhow::bail!("the server said {fault}");
        }
        match read {
            Ok(Err(_)) if board.ends.load(Ordering::Relaxed) => break,
            Ok(Err(ended)) => anyhow::bail!("{ended}"),
            Ok(Ok(())) | Err(_) => {}
        }
        if is_asked && socket.send(plan.dialect.pong()).await.is_err() {
            anyhow::bail!("a ping could not be answered");
        }
    }
    Ok(())
}
