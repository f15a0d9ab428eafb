//! Channels: sequences without gaps, ids that are known again, and what is let go of.

use std::time::Duration;

use serde_json::value::RawValue;
use signalbox_core::Rejected;
use signalbox_core::channel::ChannelRetention;
use signalbox_core::engine::{
    ChangeChannel, CreateChannel, DeleteChannel, NewChannelMessage, PublishToChannel, Published,
};
use signalbox_wire::id::{AgentId, ChannelId, MessageId};

use crate::stage::Stage;

fn create(name: &str, max_messages: u64) -> CreateChannel {
    let retention = ChannelRetention { max_messages, max_age: Duration::from_secs(60) };
    CreateChannel { name: name.into(), description: None, retention, by: None }
}

fn made(max_messages: u64) -> (Stage, ChannelId) {
    let mut stage = Stage::new();
    let channel = stage.run(&create("orders.eu", max_messages)).expect("made").id.clone();
    (stage, channel)
}

fn publish(channel: &ChannelId, from: Option<&str>, messages: &[(Option<&str>, &str)]) -> PublishToChannel {
    let messages = messages.iter().map(|(id, payload)| NewChannelMessage {
        id: id.map(|id| MessageId::parse(id).expect("valid")),
        payload: RawValue::from_string((*payload).to_owned()).expect("JSON"),
    });
    PublishToChannel {
        channel: channel.clone(),
        from: from.map(|from| AgentId::parse(from).expect("valid")),
        messages: messages.collect(),
    }
}

fn sequences(published: &Published) -> Vec<Option<(u64, bool)>> {
    let one = |message: &Result<_, Rejected>| {
        let message: &signalbox_core::engine::PublishedMessage = message.as_ref().ok()?;
        Some((message.message.sequence, message.is_repeat))
    };
    published.messages.iter().map(one).collect()
}

#[test]
fn messages_are_numbered_without_gaps_and_known_again_by_their_publishers_ids() {
    let (mut stage, channel) = made(100);
    let first = stage.run(&publish(&channel, Some("a"), &[(Some("1"), "1"), (None, "2"), (Some("1"), "1")]));
    assert_eq!(sequences(&first.expect("published")), [Some((1, false)), Some((2, false)), Some((1, true))]);
    let again = stage.run(&publish(&channel, Some("a"), &[(Some("1"), "1"), (Some("1"), "\"other\"")]));
    let again = again.expect("decided");
    assert_eq!(sequences(&again), [Some((1, true)), None]);
    assert!(matches!(again.messages[1], Err(Rejected::MessageIdReused(_))));
    // Another publisher's ids are its own.
    let other = stage.run(&publish(&channel, Some("b"), &[(Some("1"), "\"other\"")])).expect("published");
    assert_eq!(sequences(&other), [Some((3, false))]);
    assert_eq!(other.channel.next_sequence, 4);
}

#[test]
fn publishes_that_wait_are_one_commit_that_writes_the_channel_once() {
    let (mut stage, channel) = made(100);
    let (commits, rows) = (stage.store.commits, stage.store.rows_written);
    let waiting: Vec<_> = (0..10).map(|_| publish(&channel, None, &[(None, "{}")])).collect();
    let published = stage.fold(&waiting);
    let numbers: Vec<u64> =
        published.iter().map(|one| sequences(one.as_ref().expect("published"))[0].expect("made").0).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    assert_eq!((stage.store.commits - commits, stage.store.rows_written - rows), (1, 11));
    // A repeat within one commit is a repeat.
    let twice = [publish(&channel, None, &[(Some("x"), "1")]), publish(&channel, None, &[(Some("x"), "1")])];
    let twice = stage.fold(&twice);
    let numbers: Vec<_> = twice.iter().map(|one| sequences(one.as_ref().expect("made"))[0]).collect();
    assert_eq!(numbers, [Some((11, false)), Some((11, true))]);
}

#[test]
fn what_is_over_the_number_kept_is_let_go_of_and_its_ids_with_it() {
    let (mut stage, channel) = made(2);
    for number in 1..=5 {
        let id = number.to_string();
        stage.run(&publish(&channel, None, &[(Some(&id), "0")])).expect("published");
    }
    let repeat =
        stage.run(&publish(&channel, None, &[(Some("5"), "0"), (Some("1"), "1")])).expect("published");
    assert_eq!(sequences(&repeat), [Some((5, true)), Some((6, false))]);
    assert_eq!((repeat.channel.first_kept, repeat.channel.next_sequence), (5, 7));
    let change = |max_messages| ChangeChannel {
        channel: channel.clone(),
        description: None,
        max_messages: Some(max_messages),
        max_age: None,
    };
    assert_eq!(stage.run(&change(1)).expect("changed").first_kept, 6);
    assert_eq!(stage.run(&change(9)).expect("changed").first_kept, 6, "what is gone does not come back");
}

#[test]
fn a_channel_that_keeps_nothing_writes_nothing() {
    let (mut stage, channel) = made(0);
    let rows = stage.store.rows_written;
    let live = stage.run(&publish(&channel, None, &[(Some("1"), "1"), (Some("1"), "1")])).expect("published");
    assert_eq!(sequences(&live), [Some((0, false)), Some((0, false))]);
    assert_eq!(stage.store.rows_written, rows);
}

#[test]
fn a_name_is_taken_once_and_free_again_after_its_channel() {
    let (mut stage, channel) = made(10);
    assert!(matches!(stage.run(&create("orders.eu", 10)), Err(Rejected::ChannelTaken(_))));
    stage.run(&DeleteChannel { channel: channel.clone() }).expect("deleted");
    let gone = stage.run(&publish(&channel, None, &[(None, "1")]));
    assert!(matches!(gone, Err(Rejected::UnknownChannel(_))));
    assert!(matches!(
        stage.run(&DeleteChannel { channel: channel.clone() }),
        Err(Rejected::UnknownChannel(_))
    ));
    let again = stage.run(&create("orders.eu", 10)).expect("made again");
    assert!(again.id != channel && again.next_sequence == 1);
}
