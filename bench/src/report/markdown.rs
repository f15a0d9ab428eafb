//! Results as Markdown tables, for reading in the repository and in the terminal alike.

use std::fmt::Write as _;

use super::case::CaseReport;
use super::figure::Figure;
use super::verdict::Verdict;
use crate::environment::Fact;
use crate::flush::Flush;

/// The whole page of a case.
pub(crate) fn page(report: &CaseReport) -> String {
    let mut page = format!("# {}, {}\n\n{}\n", report.case, report.date, report.about);
    if report.quick {
        page.push_str("\nA quick run: it shows that the harness works and claims nothing.\n");
    }
    page.push_str(&section("Verdicts", &verdicts(report.verdicts.iter().map(|verdict| ("", verdict)))));
    page.push_str(&section("Disk", &disk(report)));
    page.push_str(&section("Settings", &facts(&report.facts)));
    page.push_str(&section("Machine", &facts(&report.machine)));
    page.push_str("\n## Figures\n");
    for group in groups(&report.figures) {
        let _ = write!(page, "\n### {}\n\n{}", sentence(&group[0].group), figures(&group));
    }
    if !report.notes.is_empty() {
        let notes: String = report.notes.iter().map(|note| format!("- {note}\n")).collect();
        page.push_str(&section("Notes", &notes));
    }
    page
}

/// One table over all cases of a run.
pub(crate) fn summary(reports: &[CaseReport]) -> String {
    let rows = reports
        .iter()
        .flat_map(|report| report.verdicts.iter().map(|verdict| (report.case.as_str(), verdict)));
    let table = verdicts(rows);
    let quick = reports.iter().any(|report| report.quick);
    let remark = if quick { "\nA quick run: no claim is made from it.\n" } else { "" };
    format!("\n## Summary\n\n{table}{remark}")
}

/// One figure on one line, for progress.
pub(crate) fn figure_line(figure: &Figure) -> String {
    let metrics = figure.metrics.iter().map(|metric| format!("{} {}", number(metric.value), metric.name));
    let faults = figure.faults.iter().map(|fault| format!("FAULT {fault}"));
    let values: Vec<String> = metrics.chain(faults).collect();
    format!("  {}, round {}, {}: {}", figure.group, figure.round, figure.side, values.join(", "))
}

fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("\n## {title}\n\n{body}") }
}

fn verdicts<'a>(rows: impl Iterator<Item = (&'a str, &'a Verdict)>) -> String {
    let mut table = "| what | median | rounds | goal | |\n|---|---|---|---|---|\n".to_owned();
    for (case, verdict) in rows {
        let name = if case.is_empty() { verdict.name.clone() } else { format!("{case}: {}", verdict.name) };
        let rounds: Vec<String> = verdict.rounds.iter().map(|value| number(*value)).collect();
        let goal = verdict.goal.map_or_else(|| "–".to_owned(), |goal| goal.to_string());
        let (value, unit) = (number(verdict.value), verdict.unit);
        let _ = writeln!(
            table,
            "| {name} | {value} {unit} | {} | {goal} | {} |",
            rounds.join(", "),
            verdict.standing
        );
    }
    table
}

fn disk(report: &CaseReport) -> String {
    let line = |when: &str, flush: &Flush| {
        format!(
            "| {when} | {} | {} | {} | {} |\n",
            flush.count,
            number(flush.per_s),
            number(flush.p50_us),
            number(flush.p99_us)
        )
    };
    let head = "Append of 4 KiB with `fdatasync`, in the folder that holds the data.\n\n\
                | when | flushes | per second | p50 µs | p99 µs |\n|---|---|---|---|---|\n";
    format!("{head}{}{}", line("before", &report.flush_before), line("after", &report.flush_after))
}

fn facts(facts: &[Fact]) -> String {
    let mut table = "| | |\n|---|---|\n".to_owned();
    for fact in facts {
        let _ = writeln!(table, "| {} | {} |", fact.name, cell(&fact.value));
    }
    if facts.is_empty() { String::new() } else { table }
}

/// Figures by group, in the order in which the groups first appear.
fn groups(figures: &[Figure]) -> Vec<Vec<&Figure>> {
    let mut groups: Vec<Vec<&Figure>> = Vec::new();
    for figure in figures {
        match groups.iter_mut().find(|group| group[0].group == figure.group) {
            Some(group) => group.push(figure),
            None => groups.push(vec![figure]),
        }
    }
    groups
}

/// A table with a column for each metric that any of the figures has.
fn figures(group: &[&Figure]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for metric in group.iter().flat_map(|figure| &figure.metrics) {
        if !names.contains(&metric.name) {
            names.push(metric.name);
        }
    }
    let mut table =
        format!("| round | side | {} | faults |\n|{}\n", names.join(" | "), "---|".repeat(names.len() + 3));
    for figure in group {
        let values: Vec<String> = names.iter().map(|name| number(figure.metric(name))).collect();
        let faults =
            if figure.faults.is_empty() { "none".to_owned() } else { cell(&figure.faults.join("; ")) };
        let _ = writeln!(table, "| {} | {} | {} | {faults} |", figure.round, figure.side, values.join(" | "));
    }
    table
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Three significant digits, with thousands set apart.
fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size < 99.95 {
        let decimals = if size < 0.9995 {
            3
        } else if size < 9.995 {
            2
        } else {
            1
        };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Goal, PER_S};

    #[test]
    fn numbers_are_short_and_grouped() {
        let cases =
            [(0.7214, "0.721"), (2.0, "2.00"), (12.34, "12.3"), (148_123.4, "148,123"), (999.6, "1,000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn a_page_holds_verdicts_figures_and_faults() {
        let flush = || Flush { count: 1, per_s: 7_900.0, p50_us: 128.0, p99_us: 300.0 };
        let mut figure = Figure::new("64 connections", "Signalbox", 1, &[(PER_S, 73_000.0)]);
        figure.faults.push("2 × status 503".to_owned());
        let report = CaseReport {
            case: "reads".to_owned(),
            about: "About.".to_owned(),
            date: "2026-11-21".to_owned(),
            quick: true,
            flush_before: flush(),
            flush_after: flush(),
            machine: vec![Fact::new("cores", "2")],
            facts: vec![],
            verdicts: vec![Verdict::new("rate", "×", vec![0.7], Some(Goal::AtLeast(0.6)), true)],
            figures: vec![figure],
            notes: vec!["A note.".to_owned()],
        };
        let page = page(&report);
        for wanted in [
            "# reads, 2026-11-21\n",
            "| rate | 0.700 × | 0.700 | ≥ 0.6 | met |",
            "### 64 connections\n\n| round | side | per second | faults |\n|---|---|---|---|\n| 1 | Signalbox | 73,000 | 2 × status 503 |",
            "- A note.",
            "claims nothing",
        ] {
            assert!(page.contains(wanted), "{wanted:?} is not in:\n{page}");
        }
        assert!(!report.is_valid());
        assert!(summary(&[report]).contains("| reads: rate | 0.700 ×"));
    }
}
