//! What came in and is not begun: [`Inbox`] drops repeats by their message id and refuses what it has no
//! room for. The invariant: remembered ids, answers and waiting
//! messages are bounded, and an id is remembered only together with a place in the queue.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::at_work::AtWork;
use super::call::{Call, Kind};
use super::context::{Context, Progress};
use super::happening::{Happening, Observer};
use super::logs::LogSink;

/// Messages that may wait for the handler; the next one is answered 503, and so comes again later.
pub(super) const QUEUE_MAX: usize = 64;
/// Ids remembered: a message's retries span minutes, so this holds at several a second.
const REMEMBERED_MAX: usize = 4_096;
/// Answers remembered, for deliveries that come again because the answer was lost.
const ANSWERS_MAX: usize = 256;
/// The longest report that is given as an answer, in bytes; a longer one is reported, and so not remembered.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What came in: work for a handler, and how its outcome may be told.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    pub(super) call: Call,
    /// Whether the answer to its delivery may be the report of it.
    pub(super) accepts_report: bool,
    /// What a reply to a request names.
    pub(super) reply_to: Option<String>,
    /// By what a repeat is known, where that is not the call's id.
    pub(super) repeat_key: Option<String>,
    /// Set where it says that this task or command is no longer wanted.
    pub(super) cancels: Option<String>,
}

/// What became of a message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receipt {
    Taken,
    /// With what was answered before, where that was a report.
    Repeated(Option<Bytes>),
    Full,
}

/// Work in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) call: Call,
    pub(super) reply_to: Option<String>,
    /// How far its handler says that it is.
    pub(super) progress: watch::Receiver<Option<Progress>>,
    /// Where the report of it goes, as long as its delivery waits for the answer.
    pub(super) answer: Option<oneshot::Sender<Bytes>>,
    /// Dropped once it is told what came of it.
    pub(super) _in_hand: Held,
}

/// What came in and is not begun.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Sender<Queued>,
    known: Mutex<SeenMessage>,
    observer: Observer,
    running: AtWork,
    logs: LogSink,
    in_hand: InHand,
}

/// How much was taken and is not told of yet.
#[derive(Debug, Clone)]
pub(super) struct InHand(Arc<watch::Sender<usize>>);

/// One of those.
#[derive(Debug)]
pub(super) struct Held(InHand);

#[derive(Debug, Default)]
struct SeenMessage {
    /// Of what is published there may be so much that anything else would be forgotten.
    publications: Ring,
    others: Ring,
    /// Tasks whose answer was given and is not kept any more.
    forgotten: Ring,
    answers: HashMap<String, Bytes>,
    oldest_answers_first: VecDeque<String>,
}

/// The newest ids.
#[derive(Debug, Default)]
struct Ring {
    ids: HashSet<String>,
    oldest_first: VecDeque<String>,
}

/// The type of the message by which a workflow gives a task.
const TASK: &str = "workflow_task";
/// The type of the message by which a workflow's task is taken back.
const CANCEL: &str = "workflow_cancel";

impl InHand {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    fn hold(&self) -> Held {
        self.0.send_modify(|held| *held += 1);
        Held(self.clone())
    }

    pub(super) fn is_none(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Tells of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.send_modify(|held| *held = held.saturating_sub(1));
    }
}

impl Inbox {
    pub(super) fn new(
        queue: mpsc::Sender<Queued>,
        observer: Observer,
        running: AtWork,
        logs: LogSink,
    ) -> Self {
        Self { queue, known: Mutex::default(), observer, running, logs, in_hand: InHand::new() }
    }

    /// How much was taken and is not told of yet.
    pub(super) fn in_hand(&self) -> InHand {
        self.in_hand.clone()
    }

    /// Takes what came in, unless it was taken before or there is no room.
    ///
    /// That a task is no longer wanted has no place in the queue: it would wait behind the very task.
    pub(super) fn put(&self, incoming: Arrival, answer: Option<oneshot::Sender<Bytes>>) -> Receipt {
        if let Some(id) = &incoming.cancels {
            self.running.stop(id);
            return Receipt::Taken;
        }
        let call = &incoming.call;
        let taken = Happening::Taken { kind: call.kind, name: call.name.clone(), attempt: call.attempt };
        let id = call.id.clone();
        let receipt = self.admit(incoming, answer);
        match (&receipt, id) {
            (Receipt::Taken, _) => self.observer.tell(taken),
            (Receipt::Repeated(_), Some(message_id)) => {
                self.observer.tell(Happening::Repeated { message_id })
            }
            _ => {}
        }
        receipt
    }

