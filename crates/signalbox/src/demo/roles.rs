//! What the agents do: the planner lists and splits, the readers read, the writer writes. Each role is a
//! plain function from a task's parameters to its result; how tasks come and results go is the runtime's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use signalbox_client::agent::Call;
use tokio::time::{Instant, sleep, sleep_until};

use super::analysis::{Figures, analyse};
use super::links::relative_target;
use super::plan::{Folder, Plan, Reading, Summary, Written, is_held, split};
use super::report;
use super::walk::{Limits, Skipped, walk};

/// How long reading one part takes when it is paced to be watched.
pub(super) const PACE: Duration = Duration::from_millis(500);

/// How long the reader holds the part in which it is to be killed: far longer than that takes.
const HELD: Duration = Duration::from_secs(10);

/// Who plays: the name of each agent, and what it does.
pub(super) const PLAYERS: [(&str, Role); 4] = [
    ("planner", Role::Planner),
    ("reader-1", Role::Reader),
    ("reader-2", Role::Reader),
    ("writer", Role::Writer),
];

/// What an agent of the demo does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Lists the files and splits them into parts.
    Planner,
    /// Reads the files of one part.
    Reader,
    /// Writes the report.
    Writer,
}

/// Where a role does its work, and how fast.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    /// The folder under audit.
    pub(super) folder: PathBuf,
    /// Where the report goes.
    pub(super) out: PathBuf,
    /// How long a part takes at least.
    pub(super) pace: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlanTask {
    parts_max: usize,
}

#[derive(Deserialize)]
struct ReadTask {
    files: Vec<String>,
    /// Which part it is, from 0, and of how many.
    #[serde(default)]
    part: usize,
    #[serde(default)]
    of: usize,
}

#[derive(Deserialize)]
struct WriteTask {
    summaries: Vec<Summary>,
    skipped: Skipped,
}

impl Role {
    /// The word for it on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }

    /// What the workflow asks for it by.
    pub(super) fn capability(self) -> &'static str {
        match self {
            Self::Planner => "plan",
            Self::Reader => "read",
            Self::Writer => "write",
        }
    }

    /// Does one task.
    pub(super) async fn perform(self, desk: &Desk, call: Call) -> anyhow::Result<Value> {
        let result = match self {
            Self::Planner => serde_json::to_value(plan(desk, parameters(call)?)?),
            Self::Reader => serde_json::to_value(read(desk, parameters(call)?).await),
            Self::Writer => serde_json::to_value(write(desk, &parameters(call)?)?),
        };
        result.context("the result is no JSON")
    }
}

fn parameters<T: DeserializeOwned>(call: Call) -> anyhow::Result<T> {
    serde_json::from_value(call.payload).context("the task's parameters are not what this agent takes")
}

fn plan(desk: &Desk, task: PlanTask) -> anyhow::Result<Plan> {
    let found = walk(&desk.folder, &Limits::default())
        .with_context(|| format!("the folder {} cannot be read", desk.folder.display()))?;
    Ok(Plan { parts: split(&found.files, task.parts_max), skipped: found.skipped })
}

/// The pace is spread over the files, so that the part is really half read in the middle of it.
async fn read(desk: &Desk, task: ReadTask) -> Reading {
    let is_held = is_held(task.part, task.of) && is_first_to_hold(desk);
    let mut reading = Reading::default();
    let mut folders = BTreeMap::new();
    let pause = desk.pace / u32::try_from(task.files.len().max(1)).unwrap_or(u32::MAX);
    let mut due = Instant::now();
    for file in task.files {
        due += pause;
        match read_file(&desk.folder, &file) {
            Ok(figures) => {
                add(&mut folders, &mut reading.summary, &file, figures);
                reading.files.push(file);
            }
            Err(_) => reading.unreadable.push(file),
        }
        sleep_until(due).await;
    }
    if is_held {
        sleep(HELD).await;
    }
    reading.summary.folders = folders.into_values().collect();
    reading
}

/// Whether no reader has held a part before; from now on, one has.
fn is_first_to_hold(desk: &Desk) -> bool {
    fs::OpenOptions::new().write(true).create_new(true).open(desk.out.with_file_name("held")).is_ok()
}

