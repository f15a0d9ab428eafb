//! An agent's connection: opened, kept alive, made again by the rules on failures, and the same to the agent over all of it.
//!
//! The invariant: what an agent took is known by its id over all connections of its process; what came of a task or command
//! is sent until the server has it; subscriptions are made again after what was seen last.

mod backoff;
mod converse;
mod dial;
mod envelope;
mod link;
mod place;
mod refusal;
mod socket;
mod state;
mod subscriptions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

pub(super) use self::backoff::{Backoff, Fault};
use self::converse::End;
pub(super) use self::dial::{Acting, Dial, Dialer};
pub(super) use self::link::Link;
pub(super) use self::state::{Connection, Parts};
use super::happening::Happening;
use super::replaced::REPLACED;
use crate::edge;
use crate::error::Error;

/// Why a connection is no more, or did not come about.
struct Failed {
    /// `None` where another process has the agent now.
    fault: Option<Fault>,
    error: Error,
    reason: String,
}

impl<D: Dial> Connection<D> {
    /// Connects again and again, until told to stop or until that is of no use. `first` gets what came of the first try: an
    /// error where it was refused.
    pub(super) async fn run(mut self, first: oneshot::Sender<Result<(), Error>>) {
        self.first = Some(first);
        while let Some(failed) = self.attempt().await {
            self.cut_off();
            let Failed { fault, error, reason } = failed;
            if fault == Some(Fault::Refused) {
                self.dial.forget();
            }
            let first = self.first.take();
            // Whoever starts an agent is told at once that it is not let in.
            let is_refused = first.is_some() && fault == Some(Fault::Refused);
            let fault = fault.filter(|_| !is_refused);
            let wait = fault.as_ref().and_then(|fault| self.backoff.wait(fault, edge::fraction()));
            let Some(retry_in) = wait else {
                // Tasks and commands are another process's now, or nobody's.
                self.inbox.cancel_all();
                self.observer.tell(Happening::Ended { reason });
                if let Some(first) = first {
                    drop(first.send(Err(error)));
                }
                break;
            };
            if let Some(first) = first {
                drop(first.send(Ok(())));
            }
            if let Some(fault) = fault {
                self.tell_loss(fault, &error, reason, retry_in);
            }
            if self.meanwhile(sleep(retry_in)).await.is_none() {
                break;
            }
        }
        self.give_up();
    }

    /// Tells that there is no connection, once for each kind of reason and not for each try.
    fn tell_loss(&mut self, fault: Fault, error: &Error, reason: String, retry_in: Duration) {
        let fault = fault.without_wait();
        if self.told_loss.replace(fault.clone()) == Some(fault) {
            return;
        }
        if let Error::Unreachable { reason, .. } = error
            && !self.was_reached
        {
            self.observer.tell(Happening::NoServer { url: self.dial.url(), reason: reason.clone() });
        } else {
            self.is_lost = true;
            self.observer.tell(Happening::Disconnected { reason, retry_in });
        }
    }

    /// One connection from its opening to its end; `None` where the agent is to stop.
    async fn attempt(&mut self) -> Option<Failed> {
        let (dial, resume) = (Arc::clone(&self.dial), self.resume.clone());
        let failed = match self.meanwhile(dial.dial(resume.as_ref())).await? {
            Err(error) => Failed { fault: Some(Fault::of(&error)), reason: error.to_string(), error },
            Ok(socket) => {
                self.was_reached = true;
                match Box::pin(self.converse(socket)).await {
                    End::Stopped => return None,
                    End::Closed(code, reason) => {
                        let fault = Fault::of_close(code);
                        // The server's words do not say what to do about it.
                        let reason =
                            if fault.is_none() { format!("{REPLACED} (close code {code})") } else { reason };
                        Failed { fault, error: refusal::of_close(code, &reason), reason }
                    }
                    End::Lost(reason) => Failed { fault: Some(Fault::Lost), error: link::broken(), reason },
                }
            }
        };
        Some(failed)
    }

    /// Waits for something while there is no connection, and takes what the agent hands over, so that no handler waits for
    /// one. `None` where the agent is to stop and nothing is in hand any more, or nobody is left who could want anything.
    async fn meanwhile<T>(&mut self, awaited: impl Future<Output = T>) -> Option<T> {
        let mut awaited = std::pin::pin!(awaited);
        let (mut in_hand, mut stopping) = (self.in_hand.changes(), self.stopping.clone());
        loop {
            let is_stopping = *stopping.borrow();
            if is_stopping && self.may_stop() {
                return None;
            }
            let has_room = self.has_room();
            tokio::select! {
                biased;
                done = &mut awaited => return Some(done),
                out = self.out.recv(), if has_room => drop(self.keep(out?)),
                stop = stopping.wait_for(|stop| *stop), if !is_stopping => drop(stop.ok()?),
                _ = in_hand.changed(), if is_stopping => {}
            }
        }
    }
}
