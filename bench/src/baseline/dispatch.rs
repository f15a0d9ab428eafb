//! Delivery and nothing else: a pooled hyper-util client that keeps a fixed number of POSTs in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use crate::{clock, printer, requests};

/// Arguments of `bench baseline dispatch`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The sink, as `http://HOST:PORT`.
    #[arg(long, default_value = "")]
    to: String,
    /// Seconds to go on for.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// POSTs in flight.
    #[arg(long, default_value_t = 64)]
    in_flight: u64,
    /// Endpoints to spread them over, all at the sink.
    #[arg(long, default_value_t = 1000)]
    endpoints: u64,
}

/// What the client prints at its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) begin_unix_us: u64,
}

type Pool = Client<HttpConnector, Full<Bytes>>;

/// Delivers until the time is over and prints what was sent.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let in_flight = usize::try_from(options.in_flight)?;
    let client: Pool =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(in_flight).build(connector);
    let shared = Arc::new(Shared {
        client,
        to: options.to.clone(),
        endpoints: options.endpoints.max(1),
        body: Bytes::from(requests::message_body()),
        next: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let begin_unix_us = clock::unix_micros();
    let until =
        clock::now() + Duration::try_from_secs_f64(options.seconds).context("--seconds is no duration")?;
    let tasks: Vec<_> = (0..in_flight).map(|_| tokio::spawn(Arc::clone(&shared).deliver(until))).collect();
    for task in tasks {
        task.await?.context("a delivery cannot be made; is --to the address of a sink?")?;
    }
    let (delivered, failed) =
        (shared.delivered.load(Ordering::Relaxed), shared.failed.load(Ordering::Relaxed));
    printer::result(&serde_json::to_string(&Sent { delivered, failed, begin_unix_us })?);
    Ok(())
}

struct Shared {
    client: Pool,
    to: String,
    endpoints: u64,
    body: Bytes,
    next: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Shared {
    async fn deliver(self: Arc<Self>, until: Instant) -> anyhow::Result<()> {
        while clock::now() < until {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let request = Request::post(format!("{}/agents/{}", self.to, number % self.endpoints))
                .header("content-type", "application/json")
                .header("x-message-id", format!("msg_{number:026}"))
                .header("x-attempt", "1")
                .body(Full::new(self.body.clone()))?;
            let delivered = match self.client.request(request).await {
                Ok(answer) if answer.status().is_success() => answer.into_body().collect().await.is_ok(),
                _ => false,
            };
            let count = if delivered { &self.delivered } else { &self.failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
