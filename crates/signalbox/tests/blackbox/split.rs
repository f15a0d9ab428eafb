//! AgentKit and Ops-Core as two processes that only know each other over HTTP.

use serde_json::{Value, json};

use crate::support::{
    Agent, Database, PATIENCE, Proxy, Server, Setup, eventually, on_each_database, task_of,
};

on_each_database![
    a_job_runs_through_both,
    a_removed_agent_is_forgotten_by_both,
    a_lost_webhook_is_made_good_by_the_sync,
    an_agent_that_changes_stays_at_its_work,
];

const SECRET: &str = "between-the-two";
const NOTIFY: &str = "/v1/opscore/internal/agent/notify";

/// The two services. Each starts with the other's address, so one of the addresses is a proxy's.
struct Pair {
    agentkit: Server,
    opscore: Server,
}

impl Pair {
    fn start(database: &Database, webhook_url: &str) -> Self {
        let agentkit = Setup::new(database)
            .arg("--surfaces")
            .arg("agentkit")
            .env("OPSCORE_WEBHOOK_URL", webhook_url)
            .env("OPSCORE_WEBHOOK_SECRET", SECRET)
            .start();
        let opscore = Setup::new(&Database::sqlite())
            .arg("--surfaces")
            .arg("opscore")
            .env("OPSCORE_WEBHOOK_SECRET", SECRET)
            // As clients of the API often have it, with the version.
            .env("AGENTKIT_API_URL", agentkit.url("/v1/"))
            .env("SIGNALBOX_AGENT_SYNC_INTERVAL", "1s")
            .start();
        Self { agentkit, opscore }
    }

    fn connected(database: &Database) -> Self {
        let proxy = Proxy::start(None);
        let pair = Self::start(database, &format!("http://{}{NOTIFY}", proxy.address()));
        proxy.connect(&pair.opscore.address());
        pair
    }

    /// Waits until Ops-Core knows the agent, or no longer does.
    fn agent_becomes(&self, id: &str, known: bool) {
        eventually(&format!("agent {id} to be known: {known}"), || {
            let answer = self.opscore.get(&format!("/v1/opscore/agent/{id}/history"));
            let found = answer.status == 200;
            if found == known { Ok(()) } else { Err(answer.shown()) }
        });
    }
}

fn a_job_runs_through_both(database: &Database) {
    let pair = Pair::connected(database);
    let (a, b) = (Agent::start(), Agent::start());
    let a_id = pair.agentkit.register("a", &a, &["read"]);
    let b_id = pair.agentkit.register("b", &b, &["write"]);
    pair.agent_becomes(&a_id, true);
    pair.agent_becomes(&b_id, true);
    let definition = json!({"id": "two", "name": "Two", "tasks": [
        {"taskId": "read", "agentCapability": "read"},
        {"taskId": "write", "agentCapability": "write", "parameters": {"text": "${tasks.read.result.text}"}},
    ]});
    let session = pair.opscore.trigger(&a_id, &definition, &json!({"path": "/x"}));

    let first = a.next();
    let body = first.json();
    assert_eq!((&body["senderId"], &body["messageType"]), (&json!("opscore"), &json!("workflow_task")));
    assert_eq!((&body["payload"], &body["opscore_session_id"]), (&json!({"path": "/x"}), &json!(session)));
    assert_eq!(first.header("x-attempt"), "1", "AgentKit delivers it");
    pair.opscore.report(&a_id, "active", &json!({"opscore_task_id": task_of(&first)}));
    pair.opscore.complete(&a_id, &first, &json!({"text": "hello"}));
    let second = b.next();
    assert_eq!(second.json()["payload"], json!({"text": "hello"}));
    pair.opscore.complete(&b_id, &second, &json!("written"));
    let done = pair.opscore.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][1]["result"], "written");
    assert_eq!((a.count(), b.count()), (1, 1));
}

fn a_removed_agent_is_forgotten_by_both(database: &Database) {
    let pair = Pair::connected(database);
    let id = pair.agentkit.register_at("leaving", "http://127.0.0.1:9/run", &[]);
    pair.agent_becomes(&id, true);
    pair.agentkit.delete(&format!("/v1/agents/{id}")).succeeded();
    pair.agent_becomes(&id, false);
}

fn a_lost_webhook_is_made_good_by_the_sync(database: &Database) {
    // It takes the webhook and tells nobody.
    let nowhere = Agent::start();
    let pair = Pair::start(database, &nowhere.url());
    let agent = Agent::start();
    let id = pair.agentkit.register("unannounced", &agent, &["read"]);
    nowhere.next();
    pair.agent_becomes(&id, true);
    let definition =
        json!({"id": "one", "name": "One", "tasks": [{"taskId": "t", "agentCapability": "read"}]});
    let session = pair.opscore.trigger(&id, &definition, &json!({}));
    let task = agent.next_within(PATIENCE);
    pair.opscore.complete(&id, &task, &json!("done"));
    pair.opscore.session_becomes(&session, "completed");
}

/// A change is not announced; the comparison finds it.
fn an_agent_that_changes_stays_at_its_work(database: &Database) {
    let pair = Pair::connected(database);
    let agent = Agent::start();
    let id = pair.agentkit.register("changing", &agent, &["read"]);
    pair.agent_becomes(&id, true);
    let definition =
        json!({"id": "one", "name": "One", "tasks": [{"taskId": "t", "agentCapability": "read"}]});
    let session = pair.opscore.trigger(&id, &definition, &json!({}));
    let task = agent.next();
    pair.agentkit.patch(&format!("/v1/agents/{id}"), &json!({"version": "changed"})).succeeded();
    eventually("the change to be known", || {
        let logged = pair.opscore.all_pages(&format!("/v1/opscore/logs?agent={id}"), 100);
        let is_change = |entry: &Value| entry.to_string().contains("\"changed\"");
        if logged.iter().any(is_change) { Ok(()) } else { Err(json!(logged).to_string()) }
    });
    pair.opscore.complete(&id, &task, &json!("done"));
    let done = pair.opscore.session_becomes(&session, "completed");
    assert_eq!((&done["tasks"][0]["attempt"], agent.count()), (&json!(1), 1), "{done}");
}
