//! `cargo xtask test`: everything that must pass, in the order of what fails soonest.
//!
//! The tests get PostgreSQL as `SIGNALBOX_TEST_POSTGRES`, a URL with the right to create databases;
//! without the variable, tests that need it pass over themselves. So do they with NATS and `SIGNALBOX_TEST_NATS`.

use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::clock::Stopwatch;
use crate::nats::{self, Nats};
use crate::postgres::{self, Cluster};
use crate::repo::{self, Repo};
use crate::{agentkit, dist, print, python, tidy};

const POSTGRES_URL: &str = "SIGNALBOX_TEST_POSTGRES";
const WITHOUT_POSTGRES: &str = "SIGNALBOX_TEST_WITHOUT_POSTGRES";
const NOT_TESTED: &str = "not tested without it: the store on PostgreSQL, and the server over that store";

const NATS_URL: &str = "SIGNALBOX_TEST_NATS";
const WITHOUT_NATS: &str = "SIGNALBOX_TEST_WITHOUT_NATS";
const NOT_TESTED_WITHOUT_NATS: &str = "not tested without it: the bus over NATS, and several nodes on it";

const THREADS: &str = "RUST_TEST_THREADS";

/// How to test.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    fast: bool,
    cargo_test_args: Vec<String>,
}

impl Options {
    /// `None` for words that mean nothing here.
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--fast" => options.fast = true,
                "--" => options.cargo_test_args = args.by_ref().cloned().collect(),
                _ => return None,
            }
        }
        Some(options)
    }

    /// Cargo overrides a chosen package with `--workspace`, so only one of the two is given.
    fn choose_package(&self) -> bool {
        let for_cargo = self.cargo_test_args.iter().take_while(|arg| *arg != "--");
        for_cargo.into_iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
    }
}

/// Runs all steps; stops at the first that fails.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let whole = Stopwatch::start();
    step("fmt", || repo::succeed(repo.cargo().args(["fmt", "--all", "--check"])))?;
    step("clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        repo::succeed(repo.cargo().args(lint))
    })?;
    step("tidy", || tidy::run(repo, false))?;
    let cluster = step("postgres", || cluster(options))?;
    let nats = step("nats", || nats(options))?;
    let python = step("python", || python::found(repo, options.fast))?;
    step("build", || repo::succeed(repo.cargo().args(["build", "--package", "signalbox"])))?;
    // A chosen package's tests are all that is wanted.
    let agentkit = match options.choose_package() {
        true => None,
        false => step("agentkit-python", || agentkit::environment(repo, options.fast))?,
    };
    if let Some(python) = &agentkit {
        step("agentkit-wheel", || agentkit::install(repo, python))?;
    }
    step("tests", || {
        let mut tests = tests(repo, options, cluster.as_ref(), nats.as_ref());
        let pythons = [(python::VARIABLE, &python), (agentkit::VARIABLE, &agentkit)];
        for (variable, python) in pythons {
            if let Some(python) = python {
                tests.env(variable, python);
            }
        }
        repo::succeed(&mut tests)
    })?;
    drop((cluster, nats));
    if let Some(python) = &agentkit {
        step("agentkit", || agentkit::test(repo, python))?;
        step("wheels", || dist::try_out(repo, python))?;
    }
    print::notice(&format!("all steps passed in {whole}"));
    Ok(())
}

fn step<T>(name: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let watch = Stopwatch::start();
    let outcome = act().with_context(|| format!("step {name} failed after {watch}"))?;
    print::notice(&format!("step {name}: ok in {watch}"));
    Ok(outcome)
}

/// The database server of this run, or `None` where the caller chose to go without.
fn cluster(options: &Options) -> Result<Option<Cluster>> {
    if options.fast {
        print::notice(&format!("--fast leaves PostgreSQL out; {NOT_TESTED}"));
        return Ok(None);
    }
    let may_lack = std::env::var(WITHOUT_POSTGRES).is_ok_and(|value| value == "1");
    let found = match postgres::find() {
        None if may_lack => {
            print::notice(&format!("PostgreSQL is missing, as {WITHOUT_POSTGRES}=1 allows; {NOT_TESTED}"));
            return Ok(None);
        }
        None => postgres::install().map_err(|error| {
            anyhow!(
                "no PostgreSQL: {error:#}; {NOT_TESTED}; install a PostgreSQL server's programs (initdb, pg_ctl, \
                 postgres), or set {WITHOUT_POSTGRES}=1 to pass without these tests"
            )
        })?,
        Some(found) => found,
    };
    Cluster::start(&found).map(Some)
}

/// The NATS server of this run, or `None` where the caller chose to go without.
fn nats(options: &Options) -> Result<Option<Nats>> {
    if options.fast {
        print::notice(&format!("--fast leaves NATS out; {NOT_TESTED_WITHOUT_NATS}"));
        return Ok(None);
    }
    let may_lack = std::env::var(WITHOUT_NATS).is_ok_and(|value| value == "1");
    let found = match nats::find() {
        None if may_lack => {
            print::notice(&format!("NATS is missing, as {WITHOUT_NATS}=1 allows; {NOT_TESTED_WITHOUT_NATS}"));
            return Ok(None);
        }
        None => nats::install().map_err(|error| {
            anyhow!(
                "no NATS: {error:#}; {NOT_TESTED_WITHOUT_NATS}; install nats-server, or set {WITHOUT_NATS}=1 to pass \
                 without these tests"
            )
        })?,
        Some(found) => found,
    };
    Nats::start(&found).map(Some)
}

fn tests(repo: &Repo, options: &Options, cluster: Option<&Cluster>, nats: Option<&Nats>) -> Command {
    let mut cargo = repo.cargo();
    cargo.arg("test");
    if !options.choose_package() {
        cargo.arg("--workspace");
    }
    match cluster {
        Some(cluster) => cargo.env(POSTGRES_URL, cluster.url()),
        None => cargo.env_remove(POSTGRES_URL),
    };
    match nats {
        Some(nats) => cargo.env(NATS_URL, nats.url()),
        None => cargo.env_remove(NATS_URL),
    };
    // Most tests wait for a server most of the time: three times as many as there are cores keep those busy.
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        cargo.env(THREADS, (3 * cores).to_string());
    }
    cargo.args(&options.cargo_test_args);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn arguments_after_the_dashes_go_to_cargo_test() {
        let options = parse("--fast -- --test api -- --nocapture").unwrap();
        assert!(options.fast);
        assert_eq!(options.cargo_test_args, ["--test", "api", "--", "--nocapture"]);
        assert_eq!(parse("--slow"), None);
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_a_package_is_named() {
        for (line, whole) in [("", true), ("-- paging", true), ("-- -- -p", true), ("-- -p bench", false)] {
            let options = parse(line).unwrap();
            let repo = Repo::find().unwrap();
            let command = tests(&repo, &options, None, None);
            assert_eq!(command.get_args().any(|arg| arg == "--workspace"), whole, "{line}");
        }
    }
}
