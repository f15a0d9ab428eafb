//! Available agents by least use, and waiting tasks by how long they wait.

use std::sync::Arc;

use signalbox_core::decision::{Key, Row};
use signalbox_core::routing::Route;
use signalbox_core::session::SessionStatus;
use signalbox_core::task::{Task, TaskStatus};
use signalbox_core::{Decision, Need};
use signalbox_store::{Page, SessionFilter, Store};
use signalbox_wire::id::TenantId;

use crate::samples::{agent_id, available, ended, session, session_id, task, tenant_id, waiting_task};
use crate::world::{World, at, commit, contract, tenant, view_of};

contract! {
    candidates_come_least_recently_used_first,
    waiting_tasks_come_longest_waiting_first,
    a_task_that_waits_no_more_is_not_found,
    what_goes_on_is_found_as_it_is_now,
    the_hint_never_denies_a_waiting_task,
    the_sweep_gives_every_route_its_turn,
    the_sweep_lets_tenants_take_turns,
    a_waiting_task_has_its_place,
}

fn capability(name: &str) -> Route {
    Route::Capability(name.into())
}

async fn put_task(store: &Store, tenant: &TenantId, task: Task) {
    let mut decision = Decision::default();
    let owner = format!("ses of {}", task.id);
    decision.put_guarded(Row::Session(Arc::new(session(&owner, "w", 0))), 1);
    decision.put_guarded(Row::Task(session_id(&owner), Arc::new(task)), 1);
    store.commit(tenant, decision, at(0), None).await.expect("put");
}

async fn waiting(store: &Store, tenant: &TenantId, routes: &[&str]) -> Vec<String> {
    let routes: Vec<String> = routes.iter().map(|route| (*route).to_owned()).collect();
    let snapshot = view_of(store, tenant, &Need::Waiting(routes.clone())).await;
    snapshot.waiting(&routes).expect("loaded").iter().map(|waiting| waiting.task.to_string()).collect()
}

async fn candidates_come_least_recently_used_first(world: &World) {
    let store = &world.store;
    let mut decision = Decision::default();
    for (agent, used) in [("c", 3), ("a", 1), ("b", 2), ("z", 1)] {
        decision.put_guarded(Row::Available(available("any", agent, used)), 1);
    }
    decision.put_guarded(Row::Available(available("capability:read", "c", 3)), 1);
    commit(store, decision).await.expect("listed");
    let candidates = |route: &'static str| async move {
        let snapshot = view_of(store, &tenant(), &Need::Candidates(route.into())).await;
        snapshot.candidates(route).expect("loaded").iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(candidates("any").await, ["a", "z", "b", "c"]);
    assert_eq!(candidates("capability:read").await, ["c"]);
    assert_eq!(candidates("capability:fly").await, [""; 0]);
    let mut decision = Decision::default();
    decision.put_guarded(Row::Available(available("any", "a", 9)), 2);
    decision.remove_guarded(Key::Available("any".into(), agent_id("b")));
    commit(store, decision).await.expect("listed anew");
    assert_eq!(candidates("any").await, ["z", "c", "a"]);
    let mut decision = Decision::default();
    for number in 0..20 {
        decision.put_guarded(Row::Available(available("many", &format!("{number:02}"), 20 - number)), 1);
    }
    commit(store, decision).await.expect("listed");
    assert_eq!(
        candidates("many").await,
        ["19", "18", "17", "16", "15", "14", "13", "12"],
        "no more than asked for"
    );

    let again = world.reopened().await;
    let snapshot = view_of(&again, &tenant(), &Need::Candidates("any".into())).await;
    let mut listed: Vec<_> =
        snapshot.candidates("any").expect("loaded").iter().map(ToString::to_string).collect();
    listed.sort_unstable();
    assert_eq!(
        listed,
        ["a", "c", "z"],
        "who is available survives a restart, when each was used last need not"
    );
}

