//! The demo's workflow and what travels between its tasks: the planner's parts, a reading of each of them, and
//! the report over all.

use serde::{Deserialize, Serialize};

use super::analysis::Finding;
use super::walk::Skipped;

/// The workflow as users find it among the examples.
pub(super) const WORKFLOW: &str = include_str!("../../../../examples/workflows/audit.yaml");
/// Its id.
pub(super) const WORKFLOW_ID: &str = "audit-folder";
/// The task that lists the files and splits them.
pub(super) const PLAN: &str = "plan";
/// The task that is done once for each part.
pub(super) const READ: &str = "read";

/// What the planner answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Every file once, in parts.
    pub(super) parts: Vec<Vec<String>>,
    /// What was left out.
    pub(super) skipped: Skipped,
}

/// What a reader answers of one part.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reading {
    /// The files that were read and counted.
    pub(super) files: Vec<String>,
    /// The files that were there when the part was made and could not be read.
    pub(super) unreadable: Vec<String>,
    /// What they hold together; all that the writer needs.
    pub(super) summary: Summary,
}

/// What the files of one part hold.
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

/// What the session comes to.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) report: Written,
    pub(super) parts: usize,
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

/// The place in the list, from 0, of a task that reads one part.
pub(super) fn part_of(task_id: &str) -> Option<usize> {
    task_id.strip_prefix(READ)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether a part is the one in which its reader is killed: the one in the middle. At its first try its reader holds it
/// until it is killed, so that there is always something to try again.
pub(super) fn is_held(part: usize, of: usize) -> bool {
    of > 0 && part == of / 2
}

/// Splits the files into at most so many parts of nearly the same length, in order.
pub(super) fn split(files: &[String], parts_max: usize) -> Vec<Vec<String>> {
    let parts = parts_max.min(files.len());
    let bound = |part: usize| part * files.len() / parts;
    (0..parts).map(|part| files[bound(part)..bound(part + 1)].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_split_holds_every_file_once_and_no_empty_part() {
        for count in [0, 1, 5, 12, 13, 100] {
            let parts = split(&names(count), 12);
            assert_eq!(parts.len(), count.min(12));
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.concat(), names(count));
        }
    }

    #[test]
    fn the_workflow_has_the_tasks_that_the_demo_speaks_of() {
        assert!(WORKFLOW.contains(&format!("\nid: {WORKFLOW_ID}\n")));
        for task in [PLAN, READ] {
            assert!(WORKFLOW.contains(&format!("- taskId: {task}\n")), "{task}");
        }
    }

    #[test]
    fn a_part_is_known_by_its_task() {
        for (task, part) in [
            ("read[0]", Some(0)),
            ("read[15]", Some(15)),
            ("read", None),
            ("report", None),
            ("read[x]", None),
        ] {
            assert_eq!(part_of(task), part, "{task}");
        }
    }

    #[test]
    fn one_part_is_held_however_few_there_are() {
        for of in [1, 2, 3, 16] {
            assert_eq!((0..of).filter(|part| is_held(*part, of)).count(), 1, "{of}");
        }
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
