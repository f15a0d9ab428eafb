//! What is on its way to one connection: a bounded buffer that its socket, or its long poll, empties.
//!
//! Live frames are pushed and forgotten. A durable one is kept until the agent's side has it, and answered for by a
//! [`Receipt`]: the agent's side has it, or the connection ended before it did. What of it is left when a connection ends
//! ([`Leftover`]) goes to the agent's next connection, under the same sequences.

use std::collections::VecDeque;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use signalbox_wire::id::{CommandId, ConnectionId};
use tokio::sync::oneshot;

use super::burst::Burst;

/// Live frames that are pushed together, at most.
const BURST_FRAMES_MAX: usize = 64;
/// Their bytes, at most; one that is larger goes by itself.
const BURST_BYTES_MAX: usize = 64 << 10;
/// Which part of what may wait is pushed together, at most.
const BURST_PART: usize = 8;

/// Durable frames that the agent's side has of which the ids are remembered: what is sent again meanwhile is not sent twice.
const HAD_KEPT: usize = 256;

/// A frame, written once however many connections get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The envelope as JSON text.
    pub(crate) text: Bytes,
}

impl Frame {
    /// An envelope that is written.
    pub(crate) fn new(text: String) -> Self {
        Self { text: Bytes::from(text) }
    }

    /// An envelope that is written, with its `sequence` put at its end.
    pub(crate) fn with_sequence(envelope: &str, sequence: u64) -> Self {
        let open = envelope.strip_suffix('}').unwrap_or(envelope);
        let mut text = String::with_capacity(open.len() + 33);
        text.push_str(open);
        text.push_str(",\"sequence\":");
        text.push_str(&sequence.to_string());
        text.push('}');
        Self::new(text)
    }
}

/// How much may wait for one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboxBounds {
    /// Frames that were not written yet.
    pub(crate) frames: usize,
    /// Their bytes; and as many of durable frames that the agent's side is not known to have.
    pub(crate) bytes: usize,
    /// Durable frames that the agent's side is not known to have.
    pub(crate) unacknowledged: usize,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    /// A later connection of the same agent took over.
    TakenOver,
    /// The agent registered anew.
    Replaced,
    /// Its token or key is not good.
    Unauthorized,
    /// The SSH key that signed it in was revoked or deleted.
    SshKeyEnded,
    /// The API key by which it came has expired, was deleted, or was given another secret.
    ApiKeyEnded,
    /// Its tenant was removed.
    TenantRemoved,
    /// Its token is another agent's or tenant's.
    Forbidden,
    /// The agent is not registered, or no longer.
    Removed,
    /// It reads too slowly.
    TooSlow,
    /// The server drains.
    Draining,
    /// A message is too big.
    TooBig,
    /// What it sends is no WebSocket, or not one in order.
    Protocol,
    /// It sent text that is not UTF-8.
    NotUtf8,
    /// It sent nothing for too long, or did not read.
    Silent,
    /// The server cannot keep it now.
    Unavailable,
    /// Its end was told, or found, by the agent's side.
    Gone,
}

impl CloseReason {
    /// The close code.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Gone => 1000,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::Silent => 1008,
            Self::TooBig => 1009,
            Self::Draining => 1012,
            Self::Unavailable => 1013,
            Self::TakenOver | Self::Replaced => 4001,
            Self::Unauthorized | Self::SshKeyEnded | Self::ApiKeyEnded | Self::TenantRemoved => 4401,
            Self::Forbidden => 4403,
            Self::Removed => 4404,
            Self::TooSlow => 4429,
        }
    }

    /// The reason in a word, for metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TakenOver => "taken_over",
            Self::Replaced => "replaced",
            Self::Unauthorized => "unauthorized",
            Self::SshKeyEnded => "ssh_key_ended",
            Self::ApiKeyEnded => "api_key_ended",
            Self::TenantRemoved => "tenant_removed",
            Self::Forbidden => "forbidden",
            Self::Removed => "removed",
            Self::TooSlow => "too_slow",
            Self::Draining => "draining",
            Self::TooBig => "too_big",
            Self::Protocol => "protocol",
            Self::NotUtf8 => "not_utf8",
            Self::Silent => "silent",
            Self::Unavailable => "unavailable",
            Self::Gone => "gone",
        }
    }

    /// The reason and what to do, for the agent; at most 123 bytes, as a close frame holds.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TakenOver => "another connection of this agent took over",
            Self::Replaced => "the agent was registered anew; connect again",
            Self::Unauthorized => "the token is not good, or no longer; authenticate again",
            Self::SshKeyEnded => {
                "the SSH key that signed in was revoked or deleted; sign in with another key"
            }
            Self::ApiKeyEnded => {
                "the API key has expired, was deleted, or has a new secret; connect with a key that is good"
            }
            Self::TenantRemoved => "the tenant was removed; do not connect again",
            Self::Forbidden => "the token is another agent's or another tenant's",
            Self::Removed => "the agent is not registered",
            Self::TooSlow => "too much waits for this connection; read faster, then connect again",
            Self::Draining => "the server is stopping; connect again",
            Self::TooBig => "a message is larger than this server takes",
            Self::Protocol => "what was received is not the WebSocket protocol",
            Self::NotUtf8 => "text frames are UTF-8",
            Self::Silent => "nothing came for too long, or nothing was read; send heartbeats",
            Self::Unavailable => "the server cannot keep this connection now; try again later",
            Self::Gone => "goodbye",
        }
    }

    /// Whether what waits is still sent.
    fn lets_waiting_go(self) -> bool {
        self == Self::Draining
    }
}

