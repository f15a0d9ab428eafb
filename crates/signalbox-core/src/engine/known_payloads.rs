//! The payloads that a decision knows, and what expressions come to that look into them.

use std::sync::Arc;

use crate::decision::Key;
use crate::expression::{Payloads, Unresolved};
use crate::payload::Payload;
use crate::steps::Steps;
use crate::{Halt, Snapshot};

/// The payloads that a decision knows: those that are kept, and those that are new with it.
pub(super) struct KnownPayloads<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) new_payloads: &'a [Arc<Payload>],
    pub(super) steps: &'a Steps,
}

impl Payloads for KnownPayloads<'_> {
    fn payload(&self, sha256: &str) -> Option<Option<&Payload>> {
        match self.new_payloads.iter().find(|payload| payload.sha256 == sha256) {
            Some(payload) => Some(Some(payload)),
            None => self.snapshot.payload(sha256).ok(),
        }
    }

    fn steps(&self) -> Option<&Steps> {
        Some(self.steps)
    }
}

/// What an expression came to, unless it needs payloads first, or takes too long here.
pub(super) fn or_need<T>(
    snapshot: &Snapshot,
    seen: Result<T, Unresolved>,
) -> Result<Result<T, Unresolved>, Halt> {
    match seen {
        Err(fault) if fault.is_long => Err(Halt::Long),
        Err(fault) if !fault.needs.is_empty() => {
            let mut names = fault.needs.clone();
            names.sort_unstable();
            names.dedup();
            snapshot.require(names.into_iter().map(Key::Payload))?;
            Ok(Err(Unresolved { needs: Vec::new(), ..fault }))
        }
        seen => Ok(seen),
    }
}

/// What may be names of payloads in a text that is JSON, found without reading it.
pub(super) fn named_in(text: &str) -> impl Iterator<Item = String> {
    const BEFORE: &str = "\"sha256\":\"";
    text.match_indices(BEFORE).filter_map(|(at, _)| {
        let from = at + BEFORE.len();
        text.get(from..from + 64).map(str::to_owned)
    })
}
