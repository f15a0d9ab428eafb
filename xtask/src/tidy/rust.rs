//! As much of Rust's grammar as the checks need: what is code, and which words and paths are in it.
//!
//! [`code_of`] keeps every line where it was, so that positions in its result hold in the file.

/// The text with comments, strings and character literals turned into spaces.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let quiet = match quiet_length(rest) {
            0 => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            length => length,
        };
        code.extend(rest[..quiet].chars().map(|one| if one == '\n' { '\n' } else { ' ' }));
        rest = &rest[quiet..];
    }
    code
}

/// What follows each place where `name` stands as a whole word.
pub(super) fn mentions<'a>(code: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    code.match_indices(name).filter_map(|(start, found)| {
        let (before, after) = (&code[..start], &code[start + found.len()..]);
        let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        whole.then_some(after)
    })
}

/// A piece of code with its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) line: usize,
    /// A word, `::`, or one other character.
    pub(super) text: &'a str,
}

/// The tokens of what [`code_of`] returned.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => rest.find(|one| !is_word(one)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { line: index + 1, text: &rest[..length] });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Whether a character can be part of a word.
pub(super) fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

/// The bytes of the comment or literal that starts here; 0 where code does.
fn quiet_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else if rest.starts_with('r') {
        raw_string(rest)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let (change, length) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        at += length;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, one) in rest.char_indices().skip(1) {
        match one {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if one == quote => return at + one.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// No word may stand directly before a quote, so an `r` there always opens a raw string.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let opening = hashes + 2;
    if rest.as_bytes().get(opening - 1) != Some(&b'"') {
        return 0;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    rest[opening..].find(&closing).map_or(rest.len(), |at| opening + at + closing.len())
}

/// A literal has its closing quote after one character or an escape; a lifetime has none.
fn character(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(one), Some('\'')) => one.len_utf8() + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str) {
        let found = code_of(text);
        assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
        assert_eq!(found.matches('\n').count(), text.matches('\n').count(), "{text}");
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check("a // b\nc", "a c");
        check("a /* b /* c\n */ d */ e", "a e");
        check(r#"a "b \" // c" d"#, "a d");
        check("a r#\"b \" c\"# d", "a d");
        check(r"a '\'' 'x' '\u{e9}' b", "a b");
    }

    #[test]
    fn what_looks_like_a_literal_stays() {
        check("fn f<'a>(x: &'a str) -> r#type", "fn f<'a>(x: &'a str) -> r#type");
        check("for r in 0..1 {}", "for r in 0..1 {}");
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(mentions("todo todos my_todo todo!", "todo").count(), 2);
    }

    #[test]
    fn tokens_carry_their_line() {
        let found = tokens("use a::b;\n  {c}");
        let texts: Vec<&str> = found.iter().map(|token| token.text).collect();
        assert_eq!(texts, ["use", "a", "::", "b", ";", "{", "c", "}"]);
        assert_eq!(found[6].line, 2);
    }
}
