//! What a schema can cost: a [`Shape`] knows, for each depth of a value, how many steps a check takes at most
//! for one part of the value, and how many subschemas are entered inside one another.
//!
//! To know it, every reference must be one into the schema itself, and no subschema may lead back to itself
//! without going into the value. What is not so is refused, as is whatever could change where references lead.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use signalbox_wire::fault::{Fault, Faults};
use signalbox_wire::raw::DEPTH_MAX;

/// Patterns in one schema.
const PATTERNS_MAX: u64 = 64;
/// Subschemas that apply to the same part of a value inside one another.
const IN_PLACE_MAX: usize = 64;
/// Characters of a string that count as one part of a value.
const STRING_PART: usize = 64;
/// The drafts whose keywords are understood here.
const DRAFTS: [&str; 4] = ["/draft-06/", "/draft-07/", "/draft/2019-09/", "/draft/2020-12/"];

/// What checks against one schema can cost.
pub(super) struct Shape {
    /// For values of depth 0, 1, 2 and so on.
    by_depth: Vec<Cost>,
    patterns: u64,
}

/// What one check can cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Looks of a subschema at a part of the value.
    pub(super) steps: u64,
    /// Subschemas entered inside one another.
    pub(super) nested: u32,
}

/// How large a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    parts: u64,
    depth: usize,
}

impl Extent {
    /// The extent of `value`.
    pub(super) fn of(value: &Value) -> Self {
        let within = |parts: u64, inner: Vec<Self>| Self {
            parts: parts + inner.iter().map(|extent| extent.parts).sum::<u64>(),
            depth: inner.iter().map(|extent| extent.depth + 1).max().unwrap_or(0),
        };
        match value {
            Value::String(text) => within(1 + (text.len() / STRING_PART) as u64, Vec::new()),
            Value::Array(items) => within(1, items.iter().map(Self::of).collect()),
            Value::Object(fields) => {
                let names: usize = fields.keys().map(|name| name.len() / STRING_PART).sum();
                within(1 + names as u64, fields.values().map(Self::of).collect())
            }
            _ => within(1, Vec::new()),
        }
    }
}

impl Shape {
    /// The shape of a schema, or what keeps it from being known.
    pub(super) fn of(schema: &Value) -> Result<Self, Vec<Fault>> {
        let mut walk = Walk::new(schema);
        let root = walk.node(schema, String::new());
        while let Some((index, value, pointer)) = walk.open.pop() {
            walk.visit(index, value, &pointer);
        }
        if walk.patterns > PATTERNS_MAX {
            let message = format!("must have at most {PATTERNS_MAX} patterns, not {}", walk.patterns);
            walk.faults.add("", message);
        }
        let order = walk.order();
        if !walk.faults.is_empty() {
            return Err(walk.faults.into_vec());
        }
        Ok(Self { by_depth: by_depth(&walk.nodes, &order, root), patterns: walk.patterns })
    }

    /// What the check of a value costs at most.
    pub(super) fn cost(&self, extent: &Extent) -> Cost {
        let deepest = self.by_depth.last().copied().unwrap_or_default();
        let cost = self.by_depth.get(extent.depth).copied().unwrap_or(deepest);
        Cost { steps: cost.steps.saturating_mul(extent.parts), ..cost }
    }

    pub(super) fn patterns(&self) -> u64 {
        self.patterns
    }
}

/// One subschema.
#[derive(Default)]
struct Node {
    pointer: String,
    /// Steps of its own keywords.
    own: u64,
    /// Subschemas for the same part of the value, each counted so often.
    in_place: Vec<usize>,
    times: u64,
    /// Subschemas for the parts within, of which each part meets one at most.
    either: Vec<usize>,
    /// Subschemas for the parts within, of which a part can meet every one.
    each: Vec<usize>,
}

/// The subschemas that are reached from the root.
struct Walk<'s> {
    root: &'s Value,
    nodes: Vec<Node>,
    known: HashMap<*const Value, usize>,
    open: Vec<(usize, &'s Value, String)>,
    patterns: u64,
    faults: Faults,
}

impl<'s> Walk<'s> {
    fn new(root: &'s Value) -> Self {
        Self {
            root,
            nodes: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
            patterns: 0,
            faults: Faults::default(),
        }
    }

    /// The node of the subschema `value`, which is at `place`.
    fn node(&mut self, value: &'s Value, pointer: String) -> usize {
        let next = self.nodes.len();
        let index = *self.known.entry(std::ptr::from_ref(value)).or_insert(next);
        if index == next {
            self.nodes.push(Node { pointer: pointer.clone(), own: 1, times: 1, ..Node::default() });
            self.open.push((index, value, pointer));
        }
        index
    }

