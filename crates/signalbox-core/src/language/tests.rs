//! What is told of whole workflows, and where.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::found::FOUND_MAX;
use super::*;

fn told(tasks: Value) -> Vec<String> {
    told_of(&json!({"id": "w", "name": "W", "tasks": tasks}))
}

fn told_of(workflow: &Value) -> Vec<String> {
    faults(workflow).into_iter().map(|(pointer, message)| format!("{pointer} {message}")).collect()
}

fn places_of(workflow: &Value) -> Vec<String> {
    faults(workflow).into_iter().map(|(pointer, _)| pointer).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn what_holds_together_has_no_faults() {
    for tasks in [
        json!([]),
        json!([{"taskId": "a"}, {"taskId": "b", "parameters": {"x": "${tasks.a.result.x}"}}]),
        json!([{"taskId": "b"}, {"taskId": "a", "nextTaskId": "b"}]),
        json!([{"taskId": "a"}, {"taskId": "b"}, {"taskId": "c", "dependsOn": ["a", "b"]}]),
        json!([
            {"taskId": "list"},
            {"taskId": "each", "forEach": "${tasks.list.result.items}", "dependsOn": ["list"],
             "parameters": {"item": "${item}", "at": "${index}"}, "when": "tasks.list.result.n > 1",
             "compensate": {"parameters": {"was": "${tasks.each.result}", "item": "${item}"}}},
            {"taskId": "pay", "dependsOn": ["each"], "onFailure": {"goto": "mend"}},
            {"taskId": "mend"},
        ]),
        json!([{"taskId": "ok", "approve": {"what": "${input.x}"}}, {"taskId": "do"}]),
        json!([{"taskId": "a"}, {"taskId": "nap", "sleep": "${input.until}"}]),
    ] {
        assert_eq!(told(tasks.clone()), NONE, "{tasks}");
    }
}

#[test]
fn what_takes_the_order_from_the_list_is_named() {
    let tasks = json!([
        {"taskId": "draft"},
        {"taskId": "review", "approve": {"what": "${tasks.draft.result.summary}"}, "onFailure": {"goto": "mend"},
         "nextTaskId": "send"},
        {"taskId": "send"}, {"taskId": "mend"},
    ]);
    let why = |cause: &str, cure: &str| {
        format!(
            "which names a task that is not certain to have settled before; since {cause}, the order of the list \
             counts no more: add {cure}"
        )
    };
    assert_eq!(
        told(tasks),
        [format!(
            "/tasks/1/approve/what holds ${{tasks.draft.result.summary}}, {}",
            why("'review' has onFailure.goto", "`nextTaskId: review` to 'draft'")
        )]
    );
    let further = json!([
        {"taskId": "a"}, {"taskId": "b"}, {"taskId": "c", "parameters": {"x": "${tasks.a.result}"}},
        {"taskId": "d", "dependsOn": ["c"]},
    ]);
    let cure = "`nextTaskId: b` to 'a', `nextTaskId: c` to 'b'";
    assert!(told(further)[0].ends_with(&why("'d' has dependsOn", cure)));
    let elsewhere = json!([
        {"taskId": "a", "nextTaskId": "c"}, {"taskId": "b", "parameters": {"x": "${tasks.a.result}"}},
        {"taskId": "c", "dependsOn": ["b"]},
    ]);
    assert!(told(elsewhere)[0].ends_with(&why("'a' has nextTaskId", "`dependsOn: [a]` to 'b'")));
    let backwards = json!([{"taskId": "a", "parameters": {"x": "${tasks.b.result}"}}, {"taskId": "b"}]);
    assert!(told(backwards)[0].ends_with("; depend on it first"));
}

#[test]
fn ids_are_unique_and_references_name_another_task() {
    let tasks = json!([
        {"taskId": "a", "nextTaskId": "gone", "onFailure": {"goto": "nowhere"}},
        {"taskId": "a", "dependsOn": ["b", "lost", "b"]},
        {"taskId": "b", "nextTaskId": "b", "onFailure": {"goto": "b"}, "dependsOn": ["b"]},
    ]);
    let other = "must name another task than the one that it stands in";
    let expected = [
        "/tasks/1/taskId must be unique, and tasks/0 has it too".to_owned(),
        "/tasks/0/nextTaskId must name a task of this workflow".to_owned(),
        "/tasks/0/onFailure/goto must name a task of this workflow".to_owned(),
        "/tasks/1/dependsOn/1 must name a task of this workflow".to_owned(),
        "/tasks/1/dependsOn/2 names 'b' a second time".to_owned(),
        format!("/tasks/2/nextTaskId {other}"),
        format!("/tasks/2/onFailure/goto {other}"),
        format!("/tasks/2/dependsOn/0 {other}"),
    ];
    assert_eq!(told(tasks), expected);
}

#[test]
fn each_circle_is_told_once_where_it_closes() {
    let task = |id: &str, next: &str| json!({"taskId": id, "nextTaskId": next});
    let two = json!([
        task("a", "b"),
        task("b", "c"),
        task("c", "b"),
        task("d", "e"),
        task("e", "d"),
        task("f", "a")
    ]);
    let expected = [
        "/tasks/2/nextTaskId must not close a circle: b → c → b",
        "/tasks/4/nextTaskId must not close a circle: d → e → d",
    ];
    assert_eq!(told(two), expected);
    let mixed = json!([
        {"taskId": "a", "onFailure": {"goto": "b"}},
        {"taskId": "b", "nextTaskId": "c"},
        {"taskId": "c"},
        {"taskId": "d", "dependsOn": ["c"], "onFailure": {"goto": "a"}},
    ]);
    assert_eq!(told(mixed), ["/tasks/3/onFailure/goto must not close a circle: a → b → c → d → a"]);
    let required = json!([{"taskId": "a", "dependsOn": ["b"]}, {"taskId": "b", "dependsOn": ["a"]}]);
    assert_eq!(told(required), ["/tasks/0/dependsOn/0 must not close a circle: a → b → a"]);
    let long: Vec<Value> = (0..20).map(|n| task(&n.to_string(), &((n + 1) % 20).to_string())).collect();
    let expected = "/tasks/19/nextTaskId must not close a circle: 0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → … → 0";
    assert_eq!(told(json!(long)), [expected]);
}

#[test]
fn what_no_chain_reaches_is_told() {
    let tasks = json!([
        {"taskId": "a", "nextTaskId": "b"}, {"taskId": "b"},
        {"taskId": "stray"}, {"taskId": "x", "nextTaskId": "b"},
    ]);
    assert_eq!(places_of(&json!({"tasks": tasks})), ["/tasks/2", "/tasks/3"]);
    let free = json!([
        {"taskId": "a", "nextTaskId": "b"}, {"taskId": "b"}, {"taskId": "beside"},
        {"taskId": "last", "dependsOn": ["b"]},
    ]);
    assert_eq!(told(free), NONE, "what waits for nothing starts at once");
}

#[test]
fn an_approval_is_followed_by_what_it_guards() {
    let idle = "must be followed by a task: nothing waits for this approval";
    assert_eq!(
        told(json!([{"taskId": "a"}, {"taskId": "ok", "approve": {}}])),
        [format!("/tasks/1/approve {idle}")]
    );
    let refused_only = json!([
        {"taskId": "ok", "approve": {}, "onFailure": {"goto": "no"}}, {"taskId": "no"},
    ]);
    assert_eq!(told(refused_only), [format!("/tasks/0/approve {idle}")]);
    assert_eq!(
        told(json!([{"taskId": "ok", "approve": {}, "nextTaskId": "gone"}])),
        ["/tasks/0/nextTaskId must name a task of this workflow"]
    );
}

#[test]
fn an_expression_sees_what_has_settled_for_certain_before() {
    let workflow = json!({
        "concurrency": {"key": "tasks.a.result"},
        "output": {"all": "${tasks.late.result}", "item": "${item}", "odd": ["${tasks.gone.result}"]},
        "tasks": [
            {"taskId": "a", "parameters": {"self": "${tasks.a.result}", "late": ["${tasks.late.status}"]},
             "compensate": {"parameters": {"fine": "${tasks.a.result}", "late": "${tasks.late.result}"}}},
            {"taskId": "b", "when": "tasks.a.result", "forEach": "item", "parameters": {"x": "${item}"}},
            {"taskId": "c", "dependsOn": ["a"], "parameters": {"a/b": "${index}", "~": "${secrets.x}"}},
            {"taskId": "ok", "approve": {"what": "${tasks.a.result} and ${tasks.b.result}"}},
            {"taskId": "late", "dependsOn": ["c", "ok"]},
            {"taskId": "nap", "sleep": "${tasks.late.result}"},
        ],
    });
    let expected = [
        "/concurrency/key",
        "/tasks/0/parameters/late/0",
        "/tasks/0/parameters/self",
        "/tasks/0/compensate/parameters/late",
        "/tasks/1/when",
        "/tasks/1/forEach",
        "/tasks/2/parameters/a~1b",
        "/tasks/2/parameters/~0",
        "/tasks/3/approve/what",
        "/tasks/5/sleep",
        "/output/item",
        "/output/odd/0",
    ];
    let mut found = places_of(&workflow);
    let mut wanted = expected.map(str::to_owned).to_vec();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "{:#?}", told_of(&workflow));
}

