//! What a WebSocket is read from and written to, by its library and beside it.
//!
//! The library reads frames, and writes what it answers by itself. What waits for the agent is written here, many frames at
//! a time and without a copy for each connection. Both ways whole frames are taken in, so that neither comes between the
//! parts of the other's. A connection that is quiet holds no buffer here; one that sends much is read with a large one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::transport::burst::{Burst, put_head, put_text};

/// Bytes that wait to be written, about; then nothing more is taken in.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// Bytes that are read at once from a connection that sends much.
const AHEAD_BYTES: usize = 16 << 10;
/// A read that fills so much room tells of more.
const FULL_BYTES: usize = 256;
/// Pieces that are written in one call.
const PIECES_MAX: usize = 16;
/// The first byte of a ping.
const PING: u8 = 0x89;

/// A connection's bytes, shared by the library and by who writes beside it; cheap to clone.
pub(super) struct Wire<S>(Arc<Mutex<Line<S>>>);

/// The bytes both ways.
pub(super) struct Line<S> {
    io: S,
    /// What was read and not asked for yet.
    ahead: BytesMut,
    reads_ahead: bool,
    /// What is to be written: whole frames, but for the first, of which a part may be gone.
    pieces: VecDeque<Bytes>,
    /// Small frames behind them.
    tail: Vec<u8>,
    /// The bytes of both.
    waiting: usize,
}

impl<S> Clone for Wire<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Wire<S> {
    /// The bytes of `io`, of which `read` was read already.
    pub(super) fn new(io: S, read: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(Line {
            io,
            ahead: BytesMut::from(read),
            reads_ahead: false,
            pieces: VecDeque::new(),
            tail: Vec::new(),
            waiting: 0,
        })))
    }

    /// The bytes, not to be held while the library is called.
    pub(super) fn line(&self) -> MutexGuard<'_, Line<S>> {
        self.0.lock()
    }
}

impl<S> Line<S> {
    /// Whether more may be put.
    pub(super) fn has_room(&self) -> bool {
        self.waiting < WAITING_BYTES_MAX
    }

    pub(super) fn put_text(&mut self, text: &[u8]) {
        self.small(|tail| put_text(tail, text));
    }

    pub(super) fn put_ping(&mut self, payload: &[u8]) {
        self.small(|tail| {
            put_head(tail, PING, payload.len());
            tail.extend_from_slice(payload);
        });
    }

    pub(super) fn put_burst(&mut self, burst: &Burst) {
        self.end_tail();
        self.waiting += burst.wire().len();
        self.pieces.push_back(burst.wire().clone());
    }

    fn small(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let before = self.tail.len();
        put(&mut self.tail);
        self.waiting += self.tail.len() - before;
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }

    fn written(&mut self, mut bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes);
        while let Some(first) = self.pieces.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.pieces.pop_front();
        }
    }
}

impl<S: AsyncWrite + Unpin> Line<S> {
    /// Writes all that waits.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end_tail();
        while let Some(first) = self.pieces.front() {
            let written = if self.pieces.len() == 1 {
                ready!(Pin::new(&mut self.io).poll_write(cx, first))?
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES_MAX];
                let count = self.pieces.len().min(PIECES_MAX);
                for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                    *slice = IoSlice::new(piece);
                }
                let slices = slices.get(..count).unwrap_or_default();
                ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written(written);
        }
        self.pieces = VecDeque::new();
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<S: AsyncRead + Unpin> Line<S> {
    /// Reads more than is asked for, so that it need not be asked for so often.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ahead.reserve(AHEAD_BYTES);
        let read = pin!(self.io.read_buf(&mut self.ahead)).poll(cx);
        match read {
            Poll::Ready(Ok(read)) => {
                self.reads_ahead = read > FULL_BYTES;
                Poll::Ready(Ok(()))
            }
            other => {
                self.ahead = BytesMut::new();
                other.map_ok(|_| ())
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.lock();
        let line = &mut *line;
        if line.ahead.is_empty() && !line.reads_ahead {
            let room = into.remaining();
            ready!(Pin::new(&mut line.io).poll_read(cx, into))?;
            line.reads_ahead = room >= FULL_BYTES && into.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        if line.ahead.is_empty() {
            ready!(line.poll_read_ahead(cx))?;
        }
        let bytes = line.ahead.len().min(into.remaining());
        into.put_slice(&line.ahead.split_to(bytes));
        if line.ahead.is_empty() && !line.reads_ahead {
            line.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = self.0.lock();
        if !line.has_room() {
            ready!(line.poll_send(cx))?;
        }
        // All of it or nothing: what is written beside it must not come between its parts.
        line.small(|tail| tail.extend_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.0.lock();
        ready!(line.poll_send(cx))?;
        Pin::new(&mut line.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::transport::burst::BurstWriter;

    #[tokio::test]
    async fn what_is_written_both_ways_comes_whole_and_in_order_however_little_is_taken_at_once() {
        let (near, mut far) = duplex(7);
        let mut wire = Wire::new(near, b"");
        let mut burst = BurstWriter::default();
        burst.put(b"two");
        burst.put(b"three");
        let burst = burst.take().expect("some");
        wire.line().put_text(b"one");
        wire.line().put_burst(&burst);
        wire.line().put_burst(&burst);
        wire.line().put_ping(b"7");
        assert_eq!(wire.write(b"of the library").await.expect("taken in"), 14);
        let read = tokio::spawn(async move {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.expect("until the end");
            read
        });
        poll_fn(|cx| wire.line().poll_send(cx)).await.expect("written");
        assert_eq!(wire.line().waiting, 0);
        wire.shutdown().await.expect("the end");
        let each = b"\x81\x03two\x81\x05three";
        let expected = [&b"\x81\x03one"[..], each, each, b"\x89\x017", b"of the library"].concat();
        assert_eq!(read.await.expect("no panic"), expected);
    }

    #[tokio::test]
    async fn a_connection_that_sends_much_is_read_ahead_and_a_quiet_one_holds_nothing() {
        let (near, mut far) = duplex(64 << 10);
        let mut wire = Wire::new(near, b"before");
        let sent: Vec<u8> = (0..5_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.expect("there is room");
        let (mut read, mut part) = (Vec::new(), [0; 512]);
        assert_eq!((wire.read(&mut part).await.expect("it was read"), &part[..6]), (6, &b"before"[..]));
        assert_eq!(wire.line().ahead.capacity(), 0);
        while read.len() < sent.len() {
            let count = wire.read(&mut part).await.expect("there is more");
            read.extend_from_slice(&part[..count]);
        }
        assert!(read == sent && wire.line().reads_ahead);
        far.write_all(b"little").await.expect("there is room");
        assert_eq!(wire.read(&mut part).await.expect("there is more"), 6);
        assert!(!wire.line().reads_ahead && wire.line().ahead.capacity() == 0);
    }
}
