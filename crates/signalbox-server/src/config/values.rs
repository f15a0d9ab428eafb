//! What a value may be. Each reader says what is wrong in words that follow the value.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use signalbox_bus::{Address, Prefix};
use signalbox_wire::duration;
use signalbox_wire::keys::Secret;
use tracing_subscriber::filter::EnvFilter;
use url::Url;

/// Characters of a key that an operator makes up. 16 random ones are more than can be tried over a network.
const KEY_LENGTH_MIN: usize = 16;

/// Something that must not be shown.
pub(super) fn secret(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() { Err("must not be empty".to_owned()) } else { Ok(Secret::new(text)) }
}

/// Something that must not be shown, and goes into a header.
pub(super) fn header_secret(text: &str) -> Result<Secret, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(text)),
        _ => Err("must consist of visible ASCII characters, as it is sent in a header".to_owned()),
    }
}

/// A key that opens something here.
pub(super) fn key(text: &str) -> Result<Secret, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must consist of visible ASCII characters, as it is sent in a header".to_owned());
    }
    match text.len() {
        length if length < KEY_LENGTH_MIN => Err(format!(
            "has {length} characters, which can be guessed; give it at least {KEY_LENGTH_MIN}, such as those that \
             'openssl rand -hex 32' prints"
        )),
        _ => Ok(Secret::new(text)),
    }
}

/// Where the bus is.
pub(super) fn bus(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|bad| bad.to_string())
}

/// What all subjects on the bus begin with.
pub(super) fn subject_prefix(text: &str) -> Result<Prefix, String> {
    Prefix::parse(text).map_err(|bad| bad.to_string())
}

/// A switch, on or off.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" | "t" => Ok(true),
        "false" | "no" | "off" | "0" | "n" | "f" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// An address with a port. A host name is resolved, to an IPv4 address where it has one.
pub(super) fn host_and_port(text: &str) -> Result<SocketAddr, String> {
    let cure =
        "write an address or a host name with a port, such as 127.0.0.1:8000, [::1]:8000 or localhost:8000";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(format!("is no address to listen on; {cure}"));
    }
    let resolved = text.to_socket_addrs().map_err(|error| format!("is not resolved: {error}; {cure}"))?;
    let first = resolved.min_by_key(SocketAddr::is_ipv6);
    first.ok_or_else(|| format!("has no address; {cure}"))
}

/// An http or https address, as it was given.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    parse_url(text).map(|_| text.to_owned())
}

/// The origin of pages: scheme, host, and port where it is not the usual one.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    let origin = url.origin().ascii_serialization();
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || text.ends_with('/') {
        return Err(format!("is more than an origin; write {origin}"));
    }
    Ok(origin)
}

/// The address of a service whose operations are below it, without the `/v1` that they begin with.
pub(super) fn service_url(text: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment; give the service's address alone".to_owned());
    }
    let base = text.trim_end_matches('/');
    Ok(base.strip_suffix("/v1").unwrap_or(base).trim_end_matches('/').to_owned())
}

/// The address that a service's operations are below.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let url = parse_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment; give the address that paths are put after".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn parse_url(text: &str) -> Result<Url, String> {
    let cure = "give the service's address, such as https://signalbox.example";
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}; {cure}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("has the scheme '{scheme}'; {cure}")),
    }
}

/// A level or directives of the log.
pub(super) fn log_directives(text: &str) -> Result<String, String> {
    if text.contains("tokio_postgres") {
        return Err("names tokio_postgres, which would write rows with what is secret in them; leave it out"
            .to_owned());
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "is no level and no directives: {error}; write error, warn, info, debug or trace, or such as \
             info,signalbox_store=debug"
        )),
    }
}

/// A number within bounds: over them, or under, something would come to a standstill.
pub(super) fn within<T>(min: T, max: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if min <= number && number <= max => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

/// A duration in which something can happen.
pub(super) fn time_allowed(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than no time at all".to_owned()),
        duration => Ok(duration),
    }
}

/// A duration as the API takes it, or none at all.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration::parse_setting(text).map_err(|bad| bad.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directive_lets_rows_into_the_log() {
        assert!(log_directives("info,signalbox_store=debug").is_ok());
        assert!(log_directives("tokio_postgres::query=trace").is_err());
    }
}
