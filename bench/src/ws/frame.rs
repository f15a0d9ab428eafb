//! Frames as bytes: where one ends, and how one is written.

/// A whole message as text.
pub(crate) const TEXT: u8 = 1;
/// A goodbye.
pub(crate) const CLOSE: u8 = 8;
/// A question whether the other side is there.
pub(crate) const PING: u8 = 9;
/// The answer to it.
pub(crate) const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Zeros leave the payload as it is: the server has the same work with them, the client has none.
const MASK: [u8; 4] = [0; 4];
const PAYLOAD_MAX: u64 = 64 << 20;

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) is_final: bool,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload_at: usize,
    pub(crate) end: usize,
}

/// Appends a frame as a client sends it.
pub(crate) fn put(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, payload.len(), MASKED);
    out.extend_from_slice(&MASK);
    out.extend_from_slice(payload);
}

/// Appends a frame as a server sends it.
pub(crate) fn put_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn put_head(out: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    out.push(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(masked | short),
        (_, Ok(middle)) => {
            out.push(masked | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Reads the head of a frame; `None` while the frame is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, String> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let short = second & 0x7f;
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((digits, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
    let length = match extended {
        0 => u64::from(short),
        _ => digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit)),
    };
    if length > PAYLOAD_MAX {
        return Err(format!("a frame of {length} bytes is over the limit of {PAYLOAD_MAX} bytes"));
    }
    let is_masked = second & MASKED != 0;
    let mask = if is_masked { rest.first_chunk::<4>().copied() } else { None };
    if is_masked && mask.is_none() {
        return Ok(None);
    }
    let payload_at = 2 + extended + if is_masked { MASK.len() } else { 0 };
    let end = payload_at + usize::try_from(length).unwrap_or(usize::MAX);
    let header = Header { is_final: first & FINAL != 0, opcode: first & 0x0f, mask, payload_at, end };
    Ok((bytes.len() >= end).then_some(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_back() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload = vec![b'x'; length];
            let (mut masked, mut unmasked) = (Vec::new(), Vec::new());
            put(&mut masked, TEXT, &payload);
            put_unmasked(&mut unmasked, TEXT, &payload);
            for bytes in [&masked, &unmasked] {
                let header = parse(bytes).unwrap().unwrap();
                assert_eq!(
                    (header.is_final, header.opcode, header.end),
                    (true, TEXT, bytes.len()),
                    "{length}"
                );
                assert_eq!(&bytes[header.payload_at..header.end], payload, "{length}");
            }
            assert_eq!(parse(&masked).unwrap().unwrap().mask, Some(MASK));
        }
    }

    #[test]
    fn every_prefix_of_a_frame_is_incomplete() {
        let mut bytes = Vec::new();
        put(&mut bytes, TEXT, &[7; 300]);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]).unwrap(), None, "{end}");
        }
        assert!(parse(&[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
