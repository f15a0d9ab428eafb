//! What Python asks of an agent at work. Orders are carried out beside each other; to stop waits for none of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use signalbox_client::agent::Running;
use tokio::sync::{RwLock, watch};

use crate::answer::Answer;

/// Something that is asked of an agent at work.
pub(crate) enum Order {
    Publish { subject: String, payload: Value },
    Send { agent_id: String, message_type: String, payload: Value },
    Ask { agent_id: String, payload: Value, timeout: Duration },
}

/// The agent at work, once there is one and until it is stopped.
#[derive(Clone)]
pub(crate) struct AtWork(Arc<Parts>);

struct Parts {
    running: RwLock<Option<Running>>,
    stopping: watch::Sender<bool>,
}

impl AtWork {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Parts { running: RwLock::new(None), stopping: watch::Sender::new(false) }))
    }

    pub(crate) async fn begin(&self, running: Running) {
        *self.0.running.write().await = Some(running);
    }

    /// Carries out an order, unless the agent stops meanwhile.
    pub(crate) async fn carry_out(&self, order: Order) -> Answer {
        let mut stopping = self.0.stopping.subscribe();
        let running = self.0.running.read().await;
        let Some(running) = &*running else {
            return Answer::unusable("the agent is not running; start it first");
        };
        tokio::select! {
            answer = do_it(running, order) => answer,
            _ = stopping.wait_for(|stop| *stop) => Answer::unusable("the agent stops"),
        }
    }

    /// Takes no more work and waits for what it has, at most for `grace`.
    pub(crate) async fn stop(&self, grace: Duration) -> Answer {
        self.0.stopping.send_replace(true);
        let running = self.0.running.write().await.take();
        match running {
            Some(running) => value(&json!({ "finished": running.stop(grace).await })),
            None => Answer::unusable("the agent is not running; start it first"),
        }
    }
}

async fn do_it(running: &Running, order: Order) -> Answer {
    match order {
        Order::Publish { subject, payload } => {
            let published = running.publish(&subject, payload).await;
            published.map_or_else(Answer::from, |sequence| value(&json!({ "sequence": sequence })))
        }
        Order::Send { agent_id, message_type, payload } => {
            let sent = running.send(&agent_id, &message_type, payload).await;
            sent.map_or_else(Answer::from, |id| value(&Value::from(id)))
        }
        Order::Ask { agent_id, payload, timeout } => {
            let asked = running.request(&agent_id, payload, timeout).await;
            asked.map_or_else(Answer::from, |answer| value(&answer))
        }
    }
}

fn value(value: &Value) -> Answer {
    Answer::ok(value.to_string())
}
