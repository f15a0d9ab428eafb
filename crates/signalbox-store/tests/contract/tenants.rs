//! What is one tenant's is found through that tenant and through no other, under the same ids.

use std::sync::Arc;

use signalbox_core::decision::{Key, Row};
use signalbox_core::routing::Route;
use signalbox_core::ssh_key::SshKey;
use signalbox_core::{Decision, Need};
use signalbox_store::{AgentFilter, DeadLetterFilter, EventFilter, Page, Removal, SessionFilter, StoreError};
use signalbox_wire::id::TenantId;

use crate::samples::{
    agent, agent_id, answered, api_key, available, definition, deliver, event, hook, hook_id, key_id,
    message, message_id, name, schedule, schedule_id, session, session_id, settled, signature, ssh_key,
    status, task_id, tenant_id, tenant_row, tool, tool_name, waiting_task, workflow, workflow_id,
};
use crate::world::{World, at, contract, parts, view_of};

contract! {
    the_same_ids_in_two_tenants_are_strangers,
    a_removed_tenant_leaves_nothing,
    what_is_on_its_way_for_a_removed_tenant_is_not_written,
}

/// Everything that a tenant can have, told apart by `mark`.
fn everything(mark: &str) -> Decision {
    let mut agent = agent("same", &["read"]);
    agent.version = mark.to_owned();
    let mut message = settled("same", signalbox_core::delivery::MessageStatus::Dead, 1);
    message.body = mark.to_owned();
    let mut tool = tool("same");
    tool.description = mark.to_owned();
    let mut definition = definition("same", 1);
    definition.name = mark.to_owned();
    let mut session = session("same", "same", 1);
    session.trace = Some(mark.to_owned());
    let mut schedule = schedule("same");
    schedule.plan.note = Some(mark.to_owned());
    let mut decision = Decision::default();
    for row in [
        Row::Schedule(Arc::new(schedule)),
        Row::WebhookTrigger(Arc::new(hook("same", mark))),
        Row::SshKey(Arc::new(SshKey { name: mark.to_owned(), ..ssh_key("same", Some("same")) })),
        Row::Agent(Arc::new(agent)),
        Row::Status(Arc::new(status("same", mark))),
        Row::Available(available(mark, "same", 1)),
        Row::Message(Arc::new(message)),
        Row::Tool(Arc::new(tool)),
        Row::Definition(Arc::new(definition)),
        Row::Workflow(workflow("same", 1)),
        Row::Session(Arc::new(session)),
        Row::Task(session_id("same"), Arc::new(waiting_task("same", Route::Capability(mark.to_owned()), 1))),
    ] {
        decision.create(row, 1);
    }
    decision.events.push(event(mark));
    decision.due.push(deliver("same", 1));
    decision
}

async fn the_same_ids_in_two_tenants_are_strangers(world: &World) {
    let store = &world.store;
    let (one, two, nobody) = (tenant_id("one"), tenant_id("two"), tenant_id("nobody"));
    for tenant in [&one, &two] {
        store.commit(tenant, everything(tenant.as_str()), at(0), None).await.expect("nothing is in its way");
    }
    for tenant in [&one, &two] {
        sees_its_own(world, tenant).await;
    }
    sees_nothing(world, &nobody).await;

    let mut decision = Decision::default();
    decision.remove(Key::Agent(agent_id("same")), 1);
    decision.remove(Key::Session(session_id("same")), 1);
    decision.remove_guarded(Key::Task(task_id("same")));
    decision.done.push(deliver("same", 1).work.id());
    let refused = store.commit(&nobody, decision.clone(), at(0), None).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    store.commit(&two, decision, at(0), None).await.expect("removed");
    assert!(store.agent(&two, &agent_id("same")).await.expect("read").is_none());
    sees_its_own(world, &one).await;
    let claimed = store
        .claim(at(10), std::time::Duration::from_secs(1), signalbox_store::DueKind::Delivery, 10)
        .await
        .expect("claimed");
    assert_eq!(claimed.iter().map(|claimed| &claimed.tenant).collect::<Vec<_>>(), [&one]);
}

