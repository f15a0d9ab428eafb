//! Approvals: what is asked for, who may answer, and for what an answer is good.

use serde_json::{Value, json};
use signalbox_core::Rejected;
use signalbox_core::definition::{Kind, Step};
use signalbox_core::engine::Approve;
use signalbox_wire::id::SessionId;

use crate::play::{self, Making, approve, seconds, task, workflow};
use crate::stage::Stage;

fn answer(
    stage: &mut Stage,
    session: &SessionId,
    is_approved: bool,
    digest: Option<String>,
) -> Result<(), Rejected> {
    let approve = Approve {
        session: session.clone(),
        task: "ok".to_owned(),
        is_approved,
        by: "Ada".to_owned(),
        comment: Some("as seen".to_owned()),
        digest,
    };
    stage.run(&approve).map(drop)
}

/// Agrees to what is asked for.
fn agree(stage: &mut Stage, session: &SessionId) -> Result<(), Rejected> {
    let seen = stage.task(session, "ok").subject.clone().map(|subject| subject.digest);
    answer(stage, session, true, seen)
}

fn digest(stage: &Stage, session: &SessionId) -> String {
    stage.task(session, "ok").subject.clone().expect("a subject").digest
}

fn subject(stage: &Stage, session: &SessionId) -> Value {
    stage.task(session, "ok").subject.clone().expect("a subject").parameters
}

fn paying() -> Vec<Step> {
    vec![
        task("a"),
        approve("ok"),
        task("pay").given(&json!({"sum": "${tasks.a.result.sum}", "to": "${input.to}"})),
    ]
}

/// A session that asks whether to pay 7.
fn asking(stage: &mut Stage) -> SessionId {
    let session = stage.start(workflow("workflow", paying()), &json!({"to": "Bo"}));
    stage.done(&session, "a", &json!({"sum": 7}));
    assert_eq!(stage.look(&session), "running a=completed ok=waiting pay=pending");
    session
}

#[test]
fn what_is_approved_is_what_is_done() {
    let mut stage = Stage::with_agent();
    let session = asking(&mut stage);
    assert_eq!(subject(&stage, &session), json!({"pay": {"sum": 7, "to": "Bo"}}));
    let seen = digest(&stage, &session);
    answer(&mut stage, &session, true, Some(seen.clone())).expect("approved");
    assert_eq!(json!(stage.task(&session, "pay").parameters), json!({"sum": 7, "to": "Bo"}));
    let expected = json!({"approved": true, "by": "Ada", "comment": "as seen", "digest": seen});
    assert_eq!(stage.task(&session, "ok").result, Some(expected));
    assert!(matches!(agree(&mut stage, &session), Err(Rejected::NothingToApprove { .. })), "once");
}

#[test]
fn an_answer_to_something_else_counts_for_nothing() {
    let mut stage = Stage::with_agent();
    let session = asking(&mut stage);
    let another = || Some("another".to_owned());
    for (is_approved, seen) in [(true, another()), (false, another()), (true, None)] {
        let refused = answer(&mut stage, &session, is_approved, seen);
        let expected = Rejected::ApprovalChanged { task: "ok".to_owned(), digest: digest(&stage, &session) };
        assert_eq!(refused, Err(expected));
    }
    assert_eq!(stage.look(&session), "running a=completed ok=waiting pay=pending");
}

#[test]
fn the_digest_is_that_of_the_parameters_and_of_nothing_else() {
    let mut digests = Vec::new();
    for sum in [7, 7, 8] {
        let mut stage = Stage::with_agent();
        let session = stage.start(workflow("workflow", paying()), &json!({"to": "Bo"}));
        stage.done(&session, "a", &json!({ "sum": sum }));
        digests.push(digest(&stage, &session));
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[1], digests[2]);
    assert_eq!(digests[0].len(), 64);
}

