//! `signalbox reference`: the pages under `docs/reference/` that are generated from the code.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use signalbox_server::Config;
use signalbox_wire::problem_kind::ProblemKind;

use crate::printer;

/// A generated page.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Page {
    /// Every key of the configuration, as Markdown
    Config,
    /// The API's description, as JSON
    Openapi,
    /// Every kind of problem, as Markdown
    Problems,
}

/// Prints the page.
pub(crate) fn print(page: Page) -> anyhow::Result<ExitCode> {
    match page {
        Page::Config => printer::line(configuration().trim_end()),
        Page::Openapi => printer::line(&signalbox_server::openapi().to_pretty_json()?),
        Page::Problems => printer::line(problems().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn configuration() -> String {
    let mut page = String::from(
        "# Configuration\n\nEvery key can be given as a flag of `signalbox serve`, as an environment variable, or in \
         `signalbox.toml`; the\nfirst of these that is set counts. Unknown flags, variables that begin with \
         `SIGNALBOX_`, and keys of the file are\nrefused. What is wrong with names and values is told at once, each \
         with where it stands; what contradicts itself,\nonce they are all good. A duration is written as `500ms`, \
         `30s`, `1h30m`, `2d`, `PT5M`, or a number of seconds. This\npage is generated from the code.\n",
    );
    let mut heading = None;
    for argument in Config::command().get_arguments().filter(|argument| argument.get_id() != "help") {
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let _ = write!(
                page,
                "\n## {}\n\n| flag | variable | key | default | what it is |\n|---|---|---|---|---|\n",
                heading.unwrap_or("Server")
            );
        }
        let flag = argument.get_long().unwrap_or_default();
        let variable = argument.get_env().and_then(|variable| variable.to_str()).unwrap_or_default();
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<_> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        // A switch takes many words for yes and no; none of them needs to be known.
        let values = if values.is_empty() || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(" ({})", values.join(", "))
        };
        let _ = writeln!(
            page,
            "| `--{flag}` | `{variable}` | `{}` | {default} | {help}{values} |",
            argument.get_id()
        );
    }
    page
}

fn problems() -> String {
    let mut page = String::from(
        "# Problems\n\nEvery error is `application/problem+json`; its `type` is `/problems/` and one of these names. \
         A kind has one status and one\ntitle; `detail` says what is wrong with this request. A client that meets a \
         name it does not know goes by the status.\n429 and 503 come with `Retry-After`. This page is generated from \
         the code.\n\n| status | name | title | when, and what to do |\n|---|---|---|---|\n",
    );
    for kind in ProblemKind::ALL {
        let (status, title, meaning) = (kind.status(), kind.title(), kind.meaning());
        let _ = writeln!(page, "| {status} | `{kind}` | {title} | {meaning} |");
    }
    page
}
