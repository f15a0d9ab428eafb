//! The bus over NATS, for several nodes.
//!
//! Everything here may be called while NATS is away. [`Link`] knows whether it is there; [`Outgoing`] holds what is to be
//! sent, within bounds; [`Replies`] hands replies to the requests that wait for them; [`Feeds`] are the patterns that are
//! read here, each filled by a task.

mod feeds;
mod link;
mod outgoing;
mod replies;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ClientError, ConnectOptions, Event, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{SetOnce, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::feeds::{Feed, Feeds};
use self::link::Link;
use self::outgoing::{Outgoing, Parcel};
use self::replies::Replies;
use crate::address::{Login, NatsAddress};
use crate::subject::is_plain;
use crate::subscription::Queue;
use crate::{Backend, BadPrefix, Buffer, BusError, Message, Pattern, Reply, Subject, Subscription};

/// The first wait before NATS is looked for again; it doubles.
const WAIT_INITIAL: Duration = Duration::from_millis(50);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often NATS is asked whether it is still there, while it sends nothing. It is given up after two without an answer.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long NATS may take to take a subscription.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
/// Messages that the client library may hold on their way to the socket.
const CLIENT_MESSAGES_MAX: usize = 256;
/// Messages of one subscription between the socket and its queue, which takes them at once.
const ARRIVING_MAX: usize = 4_096;
/// News of the connection that may wait.
const EVENTS_MAX: usize = 64;

/// What a bus between nodes needs to know besides its address.
#[derive(Debug, Clone)]
pub struct Options {
    /// What all subjects on a shared NATS begin with. Only nodes with the same one see each other's messages.
    pub prefix: Prefix,
    /// What this node is called where people look at a NATS server's connections.
    pub name: String,
    /// Randomness that spreads the attempts of several nodes to connect.
    pub seed: u64,
}

/// What all subjects begin with: one or more tokens of letters, digits, `_` and `-`, with dots between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Bytes, at most.
    const BYTES_MAX: usize = 100;

    /// Reads a prefix.
    ///
    /// # Errors
    /// [`BadPrefix`] when it is none.
    pub fn parse(text: &str) -> Result<Self, BadPrefix> {
        if is_plain(text) && text.len() <= Self::BYTES_MAX {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadPrefix)
        }
    }

    fn before(&self, subject: &str) -> String {
        format!("{}.{subject}", self.0)
    }

    fn strip<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&*self.0)?.strip_prefix('.')
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bus over NATS.
pub(crate) struct Nats {
    shared: Arc<Shared>,
    tasks: AbortHandle,
}

/// What the tasks of the bus work with.
struct Shared {
    prefix: Prefix,
    link: Link,
    outgoing: Outgoing,
    replies: Replies,
    feeds: Feeds,
    /// Opened by the first task, which waits for nothing: the library looks for its servers by itself.
    client: SetOnce<Client>,
}

impl Nats {
    /// Begins to look for NATS.
    pub(crate) fn start(address: &NatsAddress, options: Options) -> Self {
        let (outgoing, parcels) = Outgoing::new();
        let shared = Arc::new(Shared {
            link: Link::new(address.to_string()),
            outgoing,
            replies: Replies::new(),
            feeds: Feeds::default(),
            client: SetOnce::new(),
            prefix: options.prefix.clone(),
        });
        let running = run(Arc::clone(&shared), address.clone(), options, parcels);
        Self { tasks: tokio::spawn(running).abort_handle(), shared }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("prefix", &self.shared.prefix).field("outage", &self.outage()).finish()
    }
}

#[async_trait]
impl Backend for Nats {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn reaches_other_nodes(&self) -> bool {
        true
    }

    fn outage(&self) -> Option<String> {
        self.shared.link.outage()
    }

