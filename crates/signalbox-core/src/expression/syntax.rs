//! What an expression says: read once, with every name in it checked.
//!
//! The grammar of CEL and its macros are the `cel` crate's. What it reads becomes a [`Node`] here, in which every
//! name stands for something that exists. The crate's own evaluation is not used: it puts no bound on the work of
//! an expression, takes some 64 KiB of stack a level in a debug build, and wants everything that an expression
//! sees copied into values of its own.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue};
use cel::common::ast::{SelectExpr, operators};

use super::functions::{self, Function};
use super::parse::parse;
use super::path::{self, Path, Root, Step};
use super::scope::KnownNames;

/// Characters of one expression, at most.
pub(super) const LENGTH_MAX: usize = 4096;

/// Levels of one expression, at most: a call in a call, a term of a sum.
const LEVELS_MAX: usize = 64;

/// A part of an expression.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Path(Path),
    /// What a macro is at, by the name it has there.
    Local(String),
    Select(Box<Self>, String),
    Has(Box<Self>, String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Not(Box<Self>),
    /// `&&` where the first is false, `||` where it is true: the truth that decides alone.
    Either(bool, Box<[Self; 2]>),
    Choice(Box<[Self; 3]>),
    Call(Function, Vec<Self>),
    Each(Box<Each>),
}

#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
}

/// A macro that goes over a list or the names of a map.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) range: Node,
    pub(super) name: String,
    pub(super) what: What,
}

/// What a macro does with each of them.
#[derive(Debug)]
pub(super) enum What {
    /// `all` where this is false, `exists` where it is true: the truth that ends it.
    Either(bool, Node),
    One(Node),
    Map {
        when: Option<Node>,
        value: Node,
    },
}

/// Reads `text`, a plain path or CEL.
///
/// # Errors
/// Everything that is wrong with it; with `known`, also names that it cannot see where it stands.
pub(super) fn read(text: &str, known: Option<&KnownNames<'_>>) -> Result<Node, Vec<String>> {
    let one = |reason: &str| vec![reason.to_owned()];
    if text.len() > LENGTH_MAX && text.chars().count() > LENGTH_MAX {
        return Err(vec![format!("is longer than {LENGTH_MAX} characters")]);
    }
    if path::is_plain(text) {
        return plain(text, known).map_err(one);
    }
    let tree = match parse(text) {
        Ok(tree) => tree,
        Err(_) if path::may_be_plain(text) => return plain(text, known).map_err(one),
        Err(reason) => return Err(vec![reason]),
    };
    let mut reader = Reader { known, locals: Vec::new(), faults: Vec::new() };
    let node = reader.node(tree, 0);
    if reader.faults.is_empty() { Ok(node) } else { Err(reader.faults) }
}

fn plain(text: &str, known: Option<&KnownNames<'_>>) -> Result<Node, &'static str> {
    let path = path::parse(text)?;
    match known {
        Some(known) => path.check(known)?,
        None => path.check_form()?,
    }
    Ok(Node::Path(path))
}

struct Reader<'a> {
    known: Option<&'a KnownNames<'a>>,
    /// The names that macros have given, innermost last.
    locals: Vec<String>,
    faults: Vec<String>,
}

