//! The crates of the workspace and what they depend on, as `cargo metadata` tells it.
//!
//! [`Graph`] has two views: what a [`Member`] declares, and what it reaches through all dependencies.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::repo::{self, Repo};

/// The resolved dependencies; development dependencies are left out.
pub(super) struct Graph {
    pub(super) members: Vec<Member>,
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

/// A crate of the workspace.
pub(super) struct Member {
    pub(super) name: String,
    /// Its `Cargo.toml`.
    pub(super) manifest: String,
    /// The names of all that it declares, registry crates included.
    pub(super) uses: Vec<String>,
    id: String,
}

impl Graph {
    /// Asks cargo.
    pub(super) fn load(repo: &Repo) -> Result<Self> {
        let mut cargo = repo.cargo();
        cargo.args(["metadata", "--format-version", "1"]);
        let shown = repo::shown(&cargo);
        let told = cargo.output().with_context(|| format!("cannot start `{shown}`"))?;
        if !told.status.success() {
            bail!("`{shown}` failed: {}", String::from_utf8_lossy(&told.stderr).trim());
        }
        Self::parse(&serde_json::from_slice(&told.stdout)?)
            .with_context(|| format!("`{shown}` answered in a form that is not known here"))
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let root = metadata["workspace_root"].as_str()?;
        let member_ids = metadata["workspace_members"].as_array()?;
        let mut graph = Self { members: Vec::new(), names: BTreeMap::new(), edges: BTreeMap::new() };
        for package in metadata["packages"].as_array()? {
            let (id, name) = (text(&package["id"])?, text(&package["name"])?);
            if member_ids.contains(&package["id"]) {
                let manifest = package["manifest_path"].as_str()?.strip_prefix(root)?;
                let manifest = manifest.trim_start_matches('/').to_owned();
                let declared = package["dependencies"].as_array()?.iter();
                let uses = declared.filter(|one| one["kind"] != "dev").map(|one| text(&one["name"]));
                let (uses, id) = (uses.collect::<Option<_>>()?, id.clone());
                graph.members.push(Member { name: name.clone(), manifest, uses, id });
            }
            graph.names.insert(id, name);
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let normal = |dependency: &&Value| {
                let kinds = dependency["dep_kinds"].as_array();
                kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
            };
            let used = node["deps"].as_array()?.iter().filter(normal).map(|one| text(&one["pkg"]));
            graph.edges.insert(text(&node["id"])?, used.collect::<Option<_>>()?);
        }
        Some(graph)
    }

    /// The shortest way from a member to a package of the name `target`, both ends included.
    pub(super) fn way(&self, from: &Member, target: &str) -> Option<Vec<&str>> {
        let mut reached_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from.id.as_str(), None)]);
        let mut waiting = VecDeque::from([from.id.as_str()]);
        while let Some(id) = waiting.pop_front() {
            if self.names.get(id).is_some_and(|name| name == target) {
                let back = std::iter::successors(Some(id), |id| reached_from.get(id).copied().flatten());
                let mut way: Vec<&str> =
                    back.filter_map(|id| self.names.get(id)).map(String::as_str).collect();
                way.reverse();
                return Some(way);
            }
            for next in self.edges.get(id).into_iter().flatten() {
                reached_from.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    Some(id)
                });
            }
        }
        None
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
impl Member {
    /// A member as the checks see it, without cargo.
    pub(super) fn example(name: &str, uses: &[&str]) -> Self {
        let manifest = format!("crates/{name}/Cargo.toml");
        let uses = uses.iter().map(|&name| name.to_owned()).collect();
        Self { name: name.to_owned(), manifest, uses, id: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Graph {
        let package = |name: &str, dependencies: Value| {
            json!({"id": format!("id-{name}"), "name": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
                   "dependencies": dependencies})
        };
        let edge =
            |name: &str, kind: Value| json!({"pkg": format!("id-{name}"), "dep_kinds": [{"kind": kind}]});
        let uses = json!([{"name": "a", "kind": null}, {"name": "t", "kind": "dev"}]);
        let nodes = json!([
            {"id": "id-core", "deps": [edge("a", Value::Null), edge("t", "dev".into())]},
            {"id": "id-a", "deps": [edge("b", Value::Null), edge("core", Value::Null)]},
            {"id": "id-b", "deps": []},
            {"id": "id-t", "deps": []},
        ]);
        let none = || json!([]);
        let packages =
            json!([package("core", uses), package("a", none()), package("b", none()), package("t", none())]);
        let metadata = json!({"workspace_root": "/w", "workspace_members": ["id-core"], "packages": packages,
                              "resolve": {"nodes": nodes}});
        Graph::parse(&metadata).unwrap()
    }

    #[test]
    fn members_declare_what_is_not_for_tests_alone() {
        let graph = example();
        assert_eq!(graph.members.len(), 1);
        let core = &graph.members[0];
        assert_eq!((core.name.as_str(), core.manifest.as_str()), ("core", "core/Cargo.toml"));
        assert_eq!(core.uses, ["a"]);
    }

    #[test]
    fn a_way_leads_through_normal_dependencies() {
        let graph = example();
        let core = &graph.members[0];
        assert_eq!(graph.way(core, "b"), Some(vec!["core", "a", "b"]));
        assert_eq!(graph.way(core, "t"), None);
        assert_eq!(graph.way(core, "unknown"), None);
    }
}
