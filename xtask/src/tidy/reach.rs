//! What a crate must not reach by any way: the engine decides without a runtime, a network or a database.

use anyhow::Result;

use super::{Fault, Project, manifests};

/// Crates, and packages that are not to be found anywhere below them.
const NEVER: [(&str, &[&str]); 2] = [
    ("signalbox-core", &["axum", "hyper", "rusqlite", "tokio", "tokio-postgres"]),
    ("signalbox-wire", &["axum", "tokio"]),
];

/// Walks the resolved dependencies, in which features are united over the whole workspace.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for (name, never) in NEVER {
        for member in project.graph.members.iter().filter(|member| member.name == name) {
            for way in never.iter().filter_map(|target| project.graph.way(member, target)) {
                let text = project.repo.read(&member.manifest)?;
                let line = way.get(1).map_or(1, |first| manifests::line_of(&text, first));
                let message = format!("must not reach {}: {}", way[way.len() - 1], way.join(" → "));
                faults.push(Fault::new(&member.manifest, line, message));
            }
        }
    }
    Ok(faults)
}
