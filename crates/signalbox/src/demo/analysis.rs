//! What the reader finds in one file: [`analyse`] counts words, headings and links, and names the relative
//! links that lead nowhere and the notes that say that something is unfinished. Pure: whether a link's
//! target exists is asked of the caller.

use serde::{Deserialize, Serialize};

use super::links::Markdown;

/// The words that mark unfinished work, put together here so that this file has none of them.
pub(super) const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
/// How much of a note's line is kept, in characters.
const EXCERPT_CHARS: usize = 90;

/// What one file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) words: u64,
    pub(super) headings: u64,
    pub(super) links: u64,
    pub(super) broken: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
}

/// One place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    /// The line, from 1.
    pub(super) line: usize,
    /// The link's target, or the line that holds the note.
    pub(super) text: String,
}

/// Reads a file's text. `leads_nowhere` says of a link's target that it is a relative one and not there.
pub(super) fn analyse(text: &str, markdown: bool, leads_nowhere: impl Fn(&str) -> bool) -> Figures {
    let mut figures = Figures::default();
    let mut structure = Markdown::default();
    for (line, number) in text.lines().zip(1..) {
        figures.words += words(line);
        if has_marker(line) {
            figures.notes.push(Finding { line: number, text: excerpt(line) });
        }
        if !markdown {
            continue;
        }
        let found = structure.line(line);
        figures.headings += u64::from(found.heading);
        figures.links += found.targets.len() as u64;
        let broken = found.targets.into_iter().filter(|target| leads_nowhere(target));
        figures.broken.extend(broken.map(|text| Finding { line: number, text: excerpt(&text) }));
    }
    figures
}

/// A word is a run of characters between blanks with a letter or digit in it.
fn words(line: &str) -> u64 {
    line.split_whitespace().filter(|run| run.contains(char::is_alphanumeric)).count() as u64
}

/// Whether one of the markers stands in the line as a whole word.
fn has_marker(line: &str) -> bool {
    let whole = |part: Option<char>| part.is_none_or(|next| !next.is_alphanumeric() && next != '_');
    MARKERS.iter().any(|marker| {
        line.match_indices(marker).any(|(at, _)| {
            whole(line[..at].chars().next_back()) && whole(line[at + marker.len()..].chars().next())
        })
    })
}

fn excerpt(line: &str) -> String {
    let line = line.trim();
    let short: String = line.chars().take(EXCERPT_CHARS).collect();
    if short.len() < line.len() { short + "…" } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = MARKERS[0];

    #[test]
    fn words_need_a_letter_or_digit() {
        assert_eq!(words("  One, two — 3 | --- *bold* it's gr\u{fc}n\t"), 6);
        assert_eq!(words("--- | ---"), 0);
        assert_eq!(words(""), 0);
    }

    #[test]
    fn a_marker_counts_only_as_a_whole_word() {
        for marker in MARKERS {
            for line in [marker.to_owned(), format!("// {marker}: later"), format!("({marker}(me))")] {
                assert!(has_marker(&line), "{line}");
            }
            let lower = marker.to_lowercase();
            for line in [format!("{marker}S"), format!("MY_{marker}"), format!("{marker}X"), lower] {
                assert!(!has_marker(&line), "{line}");
            }
        }
        assert!(has_marker(&format!("{NOTE}S and {NOTE}")), "a second occurrence is seen too");
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        let text = format!("# Title\n\nA [good](a.md) and a [bad](b.md) link.\n  {NOTE}: mend it  \n");
        let figures = analyse(&text, true, |target| target == "b.md");
        assert_eq!((figures.words, figures.headings, figures.links), (10, 1, 2));
        assert_eq!(figures.broken, [Finding { line: 3, text: "b.md".into() }]);
        assert_eq!(figures.notes, [Finding { line: 4, text: format!("{NOTE}: mend it") }]);
    }

    #[test]
    fn source_code_has_words_and_notes_but_no_headings_or_links() {
        let figures = analyse("# comment\nx[1](2)\n", false, |_| true);
        assert_eq!(figures, Figures { words: 2, ..Figures::default() });
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(excerpt(&"\u{fc}".repeat(200)).chars().count(), EXCERPT_CHARS + 1);
        assert_eq!(excerpt(" short "), "short");
    }
}
