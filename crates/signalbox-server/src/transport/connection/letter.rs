//! What nodes say to each other about an agent's connection, as bytes on the bus.

use bytes::Bytes;

use signalbox_wire::time::Timestamp;

use super::delivered::Delivered;
use crate::transport::outbox::CloseReason;

/// What one node says to the one that holds an agent's connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Letter<'a> {
    /// Send this, and answer once the agent's side has it. Nobody waits for that after `until`.
    Deliver { id: &'a str, envelope: &'a str, until: Timestamp },
    /// Send this, and answer at once. Nobody waits for that after `until`.
    Push { envelope: &'a [u8], until: Timestamp },
    /// Close this connection; there is no answer.
    Close { connection: &'a str, reason: CloseReason },
}

const DELIVER: u8 = b'd';
const PUSH: u8 = b'p';
const CLOSE: u8 = b'c';

/// The reasons for which another node closes a connection.
const REASONS: [(u8, CloseReason); 4] = [
    (b't', CloseReason::TakenOver),
    (b'n', CloseReason::Replaced),
    (b'r', CloseReason::Removed),
    (b'a', CloseReason::Unavailable),
];

impl<'a> Letter<'a> {
    pub(super) fn written(&self) -> Bytes {
        match self {
            Self::Deliver { id, envelope, until } => {
                let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
                let head = [&[DELIVER][..], &until.as_micros().to_be_bytes(), &length.to_be_bytes()].concat();
                [&head, id.as_bytes(), envelope.as_bytes()].concat().into()
            }
            Self::Push { envelope, until } => {
                [&[PUSH][..], &until.as_micros().to_be_bytes(), envelope].concat().into()
            }
            Self::Close { connection, reason } => {
                let word = REASONS.iter().find(|(_, known)| known == reason).map_or(b'a', |(word, _)| *word);
                [&[CLOSE, word], connection.as_bytes()].concat().into()
            }
        }
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            DELIVER => {
                let (until, rest) = until(rest)?;
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let (id, envelope) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                let (id, envelope) = (std::str::from_utf8(id).ok()?, std::str::from_utf8(envelope).ok()?);
                Some(Self::Deliver { id, envelope, until })
            }
            PUSH => {
                let (until, envelope) = until(rest)?;
                Some(Self::Push { envelope, until })
            }
            CLOSE => {
                let (word, connection) = rest.split_first()?;
                let (_, reason) = REASONS.iter().find(|(known, _)| known == word)?;
                Some(Self::Close { connection: std::str::from_utf8(connection).ok()?, reason: *reason })
            }
            _ => None,
        }
    }
}

fn until(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_micros(i64::from_be_bytes(*micros)), rest))
}

/// What became of it, as an answer.
pub(super) fn answer(delivered: &Delivered) -> Bytes {
    Bytes::from_static(match delivered {
        Delivered::Had => b"had",
        Delivered::Lost => b"lost",
        Delivered::TimedOut => b"late",
        // Whoever answers holds the connection.
        Delivered::Busy | Delivered::NotConnected | Delivered::Unavailable(_) => b"busy",
    })
}

pub(super) fn read_answer(answer: &[u8]) -> Delivered {
    match answer {
        b"had" => Delivered::Had,
        b"lost" => Delivered::Lost,
        b"late" => Delivered::TimedOut,
        b"busy" => Delivered::Busy,
        _ => Delivered::Unavailable(
            "the node that holds the agent's connection answers in another way".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let until = Timestamp::from_seconds(30);
        for letter in [
            Letter::Deliver { id: "msg_é", envelope: "{}", until },
            Letter::Push { envelope: b"{}", until },
            Letter::Close { connection: "con_1", reason: CloseReason::Removed },
        ] {
            assert_eq!(Letter::read(&letter.written()), Some(letter));
        }
        for other in [&b""[..], b"x", b"d", b"d\0\0\0\0\0\0\0\0\0\x09a", b"p\0", b"cz", b"cu", b"c"] {
            assert_eq!(Letter::read(other), None);
        }
        for delivered in [Delivered::Had, Delivered::Lost, Delivered::TimedOut, Delivered::Busy] {
            assert_eq!(read_answer(&answer(&delivered)), delivered);
        }
    }
}
