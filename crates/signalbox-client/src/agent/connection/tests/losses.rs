//! What is open while a connection breaks.

use super::*;

impl Tested {
    fn publish(&self, payload: Value) -> JoinHandle<Result<Option<u64>, Error>> {
        let link = self.link.clone();
        tokio::spawn(async move { link.publish("orders.eu", payload, None).await })
    }
}

#[tokio::test(start_paused = true)]
async fn open_publications_go_out_again_in_their_order() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    let mut publishing = Vec::new();
    for number in 0..16 {
        publishing.push(tested.publish(json!(number)));
        assert_eq!(server.next().await["data"]["payload"], number);
    }
    // Nobody waits for this one any more.
    let given_up = publishing.remove(7);
    given_up.abort();
    assert!(given_up.await.is_err());
    drop(server);
    let (mut server, _) = tested.accept().await;
    for number in (0..16).filter(|number| *number != 7) {
        let published = server.next().await;
        assert_eq!(published["data"]["payload"], number);
        server.acknowledge(&published).await;
    }
    for publishing in publishing {
        publishing.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_or_given_up() {
    let mut tested = start(some_handlers().0, Vec::new());
    let error = tested.link.publish("s", json!("x".repeat(600 << 10)), None).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error}");
    let asked = tested.link.request(("to", "b"), json!("x".repeat(600 << 10)), Duration::MAX).await;
    assert!(matches!(asked, Err(Error::Unusable { .. })));

    let (mut server, _) = tested.accept().await;
    let small = tested.publish(json!(1));
    server.next().await;
    let large = tested.publish(json!("x".repeat(300 << 10)));
    server.next().await;
    server.send(task("tsk_a-1", 1)).await;
    server.next().await;
    server.close(1009).await;
    assert!(matches!(large.await.unwrap(), Err(Error::Unusable { .. })));
    let refused = tested.told(|happening| matches!(happening, Happening::Refused { .. })).await;
    assert!(format!("{refused:?}").contains("too-large"), "{refused:?}");
    let (mut server, _) = tested.accept().await;
    assert_eq!(server.next().await["data"]["status"], "success");
    let published = server.next().await;
    assert_eq!(published["data"]["payload"], 1);
    server.acknowledge(&published).await;
    small.await.unwrap().unwrap();
    // Now the result is the largest: a failure takes its place.
    server.close(1009).await;
    let (mut server, _) = tested.accept().await;
    let failed = server.next().await;
    assert_eq!(failed["data"]["error"]["code"], "result-refused", "{failed}");
}

#[tokio::test(start_paused = true)]
async fn times_beyond_all_measure_are_bounded() {
    let mut tested = start_beating(some_handlers().0, Vec::new(), Duration::MAX);
    let (mut server, _) = tested.accept().await;
    server.name("con_1").await;
    let link = tested.link.clone();
    let asking = tokio::spawn(async move { link.request(("to", "b"), json!("?"), Duration::MAX).await });
    assert_eq!(server.next().await["data"]["timeout"], 300.0);
    let begun = Instant::now();
    assert_eq!(server.next_but(&["request"]).await["type"], "heartbeat");
    assert!(matches!(asking.await.unwrap(), Err(Error::Timeout { .. })));
    assert!(begun.elapsed() <= Duration::from_secs(306));
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_once_and_so_is_its_end() {
    let mut tested = start(some_handlers().0, Vec::new());
    for _ in 0..2 {
        for _ in 0..3 {
            drop(tested.dialed().await.answer.send(Err(unreachable())));
        }
        let (mut server, _) = tested.accept().await;
        server.name("con_1").await;
        assert_eq!(server.next_but(&[]).await["type"], "heartbeat");
    }
    drop(tested.dialed().await);
    let mut lines = Vec::new();
    while let Ok(happening) = tested.happenings.try_recv() {
        lines.push(happening.to_string());
    }
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[0], "no server at http://127.0.0.1:9 yet (refused); trying again");
    assert_eq!(lines[1], "connected");
    assert!(lines[2].starts_with("lost the server: ") && lines[2].ends_with("; trying again"), "{lines:?}");
    assert_eq!(lines[3], "back: the server is there again");
    assert!(lines[4].starts_with("lost the server: "), "{lines:?}");
}
