//! How an agent stops, and how it ends where it must.

use tokio::sync::Semaphore;

use super::*;

/// Handlers that end, each, once there is a permit for it.
fn gated() -> (Handlers, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let mut handlers = Handlers::default();
    handlers.rest(Handler::new(move |_| {
        let waits = Arc::clone(&waits);
        async move {
            waits.acquire().await.unwrap().forget();
            Ok::<_, Failure>(Value::Null)
        }
    }));
    (handlers, gate)
}

fn message(id: &str, sequence: u64) -> Value {
    json!({"type": "message", "id": id, "sequence": sequence, "data": {"messageType": "greeting", "payload": {}}})
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_in_hand_and_for_the_server_to_have_it() {
    let (handlers, gate) = gated();
    let mut tested = start(handlers, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.send(task("tsk_a-1", 1)).await;
    assert_eq!(server.next().await["data"]["status"], "busy");
    tested.stop.send_replace(true);
    let draining = server.next().await;
    assert_eq!((&draining["type"], &draining["data"]), (&json!("status"), &json!({"status": "draining"})));
    server.send(task("tsk_b-1", 2)).await;
    let told = server.next_but(&["ack"]).await;
    assert_eq!((&told["type"], &told["data"]["status"]), (&json!("heartbeat"), &json!("draining")));
    assert!(timeout(Duration::from_secs(5), &mut tested.running).await.is_err(), "it waits for its handler");
    gate.add_permits(2);
    let response = server.next().await;
    assert_eq!(response["data"], json!({"command_id": "tsk_a-1", "status": "success", "result": null}));
    assert_eq!(server.next().await["data"]["status"], "draining", "an answer makes it available again");
    assert!(timeout(Duration::from_secs(5), &mut tested.running).await.is_err(), "it waits for the server");
    server.acknowledge(&response).await;
    let closed = async {
        while let Ok(frame) = server.0.next_frame().await {
            let text = String::from_utf8_lossy(frame.payload()).into_owned();
            assert!(!text.contains(r#""sequence":2"#), "what is left is not acknowledged: {text}");
        }
    };
    tokio::join!(closed, tested.ended());
    assert_eq!(gate.available_permits(), 1, "what came while it stopped is not begun");
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_connections_waits_for_no_more_than_what_is_in_hand() {
    let (handlers, gate) = gated();
    let mut tested = start(handlers, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.send(message("msg_1", 1)).await;
    tested.told(|happening| matches!(happening, Happening::Taken { .. })).await;
    drop(server);
    tested.told(|happening| matches!(happening, Happening::Disconnected { .. })).await;
    tested.stop.send_replace(true);
    assert!(timeout(Duration::from_millis(500), &mut tested.running).await.is_err());
    gate.add_permits(1);
    let stopped_in = Instant::now();
    tested.ended().await;
    assert!(stopped_in.elapsed() < Duration::from_millis(100), "{:?}", stopped_in.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_dial() {
    let (handlers, gate) = gated();
    let mut tested = start(handlers, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.send(message("msg_1", 1)).await;
    tested.told(|happening| matches!(happening, Happening::Taken { .. })).await;
    drop(server);
    let dialed = tested.dialed().await;
    tested.stop.send_replace(true);
    gate.add_permits(1);
    tested.ended().await;
    drop(dialed);
}

#[tokio::test(start_paused = true)]
async fn tasks_and_commands_end_where_another_process_has_the_agent() {
    for code in [4001, 4403] {
        let (handlers, gate) = gated();
        let mut tested = start(handlers, Vec::new());
        let (mut server, _) = tested.accept().await;
        for number in 1..=4 {
            server.send(task(&format!("tsk_{number}-1"), number)).await;
        }
        server.send(command("cmd_1", 5, "restart", json!({}))).await;
        server.send(message("msg_1", 6)).await;
        for _ in 0..6 {
            tested.told(|happening| matches!(happening, Happening::Taken { .. })).await;
        }
        server.close(code).await;
        for _ in 0..5 {
            let done = tested.told(|happening| matches!(happening, Happening::Done { .. })).await;
            assert!(format!("{done:?}").contains("cancelled"), "{done:?}");
        }
        gate.add_permits(1);
        let done = tested.told(|happening| matches!(happening, Happening::Done { .. })).await;
        assert!(matches!(done, Happening::Done { kind: Kind::Message, failure: None, .. }), "{done:?}");
        tested.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_neither_answers_nor_the_end_of_what_waits() {
    let (handlers, gate) = gated();
    let mut tested = start(handlers, Vec::new());
    let (mut server, _) = tested.accept().await;
    let taken = 4 + QUEUE_MAX as u64;
    for number in 1..=taken {
        server.send(message(&format!("msg_{number}"), number)).await;
        tested.told(|happening| matches!(happening, Happening::Taken { .. })).await;
    }
    let last = taken + 10;
    for number in taken + 1..last {
        server.send(message(&format!("msg_{number}"), number)).await;
    }
    server.send(command("cmd_1", last, "restart", json!({}))).await;
    server.send(command("cmd_2", last + 1, "cancel_command", json!({"command_id": "cmd_1"}))).await;
    let link = tested.link.clone();
    let publishing = tokio::spawn(async move { link.publish("orders.eu", json!(1), None).await });
    let published = loop {
        let envelope = server.next_but(&["heartbeat"]).await;
        if envelope["type"] == "publish" {
            break envelope;
        }
        assert!(envelope["data"]["sequence"].as_u64().unwrap() <= taken, "{envelope}");
    };
    server.acknowledge(&published).await;
    let begun = Instant::now();
    publishing.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    gate.add_permits(usize::try_from(last).unwrap());
    let response = server.next().await;
    assert_eq!(response["data"]["command_id"], "cmd_1");
    server.acknowledge(&response).await;
    while server.next_but(&["heartbeat"]).await["data"]["sequence"] != last + 1 {}
}
