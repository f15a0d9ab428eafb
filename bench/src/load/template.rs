//! Requests as bytes with slots of fixed width that are overwritten in place before each send.
//!
//! The length never changes, so `content-length` is written once and sending costs one copy per slot.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{bail, ensure};

use crate::clock;

const SEQUENCE_WIDTH: usize = 8;
const STAMP_WIDTH: usize = "2026-11-21T00:51:46.000000Z".len();

/// Ids of one width, side by side so that choosing among many stays cheap.
#[derive(Clone)]
pub(crate) struct Ids {
    width: usize,
    bytes: Arc<[u8]>,
}

impl Ids {
    pub(crate) fn new(ids: &[String]) -> anyhow::Result<Self> {
        let Some(width) = ids.first().map(String::len) else { bail!("a template needs at least one id") };
        let odd = ids.iter().find(|id| id.len() != width);
        ensure!(
            odd.is_none(),
            "ids must share one width to be patched in place: {odd:?} is not {width} bytes"
        );
        Ok(Self { width, bytes: ids.concat().into_bytes().into() })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One id by its place.
    pub(crate) fn text(&self, place: u64) -> String {
        String::from_utf8_lossy(self.at(place)).into_owned()
    }

    fn at(&self, ticket: u64) -> &[u8] {
        let index = usize::try_from(ticket % self.len() as u64).unwrap_or(0) * self.width;
        &self.bytes[index..index + self.width]
    }
}

#[derive(Clone, Copy)]
enum Slot {
    Id,
    Sequence,
    Stamp,
}

/// Where each value goes.
type Slots = Vec<(usize, Slot)>;

/// A whole request. `<id>` stands for an id of the list, `<sequence>` for the request's number in eight digits,
/// `<stamp>` for the time of sending in microseconds.
pub(crate) struct Template {
    bytes: Vec<u8>,
    slots: Slots,
    ids: Option<Ids>,
}

impl Template {
    pub(crate) fn new(
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&str>,
        ids: Option<Ids>,
    ) -> anyhow::Result<Self> {
        let authorization = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let body = body.unwrap_or_default();
        let (body_bytes, body_slots) = expand(body, ids.as_ref())?;
        let content = match body {
            "" => String::new(),
            _ => format!("content-type: application/json\r\ncontent-length: {}\r\n", body_bytes.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{authorization}{content}\r\n");
        let (mut bytes, mut slots) = expand(&head, ids.as_ref())?;
        slots.extend(body_slots.into_iter().map(|(at, slot)| (bytes.len() + at, slot)));
        bytes.extend(body_bytes);
        Ok(Self { bytes, slots, ids })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A connection's own copy of a request, patched for each ticket.
pub(crate) struct Request {
    template: Arc<Template>,
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Request {
    pub(crate) fn new(template: &Arc<Template>) -> Self {
        Self { template: Arc::clone(template), bytes: template.bytes.clone(), stamp: Stamp::new() }
    }

    pub(crate) fn fill(&mut self, ticket: u64, now: Instant) -> &[u8] {
        for (at, slot) in &self.template.slots {
            let rest = &mut self.bytes[*at..];
            match (slot, &self.template.ids) {
                (Slot::Id, Some(ids)) => rest[..ids.width].copy_from_slice(ids.at(ticket)),
                (Slot::Id, None) => {}
                (Slot::Sequence, _) => digits(&mut rest[..SEQUENCE_WIDTH], ticket),
                (Slot::Stamp, _) => rest[..STAMP_WIDTH].copy_from_slice(self.stamp.at(now)),
            }
        }
        &self.bytes
    }
}

/// Replaces the markers by room for their values and tells where that room is.
fn expand(text: &str, ids: Option<&Ids>) -> anyhow::Result<(Vec<u8>, Slots)> {
    let (mut bytes, mut slots) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((marker, after)) = after.split_once('>') else { bail!("a marker in {text:?} has no end") };
        bytes.extend_from_slice(before.as_bytes());
        let (slot, width) = match (marker, ids) {
            ("id", Some(ids)) => (Slot::Id, ids.width),
            ("id", None) => bail!("{text:?} has room for an id, but there are no ids"),
            ("sequence", _) => (Slot::Sequence, SEQUENCE_WIDTH),
            ("stamp", _) => (Slot::Stamp, STAMP_WIDTH),
            _ => bail!("<{marker}> is no marker; there are <id>, <sequence> and <stamp>"),
        };
        slots.push((bytes.len(), slot));
        bytes.resize(bytes.len() + width, b'0');
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok((bytes, slots))
}

/// Writes the last digits of `value`, with leading zeros.
fn digits(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Wall time derived from the monotonic clock; only its microseconds are rewritten within a second.
struct Stamp {
    begin: Instant,
    begin_us: u64,
    second: u64,
    text: Vec<u8>,
}

impl Stamp {
    fn new() -> Self {
        Self { begin: clock::now(), begin_us: clock::unix_micros(), second: u64::MAX, text: Vec::new() }
    }

    fn at(&mut self, now: Instant) -> &[u8] {
        let elapsed_us = u64::try_from(now.saturating_duration_since(self.begin).as_micros()).unwrap_or(0);
        let unix_us = self.begin_us + elapsed_us;
        if unix_us / 1_000_000 != self.second {
            self.second = unix_us / 1_000_000;
            self.text = format!("{}.000000Z", clock::rfc3339_second(self.second)).into_bytes();
        }
        digits(&mut self.text[STAMP_WIDTH - 7..STAMP_WIDTH - 1], unix_us % 1_000_000);
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids() -> Ids {
        Ids::new(&["agt_a".to_owned(), "agt_b".to_owned()]).unwrap()
    }

    fn text(request: &mut Request, ticket: u64) -> String {
        String::from_utf8(request.fill(ticket, clock::now()).to_vec()).unwrap()
    }

    #[test]
    fn slots_are_filled_in_path_and_body() {
        let body = r#"{"agentId":"<id>","n":"<sequence>","timestamp":"<stamp>"}"#;
        let template =
            Template::new("POST", "/agent/<id>/state", Some("k"), Some(body), Some(ids())).unwrap();
        let mut request = Request::new(&Arc::new(template));
        let first = text(&mut request, 7);
        assert!(first.starts_with("POST /agent/agt_b/state HTTP/1.1\r\nhost: 127.0.0.1\r\n"), "{first}");
        let (head, body) = first.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{first}");
        assert!(body.starts_with(r#"{"agentId":"agt_b","n":"00000007","timestamp":"20"#), "{body}");
        assert!(text(&mut request, 8).contains(r#""agentId":"agt_a","n":"00000008""#));
    }

    #[test]
    fn a_request_without_a_body_announces_none() {
        let template = Arc::new(Template::new("GET", "/hello", None, None, None).unwrap());
        assert_eq!(text(&mut Request::new(&template), 1), "GET /hello HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    }

    #[test]
    fn stamps_rise_and_carry_into_the_next_second() {
        let mut stamp = Stamp::new();
        let mut last = String::new();
        for step in 0..30 {
            let next = String::from_utf8(stamp.at(stamp.begin + Duration::from_millis(step * 100)).to_vec())
                .unwrap();
            assert_eq!(next.len(), STAMP_WIDTH);
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }

    #[test]
    fn faults_of_a_template_are_named() {
        assert!(Template::new("GET", "/<id>", None, None, None).is_err());
        assert!(Template::new("GET", "/<name>", None, None, None).is_err());
        assert!(Ids::new(&["a".to_owned(), "bb".to_owned()]).is_err());
    }
}
