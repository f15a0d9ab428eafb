//! The operators and functions of expressions: those of the standard of CEL that JSON has values for.

use std::cmp::Ordering;
use std::rc::Rc;

use cel::common::ast::operators;

use super::budget::{Budget, Fault};
use super::convert::{to_bool, to_double, to_int, to_text, to_uint};
use super::value::{Val, over};

/// An operator or a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Index,
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Text,
    Int,
    Uint,
    Double,
    Bool,
    Dyn,
}

/// The function that `name` calls.
///
/// # Errors
/// There is none, or not for so many arguments (`count` has the object of a method in it).
pub(super) fn find(name: &str, is_method: bool, count: usize) -> Result<Function, String> {
    use Function::{Bool, Contains, Double, Dyn, EndsWith, Int, Size, StartsWith, Text, Uint};
    let (function, takes, may_be_method) = match name {
        operators::NEGATE => return Ok(Function::Negate),
        "size" => (Size, 1, true),
        "contains" => (Contains, 2, true),
        "startsWith" => (StartsWith, 2, true),
        "endsWith" => (EndsWith, 2, true),
        "string" => (Text, 1, false),
        "int" => (Int, 1, false),
        "uint" => (Uint, 1, false),
        "double" => (Double, 1, false),
        "bool" => (Bool, 1, false),
        "dyn" => (Dyn, 1, false),
        _ => return operator(name).ok_or_else(|| unknown(name)),
    };
    let is_called_right = if is_method { may_be_method } else { takes == 1 };
    match is_called_right && takes == count {
        true => Ok(function),
        false if takes == 2 => Err(format!("calls '{name}' wrongly: it is written text.{name}(part)")),
        false => Err(format!("calls '{name}' wrongly: it is written {name}(value)")),
    }
}

fn unknown(name: &str) -> String {
    match name {
        "map" | "filter" | "all" | "exists" | "exists_one" | "existsOne" => {
            format!("calls '{name}' wrongly: it is written list.{name}(x, …)")
        }
        "has" => "calls 'has' wrongly: it is written has(path.field)".to_owned(),
        _ => format!(
            "calls '{name}', which there is not; there are size, contains, startsWith, endsWith, string, int, uint, \
             double, bool, dyn, has, all, exists, exists_one, filter and map"
        ),
    }
}

fn operator(name: &str) -> Option<Function> {
    Some(match name {
        operators::ADD => Function::Add,
        operators::SUBSTRACT => Function::Subtract,
        operators::MULTIPLY => Function::Multiply,
        operators::DIVIDE => Function::Divide,
        operators::MODULO => Function::Modulo,
        operators::EQUALS => Function::Equal,
        operators::NOT_EQUALS => Function::NotEqual,
        operators::LESS => Function::Less,
        operators::LESS_EQUALS => Function::LessEqual,
        operators::GREATER => Function::Greater,
        operators::GREATER_EQUALS => Function::GreaterEqual,
        operators::IN => Function::In,
        _ => return None,
    })
}

