//! What the `data` of frames holds that are about channels and direct messages, as agents send it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::body::{Body, Faults, Fields, Text};
use crate::raw;

/// A channel's name or a pattern of names, at most, in characters.
const SUBJECT_MAX: usize = 256;
/// Channels that one subscription with a wildcard may name in `after`.
pub const AFTER_MAX: usize = 256;
/// The longest that a request may wait, in seconds.
pub const REQUEST_TIMEOUT_MAX_S: u64 = 300;
/// How long a request waits where it does not say, in seconds.
pub const REQUEST_TIMEOUT_DEFAULT_S: u64 = 30;

/// From where on a subscriber wants a history.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum After {
    /// After this sequence of the one channel.
    Sequence(u64),
    /// After these sequences, by subject.
    BySubject(BTreeMap<String, u64>),
}

/// `subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subscribe {
    /// A subject, or a pattern with `*` and `>`.
    #[serde(default)]
    pub subject: Option<String>,
    /// A channel, in place of its subject.
    #[serde(default)]
    pub channel_id: Option<String>,
    /// The history after this comes first.
    #[serde(default)]
    pub after: Option<After>,
    /// Whether it is told who else comes and goes.
    #[serde(default)]
    pub presence: Option<bool>,
}

/// `unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Unsubscribe {
    /// What was subscribed to.
    #[serde(default)]
    pub subject: Option<String>,
    /// The channel that was.
    #[serde(default)]
    pub channel_id: Option<String>,
}

/// `publish`.
#[derive(Debug, Clone, Deserialize)]
pub struct Publish {
    /// A subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// A channel, in place of its subject.
    #[serde(default)]
    pub channel_id: Option<String>,
    /// What is published.
    pub payload: Box<RawValue>,
}

/// A `publish` that names a subject and nothing beside it, as it stands in its envelope.
#[derive(Debug, Deserialize)]
pub struct PublishOnSubject<'a> {
    /// The subject, of which it is not known yet whether it is one.
    #[serde(borrow)]
    pub subject: Cow<'a, str>,
    #[serde(default, borrow)]
    channel_id: Option<&'a RawValue>,
    /// What is published.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl<'a> PublishOnSubject<'a> {
    /// Reads the data of an envelope, all of which was [checked](crate::raw::check); `None` where it is anything else.
    #[must_use]
    pub fn read(data: &'a str) -> Option<Self> {
        serde_json::from_str(data).ok().filter(|read: &Self| read.channel_id.is_none())
    }
}

/// `message`: to an agent, or to a channel.
#[derive(Debug, Clone, Deserialize)]
pub struct Direct {
    /// An agent.
    #[serde(default)]
    pub to: Option<String>,
    /// A subject, in place of an agent.
    #[serde(default)]
    pub subject: Option<String>,
    /// A channel, in place of an agent.
    #[serde(default)]
    pub channel_id: Option<String>,
    /// What is sent.
    pub payload: Box<RawValue>,
}

/// `request`: to an agent, or to whoever is subscribed to a subject.
#[derive(Debug, Clone, Deserialize)]
pub struct Ask {
    /// An agent.
    #[serde(default)]
    pub to: Option<String>,
    /// A subject, in place of an agent.
    #[serde(default)]
    pub subject: Option<String>,
    /// What is asked.
    pub payload: Box<RawValue>,
    /// Seconds that a reply is waited for.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// `reply`.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// The request's own `reply_to`.
    pub reply_to: String,
    /// What is answered.
    pub payload: Box<RawValue>,
}

/// Exactly one of some fields, each an id or a subject.
fn one_of(fields: &mut Fields<'_, '_>, names: &[&str]) {
    let given: Vec<&str> = names.iter().copied().filter(|name| fields.optional(name).is_some()).collect();
    for name in &given {
        fields.optional_string(name, Text::NAME);
    }
    let all = names.join(", ");
    match given.as_slice() {
        [_] => {}
        [] => fields.fault("", format!("must have one of {all}")),
        [_, second, ..] => fields.fault(second, format!("stands beside another; give exactly one of {all}")),
    }
}

fn payload(value: &Value, fields: &mut Fields<'_, '_>) {
    // Null is a payload, and not its absence.
    if value.get("payload").is_none() {
        fields.fault("payload", "is required; send null for nothing");
    }
}

