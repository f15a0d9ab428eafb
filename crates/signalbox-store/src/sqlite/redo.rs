//! The redo log: a file beside the database to which each commit is appended and flushed before anybody is told of it. The
//! tables follow later, many commits at a time.
//!
//! A record is its length, a checksum, its number, and its bytes. Numbers rise by one, also where a commit goes to the
//! tables alone. Once everything in the file is in the tables, and that is on the disk, the file is written again from its
//! start: so it stays small, and most flushes have no size to write. Whoever reads it stops at what is no whole record, or
//! not the next.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Says what the file is, and which form its records have.
const HEADER: &[u8; 16] = b"signalbox redo 1";
/// Bytes in front of a record: its length, its checksum and its number.
const FRAME_BYTES: usize = 16;

/// Bytes by which the file grows at once: a flush of what has room already need not write a new size and new places.
const ROOM_BYTES: u64 = 1 << 20;
const ZEROS: &[u8; 64 << 10] = &[0; 64 << 10];

/// The file, to be appended to.
pub(super) struct RedoLog {
    file: File,
    end: u64,
    /// Up to where the file has been written once.
    room: u64,
    next: u64,
}

/// Where the redo log of a database is.
pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-redo");
    PathBuf::from(path)
}

impl RedoLog {
    /// Opens the file, of which nothing is needed any more; `next` is the number of the next record.
    pub(super) fn open(database: &Path, next: u64) -> io::Result<Self> {
        let path = path_of(database);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut header = [0; HEADER.len()];
        if file.read_exact_at(&mut header, 0).is_err() || header != *HEADER {
            file.set_len(0)?;
            file.write_all_at(HEADER, 0)?;
            file.sync_all()?;
            // A file that has just come to be is found after a crash once its folder is flushed.
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
        }
        let room = file.metadata()?.len();
        Ok(Self { file, end: HEADER.len() as u64, room, next })
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Gives a number to a commit that is not in the file. Until the file has [begun again](Self::restart), or the number is
    /// [given back](Self::give_back), nothing may be appended: whoever reads would stop at the gap.
    pub(super) fn take_number(&mut self) {
        self.next += 1;
    }

    /// The commit that took the last number has certainly not been made.
    pub(super) fn give_back(&mut self) {
        self.next -= 1;
    }

    /// Whether the file holds nothing that is needed.
    pub(super) fn is_empty(&self) -> bool {
        self.end == HEADER.len() as u64
    }

    /// Bytes that are in use.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends a record and flushes it. `record` begins with [room](begin) for what stands in front of it. Where this
    /// fails, the record may or may not be found later: its number is not given again, and the file has to begin again.
    pub(super) fn append(&mut self, record: &mut [u8]) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let parts = record.split_at_mut_checked(FRAME_BYTES);
        let (frame, content) =
            parts.ok_or_else(|| io::Error::other("the record has no room for its frame"))?;
        let length = u32::try_from(content.len()).map_err(|_| io::Error::other("the record is too long"))?;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame[4..8].copy_from_slice(&checksum(number, content).to_le_bytes());
        frame[8..].copy_from_slice(&number.to_le_bytes());
        #[cfg(test)]
        fails::now(&self.file, record, self.end)?;
        self.file.write_all_at(record, self.end)?;
        let end = self.end + record.len() as u64;
        if end > self.room {
            self.grow(end)?;
        }
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Makes room behind `end` for what comes next.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        let room = end.next_multiple_of(ROOM_BYTES);
        let mut at = end;
        while at < room {
            let bytes = usize::try_from(room - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(&ZEROS[..bytes], at)?;
            at += bytes as u64;
        }
        self.room = room;
        Ok(())
    }

    /// Writes from the start again: all records are in the tables, and those on the disk.
    pub(super) fn restart(&mut self) {
        self.end = HEADER.len() as u64;
    }

    /// Leaves nothing behind: all records are in the tables, and those on the disk.
    pub(super) fn empty(self) -> io::Result<()> {
        self.file.set_len(HEADER.len() as u64)?;
        self.file.sync_all()
    }
}

/// Begins a record in `buffer`.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_BYTES, 0);
}

