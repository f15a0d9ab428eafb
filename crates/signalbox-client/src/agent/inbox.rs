//! What came in and is not begun: [`Inbox`] drops repeats by their message id and refuses what it has no
//! room for; [`TaskCall`] is a message as its handler sees it. The invariant: remembered ids, answers and waiting
//! messages are bounded, and an id is remembered only together with a place in the queue.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::at_work::AtWork;
use super::happening::{Happening, Observer};

/// Messages that may wait for the handler; the next one is answered 503, and so comes again later.
pub(super) const QUEUE_MAX: usize = 64;
/// Ids remembered: a message's retries span minutes, so this holds at several a second.
const REMEMBERED_MAX: usize = 4_096;
/// Answers remembered, for deliveries that come again because the answer was lost.
const ANSWERS_MAX: usize = 256;
/// The longest report that is given as an answer, in bytes; a longer one is reported, and so not remembered.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A message for the handler, most often a workflow's task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskCall {
    /// The task's name; empty for a message that is no task.
    pub task_name: String,
    /// The task's parameters, or the message's payload.
    pub parameters: Value,
    /// What the sender calls the message; `workflow_task` for a task.
    pub message_type: String,
    /// Who sent it; `opscore` for a workflow's task.
    pub sender_id: String,
    /// The session that the task belongs to.
    pub opscore_session_id: Option<String>,
    /// The task's id; what its reports name. `None` for a message that nobody waits for.
    pub opscore_task_id: Option<String>,
    /// The message's id, the same at every try of its delivery.
    pub message_id: Option<String>,
    /// Which try of the delivery this is, from 1.
    pub attempt: u32,
    /// The trace that the message belongs to, as the W3C header has it.
    pub traceparent: Option<String>,
    /// Whether the answer to its delivery may be the report of it.
    pub accepts_report: bool,
    /// The rest of the message, such as `sessionContext`.
    pub more: Map<String, Value>,
}

/// What became of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receipt {
    Taken,
    /// With what was answered before, where that was a report.
    Repeated(Option<Bytes>),
    Full,
}

/// A message in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) call: TaskCall,
    /// Where the report of it goes, as long as its delivery waits for the answer.
    pub(super) answer: Option<oneshot::Sender<Bytes>>,
}

/// What came in and is not begun.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Sender<Queued>,
    known: Mutex<SeenMessage>,
    observer: Observer,
    running: AtWork,
}

#[derive(Debug, Default)]
struct SeenMessage {
    ids: HashSet<String>,
    oldest_first: VecDeque<String>,
    answers: HashMap<String, Bytes>,
    oldest_answers_first: VecDeque<String>,
}

/// The type of the message by which a workflow's task is taken back.
const CANCEL: &str = "workflow_cancel";

impl Inbox {
    pub(super) fn new(queue: mpsc::Sender<Queued>, observer: Observer, running: AtWork) -> Self {
        Self { queue, known: Mutex::default(), observer, running }
    }

    /// Takes a message, unless it was taken before or there is no room.
    ///
    /// That a task is no longer wanted has no place in the queue: it would wait behind the very task.
    pub(super) fn put(&self, call: TaskCall, answer: Option<oneshot::Sender<Bytes>>) -> Receipt {
        if call.message_type == CANCEL {
            call.opscore_task_id.iter().for_each(|task| self.running.stop(task));
            return Receipt::Taken;
        }
        let taken = Happening::Taken { name: call.name().to_owned(), attempt: call.attempt };
        let id = call.message_id.clone();
        let receipt = self.admit(Queued { call, answer });
        match (&receipt, id) {
            (Receipt::Taken, _) => self.observer.tell(taken),
            (Receipt::Repeated(_), Some(message_id)) => {
                self.observer.tell(Happening::Repeated { message_id })
            }
            _ => {}
        }
        receipt
    }

    /// Remembers what is answered to a delivery: where the answer is lost, the same delivery gets it again.
    pub(super) fn answered(&self, message_id: String, answer: Bytes) {
        let mut known = self.known.lock();
        if known.oldest_answers_first.len() >= ANSWERS_MAX
            && let Some(oldest) = known.oldest_answers_first.pop_front()
        {
            known.answers.remove(&oldest);
        }
        known.oldest_answers_first.push_back(message_id.clone());
        known.answers.insert(message_id, answer);
    }

    fn admit(&self, queued: Queued) -> Receipt {
        let mut known = self.known.lock();
        let id = queued.call.message_id.clone();
        if let Some(id) = id.as_ref().filter(|id| known.ids.contains(*id)) {
            return Receipt::Repeated(known.answers.get(id).cloned());
        }
        if self.queue.try_send(queued).is_err() {
            return Receipt::Full;
        }
        if let Some(id) = id {
            known.remember(id);
        }
        Receipt::Taken
    }
}

