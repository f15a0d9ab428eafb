//! What happened to a schedule, in one sentence.

use serde::Deserialize;

/// What sentences are made of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Facts {
    schedule_id: String,
    workflow_id: String,
    scheduled_at: String,
    session_id: String,
    reason: String,
    until: String,
    count: u64,
}

/// What `happened`, by what the entry keeps.
pub(super) fn told(happened: &str, data: &str) -> Option<String> {
    let facts: Facts = serde_json::from_str(data).unwrap_or_default();
    let Facts { schedule_id, workflow_id, scheduled_at, session_id, reason, until, count } = facts;
    let schedule = format!("Schedule {schedule_id}");
    Some(match happened {
        "created" => format!("{schedule} made; it starts workflow {workflow_id}"),
        "changed" => format!("{schedule} changed; it starts workflow {workflow_id}"),
        "deleted" => format!("{schedule} deleted"),
        "paused" => format!("{schedule} paused"),
        "resumed" => format!("{schedule} resumed"),
        "fired" => format!("{schedule} started session {session_id} for {scheduled_at}"),
        "buffered" => format!("{schedule} lets {scheduled_at} wait for an earlier session"),
        "skipped" => format!("{schedule} started nothing for {scheduled_at}: {reason}"),
        "missed" => format!("{schedule} was too late for {count} fire times from {scheduled_at} to {until}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_schedule_has_its_sentence() {
        let data = r#"{"scheduleId":"nightly","workflowId":"report","scheduledAt":"3 h","sessionId":"ses_1",
            "reason":"busy","until":"5 h","count":2}"#;
        for (happened, expected) in [
            ("created", "Schedule nightly made; it starts workflow report"),
            ("changed", "Schedule nightly changed; it starts workflow report"),
            ("deleted", "Schedule nightly deleted"),
            ("paused", "Schedule nightly paused"),
            ("resumed", "Schedule nightly resumed"),
            ("fired", "Schedule nightly started session ses_1 for 3 h"),
            ("buffered", "Schedule nightly lets 3 h wait for an earlier session"),
            ("skipped", "Schedule nightly started nothing for 3 h: busy"),
            ("missed", "Schedule nightly was too late for 2 fire times from 3 h to 5 h"),
        ] {
            assert_eq!(told(happened, data).as_deref(), Some(expected));
        }
        assert_eq!(told("other", data), None);
    }
}
