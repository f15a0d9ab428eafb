//! Where the expressions of a text begin and end.

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What stands between `${` and its `}`.
    Expression(&'a str),
}

/// The parts of `text`, or the rest of it that begins inside an expression which never ends.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Text(&rest[..at - 1]));
            pieces.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        let inner = &rest[at + 2..];
        let end = closing_brace(inner).or_else(|| inner.find('}')).ok_or(inner)?;
        pieces.push(Piece::Expression(inner[..end].trim()));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Where the brace is that closes an expression: not one of a map in it, and not one in a string.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in outside_strings(text) {
        match byte {
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            b'{' => depth += 1,
            _ => {}
        }
    }
    None
}

/// The bytes of an expression that are in no string and no comment, and where they are. A quote that opens a string
/// without an end is a byte like any other.
pub(super) fn outside_strings(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let bytes = text.as_bytes();
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        let byte = *bytes.get(at)?;
        next = match byte {
            b'"' | b'\'' => end_of_string(bytes, at).unwrap_or(at) + 1,
            b'/' if bytes[at..].starts_with(b"//") => {
                at + 1 + bytes[at..].iter().take_while(|byte| **byte != b'\n').count()
            }
            _ => at + 1,
        };
        Some((at, byte))
    })
}

/// Where the last quote is of the string that begins at `start`: quoted once or three times, raw or not.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let width = if bytes[start..].starts_with(&[quote; 3]) { 3 } else { 1 };
    let is_raw = is_raw(&bytes[..start]);
    let mut at = start + width;
    while at < bytes.len() {
        if width == 1 && bytes[at] == b'\n' {
            return None;
        }
        if bytes[at] == b'\\' && !is_raw {
            at += 2;
        } else if bytes[at..].starts_with(&[quote; 3][..width]) {
            return Some(at + width - 1);
        } else {
            at += 1;
        }
    }
    None
}

/// Whether what stands before a quote makes its string a raw one: `r` or `R`, perhaps with a `b`, and not the end
/// of a longer word.
fn is_raw(before: &[u8]) -> bool {
    let word = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let word = &before[before.len() - word..];
    word.len() <= 2 && word.iter().any(|byte| matches!(byte, b'r' | b'R'))
}
