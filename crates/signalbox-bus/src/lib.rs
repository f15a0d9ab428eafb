//! What is passed on live: who listens to a subject hears at once that something happened there.
//!
//! Nothing on the bus is a truth: whatever must not be lost is in the store, and a listener that missed a
//! word reads it there. Subjects begin with the tenant.

mod local;

use std::sync::Arc;

pub use local::{Local, Subscription};

/// Why a bus could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The address names no bus that exists here.
    #[error("'{0}' is no bus this build knows; use 'local'")]
    Unknown(String),
}

/// The bus of a server process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus(Arc<Local>);

impl Bus {
    /// Opens the bus at `url`; `local` is the one inside this process.
    ///
    /// # Errors
    /// [`BusError::Unknown`] when there is no such bus.
    pub fn open(url: &str) -> Result<Self, BusError> {
        match url {
            "local" => Ok(Self(Arc::new(Local::default()))),
            other => Err(BusError::Unknown(other.to_owned())),
        }
    }

    /// Tells whoever listens to a subject that it has come to `sequence`. Costs next to nothing when nobody
    /// listens to anything (the subject is not even named then), and never waits for a listener.
    pub fn publish(&self, subject: impl FnOnce() -> String, sequence: u64) {
        if self.0.has_listeners() {
            self.0.publish(&subject(), sequence);
        }
    }

    /// Listens to `subject`.
    #[must_use]
    pub fn subscribe(&self, subject: &str) -> Subscription {
        Local::subscribe(&self.0, subject)
    }
}
