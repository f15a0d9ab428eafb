//! What happens in an agent, and who is told of it: `tracing`, and the agent's observer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use signalbox_wire::opscore::LogLevel;
use tracing::{Span, debug, error, info, warn};

use super::call::Kind;
use super::failure::Failure;

/// What an agent's spans and events are found by.
pub(super) const TARGET: &str = "signalbox_client::agent";

/// What happens in an agent. As text it is a line for a log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Happening {
    /// Work was taken.
    Taken {
        /// What it is.
        kind: Kind,
        /// The task's name, the message's type, the command or the subject.
        name: String,
        /// Which try of it this is.
        attempt: u32,
    },
    /// Work came again and was dropped.
    Repeated {
        /// The message.
        message_id: String,
    },
    /// The handler is done.
    Done {
        /// What it was.
        kind: Kind,
        /// The task's name, the message's type, the command or the subject.
        name: String,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// A report or an answer did not get through and is given up.
    Unreported {
        /// The state that was to be reported.
        state: String,
        /// Why.
        reason: String,
    },
    /// The agent is there before its server: it tries again until the server is there. Told once.
    NoServer {
        /// The server's address.
        url: String,
        /// Why it could not be reached, or what it said.
        reason: String,
    },
    /// The agent is connected.
    Connected {
        /// The server's id of the connection.
        connection_id: String,
        /// Whether [`Happening::Disconnected`] was told before.
        is_back: bool,
    },
    /// The agent is not connected, or its server cannot be reached; it will try again. Told once for each reason, not for
    /// each try.
    Disconnected {
        /// Why.
        reason: String,
        /// After how long it tries again for the first time.
        retry_in: Duration,
    },
    /// An agent that listens can reach its server again.
    Back,
    /// Something is missing and does not come any more.
    Gap {
        /// What is missing and why, as the server tells it.
        data: Value,
    },
    /// Another agent subscribed to what this one is told the presence of, or ended that.
    Presence {
        /// Who, where and what, as the server tells it.
        data: Value,
    },
    /// The server refused something that the agent sent.
    Refused {
        /// What and why, as the server tells it.
        data: Value,
        /// The subject or pattern, where it was a subscription.
        subscription: Option<String>,
        /// Whether it stays refused: otherwise the agent asks again by itself.
        is_final: bool,
    },
    /// The agent is over and does not try again.
    Ended {
        /// Why.
        reason: String,
    },
}

impl Happening {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        match self {
            Self::Taken { .. } | Self::Repeated { .. } | Self::Presence { .. } => LogLevel::Debug,
            Self::Done { failure: None, .. } => LogLevel::Debug,
            Self::Connected { .. } | Self::Back => LogLevel::Info,
            Self::NoServer { .. } => LogLevel::Warning,
            Self::Done { failure: Some(_), .. } => LogLevel::Warning,
            Self::Disconnected { .. } | Self::Gap { .. } | Self::Refused { .. } => LogLevel::Warning,
            Self::Unreported { .. } | Self::Ended { .. } => LogLevel::Error,
        }
    }

    /// Tells `tracing`; no field holds a payload, a result or a key.
    fn trace(&self) {
        match self {
            Self::Taken { kind, name, attempt } => {
                debug!(target: TARGET, kind = kind.as_str(), name = name.as_str(), attempt, "{self}");
            }
            Self::Done { kind, name, failure: None } => {
                debug!(target: TARGET, kind = kind.as_str(), name = name.as_str(), "{self}");
            }
            Self::Done { kind, name, failure: Some(failure) } => {
                let code = failure.code.as_deref();
                warn!(target: TARGET, kind = kind.as_str(), name = name.as_str(), code, "{self}");
            }
            Self::Repeated { message_id } => {
                debug!(target: TARGET, message_id = message_id.as_str(), "{self}")
            }
            Self::NoServer { url, reason } => {
                warn!(target: TARGET, url = url.as_str(), reason = reason.as_str(), "{self}");
            }
            Self::Back => info!(target: TARGET, "{self}"),
            Self::Connected { connection_id, .. } => {
                info!(target: TARGET, connection_id = connection_id.as_str(), "{self}");
            }
            Self::Disconnected { reason, retry_in } => {
                warn!(target: TARGET, reason = reason.as_str(), retry_in = ?retry_in, "{self}");
            }
            Self::Unreported { state, reason } => {
                error!(target: TARGET, state = state.as_str(), reason = reason.as_str(), "{self}");
            }
            Self::Ended { reason } => error!(target: TARGET, reason = reason.as_str(), "{self}"),
            Self::Presence { .. } => debug!(target: TARGET, "{self}"),
            Self::Gap { .. } | Self::Refused { .. } => warn!(target: TARGET, "{self}"),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { kind, name, attempt } => {
                write!(f, "took the {} '{name}', attempt {attempt}", kind.as_str())
            }
            Self::Repeated { message_id } => write!(f, "dropped a repeat of {message_id}"),
            Self::Done { kind, name, failure: None } => write!(f, "the {} '{name}' is done", kind.as_str()),
            Self::Done { kind, name, failure: Some(failure) } => {
                write!(f, "the {} '{name}' failed: {failure}", kind.as_str())
            }
            Self::Unreported { state, reason } => {
                write!(f, "the report '{state}' did not get through and is given up: {reason}")
            }
            Self::NoServer { url, reason } => write!(f, "no server at {url} yet ({reason}); trying again"),
            Self::Connected { is_back: false, .. } => f.write_str("connected"),
            Self::Connected { is_back: true, .. } | Self::Back => {
                f.write_str("back: the server is there again")
            }
            Self::Disconnected { reason, .. } => write!(f, "lost the server: {reason}; trying again"),
            Self::Gap { data } => write!(f, "messages are missing: {data}"),
            Self::Presence { data } => write!(f, "presence: {data}"),
            Self::Refused { data, .. } => write!(f, "the server refused something: {data}"),
            Self::Ended { reason } => write!(f, "the agent is over: {reason}"),
        }
    }
}

/// Who is told of an agent's happenings.
#[derive(Clone)]
pub(super) struct Observer {
    tell: Arc<dyn Fn(Happening) + Send + Sync>,
    /// The agent's span: what happens outside of a piece of work belongs to it.
    span: Span,
}

impl Observer {
    pub(super) fn new(observer: impl Fn(Happening) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(observer), span: Span::none() }
    }

    /// From here on, what happens belongs to this span.
    pub(super) fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// The agent's span.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn tell(&self, happening: Happening) {
        // Within the span of a piece of work, which belongs to the agent's, it belongs to that.
        if Span::current().is_none() {
            self.span.in_scope(|| happening.trace());
        } else {
            happening.trace();
        }
        (self.tell)(happening);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
