//! How the demo's output looks: [`Style`] decides once whether there are colours and characters beyond ASCII.
//! The invariant: neither carries a meaning that the words do not.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

/// What the output may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Escape sequences that colour.
    pub(crate) colour: bool,
    /// Characters beyond ASCII.
    pub(crate) unicode: bool,
    /// A display that redraws itself; else one line after another.
    pub(crate) live: bool,
}

/// What a line begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Again,
    Plain,
}

impl Style {
    /// As the terminal and the environment (`NO_COLOR`, `TERM`, the locale) ask for.
    pub(crate) fn detect(plain: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self::decide(plain, terminal, |name| std::env::var_os(name))
    }

    fn decide<V: AsRef<OsStr>>(plain: bool, terminal: bool, variable: impl Fn(&str) -> Option<V>) -> Self {
        let set = |name| variable(name).filter(|value| !value.as_ref().is_empty());
        let dumb = set("TERM").is_some_and(|term| term.as_ref() == "dumb");
        let live = terminal && !plain && !dumb;
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let ascii = locale.is_some_and(|locale| ["C", "POSIX"].iter().any(|name| locale.as_ref() == *name));
        Self { colour: live && set("NO_COLOR").is_none(), unicode: !plain && !dumb && !ascii, live }
    }

    pub(crate) fn mark(self, mark: Mark) -> String {
        match (mark, self.unicode) {
            (Mark::Good, true) => self.green("✓"),
            (Mark::Good, false) => self.green("+"),
            (Mark::Bad, true) => self.red("✗"),
            (Mark::Bad, false) => self.red("x"),
            (Mark::Again, true) => self.yellow("↻"),
            (Mark::Again, false) => self.yellow("~"),
            (Mark::Plain, true) => self.dim("·"),
            (Mark::Plain, false) => self.dim("-"),
        }
    }

    /// One or the other, by whether characters beyond ASCII may be used.
    pub(crate) fn pick<'a>(self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(plain: bool, terminal: bool, variables: &[(&str, &'static str)]) -> Style {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Style::decide(plain, terminal, find)
    }

    #[test]
    fn colours_only_on_a_terminal_that_wants_them() {
        assert!(decide(false, true, &[]).colour);
        assert!(decide(false, true, &[("NO_COLOR", "")]).colour);
        for (plain, terminal, variables) in [
            (false, false, &[][..]),
            (true, true, &[]),
            (false, true, &[("NO_COLOR", "1")]),
            (false, true, &[("TERM", "dumb")]),
        ] {
            assert!(!decide(plain, terminal, variables).colour, "{plain} {terminal} {variables:?}");
        }
    }

    #[test]
    fn plain_and_the_c_locale_keep_to_ascii() {
        assert!(decide(false, false, &[]).unicode);
        assert!(decide(false, true, &[("LANG", "C.UTF-8")]).unicode);
        assert!(!decide(false, true, &[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")]).unicode);
        let plain = decide(true, true, &[]);
        assert!(!plain.unicode && !plain.live);
        for mark in [Mark::Good, Mark::Bad, Mark::Again, Mark::Plain] {
            assert!(plain.mark(mark).is_ascii());
        }
    }
}
