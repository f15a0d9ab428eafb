//! The Python package `agentkit`: its wheel is built from the workspace's own build, installed into an environment of its
//! own below the build's folder, and tested against the real server; its types are checked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::python::{self, Environment};
use crate::repo::{self, Repo};

/// What builds and tests it.
const ENVIRONMENT: Environment = Environment {
    folder: "target/test-agentkit",
    packages: &["maturin==1.16.0", "mypy==2.4.1", "pytest==9.2.0"],
    probe: "import maturin, mypy, pytest",
    not_tested: "not tested without it: the Python package agentkit",
};

/// Names a Python that has the package to the tests of pages and examples.
pub(crate) const VARIABLE: &str = "SIGNALBOX_TEST_AGENTKIT";

/// Its crate.
pub(crate) const MANIFEST: &str = "python/Cargo.toml";

/// Where its wheel goes, and nothing else.
const WHEELS: &str = "target/test-agentkit-wheel";

/// The Python that tests the package; `None` where the caller chose to go without.
///
/// # Errors
/// It cannot be made, with the cure.
pub(crate) fn environment(repo: &Repo, is_fast: bool) -> Result<Option<PathBuf>> {
    python::made(repo, &ENVIRONMENT, is_fast)
}

/// Builds and installs the package.
///
/// # Errors
/// What fails; its output says why.
pub(crate) fn install(repo: &Repo, python: &Path) -> Result<()> {
    let wheel = build(repo, python)?;
    let mut install = module(repo, python, "pip");
    install.args(["install", "--quiet", "--no-index", "--no-deps", "--force-reinstall"]).arg(wheel);
    repo::succeed(&mut install)
}

/// Tests and checks the package that is installed.
///
/// # Errors
/// What fails; its output says why.
pub(crate) fn test(repo: &Repo, python: &Path) -> Result<()> {
    let mut tests = module(repo, python, "pytest");
    // At the root, where the folder of the sources is not what `import agentkit` finds.
    tests.args(["-p", "no:cacheprovider", "python/tests"]);
    tests.env("SIGNALBOX_BIN", repo.path("target/debug/signalbox"));
    repo::succeed(&mut tests)?;
    let mut types = module(repo, python, "mypy");
    types.arg("--cache-dir").arg(repo.path("target/test-agentkit/mypy")).current_dir(repo.path("python"));
    repo::succeed(&mut types)?;
    repo::succeed(module(repo, python, "mypy.stubtest").args(["--concise", "agentkit._native"]))
}

/// The wheel of the unoptimized build, which is the only one in its folder.
fn build(repo: &Repo, python: &Path) -> Result<PathBuf> {
    let folder = repo.path(WHEELS);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {WHEELS}"))?;
    }
    wheel(repo, python, MANIFEST, "dev", &folder)?;
    let mut wheels = std::fs::read_dir(&folder).with_context(|| format!("maturin made no {WHEELS}"))?;
    Ok(wheels.next().with_context(|| format!("maturin put no wheel into {WHEELS}"))??.path())
}

/// Builds the wheel of a crate with a profile of cargo into a folder.
pub(crate) fn wheel(repo: &Repo, python: &Path, manifest: &str, profile: &str, out: &Path) -> Result<()> {
    let mut maturin = module(repo, python, "maturin");
    maturin.args(["build", "--quiet", "--locked", "--profile", profile]);
    if profile == "dev" {
        // For this machine alone, which need not be looked at.
        maturin.args(["--compatibility", "linux"]);
    }
    maturin.arg("--manifest-path").arg(repo.path(manifest)).arg("--out").arg(out);
    repo::succeed(maturin.env("CARGO", repo.cargo().get_program()))
}

/// A module of the environment as a program, started at the root.
fn module(repo: &Repo, python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", name]);
    repo.as_in_a_shell(&mut command);
    command
}
