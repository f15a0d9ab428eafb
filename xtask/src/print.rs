//! The printer: results go to standard output, all that is said about them to standard error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one module of xtask that prints")]

/// Something that was asked for.
pub(crate) fn result(text: &str) {
    println!("{text}");
}

/// Something worth knowing beside it.
pub(crate) fn notice(text: &str) {
    eprintln!("{text}");
}