    fn may_have_subscribers(&self) -> bool {
        self.shared.link.is_up()
    }

    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.shared.send(Parcel {
            subject: self.shared.prefix.before(subject.as_str()),
            reply: None,
            payload,
            until: None,
        })
    }

    async fn subscribe(&self, pattern: &Pattern, buffer: Buffer) -> Result<Subscription, BusError> {
        let (shared, queue) = (Arc::clone(&self.shared), Queue::new(buffer));
        let open = |feed| tokio::spawn(fill(Arc::clone(&shared), pattern.clone(), feed)).abort_handle();
        let (feed, reader) = shared.feeds.add(pattern, &queue, open);
        let pattern = pattern.clone();
        let subscription = Subscription::new(queue, move || shared.feeds.remove(&pattern, reader));
        // While NATS is away the subscription begins when it is back, and says so.
        tokio::select! {
            () = feed.is_taken() => {}
            () = self.shared.link.down() => {}
            () = tokio::time::sleep(CONFIRM_WITHIN) => {}
        }
        Ok(subscription)
    }

    async fn request(&self, subject: &Subject, payload: Bytes, within: Duration) -> Result<Bytes, BusError> {
        let shared = &self.shared;
        let pending = shared.replies.expect_one()?;
        let reply = shared.inbox(pending.id());
        shared.send(Parcel {
            subject: shared.prefix.before(subject.as_str()),
            reply: Some(reply),
            payload,
            until: Some(Instant::now() + within),
        })?;
        match tokio::time::timeout(within, pending.reply()).await {
            Err(_) => Err(BusError::TimedOut { subject: subject.clone(), within }),
            Ok(Err(lost)) => Err(lost),
            Ok(Ok(None)) => Err(BusError::NoResponders(subject.clone())),
            Ok(Ok(Some(payload))) => Ok(payload),
        }
    }
}

impl Shared {
    /// Takes a message for NATS, where there is one and room.
    fn send(&self, parcel: Parcel) -> Result<(), BusError> {
        if let Some(why) = self.link.outage() {
            return Err(BusError::Unavailable(why));
        }
        self.outgoing.push(parcel)
    }

    /// Where the reply to one request goes.
    fn inbox(&self, id: impl fmt::Display) -> String {
        self.prefix.before(&format!("inbox.{}.{id}", self.replies.name()))
    }

    /// Waits until NATS has taken all that it was told before. It says at once that nobody is subscribed to a subject that
    /// nobody can be subscribed to, and does so in the order in which it is told.
    async fn round_trip(&self, client: &Client) -> Result<(), BusError> {
        let pending = self.replies.expect_one()?;
        let nobody = self.prefix.before("nobody");
        let sent = client.publish_with_reply(nobody, self.inbox(pending.id()), Bytes::new()).await;
        sent.map_err(|error| BusError::Unavailable(error.to_string()))?;
        let answered = tokio::time::timeout(CONFIRM_WITHIN, pending.reply()).await;
        answered
            .map_err(|_| {
                let silent =
                    "the server does not answer; may this user publish and subscribe below the prefix?";
                BusError::Unavailable(silent.to_owned())
            })?
            .map(drop)
    }
}

/// Opens the client, and does all that goes on while there is a bus.
async fn run(
    shared: Arc<Shared>,
    address: NatsAddress,
    options: Options,
    mut parcels: mpsc::Receiver<Parcel>,
) {
    let (told, mut events) = mpsc::channel(EVENTS_MAX);
    let client = match open(&address, &options, told).await {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the bus cannot be opened; restart with another address");
            return shared.link.broke(error.to_string());
        }
    };
    shared.replies.named(client.new_inbox().replace('.', "-"));
    // Before anything that is replied to.
    let mut replies = match client.subscribe(shared.inbox("*")).await {
        Ok(replies) => replies,
        Err(error) => return shared.link.broke(error.to_string()),
    };
    let _ = shared.client.set(client.clone());
    let sending = async {
        while let Some(parcel) = parcels.recv().await {
            shared.outgoing.send(&client, parcel).await;
        }
    };
    let watching = async {
        while let Some(event) = events.recv().await {
            took_place(&shared, &client, event);
        }
    };
    let replying = async {
        while let Some(reply) = replies.next().await {
            shared.replies.take(reply);
        }
    };
    tokio::join!(sending, watching, replying);
}

async fn open(
    address: &NatsAddress,
    options: &Options,
    told: mpsc::Sender<Event>,
) -> Result<Client, async_nats::ConnectError> {
    let seed = options.seed;
    let mut connecting = ConnectOptions::new()
        .name(&options.name)
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_WITHIN)
        .ping_interval(PING_INTERVAL)
        .client_capacity(CLIENT_MESSAGES_MAX)
        .subscription_capacity(ARRIVING_MAX)
        .reconnect_delay_callback(move |attempt| wait_before(attempt, seed))
        .event_callback(move |event| {
            let told = told.clone();
            async move { drop(told.send(event).await) }
        });
    connecting = match &address.login {
        None => connecting,
        Some(Login::User(user, password)) => {
            connecting.user_and_password(user.expose().to_owned(), password.expose().to_owned())
        }
        Some(Login::Token(token)) => connecting.token(token.expose().to_owned()),
    };
    let servers = address.servers.iter().cloned().map(ServerAddr::from_url);
    connecting.connect(servers.collect::<Result<Vec<_>, _>>()?).await
}

