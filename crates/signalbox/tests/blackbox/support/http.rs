//! HTTP/1.1 as a client that hides nothing: requests are written as given, answers are read to their end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::response::Response;

const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(60);

/// A request, as it will be written.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", path).json(body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    pub(crate) fn label(&self) -> String {
        let path: String = self.path.chars().take(200).collect();
        format!("{} {path}", self.method)
    }

    fn head(&self, host: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body.is_some() || self.method != "GET" {
            head.push_str(&format!("content-length: {}\r\n", self.body.as_ref().map_or(0, Vec::len)));
        }
        head.push_str("\r\n");
        head
    }
}

/// A connection that stays open between requests.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_read_timeout(Some(READ))?;
        stream.set_write_timeout(Some(READ))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_string() })
    }

    /// Sends and reads the whole answer. An answer that comes before the body was taken counts.
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Response> {
        let written = self.write(request);
        match self.read_head() {
            Ok((status, headers)) => {
                let mut body = Vec::new();
                Body::new(&mut self.stream, &headers, status).read_to_end(&mut body)?;
                Ok(Response { request: request.label(), status, headers, body })
            }
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }

    pub(crate) fn write(&mut self, request: &Request) -> io::Result<()> {
        let mut bytes = request.head(&self.host).into_bytes();
        bytes.extend(request.body.as_deref().unwrap_or_default());
        self.stream.get_mut().write_all(&bytes)
    }

    /// Writes bytes that need not be HTTP.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer to what was written before.
    pub(crate) fn read(&mut self) -> io::Result<Response> {
        let (status, headers) = self.read_head()?;
        let mut body = Vec::new();
        Body::new(&mut self.stream, &headers, status).read_to_end(&mut body)?;
        Ok(Response { request: "what was written".to_owned(), status, headers, body })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn into_stream(self) -> BufReader<TcpStream> {
        self.stream
    }

    pub(crate) fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let (first, headers) = read_head(&mut self.stream)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        Ok((status, headers))
    }
}

/// A first line and its headers, names in lower case.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<(String, Vec<(String, String)>)> {
    let first = read_line(stream)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A body in any of its three framings.
pub(crate) struct Body<R> {
    stream: R,
    framing: Framing,
}

enum Framing {
    Length(usize),
    Chunked { left: usize, ended: bool },
    UntilClosed,
}

impl<R: BufRead> Body<R> {
    pub(crate) fn new(stream: R, headers: &[(String, String)], status: u16) -> Self {
        let chunked = header(headers, "transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let length = header(headers, "content-length").and_then(|length| length.parse().ok());
        let framing = match length {
            _ if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
            _ if chunked => Framing::Chunked { left: 0, ended: false },
            Some(length) => Framing::Length(length),
            None => Framing::UntilClosed,
        };
        Self { stream, framing }
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match &mut self.framing {
            Framing::UntilClosed => return self.stream.read(buffer),
            Framing::Length(left) => left,
            Framing::Chunked { ended: true, .. } => return Ok(0),
            Framing::Chunked { left, ended } => {
                if *left == 0 {
                    let size = read_line(&mut self.stream)?;
                    let size = size.split(';').next().unwrap_or_default();
                    *left = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                    if *left == 0 {
                        *ended = true;
                        read_line(&mut self.stream)?;
                        return Ok(0);
                    }
                }
                left
            }
        };
        if *left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(*left);
        let count = self.stream.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= count;
        if let Framing::Chunked { left: 0, .. } = self.framing {
            read_line(&mut self.stream)?;
        }
        Ok(count)
    }
}
