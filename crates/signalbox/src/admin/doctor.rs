//! `signalbox doctor`: whether everything is as it should be, on this machine and with the server; what is not, and what to
//! do about it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use signalbox_client::{Answer, Client, Error, ListQuery, Method, RetryPolicy, Timestamp};
use signalbox_server::config::ConfigError;

use super::output::Many;
use super::resource::in_line;
use super::table::Look;
use super::target::{BadKey, Settings, Target};
use crate::style::Style;
use crate::{edge, printer};

/// Free space on the disk below which one should look, in bytes.
const FREE_LOW: u64 = 1 << 30;
/// Free space on the disk below which writes fail soon, in bytes.
const FREE_NONE: u64 = 100 << 20;
/// Seconds by which two clocks may differ: what HTTP's whole seconds and the way of the answer make of equal ones.
const SKEW_USUAL: u64 = 2;
/// Seconds from which on signatures and tokens are refused for it.
const SKEW_BAD: u64 = 60;
/// Permissions that let others read.
const OTHERS: u32 = 0o077;

/// Letters of the column STATUS.
const STATUS_WIDTH: usize = 6;
/// Letters that a line of what was found has at least, however narrow the terminal is.
const ROOM_LEAST: usize = 24;

/// Diagnose the configuration, the data directory and the server: what is wrong, and what to do.
#[derive(Debug, Args)]
#[command(after_help = example!("doctor", "doctor --url https://signalbox.example.com -o json"))]
pub(crate) struct Doctor {
    #[command(flatten)]
    target: Target,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// It works, but somebody should look.
    Warn,
    Fail,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    cure: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), cure: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), cure: cure.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), cure: cure.into() }
    }

    fn told(&self) -> Value {
        json!({"check": self.name, "status": self.status.name(), "found": self.found, "do": self.cure})
    }
}

/// Looks at everything. The exit code is 0 unless something is wrong.
pub(crate) fn doctor(asked: &Doctor) -> anyhow::Result<ExitCode> {
    let mut checks = vec![configuration()];
    checks.extend(data_directory(&asked.target.data_dir));
    match asked.target.settings() {
        Ok(settings) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            checks.extend(runtime.block_on(server(&settings, edge::now())));
        }
        Err(error) => {
            checks.push(Check::fail("profile", super::in_words(&error), "see 'signalbox config list'"))
        }
    }
    print(asked, &checks)?;
    let is_wrong = checks.iter().any(|check| check.status == Status::Fail);
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(asked: &Doctor, checks: &[Check]) -> anyhow::Result<()> {
    let told: Vec<Value> = checks.iter().map(Check::told).collect();
    let format = asked.target.output;
    if !format.is_table() {
        let mut many = Many::begin(format);
        for check in &told {
            many.add(&serde_json::value::to_raw_value(check)?)?;
        }
        many.end();
        return Ok(());
    }
    printer::line(&table(checks, Style::detect(false), Look::detect().width));
    Ok(())
}

/// The checks, each with what to do on lines of its own below it. Nothing is cut: it is there to be read.
fn table(checks: &[Check], style: Style, width: Option<u16>) -> String {
    let name = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let margin = " ".repeat(name + 2 + STATUS_WIDTH + 2);
    let room =
        width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(margin.len()).max(ROOM_LEAST));
    let mut lines = vec![style.dim(&format!("{:<name$}  {:<STATUS_WIDTH$}  FOUND", "CHECK", "STATUS"))];
    for check in checks {
        let status = format!("{:<STATUS_WIDTH$}", check.status.name());
        let status = match check.status {
            Status::Ok => style.green(&status),
            Status::Warn => style.yellow(&status),
            Status::Fail => style.red(&status),
        };
        for (place, part) in wrapped(&check.found, room).into_iter().enumerate() {
            lines.push(match place {
                0 => format!("{:<name$}  {status}  {part}", check.name),
                _ => format!("{margin}{part}"),
            });
        }
        let arrow = style.pick("→", "->");
        let cure = if check.cure.is_empty() { String::new() } else { format!("{arrow} {}", check.cure) };
        lines.extend(wrapped(&cure, room).into_iter().map(|part| format!("{margin}{part}")));
    }
    lines.join("\n")
}

