//! The text of server-sent events: what is sent in one go.

use bytes::Bytes;
use signalbox_wire::opscore::GapView;

/// Bytes after which nothing more is added to what is sent in one go.
pub(super) const CHUNK_BYTES_MAX: usize = 256 << 10;
/// A comment, which every reader passes over.
pub(super) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Some events, as they are sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Chunk(Vec<u8>);

impl Chunk {
    /// Adds an event with JSON as its data.
    pub(crate) fn event(&mut self, id: u64, kind: &str, json: &[u8]) {
        self.0.extend_from_slice(format!("id: {id}\nevent: ").as_bytes());
        self.line(kind.as_bytes());
        self.0.extend_from_slice(b"\ndata: ");
        self.line(json);
        self.0.extend_from_slice(b"\n\n");
    }

    /// Says that the entries from `from` to `to` are no longer kept. Its id is the last of them, so that who
    /// resumes after it is not told again.
    pub(crate) fn gap(&mut self, from: u64, to: u64) {
        let json = serde_json::to_vec(&GapView::new(from, to)).unwrap_or_default();
        self.event(to, GapView::KIND, &json);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is large enough to be sent before anything is added.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= CHUNK_BYTES_MAX
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    /// Adds text without ending the line. A line break in JSON can only stand between its tokens, where a
    /// space means the same.
    fn line(&mut self, text: &[u8]) {
        self.0.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_frame_whatever_its_data_holds() {
        let mut chunk = Chunk::default();
        assert!(chunk.is_empty());
        chunk.event(7, "log", b"{\r\n \"a\":\n1}");
        chunk.gap(8, 9);
        let text = String::from_utf8(chunk.into_bytes().to_vec()).expect("text");
        let frames: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(frames[0], "id: 7\nevent: log\ndata: {   \"a\": 1}");
        assert!(
            frames[1].starts_with("id: 9\nevent: gap\ndata: {\"type\":\"gap\",\"from\":8,\"to\":9,"),
            "{}",
            frames[1]
        );
        assert_eq!(frames.len(), 2);
    }
}
