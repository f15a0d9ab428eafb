//! Workflows at random: chains as they were from the first, and graphs in which every key of the language occurs.

use std::time::Duration;

use serde_json::{Map, json};
use signalbox_core::definition::{
    Compensation, Concurrency, Definition, Kind, Notify, OnBusy, OnFailure, RetryRule, Rules, Step,
};
use signalbox_wire::id::{ToolName, WorkflowId};

use crate::agents::CAPABILITIES;
use crate::world::World;

/// Tasks of a session, at most.
const TASKS_MAX: usize = 6;

impl World {
    /// A workflow under one of a few names.
    pub(crate) fn invent(&mut self, index: usize) -> Definition {
        if self.dice.chance(40) { self.chain(index) } else { self.graph(index) }
    }

    fn chain(&mut self, index: usize) -> Definition {
        let count = self.dice.weighted(&[(1, 0), (6, 1), (5, 2), (4, 3), (1, TASKS_MAX)]);
        // The order in which the tasks run, as positions in the list.
        let mut order: Vec<usize> = (0..count).collect();
        let is_explicit = count > 1 && self.dice.chance(40);
        if is_explicit {
            for at in (1..count).rev() {
                order.swap(at, self.dice.below(at + 1));
            }
        }
        let mut tasks: Vec<Step> = (0..count).map(|position| self.task(position)).collect();
        for pair in order.windows(2) {
            if is_explicit {
                tasks[pair[0]].next = Some(name(pair[1]));
            }
            if self.dice.chance(50) {
                let path = if self.dice.chance(95) { "v" } else { "missing" };
                let expression = format!("${{tasks.{}.result.{path}}}", name(pair[0]));
                tasks[pair[1]].parameters.insert("before".to_owned(), json!(expression));
            }
        }
        Definition::of(workflow(index), tasks)
    }

    fn graph(&mut self, index: usize) -> Definition {
        let count = self.dice.weighted(&[(1, 1), (3, 2), (4, 3), (3, 4), (2, TASKS_MAX)]);
        let mut tasks: Vec<Step> = (0..count).map(|position| self.node(index, position)).collect();
        for to in 1..count {
            for from in 0..to {
                if self.dice.chance(70 / to as u32) {
                    if self.dice.chance(70) {
                        tasks[to].depends_on.push(name(from));
                    } else if tasks[from].next.is_none() {
                        tasks[from].next = Some(name(to));
                    }
                }
            }
            let from = self.dice.below(to);
            if self.dice.chance(10) {
                tasks[from].rules.on_failure = OnFailure::Goto(name(to));
            }
            // Only what comes before for certain can be seen.
            let before = tasks[to].depends_on.first().cloned();
            // What an approval comes to cannot be part of what is approved.
            let is_approval = |id: &String| {
                tasks.iter().any(|task| task.id == *id && matches!(task.kind, Kind::Approve { .. }))
            };
            if let Some(before) = before.filter(|before| !is_approval(before))
                && self.dice.chance(40)
            {
                let path = if self.dice.chance(60) { "status" } else { "result" };
                let expression = format!("${{tasks.{before}.{path}}}");
                if tasks[to].kind.takes_room() {
                    tasks[to].parameters.insert("before".to_owned(), json!(expression));
                }
            }
        }
        Definition {
            timeout: self.dice.chance(15).then(|| self.dice.millis(1_000, 40_000)),
            max_parallel: self.dice.chance(30).then(|| self.dice.below(3) as u32 + 1),
            output: self.dice.chance(20).then(|| json!({"n": "${input.n}"})),
            concurrency: self.dice.chance(25).then(|| Concurrency {
                key: self.dice.chance(50).then(|| "input.key".to_owned()),
                limit: self.dice.below(2) as u32 + 1,
                on_busy: self.dice.weighted(&[(3, OnBusy::Queue), (1, OnBusy::Reject), (2, OnBusy::Replace)]),
            }),
            notify: self.dice.chance(20).then(|| Notify { url: "http://notice".to_owned(), on: Vec::new() }),
            ..Definition::of(workflow(index), tasks)
        }
    }

