//! How an agent starts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use signalbox_wire::agentkit::Registered;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, field, info, info_span};

use super::Agent;
use super::at_work::AtWork;
use super::connection::{Acting, Backoff, Connection, Dialer, Fault, Link, Parts};
use super::credentials::Credentials;
use super::happening::{Happening, TARGET};
use super::inbox::{Inbox, QUEUE_MAX};
use super::replaced::replaced;
use super::reporter::{HttpReporter, Reporter};
use super::running::Running;
use super::worker::Worker;
use super::{listener, logs};
use crate::client::Client;
use crate::edge;
use crate::error::Error;
use crate::retry::RetryPolicy;

/// How long what is left of the log may take to be sent.
const LOG_WITHIN: Duration = Duration::from_secs(5);

impl Agent {
    /// Registers (taking over its name from a former process), listens or connects, and works.
    ///
    /// It does not report `idle` on arrival: a registered agent counts as available.
    ///
    /// A handler that ends within a second answers the delivery of its task with its report, where the server says
    /// that it reads the answer; a longer one is reported `active`, and then how it ended.
    ///
    /// Where the server is not there yet, this waits until it is, and tells so once ([`Happening::NoServer`]). Dropping the
    /// future ends that.
    ///
    /// # Errors
    /// [`Error::Local`] when the address cannot be listened on; [`Error::Unusable`] without a handler, or where the
    /// credentials are no good; any error of the registration.
    pub async fn start(mut self) -> Result<Running, Error> {
        if self.handlers.is_empty() {
            return Err(Error::unusable(
                format!("the agent '{}'", self.registration.agent_name),
                "it has no handler; give it one with handler, task, message, command or subscribe",
            ));
        }
        self.tell_concurrency();
        let name = self.registration.agent_name.as_str();
        let span = info_span!(target: TARGET, "agent", agent = name, agent_id = field::Empty);
        self.observer.set_span(span.clone());
        match self.credentials.take() {
            None => self.start_listening().instrument(span).await,
            Some(credentials) => self.start_connected(credentials).instrument(span).await,
        }
    }

    async fn start_listening(mut self) -> Result<Running, Error> {
        let local = |source| Error::Local { what: format!("listening on {}", self.listen), source };
        let listener = TcpListener::bind(self.listen).await.map_err(local)?;
        let address = listener.local_addr().map_err(local)?;
        let endpoint =
            self.registration.contact_endpoint.get_or_insert_with(|| format!("http://{address}/")).clone();

        let (stop, stopping) = watch::channel(false);
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let (log_sink, log_sender) = logs::channel();
        let at_work = AtWork::default();
        let inbox = Arc::new(Inbox::new(sender, self.observer.clone(), at_work.clone(), log_sink));
        // Served before it is registered: the first message may come before the registration's answer.
        let serving = tokio::spawn(listener::serve(listener, inbox, stopping.clone()));
        let (agent_id, generation) = match self.identified().await {
            Ok(registered) => registered,
            Err(error) => {
                serving.abort();
                return Err(error);
            }
        };
        let reporter = Reporter::Http(HttpReporter {
            acting: Acting::new(self.client.clone()),
            agent_id: agent_id.clone(),
            observer: self.observer.clone(),
        });
        let acting = Acting::new(self.client.clone());
        let log_client = acting.clone();
        let logging = tokio::spawn(log_sender.run(agent_id.clone(), move || log_client.client()));
        let is_own = self.registered.is_none();
        let (heartbeat, observer, working) = (self.heartbeat, self.observer.clone(), at_work.clone());
        let (asking, own_id) = (acting.clone(), agent_id.clone());
        let (stop_self, mut until) = (stop.clone(), stopping.clone());
        let ended = async move {
            tokio::select! {
                reason = replaced(&asking, &own_id, generation, heartbeat, &observer), if is_own => {
                    // What it has in hand was given out again.
                    working.stop_all();
                    observer.tell(Happening::Ended { reason: reason.to_owned() });
                    stop_self.send_replace(true);
                }
                _ = until.wait_for(|stop| *stop) => {}
            }
        };
        let worker = Worker::new(self.handlers, reporter, self.observer, at_work);
        let worker = async move {
            tokio::join!(ended, worker.run(receiver, self.concurrency, stopping));
            drop(serving.await);
            // The sinks are gone with the handlers, and so this ends once all is sent.
            drop(timeout(LOG_WITHIN, logging).await);
        };
        Ok(Running::new((acting, None), (agent_id, Some(endpoint)), stop, tokio::spawn(worker)))
    }