    fn visit(&mut self, index: usize, value: &'s Value, pointer: &str) {
        let Value::Object(keywords) = value else { return };
        self.refuse_what_moves_references(keywords, pointer);
        for (keyword, inner) in keywords {
            let here = below(pointer, keyword);
            self.nodes[index].own += length(inner);
            match keyword.as_str() {
                "$ref" => {
                    let target = self.target(inner, &here);
                    self.nodes[index].in_place.extend(target);
                }
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" => {
                    let found = self.all(inner, &here);
                    self.nodes[index].in_place.extend(found);
                }
                "dependentSchemas" | "dependencies" => {
                    let found = self.values(inner, &here);
                    self.nodes[index].in_place.extend(found);
                }
                "properties" => {
                    let found = self.values(inner, &here);
                    self.nodes[index].either.extend(found);
                }
                "additionalProperties" | "items" | "prefixItems" | "additionalItems" => {
                    let found = self.all(inner, &here);
                    self.nodes[index].either.extend(found);
                }
                "patternProperties" => {
                    self.patterns += length(inner);
                    let found = self.values(inner, &here);
                    self.nodes[index].each.extend(found);
                }
                "contains" | "propertyNames" => {
                    let found = self.all(inner, &here);
                    self.nodes[index].each.extend(found);
                }
                "unevaluatedItems" | "unevaluatedProperties" => {
                    // To know what was looked at, the subschemas beside it are gone through again.
                    self.nodes[index].times = 2;
                    let found = self.all(inner, &here);
                    self.nodes[index].each.extend(found);
                }
                "pattern" => self.patterns += 1,
                _ => {}
            }
        }
    }

    fn refuse_what_moves_references(&mut self, keywords: &Map<String, Value>, pointer: &str) {
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if keywords.contains_key(keyword) {
                self.faults.add(
                    below(pointer, keyword),
                    "is not taken here; use $ref with a pointer into this schema",
                );
            }
        }
        if pointer.is_empty() {
            let draft = keywords.get("$schema").and_then(Value::as_str);
            if draft.is_some_and(|draft| !DRAFTS.iter().any(|known| draft.contains(known))) {
                self.faults.add("/$schema", "must be draft-06, draft-07, 2019-09 or 2020-12, or absent");
            }
            return;
        }
        for keyword in ["$id", "$schema"] {
            if keywords.get(keyword).is_some_and(Value::is_string) {
                self.faults.add(below(pointer, keyword), "is taken at the top of the schema only");
            }
        }
    }

    /// A subschema, or all of a list.
    fn all(&mut self, value: &'s Value, pointer: &str) -> Vec<usize> {
        match value {
            Value::Array(items) => {
                let each = items.iter().enumerate();
                each.map(|(number, item)| self.node(item, format!("{pointer}/{number}"))).collect()
            }
            single => vec![self.node(single, pointer.to_owned())],
        }
    }

    /// The subschemas under names; what is under a name and no schema does not matter here.
    fn values(&mut self, value: &'s Value, pointer: &str) -> Vec<usize> {
        let named = value.as_object().into_iter().flatten();
        named.map(|(name, value)| self.node(value, below(pointer, name))).collect()
    }

    /// What a reference leads to.
    fn target(&mut self, reference: &Value, at: &str) -> Option<usize> {
        let text = reference.as_str()?;
        let Some(pointer) = text.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            let message =
                "must lead into this schema, such as #/$defs/name; nothing is fetched from elsewhere";
            self.faults.add(at, message);
            return None;
        };
        let pointer = percent_decode_str(pointer).decode_utf8_lossy().into_owned();
        let mut way = self.root;
        for (end, _) in pointer.match_indices('/').skip(1).chain([(pointer.len(), "")]) {
            match self.root.pointer(&pointer[..end]) {
                Some(next) => way = next,
                None => {
                    self.faults.add(at, "leads nowhere in this schema");
                    return None;
                }
            }
            let moves = end > 0 && way.get("$id").is_some_and(Value::is_string);
            if moves {
                self.faults.add(at, "leads past an $id, which is taken at the top of the schema only");
                return None;
            }
        }
        Some(self.node(way, pointer))
    }

    /// The nodes, each after those that it leads to in place.
    fn order(&mut self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut states = vec![State::New; self.nodes.len()];
        for index in 0..self.nodes.len() {
            if let Err((at, message)) = self.enter(index, 0, &mut states, &mut order) {
                let pointer = self.nodes[at].pointer.clone();
                self.faults.add(pointer, message);
                break;
            }
        }
        order
    }

    fn enter(
        &self,
        index: usize,
        depth: usize,
        states: &mut [State],
        order: &mut Vec<usize>,
    ) -> Result<(), (usize, String)> {
        match states[index] {
            State::Done => return Ok(()),
            State::Open => {
                return Err((
                    index,
                    "leads back to itself without going into the value; it decides nothing".to_owned(),
                ));
            }
            State::New if depth >= IN_PLACE_MAX => {
                return Err((
                    index,
                    format!("is over {IN_PLACE_MAX} levels deep without going into the value"),
                ));
            }
            State::New => states[index] = State::Open,
        }
        for inner in &self.nodes[index].in_place {
            self.enter(*inner, depth + 1, states, order)?;
        }
        states[index] = State::Done;
        order.push(index);
        Ok(())
    }
}

