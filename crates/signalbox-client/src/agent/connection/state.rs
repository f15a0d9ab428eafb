//! What an agent has over all its connections, and what becomes of it while there is none.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::backoff::Backoff;
use super::dial::{Dial, Resume};
use super::envelope;
use super::link::{self, Asked, Out, over};
use super::subscriptions::Subscriptions;
use crate::agent::happening::{Happening, Observer};
use crate::agent::inbox::{InHand, Inbox};
use crate::agent::subscription::Subscription;
use crate::edge;

/// Outcomes that may wait for the server to have them; of more the oldest is given up.
const UNSETTLED_MAX: usize = 1_024;
/// Questions that may be open.
const ASKED_MAX: usize = 1_024;
/// How long the server may take to hear that the agent stops.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// What an agent has over all its connections.
pub(in crate::agent) struct Connection<D> {
    pub(super) dial: Arc<D>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) out: mpsc::Receiver<Out>,
    pub(super) observer: Observer,
    pub(super) heartbeat: Duration,
    pub(super) in_hand: InHand,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) subscriptions: Subscriptions,
    /// Outcomes that the server is not known to have, in their order.
    pub(super) unsettled: VecDeque<(String, String)>,
    /// Questions that are not answered, by their envelope's id.
    pub(super) asked: HashMap<String, Asked>,
    pub(super) resume: Option<Resume>,
    pub(super) backoff: Backoff,
}

/// What a connection is made of.
pub(in crate::agent) struct Parts<D> {
    pub(in crate::agent) dial: Arc<D>,
    pub(in crate::agent) inbox: Arc<Inbox>,
    pub(in crate::agent) out: mpsc::Receiver<Out>,
    pub(in crate::agent) observer: Observer,
    pub(in crate::agent) heartbeat: Duration,
    pub(in crate::agent) in_hand: InHand,
    pub(in crate::agent) subscriptions: Vec<Subscription>,
    pub(in crate::agent) stopping: watch::Receiver<bool>,
}

impl<D: Dial> Connection<D> {
    pub(in crate::agent) fn new(parts: Parts<D>) -> Self {
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

    /// Whether nothing is in hand that could still be told: the agent may stop without a connection then. Else the next one
    /// takes it; how long that may last is the grace of the stop.
    pub(super) fn may_stop(&self) -> bool {
        self.unsettled.is_empty() && self.in_hand.is_none()
    }

    /// Takes what the agent hands over while there is no connection, so that no handler waits for one. Ends when nobody is
    /// left who could.
    pub(super) async fn take_meanwhile(&mut self) {
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
    pub(super) fn keep(&mut self, out: Out) -> Option<String> {
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
    pub(super) fn cut_off(&mut self) {
        let gone: Vec<String> =
            self.asked.iter().filter(|(_, asked)| !asked.is_repeatable).map(|(id, _)| id.clone()).collect();
        for asked in gone.iter().filter_map(|id| self.asked.remove(id)) {
            drop(asked.answer.send(Err(link::broken())));
        }
    }

    /// What is left when it is over.
    pub(super) fn give_up(&mut self) {
        for (id, _) in self.unsettled.drain(..) {
            let reason = "the connection ended before the server had it".to_owned();
            self.observer.tell(Happening::Unreported { state: format!("response {id}"), reason });
        }
        for (_, asked) in self.asked.drain() {
            drop(asked.answer.send(Err(over())));
        }
    }

    pub(super) async fn drain(&self) {
        drop(timeout(DRAIN_WITHIN, self.dial.drain()).await);
    }
}

/// The id of the envelope of a subscription, by which its `ack` is known.
pub(super) fn subscribe_id(subject: &str) -> String {
    format!("subscribe:{}:{subject}", edge::unique_key())
}

/// The subject of such an id.
pub(super) fn subscribed_subject(id: &str) -> Option<&str> {
    id.strip_prefix("subscribe:")?.split_once(':').map(|(_, subject)| subject)
}
