//! Follows the pages: every block of README and `docs/` is run, compared with what came, read, or passed over for a reason.
//!
//! Each page is a test of its own, in a folder of its own, against a server of its own. `sh` blocks are run one after
//! the other by one `bash -e`, so that what one sets the next one sees; a `json` or `text` block after one, in the same
//! section, is what it prints. Blocks with a file's name become files. Everything else has to be readable: YAML with
//! `tasks` is given to the server as a workflow, Python is compiled. What differs from that is said by an HTML comment
//! before the block:
//!
//! | comment | means |
//! |---|---|
//! | `<!-- test: skip REASON -->` | passed over |
//! | `<!-- test: server -->` | `signalbox serve` in it is the page's server |
//! | `<!-- test: background TEXT -->` | stays running; the page goes on once it has printed TEXT |
//! | `<!-- test: when COMMAND -->` | run once this command succeeds, as a reader would wait for it |
//! | `<!-- test: fails CODE -->` | ends with this code |
//! | `<!-- test: file NAME -->` | becomes this file |
//! | `<!-- test: parse -->`, `<!-- test: output -->` | is read only; is what the last `sh` block prints |
//! | `<!-- test: needs agentkit -->` | the page's Python is one with the SDK |
//! | `<!-- test: files PAGE -->` | the reader has the files of that page |
//! | `<!-- test: before`, lines, `-->` | commands that the page's reader did on another page |

mod block;
mod compare;
mod plan;
mod protocol;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::plan::Plan;

/// Names a Python that has the SDK, and pytest, by which a page tests an agent.
const WITH_AGENTKIT: &str = "SIGNALBOX_TEST_AGENTKIT";

/// The folder of the code.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the folder of the code")
}

#[track_caller]
fn follow(page: &str) {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    if text.contains("<!-- test: needs agentkit -->") && !has_agentkit() {
        return;
    }
    let faults = faults_of(&text);
    assert!(faults.is_empty(), "{page}:\n{}", faults.join("\n"));
}

/// What is wrong with a page.
fn faults_of(text: &str) -> Vec<String> {
    let plan = Plan::of(&block::blocks(text));
    if plan.faults.is_empty() { run::run(&plan) } else { plan.faults }
}

/// Whether the tests were given a Python with the SDK.
fn has_agentkit() -> bool {
    let Some(python) = std::env::var_os(WITH_AGENTKIT) else {
        eprintln!("passed over: {WITH_AGENTKIT} names no Python with agentkit (pip install ./python pytest)");
        return false;
    };
    let tried =
        Command::new(&python).args(["-c", "import agentkit, pytest"]).output().expect("the Python runs");
    let told = String::from_utf8_lossy(&tried.stderr);
    assert!(
        tried.status.success(),
        "{} of {WITH_AGENTKIT} lacks a package that the pages use; install both: pip install ./python pytest\n{told}",
        python.display()
    );
    true
}

#[test]
fn a_page_that_is_wrong_fails() {
    let faults = faults_of(
        "```sh\necho one two\n```\n```text\ntwo …\n```\n\
         ```sh\necho '{\"a\": 1}'\n```\n```json\n{\"a\": \"text\"}\n```\n\
         ```yaml\nid: w\nname: W\ntasks: [{taskId: t, capability: count}]\n```\n",
    );
    let told = faults.join("\n");
    assert_eq!(faults.len(), 3, "{told}");
    for part in [
        "line 2: the lines differ",
        "line 8: /a is a text on the page",
        "line 14: ended with",
        "agentCapability",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let failed = faults_of("```sh\nfalse | true\necho not reached\n```\n").join("\n");
    assert!(
        failed.starts_with("line 2: ended with 1") && !failed.contains("printed\nnot reached"),
        "{failed}"
    );
}

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $name() {
                follow($page);
            }
        )*
    };
}

pages! {
    readme: "README.md",
    agent_protocol: "docs/reference/agent-protocol.md",
    examples: "examples/README.md",
    administration: "docs/guide/administration.md",
    agent_websocket: "docs/reference/agent-websocket.md",
    channels: "docs/reference/channels.md",
    getting_started: "docs/guide/getting-started.md",
    hooks: "docs/reference/hooks.md",
    migrate: "docs/guide/migrate.md",
    nodes: "docs/guide/nodes.md",
    payloads: "docs/reference/payloads.md",
    production: "docs/guide/production.md",
    schedules: "docs/reference/schedules.md",
    security: "docs/guide/security.md",
    ssh_keys: "docs/reference/ssh-keys.md",
    tools: "docs/guide/tools.md",
    without_the_sdk: "docs/guide/without-the-sdk.md",
    workflow_language: "docs/reference/workflow-language.md",
    write_a_workflow: "docs/guide/write-a-workflow.md",
    write_an_agent: "docs/guide/write-an-agent.md",
}

/// Generated from what its own tests read: each command's example is one that can be given.
const GENERATED: &str = "docs/reference/cli.md";

/// A page with a block that nobody follows would fail nothing.
#[test]
fn every_page_with_a_block_is_followed() {
    let mut missing = Vec::new();
    for folder in ["docs/guide", "docs/reference", "docs/concepts", "docs", "examples"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of pages").flatten() {
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if !name.ends_with(".md") || name == GENERATED || PAGES.contains(&name.as_str()) {
                continue;
            }
            let text = fs::read_to_string(entry.path()).expect("a page");
            if !block::blocks(&text).is_empty() {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "add to `pages!`: {missing:?}");
}