/// Too much waits for the connection, or it is ending: the frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What became of a durable frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// The agent's side has it.
    Had,
    /// The connection ended before that was known.
    Lost,
    /// The connection had ended before: it was not sent.
    Ended,
    /// Too much waits for the connection: it was not sent.
    Busy,
}

/// Resolves when it is known what became of a durable frame.
#[derive(Debug)]
pub(crate) struct Receipt(Waiting);

#[derive(Debug)]
enum Waiting {
    Known(Received),
    For(oneshot::Receiver<()>),
}

impl Future for Receipt {
    type Output = Received;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        match &mut self.0 {
            Waiting::Known(received) => Poll::Ready(*received),
            // What is dropped unanswered was lost with its connection.
            Waiting::For(receiver) => Pin::new(receiver).poll(cx).map(|answered| match answered {
                Ok(()) => Received::Had,
                Err(_) => Received::Lost,
            }),
        }
    }
}

/// The send buffer of one connection; cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Inner>);

/// The other end of an [`Outbox`]: what the connection writes.
pub(crate) struct OutboxReader(Outbox);

struct Inner {
    connection: ConnectionId,
    bounds: OutboxBounds,
    /// Bytes that wait in all outboxes.
    buffered: Gauge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    waiting_frames: usize,
    waiting_bytes: usize,
    /// The last that a durable frame was given.
    sequence: u64,
    unacknowledged: VecDeque<Durable>,
    unacknowledged_bytes: usize,
    had: Had,
    /// The last durable frame that was written, or carried by an answer.
    written: u64,
    /// Commands that the agent's side has, and that the agent itself did not acknowledge; the last [`HAD_KEPT`].
    unsaid: VecDeque<(u64, Box<str>)>,
    end: Option<CloseReason>,
    /// Nobody reads any more.
    is_over: bool,
    waker: Option<Waker>,
    /// Those who wait until there is room again.
    for_room: Vec<oneshot::Sender<()>>,
    /// Only an end wakes the reader.
    is_for_end_alone: bool,
    /// Live frames that answers to polls carried and that the agent is not known to have, with the sequences of the answers.
    told: VecDeque<(u64, Bytes)>,
    told_bytes: usize,
    /// The sequence of the last answer of which something is not kept any more, until that is said.
    untold: Option<u64>,
}

/// The ids of what the agent's side came to have last, eight bytes each.
#[derive(Default)]
struct Had(VecDeque<u64>);

impl Had {
    fn add(&mut self, id: &str) {
        if self.0.len() >= HAD_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Self::hash(id));
    }

    fn contains(&self, id: &str) -> bool {
        let hash = Self::hash(id);
        self.0.contains(&hash)
    }

    fn hash(id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        hasher.finish()
    }
}

/// What was not written yet.
enum Queued {
    /// A frame, and its sequence where it is durable.
    Frame(Bytes, Option<u64>),
    /// Live frames that came together.
    Burst(Burst),
}

impl Queued {
    fn sequence(&self) -> Option<u64> {
        match self {
            Self::Frame(_, sequence) => *sequence,
            Self::Burst(_) => None,
        }
    }

    /// How many frames and bytes it is.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Frame(text, _) => (1, text.len()),
            Self::Burst(burst) => (burst.frames(), burst.bytes()),
        }
    }
}

/// A durable frame that the agent's side is not known to have.
struct Durable {
    sequence: u64,
    id: Box<str>,
    text: Bytes,
    /// Who waits to know.
    receipts: Vec<oneshot::Sender<()>>,
}

/// What the reader writes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A frame, and its sequence where it is durable.
    Frame(Bytes, Option<u64>),
    /// Live frames that came together.
    Burst(Burst),
    /// The connection is to end.
    End(CloseReason),
}

/// What was not known to be had when a connection ended.
pub(crate) struct Leftover {
    /// Which connection it was.
    pub(crate) connection: ConnectionId,
    sequence: u64,
    written: u64,
    unacknowledged: VecDeque<Durable>,
    had: Had,
    unsaid: VecDeque<(u64, Box<str>)>,
}

impl Leftover {
    /// Whether somebody still waits to know what became of something.
    pub(crate) fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// It goes to a connection behind which another process may be: what was had is not had there. Commands that went out
    /// are lost here, as it is counted how often they are sent.
    pub(crate) fn goes_to_another(&mut self) {
        (self.had, self.unsaid) = (Had::default(), VecDeque::new());
        let written = self.written;
        self.unacknowledged.retain(|durable| durable.sequence > written || !is_command(&durable.id));
    }
}

fn is_command(id: &str) -> bool {
    id.starts_with(CommandId::PREFIX)
}

