//! Which addresses may be called.
//!
//! Link-local and metadata addresses never, whatever the operator says; loopback and private ranges unless
//! the operator forbids them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Policy {
    pub(crate) forbid_loopback: bool,
    pub(crate) forbid_private: bool,
}

/// Metadata services that are not link-local.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
/// Names under which metadata services answer.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

impl Policy {
    /// Public addresses alone.
    pub(crate) const PUBLIC: Self = Self { forbid_loopback: true, forbid_private: true };

    /// Why `address` may not be called, if so.
    pub(crate) fn fault(self, address: IpAddr) -> Option<&'static str> {
        match address {
            IpAddr::V4(address) => self.fault_v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped().or_else(|| embedded_v4(address)) {
                Some(inner) => self.fault_v4(inner),
                None => self.fault_v6(address).or_else(|| {
                    let inside = maybe_embedded_v4(address).into_iter().flatten();
                    inside.filter(|inner| inner.octets()[0] != 0).find_map(|inner| self.fault_v4(inner))
                }),
            },
        }
    }

    /// Why a URL may not be called, as far as its text tells. A name is checked again once it is resolved.
    pub(crate) fn url_fault(self, url: &Url) -> Option<String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Some(format!("has the scheme '{}'; use http or https", url.scheme()));
        }
        let fault = match url.host() {
            None => return Some("has no host".to_owned()),
            Some(Host::Ipv4(address)) => self.fault(address.into()),
            Some(Host::Ipv6(address)) => self.fault(address.into()),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                METADATA_NAMES
                    .iter()
                    .any(|other| name.eq_ignore_ascii_case(other))
                    .then_some("a metadata service")
            }
        };
        fault.map(|what| format!("leads to {what}, which is never called from here"))
    }

    fn fault_v4(self, address: Ipv4Addr) -> Option<&'static str> {
        let octets = address.octets();
        if METADATA_V4.contains(&address) {
            Some("a metadata service")
        } else if address.is_link_local() {
            Some("a link-local address")
        } else if octets[0] == 0 && !address.is_unspecified()
            || address.is_broadcast()
            || address.is_multicast()
        {
            Some("an address that is no host's")
        } else if self.forbid_loopback && (address.is_loopback() || address.is_unspecified()) {
            Some("a loopback address")
        } else if self.forbid_private && (address.is_private() || octets[0] == 100 && octets[1] & 0xc0 == 64)
        {
            Some("a private address")
        } else {
            None
        }
    }

    fn fault_v6(self, address: Ipv6Addr) -> Option<&'static str> {
        let first = address.segments()[0];
        if METADATA_V6.contains(&address) {
            Some("a metadata service")
        } else if first & 0xffc0 == 0xfe80 {
            Some("a link-local address")
        } else if address.is_multicast() {
            Some("an address that is no host's")
        } else if self.forbid_loopback && (address.is_loopback() || address.is_unspecified()) {
            Some("a loopback address")
        } else if self.forbid_private && first & 0xfe00 == 0xfc00 {
            Some("a private address")
        } else {
            None
        }
    }
}

/// The IPv4 addresses that may be inside a local NAT64 address (64:ff9b:1::/48), wherever its network lets them
/// begin.
fn maybe_embedded_v4(address: Ipv6Addr) -> Option<[Ipv4Addr; 4]> {
    let [0, 0x64, 0xff, 0x9b, 0, 1, rest @ ..] = address.octets() else { return None };
    // The ninth byte of the address is no part of what it carries.
    let [a, b, _, c, d, e, f, g, h, i] = rest;
    Some([[a, b, c, d], [b, c, d, e], [c, d, e, f], [f, g, h, i]].map(Ipv4Addr::from))
}

/// The IPv4 address inside a NAT64 (64:ff9b::/96), 6to4 (2002::/16) or IPv4-compatible (::/96) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 || low > 1 => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(policy: Policy, url: &str) -> Option<String> {
        policy.url_fault(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn metadata_and_link_local_are_never_called_however_they_are_written() {
        for url in [
            "http://169.254.169.254/latest",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
            "http://168.63.129.16/",
            "http://[::a9fe:a9fe]/",
            "http://[64:ff9b:1::a9fe:a9fe]/",
            "http://[64:ff9b:1:a9fe:a9:fe00::]/",
            "http://[64:ff9b:1:0:a9:fea9:fe00:0]/",
            "http://[64:ff9b:1:fffe::a83f:8110]/",
            "http://100.100.100.200/",
            "http://metadata.google.internal/",
            "http://METADATA.google.internal./",
        ] {
            assert!(fault(Policy::default(), url).is_some(), "{url}");
        }
    }

    #[test]
    fn loopback_and_private_are_the_operators_choice() {
        let strict = Policy { forbid_loopback: true, forbid_private: true };
        for url in [
            "http://127.0.0.1:9/",
            "http://[::1]/",
            "http://10.1.2.3/",
            "http://192.168.0.1/",
            "http://[fd12::1]/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://[::7f00:1]/",
            "http://[64:ff9b:1::a00:1]/",
        ] {
            assert_eq!(fault(Policy::default(), url), None, "{url}");
            assert!(fault(strict, url).is_some(), "{url}");
        }
        assert_eq!(fault(strict, "https://example.com/"), None);
        assert_eq!(fault(strict, "http://[64:ff9b:1::808:808]/"), None);
        assert!(fault(Policy::default(), "ftp://example.com/").is_some());
    }
}