async fn waiting_tasks_come_longest_waiting_first(world: &World) {
    let store = &world.store;
    for (task, route, queued) in [
        ("r5", capability("read"), 5),
        ("any3", Route::Any, 3),
        ("r1", capability("read"), 1),
        ("w0", capability("write"), 0),
        ("a2", Route::Agent(agent_id("a")), 2),
    ] {
        put_task(store, &tenant(), waiting_task(task, route, queued)).await;
    }
    assert_eq!(
        waiting(store, &tenant(), &["agent:a", "capability:read", "any"]).await,
        ["r1", "a2", "any3", "r5"]
    );
    assert_eq!(waiting(store, &tenant(), &["capability:write"]).await, ["w0"]);
    assert_eq!(waiting(store, &tenant(), &["agent:b", "capability:fly"]).await, [""; 0]);
    for number in 0..20 {
        put_task(store, &tenant(), waiting_task(&format!("m{number:02}"), capability("many"), number)).await;
    }
    assert_eq!(waiting(store, &tenant(), &["capability:many"]).await.len(), 8, "no more than looked at");
}

async fn a_task_that_waits_no_more_is_not_found(world: &World) {
    let store = &world.store;
    let task = waiting_task("t", Route::Any, 1);
    put_task(store, &tenant(), task.clone()).await;
    assert_eq!(waiting(store, &tenant(), &["any"]).await, ["t"]);
    put_task(store, &tenant(), Task { queued_at: None, status: TaskStatus::Dispatched, ..task.clone() })
        .await;
    assert_eq!(waiting(store, &tenant(), &["any"]).await, [""; 0]);
    put_task(store, &tenant(), Task { queued_at: Some(at(7)), ..task }).await;
    assert_eq!(waiting(store, &tenant(), &["any"]).await, ["t"]);
}

/// Step by step, each on the version before, as the engine writes a session with its task.
async fn what_goes_on_is_found_as_it_is_now(world: &World) {
    let store = &world.store;
    let begun = session("s", "w", 1);
    let over = ended(begun.clone(), SessionStatus::Completed, 9);
    let (idle, waits) = (task("t", 0), waiting_task("t", Route::Any, 1));
    let done = Task { status: TaskStatus::Completed, ..task("t", 0) };
    for (version, (session, task)) in (1..).zip([
        (begun.clone(), idle.clone()),
        (begun.clone(), waits.clone()),
        (begun.clone(), Task { attempt: 1, ..waits.clone() }),
        (begun.clone(), Task { queued_at: Some(at(5)), ..waits }),
        (begun, idle),
        (over, done),
    ]) {
        let mut decision = Decision::default();
        decision.put(
            Row::Session(Arc::new(session.clone())),
            Some(version - 1).filter(|read| *read > 0),
            version,
        );
        decision.put_guarded(Row::Task(session.id.clone(), Arc::new(task.clone())), version);
        commit(store, decision).await.expect("written");
        let expected: &[&str] = if task.queued_at.is_some() { &["t"] } else { &[] };
        assert_eq!(waiting(store, &tenant(), &["any"]).await, expected, "version {version}");
        for status in SessionStatus::ALL {
            let filter = SessionFilter { statuses: vec![status], ..SessionFilter::default() };
            let page = Page { limit: 9, after: None };
            let found = store.sessions(&tenant(), &filter, &page).await.expect("read").items.len();
            assert_eq!(found, usize::from(status == session.status), "{status:?} at version {version}");
        }
        let key = Key::Session(session.id.clone());
        let snapshot = view_of(store, &tenant(), &Need::Rows(vec![key])).await;
        let read = snapshot.session(&session.id).expect("loaded").expect("there");
        assert_eq!((read.version, &*read.value.session, &*read.value.tasks[0]), (version, &session, &task));
    }
}

async fn the_hint_never_denies_a_waiting_task(world: &World) {
    let store = &world.store;
    let any = [Route::Any.key()];
    assert!(store.kind() != "sqlite" || !store.maybe_waiting(&tenant(), &any), "nothing has ever waited");
    let toggling = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..200 {
                let task = waiting_task("t", Route::Any, round);
                put_task(&store, &tenant(), task.clone()).await;
                assert!(store.maybe_waiting(&tenant(), &[Route::Any.key()]), "round {round}: it waits");
                assert_eq!(waiting(&store, &tenant(), &["any"]).await, ["t"], "round {round}");
                put_task(&store, &tenant(), Task { queued_at: None, ..task }).await;
            }
        }
    });
    while !toggling.is_finished() {
        let need = Need::Waiting(any.to_vec());
        store.load(&tenant(), &need, &mut signalbox_core::Snapshot::new(), false).await.expect("loaded");
    }
    toggling.await.expect("finished");
    put_task(store, &tenant(), waiting_task("t", Route::Any, 1)).await;
    let store = world.reopened().await;
    assert!(store.maybe_waiting(&tenant(), &any), "it waited before the restart");
    store.close().await.expect("closed");
}

