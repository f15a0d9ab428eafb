//! A response's body that is made only when the connection has room for more of it.
//!
//! There is no queue and no task between the store and the socket: what is not asked for is not read, and a
//! connection that ends drops everything at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

/// What a body is made of, piece by piece.
pub(super) trait Pull: Send + 'static {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// A body made by pulling.
pub(super) struct Pulled<P> {
    state: State<P>,
}

type Pulling<P> = Pin<Box<dyn Future<Output = (Box<P>, Option<Bytes>)> + Send>>;

enum State<P> {
    Ready(Box<P>),
    Pulling(Pulling<P>),
    Over,
}

impl<P: Pull> Pulled<P> {
    pub(super) fn new(from: P) -> Self {
        Self { state: State::Ready(Box::new(from)) }
    }
}

impl<P: Pull> Body for Pulled<P> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut pulling = match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return Poll::Ready(None),
            State::Pulling(pulling) => pulling,
            State::Ready(mut from) => Box::pin(async move {
                let piece = from.next().await;
                (from, piece)
            }),
        };
        let Poll::Ready((from, piece)) = pulling.as_mut().poll(cx) else {
            self.state = State::Pulling(pulling);
            return Poll::Pending;
        };
        let Some(piece) = piece else { return Poll::Ready(None) };
        self.state = State::Ready(from);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    struct Countdown(u8);

    impl Pull for Countdown {
        async fn next(&mut self) -> Option<Bytes> {
            tokio::task::yield_now().await;
            self.0 = self.0.checked_sub(1)?;
            Some(Bytes::copy_from_slice(&[b'0' + self.0]))
        }
    }

    #[tokio::test]
    async fn every_piece_comes_in_order_and_then_the_end() {
        let body = Pulled::new(Countdown(3));
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.expect("infallible").to_bytes(), "210");
    }
}
