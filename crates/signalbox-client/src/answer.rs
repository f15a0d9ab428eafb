//! What a call was answered with, as it came.

use bytes::Bytes;
use http::HeaderMap;

/// The answer to a [`Client::request`](crate::Client::request).
#[derive(Debug, Clone)]
pub struct Answer {
    /// A status of success; any other is an [`Error::Problem`](crate::Error::Problem).
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}
