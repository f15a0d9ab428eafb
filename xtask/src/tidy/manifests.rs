//! Every dependency has its version and its reason in one place: the table of the workspace.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Fault, Project, line_where};

const WORKSPACE: &str = "Cargo.toml";
const SECTION: &str = "[workspace.dependencies]";
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Looks through the manifest of the workspace and those of its crates.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut faults = check_workspace(&project.repo.read(WORKSPACE)?)?;
    for member in &project.graph.members {
        faults.extend(check_crate(&member.manifest, &project.repo.read(&member.manifest)?)?);
    }
    Ok(faults)
}

/// The line of a manifest that brings in a dependency.
pub(super) fn line_of(text: &str, dependency: &str) -> usize {
    line_where(text, |line| key(line) == Some(dependency) || is_section_of(line, dependency))
}

fn check_workspace(text: &str) -> Result<Vec<Fault>> {
    let manifest = parse(WORKSPACE, text)?;
    let section = line_where(text, |line| line.trim() == SECTION);
    let dependencies = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let mut faults = Vec::new();
    for (name, dependency) in dependencies.and_then(Value::as_table).into_iter().flatten() {
        if dependency.get("path").is_some() {
            continue;
        }
        let place = text.lines().enumerate().skip(section).find(|(_, line)| key(line) == Some(name));
        match place {
            Some((_, line)) if has_reason(line) => {}
            Some((index, _)) => {
                let message = format!("{name} has no reason; end its line with `# what it is for`");
                faults.push(Fault::new(WORKSPACE, index + 1, message));
            }
            None => {
                let message = format!("{name} is not on one line with its reason below {SECTION}");
                faults.push(Fault::new(WORKSPACE, section, message));
            }
        }
    }
    Ok(faults)
}

fn check_crate(path: &str, text: &str) -> Result<Vec<Fault>> {
    let manifest = parse(path, text)?;
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = std::iter::once(&manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    let mut faults = Vec::new();
    for table in tables {
        for (name, dependency) in KINDS.iter().filter_map(|kind| table.get(*kind)?.as_table()).flatten() {
            if dependency.is_str() || ["version", "git"].iter().any(|word| dependency.get(word).is_some()) {
                let line = line_of(text, name);
                let message =
                    format!("{name} has a version; put it into {SECTION} and use `workspace = true`");
                faults.push(Fault::new(path, line, message));
            }
        }
    }
    Ok(faults)
}

fn parse(path: &str, text: &str) -> Result<Table> {
    text.parse::<Table>().with_context(|| format!("{path} is not TOML"))
}

/// The name before the first `.` or `=` of a line.
fn key(line: &str) -> Option<&str> {
    let (name, _) = line.split_once(['.', '='])?;
    Some(name.trim().trim_matches('"'))
}

fn is_section_of(line: &str, name: &str) -> bool {
    line.trim().strip_suffix(']').is_some_and(|section| section.ends_with(&format!(".{name}")))
}

/// Whether a comment with words in it follows the value; a `#` between quotes is part of the value.
fn has_reason(line: &str) -> bool {
    let outside_quotes = line.split('"').step_by(2);
    let mut comments = outside_quotes.filter_map(|piece| piece.split_once('#'));
    comments.next().is_some_and(|(_, comment)| !comment.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[workspace.dependencies]\n\
            own = { path = \"crates/own\" }\n\
            a = \"1\" # for a\n\
            b = { version = \"2\", features = [\"x#y\"] }\n\
            c = \"3\" #\n";
        let lines: Vec<usize> = check_workspace(text).unwrap().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [4, 5]);
    }

    #[test]
    fn a_dependency_in_a_section_of_its_own_is_found() {
        let text =
            "[workspace.dependencies]\na = \"1\" # for a\n[workspace.dependencies.b]\nversion = \"2\"\n";
        let faults = check_workspace(text).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.starts_with("b is not on one line"), "{}", faults[0]);
    }

    #[test]
    fn a_version_in_a_crate_is_found() {
        let text = "[package]\nversion = \"1.0.0\"\n\
            [dependencies]\na.workspace = true\nb = \"2\"\nc = { workspace = true, features = [\"x\"] }\n\
            [dev-dependencies]\nd = { version = \"1\" }\n\
            [target.'cfg(unix)'.dependencies.e]\ngit = \"https://example.org\"\n";
        let found = check_crate("crates/a/Cargo.toml", text).unwrap();
        let mut lines: Vec<usize> = found.iter().map(|fault| fault.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [5, 8, 9]);
    }
}
