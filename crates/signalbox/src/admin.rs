//! What is done with a running server from a shell. Each group of commands is a file: what it is about as a
//! [`resource::Resource`], its verbs, and what is special about them.

mod agent;
mod agent_names;
mod agents;
mod channels;
mod commands;
mod context;
mod dead_letters;
mod definition;
mod doctor;
mod events;
mod failure;
mod input;
mod keys;
mod logs;
mod moments;
mod output;
mod profiles;
mod register;
mod resource;
mod retention;
mod schedules;
mod session;
mod sessions;
mod ssh_keys;
mod standing;
mod subscribe;
mod table;
mod target;
mod tenant;
mod tenants;
mod timeline;
mod tools;
mod waiting;
mod watch;
mod webhooks;
mod which;
mod words;
mod workflows;

use std::process::ExitCode;

use clap::Args;
use signalbox_client::{Client, Error};

pub(crate) use self::agents::{AgentVerb, agents};
pub(crate) use self::channels::{ChannelVerb, channels};
pub(crate) use self::commands::{CommandVerb, commands};
use self::context::Context;
pub(crate) use self::dead_letters::{DeadLetterVerb, dead_letters};
pub(crate) use self::doctor::{Doctor, doctor};
pub(crate) use self::events::{Events, events};
pub(crate) use self::failure::{Misused, in_words};
pub(crate) use self::keys::{KeyVerb, keys};
pub(crate) use self::logs::{Logs, logs};
pub(crate) use self::profiles::{Config, config};
pub(crate) use self::retention::{RetentionVerb, retention};
pub(crate) use self::schedules::{ScheduleVerb, schedules};
pub(crate) use self::sessions::{SessionVerb, sessions};
pub(crate) use self::ssh_keys::{SshKeyVerb, ssh_keys};
use self::target::Settings;
pub(crate) use self::target::{Asked, Target};
pub(crate) use self::tenants::{TenantVerb, tenants};
pub(crate) use self::tools::{ToolVerb, tools};
pub(crate) use self::webhooks::{WebhookVerb, webhooks};
pub(crate) use self::workflows::{WorkflowVerb, workflows};

/// Why nothing is reached where nothing listens.
const REFUSED: &str = "Connection refused";

/// How much of a list: all of it, unless told otherwise.
#[derive(Debug, Args)]
pub(crate) struct All {
    /// How many at most; 0 for all
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

/// How much of a list that grows: the newest, unless told otherwise.
#[derive(Debug, Args)]
pub(crate) struct Newest {
    /// How many at most; 0 for all
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

/// Does something with the server that the target names.
fn run<F: Future<Output = anyhow::Result<ExitCode>>>(
    target: &Target,
    work: impl FnOnce(Context) -> F,
) -> anyhow::Result<ExitCode> {
    let settings = target.settings()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async { work(target.context(&settings).await?).await });
    done.map_err(|error| in_place(&settings, error))
}

/// An error of the server or the way to it, told with what this machine knows of it.
fn in_place(settings: &Settings, error: anyhow::Error) -> anyhow::Error {
    misfit(settings, &error).or_else(|| unreached(settings, &error)).unwrap_or(error)
}

/// What is said where no server answered: which was asked and why that one, not what it was asked.
fn unreached(settings: &Settings, error: &anyhow::Error) -> Option<anyhow::Error> {
    let words = match error.downcast_ref::<Error>()? {
        Error::Unreachable { reason, unsent: true, .. } if reason == REFUSED => settings.no_server(),
        Error::Unreachable { reason, unsent: true, .. } => {
            format!("{} could not be reached: {reason}; {}", settings.place(), settings.cure())
        }
        Error::Unreachable { reason, .. } => {
            format!(
                "{} broke off the connection: {reason}; see that it runs, and try again",
                settings.place()
            )
        }
        _ => return None,
    };
    Some(Misfit(words).into())
}

/// What is said where the server does not take the key, or not for this.
fn misfit(settings: &Settings, error: &anyhow::Error) -> Option<anyhow::Error> {
    let (_, source) = settings.key().ok()?;
    let words = match failure::status(error)? {
        401 => {
            format!("{} does not take the key of {source}; 'signalbox doctor' looks into it", settings.url)
        }
        403 if failure::in_words(error).contains("platform key") => {
            let said = failure::in_words(error);
            format!("{said} The key is that of {source}; for the platform key: {}", settings.platform_key())
        }
        _ => return None,
    };
    Some(Misfit(words).into())
}

/// Does something with a client of the server that the target names.
pub(crate) async fn with_client<T, F: Future<Output = anyhow::Result<T>>>(
    target: &Target,
    work: impl FnOnce(Client) -> F,
) -> anyhow::Result<T> {
    let settings = target.settings()?;
    let done = async { work(settings.client_in_tenant().await?).await }.await;
    done.map_err(|error| in_place(&settings, error))
}

/// A server that does not take the key, or not for what was asked, or is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misfit(String);
