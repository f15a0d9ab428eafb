//! Requests at a pace that does not depend on the answers: the clock of each runs from when it was due, so one that had to
//! wait for the answer to the one before is not shown as quicker than it was.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::connection::Connection;
use super::ends::{Ends, NOBODY_TELLS};
use super::outcome::{Outcome, Tally};
use super::share::run_share;
use super::template::{Request, Template};
use crate::clock;

/// How long after its end a run may wait for the last answers.
const GRACE: Duration = Duration::from_secs(20);

/// One run at a pace.
#[derive(Clone)]
pub(crate) struct PacedPlan {
    pub(crate) addr: SocketAddr,
    pub(crate) template: Arc<Template>,
    /// Connections that take turns.
    pub(crate) connections: u32,
    /// The time between two requests, whatever connection they go over.
    pub(crate) pace: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// The number of the first request.
    pub(crate) first_ticket: u64,
    /// A request is done when what it started has ended, and not with its answer.
    pub(crate) ends: Option<Arc<Ends>>,
}

/// Runs a plan to its end on a thread of its own.
pub(crate) async fn run_paced(plan: &PacedPlan) -> anyhow::Result<Outcome> {
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || run_blocking(&plan)).await.context("the load generator panicked")?
}

fn run_blocking(plan: &PacedPlan) -> anyhow::Result<Outcome> {
    let (begin, begin_unix_us) = (clock::now(), clock::unix_micros());
    let tally = run_share(begin + plan.warm_up + plan.measured + GRACE, |tally| {
        let drive = |number| tokio::task::spawn_local(drive(plan.clone(), number, begin, Rc::clone(tally)));
        Ok((0..plan.connections).map(drive).collect())
    })?;
    Outcome::merge(vec![tally], begin, Some(plan.measured), begin_unix_us, 0)
}

/// Sends every request that is this connection's turn.
async fn drive(plan: PacedPlan, number: u32, begin: Instant, tally: Rc<RefCell<Tally>>) {
    let (from, until) = (begin + plan.warm_up, begin + plan.warm_up + plan.measured);
    let mut connection = match Connection::open(plan.addr).await {
        Ok(connection) => connection,
        Err(error) => return tally.borrow_mut().fault(error.to_string(), &[]),
    };
    let mut request = Request::new(&plan.template);
    let (mut due, mut ticket) = (begin + plan.pace * number, plan.first_ticket + u64::from(number));
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        let ended = plan.ends.as_ref().map(|ends| ends.expect(ticket));
        let mut answer = connection.exchange(request.fill(ticket, clock::now())).await;
        if let (Ok(head), Some(ended)) = (&answer, ended)
            && head.is_success()
            && ended.await.is_err()
        {
            answer = Err(NOBODY_TELLS.to_owned());
        }
        let done = clock::now();
        let mut tally = tally.borrow_mut();
        match answer {
            Ok(head) if head.is_success() => tally.success(due, done, from <= due),
            Ok(head) => tally.fault(format!("status {}", head.status), connection.body(head)),
            Err(fault) => return tally.fault(fault, &[]),
        }
        due += plan.pace * plan.connections;
        ticket += u64::from(plan.connections);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Kind, serve_here};

    fn plan(addr: SocketAddr, path: &str) -> PacedPlan {
        PacedPlan {
            addr,
            template: Arc::new(Template::new("GET", path, None, None, None).unwrap()),
            connections: 3,
            pace: Duration::from_millis(5),
            warm_up: Duration::from_millis(50),
            measured: Duration::from_millis(200),
            first_ticket: 0,
            ends: None,
        }
    }

    #[tokio::test]
    async fn as_many_are_sent_as_are_due_and_the_warm_up_is_left_out() {
        let addr = serve_here(Kind::Hello).await;
        let outcome = run_paced(&plan(addr, "/hello")).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.measured), (50, 40));
        assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_2xx_is_a_fault() {
        let addr = serve_here(Kind::Hello).await;
        let outcome = run_paced(&plan(addr, "/nowhere")).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.faults.get("status 404")), (0, Some(&50)));
    }

    #[tokio::test]
    async fn what_waits_for_an_answer_is_counted_from_when_it_was_due() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1_024];
                    let mut pause = Duration::from_millis(150);
                    while let Ok(1..) = stream.read(&mut buffer) {
                        std::thread::park_timeout(std::mem::take(&mut pause));
                        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let plan = PacedPlan { warm_up: Duration::ZERO, ..plan(addr, "/") };
        let outcome = run_paced(&plan).await.unwrap();
        assert_eq!(outcome.measured, 40);
        // Each connection had one slow answer, but every request that was due meanwhile waited too.
        assert!(outcome.latency_ms(0.5) > 10.0, "{}", outcome.latency_ms(0.5));
    }
}
