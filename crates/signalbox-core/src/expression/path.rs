//! Paths: where a value is to be found, and what is found there.
//!
//! A path written plainly (`tasks.read-1.result.files[0]`) and one that stands inside of CEL
//! (`tasks['read-1'].result.files[0]`) become the same [`Path`], so both are checked and followed alike. What a
//! path leads to is borrowed, however large it is.

use serde_json::Value;

use super::budget::{Budget, Fault};
use super::fields::{NO_FIELD, no_field};
use super::scope::{KnownNames, Scope, SessionFacts, Sight};
use super::value::Val;

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    Input,
    /// `tasks`, with what has been read of `.<taskId>` and `.result|status|error` so far.
    Tasks(Option<String>, Option<Part>),
    Item,
    Index,
    Session,
}

/// What can be asked of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Result,
    Status,
    Error,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

/// Where a value is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
}

pub(super) const TASK_UNKNOWN: &str = "names a task that the definition does not have";
/// What is said of a task that may not have settled.
pub(crate) const TASK_NOT_BEFORE: &str =
    "names a task that is not certain to have settled before; depend on it first";
const TASK_FORM: &str = "must go on as tasks.<taskId>.result, .status or .error";

impl Root {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "input" => Some(Self::Input),
            "tasks" => Some(Self::Tasks(None, None)),
            "item" => Some(Self::Item),
            "index" => Some(Self::Index),
            "session" => Some(Self::Session),
            _ => None,
        }
    }
}

impl Path {
    pub(super) fn at(root: Root) -> Self {
        Self { root, steps: Vec::new() }
    }

    /// The path one step on.
    pub(super) fn push(&mut self, step: Step) -> Result<(), &'static str> {
        match (&mut self.root, step) {
            (Root::Tasks(id @ None, _), Step::Field(name)) => *id = Some(name),
            (Root::Tasks(Some(_), part @ None), Step::Field(name)) => {
                *part = Some(Part::named(&name).ok_or(TASK_FORM)?);
            }
            (Root::Tasks(_, None), Step::Index(_)) => return Err(TASK_FORM),
            (_, step) => self.steps.push(step),
        }
        Ok(())
    }

    /// Whether the path says which part of which task it means, where it begins at `tasks`.
    pub(super) fn check_form(&self) -> Result<(), &'static str> {
        if matches!(self.root, Root::Tasks(_, None)) { Err(TASK_FORM) } else { Ok(()) }
    }

    /// Whether what the path begins at can be seen where it stands.
    pub(super) fn check(&self, known: &KnownNames<'_>) -> Result<(), &'static str> {
        self.check_form()?;
        match &self.root {
            Root::Tasks(Some(id), _) => match (known.task)(id) {
                Sight::Seen => Ok(()),
                Sight::Unknown => Err(TASK_UNKNOWN),
                Sight::NotBefore => Err(TASK_NOT_BEFORE),
            },
            Root::Item | Root::Index if !known.has_item => {
                Err("asks for item or index, which only a task with forEach has")
            }
            Root::Session if !known.has_session => {
                Err("asks for the session, which there is not yet where its key is computed")
            }
            _ => Ok(()),
        }
    }

    /// What the path leads to.
    pub(super) fn find<'a>(&self, scope: Scope<'a>, budget: &Budget<'a>) -> Result<Val<'a>, Fault> {
        let mut steps = self.steps.as_slice();
        let root = match &self.root {
            Root::Input => match steps.split_first() {
                None => return Ok(Val::Fields(scope.input)),
                Some((Step::Field(name), rest)) => {
                    steps = rest;
                    let none = || Fault::of(no_field("the input", scope.input.keys().map(String::as_str)));
                    scope.input.get(name).ok_or_else(none)?
                }
                Some((Step::Index(_), _)) => return Err("leads nowhere: the input is not a list".into()),
            },
            Root::Tasks(Some(id), Some(part)) => match task(scope, id, *part)? {
                Found::Value(value) => value,
                Found::Text(text) if steps.is_empty() => return Ok(text.map_or(Val::Null, Val::Text)),
                Found::Text(_) => return Err(NO_FIELD.into()),
            },
            Root::Tasks(..) => return Err(TASK_FORM.into()),
            Root::Item => scope.item.ok_or("asks for item, which only a task with forEach has")?,
            Root::Index if steps.is_empty() => {
                let index = scope.index.ok_or("asks for index, which only a task with forEach has")?;
                return Ok(i64::try_from(index).map_or(Val::Uint(index), Val::Int));
            }
            Root::Index => return Err(NO_FIELD.into()),
            Root::Session => scope
                .session
                .map(SessionFacts::seen)
                .ok_or("asks for the session, which is not known here")?,
        };
        let walked = steps.iter().try_fold(root, |value, step| {
            let value = budget.look_into(value)?;
            walk(value, step).ok_or_else(|| match step {
                Step::Field(_) => Val::from(value).no_field(),
                Step::Index(_) => Fault::of(NO_FIELD),
            })
        });
        walked.map(Val::from)
    }

    /// Whether there is a field `name` at the path.
    pub(super) fn has<'a>(&self, name: &str, scope: Scope<'a>, budget: &Budget<'a>) -> Result<bool, Fault> {
        if let Root::Tasks(Some(id), None) = &self.root {
            let facts = scope.tasks.facts(id).ok_or(TASK_UNKNOWN)?;
            return Ok(match Part::named(name).ok_or(TASK_FORM)? {
                Part::Result => facts.is_settled,
                Part::Error => facts.error.is_some(),
                Part::Status => true,
            });
        }
        match self.find(scope, budget)?.open(budget)? {
            Val::Fields(fields) | Val::Json(Value::Object(fields)) => Ok(fields.contains_key(name)),
            _ => Err(NO_FIELD.into()),
        }
    }
}

