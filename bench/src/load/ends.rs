//! When what a request started has ended: another process tells it by the request's number, one line each, over
//! one connection, so that nobody polls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The fault of a request whose end nobody will tell.
pub(super) const NOBODY_TELLS: &str = "whoever tells of ends has gone";

/// Who waits for which request's end.
#[derive(Default)]
pub(crate) struct Ends {
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Ends {
    /// Listens for the one who tells, at the address that it gives.
    pub(crate) async fn listen() -> anyhow::Result<(Arc<Self>, SocketAddr)> {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("nobody can be listened to for ends")?;
        let addr = listener.local_addr()?;
        let ends = Arc::new(Self::default());
        tokio::spawn(Arc::clone(&ends).read(listener));
        Ok((ends, addr))
    }

    /// What comes when the request with this number has ended what it started. An error when nobody will tell.
    pub(crate) fn expect(&self, ticket: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(ticket, sender);
        receiver
    }

    async fn read(self: Arc<Self>, listener: TcpListener) {
        if let Ok((stream, _)) = listener.accept().await {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let waiting = line.parse().ok().and_then(|ticket: u64| self.waiting.lock().remove(&ticket));
                // Whoever gave up waiting is told nothing.
                waiting.map(|waiting| waiting.send(()));
            }
        }
        self.waiting.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn an_end_reaches_who_waits_for_it_and_a_lost_teller_reaches_all() {
        let (ends, addr) = Ends::listen().await.unwrap();
        let (first, second) = (ends.expect(7), ends.expect(8));
        let mut teller = TcpStream::connect(addr).await.unwrap();
        teller.write_all(b"00000009\n00000007\n").await.unwrap();
        first.await.unwrap();
        drop(teller);
        second.await.unwrap_err();
    }
}
