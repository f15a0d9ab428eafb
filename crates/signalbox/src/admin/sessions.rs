//! `signalbox sessions`: look at sessions, and steer them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use signalbox_client::{Approval, ListQuery};

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
    /// Agree to what a task asks approval for
    Approve(Decision),
    /// Refuse what a task asks approval for
    Refuse(Decision),
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

/// What somebody says of an approval.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The session
    id: String,
    /// The task that asks
    task: String,
    /// Who says so
    #[arg(long)]
    by: Option<String>,
    /// Why
    #[arg(long)]
    comment: Option<String>,
    /// The digest that was shown with the task: anything else is not agreed to
    #[arg(long)]
    digest: Option<String>,
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

impl Decision {
    fn approval(&self) -> Approval {
        Approval { by: self.by.clone(), comment: self.comment.clone(), digest: self.digest.clone() }
    }
}

/// Does what is asked with sessions.
pub(crate) fn sessions(asked: &Asked<SessionVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        let done = |id: &str, what: &str| printer::notice(&format!("session {id} {what}"));
        match &asked.verb {
            SessionVerb::List(filter) => {
                let page = client.sessions(&filter.query()).await?;
                print_page(&page)?;
                if page.next_cursor.is_some() {
                    printer::notice("there are older sessions; GET /v1/opscore/sessions lists them all");
                }
            }
            SessionVerb::Show { id, whole: false } => print_whole(&client.session(id).await?)?,
            SessionVerb::Show { id, whole: true } => print_whole(&client.whole_session(id).await?)?,
            SessionVerb::Follow { id } => {
                let mut events = client.follow_session(id, 0);
                while let Some(event) = events.next().await? {
                    printer::line(&serde_json::to_string(&event)?);
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
                done(id, "ends as cancelled, once it has undone what its workflow undoes");
            }
            SessionVerb::Retry { id } => {
                client.retry_session(id).await?;
                done(id, "goes on");
            }
            SessionVerb::Rerun { id } => printer::line(&client.rerun_session(id).await?.session_id),
            SessionVerb::Signal { id, signal, payload } => {
                client.signal_session(id, signal, payload).await?;
                done(id, &format!("has got the signal {signal}"));
            }
            SessionVerb::Approve(decision) => {
                client.approve_task(&decision.id, &decision.task, &decision.approval()).await?;
                done(&decision.id, &format!("has the approval that {} asked for", decision.task));
            }
            SessionVerb::Refuse(decision) => {
                client.refuse_task(&decision.id, &decision.task, &decision.approval()).await?;
                done(&decision.id, &format!("is refused what {} asked for", decision.task));
            }
        }
        Ok(())
    })
}
