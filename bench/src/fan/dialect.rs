//! What goes over the WebSocket, by server: our envelopes, or the text protocol of NATS, a client's share of each.

use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::baseline::kind;
use crate::ws::{Scratch, Socket, Target, open};

/// How long a server may take to answer a client's beginning.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
/// A message's payload is JSON of this many bytes, the same for every server.
pub(crate) const PAYLOAD_BYTES: usize = 128;
/// Where the payload says when it was due, in microseconds of the run.
const DUE: &[u8] = br#""due":""#;
const DUE_DIGITS: usize = 12;
/// What tells that a subscription stands.
const SUBSCRIBED: &str = "subscribed";

/// Which server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Signalbox,
    Nats,
}

/// Where a client connects, and as whom.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
}

/// What came.
pub(super) enum Said<'a> {
    /// A message, whole.
    Message(&'a [u8]),
    /// A message of ours was taken.
    Acknowledged,
    /// The subscription stands.
    Subscribed,
    /// The server asks whether somebody is there, in words.
    Ping,
    /// Nothing that matters.
    Other,
    /// Something went wrong.
    Fault(String),
}

impl Dialect {
    /// Connects, introduces the client, and subscribes where a subject is given; the answer comes later.
    pub(super) async fn connect(
        self,
        addr: std::net::SocketAddr,
        seat: &Seat,
        subject: Option<&str>,
    ) -> anyhow::Result<Socket> {
        let target = Target { addr, source: None, path: &seat.path, token: seat.token.as_deref() };
        let mut socket = open(target).await?;
        let mut put = |text: &str| socket.writer.put(text.as_bytes());
        match (self, subject) {
            (Self::Signalbox, Some(subject)) => put(&format!(
                r#"{{"type":"subscribe","id":"{SUBSCRIBED}","data":{{"subject":"{subject}"}}}}"#
            )),
            // What is acknowledged here is the end of the beginning.
            (Self::Signalbox, None) => {
                put(r#"{"type":"heartbeat","id":"begin","data":{}}"#);
            }
            (Self::Nats, subject) => {
                let options =
                    r#"{"verbose":false,"pedantic":false,"headers":false,"lang":"rust","version":"1"}"#;
                put(&format!("CONNECT {options}\r\n"));
                if let Some(subject) = subject {
                    put(&format!("SUB {subject} 1\r\n"));
                }
                put("PING\r\n");
            }
        }
        socket.writer.flush().await.map_err(|ended| anyhow::anyhow!("{ended}"))?;
        Ok(socket)
    }

    /// Waits until the server has taken the introduction.
    pub(super) async fn begun(
        self,
        socket: &mut Socket,
        scratch: &Scratch,
        parser: &mut Parser,
    ) -> anyhow::Result<()> {
        let mut outcome = None;
        while outcome.is_none() {
            let read = socket.read(scratch, |bytes| {
                parser.feed(bytes, |said| match said {
                    Said::Subscribed => outcome = Some(Ok(())),
                    Said::Fault(fault) => outcome = Some(Err(fault)),
                    _ => {}
                });
            });
            let read = tokio::time::timeout(READY_WITHIN, read).await;
            read.context("the server did not answer the beginning")?
                .map_err(|ended| anyhow::anyhow!("{ended}"))?;
        }
        match outcome {
            Some(Err(fault)) => bail!("the server did not take it: {fault}"),
            _ => Ok(()),
        }
    }

    /// What answers a ping in words.
    pub(super) fn pong(self) -> &'static [u8] {
        match self {
            Self::Signalbox => b"",
            Self::Nats => b"PONG\r\n",
        }
    }
}

/// A message to publish, patched for each number and time.
pub(super) struct Publication {
    bytes: Vec<u8>,
    number_at: Vec<usize>,
    due_at: usize,
}

const NUMBER_DIGITS: usize = 10;
const NUMBER_MARK: &str = "##########";
const DUE_MARK: &str = "@@@@@@@@@@@@";

impl Publication {
    /// Messages of one run: an id that came before would be the same message again.
    pub(super) fn new(dialect: Dialect, subject: &str, run: u64) -> anyhow::Result<Self> {
        let payload = payload();
        let text = match dialect {
            Dialect::Signalbox => format!(
                r#"{{"type":"publish","id":"{run:x}-{NUMBER_MARK}","data":{{"subject":"{subject}","payload":{payload}}}}}"#
            ),
            Dialect::Nats => format!("PUB {subject} {}\r\n{payload}\r\n", payload.len()),
        };
        let due_at = text.find(DUE_MARK).context("the publication has no time")?;
        let number_at = text.match_indices(NUMBER_MARK).map(|(at, _)| at).collect();
        Ok(Self { bytes: text.into_bytes(), number_at, due_at })
    }

    pub(super) fn fill(&mut self, number: u64, due_us: u64) -> &[u8] {
        for at in &self.number_at {
            digits(&mut self.bytes[*at..*at + NUMBER_DIGITS], number);
        }
        digits(&mut self.bytes[self.due_at..self.due_at + DUE_DIGITS], due_us);
        &self.bytes
    }
}

