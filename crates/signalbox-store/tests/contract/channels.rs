//! Channels and their histories: lists, pages in sequence, and what retention lets go of.

use std::sync::Arc;
use std::time::Duration;

use signalbox_core::Decision;
use signalbox_core::channel::{Channel, ChannelRetention};
use signalbox_core::decision::{Key, Row};
use signalbox_store::{Page, Prune, Pruned, Store, StoreError};
use signalbox_wire::id::TenantId;

use crate::samples::{channel, channel_id, channel_message, channel_name, tenant_id};
use crate::world::{World, at, contract, tenant};

contract! {
    channels_are_listed_by_name_with_what_changes_of_them,
    a_name_and_a_message_id_are_taken_once,
    a_history_is_read_in_sequence_within_its_bounds,
    a_history_is_trimmed_by_count_and_age_and_goes_with_its_channel,
    trimming_goes_in_small_pieces_over_tenants,
    two_nodes_see_one_history,
}

async fn put(store: &Store, tenant: &TenantId, channel: Channel) {
    let mut decision = Decision::default();
    decision.put_guarded(Row::ChannelName(channel_name(&channel.name, channel.id.as_str())), 1);
    decision.put_guarded(Row::Channel(Arc::new(channel)), 1);
    store.commit(tenant, decision, at(0), None).await.expect("put");
}

/// Messages from 1 on, each a second after the one before.
async fn fill(store: &Store, tenant: &TenantId, id: &str, count: u64) {
    let mut decision = Decision::default();
    for sequence in 1..=count {
        let moment = i64::try_from(sequence).expect("small");
        let message = channel_message(id, sequence, &format!("m{sequence}"), moment);
        decision.create(Row::ChannelMessage(Arc::new(message)), 1);
    }
    store.commit(tenant, decision, at(0), None).await.expect("filled");
}

async fn sequences(store: &Store, tenant: &TenantId, id: &str) -> Vec<u64> {
    let all = Channel { first_kept: 0, ..channel(id, id) };
    let messages = store.channel_messages(tenant, &all, 0, (10_000, usize::MAX), at(0)).await.expect("read");
    messages.iter().map(|message| message.sequence).collect()
}

fn prune(now: i64, limit: usize) -> Prune {
    let never = at(-1_000);
    Prune {
        events_before: never,
        sessions_before: never,
        messages_before: never,
        now: at(now),
        limit,
        piece: Duration::from_millis(5),
    }
}

async fn channels_are_listed_by_name_with_what_changes_of_them(world: &World) {
    let store = &world.store;
    for (id, name) in [("1", "c.x"), ("2", "a"), ("3", "b.y")] {
        put(store, &tenant(), channel(id, name)).await;
    }
    put(store, &tenant_id("other"), channel("1", "theirs")).await;
    let mut decision = Decision::default();
    let changed = Channel { next_sequence: 9, ..channel("2", "a") };
    decision.put(Row::Channel(Arc::new(changed)), Some(1), 2);
    store.commit(&tenant(), decision, at(0), None).await.expect("changed");
    let (mut names, mut page) = (Vec::new(), Page { limit: 2, after: None });
    loop {
        let listed = store.channels(&tenant(), &page).await.expect("read");
        names.extend(listed.items.iter().map(|row| (row.name.clone(), row.next_sequence)));
        let Some(next) = listed.next else { break };
        page.after = Some(next);
    }
    assert_eq!(names, [("a".into(), 9), ("b.y".into(), 1), ("c.x".into(), 1)]);
    let named = store.channel_named(&tenant(), "b.y").await.expect("read").expect("there");
    assert_eq!(named.value.channel, channel_id("3"));
    assert!(store.channel_named(&tenant(), "theirs").await.expect("read").is_none());
}

async fn a_name_and_a_message_id_are_taken_once(world: &World) {
    let store = &world.store;
    let create = |row: Row| {
        let mut decision = Decision::default();
        decision.create(row, 1);
        async move { store.commit(&tenant(), decision, at(0), None).await }
    };
    create(Row::ChannelName(channel_name("a", "1"))).await.expect("free");
    let taken = create(Row::ChannelName(channel_name("a", "2"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict)), "{taken:?}");
    create(Row::ChannelMessage(Arc::new(channel_message("1", 1, "m", 0)))).await.expect("free");
    let taken = create(Row::ChannelMessage(Arc::new(channel_message("1", 2, "m", 0)))).await;
    assert!(matches!(taken, Err(StoreError::Conflict)), "{taken:?}");
    let mut another = channel_message("1", 2, "m", 0);
    another.from = None;
    create(Row::ChannelMessage(Arc::new(another))).await.expect("another publisher's ids are its own");
    create(Row::ChannelMessage(Arc::new(channel_message("2", 1, "m", 0)))).await.expect("another channel");
}

