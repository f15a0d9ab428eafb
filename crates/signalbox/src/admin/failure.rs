//! What is said of a command that failed: the thing, the reason and the cure, each once.

use std::fmt;

use signalbox_client::{Error, Fault, Problem};

use super::words;

/// A command that was given something it cannot work with; ends with the exit code of misuse.
#[derive(Debug)]
pub(crate) struct Misused(pub(crate) String);

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

/// What was named is not there.
#[derive(Debug)]
pub(crate) struct NotThere {
    pub(crate) noun: &'static str,
    pub(crate) id: String,
    pub(crate) lister: &'static str,
}

impl NotThere {
    /// The error to be told in place of the server's.
    pub(crate) fn tell(self, error: anyhow::Error) -> anyhow::Error {
        anyhow::Error::new(Told { words: self.to_string(), _cause: error })
    }
}

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} '{}'; '{}' shows what there is", self.noun, self.id, self.lister)
    }
}

/// An error that is told in words of its own, without its cause.
#[derive(Debug)]
struct Told {
    words: String,
    _cause: anyhow::Error,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Told {}

/// The server's status, where the error is its refusal.
pub(crate) fn status(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Error>().and_then(Error::status)
}

/// The name of the problem, where the error is the server's refusal.
pub(crate) fn kind(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref::<Error>() {
        Some(Error::Problem(problem)) => Some(problem.kind.name()),
        _ => None,
    }
}

/// Whether the server refused because the thing itself is not there, and not another that was named with it: an agent, a
/// revision.
pub(crate) fn is_unknown(error: &anyhow::Error, noun: &str) -> bool {
    let Some(Error::Problem(problem)) = error.downcast_ref::<Error>() else { return false };
    let thing = problem.kind.name().strip_prefix("unknown-").map(|thing| thing.replace('-', " "));
    problem.status == 404 && thing.is_some_and(|thing| noun.to_lowercase().contains(&thing))
}

/// Whether the error says that something is not there.
pub(crate) fn is_not_there(error: &anyhow::Error) -> bool {
    error.is::<Told>()
}

/// An error about something that is not there, told of what it is a part of.
pub(crate) fn renamed(error: anyhow::Error, resource: &super::resource::Resource, id: &str) -> anyhow::Error {
    if is_not_there(&error) {
        NotThere { noun: resource.noun, id: id.to_owned(), lister: resource.lister }.tell(error)
    } else {
        error
    }
}

/// An error in the words of the command line.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut words = Vec::new();
    for cause in error.chain() {
        let text = match cause.downcast_ref::<Error>() {
            Some(Error::Problem(problem)) => refusal(problem),
            _ => cause.to_string(),
        };
        // An outer error often says what its cause says.
        if !words.iter().any(|said: &String| said.contains(&text)) {
            words.push(text);
        }
    }
    words::in_commands(&words.join(": "))
}

/// What does not fit, where the server refused because of that.
pub(crate) fn faults(error: &anyhow::Error) -> &[Fault] {
    match error.downcast_ref::<Error>() {
        Some(Error::Problem(problem)) => &problem.errors,
        _ => &[],
    }
}

/// A refusal of the server: all faults, each on its line where there are several; else the detail.
fn refusal(problem: &Problem) -> String {
    let words = match problem.errors.as_slice() {
        [] if problem.detail.is_empty() => {
            format!("the server answered {} {}", problem.status, problem.title)
        }
        [] => problem.detail.clone(),
        [fault] => words::fault(fault),
        faults => {
            let lines: String = faults.iter().map(|fault| format!("\n  {}", words::fault(fault))).collect();
            format!("the server refused it for {} reasons:{lines}", faults.len())
        }
    };
    match &problem.request_id {
        Some(id) if problem.status >= 500 => format!("{words} (request {id}, as the server's log has it)"),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use signalbox_client::Fault;

    use super::*;

    fn refused(errors: &[(&str, &str)]) -> anyhow::Error {
        let errors = errors.iter().map(|(pointer, message)| Fault::new(*pointer, *message)).collect();
        let detail = "/a is missing; /b is no text".to_owned();
        Error::Problem(Box::new(Problem { status: 422, detail, errors, ..Problem::default() })).into()
    }

    #[test]
    fn each_fault_is_said_once() {
        assert_eq!(in_words(&refused(&[("/a", "is missing")])), "/a is missing");
        let several = in_words(&refused(&[("/a", "is missing"), ("/b", "is no text")]));
        assert_eq!(several, "the server refused it for 2 reasons:\n  /a is missing\n  /b is no text");
        let outer = Err::<(), _>(refused(&[])).context("/a is missing; /b is no text; mend it").unwrap_err();
        assert_eq!(in_words(&outer), "/a is missing; /b is no text; mend it");
    }

    #[test]
    fn what_is_not_there_is_told_with_where_to_look() {
        let error = NotThere { noun: "workflow", id: "nope".into(), lister: "signalbox workflows list" };
        let told = in_words(&error.tell(refused(&[])));
        assert_eq!(told, "there is no workflow 'nope'; 'signalbox workflows list' shows what there is");
    }
}
