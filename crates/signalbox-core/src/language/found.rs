//! What is found to be wrong with a definition.

/// Places in a definition, and what is wrong there.
pub(super) type Found = Vec<(String, String)>;

/// Faults after which expressions are looked at no further: nobody reads so many.
pub(super) const FOUND_MAX: usize = 1_000;
