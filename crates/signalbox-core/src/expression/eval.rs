//! What an expression gives.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::budget::{Budget, Fault};
use super::scope::Scope;
use super::syntax::{Each, Literal, Node, What};
use super::value::{Val, over};

/// What expressions are worked out with.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a, 'w> {
    pub(super) scope: Scope<'a>,
    pub(super) budget: &'w Budget<'a>,
}

/// What macros are at, innermost first.
#[derive(Clone, Copy)]
struct Local<'l, 'a> {
    name: &'a str,
    value: &'l Val<'a>,
    outer: Locals<'l, 'a>,
}

type Locals<'l, 'a> = Option<&'l Local<'l, 'a>>;

impl<'a> Machine<'a, '_> {
    /// What `node` gives.
    pub(super) fn value(self, node: &'a Node) -> Result<Val<'a>, Fault> {
        self.eval(node, None)
    }

    fn eval(self, node: &'a Node, locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        self.budget.spend(1)?;
        match node {
            Node::Literal(literal) => Ok(literal.value()),
            Node::Path(path) => path.find(self.scope, self.budget),
            Node::Local(name) => local(name, locals),
            Node::Select(of, field) => self.select(of, field, locals),
            Node::Has(of, field) => self.has(of, field, locals).map(Val::Bool),
            Node::List(items) => self.eval_all(items, locals).map(|items| Val::List(Rc::new(items))),
            Node::Map(entries) => self.map(entries, locals),
            Node::Not(of) => self.truth(of, locals).map(|truth| Val::Bool(!truth)),
            Node::Either(decisive, sides) => {
                let mut fold = Fold::new(*decisive);
                sides.iter().try_for_each(|side| fold.add(|| self.truth(side, locals)))?;
                fold.end().map(Val::Bool)
            }
            Node::Choice(parts) => {
                let [when, then, otherwise] = &**parts;
                self.eval(if self.truth(when, locals)? { then } else { otherwise }, locals)
            }
            Node::Call(function, args) => {
                let args = args.iter().map(|arg| self.opened(arg, locals)).collect::<Result<Vec<_>, _>>()?;
                function.call(&args, self.budget)
            }
            Node::Each(each) => self.each(each, locals),
        }
    }

    fn eval_all(self, nodes: &'a [Node], locals: Locals<'_, 'a>) -> Result<Vec<Val<'a>>, Fault> {
        nodes.iter().map(|node| self.eval(node, locals)).collect()
    }

    /// What `node` gives, to be looked into.
    fn opened(self, node: &'a Node, locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        self.eval(node, locals)?.open(self.budget)
    }

    fn truth(self, node: &'a Node, locals: Locals<'_, 'a>) -> Result<bool, Fault> {
        match self.opened(node, locals)? {
            Val::Bool(truth) => Ok(truth),
            other => Err(Fault::of(format!("needs true or false where it has a {}", other.kind()))),
        }
    }

    fn select(self, of: &'a Node, field: &str, locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        let of = self.opened(of, locals)?;
        of.field(field).ok_or_else(|| of.no_field())
    }

    fn has(self, of: &'a Node, field: &str, locals: Locals<'_, 'a>) -> Result<bool, Fault> {
        if let Node::Path(path) = of {
            return path.has(field, self.scope, self.budget);
        }
        match self.opened(of, locals)? {
            of if of.kind() == "map" => Ok(of.field(field).is_some()),
            of => Err(Fault::of(format!("asks a {} whether it has a field", of.kind()))),
        }
    }

    fn map(self, entries: &'a [(Node, Node)], locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        let mut fields = BTreeMap::new();
        for (key, value) in entries {
            let key = self.opened(key, locals)?;
            let name: Rc<str> = key.text().map(Rc::from).ok_or_else(|| {
                Fault::of(format!("has a map with a {} for a key; JSON has only strings there", key.kind()))
            })?;
            self.budget.spend_text(&name)?;
            if fields.insert(name, self.eval(value, locals)?).is_some() {
                return Err(Fault::of("has a map with the same key twice"));
            }
        }
        Ok(Val::Object(Rc::new(fields)))
    }

    fn each(self, each: &'a Each, locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        let items = self.opened(&each.range, locals)?.items(self.budget)?;
        self.each_of(&items, each, locals).map_err(|fault| over(fault, &items))
    }

    fn each_of(self, items: &[Val<'a>], each: &'a Each, locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
        let at = |value| Local { name: &each.name, value, outer: locals };
        match &each.what {
            What::Either(decisive, node) => {
                let mut fold = Fold::new(*decisive);
                items.iter().try_for_each(|item| fold.add(|| self.truth(node, Some(&at(item)))))?;
                fold.end().map(Val::Bool)
            }
            What::One(node) => {
                let mut count = 0_usize;
                for item in items {
                    count += usize::from(self.truth(node, Some(&at(item)))?);
                }
                Ok(Val::Bool(count == 1))
            }
            What::Map { when, value } => {
                let mut made = Vec::new();
                for item in items {
                    let at = at(item);
                    if when.as_ref().map_or(Ok(true), |when| self.truth(when, Some(&at)))? {
                        made.push(self.eval(value, Some(&at))?);
                    }
                }
                Ok(Val::List(Rc::new(made)))
            }
        }
    }
}

impl Literal {
    fn value(&self) -> Val<'_> {
        match self {
            Self::Null => Val::Null,
            Self::Bool(truth) => Val::Bool(*truth),
            Self::Int(int) => Val::Int(*int),
            Self::Uint(uint) => Val::Uint(*uint),
            Self::Double(double) => Val::Double(*double),
            Self::Text(text) => Val::Text(text),
        }
    }
}

fn local<'a>(name: &str, mut locals: Locals<'_, 'a>) -> Result<Val<'a>, Fault> {
    while let Some(local) = locals {
        if local.name == name {
            return Ok(local.value.clone());
        }
        locals = local.outer;
    }
    Err(Fault::of(format!("names '{name}', which it cannot see")))
}

/// Many truths made one, with `||` or `&&`: one that decides, decides whatever the others are, even where one of
/// them cannot be told. So the order in which an expression is written changes nothing.
struct Fold {
    decisive: bool,
    is_decided: bool,
    fault: Option<Fault>,
}

impl Fold {
    fn new(decisive: bool) -> Self {
        Self { decisive, is_decided: false, fault: None }
    }

    fn add(&mut self, truth: impl FnOnce() -> Result<bool, Fault>) -> Result<(), Fault> {
        if self.is_decided {
            return Ok(());
        }
        match truth() {
            Ok(truth) => self.is_decided = truth == self.decisive,
            Err(fault) if fault.is_final => return Err(fault),
            Err(fault) => self.fault = self.fault.take().or(Some(fault)),
        }
        Ok(())
    }

    fn end(self) -> Result<bool, Fault> {
        match self.fault {
            Some(fault) if !self.is_decided => Err(fault),
            _ => Ok(self.is_decided == self.decisive),
        }
    }
}
