//! What the workflow language does when it is run: lists, graphs, people, tools, sessions in sessions, undoing.

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, PATIENCE, Server, Worker, eventually, on_each_database, task_of,
};

on_each_database![
    a_list_is_worked_through_in_parallel_and_its_results_are_in_order,
    a_graph_joins_and_its_conditions_hold,
    an_approval_is_good_for_the_parameters_that_were_seen,
    an_approval_of_a_task_that_is_passed_over_is_passed_over_too,
    a_session_that_is_over_has_no_ending_to_come,
    a_refusal_fails_the_task,
    a_signal_ends_a_wait_also_when_it_comes_early,
    tools_do_tasks,
    a_session_does_a_task_of_another,
    what_was_done_is_undone_and_told,
    sessions_with_one_key_take_turns,
    a_silent_agent_loses_its_task,
];

fn starter(server: &Server) -> String {
    server.register_at("starter", "http://127.0.0.1:9/run", &[])
}

fn task<'a>(session: &'a Value, id: &str) -> &'a Value {
    let tasks = session["tasks"].as_array().expect("tasks");
    tasks.iter().find(|task| task["taskId"] == id).unwrap_or_else(|| panic!("no task {id}: {session}"))
}

/// The session once its task `id` is `status`.
fn task_becomes(server: &Server, session: &str, id: &str, status: &str) -> Value {
    eventually(&format!("task {id} to be {status}"), || {
        let session = server.session(session);
        if task(&session, id)["status"] == status { Ok(session) } else { Err(session.to_string()) }
    })
}

fn a_list_is_worked_through_in_parallel_and_its_results_are_in_order(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let workers: Vec<Worker> =
        (0..2).map(|n| Worker::start(&server.api(), &format!("reader {n}"), &["read"])).collect();
    let workflow = json!({"id": "fan", "name": "Fan", "tasks": [
        {"taskId": "read", "agentCapability": "read", "forEach": "input.files", "maxParallel": 2,
            "parameters": {"file": "${item}", "number": "${index}"}},
        {"taskId": "sum", "agentCapability": "read", "dependsOn": ["read"],
            "parameters": {"count": "${size(tasks.read.result)}"}}],
        "output": {"files": "${tasks.read.result.map(r, r.file)}", "count": "${tasks.sum.result.count}"}});
    let files: Vec<String> = (0..9).map(|n| format!("file {n}")).collect();
    let session = server.trigger(&starter, &workflow, &json!({"files": files}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], json!({"files": files, "count": 9}));
    assert_eq!(task(&done, "read[3]")["parameters"], json!({"file": "file 3", "number": 3}));
    assert!(workers.iter().all(|worker| !worker.received().is_empty()), "both had some of it");
    let none = server.trigger(&starter, &workflow, &json!({"files": []}));
    assert_eq!(server.session_becomes(&none, "completed")["result"], json!({"files": [], "count": 0}));
    let wrong = server.trigger(&starter, &workflow, &json!({"files": 7}));
    let failed = server.session_becomes(&wrong, "failed");
    assert!(failed["error"].as_str().unwrap().contains("list"), "{failed}");
}

fn a_graph_joins_and_its_conditions_hold(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let _worker = Worker::start(&server.api(), "worker", &["work"]);
    let broken = Agent::start();
    let broken_id = server.register("broken", &broken, &["break"]);
    let workflow = json!({"id": "graph", "name": "Graph", "tasks": [
        {"taskId": "left", "agentCapability": "work", "parameters": {"v": 1}},
        {"taskId": "right", "agentCapability": "break", "maxRetries": 0, "onFailure": {"goto": "mend"}},
        {"taskId": "never", "agentCapability": "work", "dependsOn": ["right"]},
        {"taskId": "mend", "agentCapability": "work", "parameters": {"why": "${tasks.right.error}"}},
        {"taskId": "only if", "agentCapability": "work", "dependsOn": ["left"], "when": "tasks.left.result.v > 1"},
        {"taskId": "join", "agentCapability": "work", "dependsOn": ["left", "mend", "only if"],
            "parameters": {"skipped": "${tasks['only if'].status}"}}]});
    let mut workflow = workflow;
    // Ids are slugs.
    for task in workflow["tasks"].as_array_mut().unwrap() {
        let text = task.to_string().replace("only if", "only-if");
        *task = serde_json::from_str(&text).unwrap();
    }
    let session = server.trigger(&starter, &workflow, &json!({}));
    let given = broken.next();
    let details = json!({"opscore_task_id": task_of(&given), "error": "no paper"});
    server.report(&broken_id, "error", &details);
    let done = server.session_becomes(&session, "completed");
    let status = |id: &str| task(&done, id)["status"].as_str().unwrap().to_owned();
    assert_eq!(
        ["left", "right", "never", "mend", "only-if", "join"].map(status),
        ["completed", "failed", "skipped", "completed", "skipped", "completed"]
    );
    assert_eq!(task(&done, "mend")["parameters"]["why"], "no paper");
    assert_eq!(task(&done, "join")["parameters"]["skipped"], "skipped");
}

