//! What only a bus between nodes has to do: reach the others, and get over the loss of NATS.

#![cfg(test)]

#[path = "support/nats_server.rs"]
mod nats_server;
mod support;

use std::time::Duration;

use nats_server::NatsServer;
use signalbox_bus::{Buffer, Bus, BusError, Bytes, Message, Pattern, Received, Subject, Subscription};
use signalbox_wire::id::TenantId;
use support::{PATIENCE, nats_url, node, until};

const ROOMY: Buffer = Buffer::Bounded { messages: 10_000, bytes: 1 << 20 };

fn subject(name: &str) -> Subject {
    Subject::channel(&TenantId::default_tenant(), name).expect("a name")
}

async fn next(subscription: &mut Subscription) -> Received {
    tokio::time::timeout(PATIENCE, subscription.recv()).await.expect("in time")
}

async fn message(subscription: &mut Subscription) -> Message {
    loop {
        if let Received::Message(message) = next(subscription).await {
            return message;
        }
    }
}

async fn subscribed(bus: &Bus, subject: &Subject) -> Subscription {
    bus.subscribe(&Pattern::exactly(subject), ROOMY).await.expect("subscribed")
}

/// A NATS of the test alone, and two nodes on it.
async fn own_nats(test: &str) -> Option<(NatsServer, Bus, Bus)> {
    nats_url()?;
    let nats = NatsServer::start(&[]).expect("nats-server is installed where SIGNALBOX_TEST_NATS is set");
    let url = format!("nats://{}", nats.authority());
    let nodes = (node(&url, test, 1), node(&url, test, 2));
    until(|| nodes.0.outage().is_none() && nodes.1.outage().is_none()).await;
    Some((nats, nodes.0, nodes.1))
}

async fn is_down(bus: &Bus) {
    until(|| bus.outage().is_some()).await;
}

#[tokio::test]
async fn what_one_node_publishes_after_another_has_subscribed_arrives() {
    let Some(url) = nats_url() else { return };
    let (one, two) = (node(&url, "crossing", 1), node(&url, "crossing", 2));
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    for number in 0..200 {
        let subject = subject(&format!("crossing.{number}"));
        let mut there = subscribed(&two, &subject).await;
        one.publish(&subject, Bytes::from(number.to_string())).expect("published");
        let got = message(&mut there).await;
        assert_eq!((got.subject, got.payload), (subject, Bytes::from(number.to_string())));
    }
}

#[tokio::test]
async fn a_request_crosses_nodes_and_several_are_under_way_at_once() {
    let Some(url) = nats_url() else { return };
    let (one, two) = (node(&url, "requests", 1), node(&url, "requests", 2));
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    let mut there = subscribed(&two, &subject("a")).await;
    let answering = tokio::spawn(async move {
        let mut requests = Vec::new();
        for _ in 0..100 {
            requests.push(message(&mut there).await);
        }
        // In another order than they came.
        for request in requests.into_iter().rev() {
            request.reply.expect("a reply is waited for").send(request.payload);
        }
    });
    let ask = |number: usize| {
        let one = one.clone();
        async move { one.request(&subject("a"), Bytes::from(number.to_string()), PATIENCE).await }
    };
    let asked: Vec<_> = (0..100).map(|number| tokio::spawn(ask(number))).collect();
    for (number, asked) in asked.into_iter().enumerate() {
        assert_eq!(asked.await.expect("joined"), Ok(Bytes::from(number.to_string())));
    }
    answering.await.expect("answered all");
}

#[tokio::test]
async fn many_read_one_subject_on_a_node_and_each_gets_each_message_once() {
    let Some(url) = nats_url() else { return };
    let (one, two) = (node(&url, "readers", 1), node(&url, "readers", 2));
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    let subject = subject("a");
    for round in 0..20 {
        let mut readers = Vec::new();
        for _ in 0..10 {
            readers.push(subscribed(&two, &subject).await);
        }
        // Those that leave take nothing from those that stay.
        readers.truncate(5);
        for number in 0..10 {
            one.publish(&subject, Bytes::from(format!("{round} {number}"))).expect("published");
        }
        for reader in &mut readers {
            for number in 0..10 {
                assert_eq!(message(reader).await.payload, format!("{round} {number}"));
            }
            assert!(reader.try_recv().is_none(), "each comes once");
        }
    }
}

#[tokio::test]
async fn nodes_with_different_prefixes_share_nothing() {
    let Some(url) = nats_url() else { return };
    let (one, two) = (node(&url, "apart-a", 1), node(&url, "apart-b", 2));
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    let mut there = subscribed(&two, &subject("a")).await;
    let nobody = one.request(&subject("a"), Bytes::new(), PATIENCE).await;
    assert_eq!(nobody, Err(BusError::NoResponders(subject("a"))));
    two.publish(&subject("a"), Bytes::from_static(b"own")).expect("published");
    assert_eq!(message(&mut there).await.payload, "own");
}

