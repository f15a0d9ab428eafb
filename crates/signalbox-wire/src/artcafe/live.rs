//! What goes over an agent's connection: the envelope, both ways, and what its `data` holds by type.
//!
//! What is about channels and direct messages has files of its own.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::body::{Body, Faults, Text};
use crate::id::MessageId;
use crate::plain::quote;
use crate::raw::{self, RawObject};
use crate::time::Timestamp;

/// Characters of an envelope's id, at most.
pub const ID_MAX: usize = 256;
/// The command that gives an agent a task of a workflow.
pub const EXECUTE_TASK: &str = "execute_task";
/// The command that tells an agent that a task which it was given is no longer wanted.
pub const CANCEL_TASK: &str = "cancel_task";
/// The command that tells an agent that a command which it was given is no longer wanted.
pub const CANCEL_COMMAND: &str = "cancel_command";

/// What an agent sent.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: Cow<'a, str>,
    /// The agent's own id for it.
    pub id: Option<Cow<'a, str>>,
    /// What it holds: an object.
    pub data: &'a str,
    /// When it was sent, by the agent's clock, where that can be read.
    pub timestamp: Option<Timestamp>,
}

/// What is wrong with something that an agent sent, told in an `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeFault {
    /// The id of the envelope, where it has one.
    pub id: Option<String>,
    /// Where it is wrong, where that is at one place.
    pub pointer: Option<&'static str>,
    /// What is wrong, and what is to be sent.
    pub message: String,
    /// Whether it is not even JSON.
    pub is_not_json: bool,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    timestamp: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads what an agent sent.
    ///
    /// # Errors
    /// [`EnvelopeFault`]: what is wrong with it.
    pub fn read(text: &'a str) -> Result<Self, EnvelopeFault> {
        let read = serde_json::from_str::<Read<'a>>(text);
        // All of it must be fit to be read, and not only what was read now.
        let is_good = read.is_ok() && raw::is_plainly_good(text.as_bytes());
        if !is_good && let Err(error) = raw::check(text.as_bytes()) {
            let message = format!("The message is not JSON: {error}.");
            return Err(EnvelopeFault { id: None, pointer: None, message, is_not_json: true });
        }
        match read {
            Ok(read) if read.fits() => Ok(read.into_envelope()),
            Ok(_) => Err(EnvelopeFault::of(text, "The message does not fit.")),
            Err(error) => Err(EnvelopeFault::of(text, &format!("The message cannot be read: {error}."))),
        }
    }
}

impl<'a> Read<'a> {
    fn fits(&self) -> bool {
        let is_object = |data: &RawValue| data.get().starts_with('{') || data.get() == "null";
        !self.r#type.is_empty() && self.id.as_deref().is_none_or(is_id) && self.data.is_none_or(is_object)
    }

    fn into_envelope(self) -> Envelope<'a> {
        let data = self.data.map(RawValue::get).filter(|data| *data != "null").unwrap_or("{}");
        let timestamp = self.timestamp.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Envelope { kind: self.r#type, id: self.id, data, timestamp }
    }
}

impl EnvelopeFault {
    /// What is wrong with JSON that is no envelope.
    fn of(text: &str, otherwise: &str) -> Self {
        let fault = |id: Option<&str>, pointer, message: &str| Self {
            id: id.map(str::to_owned),
            pointer,
            message: message.to_owned(),
            is_not_json: false,
        };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(fields) = value.as_object() else {
            return fault(None, None, "A message is an object with type, id, data and timestamp.");
        };
        let id = fields.get("id").and_then(Value::as_str).filter(|id| is_id(id));
        let has_other = |name: &str, fits: fn(&Value) -> bool| {
            fields.get(name).is_some_and(|value| !value.is_null() && !fits(value))
        };
        if fields.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
            return fault(
                id,
                Some("/type"),
                "type is required: a word such as heartbeat, status or response.",
            );
        }
        if has_other("id", |id| id.as_str().is_some_and(is_id)) {
            return fault(
                id,
                Some("/id"),
                "id must be a string of 1 to 256 characters without control characters.",
            );
        }
        if has_other("data", Value::is_object) {
            return fault(id, Some("/data"), "data must be an object.");
        }
        fault(id, None, otherwise)
    }
}