fn read_file(root: &Path, file: &str) -> std::io::Result<Figures> {
    let bytes = fs::read(root.join(file))?;
    let text = String::from_utf8_lossy(&bytes);
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let markdown = ["md", "markdown"].iter().any(|kind| extension.eq_ignore_ascii_case(kind));
    let leads_nowhere = |target: &str| {
        relative_target(root, file, target).is_some_and(|path| !path.try_exists().unwrap_or(false))
    };
    Ok(analyse(&text, markdown, leads_nowhere))
}

fn add(folders: &mut BTreeMap<String, Folder>, summary: &mut Summary, file: &str, figures: Figures) {
    let path = report::folder_of(file);
    let folder = folders.entry(path.clone()).or_insert_with(|| Folder { path, ..Folder::default() });
    folder.files += 1;
    folder.words += figures.words;
    folder.headings += figures.headings;
    folder.links += figures.links;
    summary.broken.add(file, figures.broken);
    summary.notes.add(file, figures.notes);
}

/// Written beside its place and moved there, so that whoever finds the report finds all of it.
fn write(desk: &Desk, task: &WriteTask) -> anyhow::Result<Written> {
    let (text, figures) = report::render(&desk.folder, &task.summaries, &task.skipped);
    let path = desk.out.join("report.md");
    let beside = desk.out.join("report.md.part");
    fs::write(&beside, text).with_context(|| format!("{} cannot be written", beside.display()))?;
    fs::rename(&beside, &path).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Written { path: path.display().to_string(), ..figures })
}

/// What an agent tells of itself when it registers: its process, for whoever looks at the list of agents.
pub(super) fn metadata() -> Map<String, Value> {
    Map::from_iter([("pid".to_owned(), Value::from(std::process::id()))])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::analysis::MARKERS;
    use super::*;

    fn desk(root: &Path) -> Desk {
        Desk { folder: root.join("in"), out: root.join("out"), pace: Duration::ZERO }
    }

    fn call(parameters: Value) -> Call {
        Call { payload: parameters, ..Call::default() }
    }

    fn folder() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("in/docs")).unwrap();
        fs::create_dir_all(root.path().join("out")).unwrap();
        fs::write(root.path().join("in/README.md"), "# Hello\n\n[docs](docs/a.md) [gone](gone.md)\n")
            .unwrap();
        fs::write(root.path().join("in/docs/a.md"), format!("## A\n{}: more\n", MARKERS[1])).unwrap();
        root
    }

    #[tokio::test]
    async fn the_three_roles_together_make_the_report() {
        let root = folder();
        let desk = desk(root.path());
        let plan = Role::Planner.perform(&desk, call(json!({"partsMax": 12}))).await.unwrap();
        assert_eq!(plan["parts"], json!([["README.md"], ["docs/a.md"]]));

        let mut summaries = Vec::new();
        for part in plan["parts"].as_array().unwrap() {
            let reading = Role::Reader.perform(&desk, call(json!({"files": part}))).await.unwrap();
            assert_eq!(&reading["files"], part);
            summaries.push(reading["summary"].clone());
        }
        let task = json!({"summaries": summaries, "skipped": plan["skipped"]});
        let written: Written =
            serde_json::from_value(Role::Writer.perform(&desk, call(task)).await.unwrap()).unwrap();
        assert_eq!((written.files, written.headings, written.links), (2, 2, 2));
        assert_eq!((written.broken_links, written.notes), (1, 1));
        let text = fs::read_to_string(written.path).unwrap();
        assert!(text.contains("README.md:3") && text.contains("gone.md"), "{text}");
        assert!(text.contains("docs/a.md:2"), "{text}");
    }

    #[test]
    fn a_part_is_held_once() {
        let root = folder();
        let desk = desk(root.path());
        assert!(is_first_to_hold(&desk) && !is_first_to_hold(&desk));
    }

    #[tokio::test]
    async fn a_file_that_went_away_is_named_not_counted() {
        let root = folder();
        let task = json!({"files": ["README.md", "away.md"]});
        let reading = Role::Reader.perform(&desk(root.path()), call(task)).await.unwrap();
        assert_eq!(reading["files"], json!(["README.md"]));
        assert_eq!(reading["unreadable"], json!(["away.md"]));
    }

    #[tokio::test]
    async fn parameters_of_another_task_are_an_error() {
        let root = folder();
        let failure = Role::Reader.perform(&desk(root.path()), call(json!({}))).await.unwrap_err();
        assert!(failure.to_string().contains("parameters"), "{failure}");
    }
}
