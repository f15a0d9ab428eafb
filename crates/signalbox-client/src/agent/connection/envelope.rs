//! What goes over the connection: envelopes as they come from the server, and as the agent writes them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use signalbox_wire::artcafe::live::{CANCEL_COMMAND, CANCEL_TASK, EXECUTE_TASK};
use signalbox_wire::time::Timestamp;

use crate::agent::call::{Call, Kind};
use crate::agent::context::Context;
use crate::agent::failure::Failure;
use crate::agent::handlers::Outcome;
use crate::agent::inbox::Arrival;
use crate::agent::subscription::Subscription;

/// What came, and its place among what must not be lost.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) sequence: Option<u64>,
    pub(super) what: What,
}

/// What came.
#[derive(Debug)]
pub(super) enum What {
    /// Work, or the end of some.
    Arrival(Box<Arrival>),
    /// The server has an envelope of ours; of a channel, where it stands there.
    Ack { message_id: String, sequence: Option<u64> },
    /// The server refused an envelope of ours.
    Error(Value),
    /// The server has a heartbeat.
    HeartbeatAck { connection_id: Option<String> },
    /// What another agent replied to a request.
    Reply { request_id: String, payload: Value },
    /// Something is missing.
    Gap(Value),
    /// Who comes and goes.
    Presence(Value),
    /// What this client does not know.
    Unknown,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    r#type: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    sequence: Option<u64>,
}

#[derive(Deserialize)]
struct Command {
    command: String,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    traceparent: Option<String>,
}

#[derive(Deserialize)]
struct TaskArgs {
    task_id: String,
    #[serde(default)]
    parameters: Value,
    #[serde(default)]
    task_name: Option<String>,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    deadline: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Channel {
    subject: String,
    #[serde(default)]
    channel_id: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    sequence: Option<u64>,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    payload: Value,
    reply_to: String,
}

impl Received {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let envelope: Envelope<'_> = serde_json::from_slice(bytes)?;
        let data = envelope.data.map_or("{}", RawValue::get);
        let id = envelope.id;
        let what = match envelope.r#type.as_str() {
            "command" => What::Arrival(Box::new(command(id.as_deref(), serde_json::from_str(data)?)?)),
            "message" => What::Arrival(Box::new(message(id.as_deref(), data)?)),
            "request" => What::Arrival(Box::new(request(id.as_deref(), serde_json::from_str(data)?))),
            kind => other(kind, data)?,
        };
        Ok(Self { sequence: envelope.sequence, what })
    }
}

fn other(kind: &str, data: &str) -> Result<What, serde_json::Error> {
    #[derive(Deserialize)]
    struct Acknowledged {
        message_id: String,
        #[serde(default)]
        sequence: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Heartbeat {
        #[serde(default)]
        connection_id: Option<String>,
    }
    #[derive(Deserialize)]
    struct Replied {
        request_id: String,
        #[serde(default)]
        payload: Value,
    }
    Ok(match kind {
        "ack" => {
            let Acknowledged { message_id, sequence } = serde_json::from_str(data)?;
            What::Ack { message_id, sequence }
        }
        "error" => What::Error(serde_json::from_str(data)?),
        "heartbeat_ack" => {
            What::HeartbeatAck { connection_id: serde_json::from_str::<Heartbeat>(data)?.connection_id }
        }
        "reply" => {
            let Replied { request_id, payload } = serde_json::from_str(data)?;
            What::Reply { request_id, payload }
        }
        "gap" => What::Gap(serde_json::from_str(data)?),
        "presence" => What::Presence(serde_json::from_str(data)?),
        _ => What::Unknown,
    })
}

fn command(id: Option<&str>, command: Command) -> Result<Arrival, serde_json::Error> {
    let argument = |name: &str| command.args.get(name).and_then(Value::as_str).map(str::to_owned);
    let cancels = match command.command.as_str() {
        CANCEL_TASK => argument("task_id"),
        CANCEL_COMMAND => argument("command_id"),
        _ => None,
    };
    let mut call = Call {
        kind: Kind::Command,
        id: id.map(str::to_owned),
        attempt: 1,
        traceparent: command.traceparent,
        ..Call::default()
    };
    if command.command == EXECUTE_TASK {
        let args: TaskArgs = serde_json::from_value(command.args)?;
        call = Call {
            kind: Kind::Task,
            name: args.task_name.unwrap_or_default(),
            payload: args.parameters,
            task_id: Some(args.task_id),
            session_id: args.session_id,
            attempt: args.attempt.unwrap_or(1),
            deadline: args.deadline,
            from: Some("opscore".to_owned()),
            ..call
        };
    } else {
        (call.name, call.payload) = (command.command, command.args);
    }
    Ok(Arrival { call, cancels, ..Arrival::default() })
}

/// A message of a channel has a subject and no type; any other is what was sent with `/run`.
fn message(id: Option<&str>, data: &str) -> Result<Arrival, serde_json::Error> {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(default, rename = "messageType")]
        message_type: Option<Value>,
        #[serde(default)]
        subject: Option<Value>,
    }
    let typed: Typed = serde_json::from_str(data)?;
    if typed.message_type.is_none() && typed.subject.is_some_and(|subject| subject.is_string()) {
        return Ok(publication(id, serde_json::from_str(data)?));
    }
    let mut arrival = Arrival::read(data.as_bytes())?;
    let call = &mut arrival.call;
    call.id = id.map(str::to_owned);
    if call.name.is_empty() && call.kind == Kind::Message {
        "message".clone_into(&mut call.name);
    }
    if let Some(Value::String(from)) = call.more.remove("from") {
        call.from = Some(from);
    }
    Ok(arrival)
}

