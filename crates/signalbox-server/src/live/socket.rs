//! An agent's WebSocket: one task that writes what waits, reads what comes, and looks at the time.
//!
//! What it holds while nothing happens is small: a buffer to read a frame into, one timer, and no future but this one.
//! What has come is taken in before anything is written, and what waits is written together. A message that takes a while to be handled holds up those after it on the
//! same connection, and nothing else: what waits for the agent is still written meanwhile.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_sink::Sink;
use http::header;
use hyper::upgrade::OnUpgrade;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use yawc::close::CloseCode;
use yawc::{Frame as WireFrame, OpCode, Role, WebSocket, WebSocketError};

use super::admission::Admitted;
use super::opened::Opened;
use super::session::{Answering, Handled, Session};
use super::shared::Shared;
use super::wire::Wire;
use crate::config::LiveSettings;
use crate::http::edge::{AfterHttp, after_http};
use crate::http::problem::Refusal;
use crate::quota::Permit;
use crate::telemetry::live::ConnectionKind;
use crate::transport::burst::Burst;
use crate::transport::connection::Resume;
use crate::transport::outbox::{CloseReason, Frame, Next, OutboxReader};

/// How long the upgrade may take once it is answered.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// How long the agent's side may take to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that are taken in and dropped after the end, so that an agent which still sends can read why it ended.
const DROPPED_BYTES_MAX: u64 = 16 << 20;
/// Bytes that the library's buffer for reading keeps while nothing happens.
const READ_BYTES: usize = 512;
/// Bytes that its buffer for writing keeps: it is for answers to pings and goodbyes.
const WRITE_BYTES: usize = 64;
/// Bytes that the library writes at once, where it compresses.
const COMPRESSED_BYTES: usize = 16 << 10;
/// Steps after which others get their chance.
const STEPS_MAX: usize = 16;
/// Messages that are taken in in one step.
const READS_MAX: usize = 64;
/// Frames that are written in one step.
const WRITES_MAX: usize = 1_024;
/// What is agreed on where messages are compressed.
const COMPRESSION: &str = "permessage-deflate";

type Line = Wire<AfterHttp>;
type Ws = WebSocket<Line>;

/// How sockets are set up by these settings.
pub(super) fn options(settings: &LiveSettings) -> yawc::Options {
    // The library refuses a message of as many bytes as its limit.
    let bytes_max = settings.agent_message_bytes_max + 1;
    let options = yawc::Options::default()
        .with_limits(bytes_max, bytes_max)
        .with_read_buffer_capacity(READ_BYTES)
        .with_write_buffer_capacity(WRITE_BYTES)
        .with_backpressure_boundary(COMPRESSED_BYTES)
        .with_utf8();
    if settings.websocket_compression {
        // Nothing is remembered between messages: a window would be kept for each connection.
        options.with_balanced_compression().server_no_context_takeover().client_no_context_takeover()
    } else {
        options.without_compression()
    }
}

/// Answers a request to open a WebSocket.
pub(super) fn accept(
    request: &mut Request,
    settings: &LiveSettings,
    room: OwnedSemaphorePermit,
) -> Result<(Response, Upgrading), Refusal> {
    let required = || {
        let detail = "This is the address of a WebSocket: connect with a WebSocket client (HTTP/1.1, \
                      'Upgrade: websocket', 'Sec-WebSocket-Version: 13'), or poll /api/v1/agents/{agent_id}/inbox.";
        Refusal::from(Problem::new(ProblemKind::UpgradeRequired, detail))
    };
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Err(required());
    }
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(required)?;
    // The library answers; the socket itself is taken here, so that it can still be read from after its end.
    let mut asked = http::Request::new(());
    asked.headers_mut().clone_from(request.headers());
    let answer = WebSocket::upgrade_with_options(&mut asked, options(settings));
    let (answer, _) = answer.map_err(|_| required())?;
    let extensions = answer.headers().get(header::SEC_WEBSOCKET_EXTENSIONS);
    let extensions = extensions.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((answer.map(Body::new), Upgrading { on_upgrade, extensions, room }))
}

/// A connection that is being made.
pub(super) struct Upgrading {
    pub(super) on_upgrade: OnUpgrade,
    /// What was agreed on, as the answer says.
    pub(super) extensions: Option<String>,
    pub(super) room: OwnedSemaphorePermit,
}

/// An agent that may connect, and how.
pub(super) struct Connecting {
    pub(super) admitted: Admitted,
    pub(super) permit: Permit,
    pub(super) resume: Option<Resume>,
}

