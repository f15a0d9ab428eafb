//! The environment: under which names keys are found there, and which names are slips.

use std::collections::HashMap;
use std::ffi::OsString;

use clap::{Arg, Command};

use super::fault::{Fault, suggestion};

/// The names under which other services of this kind know some of the variables.
const FOREIGN: [(&str, &str); 5] = [
    ("opscore_api_key", "OPSCORE_API_KEY"),
    ("opscore_webhook_url", "OPSCORE_WEBHOOK_URL"),
    ("opscore_webhook_secret", "OPSCORE_WEBHOOK_SECRET"),
    ("agentkit_api_url", "AGENTKIT_API_URL"),
    ("agentkit_api_key", "AGENTKIT_API_KEY"),
];

const PREFIX: &str = "SIGNALBOX_";
/// What begins [`FOREIGN`] ones. Others may have variables that begin so: only what is nearly one of ours is a slip.
const FOREIGN_PREFIXES: [&str; 2] = ["OPSCORE_", "AGENTKIT_"];
/// Letters by which a slip differs at most: fewer than `URL` from `KEY`.
const SLIP_MAX: usize = 2;
/// Variables with the prefix that are for others: the commands and clients that call a server, and programs that are run as
/// agents.
const OTHERS: [&str; 8] = [
    "SIGNALBOX_URL",
    "SIGNALBOX_API_KEY",
    "SIGNALBOX_PROFILE",
    "SIGNALBOX_CONFIG_DIR",
    "SIGNALBOX_TASK_ID",
    "SIGNALBOX_TASK_NAME",
    "SIGNALBOX_SESSION_ID",
    "SIGNALBOX_ATTEMPT",
];
/// What begins variables that are for the tests of this repository.
const OF_TESTS: [&str; 3] = ["SIGNALBOX_TEST_", "SIGNALBOX_SIM_", "SIGNALBOX_CONTRACT_"];

/// The variable that sets this argument, with its value. An empty one of another service's sets nothing.
pub(super) fn of<'a>(
    argument: &Arg,
    environment: &'a HashMap<OsString, OsString>,
) -> Option<(String, &'a OsString)> {
    let own = argument.get_env().and_then(|name| environment.get_key_value(name));
    let foreign = || {
        let name = FOREIGN.iter().find(|(key, _)| argument.get_id() == *key)?.1;
        environment.get_key_value(&OsString::from(name)).filter(|(_, value)| !value.is_empty())
    };
    own.or_else(foreign).map(|(name, value)| (name.to_string_lossy().into_owned(), value))
}

/// Variables that look like ours and set nothing.
pub(super) fn unknown(command: &Command, environment: &HashMap<OsString, OsString>) -> Vec<Fault> {
    let known = || command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    let mut names: Vec<&str> = environment
        .keys()
        .filter_map(|name| name.to_str())
        .filter(|name| name.starts_with(PREFIX) && !OTHERS.contains(name))
        .filter(|name| !OF_TESTS.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !is_service_link(name) && !known().any(|other| other == *name))
        .collect();
    names.sort_unstable();
    let fault = |name: &str| {
        Fault::new(
            format!("variable {name}"),
            format!("there is no such setting{}", suggestion(name, known())),
        )
    };
    names.into_iter().map(fault).chain(foreign_slips(environment)).collect()
}

/// Variables that are nearly one that other services of this kind know.
fn foreign_slips(environment: &HashMap<OsString, OsString>) -> Vec<Fault> {
    let mut names: Vec<&str> = environment
        .keys()
        .filter_map(|name| name.to_str())
        .filter(|name| FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| FOREIGN.iter().all(|(_, known)| known != name))
        .collect();
    names.sort_unstable();
    let fault = |name: &str| {
        let (_, meant) =
            FOREIGN.iter().find(|(_, known)| strsim::damerau_levenshtein(name, known) <= SLIP_MAX)?;
        let reason = format!("there is no such setting; did you mean '{meant}'?");
        Some(Fault::new(format!("variable {name}"), reason))
    };
    names.into_iter().filter_map(fault).collect()
}

/// Whether Kubernetes or Docker made the variable, to tell of a service that is called `signalbox` or begins so:
/// `SIGNALBOX_SERVICE_HOST`, `SIGNALBOX_PORT`, `SIGNALBOX_DB_PORT_5432_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let port = || {
        let (_, rest) = name.split_once("_PORT")?;
        let number =
            rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        Some(rest.is_empty() || number)
    };
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || port().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_set_is_no_slip() {
        for name in [
            "SIGNALBOX_SERVICE_HOST",
            "SIGNALBOX_SERVICE_PORT_HTTP",
            "SIGNALBOX_PORT",
            "SIGNALBOX_PORT_8000_TCP",
            "SIGNALBOX_DB_PORT_5432_TCP_ADDR",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in ["SIGNALBOX_PORTS", "SIGNALBOX_HOST", "SIGNALBOX_PORT_NUMBER"] {
            assert!(!is_service_link(name), "{name}");
        }
    }
}