fn approval() -> Value {
    json!({"id": "pay", "name": "Pay", "tasks": [
        {"taskId": "ask", "approve": {"who": "the treasurer", "what": "a payment of ${input.amount}"}},
        {"taskId": "pay", "agentCapability": "pay", "maxRetries": 0, "parameters": {"amount": "${input.amount}"}}]})
}

fn an_approval_is_good_for_the_parameters_that_were_seen(database: &Database) {
    let mut server = Server::start(database);
    let starter = starter(&server);
    let agent = Agent::start();
    let payer = server.register("payer", &agent, &["pay"]);
    let session = server.trigger(&starter, &approval(), &json!({"amount": 5}));
    let asked = task_becomes(&server, &session, "ask", "waiting");
    let asks = &task(&asked, "ask")["approval"];
    assert_eq!(
        (&asks["who"], &asks["what"], &asks["parameters"]),
        (&json!("the treasurer"), &json!("a payment of 5"), &json!({"pay": {"amount": 5}}))
    );
    server.kill();
    server.restart();
    let path = format!("/v1/opscore/sessions/{session}/tasks/ask/approve");
    let problem = server.post(&path, &json!({"digest": "0".repeat(64)})).problem(409);
    assert!(problem.detail.contains(asks["digest"].as_str().unwrap()), "{}", problem.detail);
    for unseen in [json!({}), json!({"by": "Ada"}), json!({"digest": "seen"})] {
        assert_eq!(server.post(&path, &unseen).faults(), ["/digest"]);
    }
    assert_eq!(agent.count(), 0, "nothing is done before it is approved");
    let seen = json!({"digest": asks["digest"], "by": "somebody else"});
    server.post(&path, &seen).is(200);
    server.post(&path, &seen).problem(409);
    let given = agent.next();
    server.report(&payer, "error", &json!({"opscore_task_id": task_of(&given), "error": "no money"}));
    server.session_becomes(&session, "failed");
    // It was good for once.
    server.post(&format!("/v1/opscore/sessions/{session}/retry"), &json!({})).is(200);
    task_becomes(&server, &session, "ask", "waiting");
    let key = server.post("/v1/keys", &json!({"name": "Ada", "scope": "admin"})).is(201);
    server.with_key(key["key"].as_str().unwrap()).post(&path, &seen).is(200);
    server.complete(&payer, &agent.next(), &json!("paid"));
    let done = server.session_becomes(&session, "completed");
    let by = format!("Ada ({})", key["keyId"].as_str().unwrap());
    assert_eq!(task(&done, "ask")["result"]["by"], by, "whose key it was, whatever the body says");
}

