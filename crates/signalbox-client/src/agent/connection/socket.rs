//! An open WebSocket: what waits is written and what comes is read at the same time, so that two sides that both write much
//! never wait for each other.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use yawc::close::CloseCode;
use yawc::{Frame, OpCode, Options, Role, WebSocket, WebSocketError};

/// The largest message that is read, in bytes: the largest payload of the server, and room for what is about it.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Frames that may wait to be written before nothing more is taken from the agent's own queue.
pub(super) const WAITING_MAX: usize = 256;
/// How long saying goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a WebSocket runs over.
pub(in crate::agent) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket.
pub(in crate::agent) struct Socket {
    socket: WebSocket<Box<dyn Stream>>,
    waiting: VecDeque<Bytes>,
    to_flush: bool,
}

/// What came.
#[derive(Debug)]
pub(super) enum Came {
    Message(Bytes),
    /// A ping or pong: a sign of life and nothing else.
    Sign,
    /// The other side ends it, with a code and words.
    Close(u16, String),
}

impl Socket {
    /// The client's side of a stream on which the handshake is done.
    pub(in crate::agent) fn new(stream: Box<dyn Stream>) -> Result<Self, WebSocketError> {
        let options = Options::default().with_limits(MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX).with_utf8();
        let socket = WebSocket::from_stream(stream, Role::Client, options.without_compression())?;
        Ok(Self { socket, waiting: VecDeque::new(), to_flush: false })
    }

    /// Adds a message to those that wait; what is pushed is bounded by whoever pushes.
    pub(super) fn push(&mut self, text: String) {
        self.waiting.push_back(Bytes::from(text));
    }

    /// Messages that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all is written.
    pub(super) fn is_flushed(&self) -> bool {
        self.waiting.is_empty() && !self.to_flush
    }

    /// Writes what waits, and answers what comes; the latter only where it `may_read`. Nothing is lost when this is dropped.
    /// Where it may not read, it ends once all is written.
    pub(super) async fn next(&mut self, may_read: bool) -> Result<Option<Came>, WebSocketError> {
        poll_fn(|cx| {
            let was_flushed = self.is_flushed();
            if let Err(error) = self.poll_write(cx) {
                // The other side may have said why it takes nothing more.
                return Poll::Ready(match self.socket.poll_next_frame(cx) {
                    Poll::Ready(Ok(frame)) if frame.opcode() == OpCode::Close => Ok(Some(came(&frame))),
                    _ => Err(error),
                });
            }
            if may_read {
                self.socket.poll_next_frame(cx).map(|frame| frame.map(|frame| Some(came(&frame))))
            } else if !was_flushed && self.is_flushed() {
                Poll::Ready(Ok(None))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Says goodbye and waits a little for the other side to have read it.
    pub(super) async fn close(mut self, reason: &str) {
        let told = async {
            let close = Frame::close(CloseCode::from(1000), reason);
            poll_fn(|cx| Pin::new(&mut self.socket).poll_ready(cx)).await?;
            Pin::new(&mut self.socket).start_send(close)?;
            poll_fn(|cx| Pin::new(&mut self.socket).poll_flush(cx)).await?;
            loop {
                // Ends with an error once the connection is closed.
                self.socket.next_frame().await?;
            }
        };
        let _: Result<Result<(), WebSocketError>, _> = timeout(CLOSE_WITHIN, told).await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), WebSocketError> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut self.socket).poll_ready(cx)? {
                Poll::Ready(()) => {}
                Poll::Pending => return Ok(()),
            }
            if let Some(text) = self.waiting.pop_front() {
                Pin::new(&mut self.socket).start_send(Frame::text(text))?;
                self.to_flush = true;
            }
        }
        if self.to_flush && Pin::new(&mut self.socket).poll_flush(cx)?.is_ready() {
            self.to_flush = false;
        }
        Ok(())
    }
}

fn came(frame: &Frame) -> Came {
    match frame.opcode() {
        OpCode::Text | OpCode::Binary => Came::Message(frame.payload().clone()),
        OpCode::Close => {
            let reason = frame.close_reason().ok().flatten().unwrap_or_default().to_owned();
            Came::Close(frame.close_code().map_or(1005, u16::from), reason)
        }
        OpCode::Ping | OpCode::Pong | OpCode::Continuation => Came::Sign,
    }
}
