//! The bus inside one process. A subject without subscribers costs nothing and is not remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::subscription::Queue;
use crate::{Backend, Buffer, BusError, Message, Pattern, Reply, Subject, Subscription};

/// The bus inside one process.
#[derive(Default)]
pub(crate) struct Local(Arc<Shared>);

#[derive(Default)]
struct Shared {
    routes: RwLock<Routes>,
    /// How many subscriptions there are, readable without the lock.
    count: AtomicUsize,
    next_id: AtomicU64,
}

/// Who gets what.
#[derive(Default)]
struct Routes {
    exact: HashMap<Arc<str>, Vec<Route>>,
    /// Those with wildcards, by what their subjects begin with: see [`scope`].
    wild: HashMap<Arc<str>, Vec<(Pattern, Route)>>,
}

struct Route {
    id: u64,
    queue: Arc<Queue>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("subscriptions", &self.0.count).finish()
    }
}

impl Local {
    /// Gives a message to all who are subscribed to its subject; says whether there was anybody.
    fn deliver(&self, message: &Message) -> bool {
        let routes = self.0.routes.read();
        let mut is_heard = false;
        for route in routes.exact.get(message.subject.as_str()).into_iter().flatten() {
            route.queue.push(message.clone());
            is_heard = true;
        }
        for (pattern, route) in routes.wild.get(scope(message.subject.as_str())).into_iter().flatten() {
            if pattern.matches(&message.subject) {
                route.queue.push(message.clone());
                is_heard = true;
            }
        }
        is_heard
    }
}

#[async_trait]
impl Backend for Local {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn outage(&self) -> Option<String> {
        None
    }

    fn may_have_subscribers(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    fn reaches_other_nodes(&self) -> bool {
        false
    }

    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        if self.may_have_subscribers() {
            self.deliver(&Message { subject: subject.clone(), payload, reply: None });
        }
        Ok(())
    }

    async fn subscribe(&self, pattern: &Pattern, buffer: Buffer) -> Result<Subscription, BusError> {
        let queue = Queue::new(buffer);
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let route = Route { id, queue: Arc::clone(&queue) };
        {
            let mut routes = self.0.routes.write();
            if pattern.has_wildcards() {
                routes
                    .wild
                    .entry(Arc::from(scope(pattern.as_str())))
                    .or_default()
                    .push((pattern.clone(), route));
            } else {
                routes.exact.entry(Arc::from(pattern.as_str())).or_default().push(route);
            }
            self.0.count.fetch_add(1, Ordering::Relaxed);
        }
        let (shared, pattern) = (Arc::clone(&self.0), pattern.clone());
        Ok(Subscription::new(queue, move || shared.unsubscribe(&pattern, id)))
    }

    async fn request(&self, subject: &Subject, payload: Bytes, within: Duration) -> Result<Bytes, BusError> {
        // The first reply takes the only room; this end stays open, so that the wait ends by a reply or by its time.
        let (sender, mut receiver) = mpsc::channel(1);
        let back = sender.clone();
        let reply = Reply::new(move |payload| drop(back.try_send(payload)));
        if !self.deliver(&Message { subject: subject.clone(), payload, reply: Some(reply) }) {
            return Err(BusError::NoResponders(subject.clone()));
        }
        let timed_out = || BusError::TimedOut { subject: subject.clone(), within };
        let replied = tokio::time::timeout(within, receiver.recv()).await.map_err(|_| timed_out())?;
        drop(sender);
        replied.ok_or_else(timed_out)
    }
}

impl Shared {
    fn unsubscribe(&self, pattern: &Pattern, id: u64) {
        let mut routes = self.routes.write();
        if pattern.has_wildcards() {
            let scope = scope(pattern.as_str());
            if let Some(listed) = routes.wild.get_mut(scope) {
                listed.retain(|(_, route)| route.id != id);
                if listed.is_empty() {
                    routes.wild.remove(scope);
                }
            }
        } else if let Some(listed) = routes.exact.get_mut(pattern.as_str()) {
            listed.retain(|route| route.id != id);
            if listed.is_empty() {
                routes.exact.remove(pattern.as_str());
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first two tokens of a subject, which no pattern has a wildcard in: a message is held against the patterns of
/// its own tenant only.
fn scope(subject: &str) -> &str {
    let end = subject.match_indices('.').nth(1).map_or(subject.len(), |(at, _)| at);
    subject.get(..end).unwrap_or(subject)
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::TenantId;

    use super::*;

    #[tokio::test]
    async fn what_nobody_is_subscribed_to_is_forgotten() {
        let bus = Local::default();
        let tenant = TenantId::default_tenant();
        let one =
            bus.subscribe(&Pattern::exactly(&Subject::log(&tenant)), Buffer::Newest).await.expect("local");
        let all = Pattern::channels(&tenant, ">").expect("a pattern");
        let two = bus.subscribe(&all, Buffer::Newest).await.expect("local");
        assert!(bus.may_have_subscribers());
        drop((one, two));
        assert!(!bus.may_have_subscribers());
        let routes = bus.0.routes.read();
        assert!(routes.exact.is_empty() && routes.wild.is_empty());
    }
}
