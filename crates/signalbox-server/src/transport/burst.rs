//! Frames that go to the same connections one after the other, written once as a WebSocket sends them: each connection
//! that gets them holds the same bytes, and sends them as they are.

use bytes::{Buf as _, Bytes};

/// The first byte of a frame that is a whole message of text.
const TEXT: u8 = 0x81;
/// Lengths up to here are one byte.
const SHORT_MAX: usize = 125;
/// Two bytes of length follow.
const MIDDLE: u8 = 126;
/// Eight bytes of length follow.
const LONG: u8 = 127;

/// Frames, one after the other; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Burst {
    wire: Bytes,
    frames: usize,
    bytes: usize,
}

/// Writes a [`Burst`].
#[derive(Debug, Default)]
pub(crate) struct BurstWriter {
    wire: Vec<u8>,
    /// A frame's text, until its length is known.
    text: Vec<u8>,
    frames: usize,
    bytes: usize,
}

impl Burst {
    /// All of them as a server sends them.
    pub(crate) fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// How many there are.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// The bytes of their texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The text of each; all share the burst's bytes.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Bytes> + use<> {
        let mut rest = self.wire.clone();
        std::iter::from_fn(move || {
            let (begin, bytes) = head(&rest)?;
            if rest.len() < begin + bytes {
                return None;
            }
            rest.advance(begin);
            Some(rest.split_to(bytes))
        })
    }
}

impl BurstWriter {
    /// Adds a frame.
    pub(crate) fn put(&mut self, text: &[u8]) {
        put_text(&mut self.wire, text);
        self.frames += 1;
        self.bytes += text.len();
    }

    /// Adds the frame that `write` appends to what it is given.
    pub(crate) fn put_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write(&mut text);
        self.put(&text);
        self.text = text;
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// The bytes of their texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was written, where there is anything.
    pub(crate) fn take(&mut self) -> Option<Burst> {
        let (wire, frames, bytes) = (
            std::mem::take(&mut self.wire),
            std::mem::take(&mut self.frames),
            std::mem::take(&mut self.bytes),
        );
        (frames > 0).then(|| Burst { wire: Bytes::from(wire), frames, bytes })
    }
}

/// Appends a text as a frame that a server sends.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 10);
    put_head(out, TEXT, text.len());
    out.extend_from_slice(text);
}

/// Appends the head of a whole frame that a server sends; `first` is its first byte.
pub(crate) fn put_head(out: &mut Vec<u8>, first: u8, bytes: usize) {
    out.push(first);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short), _) if bytes <= SHORT_MAX => out.push(short),
        (_, Ok(middle)) => {
            out.push(MIDDLE);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(LONG);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
}

/// Where the text of the first frame begins, and how many bytes it has.
fn head(wire: &[u8]) -> Option<(usize, usize)> {
    let (&[_, short], rest) = wire.split_first_chunk::<2>()?;
    let digits = match short {
        MIDDLE => rest.get(..2)?,
        LONG => rest.get(..8)?,
        short => return Some((2, usize::from(short))),
    };
    Some((2 + digits.len(), digits.iter().fold(0, |bytes, digit| bytes << 8 | usize::from(*digit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_read_back() {
        let mut writer = BurstWriter::default();
        assert_eq!(writer.take(), None);
        let texts: Vec<String> = [0, 1, 125, 126, 65_535, 65_536].map(|bytes| "x".repeat(bytes)).into();
        for text in &texts {
            writer.put_with(|out| out.extend_from_slice(text.as_bytes()));
        }
        let burst = writer.take().expect("some");
        assert_eq!((burst.frames(), burst.bytes()), (6, texts.iter().map(String::len).sum()));
        assert!(burst.texts().eq(texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes()))));
        assert_eq!(burst.wire()[..4], [TEXT, 0, TEXT, 1]);
        assert_eq!((writer.frames(), writer.bytes(), writer.take()), (0, 0, None));
    }
}
