//! `signalbox init`: a `signalbox.toml` with every key, commented out, made from the flags of `serve`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Arg, Args};
use signalbox_server::Config;

use crate::printer;

/// Columns of a comment.
const WIDTH: usize = 100;

/// Write a signalbox.toml with every key of the configuration, commented out.
#[derive(Debug, Args)]
#[command(after_help = example!("init", "init - > signalbox.toml"))]
pub(crate) struct Init {
    /// The file to write; - prints it
    #[arg(default_value = "signalbox.toml")]
    file: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// Writes the file.
pub(crate) fn init(asked: &Init) -> anyhow::Result<ExitCode> {
    let text = text();
    if asked.file.as_os_str() == "-" {
        printer::part(&text);
        return Ok(ExitCode::SUCCESS);
    }
    let shown = asked.file.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if asked.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    match options.open(&asked.file) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("{shown} cannot be written"))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{shown} is there already; --force writes over it")
        }
        Err(error) => return Err(error).with_context(|| format!("{shown} cannot be written")),
    }
    printer::notice(&format!("wrote {shown}; 'signalbox serve' reads it in the folder where it is started"));
    Ok(ExitCode::SUCCESS)
}

fn text() -> String {
    let mut text = String::from(
        "# The configuration of `signalbox serve`. Every key stands here with its default, commented out: take the\n\
         # `#` from what you change. A flag or an environment variable counts before what stands here.\n",
    );
    let mut heading = None;
    let command = Config::command();
    let keys =
        command.get_arguments().filter(|key| !matches!(key.get_id().as_str(), "help" | "config" | "version"));
    for key in keys {
        if key.get_help_heading() != heading {
            heading = key.get_help_heading();
            let _ = write!(text, "\n# ---- {} ----\n", heading.unwrap_or("Server"));
        }
        text.push('\n');
        for line in wrapped(&help(key)) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "#{} = {}", key.get_id(), value(key));
    }
    text
}

fn help(key: &Arg) -> String {
    let help = key.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        key.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let variable = key.get_env().map(|name| format!(" [{}]", name.to_string_lossy())).unwrap_or_default();
    if values.is_empty() || !key.get_action().takes_values() {
        format!("{help}{variable}")
    } else {
        format!("{help} ({}){variable}", values.join(", "))
    }
}

/// The default as TOML writes it; where there is none, an empty text that says of what kind it is.
fn value(key: &Arg) -> String {
    let defaults: Vec<String> =
        key.get_default_values().iter().map(|value| written(&value.to_string_lossy())).collect();
    let is_list = matches!(key.get_action(), clap::ArgAction::Append)
        || key.get_num_args().is_some_and(|range| range.max_values() > 1)
        || key.get_value_delimiter().is_some();
    match defaults.as_slice() {
        _ if is_list => format!("[{}]", defaults.join(", ")),
        [] if !key.get_action().takes_values() => "false".to_owned(),
        [] => "\"\"".to_owned(),
        [one] => one.clone(),
        _ => format!("[{}]", defaults.join(", ")),
    }
}

fn written(value: &str) -> String {
    let is_bare = value.parse::<bool>().is_ok() || value.parse::<i64>().is_ok();
    if is_bare {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// A text in lines of a comment.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + word.len() >= WIDTH);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_in_it_and_all_of_it_is_toml() {
        let text = text();
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let table: toml::Table = uncommented.parse().unwrap();
        let command = Config::command();
        for key in command.get_arguments().map(|key| key.get_id().as_str()) {
            if !matches!(key, "help" | "config") {
                assert!(table.contains_key(key), "{key}");
            }
        }
        assert_eq!(table["listen"].as_str(), Some("127.0.0.1:8000"));
        assert!(text.parse::<toml::Table>().unwrap().is_empty(), "as it is written, it changes nothing");
    }
}
