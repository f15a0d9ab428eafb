//! The exceptions from the rules about files, in `xtask/known.txt`: they can only become fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;

use super::{Fault, Project};

const LIST: &str = "xtask/known.txt";

/// A rule that has exceptions: its word in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A file that is in a circle.
    Circle,
    /// A use that goes up from one room to another.
    Arrow,
    /// A file of the server that is in no room.
    Room,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Circle => "circle",
            Self::Arrow => "arrow",
            Self::Room => "room",
        })
    }
}

impl Rule {
    const ALL: [Self; 3] = [Self::Circle, Self::Arrow, Self::Room];
}

/// Looks at the list itself: each line is a comment or an exception from a rule, and none stands there twice.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    Ok(malformed(&project.repo.read(LIST)?))
}

fn malformed(list: &str) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for (at, line) in list.lines().enumerate() {
        let has_rule = Rule::ALL.iter().any(|rule| line.starts_with(&format!("{rule} ")));
        if !has_rule && !line.starts_with('#') {
            let message = "names no rule; a line begins with `circle`, `arrow`, `room`, or `#` for a comment";
            faults.push(Fault::new(LIST, at + 1, message));
        } else if !seen.insert(line) {
            faults.push(Fault::new(LIST, at + 1, "stands in the list twice; take one of them out"));
        }
    }
    faults
}

/// The exceptions from one rule.
#[derive(Debug)]
pub(super) struct Known {
    prefix: String,
    /// Whether it was met, and its line.
    entries: BTreeMap<String, (bool, usize)>,
}

impl Known {
    pub(super) fn load(project: &Project<'_>, rule: Rule) -> Result<Self> {
        Ok(Self::parse(&project.repo.read(LIST)?, rule))
    }

    pub(super) fn parse(list: &str, rule: Rule) -> Self {
        let prefix = format!("{rule} ");
        let entry =
            |(at, line): (usize, &str)| Some((line.strip_prefix(&prefix)?.to_owned(), (false, at + 1)));
        let entries = list.lines().enumerate().filter_map(entry).collect();
        Self { prefix, entries }
    }

    /// Whether this is an exception, which is then no stale one.
    pub(super) fn has(&mut self, what: &str) -> bool {
        self.entries.get_mut(what).map(|(met, _)| *met = true).is_some()
    }

    /// A fault for each exception that was not met: there is nothing left to except. With `--write` it is taken out.
    pub(super) fn settle(&self, project: &Project<'_>) -> Result<Vec<Fault>> {
        let stale: Vec<Fault> = self.stale().collect();
        if !project.write || stale.is_empty() {
            return Ok(stale);
        }
        project.repo.write(LIST, &without(&project.repo.read(LIST)?, |line| self.is_stale(line)))?;
        Ok(Vec::new())
    }

    pub(super) fn stale(&self) -> impl Iterator<Item = Fault> {
        self.entries.iter().filter(|(_, (met, _))| !met).map(|(what, (_, line))| {
            let cure = "take the line out, or run `cargo xtask tidy --write`";
            Fault::new(LIST, *line, format!("{what} keeps the rule now; {cure}"))
        })
    }

    fn is_stale(&self, line: &str) -> bool {
        let what = line.strip_prefix(&self.prefix);
        what.is_some_and(|what| self.entries.get(what).is_some_and(|(met, _)| !met))
    }
}

fn without(text: &str, drop: impl Fn(&str) -> bool) -> String {
    text.lines().filter(|line| !drop(line)).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_excepts_nothing_is_found() {
        let lines = |list: &str| malformed(list).into_iter().map(|fault| fault.line).collect::<Vec<_>>();
        assert_eq!(lines("# Why.\ncircle a\nroom a\narrow a → b\n"), [0; 0]);
        assert_eq!(lines("circles a\ncircle a\n\ncircle a\n"), [1, 3, 4]);
    }

    #[test]
    fn only_what_was_not_met_is_taken_out() {
        let list = "# Exceptions.\ncircle a\nroom a\ncircle b\n";
        let mut known = Known::parse(list, Rule::Circle);
        assert!(known.has("b") && !known.has("c"));
        assert_eq!(without(list, |line| known.is_stale(line)), "# Exceptions.\nroom a\ncircle b\n");
    }
}
