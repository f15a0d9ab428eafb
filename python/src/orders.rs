//! What Python asks of an agent at work. Orders are carried out beside each other, also while the agent stops: the handlers
//! that it waits for go on telling and asking others.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use signalbox_client::agent::{Line, Running};
use tokio::sync::watch;

use crate::answer::Answer;

/// Something that is asked of an agent at work.
pub(crate) enum Order {
    Publish { subject: String, payload: Value },
    Send { agent_id: String, message_type: String, payload: Value },
    Ask { agent_id: String, payload: Value, timeout: Duration },
}

/// The agent at work, once there is one and until it has stopped.
#[derive(Clone)]
pub(crate) struct AtWork(Arc<Parts>);

struct Parts {
    /// Until it begins to stop.
    running: Mutex<Option<Running>>,
    /// Until it has stopped.
    line: Mutex<Option<Line>>,
    has_stopped: watch::Sender<bool>,
}

impl AtWork {
    pub(crate) fn new() -> Self {
        let (running, line) = (Mutex::new(None), Mutex::new(None));
        Self(Arc::new(Parts { running, line, has_stopped: watch::Sender::new(false) }))
    }

    pub(crate) fn begin(&self, running: Running) {
        *self.0.line.lock() = Some(running.line());
        *self.0.running.lock() = Some(running);
    }

    /// Carries out an order, unless the agent has stopped before that.
    pub(crate) async fn carry_out(&self, order: Order) -> Answer {
        let mut has_stopped = self.0.has_stopped.subscribe();
        let line = self.0.line.lock().clone();
        let Some(line) = line else {
            return Answer::unusable("the agent is not running; start it first");
        };
        tokio::select! {
            answer = do_it(&line, order) => answer,
            _ = has_stopped.wait_for(|stopped| *stopped) => Answer::unusable("the agent has stopped"),
        }
    }

    /// Takes no more work and waits for what it has, at most for `grace`.
    pub(crate) async fn stop(&self, grace: Duration) -> Answer {
        let running = self.0.running.lock().take();
        let Some(running) = running else {
            return Answer::unusable("the agent is not running; start it first");
        };
        let finished = running.stop(grace).await;
        self.0.line.lock().take();
        self.0.has_stopped.send_replace(true);
        value(&json!({ "finished": finished }))
    }
}

async fn do_it(line: &Line, order: Order) -> Answer {
    match order {
        Order::Publish { subject, payload } => {
            let published = line.publish(&subject, payload).await;
            published.map_or_else(Answer::from, |sequence| value(&json!({ "sequence": sequence })))
        }
        Order::Send { agent_id, message_type, payload } => {
            let sent = line.send(&agent_id, &message_type, payload).await;
            sent.map_or_else(Answer::from, |id| value(&Value::from(id)))
        }
        Order::Ask { agent_id, payload, timeout } => {
            let asked = line.request(&agent_id, payload, timeout).await;
            asked.map_or_else(Answer::from, |answer| value(&answer))
        }
    }
}

fn value(value: &Value) -> Answer {
    Answer::ok(value.to_string())
}
