//! What a group of commands is about, as data: where the API has it, and which columns a table of it has.

use serde_json::Value;
use signalbox_client::Timestamp;

use super::moments::{age, left};
use super::standing::{report, standing};

/// A kind of thing that the API lists and shows.
#[derive(Debug)]
pub(crate) struct Resource {
    /// One of them, in words: `workflow`.
    pub(crate) noun: &'static str,
    /// The command that lists them.
    pub(crate) lister: &'static str,
    /// Where the list is.
    pub(crate) path: &'static [&'static str],
    /// The field of the answer that holds the list. Beside `data`, a page ends with `next_cursor`; else with `next_token`.
    pub(crate) items: &'static str,
    /// Whether one of them comes in an envelope, in its field `data`.
    pub(crate) enveloped: bool,
    /// The columns of its table.
    pub(crate) columns: &'static [Column],
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// Where its value stands, as a JSON pointer.
    pub(crate) at: &'static str,
    pub(crate) kind: Kind,
    /// Whether only a wide table has it.
    pub(crate) is_wide: bool,
    /// Whether only a table has it in which something stands in it.
    pub(crate) is_rare: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text, cut where the terminal ends.
    Text,
    /// What is given to other commands; never cut.
    Id,
    /// A word that says how it stands.
    Status,
    /// How an agent stands, in one word of the operator.
    Standing,
    /// What an agent last said of itself, and how long ago.
    Report,
    /// A moment, as how long ago it was.
    Age,
    /// How many there are in a list.
    Count,
    /// What it waits for and how long that lasts, else what stands at the column's place.
    Wait,
}

impl Resource {
    /// The path of one of them, or of something about it.
    pub(crate) fn at<'a>(&self, rest: &[&'a str]) -> Vec<&'a str> {
        self.path.iter().copied().chain(rest.iter().copied()).collect()
    }
}

impl Column {
    const fn of(head: &'static str, at: &'static str, kind: Kind) -> Self {
        Self { head, at, kind, is_wide: false, is_rare: false }
    }

    pub(crate) const fn text(head: &'static str, at: &'static str) -> Self {
        Self::of(head, at, Kind::Text)
    }

    pub(crate) const fn id(head: &'static str, at: &'static str) -> Self {
        Self::of(head, at, Kind::Id)
    }

    pub(crate) const fn status(head: &'static str, at: &'static str) -> Self {
        Self::of(head, at, Kind::Status)
    }

    pub(crate) const fn standing(head: &'static str) -> Self {
        Self::of(head, "", Kind::Standing)
    }

    pub(crate) const fn report(head: &'static str) -> Self {
        Self::of(head, "/state", Kind::Report)
    }

    pub(crate) const fn age(head: &'static str, at: &'static str) -> Self {
        Self::of(head, at, Kind::Age)
    }

    pub(crate) const fn count(head: &'static str, at: &'static str) -> Self {
        Self::of(head, at, Kind::Count)
    }

    pub(crate) const fn wait(head: &'static str, else_at: &'static str) -> Self {
        Self::of(head, else_at, Kind::Wait)
    }

    /// The same, where there is something to stand in it.
    pub(crate) const fn rare(self) -> Self {
        Self { is_rare: true, ..self }
    }

    /// The same, in wide tables alone.
    pub(crate) const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    /// What stands in the column for one thing; `wide` tables tell moments in full.
    pub(crate) fn cell(&self, thing: &Value, wide: bool, now: Timestamp) -> String {
        let value = thing.pointer(self.at).unwrap_or(&Value::Null);
        match (self.kind, value) {
            (Kind::Wait, _) if thing["waitingFor"].is_string() => waiting(thing, now),
            (Kind::Standing, _) => standing(thing),
            (Kind::Report, Value::String(_)) => report(in_line(value), thing, now),
            (_, Value::Null) => "-".to_owned(),
            (Kind::Count, Value::Array(items)) => items.len().to_string(),
            (Kind::Age, Value::String(text)) if !wide => match Timestamp::parse(text) {
                Ok(moment) => age(moment, now),
                Err(_) => in_line(value),
            },
            _ => in_line(value),
        }
    }
}

/// What a thing waits for, and how long that lasts.
pub(crate) fn waiting(thing: &Value, now: Timestamp) -> String {
    let words = in_line(&thing["waitingFor"]);
    // A column is narrow, and an article tells nothing.
    let article = ["an ", "a ", "the "].into_iter().find(|article| words.starts_with(article));
    let words = words[article.map_or(0, str::len)..].to_owned();
    let until = thing["waitsUntil"].as_str().and_then(|until| Timestamp::parse(until).ok());
    let Some(left) = until.filter(|until| *until > now).map(|until| left(until.since(now))) else {
        return words;
    };
    match words.strip_prefix("its next attempt") {
        Some(rest) => format!("next try in {left}{rest}"),
        None if words.contains(" to take it") => format!("{words}, next try in {left}"),
        None => format!("{words}, {left} left"),
    }
}

/// A value in one line: a text as it is, a list with commas, anything else as JSON.
pub(crate) fn in_line(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) if items.iter().all(|item| named(item).is_some()) => {
            items.iter().filter_map(named).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    // A control character of somebody's text must not steer the reader's terminal.
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A text, or the name of what has one.
fn named(item: &Value) -> Option<&str> {
    item.as_str().or_else(|| item.get("name")?.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_one_line_of_what_is_there() {
        let now = Timestamp::from_seconds(600);
        let thing = json!({"name": "a\u{1b}[31m\nb", "can": ["x", {"name": "y"}], "at": "1970-01-01T00:00:00Z",
                           "tasks": [1, 2], "none": null, "nothing": [], "draining": true, "map": {"k": 1}});
        for (column, expected) in [
            (Column::text("", "/name"), "a [31m b"),
            (Column::text("", "/can"), "x, y"),
            (Column::age("", "/at"), "10m ago"),
            (Column::count("", "/tasks"), "2"),
            (Column::text("", "/none"), "-"),
            (Column::text("", "/missing"), "-"),
            (Column::text("", "/nothing"), "-"),
            (Column::text("", "/map"), r#"{"k":1}"#),
            (Column::standing(""), "draining"),
            (Column::report(""), "-"),
        ] {
            assert_eq!(column.cell(&thing, false, now), expected, "{}", column.at);
        }
        assert_eq!(Column::age("", "/at").cell(&thing, true, now), "1970-01-01T00:00:00Z");
        let waits =
            json!({"waitingFor": "a delay to end", "waitsUntil": "1970-01-01T00:10:08Z", "error": "e"});
        assert_eq!(Column::wait("", "/error").cell(&waits, false, now), "delay to end, 8s left");
        for (waits, expected) in [
            ("its next attempt (task work)", "next try in 1s (task work)"),
            ("agent a to take it (task b)", "agent a to take it (task b), next try in 1s"),
        ] {
            let waits = json!({"waitingFor": waits, "waitsUntil": "1970-01-01T00:10:01Z"});
            assert_eq!(waiting(&waits, now), expected);
        }
        assert_eq!(Column::wait("", "/error").cell(&json!({"error": "e"}), false, now), "e");
    }
}
