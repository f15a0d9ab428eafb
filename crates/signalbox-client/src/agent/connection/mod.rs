//! An agent's connection: opened, kept alive, made again by the rules on failures, and the same to the agent over all of it.
//!
//! The invariant: what an agent took is known by its id over all connections of its process; what came of a task or command
//! is sent until the server has it; subscriptions are made again after what was seen last.

mod backoff;
mod converse;
mod dial;
mod envelope;
mod link;
mod socket;
mod subscriptions;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use self::backoff::{Backoff, Fault};
use self::converse::End;
pub(super) use self::dial::{Acting, Dial, Dialer, Resume};
use self::link::{Asked, over};
pub(super) use self::link::{Link, Out};
use self::subscriptions::Subscriptions;
use super::happening::{Happening, Observer};
use super::inbox::{InHand, Inbox};
use super::subscription::Subscription;
use crate::edge;
use crate::error::Error;

/// Outcomes that may wait for the server to have them; of more the oldest is given up.
const UNSETTLED_MAX: usize = 1_024;
/// Questions that may be open.
const ASKED_MAX: usize = 1_024;
/// How long the server may take to hear that the agent stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// What an agent has over all its connections.
pub(super) struct Connection<D> {
    dial: Arc<D>,
    inbox: Arc<Inbox>,
    out: mpsc::Receiver<Out>,
    observer: Observer,
    heartbeat: Duration,
    in_hand: InHand,
    stopping: watch::Receiver<bool>,
    subscriptions: Subscriptions,
    /// Outcomes that the server is not known to have, in their order.
    unsettled: VecDeque<(String, String)>,
    /// Questions that are not answered, by their envelope's id.
    asked: HashMap<String, Asked>,
    resume: Option<Resume>,
    backoff: Backoff,
}

