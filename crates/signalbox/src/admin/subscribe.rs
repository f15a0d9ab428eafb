//! `signalbox channels subscribe`: what is published, as it comes. Publications come over the connection of an agent, so one
//! is registered for the time of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};
use signalbox_client::agent::{Agent, Call, Credentials, Failure, Happening, Subscription};
use tokio::sync::Notify;

use super::context::Context;
use super::output::{self, Format};
use super::resource::in_line;
use crate::printer;

/// How long the end may take.
const GRACE: Duration = Duration::from_secs(2);

/// What is subscribed to.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// The subject, or a pattern: * is one part, > at the end one or more
    subject: String,
    /// Begin with what is kept of the channel after this sequence; 0 for all of it
    #[arg(long)]
    after: Option<u64>,
    /// End after so many messages
    #[arg(long)]
    count: Option<usize>,
}

impl Subscribe {
    pub(crate) async fn run(&self, context: &Context) -> anyhow::Result<()> {
        let subscription = Subscription::new(&self.subject);
        let subscription = match self.after {
            Some(sequence) => subscription.after(sequence),
            None => subscription,
        };
        let (format, left) = (context.format, AtomicUsize::new(self.count.unwrap_or(usize::MAX)));
        let is_over = Arc::new(Notify::new());
        let (over, ended) = (Arc::clone(&is_over), Arc::clone(&is_over));
        let refused = Arc::new(OnceLock::new());
        let (why, subject) = (Arc::clone(&refused), self.subject.clone());
        let take = move |call: Call| {
            let is_last = print(format, &call, &left);
            if is_last {
                over.notify_one();
            }
            std::future::ready(Ok::<Value, Failure>(Value::Null))
        };
        let name = format!("signalbox-cli-{}-{}", std::process::id(), context.now.as_micros());
        // The server removes it by itself where this process is killed.
        let ephemeral = Map::from_iter([("ephemeral".to_owned(), Value::Bool(true))]);
        let agent = Agent::new(context.client.clone(), name)
            .metadata(ephemeral)
            .connect(Credentials::ClientKey)
            .subscribe(subscription, take)
            .observer(move |happening| {
                if let Some(reason) = is_over_for(&happening, &subject) {
                    let _it_is_the_first = why.set(reason);
                    ended.notify_one();
                }
                tell(happening);
            });
        let mut running = agent.start().await?;
        let id = running.agent_id().to_owned();
        tokio::select! {
            () = is_over.notified() => {}
            () = running.ended() => {}
            outcome = crate::signals::interrupted() => outcome?,
        }
        let refused = refused.get().cloned();
        running.stop(GRACE).await;
        let removed = context.client.deregister_agent(&id).await;
        if let Some(reason) = refused {
            bail!("{} is not subscribed to: {reason}", self.subject);
        }
        match removed {
            // Somebody has removed it already.
            Err(error) if error.status() == Some(404) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// Why nothing of the subject comes any more, where that is what happened. What is refused for a while is asked for again.
fn is_over_for(happening: &Happening, subject: &str) -> Option<String> {
    match happening {
        Happening::Refused { data, subscription, is_final: true }
            if subscription.as_deref() == Some(subject) =>
        {
            Some(in_line(data.get("message").unwrap_or(data)))
        }
        Happening::Ended { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// Prints a message unless enough were printed; `true` with the last.
fn print(format: Format, call: &Call, left: &AtomicUsize) -> bool {
    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    let Ok(before) = before else { return false };
    let message = json!({"subject": call.name, "sequence": call.sequence, "from": call.from, "payload": call.payload,
                         "message_id": call.id});
    if format.is_table() {
        let sequence = call.sequence.map(|sequence| format!("#{sequence} ")).unwrap_or_default();
        printer::line(&format!(
            "{} {sequence}{}",
            in_line(&message["subject"]),
            in_line(&message["payload"])
        ));
    } else if let Ok(raw) = serde_json::value::to_raw_value(&message) {
        let format = if format == Format::Json { Format::Jsonl } else { format };
        let _ = output::whole(format, &raw);
    }
    before == 1
}

/// Tells whoever is watching how the connection is.
fn tell(happening: Happening) {
    match happening {
        Happening::Connected { .. } => printer::notice("subscribed; Ctrl-C ends it"),
        Happening::NoServer { .. } | Happening::Disconnected { .. } => {
            printer::notice(&happening.to_string())
        }
        Happening::Gap { data } => printer::notice(&format!("messages are missing: {}", in_line(&data))),
        Happening::Refused { data, is_final: false, .. } => {
            let reason = in_line(data.get("message").unwrap_or(&data));
            printer::notice(&format!("not subscribed yet: {reason}; it is asked for again"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_final_and_of_the_subject_ends_it() {
        let refused = |subscription: Option<&str>, is_final| Happening::Refused {
            data: json!({"code": "too-many-requests", "message": "too many"}),
            subscription: subscription.map(str::to_owned),
            is_final,
        };
        assert_eq!(is_over_for(&refused(Some("a.*"), true), "a.*").as_deref(), Some("too many"));
        for other in [refused(Some("a.*"), false), refused(Some("b"), true), refused(None, true)] {
            assert_eq!(is_over_for(&other, "a.*"), None, "{other:?}");
        }
        let ended = Happening::Ended { reason: "removed".to_owned() };
        assert_eq!(is_over_for(&ended, "a.*").as_deref(), Some("removed"));
    }
}
