//! Python for the tests: an environment of its own with the libraries that agents are written with.
//!
//! It is made once, below the build's folder, with `pip`. Where that cannot be (no Python, no way to the package index),
//! the tests that need it pass over themselves and say so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::print;
use crate::repo::Repo;

/// Names a Python with the packages to the tests.
pub(crate) const VARIABLE: &str = "SIGNALBOX_TEST_PYTHON";

/// What foreign clients are made of.
const PACKAGES: [&str; 4] = ["cryptography>=43", "httpx>=0.27", "paramiko>=3.4", "websockets>=13"];

/// What shows that the packages are there.
const PROBE: &str = "import cryptography, httpx, paramiko, websockets";

const NOT_TESTED: &str = "not tested without it: agents in Python that sign in with paramiko";

/// The Python of the tests; `None`, told with the reason, where there is none.
pub(crate) fn found(repo: &Repo) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Some(given.into());
    }
    let folder = repo.path("target/test-python");
    let python = folder.join("bin/python");
    if is_complete(&python) {
        return Some(python);
    }
    print::notice(&format!("making {} with {}", folder.display(), PACKAGES.join(", ")));
    match make(&folder, &python) {
        Ok(()) => Some(python),
        Err(error) => {
            print::notice(&format!("no Python for the tests: {error:#}; {NOT_TESTED}"));
            None
        }
    }
}

fn make(folder: &Path, python: &Path) -> Result<()> {
    quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    quietly(Command::new(python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
}

fn is_complete(python: &Path) -> bool {
    Command::new(python).args(["-c", PROBE]).output().is_ok_and(|done| done.status.success())
}

fn quietly(command: &mut Command) -> Result<()> {
    let shown = crate::repo::shown(command);
    match command.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            bail!("`{shown}` failed with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim())
        }
        Err(error) => bail!("cannot start `{shown}`: {error}"),
    }
}
