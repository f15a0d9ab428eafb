//! Reading a request's body: bounded in size and time, JSON or YAML by its content type.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use signalbox_wire::problem::Problem;

use crate::http::problem::Refusal;

/// What a request's body may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes_max: usize,
    /// From the first look at it to its end.
    pub(crate) timeout: Duration,
}

/// Reads a body whole.
pub(crate) async fn collect(
    limits: BodyLimits,
    headers: &HeaderMap,
    mut body: impl Body<Data = Bytes> + Unpin,
) -> Result<Bytes, Refusal> {
    let limit = limits.bytes_max;
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let mut reading = std::pin::pin!(async {
        match read(&mut body, limit).await? {
            Some(bytes) => Ok(bytes),
            None => Err(too_large(limit)),
        }
    });
    // Nearly always all of it is there already, and nothing has to be timed.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        return read;
    }
    // Boxed, because a timer is large and would make every request's future so.
    match Box::pin(tokio::time::timeout(limits.timeout, reading)).await {
        Ok(read) => read,
        Err(_) => {
            let detail =
                format!("The body did not arrive within {} s; send it faster.", limits.timeout.as_secs());
            Err(Problem::new(408, "body-timeout", detail).into())
        }
    }
}

/// The body, or nothing once it is over the limit.
async fn read(body: &mut (impl Body<Data = Bytes> + Unpin), limit: usize) -> Result<Option<Bytes>, Refusal> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::bad_request("body-cut", "The body ended early; send it whole.").into());
        };
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limit {
            return Ok(None);
        }
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(Some(match first {
        Some(first) if rest.is_empty() => first,
        Some(first) => [first, rest.freeze()].concat().into(),
        None => Bytes::new(),
    }))
}

fn too_large(limit: usize) -> Refusal {
    Problem::too_large(format!(
        "The body is over {limit} bytes; send less, or ask the operator to raise body_bytes_max."
    ))
    .into()
}

/// What a body claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`, any `…+json`, or nothing said.
    Json,
    /// `application/yaml`, `text/yaml` and their `x-` forms.
    Yaml,
}

/// The body's format by its content type.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let value = value.as_bytes();
    let media = value.split(|byte| *byte == b';').next().unwrap_or(value).trim_ascii();
    if media.eq_ignore_ascii_case(b"application/json") {
        return Ok(Format::Json);
    }
    let media = String::from_utf8_lossy(media).to_ascii_lowercase();
    match media.as_str() {
        _ if media.ends_with("+json") => Ok(Format::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Ok(Format::Yaml),
        _ => {
            let detail = format!("The body is '{media}'; send it as application/json.");
            Err(Problem::unsupported_media(detail).into())
        }
    }
}
