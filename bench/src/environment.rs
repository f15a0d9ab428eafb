//! The facts of the machine and of the build that every result carries.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// One named fact, in the order it is to be read.
#[derive(Clone, Serialize)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Fact {
    pub(crate) fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

/// Commit, compiler, processor, memory, kernel and the file system of `data`.
pub(crate) fn facts(data: &Path) -> Vec<Fact> {
    vec![
        Fact::new("commit", commit()),
        Fact::new("rustc", output(Command::new("rustc").arg("--version"))),
        Fact::new("cores", std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        Fact::new("processor", field("/proc/cpuinfo", "model name")),
        Fact::new("memory", field("/proc/meminfo", "MemTotal")),
        Fact::new("kernel", read("/proc/sys/kernel/osrelease")),
        Fact::new("file system", file_system(data)),
    ]
}

fn commit() -> String {
    let home = crate::context::home();
    let hash = output(Command::new("git").arg("-C").arg(home).args([
        "rev-parse",
        "--short",
        "--quiet",
        "--verify",
        "HEAD",
    ]));
    let changes = output(Command::new("git").arg("-C").arg(home).args([
        "status",
        "--porcelain",
        "--",
        ":(top)",
        ":(top,exclude)bench/results",
    ]));
    if changes == UNKNOWN { hash } else { format!("{hash} with uncommitted changes") }
}

const UNKNOWN: &str = "unknown";

fn output(command: &mut Command) -> String {
    let text = command.output().ok().filter(|output| output.status.success()).map(|output| output.stdout);
    known(&String::from_utf8_lossy(&text.unwrap_or_default()))
}

fn known(text: &str) -> String {
    if text.trim().is_empty() { UNKNOWN.to_owned() } else { text.trim().to_owned() }
}

fn read(path: &str) -> String {
    known(&std::fs::read_to_string(path).unwrap_or_default())
}

fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    known(value.unwrap_or_default())
}

/// Type and options of the mount with the longest path above `folder`.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let found = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind, options) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(at).then(|| (at.len(), format!("{kind} ({options})")))
    });
    found.max_by_key(|(length, _)| *length).map_or_else(|| UNKNOWN.to_owned(), |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_fact_has_a_value() {
        for fact in super::facts(Path::new("/")) {
            assert!(!fact.value.is_empty(), "{}", fact.name);
        }
    }
}