#[test]
fn an_approval_sees_what_its_tasks_wait_for() {
    let tasks = json!([
        {"taskId": "quote"},
        {"taskId": "ok", "approve": {"what": "Pay ${tasks.quote.result.total}"}},
        {"taskId": "pay", "dependsOn": ["ok", "quote"]},
    ]);
    assert_eq!(told(tasks), NONE);
}

#[test]
fn what_is_approved_is_known_when_it_is_asked_for() {
    let asks = "must not need a task that has not settled when its approval is asked for";
    let tasks = json!([
        {"taskId": "quote"},
        {"taskId": "one", "approve": {}, "dependsOn": ["quote"]},
        {"taskId": "two", "approve": {}},
        {"taskId": "pay", "dependsOn": ["one", "two"], "forEach": "tasks.quote.result", "parameters": {
            "fine": "${tasks.quote.result}", "late": ["${tasks.one.result}"], "later": "${tasks.two.status}"}},
    ]);
    let expected =
        [format!("/tasks/3/parameters/late/0 {asks}"), format!("/tasks/3/parameters/later {asks}")];
    assert_eq!(told(tasks), expected);
    let after = json!([
        {"taskId": "ok", "approve": {}}, {"taskId": "pay"},
        {"taskId": "tell", "parameters": {"who": "${tasks.ok.result.by}"}},
    ]);
    assert_eq!(told(after), NONE, "only what follows the approval itself was agreed to");
}

