//! What a session is to the commands: where the API has sessions, and the columns of their table.

use serde_json::Value;

use super::resource::{Column, Resource, in_line};

/// Sessions.
pub(crate) const SESSIONS: Resource = Resource {
    noun: "session",
    lister: "signalbox sessions list",
    path: &["v1", "opscore", "sessions"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::id("ID", "/sessionId"),
        Column::text("WORKFLOW", "/workflowId"),
        Column::status("STATUS", "/status"),
        Column::age("STARTED", "/createdAt"),
        Column::wait("WAITING FOR/ERROR", "/error"),
        Column::text("REVISION", "/workflowRevision").wide(),
        Column::age("ENDED", "/endedAt").wide(),
        Column::text("SCHEDULE", "/scheduleId").wide(),
        Column::text("PARENT", "/parentSessionId").wide(),
    ],
};

/// Who approved what a task asked for, and why.
pub(crate) fn approved(task: &Value) -> Option<String> {
    let result = &task["result"];
    let is_approval = result["approved"] == true && result["digest"].is_string() && result["by"].is_string();
    is_approval.then(|| {
        let comment = result["comment"].as_str().filter(|comment| !comment.is_empty());
        let why = comment.map(|_| format!(": {}", in_line(&result["comment"]))).unwrap_or_default();
        format!("approved by {}{why}", in_line(&result["by"]))
    })
}