/// Everything in the redo log of a database; nothing where there is none.
pub(super) fn read(database: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path_of(database)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The whole records that follow each other from the start of the file, with their numbers; an error where the file is
/// none of this program's.
pub(super) fn records(bytes: &[u8]) -> Result<Records<'_>, String> {
    let rest = match bytes.strip_prefix(HEADER) {
        Some(rest) => rest,
        // A crash while it is made leaves a part of this, or its size alone.
        None if bytes.len() < HEADER.len() && HEADER.starts_with(bytes) => &[],
        None if bytes.iter().all(|byte| *byte == 0) => &[],
        None => {
            return Err(
                "the redo log is none of this version's; start the version that wrote it once, and stop it"
                    .to_owned(),
            );
        }
    };
    Ok(Records { rest, expected: None })
}

/// Records of a file.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    expected: Option<u64>,
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (frame, rest) = self.rest.split_first_chunk::<FRAME_BYTES>()?;
        let number_at = |at: usize| frame.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (length, sum) = (number_at(0)?, number_at(4)?);
        let number = frame.last_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))?;
        let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if checksum(number, content) != sum || self.expected.is_some_and(|expected| number != expected) {
            self.rest = &[];
            return None;
        }
        self.rest = rest;
        self.expected = number.checked_add(1);
        Some((number, content))
    }
}

fn checksum(number: u64, content: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number.to_le_bytes());
    sum.update(content);
    sum.finalize()
}

/// Lets tests have the next append fail.
#[cfg(test)]
pub(super) mod fails {
    use std::collections::HashMap;
    use std::os::unix::fs::MetadataExt as _;

    use parking_lot::Mutex;

    use super::*;

    /// How much of a record gets into the file before its append fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in super::super) enum Written {
        All,
        Half,
        Nothing,
    }

    /// By the number of the file, as tests run beside each other.
    static NEXT: Mutex<Option<HashMap<u64, Written>>> = Mutex::new(None);

    /// The next append to the redo log of this database fails.
    pub(in super::super) fn next(database: &Path, written: Written) {
        let number = std::fs::metadata(path_of(database)).expect("there").ino();
        NEXT.lock().get_or_insert_default().insert(number, written);
    }

    pub(super) fn now(file: &File, record: &[u8], at: u64) -> io::Result<()> {
        let number = file.metadata()?.ino();
        let Some(written) = NEXT.lock().as_mut().and_then(|next| next.remove(&number)) else { return Ok(()) };
        let bytes = match written {
            Written::All => record,
            Written::Half => &record[..record.len() / 2],
            Written::Nothing => &[],
        };
        file.write_all_at(bytes, at)?;
        Err(io::Error::other("a test wants it to fail"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn append(log: &mut RedoLog, content: &[u8]) {
        let mut record = Vec::new();
        begin(&mut record);
        record.extend_from_slice(content);
        log.append(&mut record).expect("written");
    }

    fn found(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        records(bytes).expect("ours").map(|(number, content)| (number, content.to_vec())).collect()
    }

    proptest! {
        /// Whatever is cut off, overwritten or left over: what is read is a run of records that were written.
        #[test]
        fn what_is_read_was_written(
            passes in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..6), 1..4),
            cut in any::<prop::sample::Index>(),
            flip in prop::option::of((any::<prop::sample::Index>(), 1..=255_u8)),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let database = folder.path().join("a.db");
            let mut log = RedoLog::open(&database, 7).expect("opened");
            let (mut number, mut last_pass) = (7, Vec::new());
            for pass in &passes {
                log.restart();
                last_pass.clear();
                for content in pass {
                    append(&mut log, content);
                    last_pass.push((number, content.clone()));
                    number += 1;
                }
            }
            let bytes = read(&database).expect("read");
            prop_assert_eq!(&found(&bytes), &last_pass);
            let mut torn = bytes;
            match flip {
                Some((at, by)) => {
                    let at = HEADER.len() + at.index(torn.len() - HEADER.len());
                    torn[at] ^= by;
                }
                None => torn.truncate(HEADER.len() + cut.index(torn.len() - HEADER.len())),
            }
            let left = found(&torn);
            prop_assert!(last_pass.starts_with(&left), "{:?} of {:?}", left, last_pass);
        }
    }

    #[test]
    fn a_file_of_another_form_is_refused_and_an_unfinished_one_is_empty() {
        assert!(records(b"signalbox redo 2").is_err());
        assert!(records(b"something else of more than sixteen bytes").is_err());
        assert_eq!(found(b""), []);
        assert_eq!(found(&HEADER[..7]), []);
    }
}
