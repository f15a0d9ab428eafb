//! Entries of the log that were written together, packed into one row.
//!
//! ```text
//! version: byte · places from the first entry to the row's last: varint · count: varint · entries
//! entry: places since the one before: varint · microseconds since the one before: zigzag varint · level: byte
//!        · kind, session, agent, task: text · place in the session, where it has one: varint · data: length and bytes
//! text:  0 is none · 1 is a new one: length and bytes · n + 2 is the n-th new one of the row
//! ```
//!
//! Varints are those of LEB128. A row spans at most [`ROW_ENTRIES`] places, and each of its places has one entry at most.

use std::collections::HashMap;

use quick_cache::DefaultHashBuilder;
use rusqlite::types::Type;

/// Places of one row, at most.
pub(super) const ROW_ENTRIES: usize = 64;

/// What the first byte of a row says.
const VERSION: u8 = 1;

const NOTHING: u64 = 0;
const NEW: u64 = 1;
/// The number of the first text that a row has.
const KNOWN: u64 = 2;

/// An entry of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its place in the tenant's order.
    pub(super) place: i64,
    /// When, in microseconds since 1970.
    pub(super) at: i64,
    pub(super) level: u8,
    pub(super) kind: &'a str,
    /// Its session, and its place in that session's sequence.
    pub(super) session: Option<(&'a str, u64)>,
    pub(super) agent: Option<&'a str>,
    pub(super) task: Option<&'a str>,
    pub(super) data: &'a str,
}

/// Writes the row whose last place is `last`. Its entries are in the order of their places.
pub(super) fn pack<'a>(row: &mut Vec<u8>, last: i64, entries: impl ExactSizeIterator<Item = Entry<'a>>) {
    row.clear();
    row.push(VERSION);
    let count = entries.len();
    let mut entries = entries.peekable();
    let first = entries.peek().map_or(last, |entry| entry.place);
    varint(row, last.abs_diff(first));
    varint(row, count as u64);
    let mut texts = Texts::default();
    let (mut place, mut at) = (first, 0);
    for entry in entries {
        varint(row, entry.place.abs_diff(place));
        varint(row, zigzag(entry.at.wrapping_sub(at)));
        (place, at) = (entry.place, entry.at);
        row.push(entry.level);
        texts.add(row, Some(entry.kind));
        texts.add(row, entry.session.map(|(session, _)| session));
        texts.add(row, entry.agent);
        texts.add(row, entry.task);
        if let Some((_, sequence)) = entry.session {
            varint(row, sequence);
        }
        varint(row, entry.data.len() as u64);
        row.extend_from_slice(entry.data.as_bytes());
    }
}

/// The entries of the row whose last place is `last`.
///
/// # Errors
/// Where it is no such row.
pub(super) fn unpack(last: i64, row: &[u8]) -> rusqlite::Result<Vec<Entry<'_>>> {
    Reader { row, texts: Vec::new() }.entries(last).ok_or_else(|| {
        let reason = format!("entries of the log up to {last} are not what this version writes");
        rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, reason.into())
    })
}

/// The place of the first entry of the row whose last place is `last`, as [`unpack`] would say.
pub(super) fn first_place(last: i64, row: &[u8]) -> rusqlite::Result<i64> {
    Ok(unpack(last, row)?.first().map_or(last, |entry| entry.place))
}

/// Texts of a row, and their numbers.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<&'a str, u64, DefaultHashBuilder>,
}

impl<'a> Texts<'a> {
    fn add(&mut self, row: &mut Vec<u8>, text: Option<&'a str>) {
        let Some(text) = text else { return varint(row, NOTHING) };
        let next = KNOWN + self.numbers.len() as u64;
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            varint(row, NEW);
            varint(row, text.len() as u64);
            row.extend_from_slice(text.as_bytes());
        } else {
            varint(row, number);
        }
    }
}