impl Function {
    /// What the function gives for `args`.
    pub(super) fn call<'a>(self, args: &[Val<'a>], budget: &Budget<'a>) -> Result<Val<'a>, Fault> {
        match args {
            [value] => self.call_one(value, budget),
            [left, right] => self.call_two(left, right, budget),
            _ => Err(Fault::of("has a call with arguments that it does not take")),
        }
    }

    fn call_one<'a>(self, value: &Val<'a>, budget: &Budget<'a>) -> Result<Val<'a>, Fault> {
        match self {
            Self::Negate => negate(value),
            Self::Size => size(value, budget),
            Self::Text => to_text(value, budget),
            Self::Int => to_int(value),
            Self::Uint => to_uint(value),
            Self::Double => to_double(value),
            Self::Bool => to_bool(value),
            _ => Ok(value.clone()),
        }
    }

    fn call_two<'a>(self, left: &Val<'a>, right: &Val<'a>, budget: &Budget<'a>) -> Result<Val<'a>, Fault> {
        match self {
            Self::Equal => left.equals(right, budget).map(Val::Bool),
            Self::NotEqual => left.equals(right, budget).map(|same| Val::Bool(!same)),
            Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => {
                self.compare(left, right, budget).map(Val::Bool)
            }
            Self::In => is_in(left, right, budget).map(Val::Bool),
            Self::Index => index(left, right),
            Self::Contains | Self::StartsWith | Self::EndsWith => {
                self.search(left, right, budget).map(Val::Bool)
            }
            Self::Add => add(left, right, budget),
            _ => self.compute(left, right),
        }
    }

    fn compare(self, left: &Val<'_>, right: &Val<'_>, budget: &Budget<'_>) -> Result<bool, Fault> {
        let order = left.order(right, budget)?.ok_or_else(|| {
            Fault::of(format!("compares a {} with a {}, which have no order", left.kind(), right.kind()))
        })?;
        Ok(match self {
            Self::Less => order == Ordering::Less,
            Self::LessEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }

    fn search(self, text: &Val<'_>, part: &Val<'_>, budget: &Budget<'_>) -> Result<bool, Fault> {
        let (Some(text), Some(part)) = (text.text(), part.text()) else {
            return Err(Fault::of(format!(
                "looks for a {} in a {}; both must be a string",
                part.kind(),
                text.kind()
            )));
        };
        budget.spend_text(text)?;
        budget.spend_text(part)?;
        Ok(match self {
            Self::Contains => text.contains(part),
            Self::StartsWith => text.starts_with(part),
            _ => text.ends_with(part),
        })
    }

    fn compute<'a>(self, left: &Val<'_>, right: &Val<'_>) -> Result<Val<'a>, Fault> {
        match (left, right) {
            (Val::Int(left), Val::Int(right)) => self.ints(*left, *right).map(Val::Int),
            (Val::Uint(left), Val::Uint(right)) => self.uints(*left, *right).map(Val::Uint),
            (Val::Double(left), Val::Double(right)) if self != Self::Modulo => {
                Ok(Val::Double(self.doubles(*left, *right)))
            }
            _ => Err(self.mismatch(left, right)),
        }
    }

    fn ints(self, left: i64, right: i64) -> Result<i64, Fault> {
        let value = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide | Self::Modulo if right == 0 => return Err(Fault::of("divides by zero")),
            Self::Divide => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        value.ok_or_else(|| Fault::of("goes beyond the range of an int"))
    }

    fn uints(self, left: u64, right: u64) -> Result<u64, Fault> {
        let value = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide | Self::Modulo if right == 0 => return Err(Fault::of("divides by zero")),
            Self::Divide => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        value.ok_or_else(|| Fault::of("goes beyond the range of a uint"))
    }

    fn doubles(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            _ => left / right,
        }
    }

    fn mismatch(self, left: &Val<'_>, right: &Val<'_>) -> Fault {
        let sign = match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
            _ => '%',
        };
        Fault::of(format!(
            "has {} {sign} {}, which is not defined; make both one kind with int(), double() or string()",
            left.kind(),
            right.kind()
        ))
    }
}

fn add<'a>(left: &Val<'a>, right: &Val<'a>, budget: &Budget<'a>) -> Result<Val<'a>, Fault> {
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        budget.spend_text(left)?;
        budget.spend_text(right)?;
        return Ok(Val::Made(Rc::from([left, right].concat())));
    }
    if left.is_list() && right.is_list() {
        let mut items = left.items(budget)?;
        items.extend(right.items(budget)?);
        return Ok(Val::List(Rc::new(items)));
    }
    Function::Add.compute(left, right)
}

fn index<'a>(of: &Val<'a>, index: &Val<'_>) -> Result<Val<'a>, Fault> {
    if let Some(name) = index.text() {
        return of.field(name).ok_or_else(|| of.no_field());
    }
    let at = match index {
        // A whole number written as a double is taken, as the standard has it.
        Val::Double(at) if at.fract() == 0.0 => Some(*at as i128),
        _ => index.integer(),
    };
    match at {
        Some(at) if of.is_list() => usize::try_from(at).ok().and_then(|at| of.item(at)).ok_or_else(|| {
            Fault::of(format!("leads nowhere: a list of {} has no item {at}", of.len().unwrap_or(0)))
        }),
        _ => Err(Fault::of(format!("asks a {} for what it holds at a {}", of.kind(), index.kind()))),
    }
}

fn is_in<'a>(value: &Val<'a>, of: &Val<'a>, budget: &Budget<'a>) -> Result<bool, Fault> {
    if of.is_list() {
        let items = of.items(budget)?;
        for item in &items {
            if item.equals(value, budget).map_err(|fault| over(fault, &items))? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    match (of.kind(), value.text()) {
        ("map", Some(name)) => Ok(of.field(name).is_some()),
        ("map", None) if matches!(value, Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_)) => {
            Ok(false)
        }
        ("map", None) => Err(Fault::of(format!("looks in a map for a {}, which is no key", value.kind()))),
        _ => Err(Fault::of(format!("looks in a {}, which is neither a list nor a map", of.kind()))),
    }
}

fn size<'a>(value: &Val<'_>, budget: &Budget<'_>) -> Result<Val<'a>, Fault> {
    let size = match value.text() {
        Some(text) => {
            budget.spend_text(text)?;
            text.chars().count()
        }
        None => value.len().ok_or_else(|| Fault::of(format!("asks a {} for its size", value.kind())))?,
    };
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn negate<'a>(value: &Val<'_>) -> Result<Val<'a>, Fault> {
    match value {
        Val::Int(int) => {
            int.checked_neg().map(Val::Int).ok_or_else(|| Fault::of("goes beyond the range of an int"))
        }
        Val::Double(double) => Ok(Val::Double(-double)),
        _ => Err(Fault::of(format!("has no value for minus a {}", value.kind()))),
    }
}
