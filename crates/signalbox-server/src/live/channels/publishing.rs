//! What a connection publishes to durable channels: in the order in which it was sent, several at once in one commit,
//! and each acknowledged once it is durable.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use signalbox_core::engine::{NewChannelMessage, PublishToChannel};
use signalbox_wire::id::{ChannelId, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::fault::LiveFault;
use super::frames;
use super::shared::{Channels, Tenant};
use super::subscriber::Subscriber;
use crate::clock;
use crate::transport::burst::BurstWriter;

/// Messages of one connection that wait to be committed, at most; then it is read on when there is room.
const WAITING_MAX: usize = 256;
/// Bytes of their payloads, at most.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Messages that go into one commit, at most.
const AT_ONCE_MAX: usize = 128;

/// A message to publish.
pub(super) struct Queued {
    pub(super) channel: ChannelId,
    pub(super) message: NewChannelMessage,
}

/// The messages of one connection on their way to the store. Nothing is there before the first: most agents only listen.
#[derive(Default)]
pub(super) struct Lane(OnceLock<Begun>);

/// A lane that has begun.
struct Begun {
    sender: mpsc::Sender<(Queued, OwnedSemaphorePermit)>,
    bytes: Arc<Semaphore>,
}

/// What sends messages on.
struct Worker {
    channels: Channels,
    tenant: TenantId,
    subscriber: Arc<Subscriber>,
    queue: mpsc::Receiver<(Queued, OwnedSemaphorePermit)>,
}

impl Lane {
    /// Adds a message of a subscriber, once there is room for it.
    pub(super) async fn put(
        &self,
        (channels, tenant, subscriber): (&Channels, &Tenant, &Arc<Subscriber>),
        queued: Queued,
    ) {
        let Begun { sender, bytes } = self.0.get_or_init(|| {
            let (sender, queue) = mpsc::channel(WAITING_MAX);
            let (channels, tenant, subscriber) =
                (channels.clone(), tenant.hub.tenant.clone(), Arc::clone(subscriber));
            tokio::spawn(Worker { channels, tenant, subscriber, queue }.run());
            Begun { sender, bytes: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) }
        });
        let size = u32::try_from(queued.message.payload.get().len().clamp(1, WAITING_BYTES_MAX)).unwrap_or(1);
        // Neither is closed while this is there.
        let Ok(permit) = Arc::clone(bytes).acquire_many_owned(size).await else { return };
        let _ = sender.send((queued, permit)).await;
    }
}

impl Worker {
    /// Publishes until the connection is gone and nothing of it waits.
    async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match self.queue.recv().await {
                    Some(first) => waiting.push_back(first),
                    None => return,
                }
            }
            while waiting.len() < AT_ONCE_MAX
                && let Ok(next) = self.queue.try_recv()
            {
                waiting.push_back(next);
            }
            let Some(channel) = waiting.front().map(|(first, _)| first.channel.clone()) else { continue };
            let mut messages = Vec::new();
            let mut permits = Vec::new();
            while let Some((queued, permit)) = waiting.pop_front_if(|(next, _)| next.channel == channel) {
                messages.push(queued.message);
                permits.push(permit);
            }
            self.publish(channel, messages).await;
            drop(permits);
        }
    }

    async fn publish(&self, channel: ChannelId, messages: Vec<NewChannelMessage>) {
        let ids: Vec<Option<String>> =
            messages.iter().map(|message| message.id.as_ref().map(ToString::to_string)).collect();
        let from = Some(self.subscriber.agent.clone());
        let operation = PublishToChannel { channel, from, messages };
        match self.channels.publish(&self.tenant, operation).await {
            Ok(outcomes) => {
                let (mut acks, now) = (BurstWriter::default(), clock::now());
                let (frames_max, bytes_max) = self.subscriber.outbox.burst_max();
                for (id, outcome) in ids.into_iter().zip(outcomes) {
                    match outcome {
                        Ok(published) => {
                            let message = &published.message;
                            let sequence = (message.sequence > 0).then_some(message.sequence);
                            let message_id = id.as_deref().unwrap_or(message.id.as_str());
                            frames::put_ack(&mut acks, message_id, sequence, now);
                            if acks.frames() >= frames_max || acks.bytes() >= bytes_max {
                                self.acknowledge(&mut acks);
                            }
                        }
                        Err(rejected) => {
                            self.acknowledge(&mut acks);
                            self.refuse(id.as_deref(), &rejected.into());
                        }
                    }
                }
                self.acknowledge(&mut acks);
            }
            Err(error) => {
                let fault = LiveFault::from(error);
                ids.iter().for_each(|id| self.refuse(id.as_deref(), &fault));
            }
        }
    }

    fn acknowledge(&self, acks: &mut BurstWriter) {
        if let Some(acks) = acks.take() {
            let _ = self.subscriber.outbox.push_burst(acks);
        }
    }

    fn refuse(&self, id: Option<&str>, fault: &LiveFault) {
        let _ = self.subscriber.outbox.push(frames::error(id, fault, clock::now()));
    }
}