#[test]
fn a_refusal_says_who_and_why() {
    let mut stage = Stage::with_agent();
    let session = asking(&mut stage);
    answer(&mut stage, &session, false, None).expect("refused");
    assert_eq!(stage.look(&session), "failed a=completed ok=failed pay=pending");
    assert_eq!(stage.why(&session), "Task ok failed: refused by Ada: as seen");
    stage.retry(&session);
    assert_eq!(stage.look(&session), "running a=completed ok=waiting pay=pending", "it is asked again");
}

#[test]
fn nobody_answers_in_time() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        approve("ok").with(|step| step.rules.timeout = Some(seconds(10))).goto("no"),
        task("pay").needs(&["ok"]),
        task("no"),
    ];
    let session = stage.play(steps);
    stage.after(10);
    assert_eq!(stage.look(&session), "running ok=failed pay=skipped no=dispatched");
    assert!(agree(&mut stage, &session).is_err(), "too late");
}

/// What was agreed to was one run of the task.
#[test]
fn an_approval_is_used_once() {
    let mut stage = Stage::with_agent();
    let session = asking(&mut stage);
    agree(&mut stage, &session).expect("approved");
    stage.fail(&session, "pay");
    stage.retry(&session);
    assert_eq!(stage.look(&session), "running a=completed ok=waiting pay=pending");
    assert_eq!(stage.task(&session, "ok").result, None);
    agree(&mut stage, &session).expect("approved again");
    stage.done(&session, "pay", &json!(1));
    assert_eq!(stage.look(&session), "completed a=completed ok=completed pay=completed");
}

#[test]
fn an_approval_that_was_not_used_is_still_good_after_a_retry() {
    let mut stage = Stage::new();
    let agent = stage.agent("reader", 1);
    let steps = vec![
        approve("ok"),
        task("pay").needs(&["ok"]).with(|step| step.rules.schedule_timeout = Some(seconds(60))),
        task("b"),
    ];
    let session = stage.play(steps);
    stage.pause(&session);
    agree(&mut stage, &session).expect("approved");
    stage.report(&agent, "error", None, json!(null));
    assert_eq!(stage.look(&session), "failed ok=completed pay=pending b=failed");
    stage.retry(&session);
    assert_eq!(stage.task(&session, "ok").status.name(), "completed");
}

#[test]
fn attempts_of_one_run_need_no_further_approval() {
    let mut stage = Stage::with_agent();
    let pay = task("pay").with(|step| step.retries = Some(1));
    let session = stage.play(vec![approve("ok"), pay]);
    agree(&mut stage, &session).expect("approved");
    stage.fail(&session, "pay");
    stage.after(10);
    assert_eq!(stage.look(&session), "running ok=completed pay=dispatched");
}

#[test]
fn each_item_of_a_list_is_part_of_what_is_approved() {
    let mut stage = Stage::with_agent();
    let pay = task("pay")
        .for_each()
        .given(&json!({"sum": "${item}"}))
        .with(|step| step.rules.when = Some("item > 0".into()));
    let session = stage.start(workflow("workflow", vec![approve("ok"), pay]), &json!({"list": [1, 0, 3]}));
    assert_eq!(subject(&stage, &session), json!({"pay": [{"sum": 1}, null, {"sum": 3}]}));
    agree(&mut stage, &session).expect("approved");
    assert_eq!(
        stage.look(&session),
        "running ok=completed pay=running pay[0]=dispatched pay[1]=skipped pay[2]=dispatched"
    );
}

#[test]
fn an_approval_waits_for_all_that_its_tasks_need() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        task("a"),
        approve("ok"),
        task("pay").needs(&["a", "ok"]).given(&json!({"sum": "${tasks.a.result}"})),
    ];
    let session = stage.play(steps);
    assert_eq!(stage.look(&session), "running a=dispatched ok=pending pay=pending");
    stage.done(&session, "a", &json!(7));
    assert_eq!(subject(&stage, &session), json!({"pay": {"sum": 7}}));
}

