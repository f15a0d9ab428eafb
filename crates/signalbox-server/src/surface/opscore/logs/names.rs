//! What happened, in one sentence: made from an entry's kind and what it keeps.

mod command;
mod hook;
mod schedule;

use serde::Deserialize;
use signalbox_store::StoredEvent;
use signalbox_wire::id::AgentId;

/// What sentences are made of. Whatever else an entry keeps is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    message: Option<String>,
    step: Option<String>,
    child: Option<String>,
    signal: Option<String>,
    attempt: Option<u32>,
    agent: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    retry_at: Option<String>,
    waiting_for: Option<String>,
    workflow: Option<String>,
    revision: Option<u32>,
    retries: Option<u32>,
    state: Option<String>,
    #[serde(rename = "agentName", alias = "agent_name")]
    agent_name: Option<String>,
    #[serde(rename = "messageId")]
    message_id: Option<String>,
    kind: Option<String>,
    #[serde(rename = "nextAttemptAt")]
    next_attempt_at: Option<String>,
    #[serde(rename = "workflowId")]
    workflow_id: Option<String>,
    #[serde(rename = "sessionId")]
    session_id: Option<String>,
    #[serde(rename = "newSessionId")]
    new_session: Option<String>,
    tool: Option<String>,
    #[serde(rename = "keyId")]
    key_id: Option<String>,
    name: Option<String>,
    scope: Option<String>,
    #[serde(rename = "takesOver")]
    takes_over: Option<String>,
}

/// What an approval ends with.
#[derive(Debug, Deserialize)]
struct Answer {
    result: Approved,
}

#[derive(Debug, Deserialize)]
struct Approved {
    approved: bool,
    by: String,
    comment: Option<String>,
    #[serde(rename = "digest")]
    _digest: String,
}

/// Who approved what a task asked for, where that is what the entry tells.
fn approval(event: &StoredEvent, facts: &Facts) -> Option<String> {
    // An attempt is a tool's, an agent's or a session's.
    if event.kind != "task.completed"
        || facts.agent.is_some()
        || facts.attempt.is_some_and(|attempt| attempt > 0)
    {
        return None;
    }
    let Answer { result } = serde_json::from_str(&event.data).ok()?;
    let Approved { approved: true, by, comment, .. } = result else { return None };
    let comment = comment.filter(|comment| !comment.is_empty());
    let why = comment.map(|comment| format!(": {comment}")).unwrap_or_default();
    Some(format!("Task {} approved by {by}{why}", or(&facts.step, "?")))
}

/// The agent that an entry's sentence names.
pub(crate) fn agent_of(event: &StoredEvent) -> Option<AgentId> {
    if event.agent.is_some() {
        return event.agent.clone();
    }
    let waits = matches!(event.kind.as_str(), "task.waiting" | "task.begun");
    let facts: Facts = serde_json::from_str(&event.data).ok().filter(|_| waits)?;
    AgentId::parse(facts.agent.as_deref().or_else(|| waited_for(&facts))?).ok()
}

/// The id of the agent that a task waits for, where it waits for one and no other.
fn waited_for(facts: &Facts) -> Option<&str> {
    facts.waiting_for.as_deref()?.strip_prefix("agent ")?.strip_suffix(AVAILABLE)
}

/// How a wait for one agent is kept, after its id.
const AVAILABLE: &str = " to be available";

/// What happened. `name` is the agent's, for an entry that does not keep it.
pub(crate) fn of(event: &StoredEvent, name: Option<&str>) -> String {
    let facts: Facts = serde_json::from_str(&event.data).unwrap_or_default();
    if let Some(approved) = approval(event, &facts) {
        return approved;
    }
    let id = event.agent.as_ref().map(|agent| agent.as_str()).or(facts.agent.as_deref());
    let id = id.or_else(|| waited_for(&facts));
    let agent = match (id, facts.agent_name.as_deref().or(name)) {
        (Some(id), Some(name)) => format!("'{name}' ({id})"),
        (Some(id), None) => id.to_owned(),
        (None, _) => "that is gone".to_owned(),
    };
    let telling = Telling { agent: &agent, facts: &facts };
    let told = match event.kind.split_once('.') {
        Some(("session", happened)) => telling.session(happened),
        Some(("task", happened)) => telling.task(happened),
        Some(("agent", happened)) => telling.agent(happened),
        Some(("message", happened)) => telling.delivery(happened),
        Some(("command", happened)) => command::told(happened, telling.agent, &event.data),
        Some(("hook", happened)) => hook::told(happened, &event.data),
        Some(("schedule", happened)) => schedule::told(happened, &event.data),
        _ => telling.other(&event.kind),
    };
    told.unwrap_or_else(|| event.kind.replace('.', " "))
}