#[test]
fn an_item_is_seen_wherever_there_is_one_for_each() {
    let task = |when: &str| {
        json!([{"taskId": "a", "forEach": "input.list", "when": when, "parameters": {"x": "${item}"},
            "compensate": {"parameters": {"x": "${index}"}}}])
    };
    assert_eq!(told(task("item")), NONE);
    let without = json!([{"taskId": "a", "when": "item", "compensate": {"parameters": {"x": "${index}"}}}]);
    let positions: Vec<String> = places_of(&json!({"tasks": without}));
    assert_eq!(positions, ["/tasks/0/when", "/tasks/0/compensate/parameters/x"]);
}

/// Approvals crossed with what they guard are where each edge is looked at most often.
#[test]
fn the_widest_definition_is_looked_at_in_reasonable_work() {
    let approvals: Vec<Value> =
        (0..490).map(|n| json!({"taskId": format!("ok-{n}"), "approve": {}, "nextTaskId": "do"})).collect();
    let others: Vec<Value> = (0..490).map(|n| json!({"taskId": format!("t-{n}")})).collect();
    let needed: Vec<String> = (0..490).map(|n| format!("t-{n}")).collect();
    let mut tasks = [approvals, others].concat();
    tasks.push(json!({"taskId": "do", "dependsOn": needed, "parameters": {"x": "${tasks.t-1.result}"}}));
    let graph = Graph::linked(&tasks.iter().map(super::links).collect::<Vec<_>>());
    let edges: usize = (0..tasks.len()).map(|position| graph.incoming(position).len()).sum();
    assert_eq!(
        edges,
        490 * 2 + 490 + 489,
        "each approval waits for the one before it, and for nothing twice"
    );
    assert_eq!(told(json!(tasks)), NONE);
}

#[test]
fn not_every_one_of_very_many_faults_is_looked_for() {
    let items = vec!["${secrets.x}"; 5_000];
    let found = faults(&json!({"output": items}));
    assert_eq!(found.len(), FOUND_MAX);
}

#[test]
fn the_number_of_dependencies_is_bounded() {
    let tasks: Vec<Value> = (0..200)
        .map(|n: u32| json!({"taskId": n.to_string(), "dependsOn": (0..n).map(|m| m.to_string()).collect::<Vec<_>>()}))
        .collect();
    let expected = "/tasks must name at most 10000 tasks in dependsOn, not 19900";
    assert_eq!(told(json!(tasks)), [expected]);
    assert_eq!(told(json!(tasks[..140])), NONE);
}

fn hostile() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "", "${tasks.a.result}", "tasks.b.error", "${", "item"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop::sample::select(vec![
            "tasks",
            "taskId",
            "nextTaskId",
            "dependsOn",
            "onFailure",
            "goto",
            "approve",
            "what",
            "when",
            "forEach",
            "parameters",
            "compensate",
            "output",
            "sleep",
            "concurrency",
            "key",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_written_is_looked_at_to_its_end(tasks in prop::collection::vec(hostile(), 0..6), rest in hostile()) {
        let found = faults(&json!({"tasks": tasks, "output": rest, "concurrency": rest}));
        prop_assert!(found.iter().all(|(pointer, _)| pointer.starts_with('/')));
        let _ = faults(&rest);
    }

    /// Without a fault, the tasks can be brought into an order in which nothing comes before what it waits for.
    #[test]
    fn what_is_told_of_nothing_has_an_order(links in prop::collection::vec((0_usize..10, 0_usize..10, 0_usize..10), 1..8)) {
        let id = |n: usize| (n < links.len()).then(|| n.to_string());
        let tasks: Vec<Value> = links.iter().enumerate().map(|(position, (next, before, goto))| {
            let mut task = json!({"taskId": position.to_string(), "nextTaskId": id(*next)});
            if let Some(before) = id(*before) {
                task["dependsOn"] = json!([before]);
            }
            if let Some(goto) = id(*goto) {
                task["onFailure"] = json!({"goto": goto});
            }
            task
        }).collect();
        let graph = Graph::linked(&tasks.iter().map(super::links).collect::<Vec<_>>());
        let circular = (0..tasks.len()).any(|position| graph.ancestors(position)[position]);
        let mut told = told(json!(tasks));
        told.retain(|fault| !fault.contains("is never reached"));
        prop_assert_eq!(!told.is_empty(), circular, "{:?}", told);
    }
}
