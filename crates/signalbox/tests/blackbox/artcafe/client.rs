//! An agent's end of its WebSocket: a plain client that knows no more than a client must.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::deflate::{deflated, inflated};
use crate::support::{Api, KEY, PATIENCE};

/// The bytes that frames are masked with; any will do.
const MASK: [u8; 4] = [7, 11, 13, 17];
/// Of the first byte of a message's first frame: the message is compressed.
pub(crate) const COMPRESSED: u8 = 0x40;

/// A connected agent.
pub(crate) struct Socket<S = TcpStream> {
    stream: BufReader<S>,
    /// Envelopes that came while something else was looked for.
    passed_over: VecDeque<Value>,
    count: usize,
    /// Whether pings are answered: that says that all before them was received.
    pub(crate) answers_pings: bool,
    /// The head of the answer to the upgrade.
    pub(crate) head: String,
    /// For each message that came, the bytes of its frame where that was compressed.
    pub(crate) compressed: Vec<Option<usize>>,
}

/// What comes.
#[derive(Debug)]
pub(crate) enum Frame {
    /// An envelope.
    Text(Value),
    /// The end, with its code; none where the connection was cut.
    End(Option<u16>),
}

/// Registers an agent without an endpoint; answers its id.
pub(crate) fn register(api: &Api, name: &str) -> String {
    let body = json!({"agentName": name, "version": "1", "capabilities": []});
    let registered = api.post("/v1/agents/register", &body).is(201);
    registered["data"]["agentId"].as_str().expect("its id").to_owned()
}

impl Socket {
    /// Connects an agent with the key of the tests' tenant.
    pub(crate) fn connect(api: &Api, agent: &str) -> Self {
        Self::connect_by(api, agent, KEY)
    }

    /// Connects an agent with a key.
    pub(crate) fn connect_by(api: &Api, agent: &str, key: &str) -> Self {
        Self::try_connect(api, agent, key).expect("an upgrade")
    }

    pub(crate) fn try_connect(api: &Api, agent: &str, key: &str) -> io::Result<Self> {
        let header = format!("authorization: Bearer {key}\r\n");
        Self::try_upgrade(api, &format!("/api/v1/ws/agent/{agent}"), &header)
    }

    /// Asks for an upgrade at a path with these header lines; what is answered instead is the error.
    pub(crate) fn try_upgrade(api: &Api, path: &str, headers: &str) -> io::Result<Self> {
        let address = api.address();
        let stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Self::upgrade_over(stream, &address, path, headers)
    }

    /// Reads nothing, and waits no longer than this for what it asks for.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.stream.get_ref().set_read_timeout(Some(patience)).expect("set");
    }
}

