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
mod state;
mod subscriptions;

#[cfg(test)]
mod tests;

use tokio::sync::oneshot;
use tokio::time::sleep;

use self::backoff::Fault;
use self::converse::End;
pub(super) use self::dial::{Acting, Dial, Dialer};
pub(super) use self::link::Link;
pub(super) use self::state::{Connection, Parts};
use super::happening::Happening;
use crate::edge;
use crate::error::Error;

impl<D: Dial> Connection<D> {
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
}