async fn a_removed_tenant_leaves_nothing(world: &World) {
    let store = &world.store;
    let (one, two) = (tenant_id("one"), tenant_id("two"));
    for tenant in [&one, &two] {
        let mark = tenant.as_str();
        let mut decision = everything(mark);
        for row in [
            Row::ApiKey(Arc::new(api_key("k", &format!("hash of {mark}")))),
            Row::Tenant(tenant_row(mark)),
            Row::IdempotencyRecord(answered("k", 60)),
            Row::Signature(signature("s", 60)),
            Row::AgentName(name("name of same", "same")),
        ] {
            decision.create(row, 1);
        }
        store.commit(tenant, decision, at(0), None).await.expect("nothing is in its way");
        // More than goes in one piece, of rows and of the log, with a full block of it.
        for batch in 0..5 {
            let mut decision = Decision::default();
            for number in 0..900 {
                let id = format!("m{batch}-{number}");
                decision.create(Row::Message(Arc::new(message(&id))), 1);
                let mut entry = event("more");
                entry.agent = Some(agent_id("same"));
                decision.events.push(entry);
            }
            store.commit(tenant, decision, at(0), None).await.expect("nothing is in its way");
        }
    }
    let mut goes = 0;
    while store.remove_tenant(&one).await.expect("removed") == Removal::Goes {
        assert!(store.key_by_hash("hash of one").await.expect("read").is_none(), "the keys go first");
        assert!(store.tenant(&one).await.expect("read").is_some(), "the tenant goes last");
        goes += 1;
    }
    assert!(goes > 10, "a bounded number of rows at a time, not all in {goes}");
    sees_nothing(world, &one).await;
    let page = Page { limit: 10, after: None };
    assert!(store.keys(&one, &page).await.expect("read").items.is_empty());
    assert!(store.key_by_hash("hash of one").await.expect("read").is_none());
    assert!(store.tenant(&one).await.expect("read").is_none());
    for key in [
        Key::AgentName("name of same".into()),
        Key::Status(agent_id("same")),
        Key::IdempotencyRecord("k".into()),
        Key::Signature("s".into()),
        Key::Message(message_id("m4-899")),
    ] {
        let snapshot = view_of(store, &one, &Need::Row(key)).await;
        assert!(snapshot.agent_named("name of same").map_or(true, |found| found.is_none()));
        assert!(snapshot.status(&agent_id("same")).map_or(true, |found| found.is_none()));
        assert!(snapshot.idempotency_record("k").map_or(true, |found| found.is_none()));
        assert!(snapshot.signature("s").map_or(true, |found| found.is_none()));
        assert!(snapshot.message(&message_id("m4-899")).map_or(true, |found| found.is_none()));
    }
    let filter = EventFilter { agent: Some(agent_id("same")), ..EventFilter::default() };
    assert!(store.events(&one, &filter, &page).await.expect("read").items.is_empty());

    let listed = store.tenants(&page).await.expect("read").items;
    assert_eq!(listed.iter().map(|tenant| &tenant.id).collect::<Vec<_>>(), [&two]);
    assert!(store.key_by_hash("hash of two").await.expect("read").is_some());
    let events = store.events(&two, &filter, &page).await.expect("read").items;
    assert_eq!(events.len(), 10);
    let claimed = store
        .claim(at(10), std::time::Duration::from_secs(1), signalbox_store::DueKind::Delivery, 10)
        .await
        .expect("claimed");
    assert_eq!(claimed.iter().map(|claimed| &claimed.tenant).collect::<Vec<_>>(), [&two]);

    // What was in memory is gone from there too: nothing takes an old row for a present one.
    let mut late = Decision::default();
    late.remove(Key::Agent(agent_id("same")), 1);
    let refused = store.commit(&one, late, at(0), None).await;
    assert!(matches!(refused, Err(StoreError::Removed)), "{refused:?}");
    assert_eq!(store.remove_tenant(&one).await.expect("nothing to do"), Removal::Done);
}

async fn what_is_on_its_way_for_a_removed_tenant_is_not_written(world: &World) {
    let (store, one) = (&world.store, tenant_id("one"));
    let made = |mark: &str, version: i64| {
        let mut decision = everything(mark);
        decision.create(Row::Tenant(tenant_row("one")), version);
        decision
    };
    let sequence = store.commit(&one, made("one", 1), at(0), None).await.expect("made").sequence;
    // Another node knows nothing of the removal, and has long been alone in writing for the tenant.
    let node = world.another_node().await;
    let writers = [store, node.as_ref().unwrap_or(store)];
    while store.remove_tenant(&one).await.expect("removed") == Removal::Goes {}
    for writer in writers {
        let late = writer.commit(&one, everything("late"), at(0), None).await;
        assert!(matches!(late, Err(StoreError::Removed)), "{late:?}");
    }
    sees_nothing(world, &one).await;
    // Made again, it begins with nothing; where other nodes may still know its log, that goes on where it was.
    let again = store.commit(&one, made("again", 2), at(0), None).await.expect("made again");
    assert!(again.sequence > sequence || node.is_none());
    for writer in writers {
        let event = Decision { events: vec![event("more")], ..Decision::default() };
        writer.commit(&one, event, at(0), None).await.expect("it is there");
    }
}