/// How far the search for an order has come with a node.
#[derive(Clone, Copy)]
enum State {
    New,
    Open,
    Done,
}

fn by_depth(nodes: &[Node], order: &[usize], root: usize) -> Vec<Cost> {
    let mut costs = vec![Cost::default(); nodes.len()];
    let mut by_depth = Vec::with_capacity(DEPTH_MAX + 1);
    for _ in 0..=DEPTH_MAX {
        let below = costs.clone();
        for index in order {
            costs[*index] = cost(&nodes[*index], &costs, &below);
        }
        by_depth.push(costs[root]);
        if costs == below {
            break;
        }
    }
    by_depth
}

fn cost(node: &Node, here: &[Cost], below: &[Cost]) -> Cost {
    let sum = |costs: &[Cost], inner: &[usize]| {
        inner.iter().fold(0_u64, |sum, index| sum.saturating_add(costs[*index].steps))
    };
    let deepest =
        |costs: &[Cost], inner: &[usize]| inner.iter().map(|index| costs[*index].nested).max().unwrap_or(0);
    let either = node.either.iter().map(|index| below[*index].steps).max().unwrap_or(0);
    let in_place = sum(here, &node.in_place).saturating_mul(node.times);
    let nested =
        deepest(here, &node.in_place).max(deepest(below, &node.either)).max(deepest(below, &node.each));
    Cost {
        steps: node
            .own
            .saturating_add(in_place)
            .saturating_add(either)
            .saturating_add(sum(below, &node.each)),
        nested: nested + 1,
    }
}

/// How much there is to go through in a keyword's value.
fn length(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(fields) => fields.len() as u64,
        _ => 0,
    }
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(schema: &Value, depth: usize) -> u64 {
        let shape = Shape::of(schema).unwrap_or_else(|faults| panic!("{faults:?}"));
        shape.cost(&Extent { parts: 1, depth }).steps
    }

    fn faults(schema: &Value) -> Vec<String> {
        let faults = Shape::of(schema).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn the_extent_of_a_value_counts_its_parts_and_levels() {
        let value = json!({"a": [1, {"b": null}], "c": "x".repeat(STRING_PART * 2)});
        assert_eq!(Extent::of(&value), Extent { parts: 8, depth: 3 });
        assert_eq!(Extent::of(&json!(1)), Extent { parts: 1, depth: 0 });
    }

    #[test]
    fn a_tree_costs_as_much_as_it_is_deep_and_a_doubling_doubles() {
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert!(steps(&tree, 50) < 50 * 10);
        let doubling =
            json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]});
        assert!(steps(&doubling, 50) > 1 << 40);
        assert_eq!(steps(&doubling, DEPTH_MAX), u64::MAX, "and stays within its type");
        let flat = json!({"properties": {"a": {"type": "string"}}});
        assert_eq!(steps(&flat, 1), steps(&flat, 90), "what leads nowhere costs no more");
    }

    #[test]
    fn references_stay_within_the_schema() {
        let escaped = json!({"$defs": {"a/b c": {}}, "properties": {"x": {"$ref": "#/$defs/a~1b%20c"}}});
        assert_eq!(faults(&escaped), [""; 0]);
        for reference in
            ["https://example.com/x", "other.json#/a", "#anchor", "file:///etc/passwd", "#/$defs/none"]
        {
            let schema = json!({"properties": {"x": {"$ref": reference}}});
            assert_eq!(faults(&schema), ["/properties/x/$ref"], "{reference}");
        }
    }

    #[test]
    fn what_changes_where_references_lead_is_refused() {
        assert_eq!(
            faults(&json!({"$id": "https://example.com/own", "properties": {"$id": {"type": "string"}}})),
            [""; 0]
        );
        assert_eq!(faults(&json!({"properties": {"x": {"$id": "https://other/"}}})), ["/properties/x/$id"]);
        assert_eq!(faults(&json!({"$dynamicRef": "#x"})), ["/$dynamicRef"]);
        assert_eq!(faults(&json!({"$schema": "http://json-schema.org/draft-04/schema#"})), ["/$schema"]);
        let past = json!({"$defs": {"a": {"$id": "https://other/", "$defs": {"b": {}}}}, "$ref": "#/$defs/a/$defs/b"});
        assert_eq!(faults(&past), ["/$ref"]);
    }

    #[test]
    fn a_subschema_that_leads_back_to_itself_in_place_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
        ] {
            assert_eq!(faults(&schema).len(), 1, "{schema}");
        }
        let mut deep = json!({});
        for _ in 0..IN_PLACE_MAX {
            deep = json!({"allOf": [deep]});
        }
        assert_eq!(faults(&deep).len(), 1);
    }

    #[test]
    fn patterns_are_counted() {
        let many: Map<String, Value> =
            (0..=PATTERNS_MAX).map(|number| (number.to_string(), json!({"pattern": "a"}))).collect();
        assert_eq!(faults(&json!({"properties": many})), [""]);
    }
}
