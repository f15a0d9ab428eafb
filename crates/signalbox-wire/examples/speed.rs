use signalbox_wire::*;
use utoipa::OpenApi;
#[derive(OpenApi)]
#[openapi(components(schemas(problem::Problem, agentkit::RunBody, agentkit::RegisterBody, agentkit::PatchAgentBody, agentkit::AgentView, agentkit::ToolBody, agentkit::ToolAnswer, agentkit::DeadLetterView, agentkit::Success<agentkit::RunAccepted>, agentkit::SuccessList<agentkit::AgentView>, opscore::LogBody, opscore::StateBody, opscore::TriggerBody, opscore::SessionView, opscore::EventView, opscore::SignalBody, paging::Page<opscore::HistoryEntry>)))]
struct Doc;
fn time(name: &str, f: impl Fn()) {
    #[expect(clippy::disallowed_methods)]
    let start = std::time::Instant::now();
    for _ in 0..200_000 { f(); }
    println!("{name}: {} ns", start.elapsed().as_nanos() / 200_000);
}
fn main() {
    if std::env::args().len() > 1 { println!("{}", Doc::openapi().to_pretty_json().unwrap()); return; }
    let report = br#"{"agentId":"agt_01jd2x7m8q0000000000000000","timestamp":"2024-01-01T12:00:00.000000+00:00","state":"active","details":{"current_task":"processing_data","progress":45,"opscore_task_id":"tsk_01jd2x7m8q0000000000000000-1","note":"all is well with this one","tags":["a","b"]}}"#;
    println!("{} bytes", report.len());
    time("state", || { std::hint::black_box(body::parse::<opscore::StateBody>(report).unwrap()); });
    time("state value", || { std::hint::black_box(serde_json::from_slice::<serde_json::Value>(report).unwrap()); });
    time("check", || { std::hint::black_box(raw::check(report).unwrap()); });
    let b = body::parse::<opscore::StateBody>(report).unwrap();
    time("task_and_result", || { std::hint::black_box(b.task_and_result()); });
    time("ts", || { std::hint::black_box(time::Timestamp::parse("2024-01-01T12:00:00.000000+00:00").unwrap()); });
    let run = br#"{"senderId":"opscore","messageType":"text","payload":{"task_name":"x","parameters":{"a":1,"b":[1,2,3],"text":"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor"}},"opscore_session_id":"ses_01jd2x7m8q0000000000000000","opscore_task_id":"tsk_01jd2x7m8q0000000000000000-1"}"#;
    time("run", || { std::hint::black_box(agentkit::RunMessage::parse(run).unwrap()); });
    let reg = br#"{"agentName":"summariser","version":"1.0.0","contactEndpoint":"http://127.0.0.1:9000/run","capabilities":["a",{"name":"b"}],"metadata":{"x":1}}"#;
    time("register", || { std::hint::black_box(body::parse::<agentkit::RegisterBody>(reg).unwrap()); });
    time("hash", || { std::hint::black_box(keys::hash("sbk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")); });
}