impl Outbox {
    /// A buffer of this connection within these bounds; `buffered` counts what waits in all of them.
    pub(crate) fn new(
        connection: ConnectionId,
        bounds: OutboxBounds,
        buffered: Gauge,
    ) -> (Self, OutboxReader) {
        let outbox = Self(Arc::new(Inner { connection, bounds, buffered, state: Mutex::default() }));
        (outbox.clone(), OutboxReader(outbox))
    }

    /// Which connection it is.
    pub(crate) fn connection(&self) -> &ConnectionId {
        &self.0.connection
    }

    /// Adds a live frame. Over the bounds the connection ends as too slow, and every later push says so.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Full> {
        self.add(Queued::Frame(frame.text, None)).map(wake)
    }

    /// Adds live frames as [`Outbox::push`] would one after the other.
    pub(crate) fn push_burst(&self, burst: Burst) -> Result<(), Full> {
        self.add(Queued::Burst(burst)).map(wake)
    }

    /// As [`Outbox::push`], for whoever reads what waits right after.
    pub(crate) fn push_own(&self, frame: Frame) -> Result<(), Full> {
        self.add(Queued::Frame(frame.text, None)).map(drop)
    }

    /// As [`Outbox::push_burst`], for whoever reads what waits right after.
    pub(crate) fn push_own_burst(&self, burst: Burst) -> Result<(), Full> {
        self.add(Queued::Burst(burst)).map(drop)
    }

    /// How many frames and bytes may be pushed together: a small part of what may wait.
    pub(crate) fn burst_max(&self) -> (usize, usize) {
        let bounds = &self.0.bounds;
        (
            (bounds.frames / BURST_PART).clamp(1, BURST_FRAMES_MAX),
            (bounds.bytes / BURST_PART).min(BURST_BYTES_MAX),
        )
    }

    fn add(&self, queued: Queued) -> Result<parking_lot::MutexGuard<'_, State>, Full> {
        let mut state = self.0.state.lock();
        if state.is_over || state.end.is_some() {
            return Err(Full);
        }
        if !self.0.has_room(&state, queued.size()) {
            state.end = Some(CloseReason::TooSlow);
            self.0.forget_waiting(&mut state);
            wake(state);
            return Err(Full);
        }
        self.0.queue(&mut state, queued);
        Ok(state)
    }

    /// Adds a durable frame under its id (a message's, a command's); `make` writes it with its sequence. One that is still
    /// on its way under the same id is not sent again: the receipt is that of the first. One that the agent's side has come to
    /// have while nobody waited to know is not, either.
    pub(crate) fn deliver(&self, id: &str, make: impl FnOnce(u64) -> Frame) -> Receipt {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.state.lock();
        if state.is_over || state.end.is_some() {
            return Receipt(Waiting::Known(Received::Ended));
        }
        if let Some(known) = state.unacknowledged.iter_mut().find(|durable| *durable.id == *id) {
            known.receipts.retain(|receipt| !receipt.is_closed());
            known.receipts.push(sender);
            return Receipt(Waiting::For(receiver));
        }
        if state.had.contains(id) {
            return Receipt(Waiting::Known(Received::Had));
        }
        let frame = make(state.sequence + 1);
        let bytes = frame.text.len();
        let fits = state.unacknowledged.len() < self.0.bounds.unacknowledged
            // One that is larger than all that may wait goes by itself.
            && (state.unacknowledged.is_empty()
                || state.unacknowledged_bytes.saturating_add(bytes) <= self.0.bounds.bytes);
        if !fits || !self.0.has_room(&state, (1, bytes)) {
            return Receipt(Waiting::Known(Received::Busy));
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.unacknowledged_bytes += bytes;
        state.unacknowledged.push_back(Durable {
            sequence,
            id: Box::from(id),
            text: frame.text.clone(),
            receipts: vec![sender],
        });
        self.0.queue(&mut state, Queued::Frame(frame.text, Some(sequence)));
        wake(state);
        Receipt(Waiting::For(receiver))
    }

    /// The agent's side has all durable frames up to this sequence.
    pub(crate) fn had_up_to(&self, sequence: u64) {
        let mut state = self.0.state.lock();
        state.had_up_to(sequence);
        self.0.forget_told(&mut state, |state| state.told.front().is_some_and(|(of, _)| *of <= sequence));
    }

    /// The same, as the agent itself says so: the commands among them.
    pub(crate) fn acknowledge_up_to(&self, sequence: u64) -> Vec<CommandId> {
        self.had_up_to(sequence);
        let mut state = self.0.state.lock();
        let said = state.unsaid.partition_point(|(of, _)| *of <= sequence);
        state.unsaid.drain(..said).filter_map(|(_, id)| CommandId::parse(&id).ok()).collect()
    }

    /// Whether an answer behind this sequence carried live frames that are not kept any more; it is said once.
    pub(crate) fn has_lost_after(&self, sequence: u64) -> bool {
        self.0.state.lock().untold.take().is_some_and(|lost| lost > sequence)
    }

    /// The agent's side has the durable frame of this id; whether one was on its way.
    pub(crate) fn had(&self, id: &str) -> bool {
        let mut state = self.0.state.lock();
        state.unsaid.retain(|(_, unsaid)| **unsaid != *id);
        let at = state.unacknowledged.iter().position(|durable| *durable.id == *id);
        let Some(durable) = at.and_then(|at| state.unacknowledged.remove(at)) else { return false };
        state.unacknowledged_bytes = state.unacknowledged_bytes.saturating_sub(durable.text.len());
        state.had.add(id);
        drop(state);
        durable.had();
        true
    }

    /// Lets sequences begin after this one.
    pub(crate) fn begin_after(&self, sequence: u64) {
        let mut state = self.0.state.lock();
        state.sequence = state.sequence.max(sequence);
    }

    /// Asks the connection to end. The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut state = self.0.state.lock();
        if state.end.is_none() {
            state.end = Some(reason);
            if !reason.lets_waiting_go() {
                self.0.forget_waiting(&mut state);
            }
            wake(state);
        }
    }

    /// Whether not more than half of what may waits.
    pub(crate) fn is_half_empty(&self) -> bool {
        let (state, bounds) = (self.0.state.lock(), &self.0.bounds);
        state.waiting_frames <= bounds.frames / 2 && state.waiting_bytes <= bounds.bytes / 2
    }

    /// Waits until less than a quarter of what may wait does, so that more can be pushed at leisure; `false` when the
    /// connection is ending.
    pub(crate) async fn room(&self) -> bool {
        loop {
            let waits = {
                let mut state = self.0.state.lock();
                if state.is_over || state.end.is_some() {
                    return false;
                }
                if self.0.has_plenty_of_room(&state) {
                    return true;
                }
                let (sender, receiver) = oneshot::channel();
                state.for_room.retain(|waits| !waits.is_closed());
                state.for_room.push(sender);
                receiver
            };
            // Dropped or sent, there is something to look at.
            let _ = waits.await;
        }
    }

    /// The last sequence that a durable frame was given.
    pub(crate) fn sequence(&self) -> u64 {
        self.0.state.lock().sequence
    }

    /// What was not known to be had, for the next connection. Nothing more is taken.
    pub(crate) fn leave(&self) -> Leftover {
        let mut state = self.0.state.lock();
        state.is_over = true;
        self.0.forget_waiting(&mut state);
        state.unacknowledged_bytes = 0;
        Leftover {
            connection: self.0.connection.clone(),
            sequence: state.sequence,
            written: state.written,
            unacknowledged: std::mem::take(&mut state.unacknowledged),
            had: std::mem::take(&mut state.had),
            unsaid: std::mem::take(&mut state.unsaid),
        }
    }

    /// Takes over what an earlier connection left: the agent's side has what came up to `after`, and gets the rest again.
    pub(crate) fn take_over(&self, leftover: Leftover, after: u64) {
        let mut state = self.0.state.lock();
        state.sequence = state.sequence.max(leftover.sequence);
        state.written = leftover.written;
        state.had = leftover.had;
        // An acknowledgement over this connection may be of what came over that one.
        state.unsaid = leftover.unsaid;
        for durable in leftover.unacknowledged {
            if durable.sequence <= after {
                state.has(durable);
                continue;
            }
            self.0.queue(&mut state, Queued::Frame(durable.text.clone(), Some(durable.sequence)));
            state.unacknowledged_bytes += durable.text.len();
            state.unacknowledged.push_back(durable);
        }
        wake(state);
    }
}