/// A text in lines of so many letters, broken at its blanks.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What `signalbox serve` would read here.
fn configuration() -> Check {
    const NAME: &str = "configuration";
    let file = Path::new("signalbox.toml");
    let source = if file.is_file() {
        "signalbox.toml and the environment"
    } else {
        "the environment; there is no signalbox.toml here"
    };
    match signalbox_server::Config::read(Vec::new()) {
        Ok(_) => Check::ok(NAME, source),
        Err(ConfigError::Help(_)) => Check::ok(NAME, source),
        Err(error) => Check::fail(
            NAME,
            in_line(&json!(error.to_string())),
            "mend what is named; docs/reference/configuration.md has every key, and 'signalbox init' writes a file of them",
        ),
    }
}

fn data_directory(folder: &Path) -> Vec<Check> {
    const NAME: &str = "data directory";
    let shown = folder.display();
    let metadata = match std::fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let cure = "nothing where the server runs elsewhere; else name it with --data-dir";
            return vec![Check { cure: cure.to_owned(), ..Check::ok(NAME, format!("there is no {shown}")) }];
        }
        Err(error) => {
            return vec![Check::fail(
                NAME,
                format!("{shown} cannot be looked at: {error}"),
                "run as the user that serves",
            )];
        }
    };
    let mode = metadata.permissions().mode() & 0o777;
    let directory = if mode & OTHERS == 0 {
        Check::ok(NAME, format!("{shown}"))
    } else {
        Check::warn(
            NAME,
            format!("others may read {shown} (mode {mode:o}), with its keys"),
            format!("chmod 700 {shown}"),
        )
    };
    vec![directory, disk(folder)]
}

fn disk(folder: &Path) -> Check {
    const NAME: &str = "disk";
    let free = match rustix::fs::statvfs(folder) {
        Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
        Err(error) => return Check::warn(NAME, format!("its space cannot be told: {error}"), "look with df"),
    };
    let found = format!("{:.1} GiB free", free as f64 / (1_u64 << 30) as f64);
    match free {
        0..FREE_NONE => Check::fail(
            NAME,
            found,
            "make room now: the server stops taking work when nothing can be written",
        ),
        FREE_NONE..FREE_LOW => Check::warn(
            NAME,
            found,
            "make room, or let the server keep less: 'signalbox init' names retention",
        ),
        _ => Check::ok(NAME, found),
    }
}

/// The server, as far as it can be reached.
async fn server(settings: &Settings, now: Timestamp) -> Vec<Check> {
    const NAME: &str = "server";
    let key = settings.key();
    let client = settings.client(key.as_ref().ok());
    let client = match client {
        Ok(client) => client.with_retry(RetryPolicy::never()),
        Err(error) if error.is::<BadKey>() => {
            return vec![Check::fail(
                "key",
                super::in_words(&error),
                "give one without line breaks and other control characters",
            )];
        }
        Err(error) => {
            return vec![Check::fail(
                NAME,
                super::in_words(&error),
                "give an address such as http://127.0.0.1:8000 with --url",
            )];
        }
    };
    let place = settings.place();
    let health = match ask(&client, &["health"]).await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Check::fail(NAME, format!("{place} {}", away(error)), settings.cure())];
        }
    };
    let mut checks = vec![Check::ok(NAME, place), clock(&health, now)];
    checks.extend(ready(&client).await);
    checks.push(match key {
        Ok((_, source)) => key_of(&client, &source).await,
        Err(error) => {
            let words = super::in_words(&error);
            Check::fail("key", "there is none", words.strip_prefix("there is no key: ").unwrap_or(&words))
        }
    });
    checks
}

