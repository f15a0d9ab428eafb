//! Files of a crate that need each other in a circle: none of them can be understood, tested or moved alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::known::{Known, Rule};
use super::modules::Use;
use super::{Fault, Project};

/// Looks at every crate.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut known = Known::load(project, Rule::Circle)?;
    let circles = project.crates.iter().flat_map(|one| circles(&one.uses));
    let mut faults: Vec<Fault> = circles.flat_map(|circle| told(&circle, &mut known)).collect();
    faults.extend(known.settle(project)?);
    Ok(faults)
}

/// The files that can reach each other, and the uses among them.
struct Circle {
    uses: Vec<Use>,
}

/// A short way round for each file that is not known to be in a circle; a way tells of all files on it.
fn told(circle: &Circle, known: &mut Known) -> Vec<Fault> {
    let files: BTreeSet<&str> = circle.uses.iter().map(|one| one.from.as_str()).collect();
    let mut told: BTreeSet<&str> = files.iter().copied().filter(|file| known.has(file)).collect();
    let mut faults = Vec::new();
    for file in &files {
        if told.contains(file) {
            continue;
        }
        let way = way(&circle.uses, file);
        told.extend(way.iter().map(|one| one.from.as_str()));
        let line = way.first().map_or(1, |first| first.line);
        let way: String =
            way.iter().map(|one| format!("\n    {}:{} uses {}", one.from, one.line, one.to)).collect();
        faults.push(Fault::new(file, line, format!("circle of {} files; {CURE}:{way}", files.len())));
    }
    faults
}

const CURE: &str = "move what two of them need into a file below both, or pass it in as an argument";

/// The shortest way from a file back to itself.
fn way<'a>(uses: &'a [Use], file: &str) -> Vec<&'a Use> {
    let mut ways: Vec<Vec<&Use>> = uses.iter().filter(|one| one.from == file).map(|one| vec![one]).collect();
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let Some(last) = way.last() else { continue };
            if last.to == file {
                return way;
            }
            if seen.insert(&last.to) {
                let next = uses.iter().filter(|one| one.from == last.to);
                longer.extend(next.map(|one| way.iter().copied().chain([one]).collect::<Vec<_>>()));
            }
        }
        ways = longer;
    }
    Vec::new()
}

/// Groups of files each of which reaches all others of its group.
fn circles(uses: &[Use]) -> Vec<Circle> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in uses {
        next.entry(&one.from).or_default().push(&one.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        next.keys().map(|file| (*file, reach(&next, file))).collect();
    let mutual = |one: &str, other: &str| {
        let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
        reaches(one, other) && reaches(other, one)
    };
    let mut circles: BTreeMap<&str, Circle> = BTreeMap::new();
    for one in uses.iter().filter(|one| mutual(&one.from, &one.to)) {
        // The first file by name stands for its group.
        let first = next.keys().find(|file| mutual(file, &one.from)).copied().unwrap_or(&one.from);
        circles.entry(first).or_insert_with(|| Circle { uses: Vec::new() }).uses.push(one.clone());
    }
    circles.into_values().collect()
}

fn reach<'a>(next: &BTreeMap<&'a str, Vec<&'a str>>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<&str> = next.get(file).cloned().unwrap_or_default();
    while let Some(one) = waiting.pop() {
        if reached.insert(one) {
            waiting.extend(next.get(one).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(pairs: &[(&str, &str)]) -> Vec<Use> {
        let one = |(from, to): &(&str, &str)| Use { from: (*from).to_owned(), to: (*to).to_owned(), line: 7 };
        pairs.iter().map(one).collect()
    }

    fn found(pairs: &[(&str, &str)], known: &str) -> Vec<String> {
        let mut known = Known::parse(known, Rule::Circle);
        let circles = circles(&uses(pairs));
        let faults = circles.iter().flat_map(|circle| told(circle, &mut known)).collect::<Vec<_>>();
        faults.into_iter().chain(known.stale()).map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn a_circle_is_told_once_by_the_shortest_way_round() {
        let pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("d", "a"), ("c", "e")];
        let told = |first: &str, way: &str| format!("{first}:7: circle of 3 files; {CURE}:{way}");
        let round = "\n    a:7 uses b\n    b:7 uses c\n    c:7 uses a";
        assert_eq!(found(&pairs, ""), [told("a", round)]);
        assert_eq!(found(&pairs, "circle a\n"), [told("b", "\n    b:7 uses c\n    c:7 uses b")]);
    }

    #[test]
    fn two_circles_are_apart_and_layers_are_none() {
        assert_eq!(circles(&uses(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")])).len(), 2);
        assert_eq!(found(&[("a", "b"), ("a", "c"), ("b", "c")], ""), [""; 0]);
    }

    #[test]
    fn known_files_are_passed_over_and_an_entry_too_many_is_a_fault() {
        let list = "circle a\ncircle b\nroom c\ncircle c\n";
        let stale =
            "xtask/known.txt:4: c keeps the rule now; take the line out, or run `cargo xtask tidy --write`";
        assert_eq!(found(&[("a", "b"), ("b", "a")], list), [stale]);
        assert_eq!(found(&[("a", "b"), ("b", "a")], "circle a\n").len(), 1);
    }
}
