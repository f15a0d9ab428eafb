//! What is wrong with a configuration: every fault with where it stands.

use std::fmt;

use signalbox_wire::nearest::nearest;

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Help was asked for; prints as clap says.
    #[error(transparent)]
    Help(#[from] clap::Error),
    /// All that is wrong.
    #[error("{}", Listed(.0))]
    Faults(Vec<Fault>),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands: a flag, a variable, or a line of a file.
    pub source: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl Fault {
    pub(super) fn new(source: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { source: source.into(), reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// One fault on the line, several each on its own.
struct Listed<'a>(&'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [fault] => fault.fmt(f),
            faults => {
                write!(f, "the configuration has {} faults:", faults.len())?;
                faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

/// What `name` was perhaps meant to be, as the end of a sentence.
pub(super) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("; did you mean '{nearest}'?"),
        None => "; `signalbox serve --help` lists all".to_owned(),
    }
}
