//! What every bus must do, whatever carries it. A new backend adds one line to [`over_every_bus`].

#![cfg(test)]

mod support;

use std::time::Duration;

use signalbox_bus::{
    Buffer, Bus, BusError, Bytes, Message, PAYLOAD_BYTES_MAX, Pattern, Received, Subject, Subscription,
};
use signalbox_wire::id::{AgentId, TenantId};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
const ROOMY: Buffer = Buffer::Bounded { messages: 1_000, bytes: 1 << 20 };

macro_rules! over_every_bus {
    ($($name:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test] async fn $name() { super::$name(signalbox_bus::Bus::local()).await; })*
        }

        mod nats {
            $(#[tokio::test] async fn $name() {
                if let Some(bus) = super::over_nats(stringify!($name)).await {
                    super::$name(bus).await;
                }
            })*
        }
    };
}

over_every_bus!(
    messages_come_in_order_and_only_where_they_match,
    a_pattern_matches_across_channels_and_stays_in_its_tenant,
    a_full_buffer_says_how_many_were_missed_and_goes_on,
    a_buffer_is_bounded_in_bytes,
    the_newest_wake_up_replaces_those_before,
    one_slow_reader_holds_up_nobody,
    a_request_gets_the_first_reply,
    a_request_to_nobody_fails_at_once,
    a_request_without_a_reply_ends_in_time,
    a_dropped_subscription_gets_nothing_more,
    a_dropped_wait_loses_nothing,
    too_large_a_payload_is_refused,
);

/// A bus of this test alone, once it is there.
async fn over_nats(test: &str) -> Option<Bus> {
    let bus = support::node(&support::nats_url()?, test, 0);
    support::until(|| bus.outage().is_none()).await;
    Some(bus)
}

fn tenant() -> TenantId {
    // Ids may hold what means something else on a bus.
    TenantId::parse("tenant.* >").expect("valid")
}

fn channel(name: &str) -> Subject {
    Subject::channel(&tenant(), name).expect("a name")
}

fn pattern(text: &str) -> Pattern {
    Pattern::channels(&tenant(), text).expect("a pattern")
}

async fn subscribed(bus: &Bus, pattern: &Pattern, buffer: Buffer) -> Subscription {
    bus.subscribe(pattern, buffer).await.expect("subscribed")
}

async fn next(subscription: &mut Subscription) -> Received {
    tokio::time::timeout(PATIENCE, subscription.recv()).await.expect("in time")
}

async fn message(subscription: &mut Subscription) -> Message {
    next(subscription).await.message().expect("nothing was missed")
}

async fn text(subscription: &mut Subscription) -> String {
    String::from_utf8(message(subscription).await.payload.to_vec()).expect("text")
}

fn publish(bus: &Bus, subject: &Subject, text: &str) {
    bus.publish(subject, Bytes::copy_from_slice(text.as_bytes())).expect("published");
}

async fn messages_come_in_order_and_only_where_they_match(bus: Bus) {
    let log = Subject::log(&tenant());
    let mut own = subscribed(&bus, &Pattern::exactly(&log), ROOMY).await;
    let mut too = subscribed(&bus, &Pattern::exactly(&log), ROOMY).await;
    publish(&bus, &Subject::log(&TenantId::default_tenant()), "another tenant's");
    publish(&bus, &Subject::revoked_keys(), "another subject's");
    for number in 0..100 {
        publish(&bus, &log, &number.to_string());
    }
    for number in 0..100 {
        assert_eq!((text(&mut own).await, text(&mut too).await), (number.to_string(), number.to_string()));
    }
    assert!(own.try_recv().is_none() && too.try_recv().is_none(), "each comes once");
}

async fn a_pattern_matches_across_channels_and_stays_in_its_tenant(bus: Bus) {
    let mut one = subscribed(&bus, &pattern("orders.*"), ROOMY).await;
    let mut deep = subscribed(&bus, &pattern("orders.>"), ROOMY).await;
    let foreign = Subject::channel(&TenantId::default_tenant(), "orders.new").expect("a name");
    publish(&bus, &foreign, "foreign");
    publish(&bus, &channel("orders"), "too short");
    publish(&bus, &channel("orders.new"), "new");
    publish(&bus, &channel("orders.new.eu"), "eu");
    publish(&bus, &channel("orders.old"), "old");
    let first = message(&mut one).await;
    assert_eq!((first.subject, &*first.payload), (channel("orders.new"), &b"new"[..]));
    assert_eq!(text(&mut one).await, "old");
    for expected in ["new", "eu", "old"] {
        assert_eq!(text(&mut deep).await, expected);
    }
    assert!(one.try_recv().is_none() && deep.try_recv().is_none());
}

async fn a_full_buffer_says_how_many_were_missed_and_goes_on(bus: Bus) {
    let buffer = Buffer::Bounded { messages: 2, bytes: 1 << 20 };
    let mut slow = subscribed(&bus, &pattern("a"), buffer).await;
    let mut quick = subscribed(&bus, &pattern("a"), ROOMY).await;
    for number in 0..5 {
        publish(&bus, &channel("a"), &number.to_string());
    }
    for number in 0..5 {
        assert_eq!(text(&mut quick).await, number.to_string(), "all have arrived");
    }
    assert_eq!((text(&mut slow).await, text(&mut slow).await), ("0".to_owned(), "1".to_owned()));
    assert!(matches!(next(&mut slow).await, Received::Missed(3)));
    publish(&bus, &channel("a"), "after");
    assert_eq!(text(&mut slow).await, "after");
}

