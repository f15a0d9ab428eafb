//! How a connection becomes a WebSocket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::socket::Socket;

const WITHIN: Duration = Duration::from_secs(30);
const HEAD_MAX: usize = 16 << 10;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Where a WebSocket is opened, and as whom.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) addr: SocketAddr,
    /// The address that it comes from, where one has too few ports.
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody answered.
    Unreachable(io::Error),
    /// The server had something else to say.
    Answered(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "not reached: {error}"),
            Self::Answered(line) => write!(f, "not upgraded: {line}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Opens a WebSocket.
pub(crate) async fn open(target: Target<'_>) -> Result<Socket, Refused> {
    match tokio::time::timeout(WITHIN, upgrade(target)).await {
        Ok(opened) => opened,
        Err(_) => Err(Refused::Answered(format!("nothing within {WITHIN:?}"))),
    }
}

async fn upgrade(target: Target<'_>) -> Result<Socket, Refused> {
    let mut stream = connect(target).await.map_err(Refused::Unreachable)?;
    let authorization =
        target.token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{authorization}\r\n",
        target.path, target.addr
    );
    stream.write_all(request.as_bytes()).await.map_err(Refused::Unreachable)?;
    let mut answer = Vec::new();
    let head = loop {
        if let Some(at) = answer.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            break at + HEAD_END.len();
        }
        if answer.len() > HEAD_MAX {
            return Err(Refused::Answered("a head without an end".to_owned()));
        }
        if stream.read_buf(&mut answer).await.map_err(Refused::Unreachable)? == 0 {
            return Err(Refused::Unreachable(io::ErrorKind::UnexpectedEof.into()));
        }
    };
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let text = String::from_utf8_lossy(&answer).into_owned();
        return Err(Refused::Answered(text.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(Socket::new(stream, answer.split_off(head)))
}

async fn connect(target: Target<'_>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = target.source {
        socket.bind((IpAddr::V4(source), 0).into())?;
    }
    let stream = socket.connect(target.addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
