//! Requests and replies over connections: nothing of them is kept; the first reply counts, and where nobody can answer
//! that is said at once, as far as it is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use signalbox_bus::Subject;
use signalbox_wire::artcafe::frames::Answer as ReplyData;
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::problem_kind::ProblemKind;

use super::asking::{Asking, Question};
use super::fault::LiveFault;
use super::frames;
use super::network;
use super::relay::{Answer, Heard, Told};
use super::shared::{Channels, PAYLOAD_BYTES_MAX, Tenant};
use super::subscriber::Subscriber;
use crate::clock;
use crate::transport::connection::Delivered;

/// Requests of one connection that wait for their replies, at most.
const OPEN_MAX: usize = 64;
/// After so long without a word of any other node that it has a subscriber, there is none.
const NOBODY_AFTER: Duration = Duration::from_millis(500);
/// How long it may take to hand a request to the node that holds the agent's connection.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// How many requests of a connection are open.
pub(super) type Open = AtomicUsize;

/// Whom a request is for.
pub(super) enum Whom {
    /// An agent.
    Agent(AgentId),
    /// Whoever is subscribed to a subject.
    Subject(String),
}

/// Counts a request until it is over.
struct Counted(Arc<Open>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that is under way.
struct Request {
    channels: Channels,
    tenant: Arc<Tenant>,
    subscriber: Arc<Subscriber>,
    id: String,
    whom: Whom,
    payload: Box<RawValue>,
    _counted: Counted,
}

/// Sends a request, whose reply comes over the connection's buffer, or an `error` that names it.
pub(super) fn begin(
    (channels, tenant, subscriber): (&Channels, &Arc<Tenant>, &Arc<Subscriber>),
    open: &Arc<Open>,
    (id, whom, payload, within): (String, Whom, Box<RawValue>, Duration),
) -> Result<(), LiveFault> {
    check(&payload)?;
    let counted = Counted(Arc::clone(open));
    if open.fetch_add(1, Ordering::Relaxed) >= OPEN_MAX {
        let told = format!("{OPEN_MAX} requests of this connection wait for their replies, as many as may.");
        return Err(LiveFault::new(ProblemKind::ConnectionFull, told));
    }
    let request = Request {
        channels: channels.clone(),
        tenant: Arc::clone(tenant),
        subscriber: Arc::clone(subscriber),
        id,
        whom,
        payload,
        _counted: counted,
    };
    tokio::spawn(request.run(within));
    Ok(())
}

impl Request {
    async fn run(self, within: Duration) {
        let frame = match tokio::time::timeout(within, self.replied()).await {
            Ok(Ok((from, payload))) => {
                let id = Channels::new_id();
                frames::reply(id.as_str(), &self.id, &from, &payload, clock::now())
            }
            Ok(Err(fault)) => frames::error(Some(&self.id), &fault, clock::now()),
            Err(_) => {
                let told = format!("Nobody replied within {} s.", within.as_secs_f64());
                frames::error(Some(&self.id), &LiveFault::new(ProblemKind::ReplyTimeout, told), clock::now())
            }
        };
        let _ = self.subscriber.outbox.push(frame);
    }

    async fn replied(&self) -> Result<(AgentId, Box<RawValue>), LiveFault> {
        let mut question = self.channels.0.asking.ask(&self.tenant.hub.tenant);
        let is_certain = match &self.whom {
            Whom::Agent(agent) => self.to_agent(agent, &question).await?,
            Whom::Subject(subject) => self.to_subject(subject, &question)?,
        };
        if !is_certain {
            // Other nodes say when they have somebody; a reply may come before that word.
            let first = tokio::time::timeout(NOBODY_AFTER, question.heard()).await;
            match first {
                Ok(Heard::Reply { from, payload }) => return Ok((from, payload)),
                Ok(_) => {}
                Err(_) => return Err(nobody()),
            }
        }
        loop {
            if let Heard::Reply { from, payload } = question.heard().await {
                return Ok((from, payload));
            }
        }
    }

    fn frame(&self, subject: Option<&str>, question: &Question) -> crate::transport::outbox::Frame {
        let reply_to = self.channels.0.asking.reply_to(question.number);
        let from = &self.subscriber.agent;
        frames::request(&self.id, subject, from, &self.payload, &reply_to, clock::now())
    }

    async fn to_agent(&self, agent: &AgentId, question: &Question) -> Result<bool, LiveFault> {
        let tenant = &self.tenant.hub.tenant;
        let frame = self.frame(None, question);
        let given = self.channels.0.connections.push((tenant, agent), frame, HAND_OVER_WITHIN).await;
        match given {
            Delivered::Had | Delivered::TimedOut => Ok(true),
            Delivered::NotConnected => {
                if self.channels.0.store.agent(tenant, agent).await?.is_none() {
                    return Err(signalbox_core::Rejected::UnknownAgent(agent.to_string()).into());
                }
                let told = format!(
                    "Agent {agent} holds no connection, over which requests go; ask it again when it is connected."
                );
                Err(LiveFault::new(ProblemKind::NoResponders, told))
            }
            Delivered::Busy | Delivered::Lost => {
                let told = format!("Agent {agent} takes nothing now; send it again later.");
                Err(LiveFault::new(ProblemKind::NoResponders, told))
            }
            Delivered::Unavailable(reason) => {
                tracing::debug!(reason, %agent, "the node that holds an agent's connection cannot be asked");
                let told = format!(
                    "The node that may hold the connection of agent {agent} cannot be asked now; send it a message, \
                     which waits for it."
                );
                Err(LiveFault::new(ProblemKind::BusUnavailable, told))
            }
        }
    }

    fn to_subject(&self, subject: &str, question: &Question) -> Result<bool, LiveFault> {
        let frame = self.frame(Some(subject), question);
        let hub = &self.tenant.hub;
        let here = hub.deliver(subject, &frame);
        let inner = &self.channels.0;
        if inner.bus.reaches_other_nodes() {
            let told = Told::Request {
                from: inner.node.clone(),
                number: question.number,
                subject: subject.to_owned(),
            };
            let asked = self.channels.tell(&Subject::subscribers(&hub.tenant), &told, Some(&frame));
            if here == 0 {
                asked?;
            }
            return Ok(here > 0);
        }
        if here > 0 { Ok(true) } else { Err(nobody()) }
    }
}

fn nobody() -> LiveFault {
    LiveFault::new(
        ProblemKind::NoResponders,
        "Nobody is subscribed to the subject; repeat it when somebody is.",
    )
}

fn check(payload: &RawValue) -> Result<(), LiveFault> {
    let bytes = payload.get().len();
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let told = format!("The payload has {bytes} bytes; {PAYLOAD_BYTES_MAX} are the most.");
    Err(LiveFault::new(ProblemKind::TooLarge, told))
}

/// Hands over the reply of an agent to whoever asked.
pub(super) fn reply(
    channels: &Channels,
    tenant: &TenantId,
    from: &AgentId,
    reply: ReplyData,
) -> Result<(), LiveFault> {
    let ReplyData { reply_to, payload } = reply;
    check(&payload)?;
    let unknown = || LiveFault::invalid("/reply_to", "is no request that still waits for a reply");
    let (node, number) = Asking::parse(&reply_to).ok_or_else(unknown)?;
    let heard = Heard::Reply { from: from.clone(), payload };
    if channels.0.asking.is_here(&node) {
        return if channels.0.asking.answer(tenant, number, heard) { Ok(()) } else { Err(unknown()) };
    }
    if !channels.0.bus.reaches_other_nodes() {
        return Err(unknown());
    }
    network::send(channels, &node, &Answer { tenant: tenant.clone(), number, heard });
    Ok(())
}
