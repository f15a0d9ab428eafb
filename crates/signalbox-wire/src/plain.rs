//! JSON without surprises, read and written where the general way would cost most of a request.
//!
//! [`Plain`] walks a text and gives up, with `None`, on whatever is not sure to be accepted as it stands: escapes,
//! exponents, long numbers, deep nesting. Whoever asks then takes the general way. [`quote`] writes a string.

/// A walk over a JSON text.
pub(crate) struct Plain<'t> {
    text: &'t str,
    at: usize,
}

/// Levels of objects and arrays that are walked.
const LEVELS_MAX: u32 = 16;
/// Bytes of a number that is certainly one that can be represented.
const NUMBER_BYTES_MAX: usize = 32;

impl<'t> Plain<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Walks an object; `member` is called behind each key and its colon, and walks the value.
    pub(crate) fn members(&mut self, mut member: impl FnMut(&'t str, &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.next()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.string()?;
            // Some such keys mean something to the parser.
            if key.starts_with('$') {
                return None;
            }
            self.take(b':')?;
            member(key, self)?;
            if self.goes_on(b'}')? {
                continue;
            }
            return Some(());
        }
    }

    /// Walks a string; its content.
    pub(crate) fn string(&mut self) -> Option<&'t str> {
        self.take(b'"')?;
        let rest = self.text.get(self.at..)?;
        let content = rest.get(..plain_length(rest.as_bytes()))?;
        self.at += content.len();
        (self.byte()? == b'"').then(|| self.at += 1)?;
        Some(content)
    }

    /// Walks a value; its content where it is a string.
    pub(crate) fn string_or_other(&mut self) -> Option<Option<&'t str>> {
        if self.next()? == b'"' { self.string().map(Some) } else { self.any().map(|()| None) }
    }

    /// Walks an object; its text.
    pub(crate) fn object(&mut self) -> Option<&'t str> {
        let _ = self.next()?;
        let start = self.at;
        self.members(|_, inner| inner.value(1))?;
        self.text.get(start..self.at)
    }

    /// Walks a value of any kind.
    pub(crate) fn any(&mut self) -> Option<()> {
        self.value(0)
    }

    /// That nothing follows.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.next().is_none().then_some(())
    }

    fn value(&mut self, level: u32) -> Option<()> {
        if level > LEVELS_MAX {
            return None;
        }
        match self.next()? {
            b'"' => self.string().map(drop),
            b'{' => self.members(|_, inner| inner.value(level + 1)),
            b'[' => self.items(level),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn items(&mut self, level: u32) -> Option<()> {
        self.at += 1;
        if self.next()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(level + 1)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let found = self.text.get(self.at..)?.starts_with(word);
        found.then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        if self.byte()? == b'-' {
            self.at += 1;
        }
        let leads_with_zero = self.byte()? == b'0';
        let whole = self.digits();
        if whole == 0 || (leads_with_zero && whole > 1) {
            return None;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        let has_exponent = matches!(self.byte(), Some(b'e' | b'E'));
        (!has_exponent && self.at - start <= NUMBER_BYTES_MAX).then_some(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Steps over a comma, or over `close`; whether it was the comma.
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        let byte = self.next()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            _ if byte == close => Some(false),
            _ => None,
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Appends `text` as a JSON string.
pub fn quote(into: &mut String, text: &str) {
    if is_plain(text) {
        into.reserve(text.len() + 2);
        into.push('"');
        into.push_str(text);
        into.push('"');
    } else {
        // A string cannot fail to be written.
        into.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
    }
}

/// Whether a text stands in a JSON string as it is. It nearly always does, so nothing is left early, and the end is looked at
/// together with bytes before it.
#[inline]
pub(crate) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    let Some(last) = bytes.last_chunk::<8>() else { return plain_length(rest) == rest.len() };
    let found = words.iter().fold(ends_of_plain(u64::from_le_bytes(*last)), |found, word| {
        found | ends_of_plain(u64::from_le_bytes(*word))
    });
    found == 0
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// How many bytes stand in a JSON string as they are, before the first quote, backslash or control character.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = ends_of_plain(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    words.len() * 8 + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// The high bit of each byte that ends a plain stretch; right up to the first such byte, which is all that counts.
fn ends_of_plain(word: u64) -> u64 {
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_zero(word ^ (ONES * u64::from(b'"'))) | is_zero(word ^ (ONES * u64::from(b'\\'))) | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw;

    fn is_plain(text: &str) -> bool {
        let mut walk = Plain::new(text);
        walk.any().and_then(|()| walk.end()).is_some()
    }

    #[test]
    fn the_usual_is_walked_and_the_unusual_left() {
        for text in [
            "{}",
            " { \"a\" : [1, -2.5, 0, \"x\"], \"b\":{\"c\":null} , \"d\":true,\"e\":false}\n",
            r#""gr\u00fcn""#.replace("\\u00fc", "ü").as_str(),
            "[]",
            "12345678901234567890123",
        ] {
            assert!(is_plain(text), "{text}");
        }
        for text in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1,]",
            "01",
            "-",
            "1.",
            ".5",
            "1e5",
            "nul",
            "\"a",
            "\"a\\n\"",
            "\"a\u{1}\"",
            "{\"$a\":1}",
            "1 2",
            &"[".repeat(50),
            &"1".repeat(33),
        ] {
            assert!(!is_plain(text), "{text:.60}");
        }
    }

    #[test]
    fn an_object_inside_is_given_as_its_text() {
        let mut found = None;
        let mut walk = Plain::new(r#"{"a":1,"b": {"c": [2]} }"#);
        let walked = walk.members(|key, value| {
            if key == "b" {
                found = Some(value.object()?);
                return Some(());
            }
            value.any()
        });
        assert_eq!((walked, found), (Some(()), Some(r#"{"c": [2]}"#)));
        assert_eq!(Plain::new("[1]").object(), None);
    }

    proptest! {
        #[test]
        fn what_is_walked_can_be_read(text in r#"[{}\[\],:"\\atrue0-9deE.+ $-]{0,24}|\{("[a$\\u0d8]{0,3}":[{}\[\],:"\\au0-9deE.+-]{0,12},?){0,3}\}"#) {
            prop_assert!(!is_plain(&text) || raw::check(text.as_bytes()).is_ok());
        }

        #[test]
        fn strings_are_quoted_as_the_library_quotes_them(text in r#"[a-z"\\ü€\u{0}-\u{1f}\u{7f}]{0,20}|.{0,40}"#) {
            let mut quoted = String::new();
            quote(&mut quoted, &text);
            prop_assert_eq!(quoted, serde_json::to_string(&text).unwrap());
        }
    }
}
