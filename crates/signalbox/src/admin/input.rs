//! What is given on the command line, beside words: JSON, and files.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// A value that is given as JSON on the command line; `@FILE` reads it from a file, `@-` from standard input.
pub(crate) fn json(text: &str) -> Result<Value, String> {
    let Some(file) = text.strip_prefix('@') else {
        return parsed(text).map_err(|fault| format!("it is not JSON: {fault}; quote a text as '\"text\"'"));
    };
    let file = Path::new(file);
    let text = read(file).map_err(|error| format!("{error:#}"))?;
    parsed(&text).map_err(|fault| format!("{}, {fault}", name(file)))
}

/// JSON, or where it is broken and what was expected there.
pub(crate) fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = error.to_string();
        let reason = reason.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&reason);
        format!("line {line}, column {column}: {reason}")
    })
}

/// A file, or standard input for `-`.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read as text")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// What a file is called.
pub(crate) fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_told_by_its_place() {
        let told = json("{n:5}").unwrap_err();
        assert_eq!(
            told,
            "it is not JSON: line 1, column 2: key must be a string; quote a text as '\"text\"'"
        );
        let missing = json("@no/such/file").unwrap_err();
        assert!(missing.starts_with("no/such/file cannot be read: "), "{missing}");
    }
}
