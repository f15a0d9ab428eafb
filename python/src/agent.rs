//! [`Agent`]: the agent's runtime for Python. All work goes to one Rust handler, which tells Python of it as an [`Event`]
//! and waits for what Python says came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::json;
use signalbox_client::agent::{self, Call as AgentCall, Credentials, Failure, Running, Subscription};
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::call::Call;
use crate::client::Client;
use crate::happening::Happenings;
use crate::orders::{AtWork, Order};
use crate::work::{Event, Outcome, Wanted, Work};

/// How often the wait for an event looks whether the user pressed Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

/// The longest that an agent waits for what it asked another; the server waits no longer.
const ASK_MAX: Duration = Duration::from_secs(300);
/// The longest between two signs of life; servers want one far more often.
const HEARTBEAT_MAX: Duration = Duration::from_secs(3_600);
/// The longest that an agent takes to finish; a moment further away may not be one that the clock can tell.
const GRACE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// An agent: about to start, or at work.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Agent {
    about: Mutex<Option<agent::Agent>>,
    at_work: AtWork,
    sender: Sender<Event>,
    /// As many events as work is handled at once, and what happened.
    events: Mutex<Receiver<Event>>,
}

#[pymethods]
impl Agent {
    #[new]
    #[pyo3(signature = (client, name, *, version, capabilities, metadata, concurrency, heartbeat=None, listen=None, reached_at=None,
                        agent_id=None, connect=false, ssh_key=None, key_id=None, tenant=None, subscriptions=Vec::new()))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn new(
        client: &Client,
        name: &str,
        version: &str,
        capabilities: &[u8],
        metadata: &[u8],
        concurrency: usize,
        heartbeat: Option<f64>,
        listen: Option<&str>,
        reached_at: Option<&str>,
        agent_id: Option<&str>,
        connect: bool,
        ssh_key: Option<&str>,
        key_id: Option<&str>,
        tenant: Option<&str>,
        subscriptions: Vec<(String, Option<u64>)>,
    ) -> PyResult<Self> {
        let (sender, receiver) = mpsc::channel();
        let mut about =
            agent::Agent::new(client.inner.clone(), name).version(version).concurrency(concurrency);
        for capability in read::<Vec<signalbox_client::CapabilityBody>>("the capabilities", capabilities)? {
            about = about.capability(capability);
        }
        about = about.metadata(read("the metadata", metadata)?);
        if let Some(seconds) = heartbeat {
            let interval = Duration::try_from_secs_f64(seconds)
                .map_err(|error| PyValueError::new_err(format!("heartbeat={seconds}: {error}")))?;
            about = about.heartbeat(interval.min(HEARTBEAT_MAX));
        }
        if let Some(agent_id) = agent_id {
            about = about.registered(agent_id);
        }
        if let Some(listen) = listen {
            let address = listen.parse().map_err(|error| {
                PyValueError::new_err(format!(
                    "the address '{listen}' to listen on: {error}; give one as 127.0.0.1:9000"
                ))
            })?;
            about = about.listen(address);
        }
        if let Some(endpoint) = reached_at {
            about = about.reached_at(endpoint);
        }
        if connect {
            about = about.connect(credentials(ssh_key, key_id, tenant));
        }
        for (subject, after) in subscriptions {
            let subscription = Subscription::new(subject);
            about = about.subscription(match after {
                Some(sequence) => subscription.after(sequence),
                None => subscription,
            });
        }
        let happenings = Happenings::new(sender.clone());
        about = about.handler(handler(sender.clone())).observer(move |happening| happenings.tell(&happening));
        let at_work = AtWork::new();
        Ok(Self { about: Mutex::new(Some(about)), at_work, sender, events: Mutex::new(receiver) })
    }

    /// Registers, listens or connects; the answer tells the id and the endpoint.
    fn start(&self) -> PyResult<Call> {
        let about = self.about.lock().take();
        let about = about.ok_or_else(|| PyRuntimeError::new_err("an agent starts once; make another one"))?;
        let at_work = self.at_work.clone();
        Ok(Call::new(async move {
            match about.start().await {
                Ok(running) => {
                    let told = told(&running);
                    at_work.begin(running);
                    told
                }
                Err(error) => error.into(),
            }
        }))
    }

    /// Waits for the next event, without the interpreter's lock; `None` after the timeout, in seconds.
    fn next(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Event>> {
        let whole = Duration::try_from_secs_f64(timeout)
            .map_err(|error| PyValueError::new_err(format!("the timeout of {timeout} s: {error}")))?;
        let mut left = whole;
        loop {
            let wait = left.min(SIGNALS_EVERY);
            match py.detach(|| self.events.lock().recv_timeout(wait)) {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(Event::ended())),
                Err(RecvTimeoutError::Timeout) if left <= wait => return Ok(None),
                Err(RecvTimeoutError::Timeout) => left -= wait,
            }
            py.check_signals()?;
        }
    }

    /// Takes no more work and waits for what it has, at most so many seconds; the answer tells whether all was finished.
    fn stop(&self, grace: f64) -> PyResult<Call> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|error| PyValueError::new_err(format!("the time of {grace} s to finish: {error}")))?;
        let (at_work, events) = (self.at_work.clone(), self.sender.clone());
        Ok(Call::new(async move {
            let answer = at_work.stop(grace.min(GRACE_MAX)).await;
            drop(events.send(Event::ended()));
            answer
        }))
    }

    fn publish(&self, subject: String, payload: &[u8]) -> PyResult<Call> {
        Ok(self.order(Order::Publish { subject, payload: read("the payload", payload)? }))
    }

    fn send(&self, agent_id: String, message_type: String, payload: &[u8]) -> PyResult<Call> {
        Ok(self.order(Order::Send { agent_id, message_type, payload: read("the payload", payload)? }))
    }

    fn ask(&self, agent_id: String, payload: &[u8], timeout: f64) -> PyResult<Call> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .map_err(|error| PyValueError::new_err(format!("the timeout of {timeout} s: {error}")))?;
        Ok(self.order(Order::Ask {
            agent_id,
            payload: read("the payload", payload)?,
            timeout: timeout.min(ASK_MAX),
        }))
    }
}

