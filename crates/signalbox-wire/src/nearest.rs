//! The nearest of the known names to one that is not known, for errors that say what was perhaps meant.

/// Letters by which a slip differs at most, however long the name.
const DIFFERENCE_MAX: usize = 3;

/// The one of `known` that `name` was perhaps meant to be.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let measured = known.into_iter().map(|other| (strsim::damerau_levenshtein(name, other), other));
    // Nearer than a third of its letters, it is a slip; else it is another name.
    let difference_max = (name.chars().count() / 3).min(DIFFERENCE_MAX);
    let (_, nearest) = measured.min().filter(|(difference, _)| *difference <= difference_max)?;
    Some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_little_is_a_slip() {
        let known = ["agent", "kind", "since", "limit", "cursor"];
        assert_eq!(nearest("agnt", known), Some("agent"));
        assert_eq!(nearest("cusror", known), Some("cursor"));
        assert_eq!(nearest("limits", known), Some("limit"));
        for other in ["", "x", "name", "agentName", "a-long-name-of-another-kind"] {
            assert_eq!(nearest(other, known), None, "{other}");
        }
    }
}
