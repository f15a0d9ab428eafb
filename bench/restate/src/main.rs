//! The job of the case `sessions` as Restate services: one, three or ten durable steps, one after the other.
//!
//! `bench-restate flow` is the service that is given the job, in two ways. Either its steps run inside the connection that
//! the Restate server holds to this process, or each step is a call of another service, which is how an agent would be
//! asked. That one is `bench-restate worker`, a process and a deployment of its own.
//!
//! A step does what an agent of the case does, which is nothing: it gives back what it was given. Its result is in the
//! server's journal before the next step begins.

use std::io::Read as _;

use restate_sdk::prelude::*;
use tokio::net::TcpListener;

struct Flow;

#[service]
impl Flow {
    #[handler]
    async fn tasks_1(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        steps(&context, n, 1).await
    }

    #[handler]
    async fn tasks_3(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        steps(&context, n, 3).await
    }

    #[handler]
    async fn tasks_10(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        steps(&context, n, 10).await
    }

    #[handler]
    async fn calls_1(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        calls(&context, n, 1).await
    }

    #[handler]
    async fn calls_3(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        calls(&context, n, 3).await
    }

    #[handler]
    async fn calls_10(&self, context: Context<'_>, n: String) -> Result<String, HandlerError> {
        calls(&context, n, 10).await
    }
}

struct Worker;

#[service]
impl Worker {
    #[handler]
    async fn work(&self, _context: Context<'_>, n: String) -> Result<String, HandlerError> {
        Ok(n)
    }
}

async fn steps(context: &Context<'_>, mut n: String, count: u32) -> Result<String, HandlerError> {
    for _ in 0..count {
        n = context.run(|| async move { Ok(n) }).name("work").await?;
    }
    Ok(n)
}

async fn calls(context: &Context<'_>, mut n: String, count: u32) -> Result<String, HandlerError> {
    for _ in 0..count {
        n = context.service_client::<WorkerClient>().work(n).call().await?;
    }
    Ok(n)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let endpoint = match std::env::args().nth(1).as_deref() {
        Some("flow") => Endpoint::builder().bind(Flow),
        Some("worker") => Endpoint::builder().bind(Worker),
        _ => return Err(std::io::Error::other("name the service: flow or worker")),
    };
    std::thread::spawn(end_with_stdin);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("restate service listening on http://{}", listener.local_addr()?);
    HttpServer::new(endpoint.build()).serve(listener).await;
    Ok(())
}

/// No service outlives the run that started it.
fn end_with_stdin() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}
