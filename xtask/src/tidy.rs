//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! Each check is a file with one function from the [`Project`] to its [`Fault`]s; all run, all faults are shown.

mod arrows;
mod documents;
mod generated;
mod graph;
mod links;
mod manifests;
mod markdown;
mod reach;
mod rust;
mod sources;
mod surfaces;

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};

use self::graph::Graph;
use crate::print;
use crate::repo::Repo;

/// What the checks look at.
struct Project<'a> {
    repo: &'a Repo,
    files: BTreeSet<String>,
    graph: Graph,
    /// Generated files are renewed instead of compared.
    write: bool,
}

/// One place that breaks a rule, and how to mend it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    path: String,
    line: usize,
    message: String,
}

impl Fault {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.message)
    }
}

type Check = fn(&Project<'_>) -> Result<Vec<Fault>>;

const CHECKS: [Check; 8] = [
    arrows::check,
    documents::check,
    generated::check,
    links::check,
    manifests::check,
    reach::check,
    sources::check,
    surfaces::check,
];

/// Runs all checks and shows what they found.
pub(crate) fn run(repo: &Repo, write: bool) -> Result<()> {
    // Generated files first, where they are written: the links into them are checked as well.
    if write {
        generated::write(repo)?;
    }
    let project = Project { repo, files: repo.files()?, graph: Graph::load(repo)?, write };
    let mut faults = Vec::new();
    for check in CHECKS {
        faults.extend(check(&project)?);
    }
    faults.sort();
    faults.iter().for_each(|fault| print::result(&fault.to_string()));
    match faults.len() {
        0 => Ok(()),
        1 => bail!("tidy found a fault"),
        count => bail!("tidy found {count} faults"),
    }
}

/// The number of the first line that `matches`, or 1 where the fault is in what the file lacks.
fn line_where(text: &str, matches: impl Fn(&str) -> bool) -> usize {
    text.lines().position(matches).map_or(1, |index| index + 1)
}
