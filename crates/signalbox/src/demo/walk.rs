//! Which files of a folder the audit is about: [`walk`] finds the text files, in a fixed order, and counts
//! what it leaves out. The invariant: it follows no symbolic link, reads no more than the beginning of a
//! file, and stops at its limits, saying so.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Folders that hold what tools made, not what people wrote.
const SKIPPED_FOLDERS: [&str; 5] = [".git", ".venv", "__pycache__", "node_modules", "target"];
/// How much of a file is looked at to tell text from binary.
const SAMPLE_BYTES: usize = 8 << 10;

/// Where the walk stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A larger file is counted as skipped.
    pub(super) file_bytes_max: u64,
    /// Files that are taken.
    pub(super) files_max: usize,
    /// Bytes of all their paths together: they travel in one message.
    pub(super) path_bytes_max: usize,
    /// Files and folders that are looked at.
    pub(super) entries_max: usize,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The text files: paths below the root with `/` between the parts, in order.
    pub(super) files: Vec<String>,
    /// What was left out.
    pub(super) skipped: Skipped,
}

/// What was left out, and why.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Skipped {
    /// Files over the size limit.
    pub(super) large: usize,
    /// Files that are no UTF-8 text.
    pub(super) binary: usize,
    /// Symbolic links, pipes, sockets and devices.
    pub(super) special: usize,
    /// Files and folders that could not be opened, or whose names are no UTF-8.
    pub(super) unreadable: usize,
    /// Folders that tools fill, such as `target`.
    pub(super) folders: usize,
    /// A limit was reached: there is more than was looked at.
    pub(super) cut_short: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes_max: 1 << 20, files_max: 5_000, path_bytes_max: 512 << 10, entries_max: 200_000 }
    }
}

impl Skipped {
    /// What was left out, in words; empty when nothing was.
    pub(super) fn in_words(&self) -> String {
        let mut parts = Vec::new();
        let counts = [
            (self.large, "over 1 MiB"),
            (self.binary, "binary"),
            (self.special, "symbolic links and special files"),
            (self.unreadable, "unreadable"),
            (self.folders, "folders that tools fill"),
        ];
        parts.extend(
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}")),
        );
        if self.cut_short {
            parts.push("everything beyond the demo's limit of files".to_owned());
        }
        parts.join(", ")
    }
}

/// Finds the text files below `root`.
pub(super) fn walk(root: &Path, limits: &Limits) -> io::Result<Found> {
    let mut walk = Walk { limits, found: Found::default(), path_bytes: 0, entries: 0 };
    let mut open = walk.folder(children(root)?, "");
    while let Some((folder, below)) = open.pop() {
        if walk.found.skipped.cut_short {
            break;
        }
        match children(&folder) {
            Ok(children) => open.extend(walk.folder(children, &below)),
            Err(_) => walk.found.skipped.unreadable += 1,
        }
    }
    walk.found.files.sort_unstable();
    Ok(walk.found)
}

struct Walk<'a> {
    limits: &'a Limits,
    found: Found,
    path_bytes: usize,
    entries: usize,
}

impl Walk<'_> {
    /// Takes a folder's files and answers its folders, the first one last.
    fn folder(&mut self, children: Vec<PathBuf>, below: &str) -> Vec<(PathBuf, String)> {
        let mut folders = Vec::new();
        for child in children {
            if self.is_full() {
                self.found.skipped.cut_short = true;
                break;
            }
            self.entries += 1;
            match self.entry(&child, below) {
                Ok(Some(folder)) => folders.push((child, folder)),
                Ok(None) => {}
                Err(_) => self.found.skipped.unreadable += 1,
            }
        }
        folders.reverse();
        folders
    }

    /// Takes a file, or answers the path of a folder to go into.
    fn entry(&mut self, child: &Path, below: &str) -> io::Result<Option<String>> {
        let name = child.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidFilename)?;
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        match kind(child, name, self.limits)? {
            Kind::Folder => return Ok(Some(path)),
            Kind::Text => {
                self.path_bytes += path.len();
                self.found.files.push(path);
            }
            Kind::Skipped(count) => *count(&mut self.found.skipped) += 1,
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.found.files.len() >= self.limits.files_max
            || self.path_bytes >= self.limits.path_bytes_max
            || self.entries >= self.limits.entries_max
    }
}