impl Part {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "result" => Some(Self::Result),
            "status" => Some(Self::Status),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

/// What was asked of a task.
enum Found<'a> {
    Value(&'a Value),
    Text(Option<&'a str>),
}

fn task<'a>(scope: Scope<'a>, id: &str, part: Part) -> Result<Found<'a>, &'static str> {
    let facts = scope.tasks.facts(id).ok_or(TASK_UNKNOWN)?;
    match part {
        Part::Status => Ok(Found::Text(Some(facts.status))),
        Part::Error => Ok(Found::Text(facts.error)),
        Part::Result if facts.is_settled => Ok(Found::Value(facts.result.unwrap_or(&Value::Null))),
        Part::Result => Err("asks for the result of a task that has not settled"),
    }
}

fn walk<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match (value, step) {
        (Value::Object(fields), Step::Field(name)) => fields.get(name),
        (Value::Array(items), Step::Index(index)) => items.get(*index),
        _ => None,
    }
}

/// Whether `text` can be nothing but a plain path: it begins where a path begins, and holds no white space and
/// nothing that CEL would compute with. A hyphen belongs to the name it stands in.
pub(super) fn is_plain(text: &str) -> bool {
    let is_word = |c: char| !c.is_whitespace() && !is_operator(c) && !matches!(c, '\'' | '"');
    let is_number = |inner: &str| {
        let inside = inner.split(']').next().unwrap_or_default();
        inside.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.is_empty()
        || (begins_as_path(text) && text.chars().all(is_word) && text.split('[').skip(1).all(is_number))
}

/// Whether `text` may be a path whose names hold what CEL cannot read, such as white space.
pub(super) fn may_be_plain(text: &str) -> bool {
    begins_as_path(text) && !text.chars().any(is_operator)
}

fn begins_as_path(text: &str) -> bool {
    let root = text.split(['.', '[']).next().unwrap_or_default();
    Root::named(root.trim()).is_some()
}

fn is_operator(c: char) -> bool {
    "()+*/%<>=!&|?:,{}`".contains(c)
}

/// Reads a plain path.
pub(super) fn parse(text: &str) -> Result<Path, &'static str> {
    let mut path: Option<Path> = None;
    for part in text.split('.') {
        let (name, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err("has an empty step; write it as input.field or tasks.id.result.field");
        }
        match &mut path {
            None => path = Some(Path::at(Root::named(name.trim()).ok_or("must begin with input or tasks")?)),
            Some(path) => path.push(Step::Field(name.trim().to_owned()))?,
        }
        while let (Some(inner), Some(path)) = (indices.strip_prefix('['), &mut path) {
            let (index, after) = inner.split_once(']').ok_or("has no closing bracket")?;
            let index = index.trim().parse().map_err(|_| "has an index that is not a number")?;
            path.push(Step::Index(index))?;
            indices = after;
        }
        if !indices.is_empty() {
            return Err("has something after its bracket");
        }
    }
    path.ok_or("has an empty step; write it as input.field or tasks.id.result.field")
}
