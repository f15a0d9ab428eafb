//! `POST /v1/agents/{agentId}/run`: a message to an agent, or the call of a tool.
//!
//! Two shapes come in, told apart by `messageType`; one goes out. A message is delivered byte for byte as it
//! came; a bare task becomes a message of type `workflow_task` from `opscore`, with its other fields kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::body::{BodyError, Faults, Fields, Text, not_json, parse_value};
use crate::raw;

/// The type of a message that calls a tool, and is answered with the tool's answer.
pub const TOOL_INVOCATION: &str = "tool_invocation";

const TASK_TYPE: &str = "workflow_task";
const CANCEL_TYPE: &str = "workflow_cancel";
const TASK_SENDER: &str = "opscore";
const MESSAGE_TYPE: Text = Text::new(1, 128, crate::text::no_control);

/// A message as it was accepted: what is decided by, and what is delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct RunMessage {
    /// Who sends it.
    pub sender_id: String,
    /// What kind of message it is.
    pub message_type: String,
    /// The caller's own name for the message, where it gave one that can be an id.
    pub message_id: Option<String>,
    /// The task's name, for a task.
    pub task_name: Option<String>,
    /// The session that it belongs to.
    pub opscore_session_id: Option<String>,
    /// The task that it belongs to.
    pub opscore_task_id: Option<String>,
    /// The JSON text that the agent gets.
    pub body: String,
    /// The call, for a message of type [`TOOL_INVOCATION`].
    pub tool: Option<ToolCall>,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Which tool; a call that names none is answered 400, not 422.
    pub tool_name: Option<String>,
    /// What it gets; an empty object where nothing was given.
    pub arguments: Value,
}

impl RunMessage {
    /// Reads a run's body.
    ///
    /// # Errors
    /// [`BodyError`]: not JSON, or all that does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        raw::check(bytes).map_err(|error| not_json(bytes, &error))?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| BodyError::NotJson { detail: format!("The body is not UTF-8: {error}.") })?;
        match Self::quick(text) {
            Some(message) => Ok(message),
            None => Self::read(text),
        }
    }

    /// Whether an agent takes it for a task of a workflow, or for the end of one.
    #[must_use]
    pub fn is_of_a_workflow(&self) -> bool {
        [TASK_TYPE, CANCEL_TYPE].contains(&self.message_type.as_str())
    }

    fn quick(text: &str) -> Option<Self> {
        let head: Head<'_> = serde_json::from_str(text).ok()?;
        let message = head.fits().then(|| head.into_message(text))?;
        message.message_id.as_deref().is_none_or(|id| Text::MESSAGE_ID.fits(id)).then_some(message)
    }

    fn read(text: &str) -> Result<Self, BodyError> {
        let value = parse_value(text.as_bytes())?;
        let mut faults = Faults::default();
        let message = faults.object("", &value).and_then(|mut fields| match fields.optional("messageType") {
            Some(_) => read_message(&mut fields, text),
            None => read_task(&mut fields, text),
        });
        match message {
            Some(message) if faults.is_empty() => Ok(message),
            _ => Err(BodyError::Invalid(faults.into_vec())),
        }
    }
}

/// The fields of the usual message; whatever does not fit here is read again, for its faults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    sender_id: String,
    message_type: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default, borrow)]
    session_context: Option<&'a RawValue>,
    #[serde(default, borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(default, rename = "task_name")]
    task_name: Option<String>,
    #[serde(default, rename = "opscore_session_id")]
    opscore_session_id: Option<String>,
    #[serde(default, rename = "opscore_task_id")]
    opscore_task_id: Option<String>,
}

impl Head<'_> {
    fn fits(&self) -> bool {
        let optional = |text: &Option<String>, rule: Text| text.as_ref().is_none_or(|text| rule.fits(text));
        self.message_type != TOOL_INVOCATION
            && Text::NAME.fits(&self.sender_id)
            && MESSAGE_TYPE.fits(&self.message_type)
            && self.payload.get().starts_with('{')
            && self.session_context.is_none_or(|context| context.get().starts_with('{'))
            && optional(&self.task_name, Text::NAME)
            && optional(&self.opscore_session_id, Text::ID)
            && optional(&self.opscore_task_id, Text::ID)
    }

    fn into_message(self, text: &str) -> RunMessage {
        let own_id = self.message_id.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        RunMessage {
            sender_id: self.sender_id,
            message_type: self.message_type,
            message_id: own_id.filter(|id| is_header_id(id)),
            task_name: self.task_name,
            opscore_session_id: self.opscore_session_id,
            opscore_task_id: self.opscore_task_id,
            body: text.to_owned(),
            tool: None,
        }
    }
}

