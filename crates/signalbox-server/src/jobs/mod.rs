//! What happens without being asked for: deliveries, timers, meetings of tasks and agents, comparison with
//! another service, retention, figures of use.
//!
//! Every job is safe to run twice and safe to lose: what must happen is due work in the store, claimed under
//! a lease. The [`Mailbox`] is how commits set jobs in motion at once; the polls here are the safety net.

mod call;
mod command;
mod context;
mod deliver;
mod dispatch;
mod expire;
mod keep;
mod matching;
mod nodes;
mod postpone;
mod presence;
mod prune;
mod runner;
mod send;
mod sync;
mod taken;
mod timers;
mod usage;

pub(crate) use context::{Jobs, Parts};
pub(crate) use nodes::{begin, say_here};
pub(crate) use runner::start;
