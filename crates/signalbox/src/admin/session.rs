//! What a session is to the commands: where the API has sessions, and the columns of their table.

use super::resource::{Column, Resource};

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
