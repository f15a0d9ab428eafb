//! Lists: their order, their filters, and pages that stay put while rows come and go.

use std::sync::Arc;

use serde_json::json;
use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::decision::{Key, Row};
use signalbox_core::delivery::{Message, MessageKind, MessageStatus};
use signalbox_core::figures::AgentFigures;
use signalbox_core::session::SessionStatus;
use signalbox_core::ssh_key::{Revocation, SshKey};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_core::{Decision, Need};
use signalbox_store::{AgentFilter, DeadLetterFilter, Listed, Page, Presence, SessionFilter, Store};
use signalbox_wire::id::{CommandId, NodeId};

use crate::samples::{
    agent, agent_id, api_key, command, connected, definition, ended, figures, hook, key_id, name, schedule,
    session, session_id, settled, ssh_key, status, task, tenant_id, tenant_row, tool, workflow, workflow_id,
};
use crate::world::{World, at, commit, contract, tenant, view_of};

contract! {
    agents_are_listed_by_id_with_their_status,
    an_agent_is_last_seen_when_it_or_its_connection_said_so,
    agents_are_filtered,
    agents_are_found_by_how_they_are_reached,
    connected_agents_are_found_by_their_node,
    capabilities_follow_the_registration,
    sessions_are_listed_newest_first,
    sessions_are_found_by_their_agents,
    sessions_are_found_by_what_they_hold,
    sessions_of_a_workflow_are_found_by_their_status,
    revisions_are_listed_newest_first,
    open_sessions_of_a_workflow_are_known,
    dead_letters_are_listed_longest_dead_first,
    tools_keys_workflows_schedules_hooks_and_tenants_are_listed,
    an_agents_active_ssh_keys_are_found, keys_are_found_among_others, commands_are_listed_newest_first_and_the_open_ones_counted,
    pages_stay_put_while_rows_come_and_go,
}

/// Walks all pages of `limit` and joins the names.
macro_rules! walk {
    ($limit:expr, |$page:ident| $list:expr, $name:expr) => {{
        let mut $page = Page { limit: $limit, after: None };
        let mut names: Vec<String> = Vec::new();
        loop {
            let Listed { items, next } = $list.await.expect("read");
            assert!(items.len() <= $limit && (next.is_none() || items.len() == $limit));
            names.extend(items.iter().map($name));
            match next {
                Some(next) => $page.after = Some(next),
                None => break names,
            }
        }
    }};
}

async fn put(store: &Store, rows: Vec<Row>) {
    let mut decision = Decision::default();
    rows.into_iter().for_each(|row| decision.put_guarded(row, 1));
    commit(store, decision).await.expect("put");
}

async fn agents(store: &Store, filter: AgentFilter) -> Vec<String> {
    walk!(2, |page| store.agents(&tenant(), &filter, &page), |(agent, status)| {
        let said = status.as_ref().and_then(|status| Some(status.report.as_ref()?.state.clone()));
        format!("{}:{}", agent.id, said.unwrap_or_default())
    })
}

async fn agents_are_listed_by_id_with_their_status(world: &World) {
    let store = &world.store;
    for id in ["c", "a", "e", "b", "d"] {
        put(store, vec![Row::Agent(Arc::new(agent(id, &[])))]).await;
    }
    put(store, vec![Row::Status(Arc::new(status("a", "Idle"))), Row::Status(Arc::new(status("d", "busy")))])
        .await;
    assert_eq!(agents(store, AgentFilter::default()).await, ["a:Idle", "b:", "c:", "d:busy", "e:"]);
}