impl OutboxReader {
    /// What is to be written next.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let inner = &*self.0.0;
        let mut state = inner.state.lock();
        let end = state.end;
        if let Some(reason) = end.filter(|reason| !reason.lets_waiting_go()) {
            return Poll::Ready(Next::End(reason));
        }
        if let Some(queued) = state.waiting.pop_front() {
            inner.written(&mut state, queued.size());
            state.written = queued.sequence().map_or(state.written, |sequence| sequence.max(state.written));
            return Poll::Ready(match queued {
                Queued::Frame(text, sequence) => Next::Frame(text, sequence),
                Queued::Burst(burst) => Next::Burst(burst),
            });
        }
        if let Some(reason) = end {
            return Poll::Ready(Next::End(reason));
        }
        state.is_for_end_alone = false;
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// All that a poll answers with, and the sequence that says of all of it that it was had: first what came before and is
    /// not known to be, then what is new. Live frames come again as durable ones do, as many as may wait.
    pub(crate) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Vec<Bytes>, u64), CloseReason>> {
        let inner = &*self.0.0;
        let mut state = inner.state.lock();
        if let Some(reason) = state.end {
            return Poll::Ready(Err(reason));
        }
        let first_new = state.waiting.iter().find_map(Queued::sequence).unwrap_or(u64::MAX);
        let again = state.unacknowledged.iter().take_while(|durable| durable.sequence < first_new);
        let mut again: Vec<(u64, Bytes)> =
            again.map(|durable| (durable.sequence, durable.text.clone())).collect();
        again.extend(state.told.iter().cloned());
        again.sort_by_key(|(sequence, _)| *sequence);
        let mut frames: Vec<Bytes> = again.into_iter().map(|(_, text)| text).collect();
        // Live frames have no sequence of their own: the answer gets one.
        state.sequence += u64::from(state.waiting.iter().any(|queued| queued.sequence().is_none()));
        while let Some(queued) = state.waiting.pop_front() {
            inner.written(&mut state, queued.size());
            state.written = queued.sequence().map_or(state.written, |sequence| sequence.max(state.written));
            match queued {
                Queued::Frame(text, Some(_)) => frames.push(text),
                Queued::Frame(text, None) => {
                    inner.tell(&mut state, text.clone());
                    frames.push(text);
                }
                Queued::Burst(burst) => {
                    let from = frames.len();
                    frames.extend(burst.texts());
                    frames.iter().skip(from).for_each(|text| inner.tell(&mut state, text.clone()));
                }
            }
        }
        if frames.is_empty() {
            state.is_for_end_alone = false;
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok((frames, state.sequence)))
    }

    /// Why the connection is to end although what waits cannot be written now. New frames wake nobody.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut state = self.0.0.state.lock();
        match state.end {
            Some(reason) => Poll::Ready(reason),
            None => {
                state.waker = Some(cx.waker().clone());
                state.is_for_end_alone = true;
                Poll::Pending
            }
        }
    }
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        // What nobody has taken over is lost.
        drop(self.0.leave());
    }
}

