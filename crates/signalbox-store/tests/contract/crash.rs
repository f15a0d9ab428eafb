//! A process that is killed in the midst of commits loses nothing that it acknowledged, and leaves nothing half.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::decision::Row;
use signalbox_store::{EventFilter, Options, Page, Store};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::samples::{agent_id, deliver, event, message, message_id, status};
use crate::world::{World, commit, contract, node, tenant};

contract! { what_was_acknowledged_survives_a_kill }

/// Names the database of a child process.
const CHILD: &str = "SIGNALBOX_CONTRACT_CHILD";
const WRITERS: u64 = 8;

async fn what_was_acknowledged_survives_a_kill(world: &World) {
    world.store.close().await.expect("closed");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        acknowledged.extend(kill_after(&world.options.database, round, 40 + round * 37).await);
    }
    let store = Store::open(Options { node: node(2), ..world.options.clone() }).await.expect("opened");
    for id in &acknowledged {
        let found = store.message(&tenant(), &message_id(id)).await.expect("read");
        assert!(found.is_some(), "{id} was acknowledged and is gone");
    }
    nothing_is_half(&store, acknowledged.len()).await;
    store.close().await.expect("closed");
}

/// Every commit wrote a message, an entry that names it, due work for it, and a status.
pub(crate) async fn nothing_is_half(store: &Store, at_least: usize) {
    let mut page = Page { limit: 500, after: None };
    let mut count = 0;
    loop {
        let listed = store.events(&tenant(), &EventFilter::default(), &page).await.expect("read");
        for event in &listed.items {
            count += 1;
            assert_eq!(event.sequence, count, "the order has no gap");
            let found = store.message(&tenant(), &message_id(&event.kind)).await.expect("read");
            assert!(found.is_some(), "{} has its entry and no message", event.kind);
            let written = store.status(&tenant(), &agent_id(&event.kind)).await.expect("read");
            assert!(written.is_some(), "{} has its entry and no status", event.kind);
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert!(usize::try_from(count).expect("small") >= at_least);
    assert_eq!(store.backlog().await.expect("read").pending, count, "as much due work as entries");
}

/// Runs a child that commits until it has acknowledged `count`, kills it, and answers what it acknowledged.
async fn kill_after(database: &str, round: usize, count: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{round} {database}"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut acknowledged = Vec::new();
    let read = async {
        while acknowledged.len() < count {
            let line = lines.next_line().await.expect("read").expect("the child ended by itself");
            acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        }
        child.start_kill().expect("killed");
        // What it said before it died was acknowledged too.
        while let Some(line) = lines.next_line().await.expect("read") {
            acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
        }
        child.wait().await.expect("ended");
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("in time");
    acknowledged
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (round, database) = given.split_once(' ').expect("round and database");
    let store = Store::open(Options::new(database, node(9))).await.expect("opened");
    let writers = (0..WRITERS).map(|writer| {
        let (store, round) = (store.clone(), round.to_owned());
        tokio::spawn(async move {
            for number in 0.. {
                let id = format!("m-{round}-{writer}-{number}");
                let mut decision = Decision::default();
                decision.create(Row::Message(Arc::new(message(&id))), 1);
                decision.create(Row::Status(Arc::new(status(&id, "idle"))), 1);
                decision.events.push(event(&id));
                decision.due.push(deliver(&id, 0));
                commit(&store, decision).await.expect("committed");
                println!("\nacknowledged {id}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it never ends");
    }
}
