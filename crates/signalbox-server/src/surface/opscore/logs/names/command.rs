//! What happened to a command, in one sentence.

use serde::Deserialize;
use serde_json::Value;

/// What sentences about commands are made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Facts {
    #[serde(rename = "commandId")]
    id: String,
    command: String,
    by: Option<String>,
    error: Option<Value>,
    status: String,
}

/// What happened to a command of an agent.
pub(super) fn told(happened: &str, agent: &str, data: &str) -> Option<String> {
    let Facts { id, command, by, error, status } = serde_json::from_str(data).unwrap_or_default();
    let command = format!("Command '{command}' ({id})");
    let error = match error {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => "no reason was kept".to_owned(),
    };
    Some(match happened {
        "created" => {
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{command} for agent {agent} accepted{by}")
        }
        "sent" => format!("{command} is with agent {agent}"),
        "retrying" => format!("{command} could not be sent to agent {agent}: {error}; it is tried again"),
        "succeeded" => format!("{command} done by agent {agent}"),
        "failed" => format!("{command} failed at agent {agent}: {error}"),
        "expired" => format!("{command} expired: {error}"),
        "cancelled" => format!("{command} cancelled: {error}"),
        "answered_late" => {
            format!("Agent {agent} answered {command} after it was {status}: the answer was refused")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_entry_has_a_sentence() {
        let data = json!({"commandId": "cmd_1", "command": "restart", "by": "key k", "error": "no", "status": "expired"});
        for happened in
            ["created", "sent", "retrying", "succeeded", "failed", "expired", "cancelled", "answered_late"]
        {
            let told = told(happened, "a", &data.to_string()).expect("a sentence");
            assert!(told.contains("'restart' (cmd_1)"), "{told}");
        }
        assert_eq!(told("danced", "a", "{}"), None);
    }
}
