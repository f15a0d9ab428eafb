//! The log: structured, to standard error, as JSON unless somebody is reading it on a terminal.

mod census;
pub(crate) mod dead_letters;
pub(crate) mod live;
pub(crate) mod metrics;
mod process;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::filter::EnvFilter;

pub(crate) use self::census::Ended;
use crate::config::{Config, LogFormat};

/// Starts logging for this process. A second call changes nothing.
pub fn start(config: &Config) {
    // The directives were checked when they were read; a library's caller may have set others.
    let filter = EnvFilter::try_new(&config.server.log).unwrap_or_else(|_| EnvFilter::new("info"));
    // The bus tells of its connection itself, once and without what the library would repeat at every attempt.
    let filter = match (config.server.log.contains("async_nats"), "async_nats=off".parse()) {
        (false, Ok(off)) => filter.add_directive(off),
        _ => filter,
    };
    // The database's driver would write the rows themselves, with what is secret in them.
    let filter = match "tokio_postgres=info".parse() {
        Ok(no_rows) => filter.add_directive(no_rows),
        Err(_) => filter,
    };
    let is_json = match config.server.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = if is_json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    };
}
