//! Goal 4: reading an agent's newest state against a server that answers with a line of text.

use std::sync::Arc;

use super::reports::FLEET;
use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::report::{Goal, Measured};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, requests};

const GOAL: Goal = Goal::AtLeast(0.60);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("reads")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let bare = Bare::start(Kind::Hello, folder.path()).await?;
    let ids = agents::register(context, signalbox.addr, context.fleet(FLEET), agents::NOWHERE).await?;
    agents::report_each(context, signalbox.addr, &ids).await?;

    let (state, hello) = (Arc::new(requests::state(&ids)?), Arc::new(requests::hello()?));
    let mut measured = Measured::default();
    for connections in [64, 256] {
        let mut sides = [
            Side::new("Signalbox", &signalbox.process, plan(context, signalbox.addr, &state, connections)),
            Side::new("bare hello", &bare.process, plan(context, bare.addr, &hello, connections)),
        ];
        let rounds = interleave(context, &format!("{connections} connections"), &mut sides).await?;
        measured.conclude(rounds, Some(GOAL), None);
    }
    measured.facts.extend(sqlite_facts(folder.path()));
    measured.fact(
        "requests",
        format!("{} bytes, spread over {} agents; hello {}", state.len(), ids.len(), hello.len()),
    );
    measured.note("The two requests differ in their path alone; the key is checked by Signalbox only.");
    signalbox.stop().await?;
    Ok(measured)
}
