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

#[cfg(test)]
mod tests;

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
