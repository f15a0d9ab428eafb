//! `/v1/tools`, and the messages of type `tool_invocation` that call them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, Request, Response, Server, Setup, items, on_each_database,
};

on_each_database![
    echo_and_http_get_are_built_in,
    a_tool_is_kept_shown_and_removed,
    a_tool_that_does_not_fit_is_refused,
    a_call_runs_at_once_and_gives_the_tools_answer,
    arguments_are_held_against_the_schema,
    a_tool_that_says_error_is_still_a_200,
    a_call_without_a_tool_is_refused,
    a_tool_that_cannot_be_reached_or_answers_badly,
    a_tool_that_is_too_slow_is_504,
    a_built_in_tool_does_not_reach_metadata,
    a_built_in_tool_reads_the_private_network_only_when_told_to,
    a_trace_is_carried_on_to_the_tool,
    a_language_model_is_asked_for_a_completion,
    what_a_language_model_cannot_do_is_an_answer,
];

const LLM: &str = "generic_llm_completion";
const LLM_KEY: &str = "sk-blackbox-never-to-be-seen";

/// A server whose language model is at this endpoint.
fn with_llm(database: &Database, endpoint: &Agent) -> Setup {
    Setup::new(database)
        .arg("--llm-url")
        .arg(endpoint.url().replace("/run", "/v1/"))
        .args(["--llm-model", "small", "--llm-timeout", "1s"])
        .env("SIGNALBOX_LLM_API_KEY", LLM_KEY)
        .env("SIGNALBOX_LOG", "debug")
}

fn call_with(server: &Server, payload: &Value) -> Response {
    server.send(call_request(server, payload))
}

fn call_request(server: &Server, payload: &Value) -> Request {
    let agent =
        server.post("/v1/agents", &json!({"agentName": "caller", "version": "1", "capabilities": []}));
    let id = match agent.status {
        201 => agent.is(201)["data"]["agentId"].as_str().unwrap().to_owned(),
        _ => items(&server.get("/v1/agents?name=caller").is(200))[0]["agentId"].as_str().unwrap().to_owned(),
    };
    let body = json!({"senderId": "tester", "messageType": "tool_invocation", "payload": payload});
    Request::post(format!("/v1/agents/{id}/run"), &body)
}

fn call(server: &Server, tool: &str, arguments: &Value) -> Response {
    call_with(server, &json!({"tool_name": tool, "arguments": arguments}))
}

fn calculator(endpoint: &str) -> Value {
    let number = json!({"type": "number"});
    json!({
        "name": "calculator", "description": "Adds.", "endpoint": endpoint,
        "parameters": {
            "type": "object", "properties": {"a": number, "b": number}, "required": ["a", "b"],
        },
    })
}

fn a_language_model_is_asked_for_a_completion(database: &Database) {
    let endpoint = Agent::answering(|call, _| {
        let asked = call.json()["messages"].as_array().and_then(|messages| messages.last().cloned());
        let text = format!("you said {}", asked.unwrap_or_default()["content"].as_str().unwrap_or_default());
        AgentReply::Json(json!({
            "id": "x", "object": "chat.completion", "model": "small-2026",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }))
    });
    let server = with_llm(database, &endpoint).start();
    let tool = server.get(&format!("/v1/tools/{LLM}")).is(200)["data"].clone();
    assert_eq!(tool["parameters"]["properties"]["prompt"]["type"], "string", "{tool}");
    let arguments = json!({"prompt": "hello", "system_prompt": "be brief", "temperature": 0});
    let answer = call(&server, LLM, &arguments).is(200);
    assert_eq!(answer["status"], "success", "{answer}");
    let expected = json!({"completion": "you said hello", "model": "small-2026", "finish_reason": "stop",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}});
    assert_eq!(answer["data"], expected);
    let asked = endpoint.next();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(asked.header("authorization"), format!("Bearer {LLM_KEY}"));
    let expected = json!({"model": "small", "stream": false, "temperature": 0, "messages": [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]});
    assert_eq!(asked.json(), expected);
    let faults = call(&server, LLM, &json!({"promt": "x"})).problem(422);
    assert!(!faults.pointers.is_empty(), "the arguments are held against its schema");
    server.post("/v1/tools", &calculator_named(LLM)).problem(409);

    let definition = json!({"id": "ask", "name": "Ask", "tasks": [
        {"taskId": "ask", "tool": LLM, "parameters": {"prompt": "of a workflow", "model": "large"}}]});
    let caller = server.register_at("any", "http://127.0.0.1:9/run", &[]);
    let session = server.trigger(&caller, &definition, &json!({}));
    let session = server.session_becomes(&session, "completed");
    assert_eq!(session["tasks"][0]["result"]["completion"], "you said of a workflow", "{session}");
    assert_eq!(endpoint.next().json()["model"], "large");
    assert!(!server.stderr().contains(LLM_KEY), "its key is in no log");
}

