//! What `permessage-deflate` makes of a message, and back: raw DEFLATE without the end of its last, empty block.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// How a flushed stream ends; it is not sent.
const END: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses a message that remembers nothing of those before it.
pub(super) fn deflated(message: &[u8]) -> Vec<u8> {
    let mut packed = flushed(message);
    packed.truncate(packed.len() - END.len());
    packed
}

/// A message of `count` times the same text. Of each only its compressed bytes are ever there.
pub(super) fn deflated_times(text: &[u8], count: usize) -> Vec<u8> {
    let mut packed = flushed(text).repeat(count);
    packed.truncate(packed.len() - END.len());
    packed
}

fn flushed(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() + 64);
    let mut stream = Compress::new(Compression::default(), false);
    stream.compress_vec(text, &mut packed, FlushCompress::Full).expect("compressed");
    assert_eq!(stream.total_in(), text.len() as u64);
    assert!(packed.ends_with(&END));
    packed
}

/// Reads a message that needs nothing of those before it.
pub(super) fn inflated(packed: &[u8]) -> Vec<u8> {
    let packed = [packed, &END].concat();
    let (mut message, mut stream) = (Vec::with_capacity(4_096), Decompress::new(false));
    loop {
        let read = usize::try_from(stream.total_in()).expect("fits");
        if read == packed.len() {
            return message;
        }
        message.reserve(4_096);
        let before = message.len();
        stream.decompress_vec(&packed[read..], &mut message, FlushDecompress::Sync).expect("DEFLATE");
        assert!(stream.total_in() as usize > read || message.len() > before, "the message is whole");
    }
}
