//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! Each check is a file with one function from the [`Project`] to its [`Fault`]s; all run, all faults are shown.

mod arrows;
mod circles;
mod documents;
mod generated;
mod graph;
mod known;
mod links;
mod manifests;
mod markdown;
mod modules;
mod paths;
mod project;
mod reach;
mod rooms;
mod rust;
mod sources;

use anyhow::{Result, bail};

use self::project::{Fault, Project, line_where};
use crate::print;
use crate::repo::Repo;

type Check = fn(&Project<'_>) -> Result<Vec<Fault>>;

const CHECKS: [Check; 10] = [
    arrows::check,
    circles::check,
    documents::check,
    generated::check,
    known::check,
    links::check,
    manifests::check,
    reach::check,
    rooms::check,
    sources::check,
];

/// Runs all checks and shows what they found.
pub(crate) fn run(repo: &Repo, write: bool) -> Result<()> {
    // Generated files first, where they are written: the links into them are checked as well.
    if write {
        generated::write(repo)?;
    }
    let project = Project::load(repo, write)?;
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
