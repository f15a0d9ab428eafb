//! The requests that cases send, as the wire contract has them. A report is 250 bytes and a message 500, so
//! that figures can be compared with others taken at those sizes.

use crate::load::{Ids, Template};
use crate::server::KEY;

const REPORT_BYTES: usize = 250;
const MESSAGE_BYTES: usize = 500;
/// As wide as what the `<stamp>` marker becomes.
const STAMP_BYTES: usize = 27;

/// A state report of each agent in turn, stamped when it is sent.
pub(crate) fn report(ids: &Ids) -> anyhow::Result<Template> {
    report_by(KEY, ids)
}

/// The same with the key of another tenant, whose agents they are.
pub(crate) fn report_by(key: &str, ids: &Ids) -> anyhow::Result<Template> {
    let body = report_body(ids.width());
    Template::new("POST", "/v1/opscore/agent/<id>/state", Some(key), Some(&body), Some(ids.clone()))
}

/// The newest state of each agent in turn.
pub(crate) fn state(ids: &Ids) -> anyhow::Result<Template> {
    state_by(KEY, ids)
}

/// The same with the key of another tenant, whose agents they are.
pub(crate) fn state_by(key: &str, ids: &Ids) -> anyhow::Result<Template> {
    Template::new("GET", "/v1/opscore/agent/<id>/state", Some(key), None, Some(ids.clone()))
}

/// The same request as [`state`] but for its path.
pub(crate) fn hello() -> anyhow::Result<Template> {
    Template::new("GET", "/hello", Some(KEY), None, None)
}

/// A registration under a name of its own, reached at `endpoint` followed by the request's number.
pub(crate) fn registration(endpoint: &str) -> anyhow::Result<Template> {
    let body = format!(
        concat!(
            r#"{{"agentName":"bench-agent-<sequence>","version":"1.4.0","contactEndpoint":"{}/agents/<sequence>","#,
            r#""capabilities":["summarise","translate"],"metadata":{{"team":"bench","region":"local"}}}}"#
        ),
        endpoint
    );
    Template::new("POST", "/v1/agents/register", Some(KEY), Some(&body), None)
}

/// A registration of an agent that offers `name` and takes `concurrency` tasks at once; its id is in its endpoint.
pub(crate) fn worker(name: &str, endpoint: &str, concurrency: u32) -> anyhow::Result<Template> {
    let body = format!(
        concat!(
            r#"{{"agentId":"{0}-<sequence>","agentName":"{0}-<sequence>","version":"1.4.0","#,
            r#""contactEndpoint":"{1}/agents/{0}-<sequence>","capabilities":["{0}"],"metadata":{{"concurrency":{2}}}}}"#
        ),
        name, endpoint, concurrency
    );
    Template::new("POST", "/v1/agents", Some(KEY), Some(&body), None)
}

/// A workflow of so many tasks, one after the other, each for whoever offers `capability`. Every task is given the session's
/// number, and the last one knows that it is the last.
pub(crate) fn workflow(id: &str, capability: &str, tasks: u32) -> serde_json::Value {
    let task = |place: u32| {
        serde_json::json!({
            "taskId": format!("task-{place}"),
            "agentCapability": capability,
            "maxRetries": 0,
            "parameters": {"n": "${input.n}", "last": place == tasks},
        })
    };
    let all: Vec<_> = (1..=tasks).map(task).collect();
    serde_json::json!({"id": id, "name": format!("{tasks} tasks"), "tasks": all})
}

/// A workflow that does a task for each item of a list that it is given, and then one that tells the end.
pub(crate) fn for_each(id: &str, capability: &str) -> serde_json::Value {
    let each = serde_json::json!({
        "taskId": "each",
        "agentCapability": capability,
        "forEach": "input.items",
        "maxRetries": 0,
        "parameters": {"n": "${input.n}", "last": false, "item": "${item}"},
    });
    let end = serde_json::json!({
        "taskId": "end",
        "agentCapability": capability,
        "maxRetries": 0,
        "parameters": {"n": "${input.n}", "last": true},
    });
    serde_json::json!({"id": id, "name": "a task for each item", "tasks": [each, end]})
}

/// Starts a session of such a workflow with a list of so many numbers.
pub(crate) fn trigger_list(workflow: &str, items: u64) -> anyhow::Result<Template> {
    let path = format!("/v1/opscore/workflows/{workflow}/trigger");
    Template::new("POST", &path, Some(KEY), Some(&list_body(items, "<sequence>")), None)
}

