//! Fields of bodies that are not known. They are ignored, as the contract says; but whoever misspells one should find out.
//! One look finds them, and the answer tells in two ways: of those that are nearly a known field, a header `warning` for
//! each, on every route; of all of them, on routes that take a workflow's definition, `warnings` in the answer's body, or a
//! refusal where the request asks for it ([`crate::http::context::Input::parse_definition`]).
//!
//! Which fields a body has is read from the API's description. A route with a fast path does not look: it passes over
//! what it does not know in both ways alike.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::response::Response;
use http::header::WARNING;
use http::request::Parts;
use http::{HeaderValue, Method};
use parking_lot::Mutex;
use serde_json::Value;
use signalbox_wire::fault::{Fault, Faults, SHOWN_MAX};
use signalbox_wire::nearest::nearest;
use utoipa::openapi::OpenApi;

use crate::http::docs::Describe;
use crate::http::on_demand::OnDemand;

/// Bytes of a body that is looked at.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Fields that the headers of one answer tell of.
const TOLD_MAX: usize = 5;
/// Characters of a field's name that are repeated.
const NAME_CHARS_MAX: usize = 64;
/// Letters of a name from which on a known one that begins or ends with it is taken for the one that was meant.
const PART_CHARS_MIN: usize = 4;
/// How deep schemas may refer to each other, and bodies are looked into.
const DEPTH_MAX: usize = 16;
/// Names that some bodies take beside the ones that are described.
const ALSO_TAKEN: [&str; 2] = ["sessionId", "taskId"];

/// The fields of each route's body, made when the first body is looked at; cheap to clone.
#[derive(Clone)]
pub(crate) struct BodyFields(OnDemand<Described>);

#[derive(Default)]
struct Described {
    /// The schema of a body, by path and method in lower case.
    bodies: HashMap<(String, String), Value>,
    /// The schemas that others refer to, by name.
    named: HashMap<String, Value>,
}

impl BodyFields {
    /// Those that an API's description tells of.
    pub(crate) fn of(describe: Describe) -> Self {
        Self(OnDemand::new(move || Described::of(&describe())))
    }

    /// What looks at the body of this request.
    pub(crate) async fn for_request(&self, parts: &Parts) -> Option<Look> {
        let told = parts.extensions.get::<Told>()?.clone();
        let path = parts.extensions.get::<MatchedPath>()?.as_str().to_owned();
        let key = (path, parts.method.as_str().to_ascii_lowercase());
        let described = self.0.get().await;
        if described.bodies.contains_key(&key) { Some(Look { described, key, told }) } else { None }
    }
}

/// Bodies of which each field that is not known is told, not only those that are nearly a known one: what is meant by
/// another name would be lost.
const TOLD_IN_FULL: [(&str, &str); 1] = [("/api/v1/agents/{agent_id}/commands", "post")];

/// Fields that are known and ignored on a route, and what is told of them.
const IGNORED: [(&str, &str, &str, &str); 1] = [(
    "/v1/agents/register",
    "post",
    "agentId",
    "the field /agentId was ignored: here the server chooses the id; POST /v1/agents takes one",
)];

/// What looks at one body.
pub(crate) struct Look {
    described: Arc<Described>,
    key: (String, String),
    told: Told,
}

impl Look {
    /// Looks at a body of JSON.
    pub(crate) fn at_json(&self, bytes: &[u8]) {
        if bytes.len() <= BODY_BYTES_MAX
            && let Ok(body) = serde_json::from_slice(bytes)
        {
            self.all(&body);
        }
    }

    /// Looks at a body of any size and answers what is not known in it.
    pub(crate) fn all(&self, body: &Value) -> Vec<Fault> {
        let unknown = self.described.unknown(&self.key, body);
        let mut told: Vec<String> = unknown.iter().filter_map(Unknown::slip).collect();
        told.extend(self.at_route(body, &unknown));
        told.truncate(TOLD_MAX);
        *self.told.0.lock() = told;
        faults_of(&unknown)
    }

    /// What headers tell on this route alone.
    fn at_route(&self, body: &Value, unknown: &[Unknown]) -> Vec<String> {
        let is_here = |path: &str, method: &str| self.key.0 == path && self.key.1 == method;
        let is_ignored = |field: &str| body.get(field).is_some();
        let ignored =
            IGNORED.iter().filter(|(path, method, field, _)| is_here(path, method) && is_ignored(field));
        let mut told: Vec<String> = ignored.map(|(.., text)| (*text).to_owned()).collect();
        if TOLD_IN_FULL.iter().any(|(path, method)| is_here(path, method)) {
            let others = unknown.iter().filter(|unknown| unknown.slip().is_none());
            told.extend(
                others.map(|unknown| format!("{} {}; it was ignored", unknown.pointer, unknown.message())),
            );
        }
        told
    }
}

/// What is not known in the body of a request with this path and method, by an API's description.
pub(crate) fn in_body(description: &OpenApi, (path, method): (&str, &str), body: &Value) -> Vec<Fault> {
    faults_of(&Described::of(description).unknown(&(path.to_owned(), method.to_owned()), body))
}

