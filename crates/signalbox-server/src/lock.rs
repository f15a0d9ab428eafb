//! One process to a data directory: an advisory lock that the operating system releases when the process
//! ends, however it ends.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// The lock's file in the data directory.
pub(crate) const FILE: &str = "signalbox.lock";

/// That this process alone uses a data directory, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock of `folder`; `None` when another process has it.
pub(crate) fn take(folder: &Path) -> io::Result<Option<Lock>> {
    let mut file =
        File::options().create(true).read(true).write(true).truncate(false).open(folder.join(FILE))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Some(Lock { _file: file }))
        }
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_until_the_first_is_gone() {
        let folder = std::env::temp_dir().join(format!("signalbox-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let first = take(&folder).expect("readable").expect("free");
        assert!(take(&folder).expect("readable").is_none());
        drop(first);
        assert!(take(&folder).expect("readable").is_some());
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
