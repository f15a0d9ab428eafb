//! The publisher: as fast as the slowest subscriber allows, or at a fixed rate; what acknowledges its messages is
//! counted beside it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;

use super::board::{Board, DRAINED_WITHIN, Pace, Plan};
use super::dialect::{Parser, Publication, Said};
use crate::clock;
use crate::ws::{self, Reader, Scratch, Writer};

/// Messages that go out in one write.
const AT_ONCE_MAX: u64 = 64;
/// The finest that the runtime's clock has.
const TICK: Duration = Duration::from_millis(1);

/// Publishes from the sign to begin until the sign to stop; counts itself ready at the begin, and once more at the end.
pub(super) async fn publish(plan: Arc<Plan>, board: Arc<Board>) -> anyhow::Result<()> {
    let scratch = ws::scratch();
    let mut parser = Parser::new(plan.dialect);
    let mut socket = plan.dialect.connect(plan.addr, &plan.publisher, None).await?;
    plan.dialect.begun(&mut socket, &scratch, &mut parser).await?;
    board.ready.fetch_add(1, Ordering::Relaxed);
    let owed = Rc::new(RefCell::new(Vec::new()));
    let reading = tokio::task::spawn_local(read(
        socket.reader,
        parser,
        scratch,
        (Arc::clone(&plan), Arc::clone(&board)),
        Rc::clone(&owed),
    ));
    while !board.goes.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
    let sent = send(&plan, &board, socket.writer, &owed).await;
    board.ready.fetch_add(1, Ordering::Relaxed);
    while !board.ends.load(Ordering::Relaxed) && !board.has_faults() && sent.is_ok() {
        tokio::time::sleep(TICK).await;
    }
    reading.abort();
    sent
}

async fn send(plan: &Plan, board: &Board, mut writer: Writer, owed: &RefCell<Vec<u8>>) -> anyhow::Result<()> {
    let mut publication = Publication::new(plan.dialect, &plan.subject, clock::unix_micros())?;
    let (begin, begin_us) = (clock::now(), board.us());
    let mut published = 0;
    while !board.stops.load(Ordering::Relaxed) && !board.has_faults() {
        let may = match plan.pace {
            Pace::Backlog { window } => board.slowest() + window,
            Pace::Fixed { per_s, window } => {
                let due = ((clock::now() - begin).as_secs_f64() * per_s) as u64;
                due.min(board.slowest() + window)
            }
        };
        let count = may.saturating_sub(published).min(AT_ONCE_MAX);
        for number in published..published + count {
            let due_us = match plan.pace {
                Pace::Backlog { .. } => 0,
                Pace::Fixed { per_s, .. } => begin_us + (number as f64 * 1e6 / per_s) as u64,
            };
            writer.put(publication.fill(number, due_us));
        }
        writer.out.append(&mut owed.borrow_mut());
        let flushed = tokio::time::timeout(DRAINED_WITHIN, writer.flush()).await;
        let flushed = flushed.context("the server reads no more from the publisher")?;
        flushed.map_err(|ended| anyhow::anyhow!("the publisher's connection: {ended}"))?;
        published += count;
        board.published.store(published, Ordering::Relaxed);
        if count < AT_ONCE_MAX {
            tokio::time::sleep(TICK).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn read(
    mut reader: Reader,
    mut parser: Parser,
    scratch: Scratch,
    (plan, board): (Arc<Plan>, Arc<Board>),
    owed: Rc<RefCell<Vec<u8>>>,
) {
    loop {
        let (mut answers, mut acknowledged) = (Vec::new(), 0);
        let mut is_asked = false;
        let read = reader.read(&scratch, &mut answers, |bytes| {
            parser.feed(bytes, |said| match said {
                Said::Acknowledged => acknowledged += 1,
                Said::Ping => is_asked = true,
                Said::Fault(fault) => board.fault(format!("the publisher was told: {fault}")),
                _ => {}
            });
        });
        let read = read.await;
        board.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
        if is_asked {
            ws::put(&mut answers, ws::TEXT, plan.dialect.pong());
        }
        owed.borrow_mut().append(&mut answers);
        if let Err(ended) = read {
            if !board.ends.load(Ordering::Relaxed) {
                board.fault(format!("the publisher's connection: {ended}"));
            }
            return;
        }
    }
}
