//! What all connections share: what they are made from, and what they tell of themselves.

use std::sync::Arc;

use super::credentials::Credentials;
use super::parts::Parts;
use super::pulse::Pulses;

/// The parts, and what connections tell of themselves; cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// By which keys agents came.
    credentials: Credentials,
    /// Heartbeats that are not written yet.
    pulses: Pulses,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, credentials: Credentials::default(), pulses: Pulses::default() }))
    }

    /// By which keys agents came.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Heartbeats that are not written yet.
    pub(super) fn pulses(&self) -> &Pulses {
        &self.0.pulses
    }
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}