impl Agent {
    fn order(&self, order: Order) -> Call {
        let at_work = self.at_work.clone();
        Call::new(async move { at_work.carry_out(order).await })
    }
}

/// Tells Python of the work, and waits for what comes of it. Where the runtime drops it, Python is told so.
fn handler(
    events: Sender<Event>,
) -> impl Fn(AgentCall) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync + 'static {
    let numbers = Arc::new(AtomicU64::new(1));
    move |call| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let events = events.clone();
        Box::pin(async move {
            let (sender, outcome) = oneshot::channel();
            let mut wanted = Wanted { number, events: events.clone(), is_over: false };
            let lost = || Failure::new("the agent's handler ended without an outcome").code("handler-lost");
            if events.send(Event::work(Work::new(number, &call, sender))).is_err() {
                return Err(lost());
            }
            let outcome = outcome.await;
            wanted.is_over = true;
            outcome.unwrap_or_else(|_| Err(lost()))
        })
    }
}

fn told(running: &Running) -> Answer {
    let told = json!({"agent_id": running.agent_id(), "endpoint": running.endpoint()});
    Answer::ok(told.to_string())
}

fn credentials(ssh_key: Option<&str>, key_id: Option<&str>, tenant: Option<&str>) -> Credentials {
    let Some(ssh_key) = ssh_key else { return Credentials::ClientKey };
    let mut credentials = Credentials::ssh_key(ssh_key);
    if let Some(key_id) = key_id {
        credentials = credentials.key_id(key_id);
    }
    match tenant {
        Some(tenant) => credentials.tenant(tenant),
        None => credentials,
    }
}

fn read<T: DeserializeOwned>(what: &str, text: &[u8]) -> PyResult<T> {
    serde_json::from_slice(text).map_err(|error| PyValueError::new_err(format!("{what} do not fit: {error}")))
}
