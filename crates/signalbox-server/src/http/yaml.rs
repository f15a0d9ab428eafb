//! YAML as it is read here, from bodies and from files.

use serde_json::Value;

/// Reads YAML 1.2, in which `no`, `y` and `on` are words.
///
/// # Errors
/// What is wrong with it, without the part of it that the parser would quote: that may be all of it.
pub fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // What the parser says to whoever calls it is nothing to who wrote the text.
        error.without_snippet().to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "")
    })
}
