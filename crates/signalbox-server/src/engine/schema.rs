//! JSON Schemas of tools and workflows: compiled once, held in memory within a bound, and values held against them.
//!
//! Nothing is fetched, and neither a schema nor a value can make a check run away: [`Shape`] knows beforehand
//! what a check can cost, and what would cost too much is refused.

mod shape;

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use signalbox_core::steps::{QUICK_STEPS_MAX, Steps, TooLong};
use signalbox_wire::fault::{Fault, Faults};

use self::shape::{Extent, Shape};

/// Bytes of a schema, written as JSON.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Bytes that one pattern may take when it is compiled.
const PATTERN_BYTES_MAX: usize = 512 << 10;
/// Bytes that a compiled schema takes for each byte of its text, about.
const BYTES_COMPILED: u64 = 16;
/// Bytes that a usual pattern takes when it is compiled, about.
const PATTERN_BYTES: u64 = 16 << 10;
/// Bytes of compiled schemas that are held.
const HELD_BYTES_MAX: u64 = 16 << 20;
/// Compiled schemas that are expected at once.
const HELD_EXPECTED: usize = 256;
/// Steps that a check may take: some 100 ms at most.
const STEPS_MAX: u64 = 1_000_000;
/// Steps up to which every fault is looked for; over it only that there is one.
const STEPS_TOLD_MAX: u64 = 50_000;
/// Steps that it takes to compile a schema: more than what is quick may take, for one pattern can take milliseconds.
const STEPS_TO_COMPILE: u64 = QUICK_STEPS_MAX + 1;
/// Subschemas that may be entered inside one another: what a worker's stack has room for.
const NESTED_MAX: u32 = 500;
/// Characters of the message of one fault.
const MESSAGE_LENGTH_MAX: usize = 200;

/// Compiled schemas by where they are kept, the least used of which are dropped for others.
pub(crate) struct Schemas<P>(Arc<Cache<P, Arc<Schema>, ByBytes>>);

#[derive(Debug, Clone)]
struct ByBytes;

impl<P> Weighter<P, Arc<Schema>> for ByBytes {
    fn weight(&self, _: &P, schema: &Arc<Schema>) -> u64 {
        schema.bytes
    }
}

impl<P> Clone for Schemas<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Eq + Hash + Clone> Default for Schemas<P> {
    fn default() -> Self {
        Self(Arc::new(Cache::with_weighter(HELD_EXPECTED, HELD_BYTES_MAX, ByBytes)))
    }
}

/// Why a value is not known to fit a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It takes more steps to tell than may be taken here.
    TooLong,
    /// All that does not fit, or what is wrong with the schema.
    Faults(Vec<Fault>),
}

impl From<TooLong> for Unfit {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl<P: Eq + Hash> Schemas<P> {
    /// The schema at `place`, compiled where it is not held.
    pub(crate) fn held(
        &self,
        pointer: P,
        steps: &Steps,
        compile: impl FnOnce() -> Result<Schema, Vec<Fault>>,
    ) -> Result<Arc<Schema>, Unfit> {
        if let Some(schema) = self.0.get(&pointer) {
            return Ok(schema);
        }
        steps.take(STEPS_TO_COMPILE)?;
        let schema = Arc::new(compile().map_err(Unfit::Faults)?);
        self.0.insert(pointer, Arc::clone(&schema));
        Ok(schema)
    }
}

/// A compiled schema.
pub(crate) struct Schema {
    validator: Validator,
    shape: Shape,
    bytes: u64,
}

impl Schema {
    /// Compiles a schema, or tells all that is wrong with it, each fault with its pointer into the schema.
    pub(crate) fn compile(schema: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let schema = Value::Object(schema.clone());
        let length = schema.to_string().len();
        if length > SCHEMA_BYTES_MAX {
            return Err(vec![Fault::new(
                "",
                format!("must have at most {SCHEMA_BYTES_MAX} bytes, not {length}"),
            )]);
        }
        let meta = jsonschema::meta::validator_for(&schema).map_err(|error| faults("", [error]));
        let mut found = meta.map_or_else(|found| found, |meta| faults("", meta.iter_errors(&schema)));
        let shape = match Shape::of(&schema) {
            Ok(shape) if found.is_empty() => shape,
            shape => {
                found.extend(shape.err().into_iter().flatten());
                return Err(found);
            }
        };
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let built = jsonschema::options().with_pattern_options(patterns).offline().build(&schema);
        let validator = built.map_err(|error| faults("", [error]))?;
        let bytes = length as u64 * BYTES_COMPILED + shape.patterns() * PATTERN_BYTES;
        Ok(Self { validator, shape, bytes })
    }

