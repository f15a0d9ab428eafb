//! Answers that are kept under an `Idempotency-Key`: the same request gets them again until they expire.

use std::time::Duration;

use signalbox_core::Rejected;
use signalbox_core::decision::{IdempotencyRecord, Retention};
use signalbox_core::engine::SetRetention;
use signalbox_core::engine::attempt::{Claim, Resolution};

use crate::stage::Stage;

const KEPT: Duration = Duration::from_secs(60);

/// Asks under one key; tells what comes of it.
fn ask(stage: &mut Stage, request: &str) -> &'static str {
    let operation = SetRetention { retention: Retention::default() };
    let (key, request) = ("POST /a key".to_owned(), request.to_owned());
    let kept = IdempotencyRecord {
        key: key.clone(),
        request: request.clone(),
        status: 200,
        body: String::new(),
        expires_at: stage.now + KEPT,
    };
    let record = move |_: &Retention, _| kept.clone();
    match stage.claim(&operation, Claim { key, request, record }) {
        Resolution::Made(_) => "made",
        Resolution::Repeated(_) => "repeated",
        Resolution::Rejected(Rejected::KeyReused) => "reused",
        Resolution::Rejected(_) => "refused",
    }
}

#[test]
fn an_answer_is_given_again_until_it_expires_and_then_another_takes_its_place() {
    let mut stage = Stage::new();
    assert_eq!(ask(&mut stage, "first"), "made");
    assert_eq!(ask(&mut stage, "first"), "repeated");
    assert_eq!(ask(&mut stage, "second"), "reused");
    // Nothing has removed the row when its time is over.
    stage.now = stage.now + KEPT;
    assert_eq!(ask(&mut stage, "second"), "made");
    assert_eq!(ask(&mut stage, "second"), "repeated");
    assert_eq!(ask(&mut stage, "first"), "reused");
}
