//! What a client reads of a later server: words that this version does not know. They are read, never written, and no
//! part of the description of the API.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::PartialSchema;

use crate::agentkit::{DeliveryStatus, Scheduled, ToolStatus};
use crate::opscore::{
    Change, FireCause, FireOutcome, LogLevel, ScheduleStatus, SessionStatus, SpanKind, TaskStatus,
};

fn check<T: Debug + PartialEq + Serialize + DeserializeOwned + PartialSchema>(known: &str, unknown: &T) {
    for text in ["\"invented\"", "\"unknown\"", "\"Unknown\"", "\"\""] {
        assert_eq!(&serde_json::from_str::<T>(text).unwrap(), unknown, "{text}");
    }
    for no_text in ["5", "null", "[]", "{}"] {
        assert!(serde_json::from_str::<T>(no_text).is_err(), "{no_text} as {unknown:?}");
    }
    let read: T = serde_json::from_str(known).unwrap();
    assert_ne!(&read, unknown);
    assert_eq!(serde_json::to_string(&read).unwrap(), known);
    assert!(serde_json::to_string(unknown).is_err(), "{unknown:?} is written");
    let schema = serde_json::to_string(&T::schema()).unwrap();
    assert!(schema.contains(known) && !schema.to_lowercase().contains("unknown"), "{schema}");
}

#[test]
fn words_of_a_later_server_are_read_and_never_written_or_described() {
    check("\"paused\"", &SessionStatus::Unknown);
    check("\"skipped\"", &TaskStatus::Unknown);
    check("\"dead\"", &DeliveryStatus::Unknown);
    check("\"warning\"", &LogLevel::Unknown);
    check("\"active\"", &ScheduleStatus::Unknown);
    check("\"backfill\"", &FireCause::Unknown);
    check("\"missed\"", &FireOutcome::Unknown);
    check("\"retryWait\"", &SpanKind::Unknown);
    check("\"replace\"", &Change::Unknown);
    check("\"success\"", &ToolStatus::Unknown);
    check("\"scheduled\"", &Scheduled::Unknown);
}