fn read_message(fields: &mut Fields<'_, '_>, text: &str) -> Option<RunMessage> {
    let sender_id = fields.required_string("senderId", Text::NAME);
    let message_type = fields.required_string("messageType", MESSAGE_TYPE);
    let is_call = message_type == Some(TOOL_INVOCATION);
    let tool =
        fields.required_object("payload").and_then(|mut payload| is_call.then(|| read_call(&mut payload)));
    fields.optional_object("sessionContext");
    let message = read_common(fields, sender_id?, message_type?, text.to_owned());
    Some(RunMessage { tool, ..message })
}

fn read_call(payload: &mut Fields<'_, '_>) -> ToolCall {
    let tool_name = payload.optional_string("tool_name", 0..=128).filter(|name| !name.is_empty());
    let arguments = payload.optional("arguments").or_else(|| payload.optional("parameters"));
    ToolCall {
        tool_name: tool_name.map(str::to_owned),
        arguments: arguments.cloned().unwrap_or_else(|| Value::Object(Map::new())),
    }
}

fn read_task(fields: &mut Fields<'_, '_>, text: &str) -> Option<RunMessage> {
    if fields.optional("task_name").is_none() {
        fields.fault("messageType", "is required (or, for a task, task_name)");
    }
    fields.optional_string("task_name", Text::NAME);
    fields.optional_object("parameters");
    Some(read_common(fields, TASK_SENDER, TASK_TYPE, task_as_message(text)))
}

fn read_common(fields: &mut Fields<'_, '_>, sender_id: &str, message_type: &str, body: String) -> RunMessage {
    let own_id = fields.optional("messageId").and_then(Value::as_str).filter(|id| is_header_id(id));
    if let Some(Err(message)) = own_id.map(|id| Text::MESSAGE_ID.check(id)) {
        fields.fault("messageId", message);
    }
    RunMessage {
        sender_id: sender_id.to_owned(),
        message_type: message_type.to_owned(),
        message_id: own_id.map(str::to_owned),
        task_name: fields.optional_string("task_name", Text::NAME).map(str::to_owned),
        opscore_session_id: fields.optional_string("opscore_session_id", Text::ID).map(str::to_owned),
        opscore_task_id: fields.optional_string("opscore_task_id", Text::ID).map(str::to_owned),
        body,
        tool: None,
    }
}

