//! The one list of surfaces. The router, the API's description, the fast path and the question which paths may be
//! called without a key all come from it; what each surface is, it says itself (its `SURFACE`).

use std::sync::Arc;

use axum::Router;
use serde_json::Value;
use signalbox_wire::fault::Fault;
use utoipa::openapi::OpenApi;

use crate::config::Config;
use crate::http::docs::{self, Describe};
use crate::http::fast_path::FastRoute;
use crate::http::unknown_fields;
use crate::surface::api_router::ApiRouter;
use crate::surface::description::Description;
use crate::surface::state::AppState;
use crate::surface::{agentkit, artcafe, opscore, process};

/// Every surface. A new one is a folder in `surface/`, a name in `config`, and a line here.
const ALL: [&Description; 4] = [&process::SURFACE, &agentkit::SURFACE, &opscore::SURFACE, &artcafe::SURFACE];

/// Those that a server with this configuration serves.
fn served(config: &Config) -> impl Iterator<Item = &'static Description> {
    ALL.into_iter().filter(|surface| surface.name.is_none_or(|name| config.serves(name)))
}

/// The routes of all surfaces that are served.
pub(crate) fn routes(config: &Config) -> Router<AppState> {
    merged(served(config)).into_router()
}

/// The fast routes of all surfaces that are served.
pub(crate) fn fast_routes(config: &Config, state: &AppState) -> Vec<FastRoute> {
    served(config).flat_map(|surface| (surface.fast_routes)(state)).collect()
}

/// What the paths of surfaces begin with that may be called without a key.
pub(crate) fn keyless() -> Vec<&'static str> {
    ALL.iter().filter(|surface| surface.is_keyless).flat_map(|surface| surface.prefixes).copied().collect()
}

/// What makes the description of what such a server serves.
pub(crate) fn describe(config: &Config) -> Describe {
    let served: Vec<&'static Description> = served(config).collect();
    Arc::new(move || description(served.iter().copied()))
}

/// The description of everything that can be served.
#[must_use]
pub fn openapi() -> OpenApi {
    description(ALL.into_iter())
}

/// What is wrong with a workflow's definition, as a server says that is asked to keep it with `?strict=true`.
#[must_use]
pub fn workflow_faults(definition: &Value) -> Vec<Fault> {
    let mut faults = opscore::workflow_faults(definition);
    faults.extend(unknown_fields::in_body(&openapi(), ("/v1/opscore/workflows", "post"), definition));
    faults
}

fn merged(surfaces: impl Iterator<Item = &'static Description>) -> ApiRouter {
    surfaces.fold(ApiRouter::new(), |routes, surface| routes.merge((surface.routes)()))
}

fn description(surfaces: impl Iterator<Item = &'static Description>) -> OpenApi {
    let mut description = merged(surfaces).describe(docs::empty());
    docs::complete(&mut description);
    description
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use clap::ValueEnum as _;
    use serde_json::Value;

    use super::*;
    use crate::config;

    /// Whether a path is `prefix` or under it.
    fn is_under(path: &str, prefix: &str) -> bool {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    #[test]
    fn every_path_is_under_a_prefix_of_its_surface_and_of_no_other() {
        for surface in ALL {
            let description = (surface.routes)().describe(docs::empty());
            assert!(!description.paths.paths.is_empty());
            for path in description.paths.paths.keys() {
                for other in ALL {
                    let is_its = other.prefixes.iter().any(|prefix| is_under(path, prefix));
                    assert_eq!(is_its, std::ptr::eq(surface, other), "{path}");
                }
            }
        }
    }

    #[test]
    fn no_two_schemas_have_one_name() {
        let mut known: HashMap<String, Value> = HashMap::new();
        for (name, schema) in merged(ALL.into_iter()).schemas() {
            let schema = serde_json::to_value(schema).expect("JSON");
            let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*first, schema, "{name}");
        }
        assert!(known.len() > 100, "{}", known.len());
    }

    #[test]
    fn every_name_that_an_operator_may_give_is_a_surface() {
        for name in config::Surface::value_variants() {
            assert_eq!(ALL.iter().filter(|surface| surface.name == Some(*name)).count(), 1, "{name:?}");
        }
    }

    /// Each operation of the description with its method, its path and its own JSON.
    fn operations() -> Vec<(String, String, Value)> {
        let description = serde_json::to_value(openapi()).expect("JSON");
        let paths = description["paths"].as_object().expect("paths");
        let each = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (method.clone(), path.clone(), operation.clone()))
        });
        each.collect()
    }

    #[test]
    fn every_part_of_a_path_that_stands_for_something_is_described_and_no_other() {
        for (method, path, operation) in operations() {
            let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            let mut expected: Vec<String> = parts.map(str::to_owned).collect();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let of_path = parameters.filter(|parameter| parameter["in"] == "path");
            let mut found: Vec<String> = of_path
                .map(|parameter| {
                    assert_eq!(parameter["required"], true, "{method} {path}");
                    parameter["name"].as_str().unwrap_or_default().to_owned()
                })
                .collect();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn every_operation_is_about_one_topic_and_has_a_name_of_its_own() {
        let description = serde_json::to_value(openapi()).expect("JSON");
        let topics: Vec<&Value> =
            description["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
        let (mut names, mut used) = (HashSet::new(), HashSet::new());
        for (method, path, operation) in operations() {
            let tags = operation["tags"].as_array().expect("tags");
            assert!(tags.len() == 1 && topics.contains(&&tags[0]), "{method} {path}: {tags:?}");
            used.insert(tags[0].to_string());
            assert!(names.insert(operation["operationId"].to_string()), "{method} {path}");
        }
        assert_eq!(used.len(), topics.len(), "no topic is there for nothing");
    }

    #[test]
    fn every_refusal_is_a_problem() {
        for (method, path, operation) in operations() {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let content = response["content"].as_object().into_iter().flatten();
                for (media, body) in content {
                    let is_problem = body["schema"]["$ref"] == "#/components/schemas/Problem";
                    assert_eq!(is_problem, media == "application/problem+json", "{method} {path} {status}");
                    assert!(!is_problem || !status.starts_with('2'), "{method} {path} {status}");
                }
            }
        }
    }

    #[test]
    fn only_the_agentkit_surface_is_keyless() {
        assert_eq!(keyless(), agentkit::SURFACE.prefixes);
    }
}