fn is_id(id: &str) -> bool {
    MessageId::parse(id).is_ok()
}

/// `heartbeat`: what is read of it. All of its data is kept for a while, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Heartbeat {
    /// How much of the processor the agent uses.
    #[serde(default)]
    pub cpu_usage: Option<f64>,
    /// How much memory it uses.
    #[serde(default)]
    pub memory_usage: Option<f64>,
    /// How the agent is, as in a [`Status`].
    #[serde(default)]
    pub status: Option<String>,
}

impl Body for Heartbeat {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        for name in ["cpu_usage", "memory_usage"] {
            if fields.optional(name).is_some_and(|share| !share.is_number()) {
                fields.fault(name, "must be a number");
            }
        }
        fields.optional_string("status", Text::STATE);
    }
}

/// `status`: how the agent is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    /// `online`, `offline`, `busy` or `error`, or a word of Ops-Core's.
    pub status: String,
    /// The task that it is at.
    #[serde(default)]
    pub current_task: Option<String>,
    /// How much of it is done, in percent.
    #[serde(default)]
    pub progress: Option<f64>,
}

/// The words of a status, and what Ops-Core calls them.
const STATUS_WORDS: [(&str, &str); 4] =
    [("online", "idle"), ("busy", "active"), ("error", "error"), ("offline", "offline")];

impl Status {
    /// The state that it is, in Ops-Core's words.
    #[must_use]
    pub fn state(&self) -> &str {
        let found = STATUS_WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(&self.status));
        found.map_or(&self.status, |(_, state)| state)
    }
}

impl Body for Status {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("status", Text::STATE);
        fields.optional_string("current_task", Text::ID);
        let is_share =
            |progress: &Value| progress.as_f64().is_some_and(|share| (0.0..=100.0).contains(&share));
        if fields.optional("progress").is_some_and(|progress| !is_share(progress)) {
            fields.fault("progress", "must be a number from 0 to 100");
        }
    }
}

/// `response`: what came of a command, or of a task.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    /// The id of the command's envelope.
    pub command_id: String,
    /// `success`, or `error`.
    pub status: String,
    /// What came of it.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Box<RawValue>>,
}

/// Why something failed, as agents say it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Words(String),
    Object {
        message: String,
        #[serde(default)]
        code: Option<String>,
    },
}

impl Said {
    fn into_parts(self) -> (String, Option<String>) {
        match self {
            Self::Words(message) => (message, None),
            Self::Object { message, code } => (message, code),
        }
    }
}

impl Response {
    /// Whether it went well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.eq_ignore_ascii_case("success")
    }

    /// Why it failed, in words: the error itself, or the `message` of one that is an object.
    #[must_use]
    pub fn reason(&self) -> String {
        let Some(error) = &self.error else { return "the agent gave no reason".to_owned() };
        let said = serde_json::from_str::<Said>(error.get());
        said.map_or_else(|_| error.get().to_owned(), |said| said.into_parts().0)
    }

    /// The kind of failure, where the error is an object that has a `code`.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        serde_json::from_str::<Said>(self.error.as_ref()?.get()).ok()?.into_parts().1
    }

    /// What came of it, or what went wrong.
    ///
    /// # Errors
    /// What went wrong.
    pub fn answer(&self) -> Result<Value, Value> {
        let value = |raw: &Option<Box<RawValue>>| {
            raw.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
        };
        if self.is_success() { Ok(value(&self.result)) } else { Err(value(&self.error)) }
    }

    /// What an Ops-Core report of the task would carry as its details.
    #[must_use]
    pub fn details(&self) -> Option<RawObject> {
        let mut text = String::from("{\"opscore_task_id\":");
        quote(&mut text, &self.command_id);
        if let Some(result) = self.result.as_ref().filter(|_| self.is_success()) {
            text.push_str(",\"result\":");
            text.push_str(result.get());
        }
        if !self.is_success() {
            text.push_str(",\"error\":");
            quote(&mut text, &self.reason());
            if let Some(code) = self.code() {
                text.push_str(",\"code\":");
                quote(&mut text, &code);
            }
        }
        text.push('}');
        RawObject::parse(text).ok()
    }
}

