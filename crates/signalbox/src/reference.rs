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
    /// Every command, as Markdown
    Cli,
    /// The API's description, as JSON
    Openapi,
    /// Every kind of problem, as Markdown
    Problems,
}

/// Prints the page.
pub(crate) fn print(page: Page, command: clap::Command) -> anyhow::Result<ExitCode> {
    match page {
        Page::Config => printer::line(configuration().trim_end()),
        Page::Cli => printer::line(command_line(command).trim_end()),
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

/// The options that nearly every command takes; told once.
const COMMON: [&str; 5] = ["output", "url", "profile", "tenant", "data_dir"];

fn command_line(mut command: clap::Command) -> String {
    let mut page = String::from(
        "# Command line\n\nEvery command of `signalbox`, as `--help` tells it. This page is generated from the code.\n\n\
         Data goes to standard output, everything else to standard error. `-o table` is for people (`wide` has more \
         columns); `-o json`\nis one object or one array, `-o jsonl` one object a line, `-o yaml` YAML: what the server \
         sent, also what the command line\ndoes not know. Ages in tables are for reading; `wide` has the moments. Colours \
         are used on a terminal alone, and not where\n`NO_COLOR` is set.\n\n\
         ## Which server, with which key\n\nThe first of these that is set counts:\n\n\
         | | server | key | tenant |\n|---|---|---|---|\n\
         | 1 | `--url` | | `--tenant` |\n\
         | 2 | the profile of `--profile` or `SIGNALBOX_PROFILE` | the same | the same |\n\
         | 3 | `SIGNALBOX_URL`, `OPSCORE_API_URL` | `SIGNALBOX_API_KEY`, `OPSCORE_API_KEY` | |\n\
         | 4 | the current profile (`signalbox config use`) | the same | the same |\n\
         | 5 | `address` in `--data-dir`, `SIGNALBOX_DATA_DIR` or `signalbox-data`, where a server that runs tells it | `admin.key` in the same | |\n\
         | 6 | `http://127.0.0.1:8000` | | |\n\n\
         Profiles are kept in `$SIGNALBOX_CONFIG_DIR/config.toml`, else `~/.config/signalbox/config.toml`, for their owner \
         alone.\n\n\
         ## Exit codes\n\n| code | when |\n|---|---|\n\
         | 0 | done; of `sessions watch`, `sessions result` and `workflows trigger --wait`: the session completed |\n\
         | 1 | the server refused, or could not be asked; of `doctor`: something is wrong; of `commands send --wait`: the command failed |\n\
         | 2 | the command was misused; nothing was asked |\n\
         | 3 | of the commands that wait for a session: it failed |\n\
         | 4 | of the commands that wait for a session: it was cancelled |\n",
    );
    // Only what is built has everything that help is made from.
    command.build();
    for group in command.get_subcommands().filter(|group| !group.is_hide_set() && group.get_name() != "help")
    {
        describe(&mut page, group, &format!("signalbox {}", group.get_name()), 2);
    }
    page
}

/// A command and those below it.
fn describe(page: &mut String, command: &clap::Command, words: &str, level: usize) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n{} {words}\n\n{about}.\n", "#".repeat(level));
    let verbs = || command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    if verbs().next().is_some() {
        verbs().for_each(|verb| describe(page, verb, &format!("{words} {}", verb.get_name()), level + 1));
        return;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: String = after
        .lines()
        .filter(|line| line.starts_with("  "))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let _ = write!(page, "\n```text\n{examples}```\n");
    if words == "signalbox serve" {
        page.push_str("\nIts flags are the [configuration](configuration.md).\n");
        return;
    }
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !COMMON.contains(&argument.get_id().as_str()))
        .filter(|argument| argument.get_id() != "help" && argument.get_id() != "version")
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | what it is |\n|---|---|\n");
    }
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let default: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let has_default = argument.get_action().takes_values() && !default.is_empty();
        let default =
            if has_default { format!(" (`{}` where absent)", default.join(" ")) } else { String::new() };
        let values: Vec<_> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let values = if values.is_empty() || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(": {}", values.join(", "))
        };
        let _ = writeln!(page, "| `{argument}` | {help}{values}{default} |");
    }
}
