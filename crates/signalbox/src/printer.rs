//! The one place of the commands that prints: data to standard output, everything else to standard error.

use std::io::Write as _;

/// A line of data. A reader that has gone away is not an error.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A part of a line of data.
pub(crate) fn part(text: &str) {
    let _ = write!(std::io::stdout().lock(), "{text}");
}

/// A line for whoever is watching.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