fn what_a_language_model_cannot_do_is_an_answer(database: &Database) {
    let prompt = json!({"prompt": "x"});
    let fails = |server: &Server, word: &str| {
        let answer = call(server, LLM, &prompt).is(200);
        assert_eq!(answer["error_code"], "LOCAL_TOOL_EXECUTION_FAILED", "{answer}");
        assert!(answer["error_message"].as_str().is_some_and(|text| text.contains(word)), "{word}: {answer}");
        assert!(!answer.to_string().contains(LLM_KEY), "{answer}");
    };
    fails(&Server::start(database), "llm_url");
    let echoed = json!({"error": {"message": format!("no such key: {LLM_KEY}")}});
    let mut endpoint = Agent::first([
        AgentReply::Status(500),
        AgentReply::TooMany(1),
        AgentReply::Text("not JSON"),
        AgentReply::Json(echoed),
        AgentReply::Hang,
        AgentReply::Huge,
        AgentReply::Redirect("http://127.0.0.1:9/".to_owned()),
    ]);
    let server = with_llm(database, &endpoint).start();
    for word in ["500", "429", "choices", "choices", "llm_timeout", "bytes", "307"] {
        fails(&server, word);
    }
    endpoint.stop();
    fails(&server, "not reached");
    assert!(!server.stderr().contains(LLM_KEY), "its key is in no log");
    let forbidden = with_llm(database, &endpoint).arg("--egress-forbid-loopback").start();
    fails(&forbidden, "never called from here");
    let half = Setup::new(database).args(["--llm-model", "small"]).try_start();
    let refused = half.err().expect("a model without a service");
    assert!(refused.stderr.contains("llm_url"), "{}", refused.stderr);
}

fn calculator_named(name: &str) -> Value {
    let mut tool = calculator("http://127.0.0.1:9/add");
    tool["name"] = json!(name);
    tool
}

fn echo_and_http_get_are_built_in(database: &Database) {
    let server = Server::start(database);
    let tools = server.without_key().get("/v1/tools").is(200);
    for name in ["echo", "http_get"] {
        assert!(items(&tools).iter().any(|tool| tool["name"] == name), "{name}: {tools}");
        let tool = server.get(&format!("/v1/tools/{name}")).is(200);
        assert!(tool["data"]["parameters"].is_object(), "{tool}");
    }
    let arguments = &items(&tools).into_iter().find(|tool| tool["name"] == "echo").unwrap()["parameters"];
    let field = arguments["properties"].as_object().and_then(|fields| fields.keys().next().cloned());
    let argument = json!({ field.unwrap_or_else(|| "text".to_owned()): "hello" });
    let answer = call(&server, "echo", &argument).is(200);
    assert_eq!(answer["status"], "success");
    assert!(answer["message"].is_string());
    assert!(answer["data"].to_string().contains("hello"), "{answer}");

    let page = Agent::answering(|_, _| AgentReply::Json(json!({"page": "contents"})));
    let answer = call(&server, "http_get", &json!({"url": page.url()})).is(200);
    assert!(answer["data"].to_string().contains("contents"), "{answer}");
    assert_eq!(page.next().method, "GET");
}

