//! Reference pages that the binary prints about itself are in the repository as it prints them.

use std::process::Output;

use anyhow::{Context, Result, bail};

use super::{Fault, Project};
use crate::print;
use crate::repo::{self, Repo};

/// What `signalbox reference` is asked for, and the file that holds the answer.
const PAGES: [(&str, &str); 4] = [
    ("cli", "docs/reference/cli.md"),
    ("config", "docs/reference/configuration.md"),
    ("openapi", "docs/reference/openapi.json"),
    ("problems", "docs/reference/problems.md"),
];

/// Compares each page with what the binary prints.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    if project.write {
        return Ok(Vec::new()); // they were written a moment ago
    }
    let mut faults = Vec::new();
    for (topic, path) in PAGES {
        let fault = match print_page(project.repo, topic) {
            Err(error) => Some(Fault::new(path, 1, format!("cannot be compared: {error:#}"))),
            Ok(printed) if !project.files.contains(path) => {
                let size = printed.len();
                Some(Fault::new(
                    path,
                    1,
                    format!("is missing ({size} bytes); run `cargo xtask tidy --write`"),
                ))
            }
            Ok(printed) => compare(path, &project.repo.read(path)?, &printed),
        };
        faults.extend(fault);
    }
    Ok(faults)
}

/// Renews each page that differs.
pub(super) fn write(repo: &Repo) -> Result<()> {
    for (topic, path) in PAGES {
        let printed = print_page(repo, topic).with_context(|| format!("cannot renew {path}"))?;
        if repo.read(path).ok().as_ref() != Some(&printed) {
            repo.write(path, &printed)?;
            print::notice(&format!("wrote {path}"));
        }
    }
    Ok(())
}

fn print_page(repo: &Repo, topic: &str) -> Result<String> {
    let mut cargo = repo.cargo();
    cargo.args(["run", "--quiet", "--package", "signalbox", "--", "reference", topic]);
    let shown = repo::shown(&cargo);
    let output = cargo.output().with_context(|| format!("cannot start `{shown}`"))?;
    page(output).with_context(|| format!("`{shown}`"))
}

/// A page is printed only by success; an empty one comes from a binary that does not know the sub-command.
fn page(output: Output) -> Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().find(|line| line.starts_with("error")).or_else(|| said.lines().last());
        bail!("failed with {}: {}", output.status, reason.unwrap_or("it gave no reason"));
    }
    if output.stdout.trim_ascii().is_empty() {
        bail!("printed nothing");
    }
    String::from_utf8(output.stdout).context("did not print UTF-8")
}

fn compare(path: &str, kept: &str, printed: &str) -> Option<Fault> {
    if kept == printed {
        return None;
    }
    let same = kept.split_inclusive('\n').zip(printed.split_inclusive('\n')).take_while(|(a, b)| a == b);
    let message = "differs from what the binary prints; run `cargo xtask tidy --write`";
    Some(Fault::new(path, same.count() + 1, message))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn page_of(script: &str) -> Result<String> {
        page(Command::new("sh").args(["-c", script]).output().unwrap())
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(compare("p", "a\nb\n", "a\nb\n"), None);
        for (kept, line) in [("a\nx\n", 2), ("a\nb\nc\n", 3), ("a\nb", 2), ("", 1)] {
            assert_eq!(compare("p", kept, "a\nb\n").map(|fault| fault.line), Some(line), "{kept:?}");
        }
    }

    #[test]
    fn a_binary_that_does_not_know_the_page_is_an_error() {
        assert_eq!(page_of("echo '# Page'").unwrap(), "# Page\n");
        assert_eq!(page_of("true").unwrap_err().to_string(), "printed nothing");
        let refused =
            page_of("echo 'error: unrecognized subcommand' >&2; echo usage >&2; exit 2").unwrap_err();
        assert_eq!(refused.to_string(), "failed with exit status: 2: error: unrecognized subcommand");
    }
}
