//! What a migration says, as a number: a database whose migration says something else was made by another program.

use signalbox_wire::keys;

/// That of a migration; comments and white space do not count.
pub(crate) fn of(sql: &str) -> String {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
    keys::hash_hex(&words.join(" "))
}

/// Why a database with another migration of this number is not opened.
pub(crate) fn refusal(number: i64) -> String {
    format!(
        "migration {number} of the database is not the one that this program has: an unreleased build made it, and what it \
         made may lack columns; start that build, or begin with an empty database"
    )
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn only_what_is_said_counts() {
        let one = of("CREATE TABLE a (b TEXT); -- what a is\n");
        assert_eq!(one, of("-- A table.\nCREATE TABLE a\n    (b TEXT);"));
        assert_ne!(one, of("CREATE TABLE a (b TEXT, c TEXT);"));
    }
}
