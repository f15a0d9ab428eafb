//! Markdown, as far as the audit needs it: headings, and the targets of links. The invariant: what stands in
//! a code block or a code span is text, not structure.

use std::path::{Path, PathBuf};

/// A reader of one Markdown file, line by line.
#[derive(Debug, Default)]
pub(super) struct Markdown {
    /// The fence that the open code block began with: its character and length.
    fence: Option<(char, usize)>,
    /// The line before was text that an underline would make a heading.
    paragraph: bool,
}

/// What one line holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) heading: bool,
    pub(super) targets: Vec<String>,
}

impl Markdown {
    /// Reads the next line.
    pub(super) fn line(&mut self, line: &str) -> Line {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let text = line.trim();
        if self.is_code(text) {
            self.paragraph = false;
            return Line::default();
        }
        let underline = self.paragraph && indent < 4 && is_underline(text);
        let heading = underline || (indent < 4 && is_atx(text));
        self.paragraph = !heading && !text.is_empty() && !text.starts_with(['|', '>', '-', '*', '+']);
        Line { heading, targets: targets(&without_code_spans(line)) }
    }

    /// Whether the line opens, closes or belongs to a fenced block.
    fn is_code(&mut self, text: &str) -> bool {
        let fence = ['`', '~'].into_iter().find_map(|mark| {
            let length = text.chars().take_while(|character| *character == mark).count();
            (length >= 3).then_some((mark, length))
        });
        match (self.fence, fence) {
            (None, None) => false,
            (None, Some((mark, length))) => {
                // A line such as ```code``` is a code span, not a fence.
                let opens = mark == '~' || !text[length..].contains('`');
                self.fence = opens.then_some((mark, length));
                opens
            }
            (Some((mark, least)), Some((same, length))) => {
                if mark == same && length >= least && text[length..].trim().is_empty() {
                    self.fence = None;
                }
                true
            }
            (Some(_), None) => true,
        }
    }
}

/// The file or folder that a link leads to, when it is a relative one: `file` is the linking file's path
/// below `root`. A target that begins with `/` starts at the root.
pub(super) fn relative_target(root: &Path, file: &str, target: &str) -> Option<PathBuf> {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    if path.is_empty() || path.starts_with("//") || has_scheme(path) {
        return None;
    }
    let path = percent_decoded(path);
    Some(match path.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None => root.join(Path::new(file).parent().unwrap_or(Path::new(""))).join(path),
    })
}

fn is_atx(text: &str) -> bool {
    let level = text.bytes().take_while(|byte| *byte == b'#').count();
    (1..=6).contains(&level) && text[level..].chars().next().is_none_or(char::is_whitespace)
}

fn is_underline(text: &str) -> bool {
    text.starts_with(['=', '-']) && text.chars().all(|character| text.starts_with(character))
}

fn without_code_spans(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
        let after = &rest[start + ticks..];
        text.push_str(&rest[..start]);
        rest = match closing_ticks(after, ticks) {
            Some(end) => &after[end + ticks..],
            None => after,
        };
    }
    text + rest
}

/// Where in `text` a run of exactly `ticks` backticks begins.
fn closing_ticks(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = text[at..].find('`').map(|found| found + at) {
        let run = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        if run == ticks {
            return Some(start);
        }
        at = start + run;
    }
    None
}

fn targets(line: &str) -> Vec<String> {
    if let Some(target) = definition(line) {
        return vec![target];
    }
    let mut targets = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find("](") {
        rest = &rest[start + 2..];
        targets.extend(inline(rest));
    }
    targets
}

/// The target of a link whose text `](` came before: up to the closing parenthesis or a title.
fn inline(text: &str) -> Option<String> {
    let text = text.trim_start();
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').map(|(target, _)| target.to_owned());
    }
    let mut depth = 0_u32;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => return Some(text[..at].to_owned()),
            _ if character.is_whitespace() => {
                let target = &text[..at];
                return text[at..].contains(')').then(|| target.to_owned());
            }
            _ => {}
        }
    }
    None
}

/// The target of a line such as `[name]: target "title"`; a footnote is none.
fn definition(line: &str) -> Option<String> {
    let (name, rest) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    if name.is_empty() || name.starts_with('^') || name.contains([']', '[']) {
        return None;
    }
    let target = rest.split_whitespace().next()?;
    Some(target.trim_start_matches('<').trim_end_matches('>').to_owned())
}

/// Two letters at least: one letter and a colon is a drive on some systems, not a scheme.
fn has_scheme(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        let follows = |character: char| character.is_ascii_alphanumeric() || "+-.".contains(character);
        scheme.len() > 1
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(follows)
    })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (usize, Vec<String>) {
        let mut markdown = Markdown::default();
        let lines: Vec<_> = text.lines().map(|line| markdown.line(line)).collect();
        let headings = lines.iter().filter(|line| line.heading).count();
        (headings, lines.into_iter().flat_map(|line| line.targets).collect())
    }

    #[test]
    fn headings_of_both_kinds_are_counted_outside_code() {
        let text = "# One\n\nTwo\n===\n\nThree\n---\n\n####### seven\n#nospace\n\n```sh\n# a comment\n```\n\
            ~~~\n# another\n```\n# still code\n~~~\n## Four\n\n---\n- item\n---\n| a |\n|---|\n";
        assert_eq!(read(text).0, 4);
    }

    #[test]
    fn a_code_span_of_three_ticks_opens_no_block() {
        assert_eq!(read("```x``` and\n# Heading\n").0, 1);
    }

    #[test]
    fn links_images_and_definitions_are_found() {
        let text = "See [a](docs/a.md), ![i](img/i.png \"title\") and [b](<with space.md>).\n\
            A [wiki](page_(one).md) link, `[not](this.md)`, ``[nor `](that.md)``.\n\
            [ref]: ../up.md \"t\"\n[^1]: a footnote\n[unclosed](x.md\n[![badge](b.svg)](ci.md)\n";
        let expected =
            ["docs/a.md", "img/i.png", "with space.md", "page_(one).md", "../up.md", "b.svg", "ci.md"];
        assert_eq!(read(text).1, expected);
    }

    #[test]
    fn only_relative_targets_lead_to_files() {
        let root = Path::new("/r");
        let lead = |target| relative_target(root, "docs/x.md", target);
        for outside in ["https://x.y/z", "mailto:a@b.c", "//cdn/x", "#here", "", "?q"] {
            assert_eq!(lead(outside), None, "{outside}");
        }
        assert_eq!(lead("a%20b.md#part"), Some(PathBuf::from("/r/docs/a b.md")));
        assert_eq!(lead("/top.md?raw"), Some(PathBuf::from("/r/top.md")));
        assert_eq!(lead("../up.md"), Some(PathBuf::from("/r/docs/../up.md")));
        assert_eq!(lead("50%.md"), Some(PathBuf::from("/r/docs/50%.md")));
    }
}
