//! Rows, events and due work to store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, json};
use signalbox_core::agent::{Agent, AgentStatus, Connection, Report};
use signalbox_core::channel::{Channel, ChannelMessage, ChannelName, ChannelRetention};
use signalbox_core::command::{AgentCommand, CommandStatus};
use signalbox_core::cron::Rhythm;
use signalbox_core::decision::{
    AgentName, ApiKey, Available, ConcurrencyGroup, IdempotencyRecord, Retention, Row, Scope, SeenSignature,
    Tenant, Tool, Workflow,
};
use signalbox_core::definition::{Definition, Step};
use signalbox_core::delivery::{Message, MessageKind, MessageStatus};
use signalbox_core::due::{Due, DueJob};
use signalbox_core::event::{Level, NewEvent};
use signalbox_core::figures::{AgentFigures, Sample};
use signalbox_core::hook::{HookSecret, WebhookTrigger};
use signalbox_core::payload::Payload;
use signalbox_core::quota::{TenantLimits, UsageDay};
use signalbox_core::routing::Route;
use signalbox_core::schedule::{Overlap, Plan, Schedule};
use signalbox_core::session::{Session, SessionStatus};
use signalbox_core::ssh_key::{SshFingerprint, SshKey, SshKeyKind};
use signalbox_core::task::Task;
use signalbox_core::token_keys::{Seed, SigningSeed, TokenKeys};
use signalbox_wire::id::{
    AgentId, ChannelId, CommandId, ConnectionId, HookId, KeyId, MessageId, NodeId, ScheduleId, SessionId,
    TaskId, TenantId, ToolName, WorkflowId,
};
use signalbox_wire::time::Timestamp;

use crate::world::at;

macro_rules! ids {
    ($($name:ident -> $type:ident;)*) => {$(
        pub(crate) fn $name(text: &str) -> $type {
            $type::parse(text).expect("valid")
        }
    )*};
}

ids! {
    agent_id -> AgentId;
    channel_id -> ChannelId;
    key_id -> KeyId;
    message_id -> MessageId;
    schedule_id -> ScheduleId;
    hook_id -> HookId;
    session_id -> SessionId;
    task_id -> TaskId;
    tenant_id -> TenantId;
    tool_name -> ToolName;
    workflow_id -> WorkflowId;
}

pub(crate) fn agent(id: &str, capabilities: &[&str]) -> Agent {
    Agent {
        id: agent_id(id),
        name: format!("name of {id}"),
        version: "1".into(),
        endpoint: Some("http://127.0.0.1:9/".into()),
        capabilities: capabilities.iter().map(|name| json!(name)).collect(),
        metadata: Map::new(),
        registered_at: at(0),
        generation: 1,
        concurrency: 1,
    }
}

pub(crate) fn status(id: &str, state: &str) -> AgentStatus {
    let report = Report {
        state: state.into(),
        details: None,
        timestamp: at(1),
        about_task: false,
        counts_as: None,
        answered_after: None,
        awaits_delivery: None,
    };
    AgentStatus { report: Some(report), ..AgentStatus::fresh(agent_id(id), 1, at(0)) }
}

pub(crate) fn connected(id: &str, node: &str) -> AgentStatus {
    let connection = Connection {
        node: NodeId::parse(node).expect("valid"),
        id: ConnectionId::parse(&format!("con_{id}")).expect("valid"),
        since: at(3),
        key: Some(key_id("k")),
        is_resumed: false,
    };
    AgentStatus { connection: Some(connection), ..status(id, "idle") }
}

pub(crate) fn command(id: &str, agent: &str, ended_at: Option<i64>) -> AgentCommand {
    AgentCommand {
        id: CommandId::parse(id).expect("valid"),
        agent: agent_id(agent),
        command: "restart".into(),
        args: Map::from_iter([("now".to_owned(), json!(true))]),
        timeout: Duration::from_secs(300),
        status: if ended_at.is_some() { CommandStatus::Success } else { CommandStatus::Queued },
        by: Some("key k".into()),
        trace: None,
        progress: Some(json!(40)),
        result: ended_at.map(|_| json!({"ok": 1})),
        error: None,
        tries: 1,
        sends: 1,
        is_acknowledged: false,
        created_at: at(0),
        expires_at: at(300),
        sent_at: None,
        ended_at: ended_at.map(at),
        is_answered_late: ended_at.is_some(),
    }
}

pub(crate) fn figures(agent: &str) -> AgentFigures {
    let sample = Sample { at: at(2), cpu_usage: Some(12.5), memory_usage: None };
    AgentFigures {
        agent: agent_id(agent),
        last_seen: at(2),
        metrics: Map::from_iter([("queue".to_owned(), json!(3))]),
        samples: vec![sample],
    }
}

