//! An agent, tool or webhook receiver as an HTTP endpoint that records what it gets and answers as it is told.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clock::now;
use super::http::{self, Body};
use super::wait::PATIENCE;

const HUGE_BYTES: usize = 10 * 1024 * 1024;

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

/// How a request is answered.
#[derive(Clone)]
pub(crate) enum AgentReply {
    /// With this status and no body.
    Status(u16),
    /// With 200 and this JSON.
    Json(Value),
    /// With 201 and this JSON.
    Created(Value),
    /// With 200 and this text, which need not be JSON.
    Text(&'static str),
    /// With 429 and `Retry-After` in seconds.
    TooMany(u32),
    /// With 307 to somewhere else.
    Redirect(String),
    /// Not at all; the connection stays open.
    Hang,
    /// With the first half of a 200.
    Half,
    /// With 200 and ten megabytes.
    Huge,
}

type Script = dyn Fn(&Delivery, usize) -> AgentReply + Send + Sync;

/// A running endpoint.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
    incoming: Mutex<Receiver<Delivery>>,
}

struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Delivery>>,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    news: Mutex<Sender<Delivery>>,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        http::header(&self.headers, name).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a delivery is JSON")
    }
}

impl Agent {
    /// Answers everything with 200.
    pub(crate) fn start() -> Self {
        Self::answering(|_, _| AgentReply::Status(200))
    }

    /// Answers by a script, which gets the request and its number from 1.
    pub(crate) fn answering(script: impl Fn(&Delivery, usize) -> AgentReply + Send + Sync + 'static) -> Self {
        let (news, incoming) = channel();
        let shared = Shared {
            script: Box::new(script),
            received: Mutex::default(),
            open: Mutex::default(),
            stopped: AtomicBool::new(true),
            news: Mutex::new(news),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut agent =
            Self { shared: Arc::new(shared), address: any, acceptor: None, incoming: Mutex::new(incoming) };
        agent.resume();
        agent
    }

    /// Answers the first requests so, and the others with 200.
    pub(crate) fn first(answers: impl Into<Vec<AgentReply>>) -> Self {
        let answers = answers.into();
        Self::answering(move |_, number| answers.get(number - 1).cloned().unwrap_or(AgentReply::Status(200)))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/run", self.address)
    }

    /// The next request that was not taken yet.
    #[track_caller]
    pub(crate) fn next(&self) -> Delivery {
        self.next_within(PATIENCE)
    }

    #[track_caller]
    pub(crate) fn next_within(&self, patience: Duration) -> Delivery {
        match self.poll(patience) {
            Some(delivery) => delivery,
            None => panic!("no further request came within {patience:?}; there were {}", self.count()),
        }
    }

    /// The next request, or `None` where none comes in that time.
    pub(crate) fn poll(&self, patience: Duration) -> Option<Delivery> {
        self.incoming.lock().unwrap().recv_timeout(patience).ok()
    }

    /// Everything that came in so far.
    pub(crate) fn all(&self) -> Vec<Delivery> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// From now on connections are refused, and those that are open are closed.
    pub(crate) fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then drops its listener.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the accepting thread ends");
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is free");
        self.address = listener.local_addr().expect("a bound listener has an address");
        self.shared.stopped.store(false, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        self.acceptor = Some(thread::spawn(move || shared.accept(&listener)));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.acceptor.is_some() {
            self.stop();
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(copy) = stream.try_clone() {
                self.open.lock().unwrap().push(copy);
            }
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                let _ = shared.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = BufReader::new(stream);
        loop {
            let (first, headers) = http::read_head(&mut input)?;
            let mut words = first.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut body = Vec::new();
            let is_framed =
                headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
            if is_framed {
                Body::new(&mut input, &headers, 200).read_to_end(&mut body)?;
            }
            let delivery = Delivery { method, path, headers, body, at: now().instant };
            let number = self.record(&delivery);
            answer(stream, (self.script)(&delivery, number))?;
        }
    }

    fn record(&self, delivery: &Delivery) -> usize {
        let mut received = self.received.lock().unwrap();
        received.push(delivery.clone());
        let _ = self.news.lock().unwrap().send(delivery.clone());
        received.len()
    }
}

fn answer(mut stream: &TcpStream, answer: AgentReply) -> io::Result<()> {
    let (status, header, body) = match answer {
        AgentReply::Status(status) => (status, String::new(), Vec::new()),
        AgentReply::Json(body) => {
            (200, "content-type: application/json\r\n".to_owned(), body.to_string().into())
        }
        AgentReply::Created(body) => {
            (201, "content-type: application/json\r\n".to_owned(), body.to_string().into())
        }
        AgentReply::Text(body) => (200, "content-type: text/plain\r\n".to_owned(), body.into()),
        AgentReply::TooMany(seconds) => (429, format!("retry-after: {seconds}\r\n"), Vec::new()),
        AgentReply::Redirect(to) => (307, format!("location: {to}\r\n"), Vec::new()),
        AgentReply::Hang => return hang(stream),
        AgentReply::Half => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":")?;
            return Err(io::ErrorKind::Other.into());
        }
        AgentReply::Huge => (200, "content-type: application/json\r\n".to_owned(), huge()),
    };
    let head = format!("HTTP/1.1 {status} Status\r\n{header}content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fn huge() -> Vec<u8> {
    let mut body = vec![b'x'; HUGE_BYTES];
    body[0] = b'"';
    body[HUGE_BYTES - 1] = b'"';
    body
}

/// Until the other side has closed, or the endpoint is stopped.
fn hang(mut stream: &TcpStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored)? > 0 {}
    Err(io::ErrorKind::Other.into())
}
