//! What the demo, and each agent of it, is told on the command line.

use std::path::PathBuf;

use super::roles::Role;

/// What the demo is to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder whose text and Markdown files are audited
    #[arg(default_value = ".")]
    pub(super) folder: PathBuf,
    /// Print plain lines in ASCII, also on a terminal
    #[arg(long)]
    pub(super) plain: bool,
    /// Keep the report, the logs and the server's data, which are removed otherwise
    #[arg(long)]
    pub(super) keep: bool,
    /// Read at full speed, not at a pace that can be watched
    #[arg(long)]
    pub(super) fast: bool,
}

/// What one of the demo's agents is to do; its key comes in the variable `OPSCORE_API_KEY`.
#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// The name to register under
    #[arg(long)]
    pub(super) name: String,
    /// What to do
    #[arg(long, value_enum)]
    pub(super) role: Role,
    /// The server to register with
    #[arg(long)]
    pub(super) server: String,
    /// The folder under audit
    #[arg(long)]
    pub(super) folder: PathBuf,
    /// Where the report goes
    #[arg(long)]
    pub(super) out: PathBuf,
    /// Read at full speed
    #[arg(long)]
    pub(super) fast: bool,
}
