//! Server-sent events, read in a thread so that waiting for the next one has a deadline.

use std::io::{self, BufRead, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use super::http::{Body, Connection, Request};
use super::wait::PATIENCE;

/// One event of a stream.
#[derive(Debug, Clone)]
pub(crate) struct SseEvent {
    pub(crate) id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) data: Value,
}

/// An open stream of events.
pub(crate) struct Events {
    incoming: Receiver<SseEvent>,
    socket: TcpStream,
}

impl Events {
    /// Opens a stream; an answer that is none fails the test.
    pub(crate) fn open(address: &str, request: Request) -> io::Result<Self> {
        let request = request.header("accept", "text/event-stream");
        let mut connection = Connection::open(address)?;
        connection.write(&request)?;
        let (status, headers) = connection.read_head()?;
        let content_type = super::http::header(&headers, "content-type").unwrap_or_default();
        assert_eq!(status, 200, "{} was not answered with a stream", request.label());
        assert!(content_type.starts_with("text/event-stream"), "{}: {content_type}", request.label());
        let socket = connection.socket().try_clone()?;
        socket.set_read_timeout(None)?;
        let (sender, incoming) = channel();
        let mut lines = BufReader::new(Body::new(connection.into_stream(), &headers, status));
        thread::spawn(move || {
            while let Some(event) = read_event(&mut lines) {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self { incoming, socket })
    }

    /// The next event; the end of the stream or of patience fails the test.
    #[track_caller]
    pub(crate) fn next(&self) -> SseEvent {
        match self.incoming.recv_timeout(PATIENCE) {
            Ok(event) => event,
            Err(error) => panic!("no further event came: {error}"),
        }
    }

    /// The next event that fits; the others are passed over.
    #[track_caller]
    pub(crate) fn until(&self, fits: impl Fn(&SseEvent) -> bool) -> SseEvent {
        loop {
            let event = self.next();
            if fits(&event) {
                return event;
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Comments and events without data are passed over.
fn read_event(lines: &mut impl BufRead) -> Option<SseEvent> {
    let (mut id, mut kind, mut data) = (None, None, String::new());
    for line in lines.lines() {
        let line = line.ok()?;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => id = Some(value.to_owned()),
            "event" => kind = Some(value.to_owned()),
            "data" => data.push_str(value),
            "" if line.is_empty() && !data.is_empty() => {
                let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
                return Some(SseEvent { id, kind, data });
            }
            _ => {}
        }
    }
    None
}
