//! What the server refuses.

use super::*;

fn refusal(envelope: &Value, code: &str, retry_after: Option<u64>) -> Value {
    let data = json!({"code": code, "message": "not that", "id": envelope["id"], "retry_after": retry_after});
    json!({"type": "error", "data": data})
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_refused_for_a_while_is_sent_again() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.name("con_1").await;
    server.send(task("tsk_a-1", 1)).await;
    let response = server.next().await;
    for (code, retry_after, seconds) in [("store-busy", None, 10), ("too-many-requests", Some(20), 20)] {
        let since = Instant::now();
        server.send(refusal(&response, code, retry_after)).await;
        tested.told(|happening| matches!(happening, Happening::Refused { .. })).await;
        assert_eq!(server.next().await, response);
        let waited = since.elapsed().as_secs();
        assert!((seconds..seconds + 2).contains(&waited), "{code}: {waited} s");
    }
    server.acknowledge(&response).await;
    tested.stop.send_replace(true);
    tokio::join!(async { while server.0.next_frame().await.is_ok() {} }, tested.ended());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_refused_for_good_is_settled_by_a_failure_once() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.send(task("tsk_a-1", 1)).await;
    let response = server.next().await;
    server.send(refusal(&response, "invalid", None)).await;
    let failed = server.next().await;
    assert_eq!(
        (&failed["data"]["command_id"], &failed["data"]["status"]),
        (&json!("tsk_a-1"), &json!("error"))
    );
    let error = failed["data"]["error"].to_string();
    assert!(error.contains("the result was refused") && error.contains("not that"), "{error}");
    server.send(refusal(&failed, "invalid", None)).await;
    for _ in 0..2 {
        tested.told(|happening| matches!(happening, Happening::Refused { .. })).await;
    }
    tested.stop.send_replace(true);
    tokio::join!(async { while server.0.next_frame().await.is_ok() {} }, tested.ended());
}

#[tokio::test(start_paused = true)]
async fn a_command_is_acknowledged_once_the_server_has_its_answer() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.name("con_1").await;
    server.send(command("cmd_1", 1, "restart", json!({"hang": true}))).await;
    server.send(task("tsk_a-1", 2)).await;
    // Not acknowledged: each of these would be one.
    let response = server.next_but(&["heartbeat"]).await;
    assert_eq!(response["data"]["command_id"], "tsk_a-1");
    server.acknowledge(&response).await;
    assert_eq!(server.next_but(&["heartbeat"]).await["data"]["current_task"], "cmd_1");
    drop(server);

    let (mut server, resume) = tested.accept().await;
    assert_eq!(resume, Some(Resume { connection_id: "con_1".to_owned(), after: 0 }));
    server.send(command("cmd_1", 1, "restart", json!({"hang": true}))).await;
    server.send(command("end", 2, "cancel_command", json!({"command_id": "cmd_1"}))).await;
    let response = server.next_but(&["heartbeat"]).await;
    assert_eq!(response["data"]["error"]["code"], "cancelled");
    server.acknowledge(&response).await;
    let acknowledged = server.next_but(&["heartbeat"]).await;
    assert_eq!((&acknowledged["type"], &acknowledged["data"]["sequence"]), (&json!("ack"), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_after_the_upgrade_is_an_error_of_the_start() {
    for (code, status) in [(4401, 401), (4403, 403), (4404, 404), (4001, 409)] {
        let mut tested = start(some_handlers().0, Vec::new());
        let (server, _) = tested.accept().await;
        server.close(code).await;
        let first = timeout(DEADLINE, &mut tested.first).await.unwrap().unwrap();
        assert_eq!(first.unwrap_err().status(), Some(status));
        tested.ended().await;
    }
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    assert_eq!(server.next_but(&[]).await["type"], "heartbeat");
    assert!(tested.first.try_recv().is_err(), "it is not known yet");
    server.name("con_1").await;
    timeout(DEADLINE, &mut tested.first).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_whose_channel_is_another_one_now_is_made_anew() {
    let (handlers, runs) = some_handlers();
    let mut tested = start(handlers, vec![Subscription::new("orders.eu").after(0)]);
    let publication = |channel: &str, sequence: u64| {
        json!({"type": "message", "id": format!("m{sequence}"),
            "data": {"subject": "orders.eu", "channel_id": channel, "from": "b", "payload": {}, "sequence": sequence}})
    };
    let done = |happening: &Happening| matches!(happening, Happening::Done { .. });
    let (mut server, _) = tested.accept().await;
    let subscribe = server.next_but(&["heartbeat"]).await;
    server.acknowledge(&subscribe).await;
    for sequence in [1, 2] {
        server.send(publication("chn_1", sequence)).await;
        tested.told(done).await;
    }
    drop(server);

    let (mut server, _) = tested.accept().await;
    let mut subscribe = server.next_but(&["heartbeat"]).await;
    for expected in [json!({"subject": "orders.eu", "after": 0}), json!({"subject": "orders.eu"})] {
        server.send(refusal(&subscribe, "invalid", None)).await;
        assert_eq!(tested.refused_subscription().await, ("orders.eu".to_owned(), false), "it asks by itself");
        subscribe = server.next_but(&["heartbeat"]).await;
        assert_eq!((&subscribe["type"], &subscribe["data"]), (&json!("subscribe"), &expected));
    }
    server.acknowledge(&subscribe).await;
    // Another channel has its own sequences, and history that is asked for comes again.
    server.send(publication("chn_2", 1)).await;
    tested.told(done).await;
    tested.link.subscribe(Subscription::new("orders.eu").after(0)).await.unwrap();
    assert_eq!(server.next_but(&["heartbeat"]).await["data"]["after"], 0);
    server.send(publication("chn_2", 1)).await;
    tested.told(done).await;
    assert_eq!(runs.load(Ordering::Relaxed), 4);
    let subscribe = json!({"id": "subscribe:1:orders.eu"});
    server.send(refusal(&subscribe, "store-busy", None)).await;
    assert_eq!(tested.refused_subscription().await, ("orders.eu".to_owned(), false), "it passes");
    let again = server.next_but(&["heartbeat"]).await;
    assert_eq!(
        again["data"],
        json!({"subject": "orders.eu", "after": 1}),
        "it passes, and nothing is forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_stays_refused_is_told_as_such() {
    let mut tested = start(some_handlers().0, vec![Subscription::new("orders.eu")]);
    let (mut server, _) = tested.accept().await;
    let subscribe = server.next_but(&["heartbeat"]).await;
    server.send(refusal(&subscribe, "forbidden", None)).await;
    assert_eq!(tested.refused_subscription().await, ("orders.eu".to_owned(), true));
}
