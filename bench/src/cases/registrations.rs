//! Durable registrations under names of their own against a handler that keeps nothing. No goal is set: the
//! fleet grows through the run, and how the cost grows with it is the growth case's question.

use std::sync::Arc;

use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::report::Measured;
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, requests};

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for connections in [64, 256] {
        let folder = context.temporary("registrations")?;
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        let bare = Bare::start(Kind::Json, folder.path()).await?;
        let template = Arc::new(requests::registration(agents::NOWHERE)?);
        let mut sides = [
            Side::new("Signalbox", &signalbox.process, plan(context, signalbox.addr, &template, connections)),
            Side::new("bare JSON handler", &bare.process, plan(context, bare.addr, &template, connections)),
        ];
        let group = format!("{connections} connections");
        measured.conclude(interleave(context, &group, &mut sides).await?, None, None);
        sqlite_facts(folder.path()).into_iter().for_each(|fact| measured.fact(&fact.name, fact.value));
        let agents = sides[0].plan.first_ticket;
        measured.note(&format!("At {group} the fleet had grown to about {agents} agents by the end."));
        measured.fact("requests", format!("{} bytes, each under a name of its own", template.len()));
        signalbox.stop().await?;
    }
    Ok(measured)
}
