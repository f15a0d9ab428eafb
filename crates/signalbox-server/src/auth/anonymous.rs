//! The [`AnonymousAccess`]: which calls come in without a key.
//!
//! A listener on loopback is meant for the people and programs of this machine. A proxy on it and a page in a
//! browser are on this machine too, but call for somebody else: both are told apart by their headers.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use signalbox_wire::problem::Problem;
use url::Url;

use crate::config::Config;

/// What a proxy says of whom it calls for.
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// Who may call without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnonymousAccess {
    /// Nobody.
    Closed,
    /// Whoever is on this machine, and calls it by one of its own names or by the public one.
    Local { public_host: Option<String> },
    /// Everybody who can connect, as the operator said in so many words.
    Everybody,
}

impl AnonymousAccess {
    pub(crate) fn new(config: &Config, address: SocketAddr) -> Self {
        if config.server.require_keys {
            Self::Closed
        } else if config.server.insecure {
            Self::Everybody
        } else if address.ip().is_loopback() {
            let public = config.server.public_url.as_deref().and_then(|url| Url::parse(url).ok());
            Self::Local { public_host: public.and_then(|url| url.host_str().map(str::to_owned)) }
        } else {
            Self::Closed
        }
    }

    /// The rule in words, for the log.
    pub(crate) fn rule(&self) -> &'static str {
        match self {
            Self::Closed => "without a key nothing is open",
            Self::Local { .. } => {
                "without a key, programs on this machine may use the AgentKit surface; everything else needs one"
            }
            Self::Everybody => {
                "without a key, everybody who can connect may use the AgentKit surface; everything else needs one"
            }
        }
    }

    /// Why a call with these headers does not come in, if so.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if *self == Self::Closed {
            return Err(no_key());
        }
        let host = text(headers, &header::HOST).map(split);
        if let Some(origin) = text(headers, &header::ORIGIN)
            && !is_of(origin, host)
        {
            return Err(Problem::forbidden(
                "The call comes from a page of another origin and carries no key; send 'Authorization: Bearer <key>'.",
            ));
        }
        let Self::Local { public_host } = self else { return Ok(()) };
        if FORWARDED.iter().any(|name| headers.contains_key(name)) {
            return Err(Problem::unauthorized(
                "The call came through a proxy and carries no key; send 'Authorization: Bearer <key>'.",
            ));
        }
        match host {
            Some((host, _))
                if !is_local(host) && !public_host.as_deref().is_some_and(|name| same(name, host)) =>
            {
                Err(Problem::forbidden(
                    "The Host of the call is not this machine and the call carries no key; call localhost, set public_url to the address that is called, or send 'Authorization: Bearer <key>'.",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// That a key is needed.
pub(super) fn no_key() -> Problem {
    Problem::unauthorized("No key was sent; send 'Authorization: Bearer <key>'.")
}

/// A header's value; one that is not text counts as empty, which nothing admits.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Whether a call comes from a page of another origin than the server that it names as its host; what no browser sent has
/// none.
pub(crate) fn foreign_origin(headers: &HeaderMap) -> Option<&str> {
    let host = text(headers, &header::HOST).map(split);
    text(headers, &header::ORIGIN).filter(|origin| !is_of(origin, host))
}

/// Whether a page of `origin` is one of the server that the call names as its host.
fn is_of(origin: &str, host: Option<(&str, Option<&str>)>) -> bool {
    let (Some((scheme, authority)), Some((host, port))) = (origin.split_once("://"), host) else {
        return false;
    };
    let (name, own_port) = split(authority);
    let usual = if scheme.eq_ignore_ascii_case("https") { "443" } else { "80" };
    same(name, host) && own_port.unwrap_or(usual) == port.unwrap_or(usual)
}

/// A host and its port.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The last colon of a bare `[::1]` is inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

fn is_local(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn verdict(anonymous: &AnonymousAccess, pairs: &[(&'static str, &str)]) -> Option<u16> {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("valid"))
        };
        anonymous.admit(&pairs.iter().map(pair).collect()).err().map(|problem| problem.status)
    }

    fn local() -> AnonymousAccess {
        AnonymousAccess::Local { public_host: Some("signalbox.example".to_owned()) }
    }

    #[test]
    fn a_call_from_this_machine_comes_in() {
        for host in
            ["localhost:8000", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000", "LOCALHOST.", "a.localhost"]
        {
            assert_eq!(verdict(&local(), &[("host", host)]), None, "{host}");
        }
        assert_eq!(verdict(&local(), &[]), None);
        assert_eq!(verdict(&local(), &[("host", "Signalbox.example:8443")]), None, "its public name");
    }

    #[test]
    fn a_proxy_is_asked_for_a_key() {
        for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
            let pairs = [("host", "localhost"), (name, "203.0.113.7")];
            assert_eq!(verdict(&local(), &pairs), Some(401), "{name}");
            assert_eq!(verdict(&AnonymousAccess::Everybody, &pairs), None, "{name}");
        }
    }

    #[test]
    fn a_page_of_another_origin_does_not_come_in() {
        for (host, origin, expected) in [
            ("localhost:8000", "http://localhost:8000", None),
            ("localhost", "http://localhost:80", None),
            ("signalbox.example", "https://signalbox.example", None),
            ("localhost:8000", "http://localhost:3000", Some(403)),
            ("localhost:8000", "https://evil.example", Some(403)),
            ("localhost:8000", "null", Some(403)),
            ("localhost:8000", "", Some(403)),
        ] {
            assert_eq!(verdict(&local(), &[("host", host), ("origin", origin)]), expected, "{origin}");
        }
        let foreign = [("host", "localhost:8000"), ("origin", "https://evil.example")];
        assert_eq!(verdict(&AnonymousAccess::Everybody, &foreign), Some(403));
    }

    #[test]
    fn a_name_that_was_bent_to_this_machine_does_not_come_in() {
        for host in ["evil.example:8000", "localhost.evil.example", "10.0.0.1", ""] {
            assert_eq!(verdict(&local(), &[("host", host)]), Some(403), "{host:?}");
        }
        assert_eq!(verdict(&AnonymousAccess::Closed, &[("host", "localhost")]), Some(401));
    }
}
