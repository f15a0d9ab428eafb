//! The repository under work: where it is, which files belong to it, and how to run cargo in it.
//!
//! Paths inside it are text, relative to its root, with `/` between folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Folders that hold no source, left out where git is not there to say so.
const NOT_SOURCE: [&str; 5] = [".git", ".venv", "__pycache__", "node_modules", "target"];

/// The repository that this program was started in.
pub(crate) struct Repo {
    root: PathBuf,
}

impl Repo {
    /// The folder above `xtask/`.
    pub(crate) fn find() -> Result<Self> {
        let own = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.parent().with_context(|| format!("{} has no parent folder", own.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The text of a file.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// The place of a file.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Replaces a file, with the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.root.join(path);
        let folder = file.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).with_context(|| format!("cannot create the folder of {path}"))?;
        fs::write(&file, text).with_context(|| format!("cannot write {path}"))
    }

    /// Cargo, at the root.
    ///
    /// `cargo run` describes xtask to its child in variables; passed on, they would make build scripts that
    /// watch them (ring's does) build again whenever cargo is called with and without xtask in turn.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        self.as_in_a_shell(&mut cargo);
        cargo
    }

    /// Runs a command at the root, without what `cargo run` tells xtask of itself.
    pub(crate) fn as_in_a_shell(&self, command: &mut Command) {
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
                command.env_remove(name);
            }
        }
    }

    /// Every file that belongs to the repository: tracked or new, not ignored, not deleted.
    pub(crate) fn files(&self) -> Result<BTreeSet<String>> {
        let mut files = self.files_by_git().unwrap_or_default();
        if files.is_empty() {
            self.walk("", &mut files)?;
        }
        files.retain(|path| self.root.join(path).is_file());
        Ok(files)
    }

    /// `None` where git is not installed or this is an unpacked archive.
    fn files_by_git(&self) -> Option<BTreeSet<String>> {
        // A checkout may belong to another user than the one who tests it, which git refuses by default.
        let trusted = format!("safe.directory={}", self.root.display());
        let listed = Command::new("git")
            .args(["-c", &trusted, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .ok()
            .filter(|listed| listed.status.success())?;
        let names = String::from_utf8_lossy(&listed.stdout);
        Some(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    fn walk(&self, folder: &str, files: &mut BTreeSet<String>) -> Result<()> {
        let entries =
            fs::read_dir(self.root.join(folder)).with_context(|| format!("cannot list {folder}/"))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if !entry.file_type()?.is_dir() {
                files.insert(path);
            } else if !NOT_SOURCE.contains(&name.as_str()) {
                self.walk(&path, files)?;
            }
        }
        Ok(())
    }
}

/// Runs a command on this terminal; anything but success is an error that names it.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed with {status}");
    }
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_file_belongs_to_the_repository() {
        let repo = Repo::find().unwrap();
        assert!(repo.files().unwrap().contains("xtask/src/repo.rs"));
        let mut walked = BTreeSet::new();
        repo.walk("xtask", &mut walked).unwrap();
        assert!(walked.contains("xtask/src/repo.rs"));
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = succeed(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3` failed with exit status: 3");
    }
}
