//! Python for the tests: an environment of its own with the libraries that agents are written with.
//!
//! It is made once, below the build's folder, with `pip`. Where that cannot be (no Python, no way to the package index), the
//! run fails and says so, unless `SIGNALBOX_TEST_WITHOUT_PYTHON=1` lets those tests be passed over.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::postgres::{self, is_root};
use crate::print;
use crate::repo::Repo;

/// Names a Python with the packages to the tests.
pub(crate) const VARIABLE: &str = "SIGNALBOX_TEST_PYTHON";

/// What foreign clients are made of.
const FOREIGN_CLIENTS: Environment = Environment {
    folder: "target/test-python",
    packages: &[
        "cryptography==50.0.2",
        "httpx==0.28.1",
        "openapi-python-client==0.29.1",
        "openapi-spec-validator==0.9.0",
        "paramiko==5.1.0",
        "websockets==17.4",
    ],
    probe: "import cryptography, httpx, openapi_python_client, openapi_spec_validator, paramiko, websockets",
    not_tested: "not tested without it: agents in Python that sign in with paramiko, and clients that are generated \
                 from openapi.json",
};

/// Lets the tests go without, where there is none.
const WITHOUT: &str = "SIGNALBOX_TEST_WITHOUT_PYTHON";

/// A virtual environment for tests.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Where it is, below the root.
    pub(crate) folder: &'static str,
    /// What is installed, with versions.
    pub(crate) packages: &'static [&'static str],
    /// A program that shows that the packages are there.
    pub(crate) probe: &'static str,
    /// What goes untested without it.
    pub(crate) not_tested: &'static str,
}

/// The Python of foreign clients, made where there is none; `None` where the caller chose to go without.
///
/// # Errors
/// It cannot be made, with the cure.
pub(crate) fn found(repo: &Repo, is_fast: bool) -> Result<Option<PathBuf>> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        let given = PathBuf::from(given);
        if !is_complete(&given, FOREIGN_CLIENTS.probe) {
            bail!(
                "{VARIABLE} names {}, which is no Python with all of {}; unset it to have one made",
                given.display(),
                FOREIGN_CLIENTS.packages.join(", ")
            );
        }
        return Ok(Some(given));
    }
    made(repo, &FOREIGN_CLIENTS, is_fast)
}

/// The Python of an environment, made where there is none; `None` where the caller chose to go without.
///
/// # Errors
/// It cannot be made, with the cure.
pub(crate) fn made(repo: &Repo, environment: &Environment, is_fast: bool) -> Result<Option<PathBuf>> {
    let folder = repo.path(environment.folder);
    let python = folder.join("bin/python");
    if is_complete(&python, environment.probe) {
        return Ok(Some(python));
    }
    if is_fast {
        print::notice(&format!("--fast makes no {}; {}", environment.folder, environment.not_tested));
        return Ok(None);
    }
    print::notice(&format!("making {} with {}", folder.display(), environment.packages.join(", ")));
    let made = make(&folder, &python, environment.packages);
    let may_lack = std::env::var(WITHOUT).is_ok_and(|value| value == "1");
    missing_or(made.map(|()| python), may_lack, environment.not_tested)
}

/// What was made; where nothing was, nothing where that is allowed.
fn missing_or(made: Result<PathBuf>, may_lack: bool, not_tested: &str) -> Result<Option<PathBuf>> {
    match made {
        Ok(python) => Ok(Some(python)),
        Err(error) if may_lack => {
            print::notice(&format!(
                "no Python for the tests, as {WITHOUT}=1 allows: {error:#}; {not_tested}"
            ));
            Ok(None)
        }
        Err(error) => bail!(
            "no Python for the tests: {error:#}; {not_tested}; install python3 with venv and pip (Debian: apt-get install \
             python3-venv) and let pip reach its package index, or set {WITHOUT}=1 to pass without these tests"
        ),
    }
}

fn make(folder: &Path, python: &Path, packages: &[&str]) -> Result<()> {
    let venv = || quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
    if let Err(error) = venv() {
        // Debian has it in a package of its own.
        if !is_root()? || !Path::new("/usr/bin/apt-get").exists() {
            return Err(error);
        }
        print::notice("python3-venv is missing: installing it with apt-get");
        postgres::quietly(Command::new("apt-get").arg("update"))?;
        postgres::quietly(Command::new("apt-get").args([
            "install",
            "-y",
            "--no-install-recommends",
            "python3-venv",
        ]))?;
        venv()?;
    }
    quietly(Command::new(python).args(["-m", "pip", "install", "--quiet"]).args(packages))
}

fn is_complete(python: &Path, probe: &str) -> bool {
    Command::new(python).args(["-c", probe]).output().is_ok_and(|done| done.status.success())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_cannot_be_made_fails_the_run_unless_that_is_allowed() {
        let python = PathBuf::from("python");
        assert_eq!(missing_or(Ok(python.clone()), false, "agents").unwrap(), Some(python));
        assert_eq!(missing_or(Err(anyhow::anyhow!("no venv")), true, "agents").unwrap(), None);
        let told = missing_or(Err(anyhow::anyhow!("no venv")), false, "agents").unwrap_err().to_string();
        for part in ["no venv", "python3-venv", "SIGNALBOX_TEST_WITHOUT_PYTHON=1", "agents"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