enum Kind {
    Folder,
    Text,
    Skipped(fn(&mut Skipped) -> &mut usize),
}

/// In order of name, so that a walk that is cut short finds the same files each time.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut children =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    children.sort_unstable();
    Ok(children)
}

fn kind(path: &Path, name: &str, limits: &Limits) -> io::Result<Kind> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(if metadata.is_dir() {
        let skipped = SKIPPED_FOLDERS.contains(&name);
        if skipped { Kind::Skipped(|skipped| &mut skipped.folders) } else { Kind::Folder }
    } else if !metadata.is_file() {
        Kind::Skipped(|skipped| &mut skipped.special)
    } else if metadata.len() > limits.file_bytes_max {
        Kind::Skipped(|skipped| &mut skipped.large)
    } else if !is_text(path)? {
        Kind::Skipped(|skipped| &mut skipped.binary)
    } else {
        Kind::Text
    })
}

fn is_text(path: &Path) -> io::Result<bool> {
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    File::open(path)?.take(SAMPLE_BYTES as u64).read_to_end(&mut sample)?;
    if sample.contains(&0) {
        return Ok(false);
    }
    Ok(match std::str::from_utf8(&sample) {
        Ok(_) => true,
        // The sample may end within a character; a whole file may not.
        Err(error) => error.error_len().is_none() && sample.len() == SAMPLE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("README.md", b"# Hello");
        write("empty", b"");
        write("docs/b.md", b"b");
        write("docs/a/c.txt", "gr\u{fc}n".as_bytes());
        write("docs-2/z.md", b"z");
        write("image.png", b"\x89PNG\0\0");
        write("latin1.txt", b"gr\xfcn");
        write("large.txt", &[b'x'; 100]);
        write("target/debug/made.txt", b"made");
        write("nested/node_modules/p/index.js", b"made");
        write(".git/config", b"made");
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path().join("docs"), root.path().join("linked")).unwrap();
        root
    }

    fn limits() -> Limits {
        Limits { file_bytes_max: 50, ..Limits::default() }
    }

    #[test]
    fn text_files_are_found_in_order_and_the_rest_is_counted() {
        let root = tree();
        let found = walk(root.path(), &limits()).unwrap();
        assert_eq!(found.files, ["README.md", "docs-2/z.md", "docs/a/c.txt", "docs/b.md", "empty"]);
        let special = usize::from(cfg!(unix));
        let expected = Skipped { large: 1, binary: 2, special, unreadable: 0, folders: 3, cut_short: false };
        assert_eq!(found.skipped, expected);
    }

    #[test]
    fn a_limit_cuts_the_walk_short_and_is_said() {
        let root = tree();
        let found = walk(root.path(), &Limits { files_max: 2, ..limits() }).unwrap();
        assert_eq!(found.files, ["README.md", "empty"]);
        assert!(found.skipped.cut_short);
        assert!(found.skipped.in_words().contains("beyond the demo's limit"));
        let found = walk(root.path(), &Limits { path_bytes_max: 10, ..limits() }).unwrap();
        assert!(found.skipped.cut_short && found.files.len() == 2, "{found:?}");
        assert!(walk(root.path(), &Limits { entries_max: 3, ..limits() }).unwrap().skipped.cut_short);
    }

    #[test]
    fn a_sample_may_end_within_a_character() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("long.txt");
        fs::write(&path, "x".repeat(SAMPLE_BYTES - 1) + "\u{fc} and on").unwrap();
        assert!(is_text(&path).unwrap());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(walk(Path::new("/nonexistent/folder"), &Limits::default()).is_err());
    }
}