fn a_tool_is_kept_shown_and_removed(database: &Database) {
    let mut server = Server::start(database);
    let tool = calculator("http://127.0.0.1:9/add");
    server.post("/v1/tools", &tool).is(201);
    server.post("/v1/tools", &tool).problem(409);
    server.kill();
    server.restart();
    let kept = server.get("/v1/tools/calculator").is(200)["data"].clone();
    for name in ["name", "description", "parameters", "endpoint"] {
        assert_eq!(kept[name], tool[name], "{name}");
    }
    assert!(items(&server.get("/v1/tools").is(200)).contains(&kept));
    server.delete("/v1/tools/calculator").succeeded();
    server.get("/v1/tools/calculator").absent();
    server.delete("/v1/tools/calculator").absent();
    call(&server, "calculator", &json!({"a": 1, "b": 2})).absent();
    let taken =
        json!({"name": "echo", "description": "x", "parameters": {}, "endpoint": "http://127.0.0.1:9"});
    server.post("/v1/tools", &taken).problem(409);
}

fn a_tool_that_does_not_fit_is_refused(database: &Database) {
    let server = Server::start(database);
    let wrong = json!({"name": "no spaces", "description": 5, "parameters": [], "endpoint": "file:///etc"});
    let faults = server.post("/v1/tools", &wrong).faults();
    assert_eq!(faults, ["/description", "/endpoint", "/name", "/parameters"]);
    let mut no_schema = calculator("http://127.0.0.1:9/add");
    no_schema["parameters"] = json!({"type": "no such type"});
    let faults = server.post("/v1/tools", &no_schema).faults();
    assert!(faults.iter().all(|pointer| pointer.starts_with("/parameters")), "{faults:?}");
}

fn a_call_runs_at_once_and_gives_the_tools_answer(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|call, _| {
        let arguments = call.json()["arguments"].clone();
        AgentReply::Json(json!({"sum": arguments["a"].as_f64().unwrap() + arguments["b"].as_f64().unwrap()}))
    });
    server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
    let answer = call(&server, "calculator", &json!({"a": 1, "b": 2.5})).is(200);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"], json!({"sum": 3.5}));
    let got = endpoint.next();
    assert_eq!(got.json(), json!({"arguments": {"a": 1, "b": 2.5}}), "this and no more");
    assert_eq!(got.method, "POST");
    let other =
        call_with(&server, &json!({"tool_name": "calculator", "parameters": {"a": 2, "b": 2}})).is(200);
    assert_eq!(other["data"]["sum"], 4.0);
}

fn arguments_are_held_against_the_schema(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|_, _| AgentReply::Json(json!({})));
    server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
    let problem = call(&server, "calculator", &json!({"a": "one"})).problem(422);
    assert!(!problem.pointers.is_empty(), "each fault has its place");
    call(&server, "calculator", &json!({})).problem(422);
    call(&server, "calculator", &json!([1, 2])).problem(422);
    assert_eq!(endpoint.count(), 0, "the tool is not called with what does not fit");
}

fn a_tool_that_says_error_is_still_a_200(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|_, _| {
        AgentReply::Json(json!({"status": "error", "error_message": "division by zero"}))
    });
    server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
    let answer = call(&server, "calculator", &json!({"a": 1, "b": 0})).is(200);
    assert_eq!(answer["status"], "error");
    assert_eq!(answer["error_code"], "EXTERNAL_TOOL_EXECUTION_FAILED");
    assert!(answer.to_string().contains("division by zero"), "{answer}");
}

fn a_call_without_a_tool_is_refused(database: &Database) {
    let server = Server::start(database);
    call_with(&server, &json!({"arguments": {}})).problem(400);
    call_with(&server, &json!({"tool_name": "", "arguments": {}})).problem(400);
    let problem = call(&server, "no_such_tool", &json!({})).absent();
    assert!(problem.detail.contains("no_such_tool"), "{}", problem.detail);
}

