//! What the checks look at, and what they say of it.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use super::graph::Graph;
use super::modules::Crate;
use crate::repo::Repo;

/// What the checks look at.
pub(super) struct Project<'a> {
    pub(super) repo: &'a Repo,
    pub(super) files: BTreeSet<String>,
    pub(super) graph: Graph,
    /// The crates by the folders of their code, with which file uses which.
    pub(super) crates: Vec<Crate>,
    /// Generated files are renewed instead of compared.
    pub(super) write: bool,
}

impl<'a> Project<'a> {
    /// Reads what several checks need.
    pub(super) fn load(repo: &'a Repo, write: bool) -> Result<Self> {
        let (files, graph) = (repo.files()?, Graph::load(repo)?);
        let folders = graph.members.iter().map(|member| member.manifest.replace("Cargo.toml", "src/"));
        let crates = folders.map(|folder| Crate::read(repo, &files, folder)).collect::<Result<_>>()?;
        Ok(Self { repo, files, graph, crates, write })
    }
}

/// One place that breaks a rule, and how to mend it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The number of the first line that `matches`, or 1 where the fault is in what the file lacks.
pub(super) fn line_where(text: &str, matches: impl Fn(&str) -> bool) -> usize {
    text.lines().position(matches).map_or(1, |index| index + 1)
}
