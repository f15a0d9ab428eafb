//! What an agent has over all its connections, and what becomes of it while there is none.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::backoff::{Backoff, Fault};
use super::dial::{Dial, Resume};
use super::envelope;
use super::link::{self, Asked, Out, Settling, over};
use super::subscriptions::Subscriptions;
use crate::agent::happening::{Happening, Observer};
use crate::agent::inbox::{InHand, Inbox};
use crate::agent::subscription::Subscription;
use crate::edge;
use crate::error::Error;

/// Outcomes that may wait for the server to have them; of more the oldest is given up.
const UNSETTLED_MAX: usize = 1_024;
/// The longest time between two signs of life.
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);
/// Questions that may be open.
const ASKED_MAX: usize = 1_024;

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
    pub(super) unsettled: VecDeque<Settling>,
    /// Tasks and commands that were taken and whose outcome the server is not known to have.
    pub(super) unanswered: HashSet<String>,
    /// Questions that are not answered, in their order.
    pub(super) asked: VecDeque<Asked>,
    /// Who waits for what came of the first try.
    pub(super) first: Option<oneshot::Sender<Result<(), Error>>>,
    /// Whether the server has heard that the agent is there: a former process may have said that it stops.
    pub(super) is_online: bool,
    pub(super) resume: Option<Resume>,
    pub(super) backoff: Backoff,
    /// Why there is no connection, where that was told.
    pub(super) told_loss: Option<Fault>,
    /// Whether the server was reached at any time.
    pub(super) was_reached: bool,
    /// Whether it was told that the server is lost, and not that it is back.
    pub(super) is_lost: bool,
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
            heartbeat: parts.heartbeat.min(HEARTBEAT_MAX),
            in_hand: parts.in_hand,
            stopping: parts.stopping,
            subscriptions: Subscriptions::new(parts.subscriptions),
            unsettled: VecDeque::new(),
            unanswered: HashSet::new(),
            asked: VecDeque::new(),
            first: None,
            is_online: false,
            resume: None,
            backoff: Backoff::default(),
            told_loss: None,
            was_reached: false,
            is_lost: false,
        }
    }

    /// Whether nothing is in hand that could still be told: the agent may stop without a connection then. Else the next one
    /// takes it; how long that may last is the grace of the stop.
    pub(super) fn may_stop(&self) -> bool {
        self.unsettled.is_empty() && self.out.is_empty() && self.in_hand.is_none()
    }

    /// Whether more of what outlives a connection can be kept.
    pub(super) fn has_room(&self) -> bool {
        self.unsettled.len() < UNSETTLED_MAX && self.asked.len() < ASKED_MAX
    }

    /// The question of this id, which is not open any more.
    pub(super) fn take_asked(&mut self, id: &str) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.id == id)?;
        self.asked.remove(at)
    }

    /// Keeps what outlives a connection, and answers what is to be written now.
    pub(super) fn keep(&mut self, out: Out) -> Option<String> {
        match out {
            Out::Once(text) => Some(text),
            Out::Settle(settling) => {
                if self.unsettled.len() >= UNSETTLED_MAX
                    && let Some(Settling { id, answers, .. }) = self.unsettled.pop_front()
                {
                    self.unanswered.remove(&answers);
                    let reason =
                        format!("{UNSETTLED_MAX} outcomes wait for the server; this one was the oldest");
                    self.observer.tell(Happening::Unreported { state: format!("response {id}"), reason });
                }
                let text = settling.text.clone();
                self.unsettled.push_back(settling);
                Some(text)
            }
            Out::Settled(task) => {
                self.unanswered.remove(&task);
                None
            }
            Out::Ask(asked) => {
                self.asked.retain(|asked| !asked.answer.is_closed());
                if self.asked.len() >= ASKED_MAX {
                    drop(asked.answer.send(Err(over())));
                    return None;
                }
                let text = asked.text.clone();
                self.asked.push_back(asked);
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
        for asked in std::mem::take(&mut self.asked) {
            if asked.is_repeatable {
                self.asked.push_back(asked);
            } else {
                drop(asked.answer.send(Err(link::broken())));
            }
        }
    }

    /// What is left when it is over.
    pub(super) fn give_up(&mut self) {
        for Settling { id, .. } in self.unsettled.drain(..) {
            let reason = "the connection ended before the server had it".to_owned();
            self.observer.tell(Happening::Unreported { state: format!("response {id}"), reason });
        }
        for asked in self.asked.drain(..) {
            drop(asked.answer.send(Err(over())));
        }
    }

    /// The `subscribe` of a subject, as it is to be made now; `None` where the agent is not subscribed to it.
    pub(super) fn subscribe_again(&self, subject: &str) -> Option<String> {
        let data = self.subscriptions.again().into_iter().find(|(known, _)| known == subject)?.1;
        Some(envelope::write("subscribe", &subscribe_id(subject), data, edge::now()))
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