    /// Takes what came in, or gives it back where there is no room.
    pub(super) fn try_put(&self, incoming: Arrival) -> Result<Receipt, Box<Arrival>> {
        if incoming.cancels.is_none() && self.queue.capacity() == 0 && !self.is_known(&incoming) {
            return Err(Box::new(incoming));
        }
        Ok(self.put(incoming, None))
    }

    fn is_known(&self, incoming: &Arrival) -> bool {
        let key = incoming.repeat_key.as_ref().or(incoming.call.id.as_ref());
        key.is_some_and(|key| self.is_repeat(&self.known.lock(), &incoming.call, key))
    }

    /// Whether it was taken before: its id is remembered, or it is still being worked at.
    fn is_repeat(&self, known: &SeenMessage, call: &Call, key: &str) -> bool {
        known.ring(call.kind).ids.contains(key) || work_id(call).is_some_and(|id| self.running.has(id, key))
    }

    /// Tasks and commands are not this process's any more: what waits and what is being done ends.
    pub(super) fn cancel_all(&self) {
        self.running.stop_all();
    }

    /// Waits until there is room for one more.
    pub(super) async fn room(&self) {
        drop(self.queue.reserve().await);
    }

    /// Remembers what is answered to a delivery: where the answer is lost, the same delivery gets it again.
    pub(super) fn answered(&self, message_id: String, answer: Bytes) {
        let mut known = self.known.lock();
        if known.oldest_answers_first.len() >= ANSWERS_MAX
            && let Some(oldest) = known.oldest_answers_first.pop_front()
        {
            known.answers.remove(&oldest);
            known.forgotten.remember(oldest);
        }
        known.oldest_answers_first.push_back(message_id.clone());
        known.answers.insert(message_id, answer);
    }

    fn admit(&self, incoming: Arrival, answer: Option<oneshot::Sender<Bytes>>) -> Receipt {
        let Arrival { mut call, reply_to, repeat_key, accepts_report, .. } = incoming;
        let key = repeat_key.or_else(|| call.id.clone());
        let mut known = self.known.lock();
        if let Some(id) = key.as_ref().filter(|key| self.is_repeat(&known, &call, key)) {
            let forgotten =
                || call.task_id.as_deref().filter(|_| accepts_report && known.forgotten.ids.contains(id));
            return Receipt::Repeated(
                known.answers.get(id).cloned().or_else(|| forgotten().map(answer_forgotten)),
            );
        }
        let Ok(place) = self.queue.try_reserve() else { return Receipt::Full };
        let about = (call.task_id.clone(), call.session_id.clone());
        let (context, progress) = Context::new(about, self.logs.clone());
        call.context = context.clone();
        if let Some(id) = work_id(&call) {
            self.running.begin(id.to_owned(), context, key.clone());
        }
        if let Some(key) = key {
            known.ring_mut(call.kind).remember(key);
        }
        place.send(Queued { call, reply_to, progress, answer, _in_hand: self.in_hand.hold() });
        Receipt::Taken
    }
}

/// The report of a task that ended, and of which is not known any more how: nobody else would report it.
fn answer_forgotten(task_id: &str) -> Bytes {
    let error = "the task ended, but its answer was lost and is not kept any more; run it again";
    let details = json!({ "opscore_task_id": task_id, "error": error, "code": "answer-lost" });
    Bytes::from(json!({ "state": "error", "details": details }).to_string())
}

/// The id under which a task or a command is called off.
pub(super) fn work_id(call: &Call) -> Option<&str> {
    match call.kind {
        Kind::Task => call.task_id.as_deref(),
        Kind::Command => call.id.as_deref(),
        Kind::Message | Kind::Publication | Kind::Request => None,
    }
}

impl SeenMessage {
    fn ring(&self, kind: Kind) -> &Ring {
        if kind == Kind::Publication { &self.publications } else { &self.others }
    }

    fn ring_mut(&mut self, kind: Kind) -> &mut Ring {
        if kind == Kind::Publication { &mut self.publications } else { &mut self.others }
    }
}

impl Ring {
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

impl Arrival {
    /// Reads a message as it is POSTed, and as a `message` brings it; its headers are filled in by whoever has them.
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
            #[serde(default)]
            deadline: Option<Value>,
            #[serde(flatten)]
            more: Map<String, Value>,
        }
        let body: Body = serde_json::from_slice(body)?;
        let message_type = body.message_type.unwrap_or_default();
        let kind = if message_type == TASK { Kind::Task } else { Kind::Message };
        let cancels = body.opscore_task_id.clone().filter(|_| message_type == CANCEL);
        let name = match body.task_name {
            Some(name) if kind == Kind::Task => name,
            _ => message_type,
        };
        let call = Call {
            kind,
            name,
            payload: parameters(body.payload),
            id: None,
            task_id: body.opscore_task_id,
            session_id: body.opscore_session_id,
            attempt: 1,
            deadline: body.deadline.and_then(|deadline| serde_json::from_value(deadline).ok()),
            traceparent: None,
            from: body.sender_id,
            sequence: None,
            more: body.more,
            context: Context::default(),
        };
        Ok(Self { call, cancels, ..Self::default() })
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
    use super::*;

