//! `cargo xtask bench`: the release binary, then the load generators against it.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::repo::{self, Repo};

/// Builds the server as users get it and hands `args` to the `bench` crate.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<()> {
    let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
    // Both at once: built apart, what they share would be built twice, each time with the features of one.
    let packages = ["--package", "signalbox", "--package", "bench"];
    repo::succeed(repo.cargo().args(["build", "--release"]).args(packages))?;
    let own = std::env::current_exe().context("xtask cannot tell where it was built")?;
    let target = own.ancestors().nth(2).context("xtask is not in a target folder")?;
    repo::succeed(Command::new(target.join("release/bench")).args(args))
}
