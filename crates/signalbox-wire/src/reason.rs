//! Why something could not be reached, in words for people: the first cause alone, without the numbers of the operating
//! system.

use std::error::Error;

/// What the operating system's errors end with, before their number.
const NUMBER: &str = " (os error ";

/// The first cause of an error: those above it only say what was tried.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let first = causes.last().map(ToString::to_string).unwrap_or_default();
    match first.split_once(NUMBER) {
        Some((words, _)) => words.to_owned(),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Tried(io::Error);

    impl fmt::Display for Tried {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("client error (Connect)")
        }
    }

    impl Error for Tried {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_first_cause_is_told_without_its_number() {
        assert_eq!(of(&Tried(io::Error::from_raw_os_error(111))), "Connection refused");
        assert_eq!(of(&io::Error::other("the name is not known")), "the name is not known");
    }
}