fn a_tool_that_cannot_be_reached_or_answers_badly(database: &Database) {
    let server = Server::start(database);
    let arguments = json!({"a": 1, "b": 2});
    let answered = |answer: AgentReply| {
        let endpoint = Agent::answering(move |_, _| answer.clone());
        server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
        let response = call(&server, "calculator", &arguments);
        server.delete("/v1/tools/calculator").succeeded();
        response
    };
    answered(AgentReply::Status(500)).problem(502);
    answered(AgentReply::Status(404)).problem(502);
    answered(AgentReply::Text("not JSON")).problem(502);
    answered(AgentReply::Half).problem(502);
    answered(AgentReply::Huge).problem(502);
    answered(AgentReply::Redirect("http://127.0.0.1:9/".to_owned())).problem(502);

    let mut gone = Agent::start();
    gone.stop();
    server.post("/v1/tools", &calculator(&gone.url())).is(201);
    call(&server, "calculator", &arguments).problem(503);
}

fn a_tool_that_is_too_slow_is_504(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|_, _| AgentReply::Hang);
    server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
    let start =
        endpoint_clock(&endpoint, || call(&server, "calculator", &json!({"a": 1, "b": 2})).problem(504));
    assert!(start >= Duration::from_secs(14), "15 s are allowed, and it was given {start:?}");
}

/// From the request at the endpoint to the end of `act`.
fn endpoint_clock<T>(endpoint: &Agent, act: impl FnOnce() -> T) -> Duration {
    act();
    endpoint.next().at.elapsed()
}

fn a_built_in_tool_does_not_reach_metadata(database: &Database) {
    let server = Server::start(database);
    for url in ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://2852039166/"] {
        let response = call(&server, "http_get", &json!({"url": url}));
        if response.status == 200 {
            let answer = response.is(200);
            assert_eq!(answer["status"], "error", "{url}: {answer}");
            assert_eq!(answer["error_code"], "LOCAL_TOOL_EXECUTION_FAILED", "{url}");
        } else {
            assert!([400, 403, 422, 502, 503].contains(&response.status), "{}", response.shown());
            response.problem(response.status);
        }
    }
    let refused = call(&server, "http_get", &json!({"url": "file:///etc/passwd"}));
    assert!(!refused.text().contains("root:"), "{}", refused.shown());
}

fn a_trace_is_carried_on_to_the_tool(database: &Database) {
    let server = Server::start(database);
    let endpoint = Agent::answering(|_, _| AgentReply::Json(json!({})));
    server.post("/v1/tools", &calculator(&endpoint.url())).is(201);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = call_request(&server, &json!({"tool_name": "calculator", "arguments": {"a": 1, "b": 2}}));
    server.send(request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))).is(200);
    let carried = endpoint.next().header("traceparent").to_owned();
    assert!(carried.starts_with(&format!("00-{trace}-")), "{carried:?}");
}

fn a_built_in_tool_reads_the_private_network_only_when_told_to(database: &Database) {
    let server = Setup::new(database).arg("--require-keys").start();
    let page = Agent::answering(|_, _| AgentReply::Json(json!({"page": "contents"})));
    for url in [page.url(), server.url("/metrics"), "http://10.0.0.1/".into(), "http://[::1]/".into()] {
        let refused = call(&server, "http_get", &json!({"url": url})).problem(422);
        assert_eq!(refused.pointers, ["/payload/arguments/url"]);
        assert!(refused.detail.contains("http_get_private"), "{}", refused.detail);
    }
    let named = page.url().replace("127.0.0.1", "localhost");
    let answer = call(&server, "http_get", &json!({"url": named})).is(200);
    assert_eq!(answer["status"], "error", "a name is looked through: {answer}");
    assert_eq!(page.count(), 0, "nothing was asked");
    let told = Setup::new(database).arg("--require-keys").arg("--http-get-private").start();
    let answer = call(&told, "http_get", &json!({"url": page.url()})).is(200);
    assert_eq!((&answer["status"], page.count()), (&json!("success"), 1), "{answer}");
}
