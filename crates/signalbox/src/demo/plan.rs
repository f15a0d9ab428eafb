//! The demo's two workflows and what travels between their tasks. The first asks the planner for batches;
//! the second, made from its answer, has one read for each batch and a report at the end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::analysis::Finding;
use super::walk::Skipped;

/// The task of the second workflow that writes the report.
pub(super) const REPORT: &str = "report";

/// What the planner answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Every file once, in batches.
    pub(super) batches: Vec<Vec<String>>,
    /// What was left out.
    pub(super) skipped: Skipped,
}

/// What the reader answers of one batch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reading {
    /// The files that were read and counted.
    pub(super) files: Vec<String>,
    /// The files that were there when the batch was made and could not be read.
    pub(super) unreadable: Vec<String>,
    /// What they hold together; all that the writer needs.
    pub(super) summary: Summary,
}

/// What the files of one batch hold.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Summary {
    /// Figures by folder.
    pub(super) folders: Vec<Folder>,
    /// Relative links that lead nowhere: how many, and the first of them.
    pub(super) broken: Places,
    /// Notes that something is unfinished: how many, and the first of them.
    pub(super) notes: Places,
}

/// The figures of one folder.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Folder {
    pub(super) path: String,
    pub(super) files: u64,
    pub(super) words: u64,
    pub(super) headings: u64,
    pub(super) links: u64,
}

/// Findings with their files; `total` counts also those that `first` has no room for.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Places {
    pub(super) total: u64,
    pub(super) first: Vec<(String, Finding)>,
}

/// What the writer answers.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) path: String,
    pub(super) files: u64,
    pub(super) words: u64,
    pub(super) headings: u64,
    pub(super) links: u64,
    pub(super) broken_links: u64,
    pub(super) notes: u64,
}

impl Places {
    /// A task's result travels in one message, so only so many places are named.
    const FIRST_MAX: usize = 100;

    /// Takes one file's findings.
    pub(super) fn add(&mut self, file: &str, findings: Vec<Finding>) {
        self.total += findings.len() as u64;
        let room = Self::FIRST_MAX.saturating_sub(self.first.len());
        self.first.extend(findings.into_iter().take(room).map(|finding| (file.to_owned(), finding)));
    }
}

/// The batch's place in the order, from 1, of a task that reads one.
pub(super) fn batch_of(task_id: &str) -> Option<usize> {
    task_id.strip_prefix("read-")?.parse().ok()
}

/// The task that reads the batch at this place, from 1.
pub(super) fn read_task(batch: usize) -> String {
    format!("read-{batch}")
}

/// The first workflow: one task for the planner.
pub(super) fn planning(batches_max: usize) -> Value {
    json!({
        "id": "demo-plan",
        "name": "Plan the audit",
        "tasks": [{
            "taskId": "plan", "name": "list and split", "agentCapability": "plan",
            "parameters": {"batchesMax": batches_max},
        }],
    })
}

/// The second workflow: a read for each batch, then the report over what they found.
pub(super) fn audit(plan: &Plan) -> Value {
    let reads = (1..).zip(&plan.batches).map(|(batch, files)| {
        json!({
            "taskId": read_task(batch), "name": "read a batch", "agentCapability": "read", "maxRetries": 5,
            "parameters": {"files": files},
        })
    });
    let summaries: Vec<String> = (1..=plan.batches.len())
        .map(|batch| format!("${{tasks.{}.result.summary}}", read_task(batch)))
        .collect();
    let report = json!({
        "taskId": REPORT, "name": "write the report", "agentCapability": "write", "maxRetries": 5,
        "parameters": {"summaries": summaries, "skipped": plan.skipped},
    });
    json!({
        "id": "demo-audit",
        "name": "Audit a folder",
        "tasks": reads.chain([report]).collect::<Vec<_>>(),
    })
}

/// Splits the files into at most so many batches of nearly the same length, in order.
pub(super) fn split(files: &[String], batches_max: usize) -> Vec<Vec<String>> {
    let batches = batches_max.min(files.len());
    let bound = |batch: usize| batch * files.len() / batches;
    (0..batches).map(|batch| files[bound(batch)..bound(batch + 1)].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_split_holds_every_file_once_and_no_empty_batch() {
        for count in [0, 1, 5, 12, 13, 100] {
            let batches = split(&names(count), 12);
            assert_eq!(batches.len(), count.min(12));
            assert!(batches.iter().all(|batch| !batch.is_empty()));
            assert_eq!(batches.concat(), names(count));
        }
    }

    #[test]
    fn the_audit_reads_each_batch_and_reports_over_all() {
        let plan = Plan { batches: split(&names(5), 2), skipped: Skipped::default() };
        let tasks = audit(&plan)["tasks"].as_array().unwrap().clone();
        let ids: Vec<_> = tasks.iter().map(|task| task["taskId"].as_str().unwrap()).collect();
        assert_eq!(ids, ["read-1", "read-2", "report"]);
        assert_eq!(tasks[1]["parameters"]["files"], json!(["2", "3", "4"]));
        let expected = json!(["${tasks.read-1.result.summary}", "${tasks.read-2.result.summary}"]);
        assert_eq!(tasks[2]["parameters"]["summaries"], expected);
        assert_eq!(batch_of(ids[1]), Some(2));
        assert_eq!(batch_of(ids[2]), None);
    }

    #[test]
    fn places_are_counted_beyond_those_that_are_named() {
        let mut places = Places::default();
        let finding = Finding { line: 1, text: String::new() };
        places.add("a", vec![finding.clone(); 70]);
        places.add("b", vec![finding; 70]);
        assert_eq!((places.total, places.first.len()), (140, Places::FIRST_MAX));
    }
}
