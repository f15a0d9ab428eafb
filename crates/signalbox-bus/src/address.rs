//! Where a bus is: `local`, or the servers of a NATS.

use std::fmt;

use percent_encoding::percent_decode_str;
use signalbox_wire::keys::Secret;
use url::Url;

/// The port that NATS listens on unless told otherwise.
const PORT: u16 = 4222;

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Inside this process.
    Local,
    /// At one of these NATS servers.
    Nats(NatsAddress),
}

/// The servers of one NATS, and what opens them. Shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsAddress {
    /// Without anything that must not be shown.
    pub(crate) servers: Vec<Url>,
    pub(crate) login: Option<Login>,
}

/// What opens a NATS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    User(Secret, Secret),
    Token(Secret),
}

/// Why a text is no address of a bus. It never says what the text was, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Neither `local` nor a URL of NATS.
    #[error(
        "names no bus; write 'local', or the address of a NATS server, such as nats://user:password@nats.example:4222, or \
         tls://… for TLS"
    )]
    Unknown,
    /// A URL that is none.
    #[error("is not a URL: {0}; write such as nats://user:password@nats.example:4222")]
    NoUrl(String),
    /// More than a server's address.
    #[error(
        "has a path, a query or a fragment; give the server's address alone, such as nats://nats.example:4222"
    )]
    Beyond,
    /// Several servers with different users.
    #[error(
        "names different users or tokens for the servers of one NATS; give them once, at the first server"
    )]
    Logins,
    /// One server with TLS and another without.
    #[error("has tls:// for one server and nats:// for another of the same NATS; give all the same")]
    Schemes,
}

impl Address {
    /// Reads an address. A NATS of several servers has commas between their addresses.
    ///
    /// # Errors
    /// [`BadAddress`] when it is none.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let mut found = NatsAddress { servers: Vec::new(), login: None };
        for part in text.split(',').map(str::trim) {
            let url = Url::parse(part).map_err(|error| match part.contains("://") {
                true => BadAddress::NoUrl(error.to_string()),
                false => BadAddress::Unknown,
            })?;
            found.add(url)?;
        }
        Ok(Self::Nats(found))
    }

    /// The name of this kind of bus, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Nats(_) => "nats",
        }
    }
}

impl NatsAddress {
    fn add(&mut self, mut url: Url) -> Result<(), BadAddress> {
        if !["nats", "tls"].contains(&url.scheme()) {
            return Err(BadAddress::Unknown);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BadAddress::NoUrl("it has no host".to_owned()));
        }
        if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
            return Err(BadAddress::Beyond);
        }
        if self.servers.first().is_some_and(|first| first.scheme() != url.scheme()) {
            return Err(BadAddress::Schemes);
        }
        if let Some(login) = Login::of(&url)? {
            if self.login.as_ref().is_some_and(|known| *known != login) {
                return Err(BadAddress::Logins);
            }
            self.login = Some(login);
        }
        let is_bare = url.set_username("").and_then(|()| url.set_password(None));
        let has_port = url.port().is_some() || url.set_port(Some(PORT)).is_ok();
        match is_bare.is_ok() && has_port {
            true => self.servers.push(url),
            false => return Err(BadAddress::Beyond),
        }
        Ok(())
    }
}

impl Login {
    fn of(url: &Url) -> Result<Option<Self>, BadAddress> {
        let plain = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => Err(BadAddress::NoUrl("its user or password is not UTF-8".to_owned())),
        };
        Ok(match (url.username(), url.password()) {
            ("", None) => None,
            (token, None) => Some(Self::Token(plain(token)?)),
            (user, Some(password)) => Some(Self::User(plain(user)?, plain(password)?)),
        })
    }
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats(text: &str) -> NatsAddress {
        match Address::parse(text) {
            Ok(Address::Nats(nats)) => nats,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_address_says_which_servers_and_hides_what_opens_them() {
        let address = nats("nats://us%40er:p%3Aw@one.example:4222, nats://two.example");
        assert_eq!(address.login, Some(Login::User(Secret::new("us@er"), Secret::new("p:w"))));
        assert_eq!(format!("{address} {address:?}").matches("one.example:4222").count(), 2);
        assert!(!format!("{address} {address:?}").contains("p:w"), "{address}");
        assert!(!format!("{address} {address:?}").contains("er:"), "{address}");
        assert_eq!(address.servers[1].port(), Some(PORT));
        assert_eq!(nats("tls://t0ken@[::1]:1").login, Some(Login::Token(Secret::new("t0ken"))));
        assert_eq!(Address::parse("local"), Ok(Address::Local));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_cure_and_without_the_password() {
        let refused = |text: &str| Address::parse(text).map(|address| address.kind());
        assert_eq!(refused("carrier-pigeon"), Err(BadAddress::Unknown));
        assert_eq!(refused("natz://h:1"), Err(BadAddress::Unknown));
        assert_eq!(refused("nats://h:1/path"), Err(BadAddress::Beyond));
        assert_eq!(refused("nats://a:b@h:1,nats://c:d@i:1"), Err(BadAddress::Logins));
        assert_eq!(refused("nats://h:1,tls://i:1"), Err(BadAddress::Schemes));
        for text in ["nats://u:s3cret@h:port", "nats://u:s3cret@", "nuts://u:s3cret@h", "nats://u:s3cret@h/x"]
        {
            let error = Address::parse(text).expect_err("not an address").to_string();
            assert!(error.contains("nats://") && !error.contains("s3cret"), "{error}");
        }
    }
}