impl SeenMessage {
    fn remember(&mut self, id: String) {
        if self.oldest_first.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.oldest_first.push_back(id.clone());
        self.ids.insert(id);
    }
}

impl TaskCall {
    /// Reads a message's body; its headers are filled in by whoever has them.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, rename = "messageType")]
            message_type: Option<String>,
            #[serde(default, rename = "senderId")]
            sender_id: Option<String>,
            #[serde(default)]
            task_name: Option<String>,
            #[serde(default)]
            payload: Value,
            #[serde(default)]
            opscore_session_id: Option<String>,
            #[serde(default)]
            opscore_task_id: Option<String>,
            #[serde(flatten)]
            more: Map<String, Value>,
        }
        let body: Body = serde_json::from_slice(body)?;
        Ok(Self {
            task_name: body.task_name.unwrap_or_default(),
            parameters: parameters(body.payload),
            message_type: body.message_type.unwrap_or_default(),
            sender_id: body.sender_id.unwrap_or_default(),
            opscore_session_id: body.opscore_session_id,
            opscore_task_id: body.opscore_task_id,
            message_id: None,
            attempt: 1,
            traceparent: None,
            accepts_report: false,
            more: body.more,
        })
    }

    /// What the task or message is called in a log.
    pub(super) fn name(&self) -> &str {
        if self.task_name.is_empty() { &self.message_type } else { &self.task_name }
    }
}

/// A task that was sent by hand has its name and parameters inside the payload; a workflow's task has its
/// parameters as the payload.
fn parameters(payload: Value) -> Value {
    match payload {
        Value::Object(mut fields)
            if fields.len() == 2 && fields.contains_key("task_name") && fields.contains_key("parameters") =>
        {
            fields.remove("parameters").unwrap_or_default()
        }
        payload => payload,
    }
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::*;

    fn message(id: &str) -> TaskCall {
        TaskCall { message_id: Some(id.to_owned()), ..TaskCall::default() }
    }

    fn inbox(room: usize) -> (Inbox, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(room);
        (Inbox::new(sender, Observer::new(drop), AtWork::default()), receiver)
    }

    #[test]
    fn a_repeat_is_dropped_and_a_full_inbox_refuses() {
        let (inbox, mut receiver) = inbox(2);
        assert_eq!(inbox.put(message("a"), None), Receipt::Taken);
        assert_eq!(inbox.put(message("a"), None), Receipt::Repeated(None));
        inbox.answered("a".to_owned(), Bytes::from_static(b"{}"));
        assert_eq!(inbox.put(message("a"), None), Receipt::Repeated(Some(Bytes::from_static(b"{}"))));
        assert_eq!(inbox.put(message("b"), None), Receipt::Taken);
        assert_eq!(inbox.put(message("c"), None), Receipt::Full);
        receiver.try_recv().unwrap();
        assert_eq!(
            inbox.put(message("c"), None),
            Receipt::Taken,
            "what was refused is not taken for a repeat"
        );
    }

    #[test]
    fn messages_without_an_id_are_never_repeats() {
        let (inbox, _receiver) = inbox(2);
        assert_eq!(inbox.put(TaskCall::default(), None), Receipt::Taken);
        assert_eq!(inbox.put(TaskCall::default(), None), Receipt::Taken);
    }

    #[test]
    fn only_the_newest_ids_are_remembered() {
        let mut known = SeenMessage::default();
        for number in 0..=REMEMBERED_MAX {
            known.remember(number.to_string());
        }
        assert_eq!(known.ids.len(), REMEMBERED_MAX);
        assert!(!known.ids.contains("0") && known.ids.contains("1"));
    }

    #[test]
    fn both_shapes_of_a_task_give_its_parameters() {
        let of_a_workflow = json!({"messageType": "workflow_task", "senderId": "opscore", "payload": {"n": 1},
            "task_name": "count", "opscore_task_id": "t", "opscore_session_id": "s", "sessionContext": {"taskId": "c"}});
        let call = TaskCall::read(of_a_workflow.to_string().as_bytes()).unwrap();
        assert_eq!((call.task_name.as_str(), &call.parameters), ("count", &json!({"n": 1})));
        assert_eq!(call.opscore_task_id.as_deref(), Some("t"));
        assert_eq!(call.more["sessionContext"]["taskId"], "c");

        let by_hand = json!({"messageType": "workflow_task", "task_name": "count",
            "payload": {"task_name": "count", "parameters": {"n": 2}}});
        assert_eq!(TaskCall::read(by_hand.to_string().as_bytes()).unwrap().parameters, json!({"n": 2}));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(TaskCall::read(b"[]").is_err());
        assert!(TaskCall::read(b"nonsense").is_err());
    }
}
