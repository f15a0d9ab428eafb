//! What is said of a field that there is not.

/// Fields that are named where one is not found, at most.
const NAMED_MAX: usize = 8;
/// Letters of such a name, at most.
const NAME_MAX: usize = 64;
/// Said where the value has no fields at all.
pub(super) const NO_FIELD: &str = "leads nowhere: the value has no such field";

/// What is said of a field that there is not: the names of those that there are, the first of them.
pub(super) fn no_field<'a>(of: &str, names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let cut = |name: &str| match name.char_indices().nth(NAME_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    let names: Vec<String> = names.take(NAMED_MAX).map(cut).collect();
    match (names.as_slice(), more) {
        ([], _) => format!("leads nowhere: {of} has no such field"),
        (names, 0) => format!("leads nowhere: {of} has no such field; it has {}", names.join(", ")),
        (names, more) => {
            format!("leads nowhere: {of} has no such field; it has {} and {more} more", names.join(", "))
        }
    }
}
