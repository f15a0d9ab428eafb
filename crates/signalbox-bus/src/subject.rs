//! Where a message goes: a [`Subject`] names one place, a [`Pattern`] any number of them.
//!
//! On the bus a subject is text in the form of NATS: tokens with dots between them. What comes from outside, such
//! as a tenant's id, is escaped before it becomes a token, so that it can hold dots, stars or spaces and still be
//! one token that matches nothing but itself.

use std::fmt;
use std::sync::Arc;

use signalbox_wire::id::{AgentId, CommandId, NodeId, TenantId};

/// Tokens of a channel's name or pattern, at most.
pub const TOKENS_MAX: usize = 16;
/// Bytes of a channel's name or pattern, at most.
pub const NAME_BYTES_MAX: usize = 256;

/// Subjects that belong to no tenant.
const NODES: &str = "nodes";
/// Subjects of one tenant each.
const TENANTS: &str = "tenants";

/// The name of one place on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

/// What subjects a subscription is for: one subject, or all that match `*` (one token) and `>` (one or more tokens
/// at the end).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no channel name, or no pattern of channel names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSubject {
    /// Too long, or of too many parts.
    #[error("must have at most {NAME_BYTES_MAX} bytes and {TOKENS_MAX} parts between dots")]
    TooLong,
    /// An empty part.
    #[error("must have something before, between and after its dots")]
    EmptyToken,
    /// A wildcard where none is taken.
    #[error("must have no part with * or > in it; wildcards are for subscriptions")]
    Wildcard,
    /// A wildcard that is not one.
    #[error("must have * only as a part of its own, and > only as the last part")]
    BadWildcard,
}

impl Subject {
    /// Where a tenant's log says how far it has come.
    #[must_use]
    pub fn log(tenant: &TenantId) -> Self {
        Self::of_tenant(tenant, "log", std::iter::empty())
    }

    /// Where a kind of due work says that more of it is due.
    #[must_use]
    pub fn due_work(kind: &str) -> Self {
        Self(join([NODES, "due"].into_iter().map(str::to_owned).chain([escaped(kind)])))
    }

    /// Where it is said that keys were revoked.
    #[must_use]
    pub fn revoked_keys() -> Self {
        Self(Arc::from("nodes.revoked_keys"))
    }

    /// Where the node listens that an agent is connected to.
    #[must_use]
    pub fn agent(tenant: &TenantId, agent: &AgentId) -> Self {
        Self::of_tenant(tenant, "agent", [agent.as_str()])
    }

    /// Where it is said that nothing more comes of a command.
    #[must_use]
    pub fn command(tenant: &TenantId, command: &CommandId) -> Self {
        Self::of_tenant(tenant, "command", [command.as_str()])
    }

    /// Where a tenant's channel delivers; `name` is made of parts with dots between them.
    ///
    /// # Errors
    /// [`BadSubject`] when `name` is no channel's name.
    pub fn channel(tenant: &TenantId, name: &str) -> Result<Self, BadSubject> {
        let tokens = tokens(name)?;
        match tokens.iter().any(|token| token.contains(['*', '>'])) {
            true => Err(BadSubject::Wildcard),
            false => Ok(Self::of_tenant(tenant, "channel", tokens)),
        }
    }

    /// Where the nodes tell each other of a tenant's subscribers.
    #[must_use]
    pub fn subscribers(tenant: &TenantId) -> Self {
        Self::of_tenant(tenant, "subscribers", std::iter::empty())
    }

    /// Where a node is told what it has asked the others.
    #[must_use]
    pub fn answers(node: &NodeId) -> Self {
        Self(join([NODES, "answers"].into_iter().map(str::to_owned).chain([escaped(node.as_str())])))
    }

    /// The subject that a message came by.
    pub(crate) fn of_bus(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The subject as the bus writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of_tenant<'t>(tenant: &TenantId, family: &str, rest: impl IntoIterator<Item = &'t str>) -> Self {
        let start = [TENANTS.to_owned(), escaped(tenant.as_str()), family.to_owned()];
        Self(join(start.into_iter().chain(rest.into_iter().map(escaped))))
    }
}

impl Pattern {
    /// Only this subject.
    #[must_use]
    pub fn exactly(subject: &Subject) -> Self {
        Self(Arc::clone(&subject.0))
    }

    /// The channels of a tenant that `pattern` matches: a name in which a part may be `*`, and the last one `>`.
    ///
    /// # Errors
    /// [`BadSubject`] when it is no such pattern.
    pub fn channels(tenant: &TenantId, pattern: &str) -> Result<Self, BadSubject> {
        let tokens = tokens(pattern)?;
        let last = tokens.len() - 1;
        let is_good = |(at, token): (usize, &&str)| match *token {
            "*" => true,
            ">" => at == last,
            token => !token.contains(['*', '>']),
        };
        if !tokens.iter().enumerate().all(is_good) {
            return Err(BadSubject::BadWildcard);
        }
        let rest = tokens.into_iter().map(|token| match token {
            "*" | ">" => token.to_owned(),
            token => escaped(token),
        });
        let start = [TENANTS.to_owned(), escaped(tenant.as_str()), "channel".to_owned()];
        Ok(Self(join(start.into_iter().chain(rest))))
    }

