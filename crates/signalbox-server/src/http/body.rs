//! Reading a request's body: bounded in size and time, and together with all others; JSON or YAML by its content
//! type.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::byte_budget::{ByteBudget, Share};
use crate::http::problem::Refusal;

/// What a request's body may take; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    pub(crate) bytes_max: usize,
    /// From the first look at it to its end.
    pub(crate) timeout: Duration,
    /// What all bodies that are held at once may take together.
    pub(crate) budget: ByteBudget,
}

/// A body that was read whole.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    /// Its part of the budget, for as long as it is held.
    pub(crate) share: Share,
}

/// Says of a request that its body is in memory already, and was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsCounted;

/// Seconds after which to send a body again that there was no room for.
const ROOM_RETRY_AFTER_S: u32 = 2;

/// Reads a body whole.
pub(crate) async fn collect(
    limits: &BodyLimits,
    headers: &HeaderMap,
    mut body: impl Body<Data = Bytes> + Unpin,
) -> Result<Collected, Refusal> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limits.bytes_max as u64) {
        return Err(too_large(limits.bytes_max));
    }
    let mut share = Share::default();
    // What is let in finds room to its end; else all that come at once would fill it half, and fail.
    if !limits.budget.grow(&mut share, declared.unwrap_or(0)) {
        return Err(no_room());
    }
    let mut reading = std::pin::pin!(read(&mut body, limits, share));
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
            Err(Problem::new(ProblemKind::BodyTimeout, detail).into())
        }
    }
}

/// What there is of a body.
enum Held {
    Nothing,
    /// It came in one piece, and is not copied.
    One(Bytes),
    Several(BytesMut),
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    fn and(self, more: Bytes) -> Self {
        match self {
            Self::Nothing => Self::One(more),
            Self::One(bytes) => {
                let mut whole = BytesMut::with_capacity(bytes.len() + more.len());
                whole.extend_from_slice(&bytes);
                Self::Several(whole).and(more)
            }
            Self::Several(mut whole) => {
                whole.extend_from_slice(&more);
                Self::Several(whole)
            }
        }
    }

    fn whole(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes.freeze(),
        }
    }
}

async fn read(
    body: &mut (impl Body<Data = Bytes> + Unpin),
    limits: &BodyLimits,
    mut share: Share,
) -> Result<Collected, Refusal> {
    let mut held = Held::Nothing;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::new(ProblemKind::BodyCut, "The body ended early; send it whole.").into());
        };
        let Ok(data) = frame.into_data() else { continue };
        let bytes = held.len() + data.len();
        if bytes > limits.bytes_max {
            return Err(too_large(limits.bytes_max));
        }
        if !limits.budget.grow(&mut share, bytes as u64) {
            return Err(no_room());
        }
        held = held.and(data);
        if body.is_end_stream() {
            break;
        }
    }
    Ok(Collected { bytes: held.whole(), share })
}

fn too_large(limit: usize) -> Refusal {
    Problem::too_large(format!(
        "The body is over {limit} bytes; send less, or ask the operator to raise body_bytes_max."
    ))
    .into()
}

fn no_room() -> Refusal {
    let detail = "The bodies that are being received take all of inbound_bytes_max; nothing was changed, try again later.";
    Problem::new(ProblemKind::BodiesFull, detail).retry_after(ROOM_RETRY_AFTER_S).into()
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
