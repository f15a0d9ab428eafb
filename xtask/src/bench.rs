//! `cargo xtask bench`: the release binary, then the load generators against it.

use anyhow::Result;

use crate::repo::{self, Repo};

/// Builds the server as users get it and hands `args` to the `bench` crate.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<()> {
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    repo::succeed(repo.cargo().args(["build", "--release", "--package", "signalbox"]))?;
    repo::succeed(repo.cargo().args(["run", "--release", "--package", "bench", "--"]).args(args))
}