fn varint(row: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        row.push(number as u8 | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// What is left to read of a row.
struct Reader<'a> {
    row: &'a [u8],
    texts: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn entries(mut self, last: i64) -> Option<Vec<Entry<'a>>> {
        if self.byte()? != VERSION {
            return None;
        }
        let span = self.varint()?;
        let count = usize::try_from(self.varint()?).ok()?;
        if span >= ROW_ENTRIES as u64 || count > ROW_ENTRIES {
            return None;
        }
        let (mut place, mut at) = (last.checked_sub_unsigned(span)?, 0_i64);
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(count);
        for _ in 0..count {
            let since = self.varint()?;
            if since == 0 && !entries.is_empty() {
                return None;
            }
            place = place.checked_add_unsigned(since).filter(|place| *place <= last)?;
            let since = self.varint()?;
            at = at.wrapping_add((since >> 1).cast_signed() ^ -(since & 1).cast_signed());
            let level = self.byte()?;
            let kind = self.text()??;
            let (session, agent, task) = (self.text()?, self.text()?, self.text()?);
            let session = match session {
                Some(session) => Some((session, self.varint()?)),
                None => None,
            };
            let data = self.string()?;
            entries.push(Entry { place, at, level, kind, session, agent, task, data });
        }
        self.row.is_empty().then_some(entries)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.row.split_first()?;
        self.row = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (text, rest) = self.row.split_at_checked(length)?;
        self.row = rest;
        std::str::from_utf8(text).ok()
    }

    fn text(&mut self) -> Option<Option<&'a str>> {
        let number = self.varint()?;
        match number {
            NOTHING => Some(None),
            NEW => {
                let text = self.string()?;
                self.texts.push(text);
                Some(Some(text))
            }
            _ => self.texts.get(usize::try_from(number - KNOWN).ok()?).map(|text| Some(*text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    type Owned = (i64, i64, u8, String, Option<(String, u64)>, Option<String>, Option<String>, String);

    fn owned() -> impl Strategy<Value = Vec<Owned>> {
        let name = || "[a-d]{0,2}";
        let session = option::of((name(), any::<u64>()));
        let entry = (
            1..3_i64,
            any::<i64>(),
            any::<u8>(),
            name(),
            session,
            option::of(name()),
            option::of(name()),
            ".*",
        );
        vec(entry, 0..28)
    }

    fn entries(owned: &[Owned]) -> Vec<Entry<'_>> {
        let mut place = 1 << 20;
        owned
            .iter()
            .map(|(since, at, level, kind, session, agent, task, data)| {
                place += since;
                Entry {
                    place,
                    at: *at,
                    level: *level,
                    kind,
                    session: session.as_ref().map(|(session, sequence)| (session.as_str(), *sequence)),
                    agent: agent.as_deref(),
                    task: task.as_deref(),
                    data,
                }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(owned in owned(), behind in 0..9_i64) {
            let entries = entries(&owned);
            let last = entries.last().map_or(7, |entry| entry.place) + behind;
            let mut row = vec![1, 2, 3];
            pack(&mut row, last, entries.iter().copied());
            prop_assert_eq!(unpack(last, &row).expect("packed"), entries);
        }

        #[test]
        fn what_is_cut_off_or_longer_is_refused(owned in owned(), cut in any::<prop::sample::Index>()) {
            let entries = entries(&owned);
            let last = entries.last().map_or(7, |entry| entry.place);
            let mut row = Vec::new();
            pack(&mut row, last, entries.into_iter());
            prop_assert!(unpack(last, &row).is_ok());
            prop_assert!(unpack(last, &row[..cut.index(row.len())]).is_err());
            row.push(0);
            prop_assert!(unpack(last, &row).is_err());
        }

        #[test]
        fn garbage_is_refused_or_read_and_nothing_else(mut row in vec(any::<u8>(), 0..200), last in any::<i64>()) {
            drop(unpack(last, &row));
            if let Some(first) = row.first_mut() {
                *first = VERSION;
            }
            drop(unpack(last, &row));
        }
    }

    #[test]
    fn a_row_has_an_entry_for_each_place_at_most_and_no_more_places_than_there_may_be() {
        let entry = |place| Entry {
            place,
            at: 0,
            level: 0,
            kind: "",
            session: None,
            agent: None,
            task: None,
            data: "",
        };
        let reads = |places: &[i64], last| {
            let mut row = Vec::new();
            pack(&mut row, last, places.iter().map(|place| entry(*place)));
            unpack(last, &row).is_ok()
        };
        assert!(reads(&[1, 2, 64], 64) && reads(&[1], 64));
        assert!(!reads(&[1, 2, 65], 65) && !reads(&[1], 65));
        assert!(!reads(&[1, 1], 2));
    }

    #[test]
    fn a_text_is_in_a_row_once() {
        let (session, agent) = ("ses_01M8NXD2JQYAQQ98MKCGZW41FE", "agt_01M8NXD2JQYAQQ98MKCGZW41FE");
        let entry = |place| Entry {
            place,
            at: 1_000_000 * place,
            level: 20,
            kind: "task.dispatched",
            session: Some((session, 3)),
            agent: Some(agent),
            task: None,
            data: "{}",
        };
        let mut row = Vec::new();
        pack(&mut row, 64, (1..=64).map(entry).collect::<Vec<_>>().into_iter());
        assert!(row.len() < 64 * 16, "{}", row.len());
    }
}
