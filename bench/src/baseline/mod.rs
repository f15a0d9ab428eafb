//! The least that each kind of work can cost here: bare servers and a bare client, each a process of its own.
//!
//! They keep nothing and check nothing, so a ratio against them is what Signalbox adds to the HTTP stack.

mod agents;
mod dispatch;
mod echo;
mod live;
mod process;
mod routes;
mod sink;

use std::io::Read as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;

pub(crate) use dispatch::Sent;
pub(crate) use live::{Held, kind};
pub(crate) use process::{Bare, Live, dispatch};
pub(crate) use sink::Seen;

use crate::printer;

/// What a baseline process does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// GET `/hello` answers a line of text.
    Hello,
    /// POST of a report or a registration is read into a struct and forgotten.
    Json,
    /// POST to any path is counted and answered 200.
    Sink,
    /// Agents that report every task they are given as completed at once.
    Agents,
    /// A client that POSTs 500 bytes to a sink over one pool.
    Dispatch,
    /// A WebSocket server that says back what it is told.
    Echo,
    /// Agents that hold connections.
    Live,
}

/// Arguments of `bench baseline`.
#[derive(Args)]
pub(crate) struct Baseline {
    #[arg(value_enum)]
    kind: Kind,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input does, so that no server outlives the run that started it.
    #[arg(long)]
    until_stdin_closes: bool,
    #[command(flatten)]
    dispatch: dispatch::Options,
    #[command(flatten)]
    agents: agents::Options,
    #[command(flatten)]
    live: live::Options,
}

impl Baseline {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.until_stdin_closes {
            std::thread::spawn(end_with_stdin);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.kind {
                Kind::Dispatch => dispatch::run(&self.dispatch).await,
                Kind::Agents => serve(agents::routes(&self.agents).await?, self.listen).await,
                Kind::Echo => echo::serve(self.listen).await,
                Kind::Live => serve(live::routes(&self.live)?, self.listen).await,
                kind => serve(router(kind), self.listen).await,
            }
        })
    }
}

async fn serve(router: Router, listen: SocketAddr) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
    printer::result(&format!("baseline listening on http://{}", listener.local_addr()?));
    Ok(axum::serve(listener, router).await?)
}

fn router(kind: Kind) -> Router {
    match kind {
        Kind::Hello => routes::hello(),
        Kind::Json => routes::json(),
        Kind::Sink | Kind::Dispatch | Kind::Agents | Kind::Echo | Kind::Live => sink::routes(),
    }
}

fn end_with_stdin() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// A baseline inside the test that asks for it.
#[cfg(test)]
pub(crate) async fn serve_here(kind: Kind) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    match kind {
        Kind::Echo => drop(tokio::spawn(echo::accept(listener))),
        kind => drop(tokio::spawn(async move { axum::serve(listener, router(kind)).await })),
    }
    addr
}