struct Telling<'a> {
    agent: &'a str,
    facts: &'a Facts,
}

impl Telling<'_> {
    fn session(&self, happened: &str) -> Option<String> {
        let Facts { workflow, revision, error, reason, session_id, new_session, .. } = self.facts;
        Some(match happened {
            "started" => {
                format!("Session started: workflow {}, revision {}", or(workflow, "?"), revision.unwrap_or(1))
            }
            "queued" => "Session waits for its turn: as many like it run as may".to_owned(),
            "admitted" => "Session goes on: its turn has come".to_owned(),
            "undoing" => "Session ends, and undoes what it did before".to_owned(),
            "paused" => "Session paused: nothing more is dispatched until it is resumed".to_owned(),
            "resumed" => "Session resumed".to_owned(),
            "retried" => "Session goes on from the task that failed".to_owned(),
            "completed" => "Session completed".to_owned(),
            "failed" => format!("Session failed: {}", or(error, "no reason was kept")),
            "cancelled" => format!("Session cancelled: {}", or(reason, "no reason was kept")),
            "rerun" => format!("Session run again as {}", or(new_session, "another")),
            "purged" => format!("Session {} removed with its history", or(session_id, "?")),
            _ => return None,
        })
    }

    fn task(&self, happened: &str) -> Option<String> {
        let Facts { step, attempt, error, reason, retry_at, waiting_for, retries, child, .. } = self.facts;
        let (task, agent, attempt) = (format!("Task {}", or(step, "?")), self.agent, attempt.unwrap_or(0));
        let has_agent = self.facts.agent.is_some();
        let error = or(error, "no reason was kept");
        let awaited = waited_for(self.facts).map(|_| format!("agent {agent}{AVAILABLE}"));
        Some(match happened {
            "waiting" => {
                format!("{task} waits for {}", or(&awaited, or(waiting_for, "an agent")))
            }
            "begun" => format!("{task} waits for {}", or(waiting_for, "something")),
            "expanded" => format!("{task} is done once for each item of its list"),
            "progress" => format!("{task} goes on at agent {agent} (attempt {attempt})"),
            "skipped" => format!("{task} passed over: {}", or(reason, "no reason was kept")),
            "dispatched" if !has_agent => match child {
                Some(child) => format!("{task} given to session {child} (attempt {attempt})"),
                None => format!("{task} given to its tool (attempt {attempt})"),
            },
            "completed" if !has_agent => format!("{task} completed"),
            "dispatched" => format!("{task} dispatched to agent {agent} (attempt {attempt})"),
            "running" => format!("{task} is under way at agent {agent} (attempt {attempt})"),
            "completed" => format!("{task} completed by agent {agent} (attempt {attempt})"),
            "retrying" => format!(
                "{task} failed (attempt {attempt}): {error}; next attempt at {}",
                or(retry_at, "once")
            ),
            "returned" => format!(
                "{task} taken back from agent {agent} (attempt {attempt}): {}",
                or(reason, "it is gone")
            ),
            "failed" if attempt == 0 => format!("{task} failed: {error}"),
            "failed" => format!("{task} failed for good (attempt {attempt}): {error}"),
            "cancelled" => format!("{task} cancelled"),
            "reopened" => format!("{task} may be tried again, {} retries in all", retries.unwrap_or(0)),
            _ => return None,
        })
    }

    fn agent(&self, happened: &str) -> Option<String> {
        let agent = format!("Agent {}", self.agent);
        Some(match happened {
            "registered" => format!("{agent} registered"),
            "replaced" => format!("{agent} registered anew, in place of its former self"),
            "changed" => format!("{agent} changed its registration"),
            "announced" => format!("{agent} announced by its service"),
            "deregistered" => format!("{agent} deregistered"),
            "draining" => format!("{agent} is draining: it gets no new tasks"),
            "undrained" => format!("{agent} is back in service"),
            "reported" => format!("{agent} reported '{}'", or(&self.facts.state, "?")),
            "connected" if self.facts.takes_over.is_some() => {
                format!("{agent} connected anew, in place of its earlier connection")
            }
            "connected" => format!("{agent} connected"),
            "disconnected" => {
                format!("{agent} is not connected any more: {}", or(&self.facts.reason, "no reason was kept"))
            }
            "signed_in" => format!("{agent} signed in with SSH key {}", or(&self.facts.key_id, "?")),
            _ => return None,
        })
    }

    fn delivery(&self, happened: &str) -> Option<String> {
        let Facts { message_id, kind, attempt, error, next_attempt_at, .. } = self.facts;
        let id = or(message_id, "?");
        let message = match kind.as_deref() {
            Some("webhook") => format!("Webhook {id} about agent {}", self.agent),
            Some("notice") => format!("Notice {id} of the session's end"),
            _ => format!("Message {id} to agent {}", self.agent),
        };
        let (attempt, error) = (attempt.unwrap_or(0), or(error, "no reason was kept"));
        Some(match happened {
            "accepted" => format!("{message} accepted"),
            "delivered" => format!("{message} delivered (attempt {attempt})"),
            "retrying" => {
                let next = or(next_attempt_at, "once");
                format!("{message} not delivered (attempt {attempt}): {error}; next attempt at {next}")
            }
            "dead" => format!("{message} given up after {attempt} attempts: {error}; it is a dead letter"),
            "cancelled" => format!("{message} is no longer wanted"),
            "redriven" => format!("{message} gets new attempts"),
            "discarded" => format!("{message} thrown away"),
            _ => return None,
        })
    }

    fn other(&self, kind: &str) -> Option<String> {
        let Facts {
            message,
            step,
            signal,
            agent: _,
            error,
            retry_at,
            workflow_id,
            revision,
            tool,
            key_id,
            name,
            scope,
            ..
        } = self.facts;
        Some(match kind {
            "log" => message.clone()?,
            "delivery.failed" => format!(
                "Delivery of task {} to agent {} failed: {}; next attempt at {}",
                or(step, "?"),
                self.agent,
                or(error, "no reason was kept"),
                or(retry_at, "once")
            ),
            "signal.kept" => format!("Signal '{}' kept for the task that will wait for it", or(signal, "?")),
            "workflow.applied" => {
                format!("Workflow {} kept as revision {}", or(workflow_id, "?"), revision.unwrap_or(1))
            }
            "workflow.revision_deleted" => {
                format!("Revision {} of workflow {} deleted", revision.unwrap_or(0), or(workflow_id, "?"))
            }
            "workflow.deleted" => format!("Workflow {} deleted", or(workflow_id, "?")),
            "tool.registered" => format!("Tool '{}' registered", or(tool, "?")),
            "channel.created" => format!("Channel '{}' made", or(name, "?")),
            "channel.changed" => format!("Channel '{}' changed", or(name, "?")),
            "channel.deleted" => format!("Channel '{}' deleted with its history", or(name, "?")),
            "tool.deleted" => format!("Tool '{}' deleted", or(tool, "?")),
            "retention.changed" => "How long what is over is kept was changed".to_owned(),
            "key.created" => format!("Key '{}' made, with scope {}", or(name, "?"), or(scope, "?")),
            "key.rotated" => format!("Key '{}' given another secret", or(name, "?")),
            "key.revoked" => format!("Key {} revoked", or(key_id, "?")),
            "tenant.changed" => format!("Tenant '{}' changed", or(name, "?")),
            "ssh_key.created" => format!("SSH key '{}' added", or(name, "?")),
            "ssh_key.revoked" => format!("SSH key '{}' revoked", or(name, "?")),
            "ssh_key.deleted" => format!("SSH key '{}' deleted", or(name, "?")),
            "token_keys.rotated" => "A new key signs the tokens of agents".to_owned(),
            "tenant.created" => format!("Tenant '{}' made", or(name, "?")),
            _ => return None,
        })
    }
}

