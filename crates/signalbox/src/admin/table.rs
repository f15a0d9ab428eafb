//! Tables for people: columns that line up, cut to the terminal's width, coloured on a terminal alone.

use std::fmt;

use anyhow::Context as _;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_client::Timestamp;

use super::output::{Format, yaml};
use super::resource::{Column, Kind, in_line};
use crate::style::Style;

/// Blanks between two columns.
const GAP: u16 = 2;
/// Columns that a table may have where the terminal does not tell its width.
const WIDTH_USUAL: u16 = 80;
/// A blank at which no line is broken.
const UNBROKEN: &str = "\u{a0}";

/// What a table may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Whether cells may be coloured.
    pub(crate) colour: bool,
    /// The columns that there are, where the output is a terminal; else nothing is cut.
    pub(crate) width: Option<u16>,
    /// Whether `…` may stand for what is cut.
    pub(crate) unicode: bool,
}

impl Look {
    /// As the terminal allows.
    pub(crate) fn detect() -> Self {
        let style = Style::detect(false);
        let width = || Table::new().width().unwrap_or(WIDTH_USUAL);
        Self { colour: style.colour, width: style.live.then(width), unicode: style.unicode }
    }
}

/// The table over things, its head included.
pub(crate) fn of_things(
    columns: &[Column],
    things: &[Value],
    (format, look, now): (Format, Look, Timestamp),
) -> String {
    let wide = format == Format::Wide;
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|column| wide || !column.is_wide)
        .filter(|column| !column.is_rare || things.iter().any(|thing| thing.pointer(column.at).is_some()))
        .collect();
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let rows =
        things.iter().map(|thing| columns.iter().map(|column| column.cell(thing, wide, now)).collect());
    let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
    // Whoever asks for all columns would rather have lines that run over than columns of three letters.
    let look = if wide { Look { width: None, ..look } } else { look };
    render(&heads, &kinds, rows.collect(), look)
}

/// A table of texts.
pub(crate) fn render(heads: &[&str], kinds: &[Kind], rows: Vec<Vec<String>>, look: Look) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    match look.width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    if look.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_truncation_indicator(if look.unicode { "…" } else { "~" });
    let mut header =
        Row::from(heads.iter().map(|head| Cell::new(unbroken(head)).fg(Color::DarkGrey)).collect::<Vec<_>>());
    header.max_height(1);
    table.set_header(header);
    for row in rows {
        let cells = row.into_iter().zip(kinds).map(|(text, kind)| cell(text, *kind));
        let mut row = Row::from(cells.collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    for (column, kind) in table.column_iter_mut().zip(kinds) {
        column.set_padding((0, GAP));
        if matches!(kind, Kind::Id | Kind::Status | Kind::Standing | Kind::Report | Kind::Count | Kind::Age) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt().replace(UNBROKEN, " ")
}

fn cell(text: String, kind: Kind) -> Cell {
    let colour = if matches!(kind, Kind::Status | Kind::Standing) { colour_of(&text) } else { None };
    let cell = Cell::new(unbroken(&text));
    match colour {
        Some(colour) => cell.fg(colour),
        None => cell,
    }
}

/// A text that is cut where its room ends, not after the last word that fits.
fn unbroken(text: &str) -> String {
    text.replace(' ', UNBROKEN)
}

/// The colour of a word that says how something stands.
fn colour_of(word: &str) -> Option<Color> {
    // Behind a blank stand figures.
    match word.split(' ').next().unwrap_or_default() {
        "completed" | "active" | "delivered" | "success" | "online" | "connected" | "ok" | "started" => {
            Some(Color::Green)
        }
        "failed" | "error" | "dead" | "revoked" | "expired" | "fail" | "offline" | "unreachable"
        | "answers" => Some(Color::Red),
        "running" | "paused" | "waiting" | "busy" | "queued" | "sent" | "scheduled" | "dispatched"
        | "draining" | "unavailable" | "warn" => Some(Color::Yellow),
        _ => None,
    }
}

/// The fields of a thing in the order in which the server tells them.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads an object; anything else has one field without a name.
    pub(crate) fn read(thing: &RawValue) -> anyhow::Result<Self> {
        if thing.get().starts_with('{') {
            return serde_json::from_str(thing.get()).context("the answer is not JSON");
        }
        Ok(Self(vec![(String::new(), super::output::value(thing)?)]))
    }

    /// Puts a field before all others.
    pub(crate) fn put_first(&mut self, name: &str, value: Value) {
        self.0.insert(0, (name.to_owned(), value));
    }

    /// Takes a field out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(place).1)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(field) = map.next_entry()? {
                    fields.0.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// One thing for people: each field that there is on a line, and what it holds below it where that is more than a line.
pub(crate) fn details(Fields(fields): &Fields) -> anyhow::Result<String> {
    let shown = fields.iter().filter(|(_, value)| !is_empty(value));
    let width = shown.clone().filter(|(_, value)| is_short(value)).map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let mut lines = Vec::new();
    for (name, value) in shown {
        if name.is_empty() {
            lines.push(in_line(value));
        } else if is_short(value) {
            lines.push(format!("{name:<width$}  {}", in_line(value)));
        } else {
            lines.push(format!("{name}:"));
            lines.extend(yaml(value)?.trim_end().lines().map(|line| format!("  {line}")));
        }
    }
    Ok(lines.join("\n"))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().all(|item| !item.is_object() && !item.is_array()),
        Value::String(text) => !text.contains('\n'),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::text("NAME", "/name"),
        Column::id("ID", "/id"),
        Column::status("STATUS", "/status"),
        Column::text("MORE", "/more").wide(),
        Column::text("RARE", "/rare").rare(),
    ];

    fn table(format: Format, width: Option<u16>) -> String {
        let look = Look { colour: false, width, unicode: true };
        let things = [
            json!({"name": "a name that is long, so long that it does not fit", "id": "ses_0123456789", "status": "failed"}),
            json!({"name": "b", "id": "ses_1", "status": "completed", "more": "x"}),
        ];
        of_things(&COLUMNS, &things, (format, look, Timestamp::default()))
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        assert_eq!(
            table(Format::Table, None),
            "NAME                                               ID              STATUS\n\
             a name that is long, so long that it does not fit  ses_0123456789  failed\n\
             b                                                  ses_1           completed"
        );
        assert!(table(Format::Wide, None).ends_with("completed  x"));
    }

    #[test]
    fn a_terminal_s_width_is_kept_and_ids_stay_whole() {
        for width in [44, 50, 80] {
            let table = table(Format::Table, Some(width));
            assert!(table.lines().all(|line| line.chars().count() <= usize::from(width)), "{table}");
            assert!(table.contains("ses_0123456789") && table.lines().count() == 3, "{table}");
        }
        let cut = table(Format::Table, Some(50));
        assert!(cut.contains('…') && !cut.contains(UNBROKEN), "{cut}");
    }

    #[test]
    fn one_thing_is_told_field_by_field() {
        let thing = json!({"id": "x", "none": null, "can": ["a", "b"], "input": {"size": 1}, "empty": {}});
        let told =
            details(&Fields::read(&serde_json::value::to_raw_value(&thing).unwrap()).unwrap()).unwrap();
        let lines: std::collections::BTreeSet<&str> = told.lines().collect();
        assert_eq!(lines, ["id   x", "can  a, b", "input:", "  size: 1"].into(), "{told}");
        let raw = RawValue::from_string(r#"{"z": 1, "a": 2}"#.to_owned()).unwrap();
        assert_eq!(details(&Fields::read(&raw).unwrap()).unwrap(), "z  1\na  2", "in the server's order");
    }
}
