//! What the server refused, and what becomes of it: what passes is sent again later, what is refused for good is told to
//! whoever can know of it.

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_wire::problem_kind::ProblemType;

use super::backoff::after_fault;
use super::dial::Dial;
use super::link::{Settling, problem};
use super::state::{Connection, subscribed_subject};
use crate::agent::happening::Happening;
use crate::error::{Error, Problem};

/// What to do about a refusal.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// To be sent now.
    pub(super) send: Option<String>,
    /// What has this id is to be sent again after this.
    pub(super) again: Option<(Duration, String)>,
    /// The command or task that counts as answered.
    pub(super) answered: Option<String>,
}

impl<D: Dial> Connection<D> {
    /// Something of ours was refused: whoever asked is told, and what came of work is sent again where the refusal passes.
    pub(super) fn refused(&mut self, data: Value) -> Refused {
        let id = data.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let error = problem(&data);
        if let Some(asked) = self.take_asked(&id) {
            drop(asked.answer.send(Err(error)));
            return Refused::default();
        }
        let passes = passes_after(&error);
        let place = self.unsettled.iter().position(|settling| settling.id == id);
        let subscription = subscribed_subject(&id).map(str::to_owned);
        let (refused, is_final) = match (passes, place, &subscription) {
            (Some(wait), Some(_), _) | (Some(wait), None, Some(_)) => {
                (Refused { again: Some((wait, id)), ..Refused::default() }, false)
            }
            (None, Some(at), _) => (self.refused_for_good(at, &error.to_string()), true),
            (None, None, Some(subject)) => {
                let is_again = self.subscriptions.refused(subject);
                let send = is_again.then(|| self.subscribe_again(subject)).flatten();
                let is_final = send.is_none();
                (Refused { send, ..Refused::default() }, is_final)
            }
            (_, None, None) => (Refused::default(), true),
        };
        self.observer.tell(Happening::Refused { data, subscription, is_final });
        refused
    }

    /// A result that is refused is settled by a failure that says so, once.
    fn refused_for_good(&mut self, at: usize, reason: &str) -> Refused {
        let Some(settling) = self.unsettled.remove(at) else { return Refused::default() };
        if !settling.is_success {
            self.unanswered.remove(&settling.answers);
            return Refused { answered: Some(settling.answers), ..Refused::default() };
        }
        let failed = Settling::refused(&settling.answers, reason);
        let send = Some(failed.text.clone());
        self.unsettled.push_back(failed);
        Refused { send, ..Refused::default() }
    }

    /// The server closed because of a message that is too large for it: the largest of those that would be sent again is given
    /// up. Where something larger was sent that is not sent again, it was that.
    pub(super) fn too_large(&mut self, sent_once_bytes: usize) {
        let sizes = self.unsettled.iter().map(|settling| settling.text.len()).enumerate();
        let settling = sizes.max_by_key(|(_, size)| *size);
        let sizes = self.asked.iter().map(|asked| asked.text.len()).enumerate();
        let asked = sizes.max_by_key(|(_, size)| *size);
        let size = |found: Option<(usize, usize)>| found.map_or(0, |(_, size)| size);
        let bytes = size(settling).max(size(asked));
        if bytes <= sent_once_bytes {
            return;
        }
        let reason = format!("the server takes no message of {bytes} bytes");
        let id = match (settling, asked) {
            (Some((at, _)), _) if size(settling) == bytes => {
                let id = self.unsettled.get(at).map(|settling| settling.id.clone());
                // The next connection begins with what takes its place.
                drop(self.refused_for_good(at, &reason));
                id
            }
            (_, Some((at, _))) => self.asked.remove(at).map(|asked| {
                drop(asked.answer.send(Err(Error::unusable("what was sent", &reason))));
                asked.id
            }),
            _ => None,
        };
        let data = json!({ "code": "too-large", "message": reason, "id": id });
        self.observer.tell(Happening::Refused { data, subscription: None, is_final: true });
    }
}

/// After how long what was refused may be taken; `None` where it will not be.
fn passes_after(error: &Error) -> Option<Duration> {
    let Error::Problem(problem) = error else { return None };
    (error.is_transient() || problem.status >= 500).then(|| after_fault(problem.retry_after))
}

/// The error that a close code tells.
pub(super) fn of_close(code: u16, reason: &str) -> Error {
    let status = match code {
        4001 => 409,
        4401 => 401,
        4403 => 403,
        4404 => 404,
        _ => 503,
    };
    let title = "The connection was refused".to_owned();
    let kind = ProblemType::default();
    Error::Problem(Box::new(Problem { status, title, kind, detail: reason.to_owned(), ..Problem::default() }))
}
