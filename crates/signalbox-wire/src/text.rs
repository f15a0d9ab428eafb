//! Rules for single strings: a [`Text`] is a range of lengths in characters and a test of the content.
//!
//! No rule lets U+0000 through: one of the databases cannot hold it in text, and both must accept the same.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use crate::id;
use crate::time::Timestamp;

/// The longest endpoint that is accepted, in characters.
pub const ENDPOINT_MAX: usize = 2048;

/// What a string must be.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    min: usize,
    max: usize,
    test: fn(&str) -> Result<(), &'static str>,
}

impl Text {
    /// A name of an agent, a capability or a sender, or a version.
    pub const NAME: Self = Self::new(1, 256, no_control);
    /// An id from outside, as [`crate::id`] takes it.
    pub const ID: Self = Self::new(1, id::MAX_LENGTH, no_control);
    /// An agent's own id: no segment of a path that means something else.
    pub const AGENT_ID: Self = Self::new(1, id::MAX_LENGTH, agent_id);
    /// A message's own id, likewise.
    pub const MESSAGE_ID: Self = Self::new(1, id::MAX_LENGTH, message_id);
    /// A version of an agent or a definition.
    pub const VERSION: Self = Self::new(1, 64, no_control);
    /// An endpoint: see [`check_endpoint`].
    pub const ENDPOINT: Self = Self::new(1, ENDPOINT_MAX, check_endpoint);
    /// The word of a state report.
    pub const STATE: Self = Self::new(1, 64, word);
    /// A point in time in any of the accepted forms.
    pub const TIMESTAMP: Self = Self::new(1, 64, timestamp);
    /// Free text that people read.
    pub const DESCRIPTION: Self = Self::new(0, 4096, anything);
    /// The id of a workflow or of a task in one.
    pub const SLUG: Self = Self::new(1, 128, slug);
    /// The id of a schedule or a hook.
    pub const RESOURCE: Self = Self::new(1, 128, resource);
    /// The name of a tool.
    pub const TOOL: Self = Self::new(1, 128, tool);

    /// A rule of a length in characters and a test, whose error is read after the field's pointer.
    #[must_use]
    pub const fn new(min: usize, max: usize, test: fn(&str) -> Result<(), &'static str>) -> Self {
        Self { min, max, test }
    }

    /// Whether a text fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.length_fits(text) && no_nul(text).is_ok() && (self.test)(text).is_ok()
    }

    /// Checks a text.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self, text: &str) -> Result<(), String> {
        if !self.length_fits(text) {
            return Err(self.wrong_length(text));
        }
        no_nul(text).and_then(|()| (self.test)(text)).map_err(str::to_owned)
    }

    fn length_fits(&self, text: &str) -> bool {
        // A character has one to four bytes, so most texts need no counting.
        let bytes = text.len();
        if bytes < self.min || bytes > self.max.saturating_mul(4) {
            return false;
        }
        if bytes <= self.max && bytes >= self.min.saturating_mul(4) {
            return true;
        }
        (self.min..=self.max).contains(&text.chars().count())
    }

    fn wrong_length(&self, text: &str) -> String {
        match (self.min, text.chars().count()) {
            (_, 0) => "must not be empty".to_owned(),
            (0 | 1, count) => format!("must have at most {} characters, not {count}", self.max),
            (min, count) => format!("must have {min} to {} characters, not {count}", self.max),
        }
    }
}

impl From<RangeInclusive<usize>> for Text {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self::new(*range.start(), *range.end(), anything)
    }
}

/// Accepts every text.
///
/// # Errors
/// Never.
pub fn anything(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Accepts text without control characters.
///
/// # Errors
/// When there is one.
pub fn no_control(text: &str) -> Result<(), &'static str> {
    refuse(text.chars().any(char::is_control), "must not contain control characters")
}

/// Accepts a URL that something can be POSTed to, by its form alone: `http` or `https`, a host, no user
/// info, no fragment, and only characters that a URI may hold. Whether the address may be called is decided
/// when it is called, after name resolution.
///
/// # Errors
/// What about it is not so.
pub fn check_endpoint(text: &str) -> Result<(), &'static str> {
    let rest = strip_scheme(text).ok_or("must be an http or https URL, such as http://127.0.0.1:9000/run")?;
    let legal = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    refuse(
        !rest.bytes().all(legal),
        "must hold only characters that a URL may hold; percent-encode the others",
    )?;
    refuse(rest.contains('#'), "must not have a fragment (#…)")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    refuse(authority.contains('@'), "must not hold a user name or password")?;
    let (host, port) = split_port(authority);
    refuse(!is_host(host), "must name a host")?;
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    refuse(!port_fits, "must have a port from 1 to 65535, or none")
}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")).then_some(rest)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The last colon of a bare `[::1]` is inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    host.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn agent_id(text: &str) -> Result<(), &'static str> {
    no_control(text)?;
    refuse(text == "register", "must not be 'register', which is a path of its own; choose another id")?;
    not_dots(text)
}

