//! Where an HTTP/1.1 answer ends: its status and the length of its body, and nothing else.

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) body_at: usize,
    pub(crate) body_length: usize,
}

impl Head {
    pub(crate) fn end(&self) -> usize {
        self.body_at + self.body_length
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Reads a head; `None` while it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut lines = Lines { bytes, at: 0 };
    let Some(first) = lines.next() else { return Ok(None) };
    let status = status(first)?;
    let mut length = None;
    loop {
        match lines.next() {
            None => return Ok(None),
            Some([]) => break,
            Some(line) => length = content_length(line).or(length),
        }
    }
    let body_length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => return Err(format!("an answer of status {status} has no content-length")),
    };
    Ok(Some(Head { status, body_at: lines.at, body_length }))
}

/// Complete lines without their line ends.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        Some(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }
}

fn status(line: &[u8]) -> Result<u16, String> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let code =
        text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    code.ok_or_else(|| format!("{text:?} is not the status line of an HTTP/1.1 answer"))
}

fn content_length(line: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_answer_tells_where_it_ends() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nx-request-id: r\r\nContent-Length: 5\r\n\r\nhello";
        let head = parse(bytes).unwrap().unwrap();
        assert_eq!((head.status, &bytes[head.body_at..head.end()]), (202, &b"hello"[..]));
        assert!(head.is_success());
    }

    #[test]
    fn every_prefix_of_a_head_is_incomplete() {
        let bytes = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]).unwrap(), None, "{end}");
        }
        assert!(!parse(bytes).unwrap().unwrap().is_success());
    }

    #[test]
    fn only_an_empty_answer_may_omit_its_length() {
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().body_length, 0);
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