/// What a connection is made of.
pub(super) struct Parts<D> {
    pub(super) dial: Arc<D>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) out: mpsc::Receiver<Out>,
    pub(super) observer: Observer,
    pub(super) heartbeat: Duration,
    pub(super) in_hand: InHand,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl<D: Dial> Connection<D> {
    pub(super) fn new(parts: Parts<D>) -> Self {
        Self {
            dial: parts.dial,
            inbox: parts.inbox,
            out: parts.out,
            observer: parts.observer,
            heartbeat: parts.heartbeat,
            in_hand: parts.in_hand,
            stopping: parts.stopping,
            subscriptions: Subscriptions::new(parts.subscriptions),
            unsettled: VecDeque::new(),
            asked: HashMap::new(),
            resume: None,
            backoff: Backoff::default(),
        }
    }

    /// Connects again and again, until told to stop or until that is of no use. `first` gets what came of the first try: an
    /// error where it was refused.
    pub(super) async fn run(mut self, first: oneshot::Sender<Result<(), Error>>) {
        let mut first = Some(first);
        loop {
            let (may_stop, mut stopping) = (self.may_stop(), self.stopping.clone());
            let dialed = tokio::select! {
                dialed = self.dial.dial(self.resume.as_ref()) => dialed,
                _ = stopping.wait_for(|stop| *stop), if may_stop => break,
            };
            let (fault, reason) = match dialed {
                Ok(socket) => {
                    let told = first.take().map(|first| first.send(Ok(())));
                    drop(told);
                    match Box::pin(self.converse(socket)).await {
                        End::Stopped => break,
                        End::TakenOver(reason) => {
                            self.observer.tell(Happening::Ended { reason });
                            break;
                        }
                        End::Failed(fault, reason) => (fault, reason),
                    }
                }
                Err(error) => {
                    let fault = Fault::of(&error);
                    let reason = error.to_string();
                    if let Some(first) = first.take() {
                        // Whoever starts an agent is told at once that it is not let in.
                        if matches!(fault, Fault::Refused | Fault::Final) {
                            drop(first.send(Err(error)));
                            break;
                        }
                        drop(first.send(Ok(())));
                    }
                    (fault, reason)
                }
            };
            self.cut_off();
            if fault == Fault::Refused {
                self.dial.forget();
            }
            let Some(retry_in) = self.backoff.wait(&fault, edge::fraction()) else {
                self.observer.tell(Happening::Ended { reason });
                break;
            };
            self.observer.tell(Happening::Disconnected { reason, retry_in });
            let may_stop = self.may_stop();
            tokio::select! {
                () = sleep(retry_in) => {}
                _ = stopping.wait_for(|stop| *stop), if may_stop => break,
                () = self.take_meanwhile() => break,
            }
        }
        self.give_up();
    }

    /// Whether nothing is in hand that could still be told: the agent may stop without a connection then. Else the next one
    /// takes it; how long that may last is the grace of the stop.
    fn may_stop(&self) -> bool {
        self.unsettled.is_empty() && self.in_hand.is_none()
    }

    /// Takes what the agent hands over while there is no connection, so that no handler waits for one. Ends when nobody is
    /// left who could.
    async fn take_meanwhile(&mut self) {
        loop {
            if self.unsettled.len() >= UNSETTLED_MAX || self.asked.len() >= ASKED_MAX {
                std::future::pending::<()>().await;
            }
            match self.out.recv().await {
                Some(out) => drop(self.keep(out)),
                None => return,
            }
        }
    }

    /// Keeps what outlives a connection, and answers what is to be written now.
    fn keep(&mut self, out: Out) -> Option<String> {
        match out {
            Out::Once(text) => Some(text),
            Out::Settle { id, text } => {
                if self.unsettled.len() >= UNSETTLED_MAX
                    && let Some((id, _)) = self.unsettled.pop_front()
                {
                    let reason =
                        format!("{UNSETTLED_MAX} outcomes wait for the server; this one was the oldest");
                    self.observer.tell(Happening::Unreported { state: format!("response {id}"), reason });
                }
                self.unsettled.push_back((id, text.clone()));
                Some(text)
            }
            Out::Ask(asked) => {
                self.asked.retain(|_, asked| !asked.answer.is_closed());
                if self.asked.len() >= ASKED_MAX {
                    drop(asked.answer.send(Err(over())));
                    return None;
                }
                let text = asked.text.clone();
                self.asked.insert(asked.id.clone(), asked);
                Some(text)
            }
            Out::Subscribe(subscription) => {
                let data = envelope::subscribe(&subscription);
                let id = subscribe_id(&subscription.subject);
                self.subscriptions.add(subscription);
                Some(envelope::write("subscribe", &id, data, edge::now()))
            }
            Out::Unsubscribe(subject) => {
                self.subscriptions.remove(&subject);
                let data = serde_json::json!({ "subject": subject });
                Some(envelope::write("unsubscribe", &edge::unique_key(), data, edge::now()))
            }
        }
    }

    /// Tells those who asked what must not be asked twice that no answer comes.
    fn cut_off(&mut self) {
        let gone: Vec<String> =
            self.asked.iter().filter(|(_, asked)| !asked.is_repeatable).map(|(id, _)| id.clone()).collect();
        for asked in gone.iter().filter_map(|id| self.asked.remove(id)) {
            drop(asked.answer.send(Err(link::broken())));
        }
    }

    /// What is left when it is over.
    fn give_up(&mut self) {
        for (id, _) in self.unsettled.drain(..) {
            let reason = "the connection ended before the server had it".to_owned();
            self.observer.tell(Happening::Unreported { state: format!("response {id}"), reason });
        }
        for (_, asked) in self.asked.drain() {
            drop(asked.answer.send(Err(over())));
        }
    }

    async fn drain(&self) {
        drop(timeout(DRAIN_WITHIN, self.dial.drain()).await);
    }
}

/// The id of the envelope of a subscription, by which its `ack` is known.
fn subscribe_id(subject: &str) -> String {
    format!("subscribe:{}:{subject}", edge::unique_key())
}

/// The subject of such an id.
fn subscribed_subject(id: &str) -> Option<&str> {
    id.strip_prefix("subscribe:")?.split_once(':').map(|(_, subject)| subject)
}