fn an_approval_of_a_task_that_is_passed_over_is_passed_over_too(database: &Database) {
    let server = Server::start(database);
    let workflow = json!({"id": "pay", "name": "Pay", "tasks": [
        {"taskId": "ask", "approve": {}},
        {"taskId": "pay", "agentCapability": "pay", "when": "input.amount > 0", "parameters": {"amount": "${input.amount}"}}]});
    let session = server.trigger(&starter(&server), &workflow, &json!({"amount": 0}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(
        ["ask", "pay"].map(|id| task(&done, id)["status"].clone()),
        [json!("skipped"), json!("skipped")]
    );
    assert!(task(&done, "ask").get("approval").is_none(), "{done}");
}

fn a_session_that_is_over_has_no_ending_to_come(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("doer", &agent, &["do"]);
    let workflow = json!({"id": "undo", "name": "Undo", "tasks": [
        {"taskId": "a", "agentCapability": "do", "compensate": {"agentCapability": "do"}},
        {"taskId": "b", "agentCapability": "do", "maxRetries": 0}]});
    let session = server.trigger(&starter(&server), &workflow, &json!({}));
    server.complete(&id, &agent.next(), &json!(1));
    server.report(&id, "error", &json!({"opscore_task_id": task_of(&agent.next()), "error": "no"}));
    let undoing = agent.next();
    assert_eq!(server.session(&session)["ending"], "failed");
    server.complete(&id, &undoing, &json!(1));
    let failed = server.session_becomes(&session, "failed");
    assert!(failed.get("ending").is_none(), "{failed}");
    let listed = server.get("/v1/opscore/sessions").is(200);
    assert!(listed["data"][0].get("ending").is_none(), "{listed}");
}

fn a_refusal_fails_the_task(database: &Database) {
    let server = Server::start(database);
    let session = server.trigger(&starter(&server), &approval(), &json!({"amount": 5}));
    task_becomes(&server, &session, "ask", "waiting");
    let path = format!("/v1/opscore/sessions/{session}/tasks/ask/refuse");
    server.post(&path, &json!({"by": "Ada", "comment": "too much"})).is(200);
    let failed = server.session_becomes(&session, "failed");
    assert_eq!(failed["error"], "Task ask failed: refused by the admin key: too much");
    server.post(&path.replace("/ask/", "/pay/"), &json!({})).problem(409);
}

fn a_signal_ends_a_wait_also_when_it_comes_early(database: &Database) {
    let mut server = Server::start(database);
    let starter = starter(&server);
    let workflow = json!({"id": "wait", "name": "Wait", "tasks": [
        {"taskId": "first", "wait": {"signal": "one"}},
        {"taskId": "second", "wait": {"signal": "two"}},
        {"taskId": "third", "wait": {"signal": "three", "timeout": "300ms"}, "onFailure": "continue"}],
        "output": "${tasks.second.result.n}"});
    let session = server.trigger(&starter, &workflow, &json!({}));
    let path = format!("/v1/opscore/sessions/{session}/signal");
    server.post(&path, &json!({"signal": "two", "payload": {"n": 2}})).is(200);
    server.post(&path, &json!({"signal": "four"})).problem(409);
    for nameless in [json!({}), json!({"payload": 1}), json!({"signal": ""})] {
        assert_eq!(server.post(&path, &nameless).faults(), ["/signal"]);
    }
    server.kill();
    server.restart();
    server.post(&path, &json!({"signal": "one"})).is(200);
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], 2);
    assert_eq!(task(&done, "third")["status"], "failed");
}