fn or<'a>(text: &'a Option<String>, instead: &'a str) -> &'a str {
    text.as_deref().unwrap_or(instead)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use signalbox_core::event::NewEvent;
    use signalbox_core::routing::Route;
    use signalbox_core::session::{Plan, SessionEvent as E};
    use signalbox_wire::id::{AgentId, SessionId, TaskId, WorkflowId};
    use signalbox_wire::time::Timestamp;

    use super::*;

    fn stored(new: NewEvent) -> StoredEvent {
        let NewEvent { kind, level, at, session, agent, task, data } = new;
        StoredEvent { sequence: 1, kind, level, at, session, agent, task, data }
    }

    fn told(event: &E) -> String {
        of(&stored(event.entry(&SessionId::parse("s").expect("valid"), 1, Timestamp::default(), None)), None)
    }

    #[test]
    fn an_agent_that_a_task_waits_for_has_its_name_beside_its_id() {
        let agent = AgentId::parse("agt_1").expect("valid");
        let wait = |route: &Route| {
            let (task, step) = (TaskId::parse("tsk_1").expect("valid"), "a".to_owned());
            let event = E::TaskWaiting { task, step, waiting_for: route.waiting_for() };
            stored(event.entry(&SessionId::parse("s").expect("valid"), 1, Timestamp::default(), None))
        };
        let event = wait(&Route::Agent(agent.clone()));
        assert_eq!(agent_of(&event), Some(agent));
        assert_eq!(of(&event, Some("R")), "Task a waits for agent 'R' (agt_1) to be available");
        assert_eq!(of(&event, None), "Task a waits for agent agt_1 to be available");
        let event = wait(&Route::Any);
        assert_eq!(
            (agent_of(&event), of(&event, None)),
            (None, "Task a waits for any available agent".into())
        );
    }

    #[test]
    fn every_event_of_a_session_has_its_sentence() {
        let (task, agent) = (TaskId::parse("tsk_1").expect("valid"), AgentId::parse("agt_1").expect("valid"));
        let (step, error) = ("read-6".to_owned(), "no such file".to_owned());
        let at = Timestamp::from_seconds(1_704_110_400);
        let parameters = Map::from_iter([("agent".to_owned(), json!(7))]);
        let workflow = WorkflowId::parse("w").expect("valid");
        let (trace, tasks) = (None, Vec::new());
        let dispatched = E::TaskDispatched {
            task: task.clone(),
            step: step.clone(),
            attempt: 2,
            agent: Some(agent.clone()),
            child: None,
            parameters,
        };
        let delivery = E::DeliveryFailed {
            task: task.clone(),
            step: step.clone(),
            attempt: 1,
            agent: agent.clone(),
            tries: 1,
            status: None,
            error: error.clone(),
            retry_at: at,
        };
        let returned = E::TaskReturned {
            task: task.clone(),
            step: step.clone(),
            attempt: 1,
            agent: None,
            reason: "it left".into(),
        };
        let cases = [
            (
                E::Started {
                    workflow,
                    revision: 3,
                    agent: None,
                    input: Map::new(),
                    trace,
                    schedule: None,
                    tasks,
                    parent: None,
                    plan: Plan::default(),
                },
                "Session started: workflow w, revision 3",
            ),
            (
                E::TaskWaiting {
                    task: task.clone(),
                    step: step.clone(),
                    waiting_for: "any available agent".into(),
                },
                "Task read-6 waits for any available agent",
            ),
            (dispatched, "Task read-6 dispatched to agent agt_1 (attempt 2)"),
            (
                E::TaskRunning { task: task.clone(), step: step.clone(), attempt: 2, agent: agent.clone() },
                "Task read-6 is under way at agent agt_1 (attempt 2)",
            ),
            (
                E::TaskCompleted {
                    task: task.clone(),
                    step: step.clone(),
                    attempt: 2,
                    agent: Some(agent),
                    result: Some(json!({"error": 5})),
                },
                "Task read-6 completed by agent agt_1 (attempt 2)",
            ),
            (
                E::TaskCompleted {
                    task: task.clone(),
                    step: step.clone(),
                    attempt: 0,
                    agent: None,
                    result: Some(
                        json!({"approved": true, "by": "the admin key", "comment": "fine by me", "digest": "5f"}),
                    ),
                },
                "Task read-6 approved by the admin key: fine by me",
            ),
            (
                E::TaskCompleted {
                    task: task.clone(),
                    step: step.clone(),
                    attempt: 1,
                    agent: None,
                    result: Some(json!({"approved": true, "by": "a tool", "comment": null, "digest": "5f"})),
                },
                "Task read-6 completed",
            ),
            (
                delivery,
                "Delivery of task read-6 to agent agt_1 failed: no such file; next attempt at 2024-01-01T12:00:00.000000Z",
            ),
            (
                E::TaskRetrying {
                    task: task.clone(),
                    step: step.clone(),
                    attempt: 1,
                    error: error.clone(),
                    retry_at: at,
                },
                "Task read-6 failed (attempt 1): no such file; next attempt at 2024-01-01T12:00:00.000000Z",
            ),
            (returned, "Task read-6 taken back from agent that is gone (attempt 1): it left"),
            (
                E::TaskFailed { task: task.clone(), step: step.clone(), attempt: 4, error: error.clone() },
                "Task read-6 failed for good (attempt 4): no such file",
            ),
            (
                E::TaskFailed { task: task.clone(), step: step.clone(), attempt: 0, error: error.clone() },
                "Task read-6 failed: no such file",
            ),
            (
                E::TaskCancelled { task: task.clone(), step: step.clone(), attempt: 1 },
                "Task read-6 cancelled",
            ),
            (E::TaskReopened { task, step, retries: 7 }, "Task read-6 may be tried again, 7 retries in all"),
            (E::Paused, "Session paused: nothing more is dispatched until it is resumed"),
            (E::Resumed, "Session resumed"),
            (E::Retried, "Session goes on from the task that failed"),
            (E::Completed { result: Some(json!(1)) }, "Session completed"),
            (E::Failed { error }, "Session failed: no such file"),
            (E::Cancelled { reason: "enough".into() }, "Session cancelled: enough"),
        ];
        for (event, expected) in cases {
            assert_eq!(told(&event), expected, "{}", event.kind());
        }
    }

    #[test]
    fn every_other_entry_has_its_sentence_too() {
        let about = AgentId::parse("a").expect("valid");
        let delivery = json!({"messageId": "m", "kind": "message", "attempt": 8, "status": 500, "error": "refused",
            "nextAttemptAt": "then", "sessionId": null});
        let webhook =
            json!({"messageId": "m", "kind": "webhook", "attempt": 1, "status": null, "error": null});
        let cases = [
            (
                "agent.registered",
                json!({"agentName": "A", "version": "1", "capabilities": [], "generation": 1}),
                "Agent 'A' (a) registered",
            ),
            ("agent.reported", json!({"state": "idle", "details": {"error": 1}}), "Agent a reported 'idle'"),
            ("agent.draining", json!({}), "Agent a is draining: it gets no new tasks"),
            ("message.delivered", webhook, "Webhook m about agent a delivered (attempt 1)"),
            (
                "message.retrying",
                delivery.clone(),
                "Message m to agent a not delivered (attempt 8): refused; next attempt at then",
            ),
            (
                "message.dead",
                delivery,
                "Message m to agent a given up after 8 attempts: refused; it is a dead letter",
            ),
            (
                "workflow.applied",
                json!({"workflowId": "w", "revision": 2, "tasks": 3}),
                "Workflow w kept as revision 2",
            ),
            (
                "key.created",
                json!({"keyId": "k", "name": "ci", "scope": "agent"}),
                "Key 'ci' made, with scope agent",
            ),
            ("agent.signed_in", json!({"keyId": "k"}), "Agent a signed in with SSH key k"),
            ("ssh_key.revoked", json!({"keyId": "k", "name": "ci"}), "SSH key 'ci' revoked"),
            (
                "workflow.revision_deleted",
                json!({"workflowId": "w", "revision": 2}),
                "Revision 2 of workflow w deleted",
            ),
            ("session.rerun", json!({"sessionId": "s", "newSessionId": "t"}), "Session run again as t"),
            (
                "session.purged",
                json!({"sessionId": "s", "workflowId": "w", "status": "failed"}),
                "Session s removed with its history",
            ),
            ("log", json!({"message": "Reading", "fields": {"step": 3}, "sessionId": null}), "Reading"),
            ("something.new", json!({}), "something new"),
            ("agent.enlightened", json!([]), "agent enlightened"),
        ];
        for (kind, data, expected) in cases {
            let event = NewEvent::new(kind, signalbox_core::event::Level::Info, Timestamp::default(), &data);
            assert_eq!(of(&stored(event.about(&about)), None), expected, "{kind}");
        }
    }
}