    fn message(id: &str) -> Arrival {
        let call = Call { id: Some(id.to_owned()), ..Call::default() };
        Arrival { call, ..Arrival::default() }
    }

    fn inbox(room: usize) -> (Inbox, mpsc::Receiver<Queued>) {
        let (sender, receiver) = mpsc::channel(room);
        (
            Inbox::new(sender, Observer::new(drop), AtWork::default(), super::super::logs::channel().0),
            receiver,
        )
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
    fn a_task_at_work_is_known_however_much_came_since() {
        let (inbox, mut receiver) = inbox(1);
        let of = |kind: Kind, id: &str| {
            let call =
                Call { kind, id: Some(id.to_owned()), task_id: Some("t".to_owned()), ..Call::default() };
            Arrival { call, ..Arrival::default() }
        };
        let mut put = |kind: Kind, id: &str| {
            let receipt = inbox.put(of(kind, id), None);
            receiver.try_recv().ok();
            receipt
        };
        assert_eq!(put(Kind::Message, "first"), Receipt::Taken);
        for number in 0..=REMEMBERED_MAX {
            assert_eq!(put(Kind::Publication, &number.to_string()), Receipt::Taken);
        }
        assert_eq!(
            put(Kind::Message, "first"),
            Receipt::Repeated(None),
            "publications have a ring of their own"
        );
        assert_eq!(put(Kind::Task, "task"), Receipt::Taken);
        for number in 0..=REMEMBERED_MAX {
            assert_eq!(put(Kind::Message, &number.to_string()), Receipt::Taken);
        }
        assert_eq!(put(Kind::Message, "first"), Receipt::Taken);
        assert_eq!(put(Kind::Task, "task"), Receipt::Repeated(None), "it is still being done");
    }

    #[test]
    fn a_repeat_whose_answer_is_forgotten_is_reported_all_the_same() {
        let (inbox, mut receiver) = inbox(1);
        let task = || {
            let call = Call {
                kind: Kind::Task,
                id: Some("m".to_owned()),
                task_id: Some("t-1".to_owned()),
                ..Call::default()
            };
            Arrival { call, accepts_report: true, ..Arrival::default() }
        };
        assert_eq!(inbox.put(task(), None), Receipt::Taken);
        receiver.try_recv().unwrap();
        inbox.answered("m".to_owned(), Bytes::from_static(b"{}"));
        for number in 0..ANSWERS_MAX {
            inbox.answered(number.to_string(), Bytes::from_static(b"{}"));
        }
        let Receipt::Repeated(Some(report)) = inbox.put(task(), None) else { panic!("no report") };
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(
            (&report["state"], &report["details"]["opscore_task_id"]),
            (&json!("error"), &json!("t-1"))
        );
        let unread = Arrival { accepts_report: false, ..task() };
        assert_eq!(inbox.put(unread, None), Receipt::Repeated(None));
    }

    #[test]
    fn messages_without_an_id_are_never_repeats() {
        let (inbox, _receiver) = inbox(2);
        assert_eq!(inbox.put(Arrival::default(), None), Receipt::Taken);
        assert_eq!(inbox.put(Arrival::default(), None), Receipt::Taken);
    }

    #[test]
    fn only_the_newest_ids_are_remembered() {
        let mut known = Ring::default();
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
        let call = Arrival::read(of_a_workflow.to_string().as_bytes()).unwrap().call;
        assert_eq!((call.kind, call.name.as_str(), &call.payload), (Kind::Task, "count", &json!({"n": 1})));
        assert_eq!(call.task_id.as_deref(), Some("t"));
        assert_eq!(call.more["sessionContext"]["taskId"], "c");

        let by_hand = json!({"messageType": "workflow_task", "task_name": "count",
            "payload": {"task_name": "count", "parameters": {"n": 2}}});
        assert_eq!(Arrival::read(by_hand.to_string().as_bytes()).unwrap().call.payload, json!({"n": 2}));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(Arrival::read(b"[]").is_err());
        assert!(Arrival::read(b"nonsense").is_err());
    }
}