/// Serves an agent's WebSocket, or ends it at once for a reason. Once the agent is connected, or is not, `ready` says that
/// the request can be answered: who sees the WebSocket open can be reached over it.
pub(super) fn serve(
    tended_by: (Shared, TaskTracker),
    upgrading: Upgrading,
    connecting: Result<Connecting, CloseReason>,
    ready: oneshot::Sender<()>,
) -> impl Future<Output = ()> + Send {
    // What is needed to begin and to end is not kept beside what lasts.
    let beginning = Box::pin(begin(tended_by, upgrading, connecting, ready));
    async move {
        let Some(mut serving) = beginning.await else { return };
        let Serving { socket, wire, is_compressed, opened, .. } = &mut *serving;
        let beside = (!*is_compressed).then_some(&*wire);
        let reason = match opened {
            Ok((opened, reader)) => converse(socket, beside, reader, opened).await,
            Err(reason) => *reason,
        };
        Box::pin(finish(serving, reason)).await;
    }
}

/// A WebSocket that is open.
struct Serving {
    socket: Ws,
    wire: Line,
    is_compressed: bool,
    /// The agent's connection, or why there is none.
    opened: Result<(Opened, OutboxReader), CloseReason>,
    room: OwnedSemaphorePermit,
    shared: Shared,
    tracker: TaskTracker,
}

/// Opens a WebSocket, where that comes about.
async fn begin(
    (shared, tracker): (Shared, TaskTracker),
    upgrading: Upgrading,
    connecting: Result<Connecting, CloseReason>,
    ready: oneshot::Sender<()>,
) -> Option<Box<Serving>> {
    let opened = match connecting {
        Ok(Connecting { admitted, permit, resume }) => {
            let kind = ConnectionKind::WebSocket;
            Opened::connect(&shared, &admitted, kind, permit, resume.as_ref()).await
        }
        Err(reason) => Err(reason),
    };
    // Where nobody waits for the answer any more, there is no upgrade either.
    let _ = ready.send(());
    let Upgrading { on_upgrade, extensions, room } = upgrading;
    let upgraded = timeout(UPGRADE_WITHIN, on_upgrade).await.ok().and_then(Result::ok);
    let Some((io, read)) = upgraded.and_then(after_http) else {
        if let Ok((opened, reader)) = opened {
            opened.end(reader, CloseReason::Gone).await;
        }
        return None;
    };
    let wire = Wire::new(io, &read);
    let is_compressed = extensions.as_deref().is_some_and(|extensions| extensions.contains(COMPRESSION));
    let (extensions, options) = (extensions.as_deref(), options(&shared.settings));
    match WebSocket::from_stream_with_extensions(wire.clone(), Role::Server, extensions, options) {
        Ok(socket) => Some(Box::new(Serving { socket, wire, is_compressed, opened, room, shared, tracker })),
        Err(error) => {
            tracing::warn!(%error, "a WebSocket could not be set up");
            if let Ok((opened, reader)) = opened {
                opened.end(reader, CloseReason::Gone).await;
            }
            None
        }
    }
}

/// Ends a WebSocket for a reason.
async fn finish(serving: Box<Serving>, reason: CloseReason) {
    let Serving { mut socket, mut wire, opened, room, shared, tracker, .. } = *serving;
    match opened {
        // That may take long to be written down; neither the socket nor its room waits for it.
        Ok((opened, reader)) => drop(tracker.spawn(opened.end(reader, reason))),
        Err(reason) => shared.figures.closed(reason.name()),
    }
    goodbye(&mut socket, reason).await;
    drop(socket);
    linger(&mut wire).await;
    drop(room);
}

/// Says why it ends, and waits for the other side to have read it.
async fn goodbye(socket: &mut Ws, reason: CloseReason) {
    let told = async {
        // The library answers what ends by itself, and tells of some faults but not of all.
        if !matches!(reason, CloseReason::Gone) && !is_told(socket).await {
            let close = WireFrame::close(CloseCode::from(reason.code()), reason.text());
            poll_fn(|cx| Pin::new(&mut *socket).poll_ready(cx)).await?;
            Pin::new(&mut *socket).start_send(close)?;
            poll_fn(|cx| Pin::new(&mut *socket).poll_flush(cx)).await?;
        }
        loop {
            // Ends with an error once the connection is closed, when what there was to say is said.
            socket.next_frame().await?;
        }
    };
    let _: Result<Result<(), WebSocketError>, _> = timeout(CLOSE_WITHIN, told).await;
}

/// Whether the library has said already that the connection ends.
async fn is_told(socket: &mut Ws) -> bool {
    let ended = |polled| matches!(polled, Poll::Ready(Err(WebSocketError::ConnectionClosed)));
    poll_fn(|cx| Poll::Ready(ended(socket.poll_next_frame(cx)))).await
}

