//! How wide the demo's lines may be, and how longer ones are broken. Where nobody looks at a terminal, a line is as
//! long as it is, unless `COLUMNS` says otherwise.

use std::ffi::OsString;

use console::{Term, measure_text_width};

/// Columns from which on everything has room.
const WIDE: usize = 80;
/// The least that lines are broken for; below it there would be more breaks than words.
const COLUMNS_MIN: usize = 30;

/// The columns of the output, where they are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns(Option<usize>);

impl Columns {
    /// Those of the terminal; `COLUMNS` goes before it.
    pub(super) fn detect() -> Self {
        let terminal = Term::stdout();
        let of_terminal = terminal.size_checked().filter(|_| terminal.is_term());
        Self::decide(std::env::var_os("COLUMNS"), of_terminal.map(|(_, columns)| columns.into()))
    }

    fn decide(variable: Option<OsString>, of_terminal: Option<usize>) -> Self {
        let given = variable.and_then(|text| text.to_str()?.parse().ok()).or(of_terminal);
        Self(given.filter(|columns| *columns > 0).map(|columns| columns.max(COLUMNS_MIN)))
    }

    /// Whether there is no room for everything.
    pub(super) fn are_few(self) -> bool {
        self.0.is_some_and(|columns| columns < WIDE)
    }

    /// What is left of them beside so many, at most `wanted`.
    pub(super) fn beside(self, taken: usize, wanted: usize) -> usize {
        self.0.map_or(wanted, |columns| columns.saturating_sub(taken).min(wanted))
    }

    /// A text in lines that fit; what is broken off goes on after so many blanks. A word that is too long stays whole,
    /// so that it can be copied.
    pub(super) fn broken(self, text: &str, indent: usize) -> String {
        let Some(columns) = self.0 else { return text.to_owned() };
        let lines = text.split('\n').flat_map(|line| broken(line, columns, indent));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[cfg(test)]
    pub(super) fn of(columns: Option<usize>) -> Self {
        Self(columns)
    }
}

fn broken(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for (place, word) in text.split(' ').enumerate() {
        let width = measure_text_width(&line);
        let is_full = !line.trim().is_empty() && width + 1 + measure_text_width(word) > columns;
        if is_full {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(indent);
            line.push_str(word);
        } else {
            if place > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_goes_before_the_terminal_and_nonsense_is_passed_over() {
        let decide =
            |variable: Option<&str>, terminal| Columns::decide(variable.map(OsString::from), terminal);
        assert_eq!(decide(Some("50"), Some(120)), Columns(Some(50)));
        assert_eq!(decide(Some("many"), Some(120)), Columns(Some(120)));
        assert_eq!(decide(Some("3"), None), Columns(Some(COLUMNS_MIN)));
        for nothing in [decide(None, None), decide(Some("0"), Some(90)), decide(None, Some(0))] {
            assert_eq!(nothing, Columns(None));
            assert!(!nothing.are_few());
        }
        assert!(decide(None, Some(79)).are_few() && !decide(None, Some(80)).are_few());
    }

    #[test]
    fn lines_are_broken_between_words_and_keep_their_colours_and_blanks() {
        let columns = Columns(Some(20));
        assert_eq!(columns.broken("  one   two three four five", 4), "  one   two three\n    four five");
        let painted = "  \u{1b}[31mred and\u{1b}[0m more of that";
        assert_eq!(columns.broken(painted, 2), "  \u{1b}[31mred and\u{1b}[0m more of\n  that");
        let word = "x".repeat(30);
        assert_eq!(columns.broken(&format!("a {word} b"), 1), format!("a\n {word}\n b"));
        assert_eq!(columns.broken("\n a\nb", 1), "\n a\nb");
        assert_eq!(Columns(None).broken(&word, 1), word);
    }

    #[test]
    fn what_is_left_is_never_more_than_wanted() {
        assert_eq!(Columns(Some(50)).beside(22, 40), 28);
        assert_eq!(Columns(Some(100)).beside(22, 40), 40);
        assert_eq!(Columns(Some(20)).beside(22, 40), 0);
        assert_eq!(Columns(None).beside(22, 40), 40);
    }
}