impl Inner {
    fn has_room(&self, state: &State, (frames, bytes): (usize, usize)) -> bool {
        // One that is larger than all that may wait goes by itself.
        state.waiting.is_empty()
            || state.waiting_frames.saturating_add(frames) <= self.bounds.frames
                && state.waiting_bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    fn queue(&self, state: &mut State, queued: Queued) {
        let (frames, bytes) = queued.size();
        state.waiting_frames += frames;
        state.waiting_bytes += bytes;
        self.buffered.inc_by(as_gauge(bytes));
        state.waiting.push_back(queued);
    }

    fn written(&self, state: &mut State, (frames, bytes): (usize, usize)) {
        state.waiting_frames = state.waiting_frames.saturating_sub(frames);
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        self.buffered.dec_by(as_gauge(bytes));
        if !state.for_room.is_empty() && self.has_plenty_of_room(state) {
            state.for_room.clear();
        }
        // A quiet connection keeps no room.
        if state.waiting.is_empty() {
            state.waiting = VecDeque::new();
        }
    }

    /// Keeps a live frame that the answer of the last sequence carries, in place of the oldest where it is too much.
    fn tell(&self, state: &mut State, text: Bytes) {
        state.told_bytes += text.len();
        self.buffered.inc_by(as_gauge(text.len()));
        let sequence = state.sequence;
        state.told.push_back((sequence, text));
        let (frames, bytes) = (self.bounds.frames.max(1), self.bounds.bytes);
        self.forget_told(state, |state| {
            let is_over = state.told.len() > frames || (state.told.len() > 1 && state.told_bytes > bytes);
            if is_over {
                state.untold = state.told.front().map(|(of, _)| *of).max(state.untold);
            }
            is_over
        });
    }

    /// Forgets frames that answers carried, from the oldest on, for as long as `goes` says of the next that it goes.
    fn forget_told(&self, state: &mut State, goes: impl Fn(&mut State) -> bool) {
        while goes(state)
            && let Some((_, text)) = state.told.pop_front()
        {
            state.told_bytes = state.told_bytes.saturating_sub(text.len());
            self.buffered.dec_by(as_gauge(text.len()));
        }
        if state.told.is_empty() {
            state.told = VecDeque::new();
        }
    }

    fn has_plenty_of_room(&self, state: &State) -> bool {
        state.waiting_frames <= self.bounds.frames / 4 && state.waiting_bytes <= self.bounds.bytes / 4
    }

    fn forget_waiting(&self, state: &mut State) {
        state.for_room.clear();
        state.waiting = VecDeque::new();
        state.waiting_frames = 0;
        self.buffered.dec_by(as_gauge(std::mem::take(&mut state.waiting_bytes)));
        self.forget_told(state, |_| true);
    }
}

impl State {
    fn had_up_to(&mut self, sequence: u64) {
        while let Some(durable) = self.unacknowledged.pop_front_if(|durable| durable.sequence <= sequence) {
            self.unacknowledged_bytes = self.unacknowledged_bytes.saturating_sub(durable.text.len());
            self.has(durable);
        }
        if self.unacknowledged.is_empty() {
            self.unacknowledged = VecDeque::new();
        }
    }

    /// The agent's side has it.
    fn has(&mut self, durable: Durable) {
        self.had.add(&durable.id);
        if is_command(&durable.id) {
            if self.unsaid.len() >= HAD_KEPT {
                self.unsaid.pop_front();
            }
            self.unsaid.push_back((durable.sequence, durable.id.clone()));
        }
        durable.had();
    }
}

impl Durable {
    fn had(self) {
        for receipt in self.receipts {
            let _ = receipt.send(());
        }
    }
}

/// Wakes the reader once the lock is free.
fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
    if state.is_for_end_alone && state.end.is_none() {
        return;
    }
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn as_gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future::poll_fn;

    use proptest::prelude::*;

    use super::super::burst::BurstWriter;
    use super::*;

