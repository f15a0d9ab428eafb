//! The Markdown report: totals, a table by folder, and the places that want attention. Pure: from what the
//! reads found to text and [`Written`]'s figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::analysis::Finding;
use super::plan::{Folder, Places, Summary, Written};
use super::walk::Skipped;

/// Rows of the table; the rest is one row.
const FOLDERS_MAX: usize = 60;
/// Places of each kind that are listed.
const PLACES_MAX: usize = 200;

/// The folder that a file is counted under: its own, cut to two levels.
pub(super) fn folder_of(file: &str) -> String {
    let folder = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
    folder.splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}

/// The report over all parts, and its figures; its path is whoever's writes it.
pub(super) fn render(root: &Path, summaries: &[Summary], skipped: &Skipped) -> (String, Written) {
    let folders = merged(summaries);
    let figures = totals(&folders, summaries);
    let mut text = format!("# Audit of {}\n\n", root.display());
    let _ = write!(text, "| | |\n|---|---:|\n");
    for (name, value) in named(&figures) {
        let _ = writeln!(text, "| {name} | {} |", grouped(value));
    }
    let left_out = skipped.in_words();
    if !left_out.is_empty() {
        let _ = writeln!(text, "\nLeft out ({left_out}).");
    }
    table(&mut text, &folders);
    let broken = summaries.iter().map(|summary| &summary.broken);
    places(&mut text, "Broken relative links", broken.collect());
    let notes = summaries.iter().map(|summary| &summary.notes);
    places(&mut text, "Unfinished notes", notes.collect());
    (text, figures)
}

/// The figures with their names, in the order in which they are shown everywhere.
pub(super) fn named(figures: &Written) -> [(&'static str, u64); 6] {
    [
        ("files", figures.files),
        ("words", figures.words),
        ("headings", figures.headings),
        ("links", figures.links),
        ("broken links", figures.broken_links),
        ("unfinished notes", figures.notes),
    ]
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn merged(summaries: &[Summary]) -> Vec<Folder> {
    let mut folders: BTreeMap<&str, Folder> = BTreeMap::new();
    for folder in summaries.iter().flat_map(|summary| &summary.folders) {
        let sum = folders.entry(&folder.path).or_default();
        folder.path.clone_into(&mut sum.path);
        add(sum, folder);
    }
    folders.into_values().collect()
}

fn add(sum: &mut Folder, folder: &Folder) {
    sum.files += folder.files;
    sum.words += folder.words;
    sum.headings += folder.headings;
    sum.links += folder.links;
}

fn totals(folders: &[Folder], summaries: &[Summary]) -> Written {
    let mut sum = Folder::default();
    folders.iter().for_each(|folder| add(&mut sum, folder));
    Written {
        path: String::new(),
        files: sum.files,
        words: sum.words,
        headings: sum.headings,
        links: sum.links,
        broken_links: summaries.iter().map(|summary| summary.broken.total).sum(),
        notes: summaries.iter().map(|summary| summary.notes.total).sum(),
    }
}

fn table(text: &mut String, folders: &[Folder]) {
    text.push_str(
        "\n## By folder\n\n| folder | files | words | headings | links |\n|---|---:|---:|---:|---:|\n",
    );
    let (shown, rest) = folders.split_at(folders.len().min(FOLDERS_MAX));
    for folder in shown {
        row(text, &format!("`{}`", cell(&folder.path)), folder);
    }
    if !rest.is_empty() {
        let mut sum = Folder::default();
        rest.iter().for_each(|folder| add(&mut sum, folder));
        row(text, &format!("{} more", rest.len()), &sum);
    }
}

fn row(text: &mut String, name: &str, folder: &Folder) {
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {} |",
        grouped(folder.files),
        grouped(folder.words),
        grouped(folder.headings),
        grouped(folder.links)
    );
}

fn places(text: &mut String, title: &str, of_parts: Vec<&Places>) {
    let total: u64 = of_parts.iter().map(|places| places.total).sum();
    let _ = writeln!(text, "\n## {title}: {}\n", grouped(total));
    if total == 0 {
        text.push_str("None.\n");
    }
    let all = of_parts.into_iter().flat_map(|places| &places.first);
    let listed: Vec<_> = all.take(PLACES_MAX).collect();
    for (file, Finding { line, text: what }) in &listed {
        let _ = writeln!(text, "- `{file}:{line}` {}", code(what));
    }
    let unlisted = total - listed.len() as u64;
    if unlisted > 0 {
        let _ = writeln!(text, "- and {} more", grouped(unlisted));
    }
}

/// A code span that holds the text as it is, whatever backticks are in it.
fn code(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    let ticks = "`".repeat(longest + 1);
    let blank = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{ticks}{blank}{text}{blank}{ticks}")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_under_two_levels() {
        for (file, folder) in
            [("a.md", "."), ("docs/a.md", "docs"), ("a/b/c/d.rs", "a/b"), ("a/b/c.rs", "a/b")]
        {
            assert_eq!(folder_of(file), folder, "{file}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn code_spans_hold_any_text() {
        assert_eq!(code("plain"), "`plain`");
        assert_eq!(code("a ``b`` c"), "```a ``b`` c```");
        assert_eq!(code("`x`"), "`` `x` ``");
    }

    #[test]
    fn the_same_folder_of_several_parts_is_one_row() {
        let folder = Folder { path: "docs".into(), files: 1, words: 600, headings: 2, links: 3 };
        let mut first = Summary { folders: vec![folder.clone()], ..Summary::default() };
        first.notes.add("docs/a.md", vec![Finding { line: 7, text: "later".into() }; 150]);
        let second = Summary { folders: vec![folder], ..Summary::default() };
        let skipped = Skipped { binary: 2, ..Skipped::default() };
        let (text, figures) = render(Path::new("/x"), &[first, second], &skipped);
        assert!(text.contains("| `docs` | 2 | 1,200 | 4 | 6 |"), "{text}");
        assert!(text.contains("Left out (binary: 2)."), "{text}");
        assert!(text.contains("## Broken relative links: 0\n\nNone."), "{text}");
        assert!(text.contains("- `docs/a.md:7` `later`\n") && text.contains("- and 50 more\n"), "{text}");
        assert_eq!((figures.files, figures.notes), (2, 150));
    }
}