/// A publisher's id is its own: what is kept is known by its place in the channel, what is live by publisher and id.
fn publication(id: Option<&str>, channel: Channel) -> Arrival {
    let Channel { subject, channel_id, from, payload, sequence } = channel;
    let repeat_key = match sequence {
        Some(sequence) => Some(format!("{}#{sequence}", channel_id.as_ref().unwrap_or(&subject))),
        None => id.map(|id| format!("{}/{subject}/{id}", from.as_deref().unwrap_or_default())),
    };
    let more = channel_id.map(|id| ("channel_id".to_owned(), Value::from(id)));
    let call = Call {
        kind: Kind::Publication,
        name: subject,
        payload,
        id: id.map(str::to_owned),
        attempt: 1,
        from,
        sequence,
        more: Map::from_iter(more),
        ..Call::default()
    };
    Arrival { call, repeat_key, ..Arrival::default() }
}

fn request(id: Option<&str>, request: Request) -> Arrival {
    let call = Call {
        kind: Kind::Request,
        name: request.subject.unwrap_or_else(|| "request".to_owned()),
        payload: request.payload,
        id: id.map(str::to_owned),
        attempt: 1,
        from: request.from,
        context: Context::default(),
        ..Call::default()
    };
    let reply_to = Some(request.reply_to);
    Arrival { call, repeat_key: reply_to.clone(), reply_to, ..Arrival::default() }
}