impl Body for Response {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("command_id", Text::ID);
        fields.required_string("status", Text::STATE);
        let is_known = |status: &Value| {
            status.as_str().is_none_or(|status| {
                ["success", "error"].iter().any(|known| known.eq_ignore_ascii_case(status))
            })
        };
        if value.get("status").is_some_and(|status| !is_known(status)) {
            fields.fault("status", "must be success or error");
        }
    }
}

/// `ack`: the agent has what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ack {
    /// The id of one envelope.
    #[serde(default)]
    pub message_id: Option<String>,
    /// The sequence of an envelope: that one and all before it.
    #[serde(default)]
    pub sequence: Option<u64>,
}

impl Body for Ack {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("message_id", Text::ID);
        fields.optional_integer("sequence", 0..=u64::MAX);
        if value.get("message_id").is_none() && value.get("sequence").is_none() {
            fields.fault("", "must have message_id or sequence");
        }
    }
}

/// What is sent to an agent.
#[derive(Debug, Serialize)]
pub struct Outgoing<'a, D> {
    /// What it is.
    pub r#type: &'static str,
    /// Its id, the same whenever it is sent again.
    pub id: &'a str,
    /// What it holds.
    pub data: D,
    /// When it was written.
    pub timestamp: Timestamp,
}

impl<D: Serialize> Outgoing<'_, D> {
    /// The envelope as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        // Maps with string keys and JSON that was read: writing them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Appends the envelope as JSON.
    pub fn append_to(&self, text: &mut Vec<u8>) {
        let _ = serde_json::to_writer(text, self);
    }
}

/// A number of seconds, written without a fraction where it has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seconds(pub f64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = Duration::try_from_secs_f64(self.0).ok().filter(|time| time.subsec_nanos() == 0);
        match whole {
            Some(time) => serializer.serialize_u64(time.as_secs()),
            None => serializer.serialize_f64(self.0),
        }
    }
}

/// The data of `command`.
#[derive(Debug, Serialize)]
pub struct CommandData<'a, A> {
    /// What is to be done.
    pub command: &'a str,
    /// With what.
    pub args: A,
    /// Seconds that the answer is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<&'a str>,
}

/// The data of `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorData<'a> {
    /// The kind of problem, by the name that it has in answers over HTTP.
    pub code: &'a str,
    /// What is wrong, and what to do.
    pub message: &'a str,
    /// The id of the envelope that it is about, where that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// Where in `data` it is wrong, where that is at one place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<&'a str>,
    /// Seconds after which to send it again, where that is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// The data of `ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AckData<'a> {
    /// The id of the envelope that it is about; of a `response` without one that of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<&'a str>,
    /// Its place in the history of a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// The data of `heartbeat_ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeartbeatAck<'a> {
    /// The id of the heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<&'a str>,
    /// The connection: to be named when the agent connects again.
    pub connection_id: &'a str,
    /// The last sequence that was sent over it.
    pub sequence: u64,
}

/// The data of the `gap` that says what is missing of an earlier connection, or of what polls were answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionGap<'a> {
    /// The connection, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<&'a str>,
    /// The sequence after which something is missing.
    pub after: u64,
    /// What is missing, why, and what to do.
    pub reason: &'static str,
}

/// A message as it is kept to be sent: its fields that an envelope is made of.
#[derive(Deserialize)]
struct Kept<'a> {
    #[serde(default, rename = "messageType", borrow)]
    message_type: Option<Cow<'a, str>>,
    #[serde(default, rename = "senderId")]
    sender_id: Option<String>,
    #[serde(default)]
    from: Option<Value>,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    task_name: Option<String>,
    #[serde(default)]
    opscore_session_id: Option<String>,
    #[serde(default)]
    opscore_task_id: Option<String>,
    #[serde(default, borrow)]
    deadline: Option<&'a RawValue>,
}

