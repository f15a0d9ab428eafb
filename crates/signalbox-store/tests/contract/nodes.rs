//! The nodes over one database: each says that it is there, and those that do not any more are found.

use std::time::Duration;

use crate::world::{World, contract, node};

contract! {
    nodes_that_are_silent_are_found_and_forgotten,
}

const LONG: Duration = Duration::from_secs(3_600);

async fn nodes_that_are_silent_are_found_and_forgotten(world: &World) {
    let store = &world.store;
    store.node_is_here().await.expect("noted");
    let Some(other) = world.another_node().await else {
        assert!(
            store.lost_nodes(Duration::ZERO).await.expect("looked").is_empty(),
            "nobody else can be there"
        );
        return;
    };
    for _ in 0..2 {
        other.node_is_here().await.expect("noted");
    }
    let silent = async |silent_for| store.lost_nodes(silent_for).await.expect("looked");
    assert_eq!(silent(LONG).await, []);
    assert_eq!(silent(Duration::ZERO).await, [node(1), node(2)], "the longest silent first");
    assert!(!store.forget_node(&node(2), LONG).await.expect("looked"));
    assert_eq!(silent(Duration::ZERO).await, [node(1), node(2)], "it was there a moment ago");
    let mut known = store.nodes().await.expect("looked");
    known.sort();
    assert_eq!(known, [node(1), node(2)]);
    for is_first in [true, false] {
        let forgot = store.forget_node(&node(2), Duration::ZERO).await.expect("forgotten");
        assert_eq!(forgot, is_first, "one of several is told");
    }
    assert_eq!(silent(Duration::ZERO).await, [node(1)]);
    store.node_left().await.expect("noted");
    assert_eq!(silent(Duration::ZERO).await, []);
    other.node_is_here().await.expect("it comes back");
    assert_eq!(silent(Duration::ZERO).await, [node(2)]);
    other.close().await.expect("closed");
}
