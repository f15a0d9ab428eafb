//! `signalbox demo`: a server and four agents, each a process of its own, audit a folder together by the workflow
//! `examples/workflows/audit.yaml`; one of the two readers is killed halfway, and the result is checked against a
//! walk of the demo's own.
//!
//! `analysis`, `links`, `walk`, `report`, `roles` are the agents' work; `plan`, `story`, `timeline`, `verify`
//! are pure; `cast` starts processes, `screen` prints within `columns`, `play` and `audit` put it all together.

mod actors;
mod analysis;
mod arguments;
mod audit;
mod cast;
mod columns;
mod links;
mod plan;
mod play;
mod report;
mod roles;
mod screen;
mod timeline;
mod verify;
mod walk;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signalbox_client::Client;
use signalbox_client::agent::{Agent, Call, Happening};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

pub(crate) use self::arguments::{AgentArgs, Args};
use self::cast::{READY, Ready};
use self::roles::{Desk, PACE};

/// What a process that is ended by Ctrl-C answers, by custom.
const INTERRUPTED: u8 = 130;

/// Plays the demo. The exit code is 0 only when every file was counted exactly once.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("the asynchronous runtime cannot be started")?.block_on(async {
        tokio::select! {
            counted_once = play::play(&args) => {
                Ok(if counted_once? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            // The play is dropped, and with it every process that it started.
            outcome = interruption() => {
                drop(writeln!(std::io::stdout(), "\n  interrupted; its processes are stopped"));
                outcome.map(|()| ExitCode::from(INTERRUPTED))
            }
        }
    })
}

/// Is one of the demo's agents, until the process that started it is gone.
pub(crate) fn agent(args: AgentArgs) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.context("the asynchronous runtime cannot be started")?.block_on(async {
        let key = std::env::var("OPSCORE_API_KEY").context("OPSCORE_API_KEY is not set")?;
        let client = Client::new(&args.server, Some(&key))?;
        let role = args.role;
        let pace = if args.fast { Duration::ZERO } else { PACE };
        let desk = Arc::new(Desk { folder: args.folder, out: args.out, pace });
        let handler = move |call: Call| {
            let desk = Arc::clone(&desk);
            async move { role.perform(&desk, call).await.map_err(|failure| format!("{failure:#}")) }
        };
        let agent = Agent::new(client, args.name)
            .version(env!("CARGO_PKG_VERSION"))
            .capability(role.capability())
            .metadata(roles::metadata())
            .observer(|happening| note(&happening))
            .handler(handler);
        let running = agent.start().await?;
        let ready = Ready {
            agent_id: running.agent_id().to_owned(),
            endpoint: running.endpoint().unwrap_or_default().to_owned(),
        };
        writeln!(std::io::stdout(), "{READY}{}", serde_json::to_string(&ready)?)?;
        parent_gone().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Standard error is the agent's log.
fn note(happening: &Happening) {
    drop(writeln!(std::io::stderr(), "{happening:?}"));
}

/// Standard input is a pipe that the parent holds open. Read by a thread, because a read of it cannot be
/// given up and a runtime would wait for it.
pub(crate) async fn parent_gone() {
    let (sender, gone) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        drop(sender);
    });
    drop(gone.await);
}

async fn interruption() -> anyhow::Result<()> {
    let unheard = "signals cannot be listened for";
    let mut terminate = signal(SignalKind::terminate()).context(unheard)?;
    let mut hangup = signal(SignalKind::hangup()).context(unheard)?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context(unheard),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}
