//! A request's body as the connection receives it. What nobody has read of it when the answer is made is taken in and
//! dropped beside the answer, within bounds: to most clients a connection that is closed while they send is only a
//! broken one, and they never read why they were refused.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// Bytes of a body that are taken in and dropped when its request is answered without it.
pub(super) const DROPPED_BYTES_MAX: u64 = 64 << 20;

/// A request's body.
pub(crate) struct Received {
    /// None once it is over, or when its rest is not wanted.
    body: Option<Incoming>,
    /// How long its rest may take to arrive; none for a body that is only sent when it is asked for.
    rest_within: Option<Duration>,
}

impl Received {
    pub(super) fn new(body: Incoming, rest_within: Option<Duration>) -> Self {
        Self { body: Some(body), rest_within }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if let (Some(within), Ok(runtime)) = (self.rest_within, Handle::try_current()) {
            // Once this ends with something left, the connection is closed.
            runtime.spawn(async move { tokio::time::timeout(within, drop_rest(body)).await });
        }
    }
}

async fn drop_rest(mut body: Incoming) {
    let mut left = DROPPED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(less) = left.checked_sub(bytes) else { return };
        left = less;
    }
}
