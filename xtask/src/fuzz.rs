//! `cargo xtask fuzz`: the targets of `crates/signalbox-bus/tests/fuzz.rs`, each for some time.

use anyhow::Result;

use crate::repo::{self, Repo};

/// How long each target runs where it is not said.
const SECONDS: u64 = 10;

/// What to run, and for how long.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    seconds: u64,
    target: Option<String>,
}

impl Options {
    /// `None` for words that mean nothing here.
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        let mut options = Self { seconds: SECONDS, target: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => options.seconds = args.next()?.parse().ok()?,
                target if !target.starts_with('-') && options.target.is_none() => {
                    options.target = Some(target.to_owned());
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Runs one target, or all of them one after the other.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let mut cargo = repo.cargo();
    cargo.args(["test", "--package", "signalbox-bus", "--test", "fuzz", "--"]);
    cargo.args(["--nocapture", "--test-threads", "1"]);
    if let Some(target) = &options.target {
        cargo.args(["--exact", target]);
    }
    cargo.env("SIGNALBOX_FUZZ_SECONDS", options.seconds.to_string());
    repo::succeed(&mut cargo)
}