pub(crate) fn name(name: &str, agent: &str) -> AgentName {
    AgentName { name: name.into(), agent: agent_id(agent) }
}

pub(crate) fn available(route: &str, agent: &str, last_used: i64) -> Available {
    Available { route: route.into(), agent: agent_id(agent), last_used: at(last_used) }
}

pub(crate) fn session(id: &str, workflow: &str, created_at: i64) -> Session {
    Session {
        input: Map::from_iter([("n".to_owned(), json!(1))]),
        ..Session::new(session_id(id), workflow_id(workflow), 1, at(created_at))
    }
}

pub(crate) fn ended(mut session: Session, status: SessionStatus, ended_at: i64) -> Session {
    (session.status, session.ended_at) = (status, Some(at(ended_at)));
    session
}

pub(crate) fn task(id: &str, position: usize) -> Task {
    Task { retries: 3, ..Task::new(task_id(id), format!("step{position}"), position, Route::Any) }
}

pub(crate) fn waiting_task(id: &str, route: Route, queued_at: i64) -> Task {
    Task { route, queued_at: Some(at(queued_at)), ..task(id, 0) }
}

pub(crate) fn definition(id: &str, revision: u32) -> Definition {
    let step = Step { id: "a".into(), capability: Some("read".into()), ..Step::default() };
    Definition {
        revision,
        name: format!("{id} {revision}"),
        created_at: at(0),
        ..Definition::of(workflow_id(id), vec![step])
    }
}

pub(crate) fn workflow(id: &str, revision: u32) -> Workflow {
    Workflow { id: workflow_id(id), revision, oldest: 1, is_deleted: false, created_at: at(0) }
}

pub(crate) fn message(id: &str) -> Message {
    Message {
        id: message_id(id),
        kind: MessageKind::Message,
        agent: Some(agent_id("a")),
        task: None,
        url: None,
        body: r#"{"a": 1}"#.into(),
        trace: None,
        status: MessageStatus::Scheduled,
        attempts: 0,
        attempts_max: 8,
        created_at: at(0),
        redriven_at: None,
        next_at: Some(at(0)),
        lane: signalbox_core::due::Lane::default(),
        settled_at: None,
        last_status: None,
        last_error: None,
    }
}

pub(crate) fn settled(id: &str, status: MessageStatus, settled_at: i64) -> Message {
    Message { status, settled_at: Some(at(settled_at)), next_at: None, ..message(id) }
}

pub(crate) fn tool(name: &str) -> Tool {
    Tool {
        name: tool_name(name),
        description: "adds".into(),
        parameters: Map::from_iter([("type".to_owned(), json!("object"))]),
        endpoint: "http://127.0.0.1:9/".into(),
        created_at: at(0),
    }
}

pub(crate) fn api_key(id: &str, hash: &str) -> ApiKey {
    ApiKey {
        id: key_id(id),
        hash: hash.into(),
        name: "a key".into(),
        scope: Scope::Agent,
        created_at: at(0),
        expires_at: Some(at(90)),
        rotated_at: None,
        previous: None,
        last_used_at: Some(at(1)),
    }
}

pub(crate) fn tenant_row(id: &str) -> Tenant {
    let limits = TenantLimits { agents: Some(0), ..TenantLimits::default() };
    Tenant { id: tenant_id(id), name: format!("name of {id}"), created_at: at(0), limits }
}

pub(crate) fn answered(key: &str, expires_at: i64) -> IdempotencyRecord {
    IdempotencyRecord {
        key: key.into(),
        request: "r".into(),
        status: 202,
        body: "{}".into(),
        expires_at: at(expires_at),
    }
}

pub(crate) fn signature(signature: &str, expires_at: i64) -> SeenSignature {
    SeenSignature { signature: signature.into(), expires_at: at(expires_at) }
}

pub(crate) fn hook(id: &str, secret: &str) -> WebhookTrigger {
    WebhookTrigger {
        id: hook_id(id),
        workflow: workflow_id("w"),
        agent: Some(agent_id("a")),
        note: None,
        secret: HookSecret::new(secret),
        earlier: Some((HookSecret::new("whsec_old"), at(60))),
        created_at: at(0),
        rotated_at: Some(at(1)),
    }
}

pub(crate) fn ssh_key(id: &str, agent: Option<&str>) -> SshKey {
    SshKey {
        id: key_id(id),
        name: format!("name of {id}"),
        public_key: "ssh-ed25519 AAAA".into(),
        fingerprint: format!("SHA256:{id}"),
        kind: SshKeyKind::Agent,
        agent: agent.map(agent_id),
        registered_at: None,
        created_at: at(0),
        created_by: "an admin".into(),
        revoked: None,
    }
}

