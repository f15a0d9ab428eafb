//! Development tasks, called as `cargo xtask test`, `cargo xtask tidy`, `cargo xtask fuzz`, `cargo xtask bench` and
//! `cargo xtask dist`.
//!
//! Knows nothing of the code that it checks except names: no workspace crate is among its dependencies.

mod agentkit;
mod bench;
mod clock;
mod dist;
mod fuzz;
mod nats;
mod postgres;
mod print;
mod python;
mod repo;
mod test;
mod tidy;

use std::process::ExitCode;

use crate::repo::Repo;

const USAGE: &str = "\
Usage: cargo xtask TASK

  test [--fast] [-- ARGS]  formatting, lints, tidy and all tests, with a throw-away PostgreSQL;
                           --fast leaves PostgreSQL out, ARGS go to cargo test
  tidy [--write]           checks that no compiler makes; --write renews the generated files
  fuzz [--seconds N] [TARGET]
                           changes what strangers send at random, 10 s for each target; all targets
                           where none is named
  bench [ARGS]             builds the release binary and runs the benchmarks with ARGS
  dist [--dev]             wheels and a tarball in target/dist/, for machines without a compiler; --dev builds
                           them soon and large";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(task) = Task::parse(&args) else {
        print::notice(USAGE);
        return ExitCode::from(2);
    };
    match task.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::notice(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
#[derive(Debug, PartialEq)]
enum Task {
    Help,
    Test(test::Options),
    Tidy { write: bool },
    Fuzz(fuzz::Options),
    Bench { args: Vec<String> },
    Dist(dist::Options),
}

impl Task {
    fn parse(args: &[String]) -> Option<Self> {
        let (task, rest) = args.split_first()?;
        match task.as_str() {
            "help" | "--help" | "-h" => Some(Self::Help),
            "test" => test::Options::parse(rest).map(Self::Test),
            "tidy" if rest.is_empty() => Some(Self::Tidy { write: false }),
            "tidy" if rest == ["--write"] => Some(Self::Tidy { write: true }),
            "fuzz" => fuzz::Options::parse(rest).map(Self::Fuzz),
            "bench" => Some(Self::Bench { args: rest.to_vec() }),
            "dist" => dist::Options::parse(rest).map(Self::Dist),
            _ => None,
        }
    }

    fn run(self) -> anyhow::Result<()> {
        let repo = Repo::find()?;
        match self {
            Self::Help => {
                print::result(USAGE);
                Ok(())
            }
            Self::Test(options) => test::run(&repo, &options),
            Self::Tidy { write } => tidy::run(&repo, write),
            Self::Fuzz(options) => fuzz::run(&repo, &options),
            Self::Bench { args } => bench::run(&repo, &args),
            Self::Dist(options) => dist::run(&repo, &options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Task> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Task::parse(&args)
    }

    #[test]
    fn tasks_are_recognised() {
        assert_eq!(parse("tidy"), Some(Task::Tidy { write: false }));
        assert_eq!(parse("tidy --write"), Some(Task::Tidy { write: true }));
        assert_eq!(parse("bench report --seconds 5").map(|_| ()), Some(()));
        assert_eq!(parse("test").map(|_| ()), Some(()));
        assert_eq!(parse("fuzz subjects --seconds 2").map(|_| ()), Some(()));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in ["", "tidy --wrote", "test --quick", "lint", "fuzz --seconds x", "fuzz a b"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
