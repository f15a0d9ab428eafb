//! Counts the instructions of a program with callgrind: a number that neighbours on the machine do not move.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::process::Process;

const VALGRIND: &str = "valgrind";
const CONTROL: &str = "callgrind_control";

/// Where the counts of one program go.
pub(crate) struct Callgrind {
    counts: PathBuf,
}

impl Callgrind {
    /// Whether this machine has it.
    pub(crate) fn is_here() -> bool {
        let mut version = Command::new(CONTROL);
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    }

    /// Counts that are written below `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { counts: folder.join("callgrind.out") }
    }

    /// `program` so that it can be counted. Nothing is counted before it is asked for.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(VALGRIND);
        command.args(["--quiet", "--tool=callgrind", "--instr-atstart=no", "--compress-strings=no"]);
        command.arg(format!("--callgrind-out-file={}", self.counts.display())).arg(program);
        command
    }

    /// Begins to count from nothing.
    pub(crate) async fn begin(&self, process: &Process) -> anyhow::Result<()> {
        self.control(process, "--instr=on").await?;
        self.control(process, "--zero").await
    }

    /// How many instructions were counted since.
    pub(crate) async fn counted(&self, process: &Process) -> anyhow::Result<u64> {
        let before = self.dumps()?.len();
        self.control(process, "--dump").await?;
        let dumps = self.dumps()?;
        ensure!(dumps.len() > before, "callgrind wrote no counts to {}", self.counts.display());
        let newest = dumps.last().context("callgrind wrote no counts")?;
        let text = std::fs::read_to_string(newest)
            .with_context(|| format!("{} cannot be read", newest.display()))?;
        total(&text).with_context(|| format!("{} has no total", newest.display()))
    }

    async fn control(&self, process: &Process, what: &str) -> anyhow::Result<()> {
        let mut control = Command::new(CONTROL);
        control.arg(what).arg(process.id().to_string()).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || control.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{CONTROL} {what} failed: {}", said.trim());
        Ok(())
    }

    /// The files that counts were written to, oldest first.
    fn dumps(&self) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.counts.parent().context("counts go into a folder")?;
        let mut dumps = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let number =
                path.strip_prefix(folder)?.to_str().and_then(|name| name.strip_prefix("callgrind.out."));
            if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
                dumps.push((number, path));
            }
        }
        dumps.sort_unstable();
        Ok(dumps.into_iter().map(|(_, path)| path).collect())
    }
}

/// The number after `totals:` or `summary:` in a file of counts.
fn total(text: &str) -> Option<u64> {
    let of = |mark: &str| text.lines().rev().find_map(|line| line.strip_prefix(mark)?.trim().parse().ok());
    of("totals:").or_else(|| of("summary:"))
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_stands_at_the_end_of_the_counts() {
        assert_eq!(total("events: Ir\nfn=main\n12 30\n\ntotals: 4711\n"), Some(4_711));
        assert_eq!(total("summary: 42\nfn=main\n"), Some(42));
        assert_eq!(total("fn=main\n"), None);
    }
}
