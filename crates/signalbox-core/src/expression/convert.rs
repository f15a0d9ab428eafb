//! The conversions of expressions, `string(x)` and its like: they take what the standard of CEL takes.

use std::rc::Rc;

use super::budget::{Budget, Fault};
use super::value::Val;

pub(super) fn to_text<'a>(value: &Val<'a>, budget: &Budget<'_>) -> Result<Val<'a>, Fault> {
    if let Some(text) = value.text() {
        budget.spend_text(text)?;
        return Ok(value.clone());
    }
    let text = match value {
        Val::Bool(truth) => truth.to_string(),
        Val::Int(int) => int.to_string(),
        Val::Uint(uint) => uint.to_string(),
        Val::Double(double) => double.to_string(),
        _ => return Err(not_a("string", value)),
    };
    Ok(Val::Made(Rc::from(text)))
}

pub(super) fn to_int<'a>(value: &Val<'_>) -> Result<Val<'a>, Fault> {
    let int = match value {
        // Both ends are excluded, as the standard has it: neither is exact as a double.
        Val::Double(double) if *double > i64::MIN as f64 && *double < i64::MAX as f64 => Some(*double as i64),
        Val::Double(_) => None,
        _ => match (value.integer(), value.text()) {
            (Some(int), _) => i64::try_from(int).ok(),
            (None, Some(text)) => text.parse().ok(),
            (None, None) => return Err(not_a("int", value)),
        },
    };
    int.map(Val::Int).ok_or_else(|| Fault::of(format!("makes an int of a {} that is none", value.kind())))
}

pub(super) fn to_uint<'a>(value: &Val<'_>) -> Result<Val<'a>, Fault> {
    let uint = match value {
        Val::Double(double) if *double >= 0.0 && *double < u64::MAX as f64 => Some(*double as u64),
        Val::Double(_) => None,
        _ => match (value.integer(), value.text()) {
            (Some(int), _) => u64::try_from(int).ok(),
            (None, Some(text)) => text.parse().ok(),
            (None, None) => return Err(not_a("uint", value)),
        },
    };
    uint.map(Val::Uint).ok_or_else(|| Fault::of(format!("makes a uint of a {} that is none", value.kind())))
}

pub(super) fn to_double<'a>(value: &Val<'_>) -> Result<Val<'a>, Fault> {
    match (value, value.text()) {
        (Val::Double(double), _) => Ok(Val::Double(*double)),
        (Val::Int(int), _) => Ok(Val::Double(*int as f64)),
        (Val::Uint(uint), _) => Ok(Val::Double(*uint as f64)),
        (_, Some(text)) => {
            text.parse().map(Val::Double).map_err(|_| Fault::of("makes a double of a string that is none"))
        }
        _ => Err(not_a("double", value)),
    }
}

pub(super) fn to_bool<'a>(value: &Val<'_>) -> Result<Val<'a>, Fault> {
    match (value, value.text()) {
        (Val::Bool(truth), _) => Ok(Val::Bool(*truth)),
        (_, Some("1" | "t" | "true" | "TRUE" | "True")) => Ok(Val::Bool(true)),
        (_, Some("0" | "f" | "false" | "FALSE" | "False")) => Ok(Val::Bool(false)),
        _ => Err(not_a("bool", value)),
    }
}

fn not_a(kind: &str, value: &Val<'_>) -> Fault {
    Fault::of(format!("cannot make a {kind} of this {}", value.kind()))
}