async fn a_history_is_read_in_sequence_within_its_bounds(world: &World) {
    let store = &world.store;
    let kept = Channel { first_kept: 3, ..channel("c", "a") };
    fill(store, &tenant(), "c", 20).await;
    fill(store, &tenant(), "d", 3).await;
    let read = |after, limit, bytes| {
        let kept = kept.clone();
        async move {
            let messages =
                store.channel_messages(&tenant(), &kept, after, (limit, bytes), at(60)).await.expect("read");
            messages.iter().map(|message| message.sequence).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(0, 4, usize::MAX).await, [3, 4, 5, 6], "what has been let go of is not shown");
    assert_eq!(read(6, 100, usize::MAX).await, (7..=20).collect::<Vec<_>>());
    assert_eq!(read(20, 100, usize::MAX).await, [0; 0]);
    assert_eq!(read(u64::MAX, 100, usize::MAX).await, [0; 0]);
    assert_eq!(read(5, 100, 1).await, [6], "one in any case");
    let some = read(5, 100, 400).await.len();
    assert!((2..10).contains(&some), "{some} messages of 400 bytes");
    let whole = store.channel_messages(&tenant(), &kept, 19, (1, 1), at(60)).await.expect("read");
    assert_eq!(*whole[0], channel_message("c", 20, "m20", 20));
    // It keeps messages for a minute.
    let young = store.channel_messages(&tenant(), &kept, 0, (100, usize::MAX), at(78)).await.expect("read");
    assert_eq!(young.iter().map(|message| message.sequence).collect::<Vec<_>>(), [18, 19, 20]);
}

async fn a_history_is_trimmed_by_count_and_age_and_goes_with_its_channel(world: &World) {
    let store = &world.store;
    let retention = |seconds| ChannelRetention { max_messages: 10, max_age: Duration::from_secs(seconds) };
    put(store, &tenant(), Channel { first_kept: 11, retention: retention(1_000), ..channel("counted", "a") })
        .await;
    put(store, &tenant(), Channel { retention: retention(5), ..channel("aged", "b") }).await;
    put(store, &tenant(), Channel { retention: retention(1_000), ..channel("kept", "c") }).await;
    put(store, &tenant(), channel("deleted", "d")).await;
    for id in ["counted", "aged", "kept", "deleted"] {
        fill(store, &tenant(), id, 20).await;
    }
    let mut decision = Decision::default();
    decision.remove(Key::Channel(channel_id("deleted")), 1);
    decision.remove_guarded(Key::ChannelName("d".into()));
    store.commit(&tenant(), decision, at(0), None).await.expect("removed");
    let pruned = store.prune(prune(22, 1_000)).await.expect("pruned");
    assert_eq!((pruned.removed, pruned.has_more), (10 + 16 + 20, false));
    assert_eq!(sequences(store, &tenant(), "counted").await, (11..=20).collect::<Vec<_>>());
    assert_eq!(sequences(store, &tenant(), "aged").await, (17..=20).collect::<Vec<_>>());
    assert_eq!(sequences(store, &tenant(), "kept").await.len(), 20);
    assert_eq!(sequences(store, &tenant(), "deleted").await, [0; 0]);
    assert_eq!(store.prune(prune(22, 1_000)).await.expect("pruned"), Pruned::default());
}

async fn trimming_goes_in_small_pieces_over_tenants(world: &World) {
    let store = &world.store;
    let tenants = [tenant(), tenant_id("other"), tenant_id("third")];
    for tenant in &tenants {
        for id in ["1", "2"] {
            put(store, tenant, Channel { first_kept: 100, ..channel(id, id) }).await;
            fill(store, tenant, id, 30).await;
        }
    }
    let (mut removed, mut rounds) = (0, 0);
    loop {
        let pruned = store.prune(prune(2, 16)).await.expect("pruned");
        assert!(pruned.removed <= 16, "{pruned:?}");
        (removed, rounds) = (removed + pruned.removed, rounds + 1);
        if !pruned.has_more {
            break;
        }
    }
    assert_eq!(removed, 3 * 2 * 30);
    assert!(rounds >= 180 / 16, "{rounds} rounds");
    for tenant in &tenants {
        assert_eq!(sequences(store, tenant, "1").await, [0; 0]);
    }
}

async fn two_nodes_see_one_history(world: &World) {
    let Some(other) = world.another_node().await else { return };
    put(&world.store, &tenant(), channel("c", "a")).await;
    assert!(other.channel(&tenant(), &channel_id("c")).await.expect("read").is_some());
    let mut decision = Decision::default();
    decision.put(Row::Channel(Arc::new(Channel { next_sequence: 3, ..channel("c", "a") })), Some(1), 2);
    decision.create(Row::ChannelMessage(Arc::new(channel_message("c", 1, "m1", 1))), 1);
    decision.create(Row::ChannelMessage(Arc::new(channel_message("c", 2, "m2", 1))), 1);
    other.commit(&tenant(), decision, at(0), None).await.expect("published");
    assert_eq!(sequences(&world.store, &tenant(), "c").await, [1, 2]);
    let read = world.store.channel(&tenant(), &channel_id("c")).await.expect("read").expect("there");
    assert_eq!(read.value.next_sequence, 3);
    other.close().await.expect("closed");
}