/// An id goes into a header of each delivery. What cannot is no id of ours but a field like any other, and
/// is delivered as such: refusing it would break senders that use the field for something else.
fn is_header_id(id: &str) -> bool {
    (1..=crate::id::MAX_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A task's text as the text of a message; values are copied as they were written.
fn task_as_message(text: &str) -> String {
    let Ok(Entries(entries)) = serde_json::from_str::<Entries<'_>>(text) else { return text.to_owned() };
    let last = |name: &str| entries.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
    let given = |name: &str| last(name).filter(|raw| *raw != "null");
    let name = last("task_name").unwrap_or("null");
    let parameters = given("parameters").unwrap_or("{}");
    let mut body = format!(
        r#"{{"senderId":"{TASK_SENDER}","messageType":"{TASK_TYPE}","payload":{{"task_name":{name},"parameters":{parameters}}}"#
    );
    for (index, (key, raw)) in entries.iter().enumerate() {
        let replaced = ["senderId", "messageType", "payload", "parameters"].contains(&key.as_ref());
        let repeated = entries.iter().skip(index + 1).any(|(later, _)| later == key);
        if !replaced && !repeated {
            body.push(',');
            body.push_str(&Value::from(key.as_ref()).to_string());
            body.push(':');
            body.push_str(raw.get());
        }
    }
    body.push('}');
    body
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((Cow::Owned(key), map.next_value()?));
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> RunMessage {
        RunMessage::parse(text.as_bytes()).unwrap()
    }

    fn faults(text: &str) -> Vec<String> {
        match RunMessage::parse(text.as_bytes()) {
            Err(BodyError::Invalid(faults)) => faults.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_forwarded_byte_for_byte() {
        let text = r#" { "senderId":"a", "messageType" : "text","payload":{"n":1.0,"n":1e2},"own":[ 1 ],
            "messageId":"m-1","opscore_task_id":"t","timestamp":5}"#;
        let message = parse(text);
        assert_eq!(message.body, text);
        assert_eq!((message.sender_id.as_str(), message.message_type.as_str()), ("a", "text"));
        assert_eq!(
            (message.message_id.as_deref(), message.opscore_task_id.as_deref()),
            (Some("m-1"), Some("t"))
        );
        assert_eq!(message.tool, None);
    }

    #[test]
    fn a_task_becomes_a_message_and_keeps_its_other_fields() {
        let message = parse(
            r#"{"task_name":"sum","parameters":{"x":1.50,"big":123456789012345678901234567890},
                "opscore_session_id":"s","opscore_task_id":"t","own":"\u00e4","senderId":"liar"}"#,
        );
        let expected = concat!(
            r#"{"senderId":"opscore","messageType":"workflow_task","payload":{"task_name":"sum","parameters":"#,
            r#"{"x":1.50,"big":123456789012345678901234567890}},"task_name":"sum","opscore_session_id":"s","#,
            r#""opscore_task_id":"t","own":"\u00e4"}"#
        );
        assert_eq!(message.body, expected);
        assert_eq!((message.sender_id.as_str(), message.message_type.as_str()), ("opscore", "workflow_task"));
        assert_eq!(message.task_name.as_deref(), Some("sum"));
        assert_eq!(message.opscore_session_id.as_deref(), Some("s"));
    }

    #[test]
    fn a_task_without_parameters_has_empty_ones() {
        for text in [r#"{"task_name":"t"}"#, r#"{"messageType":null,"task_name":"t","parameters":null}"#] {
            let body: Value = serde_json::from_str(&parse(text).body).unwrap();
            assert_eq!(body["payload"], json!({"task_name": "t", "parameters": {}}));
        }
    }

    #[test]
    fn a_tool_call_is_taken_apart() {
        let call = |payload: Value| {
            let body = json!({"senderId": "a", "messageType": "tool_invocation", "payload": payload});
            parse(&body.to_string()).tool.unwrap()
        };
        let named = call(json!({"tool_name": "add", "arguments": {"a": 1}, "parameters": {}}));
        assert_eq!(named, ToolCall { tool_name: Some("add".to_owned()), arguments: json!({"a": 1}) });
        assert_eq!(call(json!({"tool_name": "add", "parameters": {"b": 2}})).arguments, json!({"b": 2}));
        assert_eq!(call(json!({"tool_name": ""})), ToolCall { tool_name: None, arguments: json!({}) });
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_only_a_field() {
        for id in [json!(5), json!("a b"), json!("ä"), json!(""), json!(null), json!("x".repeat(257))] {
            let text =
                json!({"senderId": "a", "messageType": "t", "payload": {}, "messageId": id}).to_string();
            assert_eq!(parse(&text).message_id, None, "{text}");
        }
    }

    #[test]
    fn an_id_that_is_a_path_of_its_own_is_refused() {
        for id in ["redrive", ".", ".."] {
            for text in [
                json!({"senderId": "a", "messageType": "t", "payload": {}, "messageId": id}),
                json!({"task_name": "t", "parameters": {}, "messageId": id}),
            ] {
                assert_eq!(faults(&text.to_string()).len(), 1, "{text}");
            }
        }
        let text = json!({"senderId": "a", "messageType": "t", "payload": {}, "messageId": "redrive-1"});
        assert_eq!(parse(&text.to_string()).message_id.as_deref(), Some("redrive-1"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let found = faults(r#"{"messageType":"","payload":[],"sessionContext":5,"opscore_task_id":7}"#);
        let expected = [
            "/senderId is required",
            "/messageType must not be empty",
            "/payload must be an object, not an array",
            "/sessionContext must be an object, not a number",
        ];
        assert_eq!(found[..4], expected);
        assert_eq!(faults("{}"), ["/messageType is required (or, for a task, task_name)"]);
        let task = faults(r#"{"task_name":5,"parameters":[]}"#);
        assert_eq!(task[0], "/task_name must be a string, not a number");
        assert!(matches!(RunMessage::parse(b"{"), Err(BodyError::NotJson { .. })));
        assert_eq!(faults("[]"), ["the body must be an object, not an array"]);
    }

    proptest! {
        #[test]
        fn the_quick_way_and_the_long_way_agree(
            sender in "[a-z\u{0}]{0,3}",
            kind in prop_oneof!["text", "", "tool_invocation"],
            payload in prop_oneof![Just(json!({"a": 1})), Just(json!([])), Just(json!(null))],
            context in prop_oneof![Just(json!({})), Just(json!(7)), Just(json!(null))],
            id in prop_oneof![Just(json!("m")), Just(json!("ä")), Just(json!(7))],
        ) {
            let text = json!({"senderId": sender, "messageType": kind, "payload": payload,
                "sessionContext": context, "messageId": id}).to_string();
            match RunMessage::quick(&text) {
                Some(message) => prop_assert_eq!(RunMessage::read(&text).unwrap(), message),
                None => prop_assert!(kind == TOOL_INVOCATION || RunMessage::read(&text).is_err()),
            }
        }
    }
}
