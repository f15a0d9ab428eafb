//! Hooks: what a webhook starts, and that a secret that was changed meanwhile starts nothing.

use serde_json::{Map, json};
use signalbox_core::Rejected;
use signalbox_core::definition::Definition;
use signalbox_core::engine::{ApplyDefinition, CreateHook, DeleteHook, ReceiveWebhook, RotateHook};
use signalbox_core::hook::{HookSecret, WebhookTrigger};
use signalbox_core::session::SessionStatus;
use signalbox_wire::id::{AgentId, HookId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::stage::Stage;

fn id() -> HookId {
    HookId::parse("orders").expect("valid")
}

fn hook(agent: Option<&str>) -> WebhookTrigger {
    WebhookTrigger {
        id: id(),
        workflow: WorkflowId::parse("bill").expect("valid"),
        agent: agent.map(|agent| AgentId::parse(agent).expect("valid")),
        note: None,
        secret: HookSecret::new("first"),
        earlier: None,
        created_at: Timestamp::default(),
        rotated_at: None,
    }
}

fn webhook(believed_by: &str) -> ReceiveWebhook {
    ReceiveWebhook {
        hook: id(),
        believed_by: HookSecret::new(believed_by),
        webhook: "msg_1".to_owned(),
        input: Map::from_iter([("order".to_owned(), json!(7))]),
        trace: None,
    }
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    let definition = Box::new(Definition::of(hook(None).workflow, Vec::new()));
    stage.run(&ApplyDefinition { definition }).expect("kept");
    stage.run(&CreateHook { hook: hook(None) }).expect("made");
    stage
}

#[test]
fn a_webhook_starts_a_session_with_its_body() {
    let mut stage = stage();
    let started = stage.run(&webhook("first")).expect("started");
    let session = stage.state(&started.session).session;
    assert_eq!((session.status, &session.input["order"]), (SessionStatus::Completed, &json!(7)));
}

#[test]
fn a_hook_names_what_is_there_and_its_id_is_taken_once() {
    let mut stage = stage();
    assert!(matches!(stage.run(&CreateHook { hook: hook(None) }), Err(Rejected::HookTaken(_))));
    stage.run(&DeleteHook { hook: id() }).expect("removed");
    let refused = stage.run(&CreateHook { hook: hook(Some("nobody")) });
    assert!(matches!(refused, Err(Rejected::UnknownAgent(_))));
    let elsewhere = WebhookTrigger { workflow: WorkflowId::parse("none").expect("valid"), ..hook(None) };
    assert!(matches!(stage.run(&CreateHook { hook: elsewhere }), Err(Rejected::UnknownWorkflow(_))));
    assert!(matches!(stage.run(&DeleteHook { hook: id() }), Err(Rejected::UnknownHook(_))));
}

#[test]
fn a_secret_that_is_good_no_more_starts_nothing() {
    let mut stage = stage();
    let earlier_until = Some(stage.now + std::time::Duration::from_secs(60));
    let rotate = |secret: &str, earlier_until| {
        let secret = HookSecret::new(secret);
        RotateHook { hook: id(), secret, earlier_until }
    };
    let (seen, _) = stage.decide(&webhook("first")).expect("decided");
    stage.run(&rotate("second", earlier_until)).expect("rotated");
    assert!(stage.store.commit(&seen, None).is_err(), "the hook has changed meanwhile");
    stage.run(&webhook("first")).expect("kept for a minute");
    stage.run(&webhook("second")).expect("the new one");
    stage.now = stage.now + std::time::Duration::from_secs(61);
    assert_eq!(stage.run(&webhook("first")), Err(Rejected::NotBelieved));
    stage.run(&rotate("third", None)).expect("rotated");
    assert_eq!(stage.run(&webhook("second")), Err(Rejected::NotBelieved));
    stage.run(&DeleteHook { hook: id() }).expect("removed");
    assert_eq!(stage.run(&webhook("third")), Err(Rejected::NotBelieved));
}
