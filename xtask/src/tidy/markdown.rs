//! As much of Markdown as links need: where a document points to, and what in it can be pointed at.
//!
//! [`Document`] follows GitHub: what stands in code or in an HTML comment is neither a link nor a heading.

use std::collections::{BTreeSet, HashMap};

/// The links and anchors of one file.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) links: Vec<Link>,
    pub(super) anchors: BTreeSet<String>,
}

/// A target as written.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

impl Document {
    /// Reads the text of a file.
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut slugs = Slugs::default();
        let mut before = "";
        for (line, shown) in prose(text) {
            let targets = inline_targets(&without_code(shown)).into_iter().chain(definition(shown));
            document.links.extend(targets.map(|target| Link { line, target }));
            for name in ["id=\"", "name=\""] {
                document.anchors.extend(attributes(&without_code(shown), name));
            }
            document.anchors.extend(heading(shown, before).map(|title| slugs.next(title)));
            before = shown;
        }
        document
    }
}

/// The anchor that GitHub gives to a heading, before repeats are told apart.
pub(super) fn slug(title: &str) -> String {
    let mut slug = String::new();
    for one in visible(title).trim().chars().flat_map(char::to_lowercase) {
        match one {
            ' ' => slug.push('-'),
            _ if one.is_alphanumeric() || matches!(one, '-' | '_') => slug.push(one),
            _ => {}
        }
    }
    slug
}

#[derive(Default)]
struct Slugs(HashMap<String, usize>);

impl Slugs {
    fn next(&mut self, title: &str) -> String {
        let slug = slug(title);
        let seen = self.0.entry(slug.clone()).or_default();
        *seen += 1;
        if *seen == 1 { slug } else { format!("{slug}-{}", *seen - 1) }
    }
}

/// The lines outside fenced code and comments, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    let mut in_comment = false;
    for (index, line) in text.lines().enumerate() {
        let inner = line.trim_start_matches([' ', '\t', '>']);
        let marks = fence_marks(inner);
        match (fence, marks) {
            (Some(open), Some(marks)) if marks.starts_with(open) && inner.trim_end() == marks => fence = None,
            (Some(_), _) => {}
            (None, Some(marks)) if !in_comment => fence = Some(marks),
            (None, _) if in_comment => in_comment = !line.contains("-->"),
            (None, _) if inner.starts_with("<!--") => in_comment = !line.contains("-->"),
            (None, _) => lines.push((index + 1, line)),
        }
    }
    lines
}

/// The run of backticks or tildes that opens or closes a block of code, also as the first thing in a list item.
fn fence_marks(line: &str) -> Option<&str> {
    let line = line.trim_start_matches("- ").trim_start_matches("* ");
    let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let length = line.len() - line.trim_start_matches(mark).len();
    // Three backticks and then another on the same line are code within a sentence.
    (length >= 3 && !(mark == '`' && line[length..].contains('`'))).then_some(&line[..length])
}

/// The line with its code spans blank.
fn without_code(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for (piece, is_code) in spans(line) {
        shown.push_str(if is_code { " " } else { piece });
    }
    shown
}

/// The line cut at its code spans; those come without their backticks.
fn spans(line: &str) -> Vec<(&str, bool)> {
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let inside = &rest[start + ticks..];
        let Some(length) = closing(inside, ticks) else {
            spans.push((&rest[..start + ticks], false));
            rest = inside;
            continue;
        };
        spans.push((&rest[..start], false));
        spans.push((&inside[..length], true));
        rest = &inside[length + ticks..];
    }
    spans.push((rest, false));
    spans
}

/// Where a run of exactly `ticks` backticks begins.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = text[at..].find('`').map(|found| at + found) {
        let run = text[start..].len() - text[start..].trim_start_matches('`').len();
        if run == ticks {
            return Some(start);
        }
        at = start + run;
    }
    None
}

/// The targets of links and images, in Markdown and in HTML.
fn inline_targets(line: &str) -> Vec<String> {
    let mut targets: Vec<String> = line
        .match_indices("](")
        .filter_map(|(at, opening)| destination(&line[at + opening.len()..]))
        .map(str::to_owned)
        .collect();
    for name in ["href=\"", "src=\""] {
        targets.extend(attributes(line, name));
    }
    targets
}

/// What stands between the parentheses of a link, without a title; `None` where they do not close.
fn destination(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if let Some(angled) = text.strip_prefix('<') {
        return angled.find('>').map(|end| &angled[..end]);
    }
    let mut depth = 0;
    for (at, one) in text.char_indices() {
        match one {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(&text[..at]),
            ')' => depth -= 1,
            ' ' => return text[at..].contains(')').then_some(&text[..at]),
            _ => {}
        }
    }
    None
}

/// The target of `[label]: target`, which is not a footnote.
fn definition(line: &str) -> Option<String> {
    let (label, rest) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    let target =
        rest.split_whitespace().next().filter(|_| !label.starts_with('^') && !label.contains(']'))?;
    Some(target.trim_start_matches('<').trim_end_matches('>').to_owned())
}

/// The values of an HTML attribute; `opening` is its name, the equals sign and the quote.
fn attributes(line: &str, opening: &str) -> Vec<String> {
    let starts = line.match_indices(opening).filter(|(at, _)| line[..*at].ends_with(' '));
    let values = starts.filter_map(|(at, _)| line[at + opening.len()..].split_once('"'));
    values.map(|(value, _)| value.to_owned()).collect()
}

/// The title that this line makes, alone or, underlined by it, the line before.
fn heading<'a>(line: &'a str, before: &'a str) -> Option<&'a str> {
    let level = line.len() - line.trim_start_matches('#').len();
    if (1..=6).contains(&level) && line[level..].starts_with([' ', '\t']) {
        return Some(line[level..].trim().trim_end_matches('#'));
    }
    let is_underline = |mark| !line.is_empty() && line.trim_end().chars().all(|one| one == mark);
    let is_title = !before.trim().is_empty() && !before.starts_with('#');
    (is_title && (is_underline('=') || is_underline('-'))).then_some(before)
}

/// What a reader sees of a title: code as it is, links by their text, neither images, tags nor emphasis.
fn visible(title: &str) -> String {
    let pieces = spans(title).into_iter();
    pieces.map(|(piece, is_code)| if is_code { piece.to_owned() } else { plain(piece) }).collect()
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(one) = rest.chars().next() {
        let hidden = match one {
            '!' if rest.starts_with("![") => rest.find(')'),
            '<' => rest.find('>'),
            ']' if rest.starts_with("](") => rest.find(')'),
            _ => None,
        };
        if let Some(end) = hidden {
            rest = &rest[end + 1..];
            continue;
        }
        let inside_word = plain.ends_with(char::is_alphanumeric)
            && rest.trim_start_matches('_').starts_with(char::is_alphanumeric);
        if one != '_' || inside_word || plain.ends_with('_') {
            plain.push(one);
        }
        rest = &rest[one.len_utf8()..];
    }
    plain
}

#[cfg(test)]
mod tests;