    /// Holds the value that stands at `place` against the schema within these steps, or tells all that does not fit.
    pub(crate) fn check(&self, value: &Value, pointer: &str, steps: &Steps) -> Result<(), Unfit> {
        let extent = Extent::of(value);
        let cost = self.shape.cost(&extent);
        let whole = |message: &str| Err(Unfit::Faults(vec![Fault::new(pointer, message)]));
        if cost.steps > STEPS_MAX || cost.nested > NESTED_MAX {
            return whole("is too large or too deep to be held against its schema");
        }
        steps.take(cost.steps)?;
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if cost.steps > STEPS_TOLD_MAX {
            return whole("does not fit its schema, and is too large to say where");
        }
        Err(Unfit::Faults(faults(pointer, self.validator.iter_errors(value))))
    }
}

/// What the errors say, by place; several subschemas may say the same of one place.
fn faults<'e>(base: &str, errors: impl IntoIterator<Item = ValidationError<'e>>) -> Vec<Fault> {
    let mut told = BTreeSet::new();
    for error in errors {
        tell(&mut told, base, &error);
    }
    let mut faults = Faults::default();
    told.into_iter().for_each(|(pointer, message)| faults.add(pointer, message));
    faults.into_vec()
}

/// Adds what one error says; where a name is missing or too much, the pointer leads to it.
fn tell(told: &mut BTreeSet<(String, String)>, base: &str, error: &ValidationError<'_>) {
    let pointer = format!("{base}{}", error.instance_path().as_str());
    let below = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let missing = property.as_str().map(below);
            told.insert((missing.unwrap_or(pointer), "is required".to_owned()));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            told.extend(unexpected.iter().map(|name| (below(name), "is not known to the schema".to_owned())));
        }
        _ => {
            // What was given may be large, or secret: the message speaks of it without showing it.
            let message = error.masked_with("").to_string();
            told.insert((pointer, message.trim_start().chars().take(MESSAGE_LENGTH_MAX).collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLACE: &str = "/payload/arguments";

    fn compile(schema: &Value) -> Result<Schema, Vec<String>> {
        let compiled = Schema::compile(schema.as_object().expect("an object"));
        compiled.map_err(|faults| faults.into_iter().map(|fault| fault.pointer).collect())
    }

    fn check(schema: &Schema, arguments: &Value) -> Vec<Fault> {
        match schema.check(arguments, PLACE, &Steps::unbounded()) {
            Err(Unfit::Faults(faults)) => faults,
            checked => checked.map(|()| Vec::new()).expect("it may take long"),
        }
    }

    fn faults(schema: &Value, arguments: &Value) -> Vec<String> {
        let compiled = compile(schema).map_err(|faults| panic!("{faults:?}")).expect("a schema");
        let faults = check(&compiled, arguments);
        faults.iter().map(ToString::to_string).collect()
    }

    fn calculator() -> Value {
        let number = json!({"type": "number"});
        json!({"type": "object", "properties": {"a": number, "b": number, "c/d": number}, "required": ["a", "b", "c/d"],
            "additionalProperties": false})
    }

    #[test]
    fn all_faults_of_arguments_are_told_each_at_its_place() {
        let told = faults(&calculator(), &json!({"a": "one", "b": 2, "x~": 3}));
        let expected = [
            "/payload/arguments/a is not of type \"number\"",
            "/payload/arguments/c~1d is required",
            "/payload/arguments/x~0 is not known to the schema",
        ];
        assert_eq!(told, expected);
        assert_eq!(faults(&calculator(), &json!([1])), ["/payload/arguments is not of type \"object\""]);
        assert_eq!(faults(&calculator(), &json!({"a": 1, "b": 2.5, "c/d": 0})), [""; 0]);
        assert_eq!(faults(&json!({}), &json!([1, "anything"])), [""; 0]);
    }

    #[test]
    fn a_schema_that_is_none_is_refused_at_its_fault() {
        for (schema, pointer) in [
            (json!({"type": "no such type"}), "/type"),
            (json!({"properties": {"a": {"minimum": "1"}}}), "/properties/a/minimum"),
            (json!({"required": "a"}), "/required"),
            (json!({"properties": {"a": {"pattern": "("}}}), "/properties/a/pattern"),
            (json!({"properties": {"a": []}}), "/properties/a"),
        ] {
            let found = compile(&schema).err().unwrap_or_default();
            assert_eq!(found, [pointer], "{schema}");
        }
        let several = json!({"type": 5, "minLength": -1, "$ref": "http://elsewhere/"});
        let found = compile(&several).err().unwrap_or_default();
        assert_eq!(found, ["/minLength", "/type", "/$ref"], "all at once");
    }

    #[test]
    fn a_schema_is_bounded() {
        let long = json!({"description": "x".repeat(SCHEMA_BYTES_MAX)});
        assert_eq!(compile(&long).err().unwrap_or_default(), [""]);
        let greedy = json!({"pattern": "(\\p{L}{1,1000}){1,1000}"});
        assert!(compile(&greedy).is_err());
        assert!(compile(&json!({"pattern": "^(?=a)"})).is_err(), "such a pattern can run away");
    }

    #[test]
    fn schemas_of_the_older_drafts_are_taken() {
        for draft in
            ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2019-09/schema"]
        {
            let schema = json!({"$schema": draft, "definitions": {"n": {"type": "integer"}},
                "properties": {"a": {"$ref": "#/definitions/n"}}});
            assert_eq!(
                faults(&schema, &json!({"a": 1.5})),
                ["/payload/arguments/a is not of type \"integer\""]
            );
        }
    }

    #[test]
    fn a_schema_may_speak_of_itself_one_level_down() {
        let tree = json!({
            "type": "object", "required": ["n"],
            "properties": {"n": {"type": "integer"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
        });
        assert_eq!(faults(&tree, &json!({"n": 1, "left": {"n": 2, "right": {"n": 3}}})), [""; 0]);
        let told = faults(&tree, &json!({"n": 1, "left": {"right": {"n": "x"}}}));
        let expected = [
            "/payload/arguments/left/n is required",
            "/payload/arguments/left/right/n is not of type \"integer\"",
        ];
        assert_eq!(told, expected);
    }

    /// The deepest and widest that is let through is checked on the stack that a worker has, without overflow.
    #[test]
    fn what_would_run_away_is_refused_before_it_runs() {
        let doubling = json!({"allOf": [
            {"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}, {"required": ["b"]},
        ]});
        let schema = compile(&doubling).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut arguments = json!({"b": 1});
        for depth in 1..100 {
            arguments = json!({"a": arguments});
            let faults = check(&schema, &arguments);
            assert!(!faults.is_empty(), "b is missing");
            assert!(depth < 20 || faults.len() == 1, "at depth {depth}: {}", faults.len());
        }
    }

    #[test]
    fn the_deepest_check_that_is_let_through_fits_on_a_workers_stack() {
        let mut inner = json!({"properties": {"a": {"$ref": "#"}}, "required": ["b"]});
        for _ in 0..10 {
            inner = json!({"anyOf": [inner]});
        }
        let schema = compile(&inner).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut arguments = json!({"a": {"b": 1}, "b": 1});
        let mut refused = 0;
        for _ in 0..95 {
            let faults = check(&schema, &arguments);
            refused += usize::from(faults.iter().any(|fault| fault.message.contains("too deep")));
            let faults = check(&schema, &json!({"a": arguments}));
            assert!(!faults.is_empty(), "b is missing, or it is too deep");
            arguments = json!({"a": arguments, "b": 1});
        }
        assert!(refused > 10, "the depth was never reached");
    }

    #[test]
    fn large_arguments_are_told_that_they_do_not_fit_without_a_list() {
        let schema = json!({"properties": {"a": {"items": {"type": "integer"}}}});
        let of = |length: usize| json!({"a": vec!["x"; length]});
        assert_eq!(faults(&schema, &of(1_000)).len(), signalbox_wire::fault::SHOWN_MAX + 1);
        assert!(faults(&schema, &of(50_000))[0].contains("too large to say where"));
        assert!(faults(&schema, &of(500_000))[0].contains("too large or too deep"));
    }

    #[test]
    fn what_is_held_is_held_for_its_place() {
        let schemas = Schemas::<(&str, u32)>::default();
        let check = |pointer, schema: Value| {
            let compile = || Schema::compile(schema.as_object().expect("an object"));
            let schema = schemas.held(pointer, &Steps::unbounded(), compile).expect("compiles");
            schema.check(&json!(5), PLACE, &Steps::quick()).is_ok()
        };
        assert!(check(("a", 1), json!({"type": "integer"})));
        assert!(!check(("a", 2), json!({"type": "string"})));
        assert!(check(("a", 1), json!({"type": "string"})), "it was compiled before");
        let compiled = |steps| schemas.held(("b", 1), &steps, || Err(Vec::new())).map(drop);
        assert_eq!(compiled(Steps::quick()), Err(Unfit::TooLong));
        assert_eq!(compiled(Steps::unbounded()), Err(Unfit::Faults(Vec::new())));
    }
}