    async fn start_connected(self, credentials: Credentials) -> Result<Running, Error> {
        let (agent_id, _) = self.identified().await?;
        let credential = credentials.name();
        let dialer = Arc::new(Dialer::new(&self.client, &agent_id, credentials)?);
        let acting = dialer.acting();
        let (stop, stopping) = watch::channel(false);
        // The worker stops once the connection has ended: until then work may come.
        let (stop_worker, worker_stopping) = watch::channel(false);
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let (log_sink, log_sender) = logs::channel();
        let at_work = AtWork::default();
        let inbox = Arc::new(Inbox::new(sender, self.observer.clone(), at_work.clone(), log_sink));
        let (link, out) = Link::new(self.observer.clone());
        let connection = Connection::new(Parts {
            dial: Arc::clone(&dialer),
            in_hand: inbox.in_hand(),
            inbox,
            out,
            observer: self.observer.clone(),
            heartbeat: self.heartbeat,
            subscriptions: self.subscriptions,
            stopping,
        });
        let http = HttpReporter {
            acting: acting.clone(),
            agent_id: agent_id.clone(),
            observer: self.observer.clone(),
        };
        let worker = Worker::new(self.handlers, Reporter::Link(link.clone(), http), self.observer, at_work);
        let log_client = acting.clone();
        let logging = tokio::spawn(log_sender.run(agent_id.clone(), move || log_client.client()));
        let (first, tried) = oneshot::channel();
        let concurrency = self.concurrency;
        let work = tokio::spawn(async move {
            let mut others = JoinSet::new();
            others.spawn(dialer.keep_signed_in());
            let connected = async move {
                connection.run(first).await;
                stop_worker.send_replace(true);
            };
            tokio::join!(connected, worker.run(receiver, concurrency, worker_stopping));
            // The sinks are gone with the handlers, and so this ends once all is sent.
            drop(timeout(LOG_WITHIN, logging).await);
        });
        let running = Running::new((acting, Some(link)), (agent_id, None), stop, work);
        match tried.await {
            Ok(tried) => {
                tried.map(|()| running).map_err(|error| told_whose_key(&self.client, credential, error))
            }
            // Nobody is left who connects.
            Err(_) => Err(Error::unusable("the agent's connection", "it ended before its first try")),
        }
    }

    /// Registers, unless it is registered already: the agent's id, and which of its registrations this is where that is known.
    async fn identified(&self) -> Result<(String, Option<u64>), Error> {
        let (agent_id, generation) = match &self.registered {
            Some(agent_id) => (agent_id.clone(), None),
            None => {
                let registered =
                    self.register().await.map_err(|error| told_whose_key(&self.client, None, error))?;
                (registered.agent_id.to_string(), registered.generation)
            }
        };
        self.observer.span().record("agent_id", agent_id.as_str());
        if self.registered.is_none() {
            let endpoint = self.registration.contact_endpoint.as_deref();
            info!(target: TARGET, agent_id = agent_id.as_str(), endpoint, "registered");
        }
        Ok((agent_id, generation))
    }

    /// Registers, and waits for the server where it is not there yet. That it is not is told once.
    async fn register(&self) -> Result<Registered, Error> {
        let mut answer = self.client.registered(&self.registration, true).await;
        // From here on, how long to wait between two tries is the agent's rule, not the client's.
        let client = self.client.clone().with_retry(RetryPolicy::never());
        let (mut backoff, mut is_told) = (Backoff::default(), false);
        loop {
            let wait = match &answer {
                Err(error) if error.is_transient() => backoff.wait(&Fault::of(error), edge::fraction()),
                _ => None,
            };
            let (Err(error), Some(wait)) = (&answer, wait) else { return answer };
            if !is_told {
                is_told = true;
                let url = self.client.base().to_owned();
                self.observer.tell(Happening::NoServer { url, reason: short(error) });
            }
            tokio::time::sleep(wait).await;
            answer = client.registered(&self.registration, true).await;
        }
    }

    fn tell_concurrency(&mut self) {
        if self.concurrency > 1 {
            let metadata = self.registration.metadata.get_or_insert_default();
            metadata.entry("concurrency").or_insert_with(|| Value::from(self.concurrency));
        }
    }
}

/// Why a server could not be asked, without its address.
fn short(error: &Error) -> String {
    match error {
        Error::Unreachable { reason, .. } => reason.clone(),
        Error::Timeout { after, .. } => format!("no answer within {} s", after.as_secs_f64()),
        other => other.to_string(),
    }
}

/// A refusal says who refused which credentials: it is read in a log, far from where they were set.
fn told_whose_key(client: &Client, credential: Option<&'static str>, mut error: Error) -> Error {
    if let Error::Problem(problem) = &mut error
        && problem.status == 401
    {
        let (url, key) = (client.base(), credential.map_or_else(|| client.key_in_words(), str::to_owned));
        problem.detail = format!("{url} does not take {key}");
    }
    error
}
