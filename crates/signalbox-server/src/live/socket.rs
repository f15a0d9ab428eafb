//! An agent's WebSocket: one task that writes what waits, reads what comes, and looks at the time.
//!
//! What it holds while nothing happens is small: buffers of half a kibibyte each way, one timer, and no future but this one.
//! What is written together is flushed together. A message that takes a while to be handled holds up those after it on the
//! same connection, and nothing else: what waits for the agent is still written meanwhile.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_sink::Sink;
use http::header;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
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
use crate::config::LiveSettings;
use crate::http::problem::Refusal;
use crate::quota::Permit;
use crate::telemetry::live::ConnectionKind;
use crate::transport::connection::Resume;
use crate::transport::outbox::{CloseReason, Frame, Next, OutboxReader};

/// How long the upgrade may take once it is answered.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// How long the agent's side may take to say goodbye.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes that are taken in and dropped after the end, so that an agent which still sends can read why it ended.
const DROPPED_BYTES_MAX: u64 = 16 << 20;
/// Bytes that a buffer of the socket keeps while nothing happens.
const BUFFER_BYTES: usize = 512;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 16 << 10;
/// Steps after which others get their chance.
const STEPS_MAX: usize = 64;
/// Frames that are written in one step.
const WRITES_MAX: usize = 128;

type Io = TokioIo<Upgraded>;
type Ws<'io> = WebSocket<&'io mut Io>;

/// How sockets are set up by these settings.
pub(super) fn options(settings: &LiveSettings) -> yawc::Options {
    // The library refuses a message of as many bytes as its limit.
    let bytes_max = settings.agent_message_bytes_max + 1;
    let options = yawc::Options::default()
        .with_limits(bytes_max, bytes_max)
        .with_read_buffer_capacity(BUFFER_BYTES)
        .with_write_buffer_capacity(BUFFER_BYTES)
        .with_backpressure_boundary(WRITE_BYTES)
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
pub(super) async fn serve(
    (shared, tracker): (Shared, TaskTracker),
    upgrading: Upgrading,
    connecting: Result<Connecting, CloseReason>,
    ready: oneshot::Sender<()>,
) {
    let opened = match connecting {
        Ok(Connecting { admitted, permit, resume }) => {
            let kind = ConnectionKind::WebSocket;
            Box::pin(Opened::connect(&shared, &admitted, kind, permit, resume.as_ref())).await
        }
        Err(reason) => Err(reason),
    };
    // Where nobody waits for the answer any more, there is no upgrade either.
    let _ = ready.send(());
    let Ok(Ok(upgraded)) = timeout(UPGRADE_WITHIN, upgrading.on_upgrade).await else {
        if let Ok((opened, reader)) = opened {
            Box::pin(opened.end(reader, CloseReason::Gone)).await;
        }
        return;
    };
    let mut io = TokioIo::new(upgraded);
    let options = options(&shared.settings);
    let extensions = upgrading.extensions.as_deref();
    let socket = WebSocket::from_stream_with_extensions(&mut io, Role::Server, extensions, options);
    let mut socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "a WebSocket could not be set up");
            if let Ok((opened, reader)) = opened {
                Box::pin(opened.end(reader, CloseReason::Gone)).await;
            }
            return;
        }
    };
    match opened {
        Ok((opened, mut reader)) => {
            let reason = converse(&mut socket, &mut reader, &opened).await;
            // That may take long to be written down; neither the socket nor its room waits for it.
            tracker.spawn(opened.end(reader, reason));
            goodbye(&mut socket, reason).await;
        }
        Err(reason) => {
            shared.figures.closed(reason.name());
            goodbye(&mut socket, reason).await;
        }
    }
    drop(socket);
    linger(&mut io).await;
    drop(upgrading.room);
}