/// Drops what still comes. A socket that is closed with something unread is reset, and the other side may never see
/// why.
async fn linger(io: &mut Line) {
    let dropped = async {
        let _ = io.shutdown().await;
        let mut buffer = [0_u8; 512];
        let mut left = DROPPED_BYTES_MAX;
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            let Some(less) = left.checked_sub(read as u64) else { return };
            left = less;
        }
    };
    let _ = timeout(CLOSE_WITHIN, Box::pin(dropped)).await;
}

/// Goes on until the connection ends, and says why it did.
async fn converse(
    socket: &mut Ws,
    beside: Option<&Line>,
    reader: &mut OutboxReader,
    opened: &Opened,
) -> CloseReason {
    let now = Instant::now();
    let interval = opened.session.shared().settings.heartbeat_interval;
    let mut conversation = Conversation {
        socket,
        beside,
        reader,
        session: &opened.session,
        answering: None,
        interval,
        heard_at: now,
        is_pinged: false,
        to_flush: false,
        to_ping: None,
        owed: 0,
    };
    let mut alarm = pin!(sleep_until(now + interval));
    poll_fn(|cx| conversation.poll(alarm.as_mut(), cx)).await
}

/// An open socket and its agent.
struct Conversation<'s> {
    socket: &'s mut Ws,
    /// Where frames are written beside the library, which is for those that are compressed.
    beside: Option<&'s Line>,
    reader: &'s mut OutboxReader,
    session: &'s Session,
    /// The answer to what was read last, while it is being made.
    answering: Option<Answering>,
    interval: Duration,
    /// When the agent said something last.
    heard_at: Instant,
    /// Whether it was asked for a sign of life since.
    is_pinged: bool,
    /// Whether something was written that is not flushed.
    to_flush: bool,
    /// The last durable frame that was written and not asked for.
    to_ping: Option<u64>,
    /// Pings that the library may not have answered yet.
    owed: usize,
}