pub(crate) fn schedule(id: &str) -> Schedule {
    let plan = Plan {
        workflow: workflow_id("w"),
        agent: None,
        input: Map::from_iter([("day".to_owned(), json!("${scheduledAt}"))]),
        rhythm: Rhythm::Cron("0 3 * * *".into()),
        time_zone: "Europe/Berlin".into(),
        overlap: Overlap::BufferAll,
        catch_up: Duration::from_secs(600),
        note: Some("at night".into()),
    };
    Schedule { open: vec![session_id("s")], ..Schedule::new(schedule_id(id), plan, at(0)) }
}

pub(crate) fn channel(id: &str, name: &str) -> Channel {
    Channel {
        id: channel_id(id),
        name: name.into(),
        description: Some("what is ordered".into()),
        retention: ChannelRetention { max_messages: 10, max_age: Duration::from_secs(60) },
        next_sequence: 1,
        first_kept: 1,
        last_at: Some(at(0)),
        created_at: at(0),
        created_by: Some(agent_id("a")),
    }
}

pub(crate) fn channel_name(name: &str, channel: &str) -> ChannelName {
    ChannelName { name: name.into(), channel: channel_id(channel) }
}

pub(crate) fn channel_message(channel: &str, sequence: u64, id: &str, moment: i64) -> ChannelMessage {
    ChannelMessage {
        channel: channel_id(channel),
        sequence,
        id: message_id(id),
        from: Some(agent_id("a")),
        payload: RawValue::from_string(r#"{"é": "\u0000", "n": 1.50}"#.into()).expect("JSON"),
        at: at(moment),
    }
}

/// One row of every kind.
pub(crate) fn every_kind() -> Vec<Row> {
    vec![
        Row::Agent(Arc::new(agent("a", &["read", "write", "read"]))),
        Row::AgentName(name("n", "a")),
        Row::Status(Arc::new(connected("a", "nod_1"))),
        Row::Available(available("any", "a", 0)),
        Row::Session(Arc::new(session("s", "w", 0))),
        Row::Task(session_id("s"), Arc::new(task("t", 0))),
        Row::Definition(Arc::new(definition("w", 1))),
        Row::Workflow(workflow("w", 1)),
        Row::Message(Arc::new(message("m"))),
        Row::Tool(Arc::new(tool("adder"))),
        Row::ApiKey(Arc::new(api_key("k", "h"))),
        Row::Tenant(tenant_row("t")),
        Row::IdempotencyRecord(answered("POST /a key", 60)),
        Row::ConcurrencyGroup(Arc::new(ConcurrencyGroup {
            key: "w/a".into(),
            limit: 1,
            holders: vec![session_id("s")],
            queue: Vec::new(),
        })),
        Row::Signature(signature("s", 60)),
        Row::Retention(Retention { sessions: Some(Duration::from_secs(60)), ..Retention::default() }),
        Row::Schedule(Arc::new(schedule("nightly"))),
        Row::WebhookTrigger(Arc::new(hook("orders", "whsec_x"))),
        Row::Usage(UsageDay { messages: 3, ..UsageDay::of(20_000) }),
        Row::Payload(Arc::new(Payload::of(json!({"large": [1, "é\u{0}"]})))),
        Row::Channel(Arc::new(channel("c", "orders.eu"))),
        Row::ChannelName(channel_name("orders.eu", "c")),
        Row::ChannelMessage(Arc::new(channel_message("c", 1, "m", 0))),
        Row::Command(Arc::new(command("cmd_1", "a", None))),
        Row::Figures(Arc::new(figures("a"))),
        Row::SshKey(Arc::new(ssh_key("k", Some("a")))),
        Row::SshFingerprint(SshFingerprint { fingerprint: "SHA256:k".into(), key: key_id("k") }),
        Row::TokenKeys(Arc::new(TokenKeys {
            challenge: Seed::new([7; 32]),
            signing: vec![SigningSeed { seed: Seed::new([255; 32]), created_at: at(1) }],
        })),
    ]
}

pub(crate) fn event(kind: &str) -> NewEvent {
    NewEvent::new(kind, Level::Info, at(0), &json!({}))
}

pub(crate) fn event_at(kind: &str, level: Level, at: Timestamp) -> NewEvent {
    NewEvent::new(kind, level, at, &json!({"said": kind}))
}

pub(crate) fn deliver(message: &str, due_at: i64) -> Due {
    Due::new(DueJob::Deliver { message: message_id(message) }, at(due_at))
}
