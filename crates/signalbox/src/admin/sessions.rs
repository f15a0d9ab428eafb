//! `signalbox sessions`: look at sessions, and steer them.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;
use signalbox_client::{ApprovalView, Client, ListQuery};

use super::{Asked, json, print_page, print_whole, run};
use crate::printer;

/// What is done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List the newest sessions
    List(Filter),
    /// Show one with its tasks
    Show {
        /// The session
        id: String,
        /// With long values themselves, not references to them
        #[arg(long)]
        whole: bool,
    },
    /// Print the events of one as they happen, from the first on, until it is over
    Follow {
        /// The session
        id: String,
    },
    /// Let no further task of one start
    Pause {
        /// The session
        id: String,
    },
    /// Let a paused one go on
    Resume {
        /// The session
        id: String,
    },
    /// Cancel one
    Cancel {
        /// The session
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a failed one go on from the task that failed
    Retry {
        /// The session
        id: String,
    },
    /// Run one again as a new one; prints its id
    Rerun {
        /// The session
        id: String,
    },
    /// Tell one of something that a task of it waits for
    Signal {
        /// The session
        id: String,
        /// The signal's name
        signal: String,
        /// What it carries, as JSON
        #[arg(value_parser = json, default_value = "null")]
        payload: Value,
    },
    /// Print what a task asks approval for, and agree to just that
    Approve(Approve),
    /// Refuse what a task asks approval for
    Refuse(Refuse),
}

/// Which sessions are listed: those that match everything that is given.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// With one of these statuses, with commas between them
    #[arg(long)]
    status: Option<String>,
    /// With a task of this agent
    #[arg(long)]
    agent: Option<String>,
    /// With this text in their id, workflow, input or error, compared without case
    #[arg(long)]
    text: Option<String>,
}

/// That somebody agrees.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The session
    id: String,
    /// The task that asks
    task: String,
    /// Why
    #[arg(long)]
    comment: Option<String>,
    /// The digest of what was seen before, as `sessions show` prints it: anything else is not agreed to
    #[arg(long)]
    digest: Option<String>,
}

/// That somebody does not agree.
#[derive(Debug, Args)]
pub(crate) struct Refuse {
    /// The session
    id: String,
    /// The task that asks
    task: String,
    /// Why
    #[arg(long)]
    comment: Option<String>,
}

impl Filter {
    fn query(&self) -> ListQuery {
        let given = [
            ("workflow", &self.workflow),
            ("status", &self.status),
            ("agent", &self.agent),
            ("text", &self.text),
        ];
        given.into_iter().fold(ListQuery::new(), |query, (name, value)| match value {
            Some(value) => query.filter(name, value),
            None => query,
        })
    }
}

impl Approve {
    /// Shows what is asked for, and agrees to what was shown.
    async fn give(&self, client: &Client) -> anyhow::Result<()> {
        let session = client.session(&self.id).await?;
        let asked = session.asked(&self.task).with_context(|| {
            format!(
                "task {} of session {} asks for no approval; sessions show says how it stands",
                self.task, self.id
            )
        })?;
        print_whole(asked)?;
        let seen = match &self.digest {
            Some(digest) => ApprovalView { digest: digest.clone(), ..asked.clone() },
            None => asked.clone(),
        };
        Ok(client.approve_task(&self.id, &self.task, &seen, self.comment.as_deref()).await?)
    }
}

/// Prints a session as the server tells of it, also what is not known here.
async fn show(client: &Client, id: &str, whole: bool) -> anyhow::Result<()> {
    let query = if whole { ListQuery::new().filter("whole", "true") } else { ListQuery::new() };
    let session: Value = client.read(&["v1", "opscore", "sessions", id], &query).await?;
    print_whole(&session)
}

/// Does what is asked with sessions.
pub(crate) fn sessions(asked: &Asked<SessionVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        let done = |id: &str, what: &str| printer::notice(&format!("session {id} {what}"));
        match &asked.verb {
            SessionVerb::List(filter) => {
                let next = print_page(&client, &["v1", "opscore", "sessions"], &filter.query()).await?;
                if next.is_some() {
                    printer::notice("there are older sessions; GET /v1/opscore/sessions lists them all");
                }
            }
            SessionVerb::Show { id, whole } => show(&client, id, *whole).await?,
            SessionVerb::Follow { id } => {
                let mut events = client.follow_session(id, 0);
                while let Some(event) = events.next().await? {
                    printer::line(events.text());
                    if event.ends_session() {
                        break;
                    }
                }
            }
            SessionVerb::Pause { id } => {
                client.pause_session(id).await?;
                done(id, "is paused");
            }
            SessionVerb::Resume { id } => {
                client.resume_session(id).await?;
                done(id, "goes on");
            }
            SessionVerb::Cancel { id, reason } => {
                client.cancel_session(id, reason.as_deref()).await?;
                // It is over at once where there is nothing to undo.
                let is_over = client.session(id).await.is_ok_and(|session| session.is_over());
                let undoing = "ends as cancelled, once it has undone what its workflow undoes";
                done(id, if is_over { "is cancelled" } else { undoing });
            }
            SessionVerb::Retry { id } => {
                client.retry_session(id).await?;
                done(id, "goes on");
            }
            SessionVerb::Rerun { id } => printer::line(client.rerun_session(id).await?.session_id.as_str()),
            SessionVerb::Signal { id, signal, payload } => {
                client.signal_session(id, signal, payload).await?;
                done(id, &format!("has got the signal {signal}"));
            }
            SessionVerb::Approve(approve) => {
                approve.give(&client).await?;
                done(&approve.id, &format!("has the approval that {} asked for", approve.task));
            }
            SessionVerb::Refuse(refuse) => {
                client.refuse_task(&refuse.id, &refuse.task, refuse.comment.as_deref()).await?;
                done(&refuse.id, &format!("is refused what {} asked for", refuse.task));
            }
        }
        Ok(())
    })
}