async fn sees_its_own(world: &World, tenant: &TenantId) {
    let (store, mark, page) = (&world.store, tenant.as_str(), Page { limit: 10, after: None });
    let agent = parts(store.agent(tenant, &agent_id("same")).await.expect("read")).expect("there");
    assert_eq!(agent.1.version, mark);
    let message = parts(store.message(tenant, &message_id("same")).await.expect("read")).expect("there");
    assert_eq!(message.1.body, mark);
    let tool = parts(store.tool(tenant, &tool_name("same")).await.expect("read")).expect("there");
    assert_eq!(tool.1.description, mark);
    let schedule = parts(store.schedule(tenant, &schedule_id("same")).await.expect("read")).expect("there");
    assert_eq!(schedule.1.plan.note.as_deref(), Some(mark));
    let hook = parts(store.hook(tenant, &hook_id("same")).await.expect("read")).expect("there");
    assert_eq!(hook.1.secret.expose(), mark);
    let key = parts(store.ssh_key(tenant, &key_id("same")).await.expect("read")).expect("there");
    assert_eq!(key.1.name, mark);
    let keys = store.ssh_keys(tenant, Some(&agent_id("same")), &page).await.expect("read").items;
    assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), [mark]);
    let definition = store.definition(tenant, &workflow_id("same"), None).await.expect("read");
    assert_eq!(parts(definition).expect("there").1.name, mark);
    let session = parts(store.session(tenant, &session_id("same")).await.expect("read")).expect("there");
    assert_eq!((session.1.session.trace.as_deref(), session.1.tasks.len()), (Some(mark), 1));
    let filter = AgentFilter {
        state: Some(mark.to_owned()),
        capability: Some("read".into()),
        name: None,
        presence: None,
    };
    let agents = store.agents(tenant, &filter, &page).await.expect("read").items;
    assert_eq!(agents.iter().map(|(agent, _)| agent.version.as_str()).collect::<Vec<_>>(), [mark]);
    let events = store.events(tenant, &EventFilter::default(), &page).await.expect("read").items;
    assert_eq!(
        events.iter().map(|event| (event.sequence, event.kind.as_str())).collect::<Vec<_>>(),
        [(1, mark)]
    );
    let snapshot = view_of(store, tenant, &Need::Candidates(mark.to_owned())).await;
    assert_eq!(snapshot.candidates(mark).expect("loaded"), [agent_id("same")]);
    let routes = vec!["capability:one".to_owned(), "capability:two".to_owned()];
    let snapshot = view_of(store, tenant, &Need::Waiting(routes.clone())).await;
    assert_eq!(snapshot.waiting(&routes).expect("loaded").len(), 1);
    let sessions = store.sessions(tenant, &SessionFilter::default(), &page).await.expect("read").items;
    assert_eq!(sessions.iter().filter_map(|session| session.trace.as_deref()).collect::<Vec<_>>(), [mark]);
    let dead = store.dead_letters(tenant, &DeadLetterFilter::default(), &page).await.expect("read").items;
    assert_eq!(dead.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(), [mark]);
    assert_eq!(store.tools(tenant, &page).await.expect("read").items.len(), 1);
    assert_eq!(store.workflows(tenant, &page).await.expect("read").items.len(), 1);
}

async fn sees_nothing(world: &World, tenant: &TenantId) {
    let (store, page) = (&world.store, Page { limit: 10, after: None });
    assert!(store.agent(tenant, &agent_id("same")).await.expect("read").is_none());
    assert!(store.session(tenant, &session_id("same")).await.expect("read").is_none());
    assert!(store.message(tenant, &message_id("same")).await.expect("read").is_none());
    assert!(store.tool(tenant, &tool_name("same")).await.expect("read").is_none());
    assert!(store.schedule(tenant, &schedule_id("same")).await.expect("read").is_none());
    assert!(store.schedules(tenant, &page).await.expect("read").items.is_empty());
    assert!(store.hook(tenant, &hook_id("same")).await.expect("read").is_none());
    assert!(store.hooks(tenant, &page).await.expect("read").items.is_empty());
    assert!(store.ssh_key(tenant, &key_id("same")).await.expect("read").is_none());
    assert!(store.ssh_keys(tenant, None, &page).await.expect("read").items.is_empty());
    assert!(store.definition(tenant, &workflow_id("same"), Some(1)).await.expect("read").is_none());
    assert!(store.agents(tenant, &AgentFilter::default(), &page).await.expect("read").items.is_empty());
    assert!(store.sessions(tenant, &SessionFilter::default(), &page).await.expect("read").items.is_empty());
    assert!(store.events(tenant, &EventFilter::default(), &page).await.expect("read").items.is_empty());
    assert!(
        store.dead_letters(tenant, &DeadLetterFilter::default(), &page).await.expect("read").items.is_empty()
    );
    assert!(!store.open_session_of_workflow(tenant, &workflow_id("same"), None).await.expect("read"));
    let snapshot = view_of(store, tenant, &Need::Candidates("one".into())).await;
    assert!(snapshot.candidates("one").expect("loaded").is_empty());
}
