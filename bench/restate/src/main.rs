//! The job of the case `sessions` as a Restate service: one, three or ten durable steps, one after the other.
//!
//! A step does what an agent of the case does, which is nothing: it gives back what it was given. It runs inside
//! the connection that the Restate server holds to this process; its result is in the server's journal before
//! the next step begins.

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
}

async fn steps(context: &Context<'_>, mut n: String, count: u32) -> Result<String, HandlerError> {
    for _ in 0..count {
        n = context.run(|| async move { Ok(n) }).name("work").await?;
    }
    Ok(n)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    std::thread::spawn(end_with_stdin);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("restate service listening on http://{}", listener.local_addr()?);
    HttpServer::new(Endpoint::builder().bind(Flow).build()).serve(listener).await;
    Ok(())
}

/// No service outlives the run that started it.
fn end_with_stdin() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}
