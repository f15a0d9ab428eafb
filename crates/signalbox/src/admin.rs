//! What is done with a running server from a shell. Each group of commands is a file: what it is about as a
//! [`resource::Resource`], its verbs, and what is special about them.

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
mod resource;
mod schedules;
mod session;
mod sessions;
mod ssh_keys;
mod subscribe;
mod table;
mod target;
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
use signalbox_client::Client;

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
pub(crate) use self::schedules::{ScheduleVerb, schedules};
pub(crate) use self::sessions::{SessionVerb, sessions};
pub(crate) use self::ssh_keys::{SshKeyVerb, ssh_keys};
pub(crate) use self::target::{Asked, Target};
pub(crate) use self::tenants::{TenantVerb, tenants};
pub(crate) use self::tools::{ToolVerb, tools};
pub(crate) use self::webhooks::{WebhookVerb, webhooks};
pub(crate) use self::workflows::{WorkflowVerb, workflows};

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
    let (context, settings) = target.context()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(context)).map_err(|error| match (failure::status(&error), settings.key()) {
        (Some(401), Ok((_, source))) => Misfit(format!(
            "{} does not take the key of {source}; 'signalbox doctor' looks into it",
            settings.url
        ))
        .into(),
        _ => error,
    })
}

/// The client of the server that the target names.
pub(crate) fn client_of(target: &Target) -> anyhow::Result<Client> {
    let settings = target.settings()?;
    let (key, _) = settings.key()?;
    settings.client(Some(&key))
}

/// A key that the server does not take.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misfit(String);