fn message_id(text: &str) -> Result<(), &'static str> {
    no_control(text)?;
    refuse(text == "redrive", "must not be 'redrive', which is a path of its own; choose another id")?;
    not_dots(text)
}

/// Clients and proxies take `.` and `..` out of a path before it gets here.
fn not_dots(text: &str) -> Result<(), &'static str> {
    refuse(text.bytes().all(|byte| byte == b'.'), "must not be of dots alone; choose another id")
}

fn word(text: &str) -> Result<(), &'static str> {
    let broken = text.chars().any(|c| c.is_whitespace() || c.is_control());
    refuse(broken, "must be one word, without spaces or control characters")
}

fn slug(text: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    refuse(!text.bytes().all(legal), "must hold only letters, digits and _ . : -")
}

fn resource(text: &str) -> Result<(), &'static str> {
    slug(text)?;
    not_dots(text)
}

fn tool(text: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    refuse(!text.bytes().all(legal), "must hold only letters, digits and _ . -")
}

fn timestamp(text: &str) -> Result<(), &'static str> {
    refuse(
        Timestamp::parse(text).is_err(),
        "must be an RFC 3339 or ISO 8601 timestamp, such as 2026-01-31T12:00:00Z",
    )
}

fn no_nul(text: &str) -> Result<(), &'static str> {
    refuse(text.as_bytes().contains(&0), "must not contain the character U+0000")
}

fn refuse(broken: bool, message: &'static str) -> Result<(), &'static str> {
    if broken { Err(message) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_that_can_be_posted_to() {
        for url in [
            "http://localhost",
            "HTTP://a.example:8080/x?y=%20z",
            "https://agent_1:65535/",
            "http://[::1]:9000/run",
            "http://[2001:db8::1]",
            "http://127.0.0.1?x",
        ] {
            assert_eq!(Text::ENDPOINT.check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn endpoints_that_cannot() {
        for (url, part) in [
            ("", "empty"),
            ("ftp://a", "http or https"),
            ("localhost:80", "http or https"),
            ("http://", "host"),
            ("http:///path", "host"),
            ("http://...", "host"),
            ("http://[::g]", "host"),
            ("http://a[::1]", "host"),
            ("http://user:pw@a/", "password"),
            ("http://a/#b", "fragment"),
            ("http://a b/", "percent-encode"),
            ("http://a/ä", "percent-encode"),
            ("http://a\r\nx: y/", "percent-encode"),
            ("http://a:0/", "port"),
            ("http://a:70000/", "port"),
            ("http://a:+80/", "port"),
            ("http://a:/", "port"),
        ] {
            let message = Text::ENDPOINT.check(url).expect_err(url);
            assert!(message.contains(part), "{url}: {message}");
        }
        assert!(Text::ENDPOINT.check(&format!("http://a/{}", "x".repeat(ENDPOINT_MAX))).is_err());
    }

    #[test]
    fn lengths_are_in_characters() {
        assert!(Text::NAME.fits(&"ä".repeat(256)));
        assert_eq!(
            Text::NAME.check(&"ä".repeat(257)).unwrap_err(),
            "must have at most 256 characters, not 257"
        );
        assert_eq!(Text::NAME.check("").unwrap_err(), "must not be empty");
        assert_eq!(Text::from(2..=3).check("a").unwrap_err(), "must have 2 to 3 characters, not 1");
    }

    #[test]
    fn no_rule_lets_a_nul_through() {
        for rule in [Text::NAME, Text::DESCRIPTION, Text::STATE, Text::from(1..=9)] {
            assert!(!rule.fits("a\0b"));
        }
    }

    proptest! {
        #[test]
        fn fits_and_check_agree(text in "\\PC{0,12}|[\\x00-\\x20a]{0,70}", min in 0_usize..4, max in 4_usize..12) {
            for rule in [Text::new(min, max, anything), Text::STATE, Text::SLUG, Text::TOOL, Text::ENDPOINT] {
                prop_assert_eq!(rule.fits(&text), rule.check(&text).is_ok());
            }
            let counted = (min..=max).contains(&text.chars().count());
            prop_assert_eq!(Text::new(min, max, anything).length_fits(&text), counted);
        }
    }
}
