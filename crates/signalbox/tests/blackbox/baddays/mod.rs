//! Days on which something else fails: agents, the disk, the database, the process, clocks.

mod agents;
mod clocks;
mod disk;
mod drains;
mod flows;
mod kills;
mod outage;
mod shares;
