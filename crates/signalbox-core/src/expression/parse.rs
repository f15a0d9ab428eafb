//! CEL as the `cel` crate reads it, held off what would take it too deep.

use std::panic::catch_unwind;

use cel::common::ast::IdedExpr;
use cel::parser::PrattParser;

use super::template::outside_strings;

/// Expressions that stand in parentheses or brackets of each other, at most.
const PARENTHESES_MAX: u16 = 32;

/// Operators, dots and opening brackets of one expression, at most. The parser builds one level for each where they
/// follow each other, before these can be counted, and takes time by the square of a chain of calls.
const OPERATORS_MAX: usize = 500;

/// The tree of `text`, with its macros written out.
///
/// # Errors
/// It is not CEL, or holds too much to be looked at.
pub(super) fn parse(text: &str) -> Result<IdedExpr, String> {
    if operators(text) > OPERATORS_MAX {
        return Err(format!("has more than {OPERATORS_MAX} operators"));
    }
    // What a client writes goes straight to code that is not ours: a bug in there is a fault of this expression.
    let parsed = catch_unwind(|| PrattParser::new().max_recursion_depth(PARENTHESES_MAX).parse(text))
        .map_err(|_| "is not an expression".to_owned())?;
    parsed.map_err(|errors| {
        let first = errors.errors.first();
        let reason = first.map_or("", |error| error.msg.trim_start_matches("Syntax error: "));
        match first.map(|error| error.pos) {
            Some((line, column)) if line > 0 => {
                format!("is not an expression: {reason} (at {line}:{column})")
            }
            _ => format!("is not an expression: {reason}"),
        }
    })
}

fn operators(text: &str) -> usize {
    let mut before = b' ';
    let is_operator = |(_, byte): &(usize, u8)| {
        let before = std::mem::replace(&mut before, *byte);
        b"+-*/%<>=!&|?[({".contains(byte) || (*byte == b'.' && !before.is_ascii_digit())
    };
    outside_strings(text).filter(is_operator).count()
}
