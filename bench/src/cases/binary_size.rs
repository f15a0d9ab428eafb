//! The size of the release binary, beside this program's own: axum, hyper and a command line, without a store.

use std::path::Path;

use anyhow::Context as _;

use crate::context::Context;
use crate::printer;
use crate::report::{Figure, Measured, Verdict, figure_line};

pub(crate) fn measure(context: &Context) -> anyhow::Result<Measured> {
    let own = std::env::current_exe().context("this program cannot tell where it is")?;
    let mut measured = Measured::default();
    for (side, path) in [("signalbox", context.server()?), ("bench", &own)] {
        let figure = Figure::new("binary", side, 1, &[("MB", size_mb(path)?)]);
        printer::progress(&figure_line(&figure));
        measured.figures.push(figure);
    }
    let value = measured.figures.first().map_or(f64::NAN, |figure| figure.metric("MB"));
    measured.verdicts.push(Verdict::new("release binary", "MB", vec![value], None, true));
    measured.note("MB are 10⁶ bytes on disk, as the release profile leaves the file.");
    Ok(measured)
}

fn size_mb(path: &Path) -> anyhow::Result<f64> {
    let metadata = path.metadata().with_context(|| format!("{} cannot be looked at", path.display()))?;
    Ok(metadata.len() as f64 / 1e6)
}
