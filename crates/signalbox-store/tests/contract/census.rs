//! How many there are of what an operator watches.

use std::sync::Arc;

use signalbox_core::Decision;
use signalbox_core::agent::{AgentStatus, Held};
use signalbox_core::decision::Row;
use signalbox_core::delivery::MessageStatus;
use signalbox_core::routing::Route;
use signalbox_core::session::SessionStatus;
use signalbox_store::Census;

use crate::samples::{
    ended, message, session, session_id, settled, status, task, task_id, tenant_id, waiting_task,
};
use crate::world::{World, at, contract, tenant};

contract! {
    what_is_open_waits_or_is_dead_is_counted_over_all_tenants,
}

fn held() -> Held {
    Held {
        session: session_id("s"),
        task: task_id("t"),
        step: "a".into(),
        attempt: 1,
        dispatched_at: at(0),
        taken_at: None,
        is_active: false,
        comes_again: false,
    }
}

async fn what_is_open_waits_or_is_dead_is_counted_over_all_tenants(world: &World) {
    assert_eq!(world.store.census().await.expect("counted"), Census::default());
    for tenant in [tenant(), tenant_id("other")] {
        let mut decision = Decision::default();
        let mut put = |row| decision.put_guarded(row, 1);
        put(Row::Session(Arc::new(session("open", "w", 0))));
        let over = session("over", "w", 0);
        put(Row::Session(Arc::new(ended(over, SessionStatus::Completed, 1))));
        put(Row::Task(session_id("open"), Arc::new(waiting_task("waits", Route::Any, 1))));
        put(Row::Task(session_id("open"), Arc::new(task("does not", 1))));
        put(Row::Message(Arc::new(settled("dead", MessageStatus::Dead, 1))));
        put(Row::Message(Arc::new(message("open"))));
        put(Row::Status(Arc::new(status("idle", "Idle"))));
        let busy = status("busy", "active");
        put(Row::Status(Arc::new(AgentStatus { held: vec![held(), held()], ..busy })));
        put(Row::Status(Arc::new(AgentStatus { report: None, ..status("silent", "") })));
        world.store.commit(&tenant, decision, at(0), None).await.expect("put");
    }
    let mut census = world.store.census().await.expect("counted");
    census.agents.sort();
    let state = |word: &str| Some(word.to_owned());
    assert_eq!(
        census,
        Census {
            open_sessions: vec![("started".to_owned(), 2)],
            tasks_waiting: 2,
            tasks_held: 4,
            agents: vec![(None, 2), (state("active"), 2), (state("idle"), 2)],
            dead_letters: 2,
        }
    );
}