async fn a_buffer_is_bounded_in_bytes(bus: Bus) {
    let mut reader = subscribed(&bus, &pattern("a"), Buffer::Bounded { messages: 100, bytes: 10 }).await;
    let mut quick = subscribed(&bus, &pattern("a"), ROOMY).await;
    publish(&bus, &channel("a"), "12345678");
    publish(&bus, &channel("a"), "123");
    assert_eq!((text(&mut quick).await, text(&mut quick).await), ("12345678".to_owned(), "123".to_owned()));
    assert_eq!(text(&mut reader).await, "12345678");
    assert!(matches!(next(&mut reader).await, Received::Missed(1)));
}

async fn the_newest_wake_up_replaces_those_before(bus: Bus) {
    let mut woken = subscribed(&bus, &pattern("a"), Buffer::Newest).await;
    let mut quick = subscribed(&bus, &pattern("a"), ROOMY).await;
    for number in 1..=3 {
        publish(&bus, &channel("a"), &number.to_string());
    }
    for number in 1..=3 {
        assert_eq!(text(&mut quick).await, number.to_string(), "all have arrived");
    }
    assert_eq!(text(&mut woken).await, "3");
    assert!(woken.try_recv().is_none());
}

async fn one_slow_reader_holds_up_nobody(bus: Bus) {
    let _never_reads = subscribed(&bus, &pattern(">"), Buffer::Bounded { messages: 1, bytes: 8 }).await;
    let mut reads = subscribed(&bus, &pattern(">"), ROOMY).await;
    for number in 0..500 {
        publish(&bus, &channel("a"), &number.to_string());
        assert_eq!(text(&mut reads).await, number.to_string());
    }
}

async fn a_request_gets_the_first_reply(bus: Bus) {
    let subject = Subject::agent(&tenant(), &AgentId::parse("an agent").expect("valid"));
    let mut node = subscribed(&bus, &Pattern::exactly(&subject), ROOMY).await;
    let answering = tokio::spawn(async move {
        for _ in 0..2 {
            let request = message(&mut node).await;
            let reply = request.reply.expect("a reply is waited for");
            reply.send([b"got ", &request.payload[..]].concat().into());
            reply.send(Bytes::from_static(b"a second reply"));
        }
    });
    for number in ["1", "2"] {
        let replied = bus.request(&subject, Bytes::copy_from_slice(number.as_bytes()), PATIENCE).await;
        assert_eq!(replied.expect("a reply"), format!("got {number}"));
    }
    answering.await.expect("answered both");
}

async fn a_request_to_nobody_fails_at_once(bus: Bus) {
    let nobody = channel("a");
    let failed = bus.request(&nobody, Bytes::new(), Duration::from_secs(3_600));
    let failed = tokio::time::timeout(PATIENCE, failed).await.expect("at once");
    assert_eq!(failed, Err(BusError::NoResponders(nobody)));
}

async fn a_request_without_a_reply_ends_in_time(bus: Bus) {
    let mut listens = subscribed(&bus, &pattern("a"), ROOMY).await;
    let within = Duration::from_millis(20);
    let failed = bus.request(&channel("a"), Bytes::new(), within).await;
    assert_eq!(failed, Err(BusError::TimedOut { subject: channel("a"), within }));
    let late = message(&mut listens).await.reply.expect("a reply was waited for");
    late.send(Bytes::from_static(b"too late, and no harm"));
}

async fn a_dropped_subscription_gets_nothing_more(bus: Bus) {
    let gone = subscribed(&bus, &pattern("a"), ROOMY).await;
    let mut stays = subscribed(&bus, &pattern("a"), ROOMY).await;
    drop(gone);
    publish(&bus, &channel("a"), "x");
    assert_eq!(text(&mut stays).await, "x");
    drop(stays);
    // Unsubscribing may take a moment to cross a network.
    let is_nobody = async {
        while bus.request(&channel("a"), Bytes::new(), Duration::from_millis(5)).await
            != Err(BusError::NoResponders(channel("a")))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_nobody).await.expect("nobody is subscribed any more");
}

async fn a_dropped_wait_loses_nothing(bus: Bus) {
    let mut reader = subscribed(&bus, &pattern("a"), ROOMY).await;
    tokio::select! {
        biased;
        _ = reader.recv() => panic!("nothing was published"),
        () = std::future::ready(()) => {}
    }
    publish(&bus, &channel("a"), "x");
    assert_eq!(text(&mut reader).await, "x");
}

async fn too_large_a_payload_is_refused(bus: Bus) {
    let bytes = PAYLOAD_BYTES_MAX + 1;
    let large = Bytes::from(vec![0; bytes]);
    assert_eq!(bus.publish(&channel("a"), large.clone()), Err(BusError::TooLarge { bytes }));
    assert_eq!(bus.request(&channel("a"), large, PATIENCE).await, Err(BusError::TooLarge { bytes }));
}
