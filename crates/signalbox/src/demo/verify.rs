//! The demo's own check of what the agents did: [`verify`] compares the files that the reads counted, as the
//! server holds their results, with a walk that this process made itself.

use std::collections::BTreeMap;

use anyhow::Context as _;
use signalbox_client::SessionView;

use super::plan::{Reading, Written, part_of};

/// How often each file was counted, where that is not once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Files that were walked.
    pub(super) files: usize,
    /// Found by this process and counted by no read.
    pub(super) missing: Vec<String>,
    /// Counted by more than one read, and how often.
    pub(super) repeated: Vec<(String, usize)>,
    /// Counted by a read and not found by this process.
    pub(super) unexpected: Vec<String>,
    /// The report's number of files, where it is not the number that was counted.
    pub(super) report_differs: Option<u64>,
}

impl Verdict {
    /// Whether every file was counted exactly once, and the report says so.
    pub(super) fn holds(&self) -> bool {
        *self == Self { files: self.files, ..Self::default() }
    }

    /// What differs, a line for each.
    pub(super) fn differences(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|file| format!("{file}: there, and not counted"));
        let repeated = self.repeated.iter().map(|(file, times)| format!("{file}: counted {times} times"));
        let unexpected = self.unexpected.iter().map(|file| format!("{file}: counted, and not found here"));
        let report = self.report_differs.map(|files| format!("the report says that there are {files} files"));
        missing.chain(repeated).chain(unexpected).chain(report).collect()
    }
}

/// The files that the session's reads counted, task by task.
pub(super) fn counted(session: &SessionView) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    for task in session.tasks.iter().flatten().filter(|task| part_of(&task.task_id).is_some()) {
        let reading: Reading = serde_json::from_value(task.result.clone().unwrap_or_default())
            .with_context(|| format!("the result of {} is not a reader's", task.task_id))?;
        files.extend(reading.files);
    }
    Ok(files)
}

/// Compares the files that were found here with those that were counted.
pub(super) fn verify(found: &[String], counted: &[String], written: &Written) -> Verdict {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for file in counted {
        *times.entry(file).or_default() += 1;
    }
    let mut verdict = Verdict { files: found.len(), ..Verdict::default() };
    for file in found {
        match times.remove(file.as_str()) {
            None => verdict.missing.push(file.clone()),
            Some(1) => {}
            Some(more) => verdict.repeated.push((file.clone(), more)),
        }
    }
    verdict.unexpected = times.into_keys().map(str::to_owned).collect();
    verdict.report_differs = Some(written.files).filter(|files| *files != counted.len() as u64);
    verdict
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A session that is over, of these tasks with their attempts and results.
    fn session(tasks: &[(&str, u32, Value)]) -> SessionView {
        let task = |(id, attempt, result): &(&str, u32, Value)| json!({"taskId": id, "status": "completed", "attempt": attempt, "maxRetries": 3, "result": result});
        serde_json::from_value(
            json!({"sessionId": "ses_1", "workflowId": "w", "status": "completed", "input": {},
            "createdAt": "2026-01-31T12:00:00Z", "updatedAt": "2026-01-31T12:00:00Z",
            "tasks": tasks.iter().map(task).collect::<Vec<_>>()}),
        )
        .unwrap()
    }

    fn written(files: u64) -> Written {
        Written { files, ..Written::default() }
    }

    #[test]
    fn once_each_holds_in_any_order() {
        let verdict = verify(&names(&["a", "b"]), &names(&["b", "a"]), &written(2));
        assert!(verdict.holds() && verdict.differences().is_empty());
    }

    #[test]
    fn every_difference_is_named() {
        let verdict = verify(&names(&["a", "b", "c"]), &names(&["b", "b", "c", "d"]), &written(3));
        assert!(!verdict.holds());
        assert_eq!(
            verdict.differences(),
            [
                "a: there, and not counted",
                "b: counted 2 times",
                "d: counted, and not found here",
                "the report says that there are 3 files"
            ]
        );
    }

    #[test]
    fn a_task_s_result_counts_once_however_often_it_was_tried() {
        let reading = |files: &[&str]| {
            json!({"files": files, "unreadable": [], "summary":
            {"folders": [], "broken": {"total": 0, "first": []}, "notes": {"total": 0, "first": []}}})
        };
        let session = session(&[
            ("read[0]", 1, reading(&["a"])),
            ("read[1]", 2, reading(&["b", "c"])),
            ("read", 0, json!([reading(&["a"]), reading(&["b", "c"])])),
            ("report", 1, json!({"path": "x"})),
        ]);
        assert_eq!(counted(&session).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn a_read_without_a_result_is_an_error() {
        let session = session(&[("read[0]", 1, Value::Null)]);
        assert!(counted(&session).unwrap_err().to_string().contains("read[0]"));
    }
}