    fn node(&mut self, index: usize, position: usize) -> Step {
        let kind = match self.dice.below(12) {
            0 => Kind::Wait { signal: "go".to_owned() },
            1 => Kind::Approve { who: Some("Ada".to_owned()), what: None },
            2 => Kind::Sleep(format!("{}ms", self.dice.below(3_000) + 1)),
            3 | 4 => ToolName::parse("tool").map_or(Kind::Agent, Kind::Tool),
            // Mostly another one; a workflow that runs itself ends at the bound of depth. It does so once and is
            // not tried again: several sessions below each would be a hundred thousand at the bottom.
            5 if position > 0 || self.dice.chance(80) => Kind::Workflow(workflow(index + 1)),
            5 => Kind::Workflow(workflow(index)),
            _ => Kind::Agent,
        };
        let mut step = self.task(position);
        let seconds = |world: &mut Self, most: u64| Some(world.dice.millis(200, most));
        let mut rules = Rules {
            when: self.dice.chance(20).then(|| "input.yes".to_owned()),
            on_failure: if self.dice.chance(25) { OnFailure::Continue } else { OnFailure::Fail },
            ..Rules::default()
        };
        if !kind.takes_room() {
            rules.timeout = self.dice.chance(30).then(|| self.dice.millis(500, 20_000));
            return Step { id: name(position), kind, rules, ..Step::default() };
        }
        let is_itself = kind == Kind::Workflow(workflow(index));
        if is_itself {
            step.retries = Some(0);
        }
        rules.for_each = (self.dice.chance(20) && !is_itself).then(|| "input.list".to_owned());
        if rules.for_each.is_some() {
            rules.max_parallel = self.dice.chance(50).then(|| self.dice.below(3) as u32 + 1);
            step.parameters.insert("item".to_owned(), json!("${item.name} ${index}"));
        }
        rules.timeout = if self.dice.chance(30) { seconds(self, 20_000) } else { None };
        rules.retry = self.dice.chance(25).then(|| RetryRule {
            initial: Some(self.dice.millis(10, 1_000)),
            factor: None,
            max: None,
            retry_on: if self.dice.chance(40) {
                vec!["timeout".to_owned(), "QUOTA".to_owned()]
            } else {
                Vec::new()
            },
        });
        if kind.is_agent() {
            rules.schedule_timeout = if self.dice.chance(15) { seconds(self, 20_000) } else { None };
            rules.heartbeat_timeout = if self.dice.chance(15) { seconds(self, 10_000) } else { None };
            rules.priority = self.dice.weighted(&[(3, 0), (1, 5), (1, -5)]);
        }
        rules.compensate = self.dice.chance(25).then(|| Box::new(self.compensation()));
        Step { kind, rules, ..step }
    }

    fn compensation(&mut self) -> Compensation {
        let is_tool = self.dice.chance(50);
        Compensation {
            capability: (!is_tool).then(|| "read".to_owned()),
            tool: ToolName::parse("tool").ok().filter(|_| is_tool),
            parameters: Map::from_iter([("n".to_owned(), json!("${input.n}"))]),
            retries: self.dice.chance(50).then_some(1),
            timeout: Some(Duration::from_secs(5)),
            ..Compensation::default()
        }
    }

    fn task(&mut self, position: usize) -> Step {
        let agent = if self.dice.chance(20) { self.some_agent() } else { None };
        let capability = self.dice.chance(50).then(|| {
            if self.dice.chance(3) { "fly" } else { self.dice.pick(&CAPABILITIES).copied().unwrap_or("read") }
        });
        let mut parameters = Map::from_iter([("k".to_owned(), json!("plain"))]);
        if self.dice.chance(20) {
            parameters.insert("n".to_owned(), json!("${input.n}"));
        }
        Step {
            id: name(position),
            agent,
            capability: capability.map(str::to_owned),
            parameters,
            retries: self.dice.weighted(&[(2, None), (1, Some(0)), (1, Some(1)), (1, Some(4))]),
            ..Step::default()
        }
    }
}

fn name(position: usize) -> String {
    format!("step-{position}")
}

fn workflow(index: usize) -> WorkflowId {
    WorkflowId::parse(&format!("workflow-{index}")).expect("valid")
}