fn faults_of(unknown: &[Unknown]) -> Vec<Fault> {
    let mut faults = Faults::default();
    unknown.iter().for_each(|unknown| faults.add(unknown.pointer.as_str(), unknown.message()));
    faults.into_vec()
}

/// A field that is not known.
struct Unknown {
    pointer: String,
    /// Whether it is one that some bodies take beside those that are described.
    is_also_taken: bool,
    meant: Meant,
}

/// Which field was perhaps meant.
enum Meant {
    /// This one, misspelt.
    Misspelt(String),
    /// This one: its name begins or ends with the one that is not known, or the other way round.
    Part(String),
    /// Any of these.
    Any(Vec<String>),
}

impl Unknown {
    /// One that is called `name`, among `known` fields, in an object with the fields `given`.
    fn of<'a>(
        (name, pointer): (&str, String),
        known: impl Iterator<Item = &'a str>,
        given: &serde_json::Map<String, Value>,
    ) -> Self {
        let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
        let (plain_name, is_also_taken) = (plain(name), ALSO_TAKEN.contains(&name));
        let mut known: Vec<&str> = known.filter(|known| !given.contains_key(*known)).collect();
        known.sort_unstable_by_key(|known| (known.len(), *known));
        let same = known.iter().find(|known| plain(known) == plain_name).copied();
        let is_part = |known: &&&str| {
            let known = plain(known);
            let (short, long) =
                if known.len() < plain_name.len() { (&known, &plain_name) } else { (&plain_name, &known) };
            short.chars().count() >= PART_CHARS_MIN
                && (long.starts_with(short.as_str()) || long.ends_with(short.as_str()))
        };
        let meant = if let Some(meant) = same.or_else(|| nearest(name, known.iter().copied())) {
            Meant::Misspelt(meant.to_owned())
        } else if let Some(meant) = known.iter().find(is_part) {
            Meant::Part((*meant).to_owned())
        } else {
            Meant::Any(known.into_iter().map(str::to_owned).collect())
        };
        Self { pointer, is_also_taken, meant }
    }

    /// What a header tells of it, where it is nearly a known one.
    fn slip(&self) -> Option<String> {
        match &self.meant {
            Meant::Misspelt(meant) if !self.is_also_taken => Some(format!(
                "the field {} is not known and was ignored; did you mean '{meant}'?",
                self.pointer
            )),
            _ => None,
        }
    }

    /// What is told of it beside its pointer.
    fn message(&self) -> String {
        match &self.meant {
            Meant::Misspelt(meant) | Meant::Part(meant) => format!("is not known; did you mean '{meant}'?"),
            Meant::Any(known) if known.is_empty() => "is not known; leave it out".to_owned(),
            Meant::Any(known) => format!("is not known; there may also be {}", known.join(", ")),
        }
    }
}

impl Described {
    fn of(description: &OpenApi) -> Self {
        // What was made from the handlers' types can always be written.
        let mut description = serde_json::to_value(description).unwrap_or_default();
        let mut taken = |pointer: &str| match description.pointer_mut(pointer).map(Value::take) {
            Some(Value::Object(map)) => map,
            _ => serde_json::Map::new(),
        };
        let mut described =
            Self { named: taken("/components/schemas").into_iter().collect(), ..Self::default() };
        for (path, mut item) in taken("/paths") {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                if let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") {
                    described.bodies.insert((path.clone(), method.clone()), schema.take());
                }
            }
        }
        described
    }

    fn unknown(&self, key: &(String, String), body: &Value) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        if let Some(schema) = self.bodies.get(key) {
            self.look((schema, body), "", DEPTH_MAX, &mut unknown);
        }
        unknown
    }

    fn look(
        &self,
        (schema, value): (&Value, &Value),
        pointer: &str,
        depth: usize,
        unknown: &mut Vec<Unknown>,
    ) {
        // One more than is told of, so that the last says that there are more.
        if depth == 0 || unknown.len() > SHOWN_MAX {
            return;
        }
        match value {
            Value::Object(map) => {
                let mut known = HashMap::new();
                self.fields_of(schema, depth, &mut known);
                // What is described without fields may hold any.
                for (name, value) in map.iter().filter(|_| !known.is_empty()) {
                    let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
                    let pointer = format!("{pointer}/{}", shown.replace('~', "~0").replace('/', "~1"));
                    match known.get(name.as_str()) {
                        Some(schema) => self.look((schema, value), &pointer, depth - 1, unknown),
                        None => unknown.push(Unknown::of((name, pointer), known.keys().copied(), map)),
                    }
                }
            }
            Value::Array(items) => {
                let mut schemas = Vec::new();
                self.items_of(schema, depth, &mut schemas);
                for schema in schemas {
                    for (place, item) in items.iter().enumerate() {
                        self.look((schema, item), &format!("{pointer}/{place}"), depth - 1, unknown);
                    }
                }
            }
            _ => {}
        }
    }

    /// All fields that an object of this schema, or of one of those that it may be, can have.
    fn fields_of<'a>(&'a self, schema: &'a Value, depth: usize, known: &mut HashMap<&'a str, &'a Value>) {
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            known.insert(name, schema);
        }
        for part in self.parts_of(schema).filter(|_| depth > 0) {
            self.fields_of(part, depth - 1, known);
        }
    }

    fn items_of<'a>(&'a self, schema: &'a Value, depth: usize, items: &mut Vec<&'a Value>) {
        items.extend(schema.get("items"));
        for part in self.parts_of(schema).filter(|_| depth > 0) {
            self.items_of(part, depth - 1, items);
        }
    }

    /// The schemas that a schema is made of, or is one of.
    fn parts_of<'a>(&'a self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let named = reference.and_then(|path| self.named.get(path.rsplit('/').next().unwrap_or_default()));
        let listed = ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|kind| schema.get(kind)?.as_array());
        named.into_iter().chain(listed.flatten())
    }
}

