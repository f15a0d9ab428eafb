//! Single requests beside the load, for setting up and for asking what arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;

use super::connection::Connection;
use super::template::{Request, Template};
use crate::clock;

const WITHIN: Duration = Duration::from_secs(30);

/// Sends a request over a connection of its own and gives the body of a 2xx answer.
pub(crate) async fn call(
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> anyhow::Result<Vec<u8>> {
    call_by(crate::server::KEY, addr, (method, path), body).await
}

/// The same with another key.
pub(crate) async fn call_by(
    key: &str,
    addr: SocketAddr,
    (method, path): (&str, &str),
    body: Option<&str>,
) -> anyhow::Result<Vec<u8>> {
    let what = || format!("{method} http://{addr}{path}");
    let template = Arc::new(Template::new(method, path, Some(key), body, None)?);
    let exchange = async {
        let stream = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
        let mut connection = Connection::new(stream);
        let head = connection.exchange(Request::new(&template).fill(0, clock::now())).await?;
        Ok::<_, String>((head, connection.body(head).to_vec()))
    };
    let answer = tokio::time::timeout(WITHIN, exchange).await;
    let (head, body) = answer.with_context(what)?.map_err(anyhow::Error::msg).with_context(what)?;
    if !head.is_success() {
        bail!("{} answered {}: {}", what(), head.status, String::from_utf8_lossy(&body));
    }
    Ok(body)
}