async fn the_sweep_gives_every_route_its_turn(world: &World) {
    let store = &world.store;
    assert_eq!(store.waiting_tasks(10).await.expect("read"), []);
    let other = tenant_id("other");
    for number in 0..10 {
        put_task(store, &tenant(), waiting_task(&format!("read{number}"), capability("read"), number)).await;
        put_task(store, &other, waiting_task(&format!("read{number}"), capability("read"), number)).await;
    }
    put_task(store, &tenant(), waiting_task("alone", Route::Any, 99)).await;
    let found = store.waiting_tasks(100).await.expect("read");
    let of = |owner: &TenantId, prefix: &str| -> Vec<String> {
        let mine =
            found.iter().filter(|(tenant, _)| tenant == owner).map(|(_, waiting)| waiting.task.to_string());
        mine.filter(|task| task.starts_with(prefix)).collect()
    };
    let longest: Vec<String> = (0..8).map(|number| format!("read{number}")).collect();
    assert_eq!(of(&tenant(), "read"), longest);
    assert_eq!(of(&other, "read"), longest);
    assert_eq!(of(&tenant(), "alone"), ["alone"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let some = store.waiting_tasks(4).await.expect("read");
        assert!(some.len() <= 4);
        seen.extend(some.into_iter().map(|(tenant, waiting)| (tenant, waiting.task.to_string())));
    }
    assert!(
        seen.contains(&(tenant(), "alone".into())),
        "a route that nobody else shares has its turn: {seen:?}"
    );
    assert!(seen.contains(&(tenant(), "read0".into())) && seen.contains(&(other, "read0".into())));
}

async fn the_sweep_lets_tenants_take_turns(world: &World) {
    let store = &world.store;
    for number in 0..40 {
        let task = waiting_task(&format!("t{number}"), capability(&format!("c{number:02}")), number);
        put_task(store, &tenant_id("many"), task).await;
    }
    for other in ["after", "other"] {
        put_task(store, &tenant_id(other), waiting_task(&format!("{other}'s"), Route::Any, 99)).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let some = store.waiting_tasks(16).await.expect("read");
        assert!(some.len() <= 16);
        seen.extend(some.into_iter().map(|(_, waiting)| waiting.task.to_string()));
    }
    assert!(seen.contains("after's") && seen.contains("other's"), "40 routes hold up nobody: {seen:?}");
    for _ in 0..6 {
        let some = store.waiting_tasks(16).await.expect("read");
        seen.extend(some.into_iter().map(|(_, waiting)| waiting.task.to_string()));
    }
    assert_eq!(seen.len(), 42, "and each of them has its turn: {seen:?}");
}

async fn a_waiting_task_has_its_place(world: &World) {
    let store = &world.store;
    let mut tasks: Vec<Task> = (0..6)
        .map(|number| waiting_task(&format!("t{number}"), capability("read"), 7 - number / 2))
        .collect();
    tasks[1].rules.priority = 9;
    tasks[4].rules.priority = -1;
    for task in &tasks {
        put_task(store, &tenant(), task.clone()).await;
        put_task(store, &tenant_id("other"), Task { queued_at: Some(at(0)), ..task.clone() }).await;
    }
    let elsewhere = waiting_task("u", capability("write"), 0);
    put_task(store, &tenant(), elsewhere.clone()).await;
    let idle = Task { queued_at: None, ..waiting_task("v", capability("read"), 0) };
    let asked: Vec<Arc<Task>> = tasks.into_iter().chain([elsewhere, idle]).map(Arc::new).collect();
    let places = store.places_in_line(&tenant(), &asked).await.expect("read");
    assert_eq!(places, [Some(5), Some(1), Some(3), Some(4), Some(6), Some(2), Some(1), None]);
    let line: Vec<String> = waiting(store, &tenant(), &["capability:read"]).await;
    assert_eq!(line, ["t1", "t5", "t2", "t3", "t0", "t4"], "the order in which they are served");
    let swept = store.waiting_tasks(8).await.expect("read");
    let first = swept.iter().find(|(owner, _)| *owner == tenant_id("other")).expect("its turn");
    assert_eq!(first.1.task.as_str(), "t1", "and looked at");
}
