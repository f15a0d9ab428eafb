//! Round trips over WebSockets: every connection sends its next message when the last one has come back.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::outcome::{Outcome, Tally};
use super::share::run_share;
use crate::clock;
use crate::ws::{self, Scratch, Target};

/// How long after its end a run may wait for the last answers.
const GRACE: Duration = Duration::from_secs(20);

/// One run against a server that says everything back.
#[derive(Clone)]
pub(crate) struct EchoPlan {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) message: Vec<u8>,
}

/// Runs a plan to its end on threads of its own.
pub(crate) async fn run_echo(plan: &EchoPlan) -> anyhow::Result<Outcome> {
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || run_blocking(&plan)).await.context("the load generator panicked")?
}

fn run_blocking(plan: &EchoPlan) -> anyhow::Result<Outcome> {
    let (begin, begin_unix_us) = (clock::now(), clock::unix_micros());
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let handles: Vec<_> = (0..threads)
        .map(|thread| {
            let plan = plan.clone();
            let share = (thread..plan.connections).step_by(threads).count();
            std::thread::spawn(move || drive_share(&plan, share, begin))
        })
        .collect();
    let mut tallies = Vec::new();
    for handle in handles {
        tallies.push(handle.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))??);
    }
    Outcome::merge(tallies, begin, Some(plan.measured), begin_unix_us, 0)
}

fn drive_share(plan: &EchoPlan, share: usize, begin: Instant) -> anyhow::Result<Tally> {
    run_share(begin + plan.warm_up + plan.measured + GRACE, |tally| {
        let scratch = ws::scratch();
        let drive = |_| {
            let drive = drive(plan.clone(), begin, Rc::clone(&scratch), Rc::clone(tally));
            tokio::task::spawn_local(drive)
        };
        Ok((0..share).map(drive).collect())
    })
}

async fn drive(plan: EchoPlan, begin: Instant, scratch: Scratch, tally: Rc<RefCell<Tally>>) {
    let (from, until) = (begin + plan.warm_up, begin + plan.warm_up + plan.measured);
    let target = Target { addr: plan.addr, source: None, path: "/echo", token: None };
    let mut socket = match ws::open(target).await {
        Ok(socket) => socket,
        Err(refused) => return tally.borrow_mut().fault(refused.to_string(), &[]),
    };
    let mut sent = clock::now();
    while sent < until {
        let mut is_back = false;
        let mut ended = socket.send(&plan.message).await;
        while ended.is_ok() && !is_back {
            ended = socket.read(&scratch, |message| is_back = message == plan.message).await;
        }
        let done = clock::now();
        match ended {
            Ok(()) => tally.borrow_mut().success(sent, done, from <= done && done < until),
            Err(ended) => return tally.borrow_mut().fault(ended.to_string(), &[]),
        }
        sent = done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Kind, serve_here};

    #[tokio::test]
    async fn what_is_sent_comes_back() {
        let addr = serve_here(Kind::Echo).await;
        let plan = EchoPlan {
            addr,
            connections: 5,
            threads: 2,
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(200),
            message: vec![b'x'; 300],
        };
        let outcome = run_echo(&plan).await.unwrap();
        assert!(outcome.measured > 0 && outcome.faults.is_empty(), "{:?}", outcome.faults);
    }
}