async fn an_agent_is_last_seen_when_it_or_its_connection_said_so(world: &World) {
    let store = &world.store;
    for (id, reported, beat) in [("a", 1, Some(9)), ("b", 9, Some(1)), ("c", 5, None)] {
        let status = AgentStatus { last_seen: at(reported), ..connected(id, "nod_1") };
        put(store, vec![Row::Agent(Arc::new(agent(id, &[]))), Row::Status(Arc::new(status))]).await;
        if let Some(beat) = beat {
            let figures = AgentFigures { last_seen: at(beat), ..figures(id) };
            put(store, vec![Row::Figures(Arc::new(figures))]).await;
        }
    }
    let page = Page { limit: 10, after: None };
    let listed = store.agents(&tenant(), &AgentFilter::default(), &page).await.expect("read").items;
    let seen: Vec<_> =
        listed.iter().map(|(_, status)| status.as_ref().map(|status| status.last_seen)).collect();
    assert_eq!(seen, [Some(at(9)), Some(at(9)), Some(at(5))]);
}

async fn agents_are_filtered(world: &World) {
    let store = &world.store;
    let offers: [(&str, &[&str], &str); 4] = [
        ("a", &["read"], "idle"),
        ("b", &["read", "write"], "IDLE"),
        ("c", &["write"], "busy"),
        ("d", &[], "idle"),
    ];
    for (id, capabilities, state) in offers {
        let rows = vec![
            Row::Agent(Arc::new(agent(id, capabilities))),
            Row::AgentName(name(&format!("name of {id}"), id)),
            Row::Status(Arc::new(status(id, state))),
        ];
        put(store, rows).await;
    }
    let all = AgentFilter::default();
    let reads = AgentFilter { capability: Some("read".into()), ..all.clone() };
    assert_eq!(agents(store, reads.clone()).await, ["a:idle", "b:IDLE"]);
    assert_eq!(
        agents(store, AgentFilter { state: Some("Idle".into()), ..all.clone() }).await,
        ["a:idle", "b:IDLE", "d:idle"]
    );
    assert_eq!(
        agents(store, AgentFilter { name: Some("name of c".into()), ..all.clone() }).await,
        ["c:busy"]
    );
    assert_eq!(agents(store, AgentFilter { name: Some("nobody".into()), ..all.clone() }).await, [""; 0]);
    let both = AgentFilter { capability: Some("write".into()), state: Some("idle".into()), ..all.clone() };
    assert_eq!(agents(store, both).await, ["b:IDLE"]);
    let none = AgentFilter { name: Some("name of c".into()), ..reads };
    assert_eq!(agents(store, none).await, [""; 0]);
}

async fn agents_are_found_by_how_they_are_reached(world: &World) {
    let store = &world.store;
    let without_endpoint = |id: &str| Row::Agent(Arc::new(Agent { endpoint: None, ..agent(id, &[]) }));
    put(store, vec![Row::Agent(Arc::new(agent("a", &[]))), Row::Status(Arc::new(status("a", "idle")))]).await;
    put(store, vec![without_endpoint("b"), Row::Status(Arc::new(connected("b", "nod_1")))]).await;
    put(store, vec![without_endpoint("c"), Row::Status(Arc::new(status("c", "idle")))]).await;
    put(store, vec![without_endpoint("d")]).await;
    put(store, vec![Row::Agent(Arc::new(agent("e", &[]))), Row::Status(Arc::new(connected("e", "nod_1")))])
        .await;
    let reached = |presence| AgentFilter { presence: Some(presence), ..AgentFilter::default() };
    assert_eq!(agents(store, reached(Presence::Connected)).await, ["b:idle", "e:idle"]);
    assert_eq!(agents(store, reached(Presence::Offline)).await, ["c:idle", "d:"]);
}

