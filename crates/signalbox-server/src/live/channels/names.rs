//! Which channel a subject belongs to, remembered for a moment: most subjects belong to none, and a message on one must
//! not cost a question to the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use signalbox_wire::id::ChannelId;

use crate::clock::Stopwatch;

/// How long a name is believed: a channel that another node made, whose word did not come, is found after so long.
const BELIEVED_FOR: Duration = Duration::from_secs(1);
/// Names that are remembered of one tenant, at most.
const NAMES_MAX: usize = 16_384;

/// The channel behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) id: ChannelId,
    /// Whether it keeps what is published.
    pub(super) is_durable: bool,
}

/// The channel of a name, or that it is nobody's, and since when that is known.
type Known = (Option<Resolved>, Stopwatch);

/// Names of one tenant.
#[derive(Default)]
pub(super) struct Names {
    known: RwLock<HashMap<Arc<str>, Known>>,
    /// Counts how often something was forgotten: what was looked up before that is not kept.
    generation: AtomicU64,
}

impl Names {
    /// What is remembered of a name: that it is a channel's, or nobody's.
    pub(super) fn get(&self, name: &str) -> Option<Option<Resolved>> {
        let known = self.known.read();
        let (resolved, since) = known.get(name)?;
        (since.elapsed() < BELIEVED_FOR).then(|| resolved.clone())
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Remembers what was looked up in a generation.
    pub(super) fn keep(&self, name: &str, resolved: Option<Resolved>, generation: u64) {
        let mut known = self.known.write();
        if self.generation() != generation {
            return;
        }
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(Arc::from(name), (resolved, Stopwatch::start()));
    }

    /// Forgets a name.
    pub(super) fn forget(&self, name: &str) {
        let mut known = self.known.write();
        self.generation.fetch_add(1, Ordering::AcqRel);
        known.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_before_a_change_is_not_kept_after_it() {
        let names = Names::default();
        let id = ChannelId::parse("chn_1").expect("valid");
        let resolved = Some(Resolved { id, is_durable: true });
        let before = names.generation();
        names.forget("a");
        names.keep("a", None, before);
        assert_eq!(names.get("a"), None);
        names.keep("a", resolved.clone(), names.generation());
        assert_eq!(names.get("a"), Some(resolved));
        names.forget("a");
        assert_eq!(names.get("a"), None);
    }
}
