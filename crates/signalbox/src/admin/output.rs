//! How an answer is written: a table for people, JSON or YAML for programs. What programs get is what the server sent,
//! also what is not known here: a later server may tell more.

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::printer;

/// What is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table, cut to the width of the terminal
    Table,
    /// A table with more columns, and with moments in place of ages
    Wide,
    /// JSON: one object, or one array
    Json,
    /// JSON, one object a line
    Jsonl,
    /// YAML
    Yaml,
}

impl Format {
    /// Whether people read it.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Writes one thing for a program.
pub(crate) fn whole(format: Format, thing: &RawValue) -> anyhow::Result<()> {
    match format {
        Format::Jsonl => printer::line(thing.get()),
        Format::Yaml => printer::line(yaml(&value(thing)?)?.trim_end()),
        Format::Json | Format::Table | Format::Wide => {
            printer::line(&serde_json::to_string_pretty(&value(thing)?)?);
        }
    }
    Ok(())
}

/// Writes many things for a program, page by page as they come: an array in JSON, a list in YAML, or one thing a line.
pub(crate) struct Many {
    format: Format,
    written: usize,
}

impl Many {
    pub(crate) fn begin(format: Format) -> Self {
        Self { format, written: 0 }
    }

    /// Writes one more.
    pub(crate) fn add(&mut self, thing: &RawValue) -> anyhow::Result<()> {
        match self.format {
            Format::Jsonl => printer::line(thing.get()),
            Format::Yaml => {
                let text = yaml(&value(thing)?)?;
                for (place, line) in text.trim_end().lines().enumerate() {
                    printer::line(&format!("{}{line}", if place == 0 { "- " } else { "  " }));
                }
            }
            Format::Json | Format::Table | Format::Wide => {
                printer::part(if self.written == 0 { "[\n  " } else { ",\n  " });
                printer::part(thing.get());
            }
        }
        self.written += 1;
        Ok(())
    }

    /// Writes what comes after the last.
    pub(crate) fn end(self) {
        match (self.format, self.written) {
            (Format::Json, 0) | (Format::Yaml, 0) => printer::line("[]"),
            (Format::Json, _) => printer::line("\n]"),
            _ => {}
        }
    }
}

/// A value as YAML, with a line break at its end.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("the answer cannot be written as YAML")
}

/// What the server sent, to be looked into.
pub(crate) fn value(thing: &RawValue) -> anyhow::Result<Value> {
    serde_json::from_str(thing.get()).context("the answer is not JSON")
}
