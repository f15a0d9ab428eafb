//! `signalbox.toml`: which keys it sets, and on which line.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, suggestion};

/// A key that a file sets.
pub(super) struct Setting {
    /// The key, with underscores.
    pub(super) key: String,
    /// Its values: several for a list.
    pub(super) values: Vec<OsString>,
    /// `file:line`.
    pub(super) source: String,
}

/// Reads the file that was `named`, else the one in the working directory when there is one.
pub(super) fn read(named: Option<&Path>, command: &Command, faults: &mut Vec<Fault>) -> Vec<Setting> {
    let usual = Path::new("signalbox.toml");
    let Some(path) = named.or_else(|| usual.is_file().then_some(usual)) else { return Vec::new() };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text, command, faults),
        Err(error) => {
            faults.push(Fault::new(path.display().to_string(), format!("cannot be read: {error}")));
            Vec::new()
        }
    }
}

fn parse(path: &str, text: &str, command: &Command, faults: &mut Vec<Fault>) -> Vec<Setting> {
    let at = |start: usize| {
        let before = text.as_bytes().get(..start).unwrap_or_default();
        format!("{path}:{}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    faults.extend(
        errors.iter().map(|error| Fault::new(at(error.span().map_or(0, |span| span.start)), error.message())),
    );
    let mut settings = Vec::new();
    for (key, value) in table.into_inner() {
        let source = at(key.span().start);
        let name = key.into_inner();
        match setting(&name, &value, command) {
            Ok((key, values)) => settings.push(Setting { key, values, source }),
            Err(reason) => faults.push(Fault::new(source, reason)),
        }
    }
    settings
}

fn setting(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    command: &Command,
) -> Result<(String, Vec<OsString>), String> {
    let key = name.replace('-', "_");
    let known = || command.get_arguments().map(|argument| argument.get_id().as_str());
    if key == "config" || !known().any(|other| other == key) {
        return Err(format!("unknown key '{name}'{}", suggestion(&key, known())));
    }
    let values = texts(value.get_ref());
    let values = values.ok_or_else(|| {
        format!("the value of '{name}' must be a text, a number, true or false, or a list of these")
    })?;
    Ok((key, values.into_iter().map(OsString::from).collect()))
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(items) => items.iter().map(|item| texts(item.get_ref())?.pop()).collect(),
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Integer(number) => {
            let radix = number.radix();
            i64::from_str_radix(number.as_str(), radix).ok().map(|number| vec![number.to_string()])
        }
        DeValue::Float(number) => Some(vec![number.as_str().to_owned()]),
        DeValue::Boolean(is_so) => Some(vec![is_so.to_string()]),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
