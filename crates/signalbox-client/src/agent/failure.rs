//! Why a handler failed, in the words that Ops-Core and other agents see.

use std::fmt;

use serde_json::Value;

/// How a handler fails: what is told to Ops-Core, or answered to whoever asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failure {
    /// One word for the kind of failure; what `retryOn` of a workflow sees.
    pub code: Option<String>,
    /// What went wrong.
    pub message: String,
    /// Anything else about it.
    pub details: Option<Value>,
}

impl Failure {
    /// A failure with nothing but words.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), details: None }
    }

    /// The same failure of a kind.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same failure with something about it.
    #[must_use]
    pub fn details(mut self, details: impl Into<Value>) -> Self {
        self.details = Some(details.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            // The text of an exception begins with its name already.
            Some(code) if self.message.split(':').next() == Some(code) => f.write_str(&self.message),
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Failure {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::new(crate::error::causes(error.as_ref()))
    }
}

impl From<crate::error::Error> for Failure {
    fn from(error: crate::error::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
