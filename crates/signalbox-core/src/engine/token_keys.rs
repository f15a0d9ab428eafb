//! The keys that tokens are signed with: made at first use, replaced when they have been in use long enough.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::operation::Operation;
use crate::decision::Row;
use crate::event::{Level, NewEvent};
use crate::token_keys::{Seed, TokenKeys};
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// The keys are to be there, and not older than a rotation: those that are there already, or the ones given.
#[derive(Debug, Clone)]
pub struct RotateTokenKeys {
    /// What challenges are made with from now on, where there is nothing yet.
    pub challenge: Seed,
    /// What tokens are signed with from now on, where the newest key is worn.
    pub signing: Seed,
    /// How long a key is in use.
    pub rotation: Duration,
}

impl Operation for RotateTokenKeys {
    type Output = Arc<TokenKeys>;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Arc<TokenKeys>), Halt> {
        let read = snapshot.token_keys()?;
        if let Some(read) = &read
            && !read.value.is_worn(context.now, self.rotation)
        {
            return Ok((Decision::default(), Arc::clone(&read.value)));
        }
        let before = match &read {
            Some(read) => TokenKeys::clone(&read.value),
            None => TokenKeys { challenge: self.challenge, signing: Vec::new() },
        };
        let keys = Arc::new(before.rotated(self.signing, context.now));
        let data = json!({"keys": keys.signing.len()});
        let event = NewEvent::new("token_keys.rotated", Level::Info, context.now, &data);
        let mut decision = Decision { events: vec![event], ..Decision::default() };
        let version = read.as_ref().map(|read| read.version);
        decision.put(Row::TokenKeys(Arc::clone(&keys)), version, context.version_after(version));
        Ok((decision, keys))
    }
}
