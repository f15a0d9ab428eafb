//! What Python asks of an agent at work: it is carried out beside the agent by a task of its own, which also sees the
//! agent's end.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use signalbox_client::agent::Running;
use tokio::sync::{mpsc, oneshot};

use crate::agent::{sequence, value};
use crate::answer::Answer;

/// Orders that may wait; whoever gives the next one waits too.
const ORDERS_MAX: usize = 256;

/// Something that is asked of an agent at work.
pub(crate) enum Order {
    Publish { subject: String, payload: Value, answer: oneshot::Sender<Answer> },
    Send { agent_id: String, message_type: String, payload: Value, answer: oneshot::Sender<Answer> },
    Request { agent_id: String, payload: Value, timeout: Duration, answer: oneshot::Sender<Answer> },
    Stop { grace: Duration, answer: oneshot::Sender<Answer> },
}

/// The way to the agent at work, once there is one.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<Mutex<Option<mpsc::Sender<Order>>>>);

impl Orders {
    /// Gives an order; where no agent is at work, it is dropped, which whoever waits for its answer sees.
    pub(crate) async fn give(&self, order: Order) {
        let sender = self.0.lock().clone();
        if let Some(sender) = sender {
            drop(sender.send(order).await);
        }
    }

    /// Carries out orders until the agent ends or is told to stop, and tells that then.
    pub(crate) fn carry_out(&self, mut running: Running, ended: impl FnOnce() + Send + 'static) {
        let (sender, mut orders) = mpsc::channel(ORDERS_MAX);
        *self.0.lock() = Some(sender);
        tokio::spawn(async move {
            loop {
                let order = tokio::select! {
                    order = orders.recv() => order,
                    () = running.ended() => break,
                };
                match order {
                    None => break,
                    Some(Order::Stop { grace, answer }) => {
                        let finished = running.stop(grace).await;
                        drop(answer.send(Answer::ok(json!({ "finished": finished }).to_string())));
                        break;
                    }
                    Some(order) => do_now(&running, order).await,
                }
            }
            ended();
        });
    }
}

async fn do_now(running: &Running, order: Order) {
    match order {
        Order::Publish { subject, payload, answer } => {
            let published = running.publish(&subject, payload).await;
            drop(answer.send(published.map_or_else(Answer::from, sequence)));
        }
        Order::Send { agent_id, message_type, payload, answer } => {
            let sent = running.send(&agent_id, &message_type, payload).await;
            drop(answer.send(sent.map_or_else(Answer::from, |id| value(&Value::from(id)))));
        }
        Order::Request { agent_id, payload, timeout, answer } => {
            let asked = running.request(&agent_id, payload, timeout).await;
            drop(answer.send(asked.map_or_else(Answer::from, |result| value(&result))));
        }
        Order::Stop { .. } => {}
    }
}
