//! One keep-alive connection that carries one request at a time.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::response::{self, Head};

const ROOM: usize = 16 * 1024;
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A connected socket and the last answer that came over it.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(addr: std::net::SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }

    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; ROOM] }
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Head, String> {
        self.stream.write_all(request).await.map_err(|error| format!("sending failed: {error}"))?;
        let mut filled = 0;
        loop {
            let room = &mut self.buffer[filled..];
            match self.stream.read(room).await {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(read) => filled += read,
                Err(error) => return Err(format!("receiving failed: {error}")),
            }
            match response::parse(&self.buffer[..filled])? {
                Some(head) if filled == head.end() => return Ok(head),
                Some(head) if filled > head.end() => {
                    return Err("the server sent more than one answer".to_owned());
                }
                Some(head) => self.make_room(head.end())?,
                None => self.make_room(filled + 1)?,
            }
        }
    }

    pub(crate) fn body(&self, head: Head) -> &[u8] {
        &self.buffer[head.body_at..head.end()]
    }

    fn make_room(&mut self, needed: usize) -> Result<(), String> {
        if needed > ANSWER_MAX {
            return Err(format!("an answer is larger than {ANSWER_MAX} bytes"));
        }
        if needed > self.buffer.len() {
            self.buffer.resize(needed.next_power_of_two(), 0);
        }
        Ok(())
    }
}
