//! Every Rust file says what it is for, and none holds leftovers.

use anyhow::Result;

use super::rust::{code_of, mentions};
use super::{Fault, Project};

const FOLDERS: [&str; 4] = ["bench/", "crates/", "python/src/", "xtask/"];

const LEFTOVERS: [&str; 3] = ["dbg", "todo", "unimplemented"];

/// Looks through the Rust files of all crates, tests included.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in project.files.iter().filter(|path| path.ends_with(".rs")) {
        if FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            faults.extend(check_file(path, &project.repo.read(path)?));
        }
    }
    Ok(faults)
}

fn check_file(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(Fault::new(path, 1, "opens without `//!`: say what the file is for"));
    }
    for (index, line) in code_of(text).lines().enumerate() {
        let mut found = |message: String| faults.push(Fault::new(path, index + 1, message));
        for name in LEFTOVERS {
            if mentions(line, name).any(|after| after.trim_start().starts_with('!')) {
                found(format!("`{name}!` is not for code that stays"));
            }
        }
        let dense: String = line.split_whitespace().collect();
        if ["#[allow(", "#![allow("].iter().any(|start| dense.contains(start)) {
            found("`allow` hides lints unseen; use `#[expect(lint, reason = \"…\")]`".to_owned());
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(text: &str) -> Vec<usize> {
        check_file("a.rs", text).into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        assert_eq!(lines("//! What it is for.\nfn f() {}\n"), NONE);
        assert_eq!(lines("fn f() {}\n"), [1]);
        assert_eq!(lines(""), [1]);
    }

    #[test]
    fn leftovers_are_found_in_code_only() {
        assert_eq!(lines("//! A.\nfn f() { dbg!(1); }\nfn g() { todo ! () }\n"), [2, 3]);
        assert_eq!(lines("//! Not dbg!().\n// todo!()\nconst A: &str = \"unimplemented!(\";\n"), NONE);
        assert_eq!(lines("//! A.\nfn f() { not_todo!() }\n"), NONE);
    }

    #[test]
    fn allow_is_found_as_an_attribute() {
        assert_eq!(lines("//! A.\n#[allow(dead_code)]\nfn f() {}\n"), [2]);
        assert_eq!(lines("//! A.\n#![allow (dead_code)]\nfn f() { allow(1) }\n"), [2]);
        assert_eq!(lines("//! A.\n#[expect(dead_code)]\nfn f() {}\n"), NONE);
    }
}