    /// Whether it can match more than one subject.
    #[must_use]
    pub fn has_wildcards(&self) -> bool {
        // Stars and angles of names are escaped, so any that is left is a wildcard.
        self.0.contains(['*', '>'])
    }

    /// Whether it matches `subject`.
    #[must_use]
    pub fn matches(&self, subject: &Subject) -> bool {
        let (mut wanted, mut given) = (self.0.split('.'), subject.0.split('.'));
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(want), Some(token)) if want == token => {}
                _ => return false,
            }
        }
    }

    /// The pattern as the bus writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is one or more tokens that nothing needs to be escaped in.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|token| !token.is_empty() && escaped(token) == token)
}

fn tokens(name: &str) -> Result<Vec<&str>, BadSubject> {
    if name.len() > NAME_BYTES_MAX {
        return Err(BadSubject::TooLong);
    }
    let tokens: Vec<&str> = name.split('.').collect();
    match tokens {
        tokens if tokens.len() > TOKENS_MAX => Err(BadSubject::TooLong),
        tokens if tokens.iter().any(|token| token.is_empty()) => Err(BadSubject::EmptyToken),
        tokens => Ok(tokens),
    }
}

fn join(tokens: impl Iterator<Item = String>) -> Arc<str> {
    Arc::from(tokens.collect::<Vec<_>>().join("."))
}

/// A text as one token: whatever the bus could read as something else is written as `%` and its value.
fn escaped(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => token.push(char::from(byte)),
            byte => token.push_str(&format!("%{byte:02x}")),
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).expect("valid")
    }

    #[test]
    fn wildcards_match_as_in_nats() {
        let tenant = tenant("t");
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("*", "a.b", false),
        ] {
            let pattern = Pattern::channels(&tenant, pattern).expect("a pattern");
            let subject = Subject::channel(&tenant, name).expect("a name");
            assert_eq!(pattern.matches(&subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn what_is_no_name_and_no_pattern_is_refused_with_the_reason() {
        let tenant = tenant("t");
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let deep = vec!["x"; TOKENS_MAX + 1].join(".");
        for (text, name, pattern) in [
            ("", BadSubject::EmptyToken, Some(BadSubject::EmptyToken)),
            ("a..b", BadSubject::EmptyToken, Some(BadSubject::EmptyToken)),
            ("a.", BadSubject::EmptyToken, Some(BadSubject::EmptyToken)),
            (&long, BadSubject::TooLong, Some(BadSubject::TooLong)),
            (&deep, BadSubject::TooLong, Some(BadSubject::TooLong)),
            ("a.*", BadSubject::Wildcard, None),
            ("a.b*", BadSubject::Wildcard, Some(BadSubject::BadWildcard)),
            (">.a", BadSubject::Wildcard, Some(BadSubject::BadWildcard)),
        ] {
            assert_eq!(Subject::channel(&tenant, text), Err(name), "{text}");
            assert_eq!(Pattern::channels(&tenant, text).err(), pattern, "{text}");
        }
    }

    proptest! {
        /// Whatever tenants and agents are called, a pattern of one tenant matches nothing of another.
        #[test]
        fn no_pattern_leaves_its_tenant(one in "[ -~]{1,12}", other in "[ -~]{1,12}", name in "[a-c*>%]{1,3}(\\.[a-c*>%]{1,3}){0,3}") {
            prop_assume!(one != other);
            let (one, other) = (tenant(&one), tenant(&other));
            let Ok(pattern) = Pattern::channels(&one, &name) else { return Ok(()) };
            let agent = AgentId::parse("a").expect("valid");
            let foreign = [Subject::log(&other), Subject::agent(&other, &agent), Subject::due_work("x"), Subject::revoked_keys()];
            let channel = Subject::channel(&other, "a.b").expect("a name");
            prop_assert!(foreign.iter().chain([&channel]).all(|subject| !pattern.matches(subject)));
            prop_assert!(!pattern.matches(&Subject::log(&one)), "only channels are matched");
        }

        #[test]
        fn a_subject_is_text_that_nats_takes_and_matches_only_itself(id in "\\PC{1,20}", other in "\\PC{1,20}") {
            let (Ok(agent), Ok(second)) = (AgentId::parse(&id), AgentId::parse(&other)) else { return Ok(()) };
            let subject = Subject::agent(&tenant("t"), &agent);
            prop_assert!(subject.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>'));
            prop_assert_eq!(subject.as_str().split('.').count(), 4);
            prop_assert_eq!(Pattern::exactly(&subject).matches(&Subject::agent(&tenant("t"), &second)), id == other);
        }
    }
}
