//! What can go wrong in a store, told apart by what the caller should do.

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Something the decision rests on has changed meanwhile: load again and decide again.
    #[error("the state changed meanwhile")]
    Conflict,
    /// The database cannot answer now: full, read-only, gone, or too slow. Whether a commit was
    /// taken is not known when it was lost on the way.
    #[error("the store cannot answer now: {0}")]
    Unavailable(String),
    /// Too much is waiting to be written already. Nothing was changed.
    #[error("{0} commits wait to be written already")]
    Busy(usize),
    /// The tenant has been removed, or is being removed: nothing is written for it any more.
    #[error("the tenant has been removed")]
    Removed,
    /// What is stored cannot be read: a defect, or a foreign hand.
    #[error("the store holds what it should not: {0}")]
    Corrupt(String),
    /// The store cannot be opened as asked.
    #[error("{0}")]
    Open(String),
}

impl StoreError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable(_) | Self::Busy(_))
    }
}