/// What is told to whoever sent a request; put into its extensions before it is handled.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Whether requests of this method have bodies that may be looked at.
    pub(crate) fn is_for(method: &Method) -> bool {
        matches!(*method, Method::POST | Method::PUT | Method::PATCH)
    }

    /// Adds it to the answer.
    pub(crate) fn add_to(&self, response: &mut Response) {
        for slip in self.0.lock().drain(..) {
            let quotable = |letter: char| match letter {
                '"' | '\\' => '\'',
                letter if letter.is_ascii_graphic() || letter == ' ' => letter,
                _ => '?',
            };
            let text: String = slip.chars().map(quotable).collect();
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                response.headers_mut().append(WARNING, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unknown(body: &Value) -> Vec<Unknown> {
        let task = json!({"properties": {"taskId": {}, "parameters": {"type": "object"}, "nextTaskId": {}}});
        let named = HashMap::from([
            ("Task".to_owned(), task),
            ("Base".to_owned(), json!({"properties": {"id": {}}})),
        ]);
        let schema = json!({
            "allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {
                "initialPayload": {"type": "object"},
                "tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
                "notify": {"oneOf": [{"properties": {"url": {}}}, {"type": "null"}]}}}],
        });
        let mut unknown = Vec::new();
        Described { named, ..Described::default() }.look((&schema, body), "", DEPTH_MAX, &mut unknown);
        unknown
    }

    fn slips(body: &Value) -> Vec<String> {
        unknown(body).iter().filter_map(Unknown::slip).collect()
    }

    #[test]
    fn a_slip_is_told_wherever_it_is_and_what_is_free_is_left_alone() {
        let body = json!({"initialPaylod": {}, "tasks": [{"taskId": "a", "next_task_id": "b"}], "notify": {"ulr": ""}});
        let told = slips(&body);
        for part in [
            "/initialPaylod is not known and was ignored; did you mean 'initialPayload'?",
            "/tasks/0/next_task_id is not known and was ignored; did you mean 'nextTaskId'?",
            "/notify/ulr is not known and was ignored; did you mean 'url'?",
        ] {
            assert!(told.iter().any(|slip| slip.contains(part)), "{part}: {told:?}");
        }
        assert_eq!(told.len(), 3, "{told:?}");
        for body in [
            json!({"id": 1, "initialPayload": {"initialPaylod": 1, "taskid": 2}, "tasks": [{"parameters": {"x": 1}}]}),
            json!({"something": "else", "own": 1}),
            json!({"initialPayload": {}, "initial_payload": "one of its own beside it"}),
            json!([1, "x", null]),
        ] {
            assert_eq!(slips(&body), [""; 0], "{body}");
        }
    }

    #[test]
    fn all_that_is_not_known_is_found_with_what_was_perhaps_meant() {
        let body = json!({"payload": 1, "a/b": 2, "initialPayload": {"free": 1}, "notify": {"x": 1},
            "tasks": [{"param": {}, "sessionId": 1, "taskId": "a"}, {"parameters": {"free": 1}}]});
        let found: Vec<String> = unknown(&body)
            .iter()
            .map(|unknown| format!("{} {}", unknown.pointer, unknown.message()))
            .collect();
        assert_eq!(
            found,
            [
                "/a~1b is not known; there may also be id",
                "/notify/x is not known; there may also be url",
                "/payload is not known; there may also be id",
                "/tasks/0/param is not known; did you mean 'parameters'?",
                "/tasks/0/sessionId is not known; there may also be nextTaskId, parameters",
            ]
        );
        let part = unknown(&json!({"payload": 1}));
        assert_eq!(part[0].message(), "is not known; did you mean 'initialPayload'?");
    }

    #[test]
    fn an_answer_has_a_header_for_each() {
        let told = Told(Arc::new(Mutex::new(vec!["a \"b\" \u{e9}\r\nx: y".to_owned(), "c".to_owned()])));
        let mut response = Response::default();
        told.add_to(&mut response);
        let values: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(values, ["299 - \"a 'b' ???x: y\"", "299 - \"c\""]);
    }
}
