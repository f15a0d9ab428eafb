//! A backup of what a server keeps in its data directory, and the way back: the embedded database, the keys and
//! secrets that were made here, and which node this is.
//!
//! Files are copied one by one and the database last, each under a temporary name first. A directory without the
//! database is therefore no complete backup, and none is restored from.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use signalbox_store::StoreError;

use crate::auth::bootstrap;
use crate::lock;

/// The embedded database's file in the data directory.
const DATABASE_FILE: &str = "signalbox.db";
/// What is kept beside it: by SQLite while it is read, which leaves it there where it was opened to read alone; and the redo log.
const BESIDE_DATABASE: [&str; 3] = ["signalbox.db-wal", "signalbox.db-shm", "signalbox.db-redo"];

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to copy.
    #[error(
        "there is no {DATABASE_FILE} in {0}; name the server's --data-dir (for a server on PostgreSQL, run pg_dump \
         and add --without-database here: the keys and secrets are in the data directory all the same)"
    )]
    NoDatabase(PathBuf),
    /// The directory is no backup.
    #[error("{0} is no complete backup: there is no {DATABASE_FILE} in it{1}")]
    NoBackup(PathBuf, &'static str),
    /// The backup's database cannot be read whole.
    #[error("{0} cannot be restored: {1}; nothing is: see that there is room, or take another backup")]
    Broken(PathBuf, StoreError),
    /// The directory would be made in one that is not there: often one that is not mounted, or misspelt.
    #[error(
        "{target} cannot be made: there is no {parent}; make that first ('mkdir -p {parent}'), or name another directory"
    )]
    NoParent {
        /// The directory.
        target: PathBuf,
        /// The one that it would be in.
        parent: PathBuf,
    },
    /// There is something where the copy is to be.
    #[error("{0} is not empty; name a directory that does not exist yet or has nothing in it")]
    NotEmpty(PathBuf),
    /// A process uses the data directory.
    #[error("{0} is in use by a signalbox process; stop it or choose another --data-dir")]
    Locked(PathBuf),
    /// A file or directory cannot be used.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a backup or a restore copied, by the names of the files.
#[derive(Debug)]
pub struct Copied(pub Vec<&'static str>);

/// Which parts of a data directory are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The embedded database and all that goes with it.
    All,
    /// The keys and secrets alone, for a server whose database is PostgreSQL. Not the node's identity: the node that
    /// it belongs to may still run.
    WithoutDatabase,
}

/// Copies `data_dir` to the new directory `target` while a server may be using it.
///
/// # Errors
/// [`BackupError`], which says what to do about it.
pub fn backup(data_dir: &Path, target: &Path, parts: Parts) -> Result<Copied, BackupError> {
    if parts == Parts::All && !data_dir.join(DATABASE_FILE).is_file() {
        return Err(BackupError::NoDatabase(data_dir.to_owned()));
    }
    check_parent(target)?;
    prepare(target)?;
    copy(data_dir, target, parts)
}

/// Puts a backup back into the new directory `data_dir`.
///
/// # Errors
/// [`BackupError`], which says what to do about it.
pub fn restore(source: &Path, data_dir: &Path, parts: Parts) -> Result<Copied, BackupError> {
    if parts == Parts::All && !source.join(DATABASE_FILE).is_file() {
        let cure = if bootstrap::KEPT.iter().any(|name| source.join(name).is_file()) {
            "; add --without-database if it was made so"
        } else {
            ""
        };
        return Err(BackupError::NoBackup(source.to_owned(), cure));
    }
    make(data_dir)?;
    let lock = lock::take(data_dir).map_err(|source| fault(data_dir, source))?;
    let _lock = lock.ok_or_else(|| BackupError::Locked(data_dir.to_owned()))?;
    check_empty(data_dir)?;
    let restored = copy(source, data_dir, parts).and_then(|copied| {
        // A file that was cut short, or has pages of something else, is copied like any other.
        if parts == Parts::All {
            signalbox_store::check_file(&data_dir.join(DATABASE_FILE))?;
        }
        Ok(copied)
    });
    restored.map_err(|error| {
        remove(data_dir);
        match error {
            BackupError::Store(error) => BackupError::Broken(source.join(DATABASE_FILE), error),
            error => error,
        }
    })
}

/// Takes away what a restore has written, so that another can go there. What cannot be removed is told by that one.
fn remove(data_dir: &Path) {
    let others = [bootstrap::NODE_FILE, DATABASE_FILE, lock::FILE];
    for name in bootstrap::KEPT.into_iter().chain(others).chain(BESIDE_DATABASE) {
        let _there_may_be_none = fs::remove_file(data_dir.join(name));
    }
}

/// The directory is made in one that is there: a backup into a path that is misspelt, or on a disk that is not mounted, is none.
fn check_parent(target: &Path) -> Result<(), BackupError> {
    match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.exists() => {
            Err(BackupError::NoParent { target: target.to_owned(), parent: parent.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Makes the directory, for its owner alone; one that is there must be empty.
fn prepare(target: &Path) -> Result<(), BackupError> {
    make(target)?;
    check_empty(target)
}

fn make(target: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(target).map_err(|source| fault(target, source))
}

/// Nothing is in it but perhaps a lock's file.
fn check_empty(target: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(target).map_err(|source| fault(target, source))? {
        let entry = entry.map_err(|source| fault(target, source))?;
        if entry.file_name() != lock::FILE {
            return Err(BackupError::NotEmpty(target.to_owned()));
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, parts: Parts) -> Result<Copied, BackupError> {
    let mut copied = Vec::new();
    let node = (parts == Parts::All).then_some(bootstrap::NODE_FILE);
    for name in bootstrap::KEPT.into_iter().chain(node) {
        let source = from.join(name);
        match fs::read(&source) {
            Ok(content) => write(&to.join(name), &content)?,
            // A key that is configured has no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fault(&source, error)),
        }
        copied.push(name);
    }
    if parts == Parts::All {
        let database = to.join(DATABASE_FILE);
        signalbox_store::backup_file(&from.join(DATABASE_FILE), &database)?;
        sync(&database)?;
        copied.push(DATABASE_FILE);
    }
    sync(to)?;
    Ok(Copied(copied))
}

/// Writes a file for its owner alone; a crash leaves all of it or none.
fn write(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    let draft = path.with_extension("new");
    let written = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|source| fault(path, source))
}

/// Flushes a file or a directory.
fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| fault(path, source))
}

fn fault(path: &Path, source: io::Error) -> BackupError {
    BackupError::Io { path: path.to_owned(), source }
}
