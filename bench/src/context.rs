//! What a run was asked for, and where it finds the server and keeps its files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds that each side is measured for in each round.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Rounds of one side after the other; a ratio is the median of the rounds' ratios.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Try the harness: short rounds and small fleets, results printed and not kept, no claim made.
    #[arg(long)]
    quick: bool,
    /// Threads of the load generator, each with its own share of the connections.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    client_threads: u32,
    /// The server under test [default: `signalbox` beside this program].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the servers' data goes while a case runs; its disk is the one measured [default: bench/data].
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Where results are kept [default: bench/results, and nowhere for a quick run].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

pub(crate) struct Context {
    pub(crate) seconds: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    pub(crate) client_threads: usize,
    pub(crate) data_root: PathBuf,
    /// Where results are kept, if they are.
    pub(crate) results: Option<PathBuf>,
    server: PathBuf,
}

impl Context {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let quick = options.quick;
        let data_root = options.data_root.unwrap_or_else(|| home().join("data"));
        std::fs::create_dir_all(&data_root)
            .with_context(|| format!("{} cannot be made; choose another --data-root", data_root.display()))?;
        Ok(Self {
            seconds: options.seconds.unwrap_or(Duration::from_millis(if quick { 500 } else { 5_000 })),
            warm_up: Duration::from_millis(if quick { 200 } else { 1_000 }),
            rounds: options.rounds.unwrap_or(if quick { 2 } else { 3 }),
            quick,
            client_threads: usize::try_from(options.client_threads)?,
            data_root: data_root.canonicalize()?,
            results: options.results.or_else(|| (!quick).then(|| home().join("results"))),
            server: options.server.map_or_else(beside_this_program, Ok)?,
        })
    }

    /// The release binary, or how to get it.
    pub(crate) fn server(&self) -> anyhow::Result<&Path> {
        if !self.server.is_file() {
            bail!(
                "the server under test is not at {}: run `cargo build --release -p signalbox`, or name it with --server",
                self.server.display()
            );
        }
        Ok(&self.server)
    }

    /// A folder on the measured disk that goes when the value does.
    pub(crate) fn temporary(&self, prefix: &str) -> anyhow::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(&self.data_root).with_context(
            || format!("no folder can be made in {}; choose another --data-root", self.data_root.display()),
        )
    }

    /// The agents that a full run uses, or the few of a quick one.
    pub(crate) fn fleet(&self, agents: u64) -> u64 {
        if self.quick { (agents / 10).clamp(100, 1_000) } else { agents }
    }
}

/// The folder of this crate's sources, where results are kept.
pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot tell where it is; use --server")?;
    Ok(own.with_file_name("signalbox"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number of seconds from 0.1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_outside_the_range_are_refused() {
        assert_eq!(seconds("2.5").unwrap().as_millis(), 2_500);
        for text in ["0", "-1", "nan", "five", "4000"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