impl<S: Read + Write> Socket<S> {
    /// Asks for an upgrade over a stream that is open.
    pub(crate) fn upgrade_over(stream: S, address: &str, path: &str, headers: &str) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        write!(
            stream.get_mut(),
            "GET {path} HTTP/1.1\r\nhost: {address}\r\n{headers}\
             connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::Error::other(format!("the connection ended after {head:?}")));
            }
        }
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(io::Error::other(head));
        }
        let (passed_over, compressed) = (VecDeque::new(), Vec::new());
        Ok(Self { stream, passed_over, count: 0, answers_pings: true, head, compressed })
    }

    /// Sends an envelope under an id of its own; answers the id.
    pub(crate) fn send(&mut self, kind: &str, data: &Value) -> String {
        self.count += 1;
        let id = format!("{kind}-{}", self.count);
        self.send_as(kind, &id, data);
        id
    }

    pub(crate) fn send_as(&mut self, kind: &str, id: &str, data: &Value) {
        let envelope = json!({"type": kind, "id": id, "data": data, "timestamp": "2026-01-31T12:00:00Z"});
        self.try_write(1, envelope.to_string().as_bytes()).expect("sent");
    }

    pub(crate) fn try_write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.try_write_part(opcode, true, payload)
    }

    /// Sends a text compressed, in frames of at most so many bytes.
    pub(crate) fn send_compressed(&mut self, text: &str, frame_bytes_max: usize) {
        self.try_write_deflated(&deflated(text.as_bytes()), frame_bytes_max).expect("sent");
    }

    /// Writes what is, or is said to be, a compressed text, in frames of at most so many bytes.
    pub(crate) fn try_write_deflated(&mut self, packed: &[u8], frame_bytes_max: usize) -> io::Result<()> {
        let last = packed.len().div_ceil(frame_bytes_max) - 1;
        for (number, part) in packed.chunks(frame_bytes_max).enumerate() {
            let opcode = if number == 0 { COMPRESSED | 1 } else { 0 };
            self.try_write_part(opcode, number == last, part)?;
        }
        Ok(())
    }

    /// Writes a frame that may be one of several of its message.
    pub(crate) fn try_write_part(&mut self, opcode: u8, is_last: bool, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![if is_last { 0x80 | opcode } else { opcode }];
        match payload.len() {
            small @ 0..=125 => frame.push(0x80 | u8::try_from(small).expect("small")),
            middle @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(middle).expect("fits").to_be_bytes());
            }
            large => {
                frame.push(0x80 | 127);
                frame.extend((large as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.get_mut().write_all(&frame)
    }

    /// The next frame. Pings are answered on the way.
    pub(crate) fn next(&mut self) -> Frame {
        match self.passed_over.pop_front() {
            Some(envelope) => Frame::Text(envelope),
            None => self.read(),
        }
    }

    /// The next frame that has not been read.
    fn read(&mut self) -> Frame {
        loop {
            match self.try_read() {
                Ok((1, payload)) => return Frame::Text(serde_json::from_slice(&payload).expect("JSON")),
                Ok((8, payload)) => {
                    let code = payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                    return Frame::End(code);
                }
                Ok((9, payload)) if self.answers_pings => drop(self.try_write(10, &payload)),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing came within {PATIENCE:?}");
                }
                Err(_) => return Frame::End(None),
            }
        }
    }

    fn try_read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            small => u64::from(small),
        };
        let mut payload = vec![0; usize::try_from(length).expect("fits")];
        self.stream.read_exact(&mut payload)?;
        let (opcode, is_compressed) = (head[0] & 0x0f, head[0] & COMPRESSED != 0);
        if opcode < 8 {
            self.compressed.push(is_compressed.then_some(payload.len()));
        }
        assert!(opcode < 8 || !is_compressed, "a control frame is never compressed");
        Ok((opcode, if is_compressed { inflated(&payload) } else { payload }))
    }

    /// Sends text that need not be an envelope.
    pub(crate) fn send_text(&mut self, text: &str) {
        self.try_write(1, text.as_bytes()).expect("sent");
    }

    /// The next frame of a kind, by its opcode; others are passed over.
    pub(crate) fn raw(&mut self, opcode: u8) -> Vec<u8> {
        loop {
            let (found, payload) = self.try_read().expect("a frame");
            if found == opcode {
                return payload;
            }
        }
    }

    /// The next envelope of a type; those before it are kept for later.
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        self.find(|envelope| envelope["type"] == kind, kind)
    }

    /// Waits for the answer to what was sent under an id: the data of its `ack`, or of its `error`.
    pub(crate) fn answer(&mut self, id: &str) -> Result<Value, Value> {
        let is_answer = |envelope: &Value| match envelope["type"].as_str() {
            Some("ack") => envelope["data"]["message_id"] == id,
            Some("error") => envelope["data"]["id"] == id,
            _ => false,
        };
        let answer = self.find(is_answer, id);
        if answer["type"] == "ack" { Ok(answer["data"].clone()) } else { Err(answer["data"].clone()) }
    }

    fn find(&mut self, is_it: impl Fn(&Value) -> bool, what: &str) -> Value {
        if let Some(at) = self.passed_over.iter().position(&is_it) {
            return self.passed_over.remove(at).expect("there");
        }
        loop {
            match self.read() {
                Frame::Text(envelope) if is_it(&envelope) => return envelope,
                Frame::Text(envelope) => self.passed_over.push_back(envelope),
                Frame::End(code) => {
                    panic!(
                        "the connection ended with {code:?} before {what}; there was {:?}",
                        self.passed_over
                    )
                }
            }
        }
    }

    /// Sends something and waits for its `ack`.
    #[track_caller]
    pub(crate) fn done(&mut self, kind: &str, data: &Value) -> Value {
        let id = self.send(kind, data);
        match self.answer(&id) {
            Ok(data) => data,
            Err(error) => panic!("{kind} {data} was refused: {error}"),
        }
    }

    /// Sends something and waits for its `error`.
    #[track_caller]
    pub(crate) fn refused(&mut self, kind: &str, data: &Value) -> Value {
        let id = self.send(kind, data);
        match self.answer(&id) {
            Ok(ack) => panic!("{kind} {data} was acknowledged: {ack}"),
            Err(error) => error,
        }
    }

    /// The payloads of the next messages.
    pub(crate) fn payloads(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.expect("message")["data"]["payload"].clone()).collect()
    }

    /// A message that has come up to now, if any.
    pub(crate) fn poll_message(&mut self) -> Option<Value> {
        self.send("heartbeat", &json!({}));
        self.expect("heartbeat_ack");
        let at = self.passed_over.iter().position(|envelope| envelope["type"] == "message")?;
        self.passed_over.remove(at)
    }

    /// That no message has come up to now: all that was sent before the answer to something else is there.
    #[track_caller]
    pub(crate) fn has_no_message(&mut self) {
        self.send("heartbeat", &json!({}));
        self.expect("heartbeat_ack");
        let messages: Vec<&Value> =
            self.passed_over.iter().filter(|envelope| envelope["type"] == "message").collect();
        assert!(messages.is_empty(), "{messages:?}");
    }

    /// How the connection ends; what comes before is dropped.
    pub(crate) fn end(&mut self) -> Option<u16> {
        loop {
            if let Frame::End(code) = self.next() {
                return code;
            }
        }
    }
}
