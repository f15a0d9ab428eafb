//! State reports on either database against a bare JSON handler: the same bytes go to both.

use std::sync::Arc;

use anyhow::ensure;

use crate::agents;
use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::environment::Fact;
use crate::interleave::{Side, interleave, plan};
use crate::load::{self, Ids};
use crate::postgres::Postgres;
use crate::report::{Figure, Goal, Measured};
use crate::requests;
use crate::server::{Signalbox, sqlite_facts};

/// Agents that the reports are spread over.
pub(crate) const FLEET: u64 = 1_000;

/// Where reports are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// What is expected at one number of connections.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) rate: Goal,
    pub(crate) p99: Option<Goal>,
}

/// Each load on a database of its own, so that none begins with the history of another.
pub(crate) async fn measure(context: &Context, backend: Backend, loads: &[Load]) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for load in loads {
        let rounds = compare(context, backend, load, &mut measured).await?;
        measured.conclude(rounds, Some(load.rate), load.p99);
    }
    measured.note("Both sides get the same bytes: key, path, 250-byte body with the time of sending.");
    measured
        .note("Signalbox authenticates, validates, and commits history and newest state before it answers.");
    Ok(measured)
}

async fn compare(
    context: &Context,
    backend: Backend,
    load: &Load,
    measured: &mut Measured,
) -> anyhow::Result<Vec<Vec<Figure>>> {
    let folder = context.temporary("reports")?;
    let postgres = match backend {
        Backend::Sqlite => None,
        Backend::Postgres => Some(Postgres::start(context).await?),
    };
    let url = postgres.as_ref().map(|postgres| postgres.url.as_str());
    let signalbox = Signalbox::start(context, folder.path(), url).await?;
    let bare = Bare::start(Kind::Json, folder.path()).await?;
    let ids = agents::register(context, signalbox.addr, context.fleet(FLEET), agents::NOWHERE).await?;

    let template = Arc::new(requests::report(&ids)?);
    let mut ours = Side::new(
        "Signalbox",
        &signalbox.process,
        plan(context, signalbox.addr, &template, load.connections),
    );
    ours.processes.extend(postgres.as_ref().map(|postgres| &postgres.process));
    let theirs =
        Side::new("bare JSON handler", &bare.process, plan(context, bare.addr, &template, load.connections));
    let mut sides = [ours, theirs];
    let rounds = interleave(context, &format!("{} connections", load.connections), &mut sides).await?;

    was_kept(&signalbox, &ids).await?;
    let facts = postgres.as_ref().map_or_else(|| sqlite_facts(folder.path()), postgres_facts);
    facts.iter().for_each(|fact| measured.fact(&fact.name, fact.value.clone()));
    measured.fact("bare JSON handler, durability", "keeps nothing");
    measured.fact("requests", format!("{} bytes, spread over {} agents", template.len(), ids.len()));
    signalbox.stop().await?;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    Ok(rounds)
}

/// A server that answers 202 and keeps nothing would win: the state must be there to read.
async fn was_kept(signalbox: &Signalbox, ids: &Ids) -> anyhow::Result<()> {
    let path = format!("/v1/opscore/agent/{}/state", ids.text(0));
    let body = load::call(signalbox.addr, "GET", &path, None).await?;
    let state: serde_json::Value = serde_json::from_slice(&body)?;
    ensure!(
        state["state"] == "active",
        "the reports were accepted but are not there: GET {path} says {state}"
    );
    Ok(())
}

pub(super) fn postgres_facts(postgres: &Postgres) -> Vec<Fact> {
    let mut facts = vec![Fact::new(
        "Signalbox, durability",
        "PostgreSQL as the server uses it by default; its own settings are below",
    )];
    facts.extend(postgres.facts.iter().cloned());
    facts
}
