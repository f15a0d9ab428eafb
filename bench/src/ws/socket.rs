//! An open connection: frames in, many at a time, and frames out.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::frame::{self, CLOSE, PING, PONG, TEXT};

/// Bytes that are read at once: what a server writes together is read together.
const READ_BYTES: usize = 256 << 10;

/// Room that all connections of a thread read into, one after the other; a connection keeps only what is left of a frame.
pub(crate) type Scratch = Rc<RefCell<Vec<u8>>>;

/// Room for a thread.
pub(crate) fn scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; READ_BYTES]))
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server said goodbye.
    Closed { code: u16, reason: String },
    /// It broke.
    Lost(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed { code, reason } if reason.is_empty() => write!(f, "closed with {code}"),
            Self::Closed { code, reason } => write!(f, "closed with {code}: {reason}"),
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

/// The half that reads.
pub(crate) struct Reader {
    stream: Rc<TcpStream>,
    /// What came and is not read: the beginning of a frame.
    rest: Vec<u8>,
    /// There may be whole frames in `rest`.
    is_fresh: bool,
}

/// The half that writes.
pub(crate) struct Writer {
    stream: Rc<TcpStream>,
    pub(crate) out: Vec<u8>,
}

/// Both halves, for a connection that one task looks after.
pub(crate) struct Socket {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Reader {
    /// Waits for more and gives the payload of each message in it to `each`. Answers that the server is owed go to
    /// `owed`. Nothing is lost where the future is dropped.
    pub(crate) async fn read(
        &mut self,
        scratch: &Scratch,
        owed: &mut Vec<u8>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Ended> {
        loop {
            let is_fresh = std::mem::take(&mut self.is_fresh);
            if !is_fresh {
                self.stream.readable().await.map_err(lost)?;
            }
            let mut room = scratch.borrow_mut();
            let begin = self.rest.len();
            if room.len() < begin + READ_BYTES {
                room.resize(begin + READ_BYTES, 0);
            }
            room[..begin].copy_from_slice(&self.rest);
            let filled = match self.stream.try_read(&mut room[begin..]) {
                Ok(0) => return Err(Ended::Lost("the server closed the connection".to_owned())),
                Ok(read) => begin + read,
                Err(error) if error.kind() == ErrorKind::WouldBlock && is_fresh => begin,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(lost(error)),
            };
            let read = frames(&room[..filled], owed, &mut each)?;
            self.rest.clear();
            self.rest.extend_from_slice(&room[read..filled]);
            return Ok(());
        }
    }
}

/// Goes through the whole frames and answers how far they go.
fn frames(bytes: &[u8], owed: &mut Vec<u8>, each: &mut impl FnMut(&[u8])) -> Result<usize, Ended> {
    let mut at = 0;
    while let Some(header) = frame::parse(&bytes[at..]).map_err(Ended::Lost)? {
        let payload = &bytes[at + header.payload_at..at + header.end];
        match header.opcode {
            CLOSE => return Err(closed(payload)),
            PING => frame::put(owed, PONG, payload),
            PONG => {}
            _ if header.is_final => each(payload),
            _ => return Err(Ended::Lost("a message came in several frames".to_owned())),
        }
        at += header.end;
    }
    Ok(at)
}

fn closed(payload: &[u8]) -> Ended {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => Ended::Closed {
            code: u16::from_be_bytes(*code),
            reason: String::from_utf8_lossy(reason).into_owned(),
        },
        None => Ended::Closed { code: 1005, reason: String::new() },
    }
}

fn lost(error: std::io::Error) -> Ended {
    Ended::Lost(error.to_string())
}

impl Writer {
    /// Adds a message to what waits to be written.
    pub(crate) fn put(&mut self, text: &[u8]) {
        frame::put(&mut self.out, TEXT, text);
    }

    /// Writes all that waits. What is not yet written stays where the future is dropped.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        while !self.out.is_empty() {
            self.stream.writable().await.map_err(lost)?;
            match self.stream.try_write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
        Ok(())
    }
}

impl Socket {
    /// A connection that was upgraded, with what came behind the answer.
    pub(super) fn new(stream: TcpStream, rest: Vec<u8>) -> Self {
        let stream = Rc::new(stream);
        let is_fresh = !rest.is_empty();
        let reader = Reader { stream: Rc::clone(&stream), rest, is_fresh };
        Self { reader, writer: Writer { stream, out: Vec::new() } }
    }

    /// As [`Reader::read`], and answers what is owed.
    pub(crate) async fn read(&mut self, scratch: &Scratch, each: impl FnMut(&[u8])) -> Result<(), Ended> {
        self.reader.read(scratch, &mut self.writer.out, each).await?;
        self.writer.flush().await
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, text: &[u8]) -> Result<(), Ended> {
        self.writer.put(text);
        self.writer.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pings_and_a_goodbye_are_told_apart() {
        let mut bytes = Vec::new();
        frame::put_unmasked(&mut bytes, TEXT, b"one");
        frame::put_unmasked(&mut bytes, PING, b"7");
        frame::put_unmasked(&mut bytes, TEXT, b"two");
        let whole = bytes.len();
        bytes.extend([0x81, 5, b't']);
        let (mut owed, mut seen) = (Vec::new(), Vec::new());
        let mut each = |payload: &[u8]| seen.push(String::from_utf8_lossy(payload).into_owned());
        assert_eq!(frames(&bytes, &mut owed, &mut each).unwrap(), whole);
        assert_eq!(seen, ["one", "two"]);
        let pong = frame::parse(&owed).unwrap().unwrap();
        assert_eq!((pong.opcode, &owed[pong.payload_at..]), (PONG, &b"7"[..]));

        let mut bytes = Vec::new();
        frame::put_unmasked(&mut bytes, CLOSE, &[&4429_u16.to_be_bytes()[..], b"too slow"].concat());
        let ended = frames(&bytes, &mut owed, &mut |_| {}).unwrap_err();
        assert_eq!(ended.to_string(), "closed with 4429: too slow");
    }
}
