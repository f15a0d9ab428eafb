//! Pages of lists: `limit`, and a `cursor` that only means something to us.
//!
//! A cursor is base64url of a version, the list that it belongs to, and a position in that list. Positions
//! are not secret and not trusted: a list reads one only within the tenant of the caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::fault::Fault;

/// How many entries a page has where the caller does not say.
pub const LIMIT_DEFAULT: usize = 100;
/// The most entries of a page.
pub const LIMIT_MAX: usize = 1000;

/// Raised when the meaning of positions changes, so that an old cursor is refused instead of misread.
const VERSION: &str = "1";
/// The longest cursor that is looked at, in bytes.
const CURSOR_MAX: usize = 2048;

/// The paging part of a query, unread: a fault in it is told like one of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many entries at most, 1 to 1000; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: Option<String>,
    /// The `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What page of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many entries at most.
    pub limit: usize,
    /// The position of the last entry of the page before; `None` for the first page.
    pub after: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The page.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The one form of cursors.
#[derive(Debug, Clone, Copy)]
pub struct Cursor;

impl PageQuery {
    /// Reads what page of `list` is asked for.
    ///
    /// # Errors
    /// All faults of the two parameters.
    pub fn read(&self, list: &str) -> Result<PageRequest, Vec<Fault>> {
        let limit = parse_limit(self.limit.as_deref());
        let after = self.cursor.as_deref().map(|cursor| Cursor::decode(list, cursor)).transpose();
        match (limit, after) {
            (Ok(limit), Ok(after)) => Ok(PageRequest { limit, after }),
            (limit, after) => Err(limit.err().into_iter().chain(after.err()).collect()),
        }
    }
}

impl Cursor {
    /// The cursor of a position in a list; `list` is a word without `/`.
    #[must_use]
    pub fn encode(list: &str, position: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}/{list}/{position}"))
    }

    /// The position that a cursor of this list stands for.
    ///
    /// # Errors
    /// When it is not one that was made for this list.
    pub fn decode(list: &str, cursor: &str) -> Result<String, Fault> {
        let foreign = || Fault::new("/cursor", "must be the next_cursor of an answer of this list");
        if cursor.len() > CURSOR_MAX {
            return Err(foreign());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| foreign())?;
        let text = String::from_utf8(bytes).map_err(|_| foreign())?;
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(VERSION), Some(of), Some(position)) if of == list && !position.contains('\0') => {
                Ok(position.to_owned())
            }
            _ => Err(foreign()),
        }
    }
}

/// Reads a `limit`.
///
/// # Errors
/// When it is not a whole number from 1 to [`LIMIT_MAX`].
pub fn parse_limit(limit: Option<&str>) -> Result<usize, Fault> {
    let Some(text) = limit else { return Ok(LIMIT_DEFAULT) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(limit @ 1..=LIMIT_MAX) if digits => Ok(limit),
        _ => Err(Fault::new("/limit", format!("must be a whole number from 1 to {LIMIT_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_bounded_and_never_guessed() {
        assert_eq!(parse_limit(None), Ok(100));
        assert_eq!((parse_limit(Some("1")), parse_limit(Some("1000"))), (Ok(1), Ok(1000)));
        for text in ["0", "1001", "-1", "+5", "", "ten", "1.0", " 1", "99999999999999999999999"] {
            assert_eq!(parse_limit(Some(text)).unwrap_err().pointer, "/limit", "{text}");
        }
    }

    #[test]
    fn both_faults_of_a_query_are_told() {
        let query = PageQuery { limit: Some("0".to_owned()), cursor: Some("mine".to_owned()) };
        let pointers: Vec<_> =
            query.read("agents").unwrap_err().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/limit", "/cursor"]);
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        let other_version = URL_SAFE_NO_PAD.encode("2/agents/7");
        for cursor in ["", "7", "!!", &Cursor::encode("tools", "7"), &other_version, &"A".repeat(4096)] {
            assert!(Cursor::decode("agents", cursor).is_err(), "{cursor:.20}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_it_went(position in "[^\u{0}]{0,64}") {
            prop_assert_eq!(Cursor::decode("a", &Cursor::encode("a", &position)), Ok(position));
        }
    }
}