    const BOUNDS: OutboxBounds = OutboxBounds { frames: 4, bytes: 64, unacknowledged: 3 };

    fn outbox(bounds: OutboxBounds) -> (Outbox, OutboxReader) {
        Outbox::new(ConnectionId::parse("con_1").expect("valid"), bounds, Gauge::default())
    }

    fn frame(text: &str) -> Frame {
        Frame::new(text.to_owned())
    }

    fn next(reader: &mut OutboxReader) -> Option<Next> {
        let mut cx = Context::from_waker(Waker::noop());
        match reader.poll_next(&mut cx) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    fn now(receipt: &mut Receipt) -> Option<Received> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(receipt).poll(&mut cx) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_sequence_is_put_at_the_end_of_an_envelope() {
        let framed = Frame::with_sequence(r#"{"type":"command"}"#, 7);
        assert_eq!(framed.text, r#"{"type":"command","sequence":7}"#);
    }

    fn answer(reader: &mut OutboxReader) -> Option<(Vec<Bytes>, u64)> {
        let mut cx = Context::from_waker(Waker::noop());
        match reader.poll_all(&mut cx) {
            Poll::Ready(answer) => Some(answer.expect("it goes on")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_an_answer_carried_comes_again_until_it_was_had() {
        let (outbox, mut reader) = outbox(BOUNDS);
        outbox.begin_after(100);
        outbox.push(frame("live")).expect("there is room");
        let _receipt = outbox.deliver("d", |sequence| frame(&format!("d{sequence}")));
        let (texts, first) = answer(&mut reader).expect("something");
        assert_eq!((texts, first), (vec!["live".into(), "d101".into()], 102));
        outbox.push(frame("next")).expect("there is room");
        let (texts, second) = answer(&mut reader).expect("something");
        assert_eq!((&texts[..], second), (&["d101".into(), "live".into(), "next".into()][..], 103));
        outbox.had_up_to(first);
        assert_eq!(answer(&mut reader).expect("something"), (vec!["next".into()], second));
        outbox.had_up_to(second);
        assert!(answer(&mut reader).is_none());
        assert!(!outbox.has_lost_after(0));
        // Of more than may wait the oldest goes, and that is said once.
        for number in 0..6 {
            outbox.push(frame(&format!("l{number}"))).expect("there is room");
            answer(&mut reader).expect("something");
        }
        let (texts, last) = answer(&mut reader).expect("something");
        assert_eq!(texts, ["l2", "l3", "l4", "l5"].map(Bytes::from));
        assert_eq!(last, second + 6);
        assert!(outbox.has_lost_after(second) && !outbox.has_lost_after(second));
        outbox.had_up_to(last);
        assert_eq!(outbox.0.buffered.get(), 0);
    }

    #[test]
    fn frames_that_come_together_count_one_by_one() {
        let (outbox, mut reader) = outbox(BOUNDS);
        let burst = |texts: &[&str]| {
            let mut writer = BurstWriter::default();
            texts.iter().for_each(|text| writer.put(text.as_bytes()));
            writer.take().expect("some")
        };
        assert_eq!(outbox.burst_max(), (1, 8));
        outbox.push(frame("a")).expect("there is room");
        outbox.push_burst(burst(&["b", "c", "d"])).expect("there is room");
        assert_eq!(outbox.0.buffered.get(), 4);
        assert!(!outbox.is_half_empty());
        assert_eq!(next(&mut reader), Some(Next::Frame("a".into(), None)));
        assert_eq!(next(&mut reader), Some(Next::Burst(burst(&["b", "c", "d"]))));
        assert_eq!((next(&mut reader), outbox.0.buffered.get(), outbox.is_half_empty()), (None, 0, true));
        // A poll gets each of them, and again until it had them.
        outbox.push_own_burst(burst(&["e", "f"])).expect("there is room");
        let (texts, sequence) = answer(&mut reader).expect("something");
        assert_eq!(texts, ["e", "f"].map(Bytes::from));
        assert_eq!(answer(&mut reader).expect("something").0, texts);
        outbox.had_up_to(sequence);
        assert!(answer(&mut reader).is_none());
        for _ in 0..2 {
            outbox.push_burst(burst(&["g", "h"])).expect("there is room");
        }
        assert_eq!(outbox.push_burst(burst(&["i"])), Err(Full));
        assert_eq!(next(&mut reader), Some(Next::End(CloseReason::TooSlow)));
        assert_eq!(outbox.0.buffered.get(), 0);
    }

    #[test]
    fn reasons_fit_into_a_close_frame() {
        let long = [CloseReason::SshKeyEnded, CloseReason::ApiKeyEnded, CloseReason::TenantRemoved];
        for reason in
            [CloseReason::TooSlow, CloseReason::Silent, CloseReason::Unauthorized].into_iter().chain(long)
        {
            assert!(reason.text().len() <= 123);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_and_what_waited_is_forgotten() {
        let (outbox, mut reader) = outbox(BOUNDS);
        for _ in 0..4 {
            outbox.push(frame("{}")).expect("there is room");
        }
        assert_eq!(outbox.push(frame("{}")), Err(Full));
        assert_eq!(outbox.push(frame("{}")), Err(Full));
        assert_eq!(poll_fn(|cx| reader.poll_next(cx)).await, Next::End(CloseReason::TooSlow));
        assert_eq!((outbox.0.state.lock().waiting_bytes, outbox.0.buffered.get()), (0, 0));
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_told_of_it_and_of_the_end() {
        let (outbox, mut reader) = outbox(BOUNDS);
        assert!(outbox.room().await);
        for _ in 0..3 {
            outbox.push(frame("{}")).expect("there is room");
        }
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.room().await }
        });
        for _ in 0..2 {
            poll_fn(|cx| reader.poll_next(cx)).await;
        }
        assert!(waiting.await.expect("told"));
        outbox.push(frame("{}")).expect("there is room");
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.room().await }
        });
        outbox.close(CloseReason::TakenOver);
        assert!(!waiting.await.expect("told"));
    }

    #[test]
    fn what_waits_still_goes_out_when_the_server_drains() {
        let (outbox, mut reader) = outbox(BOUNDS);
        outbox.push(frame("{}")).expect("there is room");
        outbox.close(CloseReason::Draining);
        assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from("{}"), None)));
        assert_eq!(next(&mut reader), Some(Next::End(CloseReason::Draining)));
    }

