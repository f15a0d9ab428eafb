//! Buses over a NATS, such as the one that `SIGNALBOX_TEST_NATS` names.

use std::time::Duration;

use signalbox_bus::{Address, Bus, Options, Prefix};

/// Where tests find a NATS server.
const NATS_URL: &str = "SIGNALBOX_TEST_NATS";
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The address of the NATS for tests, where there is one.
pub(crate) fn nats_url() -> Option<String> {
    let url = std::env::var(NATS_URL).ok();
    if url.is_none() {
        eprintln!("passed over: {NATS_URL} names no NATS server");
    }
    url
}

/// The bus of one node. Nodes of the same test share what they publish.
pub(crate) fn node(url: &str, test: &str, number: u64) -> Bus {
    let prefix = Prefix::parse(&format!("test.{test}-{}", std::process::id())).expect("a prefix");
    let options = Options { prefix, name: format!("{test} {number}"), seed: number };
    Bus::connect(&Address::parse(url).expect("an address"), options)
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}