async fn connected_agents_are_found_by_their_node(world: &World) {
    let store = &world.store;
    let nodes = || async {
        let nodes = store.connected_nodes().await.expect("read");
        nodes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(nodes().await, [""; 0]);
    for (id, node) in [("a", "nod_1"), ("b", "nod_2"), ("c", "nod_1"), ("d", "nod_1")] {
        put(store, vec![Row::Status(Arc::new(connected(id, node)))]).await;
    }
    put(store, vec![Row::Status(Arc::new(status("e", "idle")))]).await;
    let other = tenant_id("other");
    let mut decision = Decision::default();
    decision.put_guarded(Row::Status(Arc::new(connected("a", "nod_1"))), 1);
    store.commit(&other, decision, at(0), None).await.expect("put");
    assert_eq!(nodes().await, ["nod_1", "nod_2"]);
    let node = NodeId::parse("nod_1").expect("valid");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let after_now = after.as_ref().map(|(tenant, agent)| (tenant, agent));
        let page = store.connected_agents(&node, after_now, 2).await.expect("read");
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.agent.clone()));
        found.extend(
            page.iter().map(|found| format!("{} {} {}", found.tenant, found.agent, found.connection)),
        );
    }
    assert_eq!(found, ["default a con_a", "default c con_c", "default d con_d", "other a con_a"]);
    put(store, vec![Row::Status(Arc::new(status("b", "busy")))]).await;
    assert_eq!(nodes().await, ["nod_1"], "it is connected no longer");
}

async fn capabilities_follow_the_registration(world: &World) {
    let store = &world.store;
    let offering =
        |capability: &str| AgentFilter { capability: Some(capability.into()), ..AgentFilter::default() };
    put(store, vec![Row::Agent(Arc::new(agent("a", &["read", "read"])))]).await;
    put(store, vec![Row::Agent(Arc::new(agent("a", &["write"])))]).await;
    assert_eq!(agents(store, offering("read")).await, [""; 0]);
    assert_eq!(agents(store, offering("write")).await, ["a:"]);
    let mut decision = Decision::default();
    decision.remove(Key::Agent(agent_id("a")), 1);
    commit(store, decision).await.expect("removed");
    assert_eq!(agents(store, offering("write")).await, [""; 0]);
    put(store, vec![Row::Agent(Arc::new(agent("a", &[])))]).await;
    assert_eq!(
        agents(store, offering("write")).await,
        [""; 0],
        "nothing is left of the earlier registration"
    );
}

async fn sessions_are_listed_newest_first(world: &World) {
    let store = &world.store;
    for (id, workflow, created) in [("a", "w", 1), ("b", "v", 2), ("c", "w", 2), ("d", "w", 3), ("e", "v", 0)]
    {
        put(store, vec![Row::Session(Arc::new(session(id, workflow, created)))]).await;
    }
    put(store, vec![Row::Session(Arc::new(ended(session("c", "w", 2), SessionStatus::Failed, 9)))]).await;
    let list = |filter: SessionFilter| async move {
        walk!(2, |page| store.sessions(&tenant(), &filter, &page), |session| session.id.to_string())
    };
    let all = SessionFilter::default();
    assert_eq!(list(all.clone()).await, ["d", "c", "b", "a", "e"]);
    let of_w = SessionFilter { workflow: Some(workflow_id("w")), ..all.clone() };
    assert_eq!(list(of_w.clone()).await, ["d", "c", "a"]);
    let failed = SessionFilter { statuses: vec![SessionStatus::Failed], ..all.clone() };
    assert_eq!(list(failed.clone()).await, ["c"]);
    assert_eq!(
        list(SessionFilter { statuses: vec![SessionStatus::Started], ..of_w.clone() }).await,
        ["d", "a"]
    );
    let either =
        SessionFilter { statuses: vec![SessionStatus::Failed, SessionStatus::Started], ..all.clone() };
    assert_eq!(list(either.clone()).await, ["d", "c", "b", "a", "e"]);
    assert_eq!(list(SessionFilter { workflow: Some(workflow_id("v")), ..either }).await, ["b", "e"]);
    let (since, until) = (Some(at(1)), Some(at(3)));
    assert_eq!(list(SessionFilter { since, until, ..all.clone() }).await, ["c", "b", "a"]);
    assert_eq!(list(SessionFilter { since, until, ..of_w }).await, ["c", "a"]);
    assert_eq!(list(SessionFilter { until: since, ..failed }).await, [""; 0]);
    let page = Page { limit: 5, after: Some("never given".into()) };
    assert!(store.sessions(&tenant(), &all, &page).await.expect("read").items.is_empty());
}