/// An envelope of the agent's.
pub(in crate::agent) fn write(kind: &str, id: &str, data: impl Serialize, now: Timestamp) -> String {
    #[derive(Serialize)]
    struct Written<'a, D> {
        r#type: &'a str,
        id: &'a str,
        data: D,
        timestamp: Timestamp,
    }
    // Maps with string keys: writing them cannot fail.
    serde_json::to_string(&Written { r#type: kind, id, data, timestamp: now }).unwrap_or_default()
}

/// The data of the `response` to a task or command.
pub(in crate::agent) fn response(command_id: &str, outcome: &Outcome) -> Value {
    match outcome {
        Ok(result) => json!({ "command_id": command_id, "status": "success", "result": result }),
        Err(failure) => {
            json!({ "command_id": command_id, "status": "error", "error": failure_data(failure) })
        }
    }
}

/// A failure with nothing but words is those words.
pub(in crate::agent) fn failure_data(failure: &Failure) -> Value {
    if failure.code.is_none() && failure.details.is_none() {
        return Value::from(failure.message.as_str());
    }
    let mut data = Map::from_iter([("message".to_owned(), Value::from(failure.message.as_str()))]);
    if let Some(code) = &failure.code {
        data.insert("code".to_owned(), Value::from(code.as_str()));
    }
    if let Some(details) = &failure.details {
        data.insert("details".to_owned(), details.clone());
    }
    Value::Object(data)
}

/// The data of a `subscribe`.
pub(super) fn subscribe(subscription: &Subscription) -> Value {
    use signalbox_wire::artcafe::frames::After;
    let mut data = Map::from_iter([("subject".to_owned(), Value::from(subscription.subject.as_str()))]);
    match &subscription.after {
        Some(After::Sequence(sequence)) => {
            data.insert("after".to_owned(), Value::from(*sequence));
        }
        Some(After::BySubject(sequences)) => {
            let sequences = sequences.iter().map(|(subject, at)| (subject.clone(), Value::from(*at)));
            data.insert("after".to_owned(), Value::Object(sequences.collect()));
        }
        None => {}
    }
    if subscription.presence {
        data.insert("presence".to_owned(), Value::from(true));
    }
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(envelope: &Value) -> Arrival {
        match Received::read(envelope.to_string().as_bytes()).unwrap().what {
            What::Arrival(arrival) => *arrival,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_tasks_and_their_ends_are_told_apart() {
        let task = arrival(
            &json!({"type": "command", "id": "tsk_a-2", "sequence": 7, "data": {"command": "execute_task",
            "traceparent": "00-a-b-01", "args": {"task_id": "tsk_a-2", "parameters": {"n": 1}, "task_name": "count",
            "session_id": "ses_1", "attempt": 2, "deadline": "2026-01-01T00:00:00Z"}}}),
        );
        let call = &task.call;
        assert_eq!((call.kind, call.name.as_str(), &call.payload), (Kind::Task, "count", &json!({"n": 1})));
        assert_eq!((call.task_id.as_deref(), call.attempt), (Some("tsk_a-2"), 2));
        assert!(call.deadline.is_some() && call.traceparent.is_some() && task.cancels.is_none());
        let command = arrival(
            &json!({"type": "command", "id": "cmd_1", "data": {"command": "restart", "args": {"now": true}}}),
        );
        assert_eq!((command.call.kind, command.call.name.as_str()), (Kind::Command, "restart"));
        for (name, argument) in [("cancel_task", "task_id"), ("cancel_command", "command_id")] {
            let end = arrival(
                &json!({"type": "command", "id": "x", "data": {"command": name, "args": {argument: "it"}}}),
            );
            assert_eq!(end.cancels.as_deref(), Some("it"));
        }
    }

    #[test]
    fn messages_and_publications_are_told_apart() {
        let sent = arrival(&json!({"type": "message", "id": "msg_1", "data": {"from": "a", "senderId": "a",
            "messageType": "greeting", "payload": {"n": 1}, "subject": "hello"}}));
        assert_eq!((sent.call.kind, sent.call.name.as_str()), (Kind::Message, "greeting"));
        assert_eq!(sent.call.from.as_deref(), Some("a"));
        let direct = arrival(&json!({"type": "message", "id": "m", "data": {"from": "a", "payload": 1}}));
        assert_eq!((direct.call.kind, direct.call.name.as_str()), (Kind::Message, "message"));
        let kept =
            arrival(&json!({"type": "message", "id": "mine", "data": {"subject": "orders.eu", "from": "a",
            "channel_id": "chn_1", "payload": 7, "sequence": 12}}));
        assert_eq!((kept.call.kind, kept.call.sequence), (Kind::Publication, Some(12)));
        assert_eq!(kept.repeat_key.as_deref(), Some("chn_1#12"));
        let live = arrival(
            &json!({"type": "message", "id": "1", "data": {"subject": "s", "from": "b", "payload": 7}}),
        );
        assert_eq!(live.repeat_key.as_deref(), Some("b/s/1"));
    }

    #[test]
    fn a_failure_says_its_code_where_it_has_one() {
        let plain = Failure::new("no disk");
        assert_eq!(response("t", &Err(plain.clone()))["error"], json!("no disk"));
        assert_eq!(
            response("t", &Err(plain.code("disk")))["error"],
            json!({"message": "no disk", "code": "disk"})
        );
    }
}