impl Kept<'_> {
    /// When the task that it gives has failed where nothing has been reported by then.
    fn deadline(&self) -> Option<Timestamp> {
        serde_json::from_str(self.deadline?.get()).ok()
    }
}

/// The arguments of [`CANCEL_COMMAND`].
#[derive(Serialize)]
struct CancelArguments<'a> {
    command_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The envelope under this id that tells an agent that a command is no longer wanted.
#[must_use]
pub fn cancellation(id: &str, command: &str, reason: Option<&str>, timestamp: Timestamp) -> String {
    let args = CancelArguments { command_id: command, reason };
    let data = CommandData { command: CANCEL_COMMAND, args, timeout: None, traceparent: None };
    Outgoing { r#type: "command", id, data, timestamp }.text()
}

/// The arguments of [`EXECUTE_TASK`].
#[derive(Serialize)]
struct TaskArguments<'a> {
    task_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    /// Which attempt at the task this is, from 1.
    attempt: u32,
    /// When it has failed where nothing has been reported by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(borrow)]
    reason: &'a RawValue,
}

/// A durable message as an envelope without its sequence, and the id under which it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The envelope's id.
    pub id: String,
    /// The envelope.
    pub text: String,
}

/// Makes the envelope of a message that is kept as the body of a POST: a task of a workflow becomes the command
/// [`EXECUTE_TASK`], its cancellation [`CANCEL_TASK`], anything else a `message`.
#[must_use]
pub fn pack(
    id: &MessageId,
    (body, attempt): (&str, u32),
    traceparent: Option<&str>,
    timestamp: Timestamp,
) -> Packed {
    let kept: Option<Kept<'_>> = serde_json::from_str(body).ok();
    let task = kept.as_ref().and_then(|kept| Some((kept, kept.opscore_task_id.as_deref()?)));
    match task {
        Some((kept, task)) if kept.message_type.as_deref() == Some("workflow_task") => {
            let args = TaskArguments {
                task_id: task,
                parameters: Some(kept.payload.unwrap_or(RawValue::NULL)),
                reason: None,
                task_name: kept.task_name.as_deref(),
                session_id: kept.opscore_session_id.as_deref(),
                // A task is named with its attempt; how often that was sent says nothing to whoever does it.
                attempt: attempt_of(task).unwrap_or(attempt),
                deadline: kept.deadline(),
            };
            let timeout = args.deadline.map(|deadline| Seconds(deadline.since(timestamp).as_secs_f64()));
            let data = CommandData { command: EXECUTE_TASK, args, timeout, traceparent };
            Packed {
                id: task.to_owned(),
                text: Outgoing { r#type: "command", id: task, data, timestamp }.text(),
            }
        }
        Some((kept, task)) if kept.message_type.as_deref() == Some("workflow_cancel") => {
            let reason: Option<Reason<'_>> =
                kept.payload.and_then(|payload| serde_json::from_str(payload.get()).ok());
            let args = TaskArguments {
                task_id: task,
                parameters: None,
                reason: reason.map(|reason| reason.reason),
                task_name: None,
                session_id: kept.opscore_session_id.as_deref(),
                attempt: attempt_of(task).unwrap_or(attempt),
                deadline: None,
            };
            let data = CommandData { command: CANCEL_TASK, args, timeout: None, traceparent };
            let id = id.as_str();
            Packed { id: id.to_owned(), text: Outgoing { r#type: "command", id, data, timestamp }.text() }
        }
        _ => Packed { id: id.as_str().to_owned(), text: message(id, body, kept.as_ref(), timestamp) },
    }
}

/// The attempt in the name of one.
fn attempt_of(task: &str) -> Option<u32> {
    task.rsplit_once('-')?.1.parse().ok()
}

/// A `message` whose data is all that was accepted, with `from` beside it where it names its sender in another way.
fn message(id: &MessageId, body: &str, kept: Option<&Kept<'_>>, timestamp: Timestamp) -> String {
    let sender = kept.filter(|kept| kept.from.is_none()).and_then(|kept| kept.sender_id.as_deref());
    let body = body.trim();
    let rest = body.strip_prefix('{').map(str::trim_start);
    let mut text = String::with_capacity(body.len() + 160);
    text.push_str("{\"type\":\"message\",\"id\":");
    quote(&mut text, id.as_str());
    text.push_str(",\"data\":");
    match (sender, rest) {
        (Some(sender), Some(rest)) => {
            text.push_str("{\"from\":");
            quote(&mut text, sender);
            text.push_str(if rest.starts_with('}') { "" } else { "," });
            text.push_str(rest);
        }
        _ => text.push_str(body),
    }
    text.push_str(",\"timestamp\":");
    timestamp.quote(&mut text);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;

    fn fault(text: &str) -> (Option<String>, Option<&'static str>) {
        let fault = Envelope::read(text).expect_err("no envelope");
        (fault.id, fault.pointer)
    }

    #[test]
    fn an_envelope_is_read() {
        let text = r#"{"type":"heartbeat","id":"hb-1","data":{"status":"online"},"timestamp":"2023-05-01T12:34:56"}"#;
        let read = Envelope::read(text).expect("an envelope");
        assert_eq!(
            (&*read.kind, read.id.as_deref(), read.data),
            ("heartbeat", Some("hb-1"), r#"{"status":"online"}"#)
        );
        assert!(read.timestamp.is_some());
        for text in [r#"{"type":"x"}"#, r#"{"type":"x","id":null,"data":null,"timestamp":7,"more":1}"#] {
            let read = Envelope::read(text).expect("an envelope");
            assert_eq!((read.id, read.data, read.timestamp), (None, "{}", None));
        }
    }

    #[test]
    fn what_is_no_envelope_is_told_with_its_id_and_where() {
        assert_eq!(fault("{"), (None, None));
        assert!(Envelope::read("garbage").expect_err("not JSON").is_not_json);
        assert_eq!(fault("[]"), (None, None));
        assert_eq!(fault(r#"{"id":"a"}"#), (Some("a".to_owned()), Some("/type")));
        assert_eq!(fault(r#"{"id":"a","type":7}"#), (Some("a".to_owned()), Some("/type")));
        assert_eq!(fault(r#"{"id":7,"type":"x"}"#), (None, Some("/id")));
        assert_eq!(fault(r#"{"id":"a","type":"x","data":[1]}"#), (Some("a".to_owned()), Some("/data")));
        assert_eq!(fault(r#"{"id":"a","type":"x","type":"y"}"#), (Some("a".to_owned()), None));
    }

    #[test]
    fn a_task_becomes_a_command_and_a_message_keeps_its_fields() {
        let id = MessageId::parse("msg_a-2").expect("valid");
        let at = Timestamp::from_seconds(0);
        let body = r#"{"senderId":"opscore","messageType":"workflow_task","payload":{"path":"a"},"messageId":"msg_a-2",
            "task_name":"Read it","opscore_session_id":"ses_1","opscore_task_id":"tsk_a-2"}"#;
        let packed = pack(&id, (body, 3), Some("00-a-b-01"), at);
        assert_eq!(packed.id, "tsk_a-2");
        let expected = json!({
            "type": "command", "id": "tsk_a-2", "timestamp": "1970-01-01T00:00:00.000000Z",
            "data": {"command": "execute_task", "traceparent": "00-a-b-01", "args": {"task_id": "tsk_a-2",
                "parameters": {"path": "a"}, "task_name": "Read it", "session_id": "ses_1", "attempt": 2}},
        });
        assert_eq!(serde_json::from_str::<Value>(&packed.text).expect("JSON"), expected);
        let cancel =
            r#"{"messageType":"workflow_cancel","payload":{"reason":"no need"},"opscore_task_id":"tsk_a-2"}"#;
        let packed = pack(&id, (cancel, 1), None, at);
        let read: Value = serde_json::from_str(&packed.text).expect("JSON");
        assert_eq!(
            (&read["data"]["command"], &read["data"]["args"]["reason"]),
            (&json!("cancel_task"), &json!("no need"))
        );
        assert_eq!((&*packed.id, &read["id"]), ("msg_a-2", &json!("msg_a-2")));
        for (body, data) in [
            (
                r#" { "senderId": "me\n", "payload": {"x": 1}}"#,
                json!({"from": "me\n", "senderId": "me\n", "payload": {"x": 1}}),
            ),
            (r#"{"from":"a","payload":1}"#, json!({"from": "a", "payload": 1})),
            (r#"{}"#, json!({})),
        ] {
            let read: Value = serde_json::from_str(&pack(&id, (body, 1), None, at).text).expect("JSON");
            assert_eq!((&read["type"], &read["data"]), (&json!("message"), &data));
        }
    }

    #[test]
    fn a_response_is_a_report_of_its_task() {
        let of = |text: &str| parse::<Response>(text.as_bytes()).expect("a response");
        let good = of(r#"{"command_id":"tsk_a-1","status":"success","result":{"n":1}}"#);
        assert_eq!(
            good.details().expect("an object").as_str(),
            r#"{"opscore_task_id":"tsk_a-1","result":{"n":1}}"#
        );
        let bad = of(r#"{"command_id":"tsk_a-1","status":"error","error":"no \"disk\""}"#);
        assert_eq!(bad.reason(), "no \"disk\"");
        assert!(!bad.is_success() && bad.details().is_some());
        let coded =
            of(r#"{"command_id":"tsk_a-1","status":"error","error":{"message":"no disk","code":"disk"}}"#);
        assert_eq!(
            coded.details().expect("an object").as_str(),
            r#"{"opscore_task_id":"tsk_a-1","error":"no disk","code":"disk"}"#
        );
        let odd = of(r#"{"command_id":"tsk_a-1","status":"error","error":{"code":7}}"#);
        assert_eq!((odd.reason().as_str(), odd.code()), (r#"{"code":7}"#, None));
        assert!(parse::<Response>(br#"{"command_id":"a","status":"done"}"#).is_err());
    }

    #[test]
    fn a_status_is_a_state_of_ops_core() {
        let of = |text: &str| parse::<Status>(text.as_bytes());
        let status = of(r#"{"status":"busy","current_task":"t","progress":45}"#).expect("a status");
        assert_eq!((status.state(), status.progress), ("active", Some(45.0)));
        assert_eq!(of(r#"{"status":"online"}"#).expect("a status").state(), "idle");
        for bad in [
            r#"{}"#,
            r#"{"status":7}"#,
            r#"{"status":"busy","progress":101}"#,
            r#"{"status":"busy","progress":"x"}"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_have_a_fraction_where_they_need_one() {
        let written = |seconds| serde_json::to_string(&Seconds(seconds)).expect("written");
        assert_eq!([300.0, 0.25].map(written), ["300", "0.25"]);
    }

    #[test]
    fn what_does_not_fit_in_a_heartbeat_is_told_with_its_place() {
        use crate::body::tests::faults_of;
        assert_eq!(faults_of::<Heartbeat>(r#"{"cpu_usage":1.5,"memory_usage":null,"own":[]}"#), [""; 0]);
        let found = faults_of::<Heartbeat>(r#"{"cpu_usage":"high","status":7}"#);
        assert_eq!(found[0], "/cpu_usage must be a number");
        assert!(found.len() == 2 && found[1].starts_with("/status "), "{found:?}");
    }

    #[test]
    fn an_ack_names_a_message_or_a_sequence() {
        assert!(parse::<Ack>(br#"{"message_id":"a"}"#).is_ok() && parse::<Ack>(br#"{"sequence":7}"#).is_ok());
        assert!(parse::<Ack>(b"{}").is_err() && parse::<Ack>(br#"{"sequence":-1}"#).is_err());
    }
}