    #[test]
    fn one_that_is_on_its_way_is_not_sent_again() {
        let (outbox, mut reader) = outbox(BOUNDS);
        let mut first = outbox.deliver("a", |_| frame("{}"));
        let mut second = outbox.deliver("a", |_| frame("{}"));
        assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from("{}"), Some(1))));
        assert_eq!(next(&mut reader), None);
        assert!(outbox.had("a") && !outbox.had("a"));
        assert_eq!((now(&mut first), now(&mut second)), (Some(Received::Had), Some(Received::Had)));
    }

    #[test]
    fn one_that_was_had_while_nobody_waited_is_not_sent_again() {
        let (old, mut reader) = outbox(BOUNDS);
        for id in ["a", "b", "c"] {
            drop(old.deliver(id, |_| frame("{}")));
            assert!(next(&mut reader).is_some());
        }
        old.had_up_to(1);
        assert!(old.had("b"));
        let again = |outbox: &Outbox, id: &str| now(&mut outbox.deliver(id, |_| frame("{}")));
        assert_eq!(["a", "b"].map(|id| again(&old, id)), [Some(Received::Had); 2]);
        assert_eq!(next(&mut reader), None);
        let (new, mut reader) = outbox(BOUNDS);
        new.take_over(old.leave(), 3);
        assert_eq!(
            ["a", "b", "c"].map(|id| again(&new, id)),
            [Some(Received::Had); 3],
            "nor by the next connection"
        );
        assert_eq!((next(&mut reader), again(&new, "d")), (None, None));
        for number in 0..HAD_KEPT {
            assert!(next(&mut reader).is_some() && again(&new, &number.to_string()).is_none());
            assert!(new.had(&number.to_string()));
        }
        assert_eq!(
            (again(&new, "1"), again(&new, "a")),
            (Some(Received::Had), None),
            "as far as is remembered"
        );
    }

    #[test]
    fn what_is_not_known_to_be_had_is_bounded() {
        let (outbox, mut reader) = outbox(BOUNDS);
        let receipts: Vec<Receipt> =
            ["a", "b", "c"].map(|id| outbox.deliver(id, |_| frame("{}"))).into_iter().collect();
        while next(&mut reader).is_some() {}
        assert_eq!(now(&mut outbox.deliver("d", |_| frame("{}"))), Some(Received::Busy));
        drop(receipts);
        outbox.had_up_to(2);
        assert_eq!(now(&mut outbox.deliver("d", |_| frame("{}"))), None, "there is room again");
    }

    #[test]
    fn what_a_connection_left_goes_to_the_next_without_what_was_had() {
        let wide = OutboxBounds { bytes: 1 << 10, ..BOUNDS };
        let (old, mut reader) = outbox(wide);
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|id| {
            old.deliver(id, |sequence| Frame::with_sequence(&format!("{{\"id\":\"{id}\"}}"), sequence))
        });
        assert!(matches!(next(&mut reader), Some(Next::Frame(_, Some(1)))));
        let (new, mut reader) = outbox(wide);
        new.take_over(old.leave(), 1);
        assert_eq!(now(&mut a), Some(Received::Had));
        assert_eq!(next(&mut reader), Some(Next::Frame(Bytes::from(r#"{"id":"b","sequence":2}"#), Some(2))));
        assert_eq!(now(&mut b), None);
        new.had_up_to(2);
        assert_eq!(now(&mut b), Some(Received::Had));
        assert_eq!(new.sequence(), 3, "the count goes on");
        drop((old, reader));
        assert_eq!(now(&mut c), Some(Received::Lost), "nobody took it over");
    }

    #[test]
    fn what_came_over_an_earlier_connection_is_acknowledged_over_the_one_that_goes_on_with_it() {
        let wide = OutboxBounds { bytes: 1 << 10, ..BOUNDS };
        let (old, _reader) = outbox(wide);
        let _receipts = ["cmd_1", "cmd_2", "cmd_3"].map(|id| old.deliver(id, |_| frame("{}")));
        // A pong.
        old.had_up_to(1);
        let (new, _reader) = outbox(wide);
        new.take_over(old.leave(), 2);
        let said: Vec<String> = new.acknowledge_up_to(2).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["cmd_1", "cmd_2"]);
        let (another, _reader) = outbox(wide);
        let mut leftover = new.leave();
        leftover.goes_to_another();
        another.take_over(leftover, 0);
        assert!(another.acknowledge_up_to(2).is_empty(), "another process says nothing of them");
    }

    #[test]
    fn a_poll_gets_again_what_is_not_acknowledged() {
        let (outbox, mut reader) = outbox(BOUNDS);
        let _a = outbox.deliver("a", |_| frame("a"));
        outbox.push(frame("live")).expect("there is room");
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = |reader: &mut OutboxReader| match reader.poll_all(&mut cx) {
            Poll::Ready(Ok((frames, _))) => frames,
            Poll::Ready(Err(_)) | Poll::Pending => Vec::new(),
        };
        assert_eq!(all(&mut reader), ["a", "live"]);
        let _b = outbox.deliver("b", |_| frame("b"));
        assert_eq!(all(&mut reader), ["a", "live", "b"], "live frames too");
        outbox.had_up_to(1);
        assert_eq!(all(&mut reader), ["live", "b"]);
        outbox.had_up_to(2);
        assert_eq!(all(&mut reader), ["b"], "the answer with the live frame was the second");
        outbox.had_up_to(3);
        assert!(all(&mut reader).is_empty());
    }

    /// Something that happens to an outbox.
    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Deliver,
        Read,
        HadUpTo(u64),
        Had(usize),
        Reconnect(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Push),
            4 => Just(Step::Deliver),
            4 => Just(Step::Read),
            1 => (0..20_u64).prop_map(Step::HadUpTo),
            1 => (0..20_usize).prop_map(Step::Had),
            1 => (0..20_u64).prop_map(Step::Reconnect),
        ]
    }

    proptest! {
        /// Nothing is lost or reordered: within a connection frames come in the order in which they were added; a durable
        /// one comes again on each connection until it is had, and each receipt resolves once that is so, and not before.
        #[test]
        fn nothing_is_lost_and_receipts_resolve(steps in prop::collection::vec(step(), 0..60)) {
            let wide = OutboxBounds { frames: 1_000, bytes: 1 << 20, unacknowledged: 1_000 };
            let (mut sender, mut reader) = outbox(wide);
            let mut receipts: Vec<(u64, Receipt)> = Vec::new();
            let mut had: HashMap<u64, ()> = HashMap::new();
            let mut expected: VecDeque<(String, Option<u64>)> = VecDeque::new();
            let mut live = 0;
            for step in steps {
                match step {
                    Step::Push => {
                        live += 1;
                        let text = format!("live {live}");
                        sender.push(frame(&text)).expect("there is room");
                        expected.push_back((text, None));
                    }
                    Step::Deliver => {
                        let sequence = receipts.len() as u64 + 1;
                        let id = format!("d{sequence}");
                        let receipt = sender.deliver(&id, |given| {
                            assert_eq!(given, sequence);
                            frame(&id)
                        });
                        receipts.push((sequence, receipt));
                        expected.push_back((id.clone(), Some(sequence)));
                    }
                    Step::Read => {
                        let read = next(&mut reader);
                        let wanted = expected.pop_front();
                        let wanted = wanted.map(|(text, sequence)| Next::Frame(Bytes::from(text), sequence));
                        prop_assert_eq!(read, wanted);
                    }
                    Step::HadUpTo(sequence) => {
                        sender.had_up_to(sequence);
                        (1..=sequence.min(receipts.len() as u64)).for_each(|one| { had.insert(one, ()); });
                    }
                    Step::Had(at) => {
                        if at >= 1 && at <= receipts.len() {
                            let was_had = had.insert(at as u64, ()).is_some();
                            prop_assert_eq!(sender.had(&format!("d{at}")), !was_had);
                        }
                    }
                    Step::Reconnect(after) => {
                        let leftover = sender.leave();
                        (1..=after.min(receipts.len() as u64)).for_each(|one| { had.insert(one, ()); });
                        (sender, reader) = outbox(wide);
                        sender.take_over(leftover, after);
                        expected = (1..=receipts.len() as u64)
                            .filter(|one| !had.contains_key(one))
                            .map(|one| (format!("d{one}"), Some(one)))
                            .collect();
                    }
                }
                for (sequence, receipt) in &mut receipts {
                    if let Waiting::For(_) = receipt.0 {
                        let known = now(receipt);
                        prop_assert_eq!(known, had.contains_key(sequence).then_some(Received::Had));
                        if let Some(known) = known {
                            receipt.0 = Waiting::Known(known);
                        }
                    }
                }
            }
            drop((sender, reader));
            for (sequence, mut receipt) in receipts {
                let end = if had.contains_key(&sequence) { Received::Had } else { Received::Lost };
                prop_assert_eq!(now(&mut receipt), Some(end));
            }
        }
    }
}
