//! Drives the connections of a [`Plan`]: each thread has a single-threaded runtime and its own share of the
//! connections, so nothing but the ticket counter is shared while the clock runs.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::connection::Connection;
use super::ends::{Ends, NOBODY_TELLS};
use super::outcome::{Outcome, Tally};
use super::share::run_share;
use super::template::{Request, Template};
use crate::clock;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long after its end a timed run may wait for the last answers.
const GRACE: Duration = Duration::from_secs(20);
const COUNTED_MAX: Duration = Duration::from_secs(900);

/// How long to go on.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    Timed { warm_up: Duration, measured: Duration },
    Count(u64),
}

/// Picks what is wanted from the body of an answer.
pub(crate) type Pick = fn(&[u8]) -> Option<String>;

/// One load run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    /// Further servers of the same: connections go to all in turn, as behind a round robin.
    pub(crate) others: Vec<SocketAddr>,
    pub(crate) template: Arc<Template>,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) extent: Extent,
    /// The number of the first request; numbers choose ids and make names unique.
    pub(crate) first_ticket: u64,
    pub(crate) pick: Option<Pick>,
    /// A request is done when what it started has ended, and not with its answer.
    pub(crate) ends: Option<Arc<Ends>>,
}

/// Runs a plan to its end on threads of its own.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let plan = plan.clone();
    tokio::task::spawn_blocking(move || run_blocking(&plan)).await.context("the load generator panicked")?
}

fn run_blocking(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut shares = connect(plan)?;
    let tickets = Arc::new(AtomicU64::new(plan.first_ticket));
    let (begin, begin_unix_us) = (clock::now(), clock::unix_micros());
    let window = Window::new(plan, begin);
    let handles: Vec<_> = shares
        .drain(..)
        .map(|share| {
            let (plan, tickets) = (plan.clone(), Arc::clone(&tickets));
            std::thread::spawn(move || drive_share(&plan, share, window, tickets))
        })
        .collect();
    let mut tallies = Vec::new();
    for handle in handles {
        tallies.push(handle.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))??);
    }
    let fixed = match plan.extent {
        Extent::Timed { measured, .. } => Some(measured),
        Extent::Count(_) => None,
    };
    let next_ticket = tickets.load(Ordering::Relaxed).min(window.last_ticket);
    Outcome::merge(tallies, begin, fixed, begin_unix_us, next_ticket)
}

/// When requests are sent, and when answers are counted.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
    give_up: Instant,
    /// The number that no request has any more.
    last_ticket: u64,
}

impl Window {
    fn new(plan: &Plan, begin: Instant) -> Self {
        match plan.extent {
            Extent::Timed { warm_up, measured } => {
                let until = begin + warm_up + measured;
                Self { from: begin + warm_up, until, give_up: until + GRACE, last_ticket: u64::MAX }
            }
            Extent::Count(count) => {
                let until = begin + COUNTED_MAX;
                Self { from: begin, until, give_up: until, last_ticket: plan.first_ticket + count }
            }
        }
    }

    fn measures(&self, done: Instant) -> bool {
        self.from <= done && done < self.until
    }
}

/// Opens every connection before the clock starts, dealt out to the threads in turn.
fn connect(plan: &Plan) -> anyhow::Result<Vec<Vec<TcpStream>>> {
    let threads = plan.threads.clamp(1, plan.connections.max(1));
    let mut shares: Vec<Vec<TcpStream>> = (0..threads).map(|_| Vec::new()).collect();
    let addrs: Vec<&SocketAddr> = std::iter::once(&plan.addr).chain(&plan.others).collect();
    for number in 0..plan.connections {
        let addr = addrs[number % addrs.len()];
        let stream = TcpStream::connect_timeout(addr, CONNECT_WITHIN)
            .with_context(|| format!("connection {number} of {} to {addr} failed", plan.connections))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        shares[number % threads].push(stream);
    }
    Ok(shares)
}