fn tools_do_tasks(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let tool = Agent::answering(|delivery, number| match number {
        1 => AgentReply::Status(500),
        _ => AgentReply::Json(json!({"sum": delivery.json()["arguments"]["a"]})),
    });
    let schema = json!({"type": "object", "required": ["a"]});
    let registration =
        json!({"name": "add", "description": "Adds.", "parameters": schema, "endpoint": tool.url()});
    server.post("/v1/tools", &registration).is(201);
    let workflow = json!({"id": "tools", "name": "Tools", "tasks": [
        {"taskId": "say", "tool": "echo", "parameters": {"text": "${input.text}"}},
        {"taskId": "add", "tool": "add", "parameters": {"a": 3}, "retry": {"initial": "10ms"}},
        {"taskId": "wrong", "tool": "add", "maxRetries": 0, "onFailure": "continue"}],
        "output": {"said": "${tasks.say.result.text}", "sum": "${tasks.add.result.sum}", "why": "${tasks.wrong.error}"}});
    let session = server.trigger(&starter, &workflow, &json!({"text": "hello"}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!((&done["result"]["said"], &done["result"]["sum"]), (&json!("hello"), &json!(3)));
    assert!(done["result"]["why"].as_str().unwrap().contains("/parameters/a is required"), "{done}");
    assert_eq!(task(&done, "add")["attempt"], 2);
}

fn a_session_does_a_task_of_another(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let _worker = Worker::start(&server.api(), "worker", &["work"]);
    let child =
        json!({"id": "child", "name": "Child", "tasks": [{"taskId": "do", "agentCapability": "work"}]});
    server.post("/v1/opscore/workflows", &child).is(201);
    let stuck =
        json!({"id": "stuck", "name": "Stuck", "tasks": [{"taskId": "do", "agentCapability": "rare"}]});
    server.post("/v1/opscore/workflows", &stuck).is(201);
    let parent = |child: &str| {
        json!({"id": format!("of {child}").replace(' ', "-"), "name": "Parent", "tasks": [
            {"taskId": "all", "workflow": child, "forEach": "input.list", "parameters": {"n": "${item}"}}]})
    };
    let session = server.trigger(&starter, &parent("child"), &json!({"list": [1, 2, 3]}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], json!([{"n": 1}, {"n": 2}, {"n": 3}]));
    let first = task(&done, "all[0]")["childSessionId"].as_str().unwrap().to_owned();
    assert_eq!(server.session(&first)["parentSessionId"], session.as_str());

    let session = server.trigger(&starter, &parent("stuck"), &json!({"list": [1]}));
    let held = task_becomes(&server, &session, "all[0]", "dispatched");
    let child = task(&held, "all[0]")["childSessionId"].as_str().unwrap().to_owned();
    server.post(&format!("/v1/opscore/sessions/{session}/cancel"), &json!({})).is(200);
    server.session_becomes(&child, "cancelled");

    let endless =
        json!({"id": "endless", "name": "Endless", "tasks": [{"taskId": "again", "workflow": "endless"}]});
    server.post("/v1/opscore/workflows", &endless).is(201);
    let session = server.trigger(&starter, &endless, &json!({}));
    let failed = server.session_becomes_within(PATIENCE * 4, &session, "failed");
    assert!(failed["error"].as_str().unwrap().contains("deep"), "{failed}");
}

fn what_was_done_is_undone_and_told(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let worker = Worker::start(&server.api(), "worker", &["work"]);
    let told = Agent::start();
    let step = |id: &str| {
        json!({"taskId": id, "agentCapability": "work", "parameters": {"do": id}, "compensate": {
            "agentCapability": "work", "parameters": {"undo": format!("${{tasks.{id}.result.do}}")}}})
    };
    let workflow = json!({"id": "trip", "name": "Trip", "notify": {"url": told.url()}, "tasks": [
        step("flight"), step("hotel"), {"taskId": "fails", "tool": "nowhere", "maxRetries": 0}]});
    let session = server.trigger(&starter, &workflow, &json!({}));
    let failed = server.session_becomes(&session, "failed");
    let given: Vec<Value> =
        worker.received().iter().map(|delivery| delivery.json()["payload"].clone()).collect();
    let expected = [
        json!({"do": "flight"}),
        json!({"do": "hotel"}),
        json!({"undo": "hotel"}),
        json!({"undo": "flight"}),
    ];
    assert_eq!(given, expected, "what was done last is undone first");
    assert!(failed["error"].as_str().unwrap().contains("nowhere"), "{failed}");
    server.post(&format!("/v1/opscore/sessions/{session}/retry"), &json!({})).problem(409);
    let notice = told.next();
    assert_eq!(notice.json()["type"], "session.failed");
    assert_eq!(notice.json()["data"]["sessionId"], session.as_str());
    assert!(notice.header("webhook-signature").starts_with("v1,"));
}

fn sessions_with_one_key_take_turns(database: &Database) {
    let server = Server::start(database);
    let starter = starter(&server);
    let workflow = |on_busy: &str| {
        json!({"id": on_busy, "name": "Group", "concurrency": {"key": "input.customer", "onBusy": on_busy},
            "tasks": [{"taskId": "wait", "wait": {"signal": "go"}}]})
    };
    let customer = |name: &str| json!({"customer": name});
    let first = server.trigger(&starter, &workflow("queue"), &customer("a"));
    let second = server.trigger(&starter, &workflow("queue"), &customer("a"));
    let other = server.trigger(&starter, &workflow("queue"), &customer("b"));
    assert_eq!(server.session(&second)["status"], "started");
    assert!(server.session(&second)["waitingFor"].is_string());
    task_becomes(&server, &other, "wait", "waiting");
    server.post(&format!("/v1/opscore/sessions/{first}/cancel"), &json!({})).is(200);
    task_becomes(&server, &second, "wait", "waiting");

    let first = server.trigger(&starter, &workflow("reject"), &customer("a"));
    let body = json!({"workflowDefinitionId": "reject", "initialPayload": customer("a")});
    let path = format!("/v1/opscore/agent/{starter}/workflow");
    server.post(&path, &body).problem(409);
    server.post(&format!("/v1/opscore/sessions/{first}/signal"), &json!({"signal": "go"})).is(200);
    server.post(&path, &body).is(202);

    let first = server.trigger(&starter, &workflow("replace"), &customer("a"));
    let second = server.trigger(&starter, &workflow("replace"), &customer("a"));
    server.session_becomes(&first, "cancelled");
    task_becomes(&server, &second, "wait", "waiting");
}

fn a_silent_agent_loses_its_task(database: &Database) {
    let server = Server::start(database);
    let (silent, lively) = (Agent::start(), Agent::start());
    let silent_id = server.register("silent", &silent, &["work"]);
    let workflow = json!({"id": "beat", "name": "Beat", "tasks": [{"taskId": "t", "agentCapability": "work",
        "heartbeatTimeout": "1s", "retry": {"initial": "10ms", "retryOn": ["heartbeat"]}}]});
    let session = server.trigger(&silent_id, &workflow, &json!({}));
    let given = silent.next();
    let progress = json!({"opscore_task_id": task_of(&given), "progress": 40});
    server.report(&silent_id, "active", &progress);
    server.report(&silent_id, "active", &progress);
    assert_eq!(server.session(&session)["tasks"][0]["progress"], 40);
    let lively_id = server.register("lively", &lively, &["work"]);
    server.complete(&lively_id, &lively.next(), &json!("done"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!((&done["result"], &done["tasks"][0]["attempt"]), (&json!("done"), &json!(2)));
}
