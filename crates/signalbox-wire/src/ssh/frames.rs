//! The data types of the SSH protocol (RFC 4251, section 5): strings and numbers with their length before them.

/// Reads such values one after the other.
#[derive(Debug, Clone)]
pub(super) struct Frames<'a>(&'a [u8]);

/// The bytes end before the value does, or the value is not written as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut;

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Some bytes under their length.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Cut> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(Cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Cut)?;
        let (string, rest) = rest.split_at_checked(length).ok_or(Cut)?;
        self.0 = rest;
        Ok(string)
    }

    /// Bytes that are text.
    pub(super) fn text(&mut self) -> Result<&'a str, Cut> {
        std::str::from_utf8(self.string()?).map_err(|_| Cut)
    }

    /// A positive number without the zero byte that keeps it positive. There is one way to write each.
    pub(super) fn positive(&mut self) -> Result<&'a [u8], Cut> {
        match self.string()? {
            [] => Err(Cut),
            [0, rest @ ..] => rest.first().filter(|first| **first >= 0x80).map(|_| rest).ok_or(Cut),
            [first, ..] if *first >= 0x80 => Err(Cut),
            number => Ok(number),
        }
    }

    /// A fixed number of bytes without a length.
    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Cut> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Cut)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// That nothing follows.
    pub(super) fn end(&self) -> Result<(), Cut> {
        if self.0.is_empty() { Ok(()) } else { Err(Cut) }
    }
}

/// Appends bytes under their length; what is written here is always shorter than 4 GiB.
pub(super) fn put_string(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_one_after_the_other() {
        let mut bytes = b"MAGIC".to_vec();
        put_string(&mut bytes, b"text");
        put_string(&mut bytes, &[0, 0x80]);
        put_string(&mut bytes, &[0x7f]);
        let mut frames = Frames::new(&bytes);
        assert_eq!(frames.bytes::<5>(), Ok(*b"MAGIC"));
        assert_eq!(frames.text(), Ok("text"));
        assert_eq!(frames.positive(), Ok(&[0x80][..]));
        assert_eq!(frames.end(), Err(Cut));
        assert_eq!(frames.positive(), Ok(&[0x7f][..]));
        assert_eq!((frames.end(), frames.string()), (Ok(()), Err(Cut)));
    }

    #[test]
    fn what_is_cut_or_has_a_second_spelling_is_refused() {
        for bytes in [&[0, 0, 0][..], &[0, 0, 0, 2, 1], &[255, 255, 255, 255, 1]] {
            assert_eq!(Frames::new(bytes).string(), Err(Cut), "{bytes:?}");
        }
        for number in [&[][..], &[0], &[0, 1], &[0x80], &[0, 0, 0x80]] {
            let mut bytes = Vec::new();
            put_string(&mut bytes, number);
            assert_eq!(Frames::new(&bytes).positive(), Err(Cut), "{number:?}");
        }
    }
}
