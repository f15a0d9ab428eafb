//! Server-sent events, from bytes to [`Frame`]s: [`Parser`] takes chunks as they come off the wire, cut
//! anywhere. The invariant: it never holds more than one frame of [`FRAME_BYTES_MAX`].

use std::time::Duration;

/// What the events of streams are found by, in `tracing`.
pub(crate) const TARGET: &str = "signalbox_client::stream";
/// The largest single event that is taken, in bytes; a task's result travels in one.
pub(crate) const FRAME_BYTES_MAX: usize = 8 << 20;

/// One event of a stream, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The `id` that was last seen, of this frame or an earlier one.
    pub(crate) id: String,
    /// The `event` field; empty where there was none.
    pub(crate) kind: String,
    /// The `data` lines, joined by line feeds.
    pub(crate) data: String,
}

/// A frame outgrew [`FRAME_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {FRAME_BYTES_MAX} bytes")]
pub(crate) struct TooLarge;

/// What has been read of a stream so far.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return that ended a line: a line feed after it belongs to it.
    after_cr: bool,
    /// Something was read already, so that a byte order mark cannot come any more.
    begun: bool,
    id: String,
    kind: String,
    data: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// Takes the next bytes and answers the frames that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLarge> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => frames.extend(self.end_line()),
                _ if self.held() >= FRAME_BYTES_MAX => return Err(TooLarge),
                _ => self.line.push(byte),
            }
        }
        Ok(frames)
    }

    /// The reconnection wait that the server asked for last.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn held(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }

    fn end_line(&mut self) -> Option<Frame> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { text.trim_start_matches('\u{feff}') } else { &text };
        if line.is_empty() {
            return self.end_frame();
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    /// A line that begins with a colon is a comment: its name is empty and matches nothing here.
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" => self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry),
            _ => {}
        }
    }

    fn end_frame(&mut self) -> Option<Frame> {
        let kind = std::mem::take(&mut self.kind);
        let data = self.data.take()?;
        Some(Frame { id: self.id.clone(), kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\n\nretry: 1500\nid: 1\nevent: task.running\ndata: {\"a\":\ndata: 1}\n\n\
        event: no data, no event\n\nid: 2\r\ndata:two\r\n\r\ndata\rid: 3\r\revent:x\ndata:  kept space\n\ndata: cut";

    fn frame(id: &str, kind: &str, data: &str) -> Frame {
        Frame { id: id.to_owned(), kind: kind.to_owned(), data: data.to_owned() }
    }

    fn expected() -> Vec<Frame> {
        vec![
            frame("1", "task.running", "{\"a\":\n1}"),
            frame("2", "", "two"),
            frame("3", "", ""),
            frame("3", "x", " kept space"),
        ]
    }

    #[test]
    fn a_stream_is_read_the_same_wherever_it_is_cut() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let frames: Vec<_> =
                STREAM.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk).unwrap()).collect();
            assert_eq!(frames, expected(), "cut every {size} bytes");
            assert_eq!(parser.retry(), Some(Duration::from_millis(1_500)));
        }
    }

    #[test]
    fn an_event_without_end_is_refused_not_gathered() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        parser.push(b"data: ").unwrap();
        let outcome = (0..16).try_for_each(|_| parser.push(&chunk).map(drop));
        assert_eq!(outcome, Err(TooLarge));
    }

    #[test]
    fn lines_that_never_end_a_frame_are_bounded_too() {
        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; 1 << 20], b"\n"].concat();
        let outcome = (0..16).try_for_each(|_| parser.push(&line).map(drop));
        assert_eq!(outcome, Err(TooLarge));
    }

    #[test]
    fn an_id_or_wait_that_makes_no_sense_is_left_out() {
        let mut parser = Parser::default();
        let frames = parser.push(b"id: 7\nid: a\0b\nretry: soon\nnonsense: 1\ndata: d\n\n").unwrap();
        assert_eq!(frames, [frame("7", "", "d")]);
        assert_eq!(parser.retry(), None);
    }
}
