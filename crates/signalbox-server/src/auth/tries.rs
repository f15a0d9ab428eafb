//! How often agents may try to sign in: a limit for each agent at each address, and one for each address.
//!
//! What is counted is told apart by agent and address together, so that nobody can keep an agent out by trying in its name
//! from elsewhere. Memory is bounded: those that have not tried for a minute are forgotten first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_wire::time::Timestamp;

/// Agents and addresses that are counted at once, at most; beyond it all counts begin anew.
const COUNTED_MAX: usize = 131_072;
/// In what time a limit is given back.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts tries.
pub(crate) struct Tries {
    per_agent: f64,
    per_address: f64,
    hasher: RandomState,
    counts: Mutex<HashMap<u64, Count>>,
}

/// What is left of a limit, and as of when.
#[derive(Clone, Copy)]
struct Count {
    left: f64,
    at: Timestamp,
}

impl Tries {
    /// Limits for a minute.
    pub(crate) fn new(per_agent: u32, per_address: u32) -> Self {
        Self {
            per_agent: f64::from(per_agent),
            per_address: f64::from(per_address),
            hasher: RandomState::new(),
            counts: Mutex::default(),
        }
    }

    /// Counts a try.
    ///
    /// # Errors
    /// After how long to try again.
    pub(crate) fn count(&self, agent: &str, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let address = network(address);
        let limits = [
            (self.hasher.hash_one((agent, address)), self.per_agent),
            (self.hasher.hash_one(address), self.per_address),
        ];
        let mut counts = self.counts.lock();
        if counts.len() >= COUNTED_MAX {
            counts.retain(|_, count| now < count.at + PERIOD);
            if counts.len() >= COUNTED_MAX {
                counts.clear();
            }
        }
        for (key, limit) in limits {
            let per_second = limit / PERIOD.as_secs_f64();
            let count = counts.entry(key).or_insert(Count { left: limit, at: now });
            let back = now.since(count.at).as_secs_f64() * per_second;
            *count = Count { left: (count.left + back).min(limit), at: count.at.max(now) };
            if count.left < 1.0 {
                return Err(Duration::from_secs_f64((1.0 - count.left) / per_second));
            }
            count.left -= 1.0;
        }
        Ok(())
    }
}

/// What one customer of a network provider has: an IPv4 address, or 64 bits of an IPv6 one.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_limit_is_given_back_little_by_little() {
        let (tries, start) = (Tries::new(3, 1_000), Timestamp::from_seconds(100));
        let one = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(tries.count("a", one, start), Ok(()));
        }
        assert_eq!(tries.count("a", one, start), Err(Duration::from_secs(20)));
        assert_eq!(tries.count("b", one, start), Ok(()), "another agent");
        assert_eq!(tries.count("a", address("192.0.2.2"), start), Ok(()), "whoever it is at another address");
        assert_eq!(tries.count("a", one, start + Duration::from_secs(21)), Ok(()));
        assert!(tries.count("a", one, start + Duration::from_secs(21)).is_err());
    }

    #[test]
    fn an_address_has_a_limit_of_its_own() {
        let (tries, start) = (Tries::new(10, 2), Timestamp::from_seconds(100));
        for agent in ["a", "b"] {
            assert_eq!(tries.count(agent, address("2001:db8::1"), start), Ok(()));
        }
        assert!(tries.count("c", address("2001:db8::2"), start).is_err(), "of the same network");
        assert_eq!(tries.count("c", address("2001:db8:0:1::2"), start), Ok(()));
        assert_eq!(tries.count("c", address("192.0.2.1"), start), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (tries, start) = (Tries::new(10, 1_000_000), Timestamp::from_seconds(100));
        for agent in 0..COUNTED_MAX + 10 {
            assert_eq!(tries.count(&agent.to_string(), address("192.0.2.1"), start), Ok(()));
        }
        assert!(tries.counts.lock().len() <= COUNTED_MAX + 1);
    }
}
