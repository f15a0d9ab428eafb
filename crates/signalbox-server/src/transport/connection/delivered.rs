//! What became of something that was sent to an agent over its connection.

use signalbox_core::delivery::Outcome;

/// Why something was not sent at all, which is no try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The agent holds no connection.
    NotConnected,
    /// The node that holds the connection cannot be handed this over the bus, for this reason. It may send it itself.
    Elsewhere(String),
}

/// What became of something that was sent to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The agent's side has it.
    Had,
    /// The agent holds no connection with any node that can be asked.
    NotConnected,
    /// The connection ended before it was known.
    Lost,
    /// It was not known in time; it may still arrive.
    TimedOut,
    /// Too much waits for the connection.
    Busy,
    /// The node that holds the connection cannot be asked, for this reason.
    Unavailable(String),
}

impl Delivered {
    /// What came of it, as a try.
    ///
    /// # Errors
    /// [`Unsent`] where there was none.
    pub(crate) fn outcome(self) -> Result<Outcome, Unsent> {
        let failed = |reason: &str| Ok(Outcome::failed(reason.to_owned(), true));
        match self {
            Self::Had => Ok(Outcome::Delivered { status: 200 }),
            Self::NotConnected => Err(Unsent::NotConnected),
            Self::Lost => failed("the agent's connection ended before it was known to have this"),
            Self::TimedOut => failed("the agent was not known to have this in time"),
            Self::Busy => failed("too much waits for the agent's connection"),
            Self::Unavailable(reason) => Err(Unsent::Elsewhere(reason)),
        }
    }
}
