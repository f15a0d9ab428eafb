//! A list that is shared between its versions: a copy with a change costs a chunk and a word for each other chunk, not
//! the whole list.

use std::sync::Arc;

/// Elements in one chunk: as many as a word has bits.
pub const CHUNK: usize = 64;

/// A list in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks<T> {
    /// All but the last are full.
    chunks: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Clone> Chunks<T> {
    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let Some((last, full)) = self.chunks.split_last() else { return 0 };
        full.len() * CHUNK + last.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The element at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// The element at this place, to be changed: its chunk is no longer shared.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(place / CHUNK)?).get_mut(place % CHUNK)
    }

    /// Adds an element at the end.
    pub fn push(&mut self, element: T) {
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => Arc::make_mut(last).push(element),
            None => self.chunks.push(Arc::new(vec![element])),
        }
    }

    /// The elements in their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        let mut chunks = Vec::new();
        loop {
            let chunk: Vec<T> = elements.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Self { chunks };
            }
            chunks.push(Arc::new(chunk));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_list_and_its_copies_stay_as_they_were(
            first in prop::collection::vec(0_u32..9, 0..200),
            changes in prop::collection::vec((0_usize..220, 10_u32..99), 0..20),
        ) {
            let mut list = first.clone();
            let mut chunks: Chunks<u32> = first.iter().copied().collect();
            let copy = chunks.clone();
            for (place, value) in changes {
                match (list.get_mut(place), chunks.get_mut(place)) {
                    (Some(one), Some(other)) => (*one, *other) = (value, value),
                    (one, other) => {
                        prop_assert!(one.is_none() && other.is_none());
                        list.push(value);
                        chunks.push(value);
                    }
                }
            }
            prop_assert_eq!(chunks.len(), list.len());
            prop_assert_eq!(chunks.is_empty(), list.is_empty());
            prop_assert_eq!(chunks.iter().copied().collect::<Vec<_>>(), list);
            prop_assert_eq!(copy.iter().copied().collect::<Vec<_>>(), first);
        }
    }
}