/// Every page of a filtered list, whose pages may be short.
async fn filtered(store: &Store, filter: SessionFilter, limit: usize) -> Vec<String> {
    let (mut page, mut found) = (Page { limit, after: None }, Vec::new());
    loop {
        let listed = store.sessions(&tenant(), &filter, &page).await.expect("read");
        assert!(listed.items.len() <= limit);
        found.extend(listed.items.iter().map(|session| session.id.to_string()));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

async fn sessions_are_found_by_their_agents(world: &World) {
    let store = &world.store;
    let given = |session_: &str, created: i64, agent: &str, attempt: u32| {
        let given = Task {
            status: TaskStatus::Dispatched,
            attempt,
            agent: Some(agent_id(agent)),
            ..task(&format!("t{session_}"), 0)
        };
        let row = Row::Session(Arc::new(session(session_, "w", created)));
        vec![row, Row::Task(session_id(session_), Arc::new(given))]
    };
    for (session, created, agent, attempt) in [
        ("a", 1, "x", 1),
        ("b", 2, "x", 1),
        ("b", 2, "y", 2),
        ("c", 3, "y", 1),
        ("d", 4, "x", 1),
        ("d", 4, "x", 2),
    ] {
        put(store, given(session, created, agent, attempt)).await;
    }
    put(store, vec![Row::Session(Arc::new(ended(session("d", "v", 4), SessionStatus::Failed, 9)))]).await;
    let by = |agent: &str| SessionFilter { agent: Some(agent_id(agent)), ..SessionFilter::default() };
    assert_eq!(
        filtered(store, by("x"), 2).await,
        ["d", "b", "a"],
        "each once, and those that it had to give up"
    );
    assert_eq!(filtered(store, by("y"), 1).await, ["c", "b"]);
    assert_eq!(filtered(store, by("z"), 1).await, [""; 0]);
    assert_eq!(filtered(store, SessionFilter { since: Some(at(2)), ..by("x") }, 5).await, ["d", "b"]);
    assert_eq!(
        filtered(store, SessionFilter { workflow: Some(workflow_id("w")), ..by("x") }, 1).await,
        ["b", "a"]
    );
    let failed = SessionFilter { statuses: vec![SessionStatus::Failed], ..by("x") };
    assert_eq!(filtered(store, failed, 1).await, ["d"]);
    let mut decision = Decision::default();
    decision.remove_guarded(Key::Session(session_id("d")));
    commit(store, decision).await.expect("removed");
    put(store, vec![Row::Session(Arc::new(session("d", "w", 4)))]).await;
    assert_eq!(filtered(store, by("x"), 5).await, ["b", "a"], "what is removed is not known any longer");
}

async fn sessions_of_a_workflow_are_found_by_their_status(world: &World) {
    let store = &world.store;
    let mut all = Vec::new();
    for number in 0..150_i64 {
        let workflow = if number % 4 == 1 { "w" } else { "v" };
        let row = session(&format!("ses_{number:03}"), workflow, number);
        let row = match number % 5 {
            0 => ended(row, SessionStatus::Failed, number),
            1 | 2 => ended(row, SessionStatus::Completed, number),
            _ => row,
        };
        all.insert(0, (row.id.to_string(), workflow, row.status, number));
        put(store, vec![Row::Session(Arc::new(row))]).await;
    }
    use SessionStatus::{Completed, Failed, Paused, Started};
    for workflow in ["w", "v"] {
        for statuses in [
            vec![],
            vec![Failed],
            vec![Completed],
            vec![Completed, Failed],
            vec![Started, Failed],
            vec![Paused],
        ] {
            for (since, limit) in [(0, 1), (0, 7), (60, 100)] {
                let filter = SessionFilter {
                    workflow: Some(workflow_id(workflow)),
                    statuses: statuses.clone(),
                    since: Some(at(since)),
                    ..SessionFilter::default()
                };
                let expected: Vec<_> = all
                    .iter()
                    .filter(|(_, of, status, created)| {
                        *of == workflow
                            && (statuses.is_empty() || statuses.contains(status))
                            && *created >= since
                    })
                    .map(|(id, ..)| id.clone())
                    .collect();
                assert_eq!(filtered(store, filter, limit).await, expected, "{workflow} {statuses:?}");
            }
        }
    }
}

async fn sessions_are_found_by_what_they_hold(world: &World) {
    let store = &world.store;
    for number in 0..120 {
        let mut row = session(&format!("ses_{number:03}"), "Summarise", number);
        row.input.insert("city".to_owned(), json!(if number % 50 == 7 { "Zürich" } else { "Bern" }));
        row.error = (number == 60).then(|| "No Such File".to_owned());
        put(store, vec![Row::Session(Arc::new(row))]).await;
    }
    let with = |text: &str| SessionFilter { text: Some(text.to_owned()), ..SessionFilter::default() };
    assert_eq!(filtered(store, with("zÜrich"), 2).await, ["ses_107", "ses_057", "ses_007"]);
    assert_eq!(filtered(store, with("such file"), 2).await, ["ses_060"]);
    assert_eq!(filtered(store, with("SES_11"), 3).await.len(), 10);
    assert_eq!(filtered(store, with("summarise"), 50).await.len(), 120);
    assert_eq!(
        filtered(store, SessionFilter { until: Some(at(50)), ..with("zürich") }, 1).await,
        ["ses_007"]
    );
    assert_eq!(filtered(store, with("nowhere"), 1).await, [""; 0]);
}

async fn revisions_are_listed_newest_first(world: &World) {
    let store = &world.store;
    for revision in [1, 2, 3, 5, 11] {
        put(store, vec![Row::Definition(Arc::new(definition("w", revision)))]).await;
    }
    put(store, vec![Row::Definition(Arc::new(definition("v", 4)))]).await;
    let revisions = walk!(2, |page| store.revisions(&tenant(), &workflow_id("w"), &page), |kept| {
        kept.revision.to_string()
    });
    assert_eq!(revisions, ["11", "5", "3", "2", "1"]);
}

async fn open_sessions_of_a_workflow_are_known(world: &World) {
    let store = &world.store;
    let (tenant, workflow) = (tenant(), workflow_id("w"));
    let is_open = || async { store.open_session_of_workflow(&tenant, &workflow, None).await.expect("read") };
    assert!(!is_open().await);
    put(
        store,
        vec![Row::Session(Arc::new(session("a", "w", 1))), Row::Session(Arc::new(session("b", "v", 1)))],
    )
    .await;
    assert!(is_open().await);
    let on = |revision| store.open_session_of_workflow(&tenant, &workflow, Some(revision));
    assert!(on(1).await.expect("read") && !on(2).await.expect("read"), "the sample is of revision 1");
    put(store, vec![Row::Session(Arc::new(ended(session("a", "w", 1), SessionStatus::Cancelled, 9)))]).await;
    assert!(!is_open().await);
}

async fn dead_letters_are_listed_longest_dead_first(world: &World) {
    let store = &world.store;
    let dead = |id: &str, at: i64| settled(id, MessageStatus::Dead, at);
    let webhook = Message { kind: MessageKind::RegistrationWebhook, agent: None, ..dead("hook", 5) };
    for message in [
        dead("late", 9),
        dead("b", 3),
        dead("a", 3),
        dead("early", 1),
        webhook,
        settled("fine", MessageStatus::Delivered, 2),
    ] {
        put(store, vec![Row::Message(Arc::new(message))]).await;
    }
    let list = |filter: DeadLetterFilter| async move {
        walk!(2, |page| store.dead_letters(&tenant(), &filter, &page), |message| message.id.to_string())
    };
    let all = DeadLetterFilter::default();
    assert_eq!(list(all.clone()).await, ["early", "a", "b", "hook", "late"]);
    assert_eq!(
        list(DeadLetterFilter { agent: Some(agent_id("a")), ..all.clone() }).await,
        ["early", "a", "b", "late"]
    );
    assert_eq!(
        list(DeadLetterFilter { kind: Some(MessageKind::RegistrationWebhook), ..all.clone() }).await,
        ["hook"]
    );
    assert_eq!(list(DeadLetterFilter { since: Some(at(5)), ..all.clone() }).await, ["hook", "late"]);
    put(store, vec![Row::Message(Arc::new(crate::samples::message("b")))]).await;
    assert_eq!(list(all).await, ["early", "a", "hook", "late"], "a redriven one is dead no more");
}

async fn commands_are_listed_newest_first_and_the_open_ones_counted(world: &World) {
    let store = &world.store;
    for (id, agent, ended_at) in
        [("cmd_1", "a", None), ("cmd_2", "b", None), ("cmd_3", "a", Some(1)), ("cmd_4", "a", None)]
    {
        put(store, vec![Row::Command(Arc::new(command(id, agent, ended_at)))]).await;
    }
    let agent = agent_id("a");
    let listed = walk!(2, |page| store.commands(&tenant(), &agent, &page), |command| command.id.to_string());
    assert_eq!(listed, ["cmd_4", "cmd_3", "cmd_1"]);
    for (most, expected) in [(10, 2), (1, 1)] {
        assert_eq!(store.open_commands(&tenant(), &agent, most).await.expect("read"), expected);
    }
    assert_eq!(store.open_commands(&tenant(), &agent_id("c"), 10).await.expect("read"), 0);
    let snapshot = view_of(store, &tenant(), &Need::OpenCommands(agent.clone())).await;
    let open = snapshot.open_commands(&agent).expect("shown");
    assert_eq!(open.iter().map(CommandId::as_str).collect::<Vec<_>>(), ["cmd_1", "cmd_4"]);
}

async fn tools_keys_workflows_schedules_hooks_and_tenants_are_listed(world: &World) {
    let store = &world.store;
    for id in ["c", "a", "b"] {
        let rows = vec![
            Row::Tool(Arc::new(tool(id))),
            Row::ApiKey(Arc::new(api_key(id, &format!("hash of {id}")))),
            Row::Definition(Arc::new(definition(id, 1))),
            Row::Definition(Arc::new(definition(id, 2))),
            Row::Workflow(workflow(id, if id == "a" { 1 } else { 2 })),
            Row::Schedule(Arc::new(schedule(id))),
            Row::WebhookTrigger(Arc::new(hook(id, "whsec_x"))),
            Row::Tenant(tenant_row(id)),
        ];
        put(store, rows).await;
    }
    let tools = walk!(2, |page| store.tools(&tenant(), &page), |tool| tool.name.to_string());
    assert_eq!(tools, ["a", "b", "c"]);
    let keys = walk!(2, |page| store.keys(&tenant(), &page), |key| key.id.to_string());
    assert_eq!(keys, ["a", "b", "c"]);
    let tenants = walk!(2, |page| store.tenants(&page), |tenant| tenant.id.to_string());
    assert_eq!(tenants, ["a", "b", "c"]);
    let workflows = walk!(2, |page| store.workflows(&tenant(), &page), |definition| definition.name.clone());
    assert_eq!(workflows, ["a 1", "b 2", "c 2"]);
    let schedules = walk!(2, |page| store.schedules(&tenant(), &page), |schedule| schedule.id.to_string());
    assert_eq!(schedules, ["a", "b", "c"]);
    let hooks = walk!(2, |page| store.hooks(&tenant(), &page), |hook| hook.id.to_string());
    assert_eq!(hooks, ["a", "b", "c"]);
}

async fn keys_are_found_among_others(world: &World) {
    let store = &world.store;
    let keys = ["a", "b", "c"].map(|id| Row::SshKey(Arc::new(ssh_key(id, None))));
    put(store, keys.into()).await;
    let among = |ids: &'static [&str]| async move {
        let ids: Vec<_> = ids.iter().map(|id| key_id(id)).collect();
        let found = store.ssh_keys_among(&tenant(), &ids).await.expect("read");
        let mut found: Vec<String> = found.iter().map(|key| key.id.to_string()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(among(&["c", "none", "a"]).await, ["a", "c"]);
    assert!(among(&[]).await.is_empty() && among(&["x"]).await.is_empty());
    assert!(store.agents_among(&tenant(), &[agent_id("a")]).await.expect("read").is_empty());
    assert!(store.api_keys_among(&tenant(), &[key_id("a")]).await.expect("read").is_empty());
}

async fn an_agents_active_ssh_keys_are_found(world: &World) {
    let store = &world.store;
    let revoked = Revocation { at: at(1), by: "an admin".into(), reason: None };
    let ended = SshKey { revoked: Some(revoked), ..ssh_key("b", Some("one")) };
    let keys = [
        ssh_key("a", Some("one")),
        ended,
        ssh_key("c", Some("one")),
        ssh_key("d", Some("two")),
        ssh_key("e", None),
    ];
    put(store, keys.into_iter().map(|key| Row::SshKey(Arc::new(key))).collect()).await;
    let of = |agent: Option<&str>| {
        let agent = agent.map(agent_id);
        async move { walk!(2, |page| store.ssh_keys(&tenant(), agent.as_ref(), &page), |key| key.id.to_string()) }
    };
    assert_eq!(of(None).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(of(Some("one")).await, ["a", "c"]);
    assert_eq!(of(Some("two")).await, ["d"]);
    assert_eq!(of(Some("nobody")).await, Vec::<String>::new());
}

async fn pages_stay_put_while_rows_come_and_go(world: &World) {
    let store = &world.store;
    for id in ["b", "d", "f", "h"] {
        put(store, vec![Row::Agent(Arc::new(agent(id, &[])))]).await;
        put(store, vec![Row::Session(Arc::new(session(id, "w", 10)))]).await;
    }
    let first = Page { limit: 2, after: None };
    let (filter, sessions) = (AgentFilter::default(), SessionFilter::default());
    let agents_next = store.agents(&tenant(), &filter, &first).await.expect("read").next;
    let sessions_next = store.sessions(&tenant(), &sessions, &first).await.expect("read").next;
    for id in ["a", "e", "i"] {
        put(store, vec![Row::Agent(Arc::new(agent(id, &[])))]).await;
        put(store, vec![Row::Session(Arc::new(session(id, "w", 10)))]).await;
    }
    let mut decision = Decision::default();
    decision.remove(Key::Agent(agent_id("d")), 1);
    decision.remove(Key::Session(session_id("f")), 1);
    commit(store, decision).await.expect("removed: what the position names is gone");
    let page = Page { limit: 9, after: agents_next };
    let rest = store.agents(&tenant(), &filter, &page).await.expect("read").items;
    let rest: Vec<String> = rest.iter().map(|(agent, _)| agent.id.to_string()).collect();
    assert_eq!(rest, ["e", "f", "h", "i"]);
    let page = Page { limit: 9, after: sessions_next };
    let rest = store.sessions(&tenant(), &sessions, &page).await.expect("read").items;
    let rest: Vec<String> = rest.iter().map(|session| session.id.to_string()).collect();
    assert_eq!(rest, ["e", "d", "b", "a"]);
}
