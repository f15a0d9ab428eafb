//! Relative links in Markdown lead to a file of the repository, and their fragments to an anchor in it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::markdown::Document;
use super::{Fault, Project};

/// Follows every relative link of every Markdown file.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut documents = BTreeMap::new();
    for path in project.files.iter().filter(|path| is_markdown(path)) {
        documents.insert(path.as_str(), Document::parse(&project.repo.read(path)?));
    }
    Ok(broken(&documents, &project.files))
}

fn broken(documents: &BTreeMap<&str, Document>, files: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, document) in documents {
        for link in document.links.iter().filter(|link| !is_external(&link.target)) {
            if let Err(reason) = follow(path, &link.target, documents, files) {
                faults.push(Fault::new(path, link.line, format!("link `{}`: {reason}", link.target)));
            }
        }
    }
    faults
}

fn follow(
    from: &str,
    target: &str,
    documents: &BTreeMap<&str, Document>,
    files: &BTreeSet<String>,
) -> Result<(), String> {
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = decoded(path.split('?').next().unwrap_or(path));
    if path.is_empty() && fragment.is_empty() && target != "#" {
        return Err("leads nowhere".to_owned());
    }
    let to = match path.as_str() {
        "" => from.to_owned(),
        path => resolved(from, path).ok_or("leaves the repository")?,
    };
    let folder = format!("{to}/");
    if !to.is_empty() && !files.contains(&to) && !files.iter().any(|file| file.starts_with(&folder)) {
        return Err(format!("the repository has no {to}"));
    }
    match documents.get(to.as_str()) {
        Some(document) if !fragment.is_empty() && !document.anchors.contains(&decoded(fragment)) => {
            Err(format!("{to} has no heading #{fragment}"))
        }
        _ => Ok(()),
    }
}

fn is_markdown(path: &str) -> bool {
    path.ends_with(".md")
}

/// Whether a target begins with a scheme or a host.
fn is_external(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    let begins_with_letter = scheme.starts_with(|one: char| one.is_ascii_alphabetic());
    let is_scheme = scheme.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '+' | '-' | '.'));
    target.starts_with("//") || begins_with_letter && is_scheme
}

/// The path from the root; `None` for one that climbs above it. A leading slash is the root, as on GitHub.
fn resolved(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => from.rsplit_once('/').map_or_else(Vec::new, |(folder, _)| folder.split('/').collect()),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// With `%20` and its like as the characters that they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of `text` as `docs/page.md` beside a few other files.
    fn check(text: &str) -> Vec<String> {
        let others = [("README.md", "# Signalbox\n## First steps\n"), ("docs/with space.md", "")];
        let mut documents: BTreeMap<&str, Document> =
            others.into_iter().map(|(path, text)| (path, Document::parse(text))).collect();
        documents.insert("docs/page.md", Document::parse(text));
        let mut files: BTreeSet<String> = documents.keys().map(|&path| path.to_owned()).collect();
        files.insert("docs/images/a.png".to_owned());
        broken(&documents, &files).iter().map(Fault::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# Here\n[a](../README.md) [b](../README.md#first-steps) [c](#here) [d](/README.md)\n\
            [e](images) [f](images/) [g](./images/a.png?raw=true) [h](with%20space.md) [i](..)\n\
            [j](https://example.org/x) [k](mailto:a@example.org) [l](//example.org)\n";
        assert_eq!(check(text), Vec::<String>::new());
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for (target, reason) in [
            ("gone.md", "the repository has no docs/gone.md"),
            ("README.md", "the repository has no docs/README.md"),
            ("../README.md#last-steps", "README.md has no heading #last-steps"),
            ("#there", "docs/page.md has no heading #there"),
            ("../../x.md", "leaves the repository"),
            ("", "leads nowhere"),
        ] {
            let found = check(&format!("# Here\n\n[a]({target})\n"));
            assert_eq!(found, [format!("docs/page.md:3: link `{target}`: {reason}")]);
        }
    }

    #[test]
    fn code_is_not_followed() {
        assert_eq!(check("`[a](gone.md)`\n\n```\n[a](gone.md)\n```\n"), Vec::<String>::new());
    }
}
