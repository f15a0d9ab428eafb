//! The envelope of answers: `status`, `message`, and `data` where there is any. A problem has none of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An answer with data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Success<T> {
    /// Always `success`.
    pub status: SuccessWord,
    /// What was done, in one sentence.
    pub message: String,
    /// The answer itself.
    pub data: T,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuccessList<T> {
    /// Always `success`.
    pub status: SuccessWord,
    /// What was done, in one sentence.
    pub message: String,
    /// The page.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An answer that only says that it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Always `success`.
    pub status: SuccessWord,
    /// What was done, in one sentence.
    pub message: String,
}

/// The word `success`, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuccessWord {
    /// `success`
    #[default]
    Success,
}

impl Done {
    /// It was done.
    pub fn new(message: impl Into<String>) -> Self {
        Self { status: SuccessWord::Success, message: message.into() }
    }
}

impl<T> Success<T> {
    /// An answer with data.
    pub fn new(message: impl Into<String>, data: T) -> Self {
        Self { status: SuccessWord::Success, message: message.into(), data }
    }
}

impl<T> SuccessList<T> {
    /// A page of a list.
    pub fn new(message: impl Into<String>, data: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { status: SuccessWord::Success, message: message.into(), data, next_cursor }
    }
}
