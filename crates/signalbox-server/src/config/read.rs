//! How a configuration comes about: for each key the first of flag, variable, file and default that is there.
//! Every value is checked by itself, so that all faults are told at once.

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _};

use super::fault::{Fault, suggestion};
use super::{Config, ConfigError, file, variables};

/// The program's name, as clap expects it before the arguments.
const PROGRAM: &str = "signalbox serve";

/// Where a key is set, and to what.
struct Given {
    source: String,
    /// Whether the source says which key it is, as a line of a file does not.
    names_key: bool,
    values: Vec<OsString>,
}

impl Config {
    /// Reads the configuration from `arguments` (without the program's name), the environment and the file.
    ///
    /// # Errors
    /// [`ConfigError`]: all that is wrong, and where each of it stands.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        read(arguments.into_iter().collect(), &std::env::vars_os().collect())
    }
}

/// Reads what is configured by `arguments`, by `environment`, and by the file that one of them names.
pub(super) fn read(
    arguments: Vec<OsString>,
    environment: &HashMap<OsString, OsString>,
) -> Result<Config, ConfigError> {
    let command = Config::command();
    let mut faults = Vec::new();
    let flags = flags(&command, arguments, &mut faults)?;
    faults.extend(variables::unknown(&command, environment));
    let mut given: HashMap<String, Given> = HashMap::new();
    for argument in command.get_arguments() {
        if let Some(found) = by_flag(argument, &flags).or_else(|| by_variable(argument, environment)) {
            given.insert(argument.get_id().to_string(), found);
        }
    }
    let named = given.get("config").and_then(|given| given.values.first()).map(PathBuf::from);
    for setting in file::read(named.as_deref(), &command, &mut faults) {
        let found = Given { source: setting.source, names_key: false, values: setting.values };
        given.entry(setting.key).or_insert(found);
    }
    for argument in command.get_arguments() {
        let found = given.get(argument.get_id().as_str());
        faults.extend(found.and_then(|found| fault(argument, found)));
    }
    if !faults.is_empty() {
        return Err(ConfigError::Faults(faults));
    }
    let command = given
        .into_iter()
        .fold(command, |command, (key, given)| command.mut_arg(key, |argument| set(argument, given.values)));
    let command = command.mut_args(|argument| argument.env(Resettable::Reset));
    Ok(Config::from_arg_matches(&command.try_get_matches_from([PROGRAM])?)?)
}

/// The argument with these as its only values.
fn set(argument: Arg, values: Vec<OsString>) -> Arg {
    argument.env(Resettable::Reset).default_values(values)
}

/// What the command line sets, unchecked. What it says that is no flag is a fault, and is passed over.
fn flags(
    command: &Command,
    mut arguments: Vec<OsString>,
    faults: &mut Vec<Fault>,
) -> Result<ArgMatches, ConfigError> {
    let unchecked = command.clone().mut_args(|argument| {
        let argument = argument.env(Resettable::Reset).default_value(Resettable::Reset);
        if argument.get_action().takes_values() {
            argument.value_parser(clap::value_parser!(OsString))
        } else {
            argument
        }
    });
    loop {
        let all = std::iter::once(OsString::from(PROGRAM)).chain(arguments.iter().cloned());
        let error = match unchecked.clone().try_get_matches_from(all) {
            Ok(matches) => return Ok(matches),
            Err(error) if !error.use_stderr() => {
                // Told by the command as it is, with variables, defaults and the values that are allowed.
                let help = command.clone().try_get_matches_from([PROGRAM, "--help"]);
                return Err(help.err().unwrap_or(error).into());
            }
            Err(error) => error,
        };
        faults.push(misuse(command, &error));
        // The rest is read without what was not understood; where that is not found, nothing is.
        let unknown =
            text(&error, ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
        let at = unknown.and_then(|unknown| {
            let is_it = |argument: &OsString| {
                argument.to_str().is_some_and(|text| text.split('=').next() == unknown.split('=').next())
            };
            arguments.iter().position(is_it)
        });
        match at {
            Some(at) => {
                arguments.remove(at);
                // Its value, in all likelihood.
                if arguments.get(at).is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
                    arguments.remove(at);
                }
            }
            None => arguments.clear(),
        }
    }
}

fn misuse(command: &Command, error: &clap::Error) -> Fault {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(unknown) = text(error, ContextKind::InvalidArg)
    {
        let flags: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        let suggestion = suggestion(&unknown, flags.iter().map(String::as_str));
        return Fault::new(unknown, format!("there is no such flag{suggestion}"));
    }
    let rendered = error.to_string();
    let line = rendered.lines().next().unwrap_or_default();
    Fault::new("command line", line.strip_prefix("error: ").unwrap_or(line))
}

fn by_flag(argument: &Arg, flags: &ArgMatches) -> Option<Given> {
    let key = argument.get_id().as_str();
    if flags.value_source(key) != Some(ValueSource::CommandLine) {
        return None;
    }
    let values = match flags.get_raw(key) {
        Some(values) if argument.get_action().takes_values() => values.map(OsString::from).collect(),
        _ => vec![OsString::from("true")],
    };
    let source = format!("flag --{}", argument.get_long().unwrap_or(key));
    Some(Given { source, names_key: true, values })
}

fn by_variable(argument: &Arg, environment: &HashMap<OsString, OsString>) -> Option<Given> {
    let (name, value) = variables::of(argument, environment)?;
    Some(Given { source: format!("variable {name}"), names_key: true, values: vec![value.clone()] })
}

/// Why the values cannot be taken, if so.
fn fault(argument: &Arg, given: &Given) -> Option<Fault> {
    let alone = Command::new(PROGRAM).arg(set(argument.clone(), given.values.clone()));
    let error = alone.try_get_matches_from([PROGRAM]).err()?;
    let key = (!given.names_key).then(|| argument.get_id().to_string());
    let value = text(&error, ContextKind::InvalidValue).filter(|_| !argument.is_hide_env_values_set());
    let value = value.map(|value| format!("'{value}'"));
    let told: Vec<_> = key.into_iter().chain(value).chain([reason(&error)]).collect();
    Some(Fault::new(&given.source, told.join(" ")))
}

fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => format!("must be one of {}", valid.join(", ")),
        _ => {
            let rendered = error.to_string();
            let line = rendered.lines().next().unwrap_or_default();
            format!("cannot be taken: {}", line.strip_prefix("error: ").unwrap_or(line))
        }
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}