#[tokio::test]
async fn a_subscription_outlives_nats_and_says_that_it_may_have_missed_something() {
    let Some((mut nats, one, two)) = own_nats("outlives").await else { return };
    let mut there = subscribed(&two, &subject("a")).await;
    one.publish(&subject("a"), Bytes::from_static(b"before")).expect("published");
    assert_eq!(message(&mut there).await.payload, "before");
    nats.kill();
    is_down(&one).await;
    is_down(&two).await;
    let lost = one.publish(&subject("a"), Bytes::from_static(b"lost"));
    assert!(matches!(lost, Err(BusError::Unavailable(_))), "{lost:?}");
    nats.restart();
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    one.publish(&subject("a"), Bytes::from_static(b"after")).expect("published");
    assert!(matches!(next(&mut there).await, Received::Missed(0)), "first that something may be missing");
    assert_eq!(message(&mut there).await.payload, "after");
}

#[tokio::test]
async fn without_nats_requests_fail_at_once_and_those_under_way_end() {
    let Some((mut nats, one, two)) = own_nats("fails").await else { return };
    let mut silent = subscribed(&two, &subject("a")).await;
    let hour = Duration::from_secs(3_600);
    let under_way = tokio::spawn({
        let one = one.clone();
        async move { one.request(&subject("a"), Bytes::new(), hour).await }
    });
    let _request = message(&mut silent).await;
    nats.kill();
    let ended = tokio::time::timeout(PATIENCE, under_way).await.expect("ends").expect("joined");
    assert!(matches!(ended, Err(BusError::Unavailable(_))), "{ended:?}");
    is_down(&one).await;
    let subject = subject("a");
    let refusing = one.request(&subject, Bytes::new(), hour);
    let refused = tokio::time::timeout(PATIENCE, refusing).await.expect("at once");
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_subscription_that_is_made_without_nats_begins_when_it_comes() {
    if nats_url().is_none() {
        return;
    }
    let mut nats = NatsServer::start(&[]).expect("nats-server");
    nats.kill();
    let bus = node(&format!("nats://{}", nats.authority()), "later", 1);
    let why = bus.outage().expect("nobody is there");
    assert!(why.contains(&nats.authority()), "{why}");
    let pattern = Pattern::exactly(&subject("a"));
    let making = bus.subscribe(&pattern, Buffer::Newest);
    let mut early = tokio::time::timeout(PATIENCE, making).await.expect("at once").expect("taken");
    nats.restart();
    assert!(matches!(next(&mut early).await, Received::Missed(0)));
    bus.publish(&subject("a"), Bytes::from_static(b"x")).expect("it is there");
    assert_eq!(message(&mut early).await.payload, "x");
    // Another reader of the same waits no longer than for NATS.
    let again = tokio::time::timeout(Duration::from_secs(1), bus.subscribe(&pattern, ROOMY));
    drop(again.await.expect("at once").expect("taken"));
}

#[tokio::test]
async fn a_password_opens_nats_and_is_never_shown() {
    if nats_url().is_none() {
        return;
    }
    let nats = NatsServer::start(&["--user", "bus", "--pass", "s3cret: word"]).expect("nats-server");
    let open = |password: &str| {
        let url = format!("nats://bus:{password}@{}", nats.authority());
        node(&url, "login", 1)
    };
    let good = open("s3cret%3A%20word");
    until(|| good.outage().is_none()).await;
    let bad = open("wr0ng");
    until(|| bad.outage().is_some_and(|why| why.contains("authorization"))).await;
    let shown = format!("{good:?} {bad:?} {:?}", bad.publish(&subject("a"), Bytes::new()));
    assert!(shown.contains(&nats.authority()), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("wr0ng"), "{shown}");
}

#[tokio::test]
async fn a_user_needs_nothing_but_the_subjects_of_its_prefix() {
    if nats_url().is_none() {
        return;
    }
    let file = format!("{}/permissions-{}.conf", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let subjects = format!("test.allowed-{}.>", std::process::id());
    let permissions = format!("{{ publish: \"{subjects}\", subscribe: \"{subjects}\" }}");
    let config =
        format!("authorization {{ users: [ {{ user: u, password: p, permissions: {permissions} }} ] }}");
    std::fs::write(&file, config).expect("written");
    let nats = NatsServer::start(&["--config", &file]).expect("nats-server");
    let url = format!("nats://u:p@{}", nats.authority());
    let (one, two) = (node(&url, "allowed", 1), node(&url, "allowed", 2));
    let stranger = node(&url, "forbidden", 3);
    until(|| one.outage().is_none() && two.outage().is_none()).await;
    let mut there = subscribed(&two, &subject("a")).await;
    let asked =
        tokio::spawn(async move { one.request(&subject("a"), Bytes::from_static(b"x"), PATIENCE).await });
    message(&mut there).await.reply.expect("a reply is waited for").send(Bytes::from_static(b"y"));
    assert_eq!(asked.await.expect("joined"), Ok(Bytes::from_static(b"y")));
    until(|| stranger.outage().is_some_and(|why| why.contains("may this user publish"))).await;
    std::fs::remove_file(&file).expect("removed");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_passed_over_for_the_next() {
    let Some(url) = nats_url() else { return };
    // Something that takes connections and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("nats://{},{url}", listener.local_addr().expect("bound"));
    let bus = node(&silent, "silent", 1);
    // One server of several that does not answer holds up nothing for long.
    until(|| bus.outage().is_none()).await;
}