/// What the client tells of its connection.
fn took_place(shared: &Arc<Shared>, client: &Client, event: Event) {
    match event {
        Event::Connected => {
            let (shared, client) = (Arc::clone(shared), client.clone());
            let attempt = shared.link.comes();
            // The library has subscribed anew by itself; whoever is told of a gap now misses nothing after it.
            tokio::spawn(async move {
                while shared.link.is_current(attempt) {
                    match shared.round_trip(&client).await {
                        Ok(()) => {
                            shared.link.came(attempt);
                            return shared.feeds.gap();
                        }
                        Err(error) => shared.link.refused(attempt, &error),
                    }
                    tokio::time::sleep(WAIT_MAX).await;
                }
            });
        }
        Event::Disconnected | Event::Closed => {
            shared.link.went();
            shared.feeds.cut();
            shared.replies.fail_all();
        }
        Event::SlowConsumer(_) => shared.feeds.gap(),
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server complains"),
        Event::ClientError(ClientError::Other(error)) => shared.link.failed(&error),
        Event::ClientError(error) => shared.link.failed(&error.to_string()),
        Event::LameDuckMode | Event::Draining => {}
    }
}

/// Fills the feed of one pattern until nobody reads it any more.
async fn fill(shared: Arc<Shared>, pattern: Pattern, feed: Arc<Feed>) {
    let client = shared.client.wait().await;
    let mut arriving = match client.subscribe(shared.prefix.before(pattern.as_str())).await {
        Ok(arriving) => arriving,
        Err(error) => return tracing::warn!(%error, %pattern, "a subscription was not taken"),
    };
    let confirming = async {
        loop {
            shared.link.up().await;
            match shared.round_trip(client).await {
                Ok(()) => break feed.taken(),
                Err(_) => tokio::time::sleep(WAIT_INITIAL).await,
            }
        }
        std::future::pending::<()>().await;
    };
    let filling = async {
        while let Some(message) = arriving.next().await {
            if let Some(message) = received(&shared, message) {
                feed.push(message);
            }
        }
    };
    tokio::select! {
        () = filling => {}
        () = confirming => {}
    }
}

fn received(shared: &Arc<Shared>, message: async_nats::Message) -> Option<Message> {
    let subject = Subject::of_bus(shared.prefix.strip(message.subject.as_str())?);
    let reply = message.reply.map(|back| {
        let shared = Arc::clone(shared);
        Reply::new(move |payload| {
            let parcel = Parcel { subject: back.to_string(), reply: None, payload, until: None };
            if let Err(error) = shared.send(parcel) {
                tracing::debug!(%error, "a reply was not sent; who waits for it will see that it does not come");
            }
        })
    });
    Some(Message { subject, payload: message.payload, reply })
}

/// How long to wait before the next attempt to connect: twice as long each time, up to a bound, and up to half of it less
/// by chance, so that nodes that have lost the same server do not all come back at once.
fn wait_before(attempt: usize, seed: u64) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = WAIT_INITIAL.saturating_mul(1 << doublings).min(WAIT_MAX);
    let chance = mixed(seed ^ attempt as u64) % 1_000;
    wait / 2 + wait.mul_f64(chance as f64 / 2_000.0)
}

/// A number in which every bit depends on every bit of `seed`: the finalizer of SplitMix64.
fn mixed(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_an_attempt_grows_to_a_bound_and_differs_between_nodes() {
        for attempt in 1..100 {
            for seed in 0..20 {
                let full = WAIT_INITIAL * 2_u32.pow(u32::try_from(attempt - 1).unwrap().min(10));
                let wait = wait_before(attempt, seed);
                assert!(wait >= full.min(WAIT_MAX) / 2 && wait <= full.min(WAIT_MAX), "{attempt} {wait:?}");
            }
        }
        let waits: std::collections::HashSet<_> = (0..20).map(|seed| wait_before(5, seed)).collect();
        assert!(waits.len() > 10, "{waits:?}");
        assert!(wait_before(usize::MAX, 0) <= WAIT_MAX);
    }

    #[test]
    fn a_prefix_is_plain_tokens() {
        for good in ["signalbox", "a.b-c.D_1"] {
            assert_eq!(Prefix::parse(good).map(|prefix| prefix.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "a.", "a b", "a.*", ">", "%41", &"x".repeat(101)] {
            assert_eq!(Prefix::parse(bad), Err(BadPrefix), "{bad}");
        }
    }
}