impl Reader<'_> {
    fn fault(&mut self, reason: impl Into<String>) -> Node {
        let reason = reason.into();
        if !self.faults.contains(&reason) {
            self.faults.push(reason);
        }
        Node::Literal(Literal::Null)
    }

    /// A part that stands for a value; a path that ends here is complete, and leads where it may.
    fn node(&mut self, expr: IdedExpr, level: usize) -> Node {
        let node = self.part(expr, level);
        let Node::Path(path) = &node else { return node };
        match self.known.map_or_else(|| path.check_form(), |known| path.check(known)) {
            Ok(()) => node,
            Err(reason) => self.fault(reason),
        }
    }

    fn nodes(&mut self, exprs: Vec<IdedExpr>, level: usize) -> Vec<Node> {
        exprs.into_iter().map(|expr| self.node(expr, level)).collect()
    }

    /// A part that may be a path which goes on.
    fn part(&mut self, expr: IdedExpr, level: usize) -> Node {
        if level >= LEVELS_MAX {
            return self.fault(format!("is nested more than {LEVELS_MAX} levels deep"));
        }
        match expr.expr {
            Expr::Literal(literal) => self.literal(&literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select, level + 1),
            Expr::List(list) => Node::List(self.nodes(list.elements, level + 1)),
            Expr::Map(map) => self.map(map.entries, level + 1),
            Expr::Call(call) => self.call(call, level + 1),
            Expr::Comprehension(each) => self.each(*each, level + 1),
            Expr::Struct(made) => {
                self.fault(format!("makes a '{}'; there are no types of that kind", made.type_name))
            }
            Expr::Unspecified => self.fault("is not an expression"),
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Node {
        Node::Literal(match literal {
            LiteralValue::Null => Literal::Null,
            LiteralValue::Boolean(truth) => Literal::Bool(*truth.inner()),
            LiteralValue::Int(int) => Literal::Int(*int.inner()),
            LiteralValue::UInt(uint) => Literal::Uint(*uint.inner()),
            LiteralValue::Double(double) => Literal::Double(*double.inner()),
            LiteralValue::String(text) => Literal::Text(text.inner().to_owned()),
            LiteralValue::Bytes(_) => {
                return self.fault("holds bytes, which JSON does not have; write a string");
            }
        })
    }

    fn name(&mut self, name: String) -> Node {
        if self.locals.contains(&name) {
            return Node::Local(name);
        }
        match Root::named(&name) {
            Some(root) => Node::Path(Path::at(root)),
            None => self.fault(format!(
                "names '{name}', which it cannot see; a name must begin with input, tasks, item, index or session"
            )),
        }
    }

    fn select(&mut self, select: SelectExpr, level: usize) -> Node {
        if select.test {
            let of = self.part(*select.operand, level);
            return self.has(of, select.field);
        }
        match self.part(*select.operand, level) {
            Node::Path(path) => self.step(path, Step::Field(select.field)),
            of => Node::Select(Box::new(of), select.field),
        }
    }

    /// `has(of.field)`. A path in it need not be complete: `has(tasks.x.result)` asks about a part of a task.
    fn has(&mut self, of: Node, field: String) -> Node {
        if let Node::Path(path) = &of {
            let mut whole = path.clone();
            let checked = whole.push(Step::Field(field.clone())).and_then(|()| match self.known {
                Some(known) => whole.check(known),
                None => whole.check_form(),
            });
            if let Err(reason) = checked {
                return self.fault(reason);
            }
        }
        Node::Has(Box::new(of), field)
    }

    fn step(&mut self, mut path: Path, step: Step) -> Node {
        match path.push(step) {
            Ok(()) => Node::Path(path),
            Err(reason) => self.fault(reason),
        }
    }

    fn map(&mut self, entries: Vec<IdedEntryExpr>, level: usize) -> Node {
        let entries = entries.into_iter().map(|entry| match entry.expr {
            EntryExpr::MapEntry(entry) => (self.node(entry.key, level), self.node(entry.value, level)),
            EntryExpr::StructField(field) => (
                self.fault(format!("names the field '{}' of no type", field.field)),
                self.node(field.value, level),
            ),
        });
        Node::Map(entries.collect())
    }

    fn call(&mut self, call: CallExpr, level: usize) -> Node {
        let CallExpr { func_name, target, args } = call;
        let is_method = target.is_some();
        match (func_name.as_str(), <[_; 2]>::try_from(args)) {
            (operators::LOGICAL_AND, Ok(args)) => self.either(false, args, level),
            (operators::LOGICAL_OR, Ok(args)) => self.either(true, args, level),
            (operators::INDEX, Ok([of, index])) => self.index(of, index, level),
            (_, Ok(args)) => self.function(&func_name, is_method, target, args.into(), level),
            (_, Err(args)) => self.function(&func_name, is_method, target, args, level),
        }
    }

    fn either(&mut self, decisive: bool, [left, right]: [IdedExpr; 2], level: usize) -> Node {
        Node::Either(decisive, Box::new([self.node(left, level), self.node(right, level)]))
    }

    fn index(&mut self, of: IdedExpr, index: IdedExpr, level: usize) -> Node {
        let of = self.part(of, level);
        let index = self.node(index, level);
        let Node::Path(path) = of else { return Node::Call(Function::Index, vec![of, index]) };
        match index {
            Node::Literal(Literal::Text(name)) => self.step(path, Step::Field(name)),
            Node::Literal(Literal::Int(at)) if usize::try_from(at).is_ok() => {
                self.step(path, Step::Index(usize::try_from(at).unwrap_or_default()))
            }
            _ if matches!(path.root, Root::Tasks(_, None)) => self
                .fault("must name its task as it is, such as tasks['id'].result; a task cannot be computed"),
            index => Node::Call(Function::Index, vec![Node::Path(path), index]),
        }
    }

    fn function(
        &mut self,
        name: &str,
        is_method: bool,
        target: Option<Box<IdedExpr>>,
        args: Vec<IdedExpr>,
        level: usize,
    ) -> Node {
        let all: Vec<IdedExpr> = target.map(|target| *target).into_iter().chain(args).collect();
        let mut args = self.nodes(all, level);
        match (name, args.len()) {
            (operators::LOGICAL_NOT, 1) => return Node::Not(Box::new(args.remove(0))),
            (operators::CONDITIONAL, 3) => {
                if let Ok(args) = <[Node; 3]>::try_from(args) {
                    return Node::Choice(Box::new(args));
                }
                return self.fault("is not an expression");
            }
            _ => {}
        }
        match functions::find(name, is_method, args.len()) {
            Ok(function) => Node::Call(function, args),
            Err(reason) => self.fault(reason),
        }
    }

    /// A macro, which the parser has written out as a loop.
    fn each(&mut self, each: ComprehensionExpr, level: usize) -> Node {
        let range = self.node(each.iter_range, level);
        if Root::named(&each.iter_var).is_some() {
            return self.fault(format!("gives the name '{}' again, which is taken", each.iter_var));
        }
        self.locals.push(each.iter_var);
        let what = self.what(each.loop_step, level);
        let name = self.locals.pop().unwrap_or_default();
        match what {
            Some(what) => Node::Each(Box::new(Each { range, name, what })),
            None => self.fault("uses a macro that there is not"),
        }
    }

    /// What a macro does, told by the step of its loop.
    fn what(&mut self, step: IdedExpr, level: usize) -> Option<What> {
        let Expr::Call(CallExpr { func_name, mut args, .. }) = step.expr else { return None };
        match (func_name.as_str(), args.len()) {
            (operators::LOGICAL_AND, 2) => Some(What::Either(false, self.node(args.pop()?, level))),
            (operators::LOGICAL_OR, 2) => Some(What::Either(true, self.node(args.pop()?, level))),
            (operators::ADD, 2) => {
                self.added(args.pop()?, level).map(|value| What::Map { when: None, value })
            }
            (operators::CONDITIONAL, 3) => {
                let step = args.swap_remove(1);
                let when = self.node(args.swap_remove(0), level);
                let Expr::Call(CallExpr { mut args, .. }) = step.expr else { return None };
                let added = args.pop()?;
                if matches!(added.expr, Expr::Literal(_)) {
                    return Some(What::One(when));
                }
                self.added(added, level).map(|value| What::Map { when: Some(when), value })
            }
            _ => None,
        }
    }

    /// The one item of the list that a step adds to the result.
    fn added(&mut self, list: IdedExpr, level: usize) -> Option<Node> {
        let Expr::List(mut list) = list.expr else { return None };
        list.elements.pop().map(|value| self.node(value, level))
    }
}
