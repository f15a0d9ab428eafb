//! Opening: what is refused, and what a store says of itself.

use signalbox_core::Decision;
use signalbox_store::{Options, Store, StoreError};

use crate::samples::event;
use crate::world::{World, commit, contract, node};

contract! {
    opening_again_changes_nothing,
    a_store_tells_what_it_is_and_that_it_works,
}

async fn opening_again_changes_nothing(world: &World) {
    commit(&world.store, Decision { events: vec![event("a")], ..Decision::default() })
        .await
        .expect("appended");
    let store = world.reopened().await;
    let next = commit(&store, Decision { events: vec![event("b")], ..Decision::default() }).await;
    assert_eq!(next.expect("appended").sequence, 2);
    store.close().await.expect("closed");
    store.close().await.expect("closing twice is closing once");
}

async fn a_store_tells_what_it_is_and_that_it_works(world: &World) {
    let store = &world.store;
    assert!(world.options.database.starts_with(store.kind()), "{}", store.kind());
    store.is_writable().await.expect("writable");
    let before = store.figures();
    for _ in 0..3 {
        commit(store, Decision { events: vec![event("a")], ..Decision::default() }).await.expect("appended");
    }
    let mut conflict = Decision::default();
    conflict.remove(signalbox_core::decision::Key::AgentName("nobody's".into()), 1);
    commit(store, conflict).await.expect_err("nothing to remove");
    let after = store.figures();
    assert!(after.decisions - before.decisions >= 3 && after.commits > before.commits, "{after:?}");
    assert_eq!((after.conflicts - before.conflicts, after.queued), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let nowhere = "sqlite:///nowhere/at/all/store.db";
    for (database, said) in [
        ("mysql://localhost/db", "sqlite://"),
        ("store.db", "sqlite://"),
        ("sqlite://", "file"),
        (nowhere, nowhere),
    ] {
        let said = said.strip_prefix("sqlite:///nowhere").map_or(said, |_| "/nowhere/at/all");
        let refused = Store::open(Options::new(database, node(1))).await.err().expect("refused");
        assert!(matches!(refused, StoreError::Open(_)), "{refused:?}");
        assert!(refused.to_string().contains(said), "{database}: {refused}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    std::fs::write(
        &path,
        "this is a letter, and not a short one either; nobody should write into it".repeat(100),
    )
    .expect("written");
    let refused = Store::open(Options::new(format!("sqlite://{}", path.display()), node(1))).await;
    assert!(matches!(refused.err(), Some(StoreError::Open(_))));
    assert!(std::fs::read_to_string(&path).expect("read").starts_with("this is a letter"));
}