/// Why the server did not answer, without its address and what to do.
fn away(error: Error) -> String {
    match error {
        Error::Unreachable { reason, .. } => format!("could not be reached: {reason}"),
        Error::Timeout { after, .. } => format!("did not answer within {} s", after.as_secs_f64()),
        error => format!("answered: {}", super::in_words(&error.into())),
    }
}

async fn ask(client: &Client, path: &[&str]) -> Result<Answer, Error> {
    client.request(Method::GET, path, &ListQuery::new(), None, None).await
}

fn clock(answer: &Answer, now: Timestamp) -> Check {
    const NAME: &str = "clock";
    let told = answer.headers.get("date").and_then(|date| date.to_str().ok());
    let told = told.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let Some(told) = told.map(|date| date.timestamp().as_second()) else {
        return Check::warn(NAME, "the server does not tell its time", "compare the clocks by hand");
    };
    let skew = now.as_seconds().abs_diff(told);
    let found = format!("this machine's and the server's differ by {skew} s");
    match skew {
        0..=SKEW_USUAL => Check::ok(NAME, "this machine's and the server's agree"),
        _ if skew < SKEW_BAD => Check::warn(NAME, found, "synchronise both with NTP"),
        _ => Check::fail(
            NAME,
            found,
            "synchronise both with NTP: signatures, tokens and schedules go by the clock",
        ),
    }
}

/// The database and the bus between nodes, as the server tells of them.
async fn ready(client: &Client) -> Vec<Check> {
    let answer = match ask(client, &["ready"]).await {
        Ok(answer) => answer,
        Err(error) => {
            let cure = "what is named there is away; once it answers, the server goes on by itself";
            return vec![Check::fail("readiness", super::in_words(&error.into()), cure)];
        }
    };
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let part = |name: &str| in_line(&told[name]);
    let mut checks = vec![Check::ok("database", part("store")), Check::ok("bus", part("bus"))];
    for warning in told["warnings"].as_array().into_iter().flatten() {
        checks.push(Check::warn(
            "readiness",
            in_line(warning),
            "docs/guide/operating.md says what stands behind it",
        ));
    }
    checks
}

async fn key_of(client: &Client, source: &str) -> Check {
    const NAME: &str = "key";
    let query = ListQuery::new().limit(1);
    match client.request(Method::GET, &["v1", "agents"], &query, None, None).await {
        Ok(_) => Check::ok(NAME, format!("the one of {source} is taken")),
        Err(error) if error.status() == Some(401) => Check::fail(
            NAME,
            format!("the one of {source} is not known to the server, or good no more"),
            "give one of this server: SIGNALBOX_API_KEY, 'signalbox config set', or its --data-dir",
        ),
        Err(error) => {
            let cure = match error.status() {
                Some(403) => {
                    "this key is for something else; an admin makes others with 'signalbox keys create'"
                }
                _ => "try again; the server's log has the reason",
            };
            Check::fail(NAME, format!("the one of {source}: {}", super::in_words(&error.into())), cure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_once_and_whole_in_any_width() {
        let checks = [
            Check::ok("disk", "4.0 GiB free"),
            Check::fail(
                "server",
                "http://127.0.0.1:9 (from --url) could not be reached",
                "start one with 'signalbox serve'",
            ),
        ];
        let style = Style { colour: false, unicode: true, live: false };
        assert_eq!(
            table(&checks, style, None),
            "CHECK   STATUS  FOUND\n\
             disk    ok      4.0 GiB free\n\
             server  fail    http://127.0.0.1:9 (from --url) could not be reached\n\
             \x20               → start one with 'signalbox serve'"
        );
        let narrow = table(&checks, style, Some(50));
        assert!(narrow.lines().all(|line| line.chars().count() <= 50), "{narrow}");
        assert!(narrow.contains("could not be") && narrow.contains("serve'"), "{narrow}");
    }
}
