//! The documents that every visitor looks for.

use anyhow::Result;

use super::{Fault, Project};

const REQUIRED: [&str; 6] =
    ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"];

/// Each of them exists at the root.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let missing = REQUIRED.iter().filter(|path| !project.files.contains(**path));
    Ok(missing.map(|path| Fault::new(path, 1, "is missing or ignored by git")).collect())
}
