//! What happened to a hook, in one sentence.

use serde::Deserialize;

/// What sentences are made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Facts {
    hook_id: String,
    workflow_id: String,
    webhook_id: String,
    session_id: String,
}

/// What `happened`, by what the entry keeps.
pub(super) fn told(happened: &str, data: &str) -> Option<String> {
    let facts: Facts = serde_json::from_str(data).unwrap_or_default();
    let Facts { hook_id, workflow_id, webhook_id, session_id } = facts;
    let hook = format!("Hook {hook_id}");
    Some(match happened {
        "created" => format!("{hook} made; it starts workflow {workflow_id}"),
        "rotated" => format!("{hook} has another secret"),
        "deleted" => format!("{hook} deleted"),
        "received" => format!("{hook} started session {session_id} for webhook {webhook_id}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_hook_has_its_sentence() {
        let data = r#"{"hookId":"orders","workflowId":"bill","webhookId":"msg_1","sessionId":"ses_1"}"#;
        for (happened, expected) in [
            ("created", "Hook orders made; it starts workflow bill"),
            ("rotated", "Hook orders has another secret"),
            ("deleted", "Hook orders deleted"),
            ("received", "Hook orders started session ses_1 for webhook msg_1"),
        ] {
            assert_eq!(told(happened, data).as_deref(), Some(expected));
        }
        assert_eq!(told("other", data), None);
    }
}
