//! Fields of bodies that are nearly one that there is. Unknown fields are ignored, as the contract says; but whoever
//! misspells one should find out, so the answer says what was ignored: a header `warning` for each.
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
use signalbox_wire::nearest::nearest;
use utoipa::openapi::OpenApi;

use crate::http::docs::Describe;
use crate::http::on_demand::OnDemand;

/// Bytes of a body that is looked at.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Fields that one answer tells of.
const TOLD_MAX: usize = 5;
/// Characters of a field's name that are repeated.
const NAME_CHARS_MAX: usize = 64;
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
            self.at(&body, bytes.len());
        }
    }

    /// Looks at a body that was so many bytes.
    pub(crate) fn at(&self, body: &Value, bytes: usize) {
        if bytes <= BODY_BYTES_MAX
            && let Some(schema) = self.described.bodies.get(&self.key)
        {
            let mut slips = Vec::new();
            self.described.look((schema, body), "", DEPTH_MAX, &mut slips);
            self.at_route((schema, body), &mut slips);
            *self.told.0.lock() = slips;
        }
    }
}

impl Look {
    /// What is told on this route alone.
    fn at_route(&self, (schema, body): (&Value, &Value), slips: &mut Vec<String>) {
        let Some(given) = body.as_object() else { return };
        let is_here = |path: &str, method: &str| self.key.0 == path && self.key.1 == method;
        let ignored = IGNORED.iter().filter(|(path, method, ..)| is_here(path, method));
        slips.extend(
            ignored
                .filter(|(_, _, field, _)| given.contains_key(*field))
                .map(|(.., text)| (*text).to_owned()),
        );
        if TOLD_IN_FULL.iter().any(|(path, method)| is_here(path, method)) {
            let mut known = HashMap::new();
            self.described.fields_of(schema, DEPTH_MAX, &mut known);
            slips.extend(unknown(given, &known));
            slips.truncate(TOLD_MAX);
        }
    }
}

/// What is told of fields that are nearly no known one.
fn unknown(given: &serde_json::Map<String, Value>, known: &HashMap<&str, &Value>) -> Vec<String> {
    let mut names: Vec<&str> = known.keys().copied().collect();
    names.sort_unstable();
    let is_unknown = |name: &&String| {
        !known.contains_key(name.as_str()) && slip(name, "", names.iter().copied(), given).is_none()
    };
    let told = given.keys().filter(is_unknown).map(|name| {
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        format!("the field /{name} is not known and was ignored; there are {}", names.join(", "))
    });
    told.collect()
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

    fn look(&self, (schema, value): (&Value, &Value), pointer: &str, depth: usize, slips: &mut Vec<String>) {
        if depth == 0 || slips.len() >= TOLD_MAX {
            return;
        }
        match value {
            Value::Object(map) => {
                let mut known = HashMap::new();
                self.fields_of(schema, depth, &mut known);
                for (name, value) in map {
                    let pointer =
                        format!("{pointer}/{}", name.chars().take(NAME_CHARS_MAX).collect::<String>());
                    match known.get(name.as_str()) {
                        Some(schema) => self.look((schema, value), &pointer, depth - 1, slips),
                        None if ALSO_TAKEN.contains(&name.as_str()) => {}
                        None => slips.extend(slip(name, &pointer, known.keys().copied(), map)),
                    }
                }
            }
            Value::Array(items) => {
                let mut schemas = Vec::new();
                self.items_of(schema, depth, &mut schemas);
                for schema in schemas {
                    for (place, item) in items.iter().enumerate() {
                        self.look((schema, item), &format!("{pointer}/{place}"), depth - 1, slips);
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

/// What is told of a field that is nearly a known one, which is not there itself.
fn slip<'a>(
    name: &str,
    pointer: &str,
    known: impl Iterator<Item = &'a str>,
    given: &serde_json::Map<String, Value>,
) -> Option<String> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let known: Vec<&str> = known.filter(|known| !given.contains_key(*known)).collect();
    let same = known.iter().find(|known| plain(known) == plain(name)).copied();
    let meant = same.or_else(|| nearest(name, known.iter().copied()))?;
    Some(format!("the field {pointer} is not known and was ignored; did you mean '{meant}'?"))
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

    fn slips(body: &Value) -> Vec<String> {
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
        let mut slips = Vec::new();
        Described { named, ..Described::default() }.look((&schema, body), "", DEPTH_MAX, &mut slips);
        slips
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
    fn an_answer_has_a_header_for_each() {
        let told = Told(Arc::new(Mutex::new(vec!["a \"b\" \u{e9}\r\nx: y".to_owned(), "c".to_owned()])));
        let mut response = Response::default();
        told.add_to(&mut response);
        let values: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(values, ["299 - \"a 'b' ???x: y\"", "299 - \"c\""]);
    }
}
