//! Where this process is reached, told in its data directory while it listens: the command line of the same folder asks
//! there. A process that is killed leaves the file behind, so it is a hint and no promise.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::auth::bootstrap;

/// The file's name in the data directory.
pub const FILE: &str = "address";

/// Tells the address, for the directory's owner alone.
pub(crate) fn write(data_dir: &Path, url: &str) -> io::Result<()> {
    bootstrap::write(&data_dir.join(FILE), url)
}

/// Takes the file away. One that stays behind misleads nobody for long: the command line says where it has the address from.
pub(crate) fn remove(data_dir: &Path) {
    if let Err(error) = std::fs::remove_file(data_dir.join(FILE)) {
        tracing::debug!(%error, "the address stays in the data directory");
    }
}

/// The address that a program on the same machine calls: a listener on all addresses is reached on loopback.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (listened, expected) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            let address = listened.parse().expect("an address");
            assert_eq!(reachable(address).to_string(), expected);
        }
    }
}
