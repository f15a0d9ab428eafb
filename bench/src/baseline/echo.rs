//! A WebSocket server that says back what it is told, and nothing else: what a connection and a round trip cost by
//! themselves.

use std::net::SocketAddr;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::printer;
use crate::ws::{self, CLOSE, PING, PONG, TEXT};

/// Bytes that a connection has room for while nothing happens.
const ROOM: usize = 512;
const HEAD_MAX: usize = 16 << 10;
/// What the protocol adds to a client's key.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
    printer::result(&format!("baseline listening on http://{}", listener.local_addr()?));
    accept(listener).await
}

/// Takes every connection of a listener.
pub(crate) async fn accept(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // How a connection ends, its client knows.
        tokio::spawn(async move { drop(converse(stream).await) });
    }
}

async fn converse(mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(ROOM);
    let key = loop {
        if let Some(key) = key(&bytes) {
            break key;
        }
        anyhow::ensure!(bytes.len() < HEAD_MAX, "the head has no end");
        anyhow::ensure!(stream.read_buf(&mut bytes).await? > 0, "the client left");
    };
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{SUFFIX}").as_bytes()));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    bytes.clear();
    let mut out = Vec::with_capacity(ROOM);
    loop {
        let mut at = 0;
        while let Some(header) = ws::parse(&bytes[at..]).map_err(anyhow::Error::msg)? {
            let payload = &mut bytes[at + header.payload_at..at + header.end];
            if let Some(mask) = header.mask {
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            }
            match header.opcode {
                CLOSE => {
                    ws::put_unmasked(&mut out, CLOSE, payload);
                    return Ok(stream.write_all(&out).await?);
                }
                PING => ws::put_unmasked(&mut out, PONG, payload),
                PONG => {}
                _ => ws::put_unmasked(&mut out, TEXT, payload),
            }
            at += header.end;
        }
        bytes.drain(..at);
        stream.write_all(&out).await?;
        out.clear();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// The key of a complete request; one without a key has an empty one.
fn key(bytes: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    Some(found.map_or("", |(_, key)| key.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_a_complete_head_only() {
        let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: abc\r\n\r\n";
        assert_eq!(key(head), Some("abc"));
        assert_eq!(key(&head[..head.len() - 1]), None);
    }
}
