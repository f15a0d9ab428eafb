//! Subscribe.
use clap::Args;
use super::context::Context;
/// x
#[derive(Debug, Args)]
pub(crate) struct Subscribe { subject: String }
impl Subscribe { pub(crate) async fn run(&self, _: &Context) -> anyhow::Result<()> { Ok(()) } }
