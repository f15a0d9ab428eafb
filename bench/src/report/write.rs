//! Keeping a result: Markdown to read and JSON to compute with, side by side.

use std::path::Path;

use anyhow::Context as _;

use super::case::CaseReport;
use super::markdown;

/// Writes `<date>-<case>.md` and `.json` into `folder`; a later run of the same day takes their place.
pub(crate) fn keep(report: &CaseReport, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    for (ending, text) in [("md", markdown::page(report)), ("json", json)] {
        let path = folder.join(format!("{}-{}.{ending}", report.date, report.case));
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