/// What went wrong is dealt with elsewhere: nobody is asked about what will not happen.
#[test]
fn nobody_is_asked_about_tasks_that_cannot_run() {
    let mut stage = Stage::with_agent();
    let steps = vec![
        task("a").goto("help"),
        approve("ok"),
        task("pay").needs(&["a", "ok"]).given(&json!({"sum": "${tasks.a.result.sum}"})),
        task("help"),
    ];
    let session = stage.play(steps);
    stage.fail(&session, "a");
    assert_eq!(stage.look(&session), "running a=failed ok=skipped pay=skipped help=dispatched");
}

#[test]
fn a_task_whose_condition_is_not_true_is_no_part_of_what_is_asked() {
    let mut stage = Stage::with_agent();
    let pay = |id: &str, when: &str| {
        let sum = json!({"sum": "${tasks.a.result.sum}"});
        task(id).needs(&["a", "ok"]).given(&sum).with(|step| step.rules.when = Some(when.to_owned()))
    };
    let other = task("b").needs(&["ok"]).given(&json!({"was": "${tasks.ok.status}"}));
    let steps =
        vec![task("a").tolerated(), approve("ok"), pay("pay", "tasks.a.status == 'completed'"), other];
    let session = stage.play(steps);
    stage.fail(&session, "a");
    assert_eq!(subject(&stage, &session), json!({"b": {"was": "completed"}}), "as it will be");
    agree(&mut stage, &session).expect("approved");
    assert_eq!(stage.look(&session), "running a=failed ok=completed pay=skipped b=dispatched");
}

/// Else it would wait for ever, with nothing in it to agree to.
#[test]
fn an_approval_of_nothing_is_passed_over_with_its_tasks() {
    let mut stage = Stage::with_agent();
    let no = |id: &str| task(id).with(|step| step.rules.when = Some("false".to_owned()));
    let session = stage.play(vec![approve("ok"), no("pay"), task("b")]);
    assert_eq!(stage.look(&session), "running ok=skipped pay=skipped b=dispatched");
    let nap = |when: &str| {
        play::of("nap", Kind::Sleep("1h".to_owned())).with(|step| step.rules.when = Some(when.into()))
    };
    let session = stage.play(vec![approve("ok"), nap("false")]);
    assert_eq!(stage.look(&session), "completed ok=skipped nap=skipped");
    let session = stage.play(vec![approve("ok"), nap("true")]);
    assert_eq!(
        stage.look(&session),
        "running ok=waiting nap=pending",
        "somebody is to agree that it goes on"
    );
    let each = task("pay").for_each().with(|step| step.rules.when = Some("item > 0".into()));
    for list in [json!([]), json!([0, -1])] {
        let steps = vec![approve("ok"), each.clone(), task("b")];
        let session = stage.start(workflow("workflow", steps), &json!({ "list": list }));
        assert!(
            stage.look(&session).starts_with("running ok=skipped pay=completed b="),
            "{}",
            stage.look(&session)
        );
    }
    let steps = vec![approve("ok"), no("pay").needs(&["ok"]), task("b").needs(&["ok"])];
    let session = stage.play(steps);
    assert_eq!(subject(&stage, &session), json!({"b": {}}), "one is left to agree to");
}

#[test]
fn an_approval_counts_during_a_pause_and_not_after_a_cancellation() {
    let mut stage = Stage::with_agent();
    let session = asking(&mut stage);
    stage.pause(&session);
    agree(&mut stage, &session).expect("approved");
    assert_eq!(stage.look(&session), "paused a=completed ok=completed pay=pending");
    stage.resume(&session);
    assert_eq!(stage.look(&session), "running a=completed ok=completed pay=dispatched");
    let session = asking(&mut stage);
    stage.cancel(&session);
    assert!(agree(&mut stage, &session).is_err());
}
