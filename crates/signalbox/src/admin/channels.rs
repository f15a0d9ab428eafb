//! `signalbox channels`: named subjects with a history.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::{self, Context};
use super::failure::{self, renamed};
use super::input::json;
use super::resource::{Column, Resource};
use super::{All, Asked, output, run, subscribe};

pub(super) const CHANNELS: Resource = Resource {
    noun: "channel",
    lister: "signalbox channels list",
    path: &["api", "v1", "channels"],
    items: "channels",
    enveloped: false,
    columns: &[
        Column::text("NAME", "/name"),
        Column::id("ID", "/channel_id"),
        Column::text("LAST", "/last_sequence"),
        Column::age("MADE", "/created_at"),
        Column::text("DESCRIPTION", "/description"),
        Column::text("RETENTION", "/retention").wide(),
    ],
};

const MESSAGES: Resource = Resource {
    noun: "message in the channel",
    items: "messages",
    columns: &[
        Column::text("SEQUENCE", "/sequence"),
        Column::age("AT", "/timestamp"),
        Column::text("FROM", "/from"),
        Column::text("PAYLOAD", "/payload"),
        Column::id("ID", "/message_id").wide(),
    ],
    ..CHANNELS
};

const SUBSCRIBERS: Resource = Resource {
    noun: "subscriber of the channel",
    items: "agents",
    columns: &[
        Column::id("AGENT", "/agent_id"),
        Column::text("SUBJECT", "/subject"),
        Column::age("SINCE", "/since"),
    ],
    ..CHANNELS
};

/// What is done with channels. A channel is named by its id or its name.
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelVerb {
    /// List channels
    #[command(after_help = example!("channels list"))]
    List(All),
    /// Show a channel
    #[command(after_help = example!("channels show orders.eu"))]
    Show {
        /// The channel, by its id or name
        channel: String,
    },
    /// Create a channel
    #[command(after_help = example!("channels create orders.eu --description 'Orders of Europe' --max-messages 1000"))]
    Create(Create),
    /// Publish a message to a channel; prints the message's id
    #[command(after_help = example!("channels publish orders.eu '{\"order\": 7}'"))]
    Publish {
        /// The channel, by its id or name
        channel: String,
        /// What is published, as JSON
        #[arg(value_parser = json)]
        payload: Value,
        /// The message's id: the same id again is the same message
        #[arg(long)]
        id: Option<String>,
    },
    /// Subscribe to a subject or a pattern, and print what is published, one message a line
    #[command(after_help = example!("channels subscribe orders.eu", "channels subscribe 'orders.>' --count 10"))]
    Subscribe(subscribe::Subscribe),
    /// Show the history of a channel, oldest first
    #[command(after_help = example!("channels history orders.eu --after 120 --limit 50"))]
    History {
        /// The channel, by its id or name
        channel: String,
        /// Only what comes after this sequence
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        all: All,
    },
    /// List who is subscribed to a channel
    #[command(after_help = example!("channels presence orders.eu"))]
    Presence {
        /// The channel, by its id or name
        channel: String,
    },
    /// Delete a channel with its history
    #[command(after_help = example!("channels delete orders.eu"))]
    Delete {
        /// The channel, by its id or name
        channel: String,
    },
}

/// A channel to make.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name, which is its subject
    name: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// How many messages are kept; 0 for none
    #[arg(long)]
    max_messages: Option<u64>,
    /// How many seconds messages are kept
    #[arg(long)]
    max_age: Option<u64>,
}

/// Does what is asked with channels.
pub(crate) fn channels(asked: &Asked<ChannelVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            ChannelVerb::List(all) => context.list(&CHANNELS, &[], &ListQuery::new(), all.limit).await?,
            ChannelVerb::Show { channel } => {
                context.show(&CHANNELS, channel).await?;
            }
            ChannelVerb::Create(create) => {
                let made = context.send(Method::POST, CHANNELS.path, Some(&create.body())).await?;
                context.done(&made, &format!("channel {} is made", create.name))?;
            }
            ChannelVerb::Publish { channel, payload, id: message } => {
                let mut body = json!({"payload": payload});
                if let Some(message) = message {
                    body["message_id"] = json!(message);
                }
                let answer =
                    context.act((&CHANNELS, Method::POST), &[channel, "messages"], Some(&body)).await;
                let answer = answer.map_err(|error| unmade(error, channel))?;
                context.started(&answer, "/message_id")?;
            }
            ChannelVerb::Subscribe(subscribe) => subscribe.run(&context).await?,
            ChannelVerb::History { channel, after, all } => {
                let query = context::filters([("after", after.map(|after| after.to_string()))]);
                let told = context.list(&MESSAGES, &[channel, "messages"], &query, all.limit).await;
                told.map_err(|error| unmade(renamed(error, &CHANNELS, channel), channel))?;
            }
            ChannelVerb::Presence { channel } => {
                let answer = context.fetch(&CHANNELS, &[channel, "presence"], &ListQuery::new()).await?;
                presence(&context, &output::value(&answer)?)?;
            }
            ChannelVerb::Delete { channel } => {
                let answer = context.act((&CHANNELS, Method::DELETE), &[channel], None).await?;
                context.done(&answer, &format!("channel {channel} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The presence of a channel comes in one answer, which takes no page.
fn presence(context: &Context, answer: &Value) -> anyhow::Result<()> {
    let agents = answer["agents"].as_array().context("the answer holds no list")?;
    if context.format.is_table() {
        context.print_table(&SUBSCRIBERS, agents);
        return Ok(());
    }
    let mut many = output::Many::begin(context.format);
    for agent in agents {
        many.add(&serde_json::value::to_raw_value(agent)?)?;
    }
    many.end();
    Ok(())
}

/// What is not there can be made.
fn unmade(error: anyhow::Error, channel: &str) -> anyhow::Error {
    if failure::is_not_there(&error) {
        anyhow::anyhow!("{error}, 'signalbox channels create {channel}' makes it")
    } else {
        error
    }
}

impl Create {
    fn body(&self) -> Value {
        let retention = context::body([
            ("max_messages", self.max_messages.map(|most| json!(most))),
            ("max_age_s", self.max_age.map(|most| json!(most))),
        ]);
        context::body([
            ("name", Some(json!(self.name))),
            ("description", context::text(self.description.as_deref())),
            ("retention", Some(retention).filter(|fields| *fields != json!({}))),
        ])
    }
}