/// What starts it, in the words of the wire; `n` is the session's number.
pub(crate) fn list_body(items: u64, n: &str) -> String {
    let items: Vec<u64> = (0..items).collect();
    serde_json::json!({"initialPayload": {"n": n, "items": items}}).to_string()
}

/// A workflow of one task that sleeps.
pub(crate) fn nap(id: &str, sleep: std::time::Duration) -> serde_json::Value {
    let task = serde_json::json!({"taskId": "nap", "sleep": format!("{}s", sleep.as_secs())});
    serde_json::json!({"id": id, "name": "nap", "tasks": [task]})
}

/// Starts a session of a workflow; its number is the request's.
pub(crate) fn trigger(workflow: &str) -> anyhow::Result<Template> {
    let path = format!("/v1/opscore/workflows/{workflow}/trigger");
    Template::new("POST", &path, Some(KEY), Some(r#"{"initialPayload":{"n":"<sequence>"}}"#), None)
}

/// Hands the same job to Restate and waits for what comes of it; `steps` is the kind of its steps, as the service has it.
pub(crate) fn restate(steps: &str, tasks: u32) -> anyhow::Result<Template> {
    Template::new("POST", &format!("/Flow/{steps}_{tasks}"), None, Some(r#""<sequence>""#), None)
}

/// One page of a list.
pub(crate) fn list(path: &str) -> anyhow::Result<Template> {
    Template::new("GET", path, Some(KEY), None, None)
}

/// Removes each agent in turn.
pub(crate) fn removal(ids: &Ids) -> anyhow::Result<Template> {
    Template::new("DELETE", "/v1/agents/<id>", Some(KEY), None, Some(ids.clone()))
}

/// A message to each agent in turn.
pub(crate) fn run(ids: &Ids) -> anyhow::Result<Template> {
    Template::new("POST", "/v1/agents/<id>/run", Some(KEY), Some(&message_body()), Some(ids.clone()))
}

/// The message that is handed in, and so the body that is delivered.
pub(crate) fn message_body() -> String {
    let begin =
        r#"{"senderId":"bench","messageType":"text_message","payload":{"subject":"daily summary","text":""#;
    let end = r#""},"sessionContext":{"sessionId":"bench-session"}}"#;
    padded(begin, end, MESSAGE_BYTES, 0)
}

fn report_body(id_bytes: usize) -> String {
    let begin = concat!(
        r#"{"agentId":"<id>","timestamp":"<stamp>","state":"active","#,
        r#""details":{"current_task":"processing_data","progress":42,"note":""#
    );
    let markers = "<id><stamp>".len();
    padded(begin, r#""}}"#, REPORT_BYTES + markers, id_bytes + STAMP_BYTES)
}

/// Puts text between the two so that the whole has `bytes`, when `later` more are counted with it.
fn padded(begin: &str, end: &str, bytes: usize, later: usize) -> String {
    let room = bytes.saturating_sub(begin.len() + end.len() + later);
    let text: String =
        "reads the figures of the day and writes them down ".chars().cycle().take(room).collect();
    format!("{begin}{text}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_sizes_that_figures_are_compared_at() {
        let id = "agt_01HZX5W7K2Q9N4T6V8B0C1D3E5".to_owned();
        let body =
            report_body(id.len()).replace("<id>", &id).replace("<stamp>", "2026-11-21T00:51:46.123456Z");
        assert_eq!(body.len(), REPORT_BYTES);
        let report: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(report["agentId"], id);

        assert_eq!(message_body().len(), MESSAGE_BYTES);
        let message: serde_json::Value = serde_json::from_str(&message_body()).unwrap();
        assert_eq!(message["messageType"], "text_message");
    }

    #[test]
    fn every_template_can_be_built() {
        let ids = Ids::new(&["agt_1".to_owned()]).unwrap();
        for template in [
            report(&ids),
            state(&ids),
            removal(&ids),
            run(&ids),
            registration("http://127.0.0.1:9"),
            worker("worker", "http://127.0.0.1:9", 1),
            trigger("tasks-3"),
            trigger_list("each", 3),
            restate("tasks", 3),
            hello(),
        ] {
            assert!(template.unwrap().len() > 0);
        }
    }
}
