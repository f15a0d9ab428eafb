//! What routes there are, and which parameters each takes in its query: made from the API's description, which names
//! the parameters of every handler.
//!
//! A parameter that a route does not know is refused: a filter with a typing error must not come to mean everything. It
//! is looked for where a caller becomes known ([`crate::http::context::Context`]), so that a request without a good key
//! learns nothing else. What is asked without a key (health, metrics) or believed by its signature (webhooks) comes from
//! programs that add parameters of their own, and is not looked at.

use std::collections::HashMap;

use axum::extract::MatchedPath;
use http::Method;
use http::request::Parts;
use signalbox_wire::fault::Faults;
use signalbox_wire::nearest::nearest;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use crate::http::docs::Describe;
use crate::http::on_demand::OnDemand;
use crate::http::problem::Refusal;

/// Characters of an unknown parameter that its refusal repeats.
const SHOWN_CHARS_MAX: usize = 100;

/// Every route with its parameters, made when it is first looked at; cheap to clone.
#[derive(Clone)]
pub(crate) struct RouteTable(OnDemand<Routes>);

/// The methods of each path.
struct Routes(HashMap<String, Methods>);

/// The parameters of one path, by method.
type Methods = Vec<(Method, Vec<String>)>;

impl RouteTable {
    /// Those that an API's description tells of.
    pub(crate) fn of(describe: Describe) -> Self {
        Self(OnDemand::new(move || Routes::of(&describe())))
    }

    /// Refuses a request whose query has a parameter that its route does not know.
    pub(crate) async fn check(&self, parts: &Parts) -> Result<(), Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        if query.is_empty() {
            return Ok(());
        }
        let routes = self.0.get().await;
        let Some(known) = routes.known(parts) else { return Ok(()) };
        let mut faults = Faults::default();
        for (key, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if !known.iter().any(|name| *name == key) {
                let shown: String = key.chars().take(SHOWN_CHARS_MAX).collect();
                faults.add(format!("/{}", shown.replace('~', "~0").replace('/', "~1")), told(&key, known));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.into_vec().into()) }
    }

    /// The path that was perhaps meant by one that there is not, with its own parameters.
    pub(crate) async fn nearest_path(&self, path: &str) -> Option<String> {
        self.0.get().await.nearest_path(path)
    }
}

impl Routes {
    fn of(description: &OpenApi) -> Self {
        Self(description.paths.paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect())
    }

    fn nearest_path(&self, path: &str) -> Option<String> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.len() > SHOWN_CHARS_MAX || path.contains('%') {
            return None;
        }
        let like: Vec<String> = self.0.keys().filter_map(|route| filled(route, path)).collect();
        if let Some(same) = like.iter().find(|other| *other == path) {
            return Some(same.clone());
        }
        nearest(path, like.iter().map(String::as_str)).map(str::to_owned)
    }

    fn known(&self, parts: &Parts) -> Option<&[String]> {
        let path = parts.extensions.get::<MatchedPath>()?;
        let methods = self.0.get(path.as_str())?;
        // What answers GET answers HEAD.
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        methods.iter().find(|(of, _)| of == method).map(|(_, known)| known.as_slice())
    }
}

/// A route with the parameters that a path of as many segments has in their places.
fn filled(route: &str, path: &str) -> Option<String> {
    if route.split('/').count() != path.split('/').count() {
        return None;
    }
    let segments = route.split('/').zip(path.split('/'));
    let filled = segments.map(|(of_route, given)| if of_route.starts_with('{') { given } else { of_route });
    Some(filled.collect::<Vec<&str>>().join("/"))
}

fn methods(item: &PathItem) -> Methods {
    let each = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let each = each.into_iter();
    each.filter_map(|(method, operation)| Some((method, names(operation.as_ref()?)))).collect()
}

fn names(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let of_query = parameters.filter(|parameter| matches!(parameter.parameter_in, ParameterIn::Query));
    of_query.map(|parameter| parameter.name.clone()).collect()
}

fn told(key: &str, known: &[String]) -> String {
    let Some((last, others)) = known.split_last() else {
        return "is not a parameter of this request, which takes none in its query; leave it out".to_owned();
    };
    let listed = match others {
        [] => last.clone(),
        others => format!("{} and {last}", others.join(", ")),
    };
    let meant = match nearest(key, known.iter().map(String::as_str)) {
        Some(meant) => format!("; did you mean '{meant}'?"),
        None => String::new(),
    };
    format!("is not a parameter of this request, which takes {listed}{meant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_path_that_is_nearly_one_is_told_with_its_parameters() {
        let routes = ["/v1/agents", "/v1/agents/{agentId}", "/v1/opscore/agent/{agentId}/state", "/v1/keys"];
        let table = routes.map(|route| (route.to_owned(), Vec::new()));
        let table = Routes(table.into_iter().collect());
        let meant = |path: &str| table.nearest_path(path);
        assert_eq!(meant("/v1/agent").as_deref(), Some("/v1/agents"));
        assert_eq!(meant("/v1/agents/").as_deref(), Some("/v1/agents"));
        assert_eq!(meant("/v1/opscore/agents/agt_1/state").as_deref(), Some("/v1/opscore/agent/agt_1/state"));
        for path in ["/", "/nowhere", "/v1", "/v1/opscore/agent/a/b/c", "/v1/%61gent"] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[test]
    fn a_refusal_tells_what_there_is_and_what_was_meant() {
        assert_eq!(
            told("agnt", &strings(&["agent", "kind", "since"])),
            "is not a parameter of this request, which takes agent, kind and since; did you mean 'agent'?"
        );
        assert_eq!(told("x", &strings(&["limit"])), "is not a parameter of this request, which takes limit");
        assert!(told("x", &[]).contains("takes none"));
    }
}
