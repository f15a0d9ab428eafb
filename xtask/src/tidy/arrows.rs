//! Which crate may know which: dependencies among the crates of the workspace point one way.

use anyhow::Result;

use super::graph::Member;
use super::{Fault, Project, manifests};

/// Every crate of the workspace, and the crates of the workspace that it may use.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("signalbox-wire", &[]),
    ("signalbox-core", &["signalbox-wire"]),
    ("signalbox-store", &["signalbox-core", "signalbox-wire"]),
    ("signalbox-bus", &["signalbox-wire"]),
    ("signalbox-server", &["signalbox-wire", "signalbox-core", "signalbox-store", "signalbox-bus"]),
    ("signalbox-client", &["signalbox-wire"]),
    ("signalbox", &["signalbox-server", "signalbox-client", "signalbox-wire"]),
    ("agentkit-native", &["signalbox-client", "signalbox-wire"]),
    ("bench", &["signalbox-client", "signalbox-core", "signalbox-store", "signalbox-wire"]),
    ("xtask", &[]),
];

/// Compares the table with what the manifests declare; dependencies of tests alone are free.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for broken in compare(&project.graph.members, &MAY_USE) {
        let text = project.repo.read(&broken.member.manifest)?;
        let line = manifests::line_of(&text, broken.what);
        faults.push(Fault::new(&broken.member.manifest, line, broken.message));
    }
    Ok(faults)
}

/// A crate that uses what it may not, or that the table does not know (`what` is then its own name).
struct Broken<'a> {
    member: &'a Member,
    what: &'a str,
    message: String,
}

fn compare<'a>(members: &'a [Member], table: &[(&str, &[&str])]) -> Vec<Broken<'a>> {
    let mut broken = Vec::new();
    for member in members {
        let Some((_, may_use)) = table.iter().find(|(name, _)| *name == member.name) else {
            let message =
                format!("the crate {} is not in the table of xtask/src/tidy/arrows.rs", member.name);
            broken.push(Broken { member, what: &member.name, message });
            continue;
        };
        let inside = |name: &str| members.iter().any(|other| other.name == name);
        for what in member.uses.iter().filter(|name| inside(name) && !may_use.contains(&name.as_str())) {
            let allowed = if may_use.is_empty() { "no other crate".to_owned() } else { may_use.join(", ") };
            let message =
                format!("{} may not use {what}; of the workspace it may use {allowed}", member.name);
            broken.push(Broken { member, what, message });
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [(&str, &[&str]); 3] = [("wire", &[]), ("core", &["wire"]), ("server", &["wire", "core"])];

    fn found(members: &[Member]) -> Vec<String> {
        compare(members, &TABLE).into_iter().map(|broken| broken.message).collect()
    }

    #[test]
    fn allowed_arrows_and_registry_crates_pass() {
        let wire = Member::example("wire", &["serde"]);
        let server = Member::example("server", &["wire", "core", "tokio"]);
        assert_eq!(found(&[wire, Member::example("core", &[]), server]), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_points_back_is_found() {
        let members = [Member::example("core", &["server", "wire"]), Member::example("server", &[])];
        assert_eq!(found(&members), ["core may not use server; of the workspace it may use wire"]);
    }

    #[test]
    fn a_crate_that_may_use_nothing_says_so() {
        let members = [Member::example("wire", &["core"]), Member::example("core", &[])];
        assert_eq!(found(&members), ["wire may not use core; of the workspace it may use no other crate"]);
    }

    #[test]
    fn a_new_crate_must_enter_the_table() {
        let faults = found(&[Member::example("extra", &[])]);
        assert_eq!(faults, ["the crate extra is not in the table of xtask/src/tidy/arrows.rs"]);
    }
}