impl Conversation<'_> {
    fn poll(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..STEPS_MAX {
            let mut moved = match self.poll_read(cx) {
                Ok(read) => read,
                Err(reason) => return Poll::Ready(reason),
            };
            match self.poll_write(cx) {
                Ok(wrote) => moved |= wrote,
                Err(reason) => return Poll::Ready(reason),
            }
            if alarm.as_mut().poll(cx).is_ready() {
                match self.look_at_the_time() {
                    Ok(next) => alarm.as_mut().reset(next),
                    Err(reason) => return Poll::Ready(reason),
                }
                moved = true;
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Goes on with the answer that is being made; whether it is there.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(answering) = &mut self.answering else { return false };
        let Poll::Ready(answer) = answering.as_mut().poll(cx) else { return false };
        self.answering = None;
        self.answer(answer);
        true
    }

    fn answer(&self, answer: Option<Frame>) {
        if let Some(frame) = answer {
            // Where there is no room any more, the connection ends. What waits is written after what is read.
            let _ = self.session.outbox().push_own(frame);
        }
    }

    /// Writes what waits; whether there was something. Fails with why the connection is to end.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let mut wrote = 0;
        let mut is_full = false;
        while wrote < WRITES_MAX {
            if self.poll_ready(cx)?.is_pending() {
                is_full = true;
                break;
            }
            match self.reader.poll_next(cx) {
                Poll::Ready(Next::Frame(text, sequence)) => {
                    self.write(text)?;
                    self.to_ping = sequence.or(self.to_ping);
                    wrote += 1;
                }
                Poll::Ready(Next::Burst(burst)) => {
                    self.write_burst(&burst)?;
                    wrote += burst.frames();
                }
                Poll::Ready(Next::End(reason)) => return Err(reason),
                Poll::Pending => {
                    // What was durable in this batch: once it is answered, the agent's side has it.
                    if let Some(sequence) = self.to_ping.take() {
                        self.ping(&sequence.to_string())?;
                    }
                    break;
                }
            }
        }
        if is_full && let Poll::Ready(reason) = self.reader.poll_end(cx) {
            return Err(reason);
        }
        if self.to_flush && !is_full {
            self.to_flush = self.poll_flush(cx)?.is_pending();
        }
        if wrote > 0 {
            self.session.shared().figures.sent(wrote as u64);
        }
        Ok(wrote > 0)
    }

    /// Whether one more may be written.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, CloseReason> {
        let Some(beside) = self.beside else {
            return ended(Pin::new(&mut *self.socket).poll_ready(cx).map_err(|error| reason_of(&error)));
        };
        let mut line = beside.line();
        if line.has_room() {
            return Ok(Poll::Ready(()));
        }
        ended(line.poll_send(cx).map_err(|_| CloseReason::Gone))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, CloseReason> {
        match self.beside {
            None => ended(Pin::new(&mut *self.socket).poll_flush(cx).map_err(|error| reason_of(&error))),
            Some(beside) => ended(beside.line().poll_send(cx).map_err(|_| CloseReason::Gone)),
        }
    }

    fn write(&mut self, text: Bytes) -> Result<(), CloseReason> {
        let Some(beside) = self.beside else { return self.send(WireFrame::text(text)) };
        self.to_flush = true;
        beside.line().put_text(&text);
        Ok(())
    }

    fn write_burst(&mut self, burst: &Burst) -> Result<(), CloseReason> {
        let Some(beside) = self.beside else {
            return burst.texts().try_for_each(|text| self.send(WireFrame::text(text)));
        };
        self.to_flush = true;
        beside.line().put_burst(burst);
        Ok(())
    }

    fn ping(&mut self, payload: &str) -> Result<(), CloseReason> {
        let Some(beside) = self.beside else { return self.send(WireFrame::ping(payload.to_owned())) };
        self.to_flush = true;
        beside.line().put_ping(payload.as_bytes());
        Ok(())
    }

    /// Has the library write a frame.
    fn send(&mut self, frame: WireFrame) -> Result<(), CloseReason> {
        self.to_flush = true;
        Pin::new(&mut *self.socket).start_send(frame).map_err(|error| reason_of(&error))
    }

    /// Takes in what came, unless the agent is to read first; whether there was something. What was published is given out
    /// when this returns.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        // The library answers pings when nothing more comes, or when it is asked whether it is ready: an agent that sends
        // them and does not read the answers is not read from.
        if self.owed > 0 {
            match Pin::new(&mut *self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => self.owed = 0,
                Poll::Ready(Err(error)) => return Err(reason_of(&error)),
                Poll::Pending if self.owed >= READS_MAX => return Ok(false),
                Poll::Pending => {}
            }
        }
        let mut read = 0;
        let mut ended = None;
        while read < READS_MAX {
            if self.answering.is_some() {
                if !self.poll_answer(cx) {
                    break;
                }
                read += 1;
            }
            if !self.session.has_room_for_answers() {
                break;
            }
            match self.socket.poll_next_frame(cx) {
                Poll::Ready(taken) => {
                    let taken = taken.map_err(|error| reason_of(&error));
                    if let Err(reason) = taken.and_then(|frame| self.take_in(&frame)) {
                        ended = Some(reason);
                        break;
                    }
                    read += 1;
                }
                Poll::Pending => break,
            }
        }
        self.session.end_burst();
        match ended {
            Some(reason) => Err(reason),
            None => Ok(read > 0),
        }
    }

    fn take_in(&mut self, frame: &WireFrame) -> Result<(), CloseReason> {
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => {
                self.heard_at = Instant::now();
                self.is_pinged = false;
                match self.session.handle_in_burst(frame.payload()) {
                    Handled::Now(answer) => self.answer(answer),
                    Handled::Later(answering) => self.answering = Some(answering),
                }
            }
            OpCode::Pong => {
                let sequence = std::str::from_utf8(frame.payload()).ok().and_then(|text| text.parse().ok());
                if let Some(sequence) = sequence {
                    self.session.outbox().had_up_to(sequence);
                }
            }
            OpCode::Close => return Err(CloseReason::Gone),
            OpCode::Ping => self.owed += 1,
            OpCode::Continuation => {}
        }
        Ok(())
    }

    /// Asks an agent that has missed a heartbeat for a sign of life, and gives up one that has missed three; when to look
    /// again. The sign is for what stands between: a pong is the library's, only a message is the agent's.
    fn look_at_the_time(&mut self) -> Result<Instant, CloseReason> {
        let (now, ask_at) = (Instant::now(), self.heard_at + self.interval * 3 / 2);
        let over_at = self.heard_at + self.interval * 3;
        if now >= over_at {
            return Err(CloseReason::Silent);
        }
        if now < ask_at {
            return Ok(ask_at);
        }
        if !self.is_pinged {
            self.is_pinged = true;
            self.ping("")?;
        }
        Ok(over_at)
    }
}

/// What was done, or is to be waited for, or why the connection is to end.
fn ended(polled: Poll<Result<(), CloseReason>>) -> Result<Poll<()>, CloseReason> {
    match polled {
        Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
        Poll::Ready(Err(reason)) => Err(reason),
        Poll::Pending => Ok(Poll::Pending),
    }
}

/// Why a connection ended that the library gave up.
fn reason_of(error: &WebSocketError) -> CloseReason {
    match error {
        WebSocketError::FrameTooLarge => CloseReason::TooBig,
        WebSocketError::InvalidUTF8 => CloseReason::NotUtf8,
        // So the library tells of a compressed message that it cannot unpack.
        WebSocketError::IoError(error) if error.kind() == io::ErrorKind::InvalidInput => {
            CloseReason::Protocol
        }
        error if error.is_protocol_error() => CloseReason::Protocol,
        _ => CloseReason::Gone,
    }
}
