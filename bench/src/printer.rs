//! All that this program prints: results to stdout, progress and faults to stderr.

#[expect(clippy::print_stdout, reason = "results are this program's output")]
pub(crate) fn result(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "progress goes beside the results, not into them")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stderr, reason = "faults go beside the results, not into them")]
pub(crate) fn error(text: &str) {
    eprintln!("error: {text}");
}