impl Body for Subscribe {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        one_of(&mut fields, &["subject", "channel_id"]);
        if fields.optional("presence").is_some_and(|presence| !presence.is_boolean()) {
            fields.fault("presence", "must be true or false");
        }
        let message = format!(
            "must be a sequence, or, for a pattern, an object of subject and sequence with at most {AFTER_MAX} entries"
        );
        match fields.optional("after") {
            None => {}
            Some(Value::Number(number)) if number.is_u64() => {}
            Some(Value::Object(map))
                if map.len() <= AFTER_MAX
                    && map.iter().all(|(name, at)| at.is_u64() && name.len() <= SUBJECT_MAX * 4) => {}
            Some(_) => fields.fault("after", message),
        }
    }
}

impl Body for Unsubscribe {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            one_of(&mut fields, &["subject", "channel_id"]);
        }
    }
}

impl Body for Publish {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            one_of(&mut fields, &["subject", "channel_id"]);
            payload(value, &mut fields);
        }
    }

    fn quick(bytes: &[u8]) -> Option<Self> {
        let body: Self = serde_json::from_slice(bytes).ok()?;
        let name = match (&body.subject, &body.channel_id) {
            (Some(name), None) | (None, Some(name)) => name,
            _ => return None,
        };
        let is_good = Text::NAME.fits(name) && raw::check(body.payload.get().as_bytes()).is_ok();
        is_good.then_some(body)
    }
}

impl Body for Direct {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            one_of(&mut fields, &["to", "subject", "channel_id"]);
            payload(value, &mut fields);
        }
    }
}

impl Body for Ask {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        one_of(&mut fields, &["to", "subject"]);
        payload(value, &mut fields);
        let is_good = |timeout: &Value| {
            timeout.as_f64().is_some_and(|seconds| seconds > 0.0 && seconds <= REQUEST_TIMEOUT_MAX_S as f64)
        };
        if fields.optional("timeout").is_some_and(|timeout| !is_good(timeout)) {
            fields.fault(
                "timeout",
                format!("must be a number of seconds over 0 and up to {REQUEST_TIMEOUT_MAX_S}"),
            );
        }
    }
}

impl Body for Answer {
    fn check(value: &Value, faults: &mut Faults) {
        if let Some(mut fields) = faults.object("", value) {
            fields.required_string("reply_to", Text::ID);
            payload(value, &mut fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::tests::faults_of;

    #[test]
    fn exactly_one_destination_is_named() {
        assert_eq!(faults_of::<Publish>(r#"{"subject": "a.b", "payload": null}"#), [""; 0]);
        assert_eq!(faults_of::<Publish>(r#"{"payload": 1}"#), [" must have one of subject, channel_id"]);
        assert_eq!(
            faults_of::<Direct>(r#"{"to": "a", "subject": "b"}"#),
            [
                "/subject stands beside another; give exactly one of to, subject, channel_id",
                "/payload is required; send null for nothing",
            ]
        );
    }

    #[test]
    fn a_publication_on_a_subject_alone_is_read_where_it_stands() {
        let read = |data| PublishOnSubject::read(data).map(|read| (read.subject, read.payload.get()));
        for data in [
            r#"{"subject":"a.b","payload":[1]}"#,
            r#"{"channel_id":null,"payload":[1],"subject":"a\u002eb"}"#,
        ] {
            assert_eq!(read(data), Some(("a.b".into(), "[1]")), "{data}");
        }
        for data in [
            r#"{"subject":"a","channel_id":"c","payload":1}"#,
            r#"{"subject":"a"}"#,
            r#"{"subject":1,"payload":1}"#,
        ] {
            assert_eq!(read(data), None, "{data}");
        }
        assert_eq!(read(r#"{"subject":"a","payload":null}"#), Some(("a".into(), "null")));
    }

    #[test]
    fn a_history_is_asked_for_by_a_sequence_or_by_subjects() {
        for after in ["7", r#"{"a.b": 3}"#, "null"] {
            let body = format!(r#"{{"subject": "a.>", "after": {after}}}"#);
            assert_eq!(faults_of::<Subscribe>(&body), [""; 0], "{after}");
        }
        for after in ["-1", "1.5", r#"{"a": "b"}"#, "[]"] {
            let body = format!(r#"{{"subject": "a.>", "after": {after}}}"#);
            assert!(faults_of::<Subscribe>(&body)[0].starts_with("/after must be"), "{after}");
        }
    }

    #[test]
    fn a_request_waits_for_a_bounded_time() {
        for (timeout, is_good) in
            [("0.5", true), ("300", true), ("0", false), ("301", false), ("\"5\"", false)]
        {
            let body = format!(r#"{{"to": "a", "payload": {{}}, "timeout": {timeout}}}"#);
            assert_eq!(faults_of::<Ask>(&body).is_empty(), is_good, "{timeout}");
        }
    }
}