fn drive_share(
    plan: &Plan,
    share: Vec<TcpStream>,
    window: Window,
    tickets: Arc<AtomicU64>,
) -> anyhow::Result<Tally> {
    run_share(window.give_up, |tally| {
        let drive = |stream| {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let driver = Driver {
                tickets: Arc::clone(&tickets),
                tally: Rc::clone(tally),
                pick: plan.pick,
                ends: plan.ends.clone(),
                window,
            };
            let request = Request::new(&plan.template);
            Ok(tokio::task::spawn_local(driver.drive(Connection::new(stream), request)))
        };
        share.into_iter().map(drive).collect()
    })
}

/// The loop of one connection.
struct Driver {
    tickets: Arc<AtomicU64>,
    tally: Rc<RefCell<Tally>>,
    pick: Option<Pick>,
    ends: Option<Arc<Ends>>,
    window: Window,
}

impl Driver {
    async fn drive(self, mut connection: Connection, mut request: Request) {
        let mut sent = clock::now();
        while sent < self.window.until {
            let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            if ticket >= self.window.last_ticket {
                return;
            }
            let ended = self.ends.as_ref().map(|ends| ends.expect(ticket));
            let mut answer = connection.exchange(request.fill(ticket, sent)).await;
            if let (Ok(head), Some(ended)) = (&answer, ended)
                && head.is_success()
                && ended.await.is_err()
            {
                answer = Err(NOBODY_TELLS.to_owned());
            }
            let done = clock::now();
            let mut tally = self.tally.borrow_mut();
            match answer {
                Ok(head) if head.is_success() => {
                    tally.success(sent, done, self.window.measures(done));
                    if let Some(value) = self.pick.and_then(|pick| pick(connection.body(head))) {
                        tally.pick(ticket, value);
                    }
                }
                Ok(head) => tally.fault(format!("status {}", head.status), connection.body(head)),
                Err(fault) => {
                    tally.fault(fault, &[]);
                    return;
                }
            }
            sent = done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Kind, serve_here};

    fn plan(addr: SocketAddr, path: &str, extent: Extent) -> Plan {
        let template = Arc::new(Template::new("GET", path, None, None, None).unwrap());
        Plan {
            addr,
            others: Vec::new(),
            template,
            connections: 8,
            threads: 2,
            extent,
            first_ticket: 5,
            pick: None,
            ends: None,
        }
    }

    #[tokio::test]
    async fn a_counted_run_sends_exactly_its_count() {
        let addr = serve_here(Kind::Hello).await;
        let mut plan = plan(addr, "/hello", Extent::Count(500));
        plan.pick = Some(|body| Some(String::from_utf8_lossy(body).into_owned()));
        let outcome = run(&plan).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.measured, outcome.next_ticket), (500, 500, 505));
        assert_eq!(outcome.picked.len(), 500);
        assert!(outcome.faults.is_empty() && outcome.picked.iter().all(|body| body == "Hello, World!"));
        assert!(outcome.latency_ms(0.5) <= outcome.latency_ms(0.99) && outcome.per_s() > 0.0);
    }

    #[tokio::test]
    async fn a_timed_run_leaves_the_warm_up_out() {
        let addr = serve_here(Kind::Hello).await;
        let extent =
            Extent::Timed { warm_up: Duration::from_millis(50), measured: Duration::from_millis(300) };
        let outcome = run(&plan(addr, "/hello", extent)).await.unwrap();
        assert!(outcome.measured > 0 && outcome.measured < outcome.succeeded);
        assert_eq!(outcome.time, Duration::from_millis(300));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_2xx_is_a_fault() {
        let addr = serve_here(Kind::Hello).await;
        let outcome = run(&plan(addr, "/nowhere", Extent::Count(10))).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.faults.get("status 404")), (0, Some(&10)));
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_is_a_fault_of_each_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                drop(stream);
            }
        });
        let outcome = run(&plan(addr, "/hello", Extent::Count(100))).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.faults.values().sum::<u64>()), (0, 8));
    }
}