fn payload() -> String {
    let begin = format!(r#"{{"n":"{NUMBER_MARK}","due":"{DUE_MARK}","text":""#);
    let room = PAYLOAD_BYTES.saturating_sub(begin.len() + 2);
    let text: String =
        "the figures of the day, as they come in, for everybody. ".chars().cycle().take(room).collect();
    format!(r#"{begin}{text}"}}"#)
}

/// Writes the last digits of `value`, with leading zeros.
fn digits(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// When a message was due.
pub(super) fn due_us(message: &[u8]) -> Option<u64> {
    let first = DUE[0];
    let mut rest = message;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if let Some(after) = rest[at..].strip_prefix(DUE) {
            let digits = after.get(..DUE_DIGITS)?;
            return std::str::from_utf8(digits).ok()?.parse().ok();
        }
        rest = &rest[at + 1..];
    }
    None
}

/// Makes sense of what comes: of messages for one, of a stream for the other.
pub(super) struct Parser {
    dialect: Dialect,
    /// What is left of a stream.
    rest: Vec<u8>,
    /// The subscription stands: acknowledgements need no closer look.
    is_subscribed: bool,
}

impl Parser {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, rest: Vec::new(), is_subscribed: false }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Said<'_>)) {
        match self.dialect {
            Dialect::Signalbox => {
                let said = envelope(bytes, self.is_subscribed);
                self.is_subscribed |= matches!(said, Said::Subscribed);
                each(said);
            }
            Dialect::Nats if self.rest.is_empty() => {
                let read = stream(bytes, &mut each);
                self.rest.extend_from_slice(&bytes[read..]);
            }
            Dialect::Nats => {
                self.rest.extend_from_slice(bytes);
                let read = stream(&self.rest, &mut each);
                self.rest.drain(..read);
            }
        }
    }
}

fn envelope(bytes: &[u8], is_subscribed: bool) -> Said<'_> {
    match kind(bytes) {
        "message" => Said::Message(bytes),
        "ack" if !is_subscribed && has(bytes, SUBSCRIBED) => Said::Subscribed,
        "ack" => Said::Acknowledged,
        "heartbeat_ack" => Said::Subscribed,
        "error" | "gap" | "" => Said::Fault(String::from_utf8_lossy(bytes).into_owned()),
        _ => Said::Other,
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Goes through the whole operations and answers how far they go.
fn stream(bytes: &[u8], each: &mut impl FnMut(Said<'_>)) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return at };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let mut next = end + 1;
        if line.starts_with(b"MSG ") {
            let length =
                line.rsplit(|byte| *byte == b' ').next().and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(length) = length.and_then(|digits| digits.parse::<usize>().ok()) else {
                each(Said::Fault(String::from_utf8_lossy(line).into_owned()));
                return bytes.len();
            };
            let Some(payload) = rest.get(next..next + length) else { return at };
            if rest.len() < next + length + 2 {
                return at;
            }
            each(Said::Message(payload));
            next += length + 2;
        } else {
            match line {
                b"PING" => each(Said::Ping),
                b"PONG" => each(Said::Subscribed),
                line if line.starts_with(b"-ERR") => {
                    each(Said::Fault(String::from_utf8_lossy(line).into_owned()))
                }
                _ => each(Said::Other),
            }
        }
        at += next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_holds_its_number_and_time() {
        for dialect in [Dialect::Signalbox, Dialect::Nats] {
            let mut publication = Publication::new(dialect, "bench.a", 0xabc).unwrap();
            let text = String::from_utf8(publication.fill(42, 1_234_567).to_vec()).unwrap();
            assert!(text.contains(r#""n":"0000000042","due":"000001234567""#), "{text}");
            assert_eq!(due_us(text.as_bytes()), Some(1_234_567));
            if dialect == Dialect::Signalbox {
                let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    (&envelope["id"], &envelope["data"]["subject"]),
                    (&"abc-0000000042".into(), &"bench.a".into())
                );
            }
        }
        assert_eq!(payload().len(), PAYLOAD_BYTES);
    }

    #[test]
    fn a_stream_of_nats_is_read_however_it_is_cut() {
        let text =
            b"INFO {}\r\nPONG\r\nMSG a 1 5\r\nhello\r\nPING\r\nMSG a 1 reply 2\r\n\r\n\r\n-ERR 'no'\r\n";
        for cut in 0..text.len() {
            let mut parser = Parser::new(Dialect::Nats);
            let mut seen = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                parser.feed(part, |said| {
                    seen.push(match said {
                        Said::Message(payload) => format!("m{}", payload.len()),
                        Said::Subscribed => "s".to_owned(),
                        Said::Ping => "p".to_owned(),
                        Said::Fault(fault) => fault,
                        Said::Other | Said::Acknowledged => "o".to_owned(),
                    });
                });
            }
            assert_eq!(seen, ["o", "s", "m5", "p", "m2", "-ERR 'no'"], "{cut}");
        }
    }

    #[test]
    fn envelopes_are_told_apart() {
        let ack = br#"{"type":"ack","id":"x","data":{"message_id":"subscribed"}}"#;
        assert!(matches!(envelope(ack, false), Said::Subscribed));
        assert!(matches!(envelope(ack, true), Said::Acknowledged));
        let ack = br#"{"type":"ack","id":"x","data":{"message_id":"1"}}"#;
        assert!(matches!(envelope(ack, false), Said::Acknowledged));
        assert!(matches!(envelope(br#"{"type":"message","id":"x"}"#, true), Said::Message(_)));
        assert!(matches!(envelope(br#"{"type":"error"}"#, true), Said::Fault(_)));
    }
}