/// Says why it ends, and waits for the other side to have read it.
async fn goodbye(socket: &mut Ws<'_>, reason: CloseReason) {
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
async fn is_told(socket: &mut Ws<'_>) -> bool {
    let ended = |polled| matches!(polled, Poll::Ready(Err(WebSocketError::ConnectionClosed)));
    poll_fn(|cx| Poll::Ready(ended(socket.poll_next_frame(cx)))).await
}

/// Drops what still comes. A socket that is closed with something unread is reset, and the other side may never see
/// why.
async fn linger(io: &mut Io) {
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
async fn converse(socket: &mut Ws<'_>, reader: &mut OutboxReader, opened: &Opened) -> CloseReason {
    let now = Instant::now();
    let interval = opened.session.shared().settings.heartbeat_interval;
    let mut conversation = Conversation {
        socket,
        reader,
        session: opened.session.clone(),
        answering: None,
        interval,
        heard_at: now,
        is_pinged: false,
        to_flush: false,
        to_ping: None,
    };
    let mut alarm = pin!(sleep_until(now + interval));
    poll_fn(|cx| conversation.poll(alarm.as_mut(), cx)).await
}

/// An open socket and its agent.
struct Conversation<'s, 'io> {
    socket: &'s mut Ws<'io>,
    reader: &'s mut OutboxReader,
    session: Session,
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
}

impl Conversation<'_, '_> {
    fn poll(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..STEPS_MAX {
            let mut moved = self.poll_answer(cx);
            match self.poll_write(cx) {
                Ok(wrote) => moved |= wrote,
                Err(reason) => return Poll::Ready(reason),
            }
            match self.poll_read(cx) {
                Ok(read) => moved |= read,
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
            // Where there is no room any more, the connection ends.
            let _ = self.session.outbox().push(frame);
        }
    }

    /// Writes what waits; whether there was something. Fails with why the connection is to end.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        let mut wrote = 0;
        let mut is_full = false;
        while wrote < WRITES_MAX {
            match Pin::new(&mut *self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(reason_of(&error)),
                Poll::Pending => {
                    is_full = true;
                    break;
                }
            }
            match self.reader.poll_next(cx) {
                Poll::Ready(Next::Frame(text, sequence)) => {
                    self.send(WireFrame::text(text))?;
                    self.to_ping = sequence.or(self.to_ping);
                    wrote += 1;
                }
                Poll::Ready(Next::End(reason)) => return Err(reason),
                Poll::Pending => {
                    // What was durable in this batch: once it is answered, the agent's side has it.
                    if let Some(sequence) = self.to_ping.take() {
                        self.send(WireFrame::ping(sequence.to_string()))?;
                    }
                    break;
                }
            }
        }
        if is_full && let Poll::Ready(reason) = self.reader.poll_end(cx) {
            return Err(reason);
        }
        if self.to_flush && !is_full {
            match Pin::new(&mut *self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.to_flush = false,
                Poll::Ready(Err(error)) => return Err(reason_of(&error)),
                Poll::Pending => {}
            }
        }
        if wrote > 0 {
            self.session.shared().figures.sent(wrote as u64);
        }
        Ok(wrote > 0)
    }

    fn send(&mut self, frame: WireFrame) -> Result<(), CloseReason> {
        self.to_flush = true;
        Pin::new(&mut *self.socket).start_send(frame).map_err(|error| reason_of(&error))
    }

    /// Reads what came, unless the agent is to read first; whether there was something.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        if self.answering.is_some() || !self.session.has_room_for_answers() {
            return Ok(false);
        }
        match self.socket.poll_next_frame(cx) {
            Poll::Ready(Ok(frame)) => self.take_in(&frame).map(|()| true),
            Poll::Ready(Err(error)) => Err(reason_of(&error)),
            Poll::Pending => Ok(false),
        }
    }

    fn take_in(&mut self, frame: &WireFrame) -> Result<(), CloseReason> {
        match frame.opcode() {
            OpCode::Text | OpCode::Binary => {
                self.heard_at = Instant::now();
                self.is_pinged = false;
                match self.session.handle_bytes(frame.payload()) {
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
            OpCode::Ping | OpCode::Continuation => {}
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
            self.send(WireFrame::ping(""))?;
        }
        Ok(over_at)
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
