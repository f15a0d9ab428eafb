//! Subjects and patterns of subjects as agents write them, held to the bus's rules for both.

use std::sync::Arc;

use signalbox_bus::{BadSubject, Pattern, Subject};
use signalbox_wire::id::TenantId;

/// What a subscription is for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// As it was written.
    pub(super) text: Arc<str>,
    /// As the bus matches it.
    pub(super) pattern: Pattern,
}

impl Wanted {
    /// A subject, or a pattern with `*` and `>`.
    pub(super) fn parse(tenant: &TenantId, text: &str) -> Result<Self, BadSubject> {
        Ok(Self { text: Arc::from(text), pattern: Pattern::channels(tenant, text)? })
    }

    /// Whether it is for more than one subject.
    pub(super) fn has_wildcards(&self) -> bool {
        self.pattern.has_wildcards()
    }

    /// Whether it is for a channel of this name.
    pub(super) fn matches(&self, tenant: &TenantId, name: &str) -> bool {
        Subject::channel(tenant, name).is_ok_and(|subject| self.pattern.matches(&subject))
    }
}

/// Whether some subject is matched by both of two subjects or patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        match (ones.next(), others.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_a_subject_is_matched_by_both() {
        for (one, other, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "*.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a", false),
            ("a.>", "*.*.c", true),
            (">", "x", true),
            ("*", "a.b", false),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
