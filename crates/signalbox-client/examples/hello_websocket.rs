//! An agent that connects by an SSH key: `AGENT_ID=… AGENT_KEY=agent_key cargo run -p signalbox-client --example
//! hello_websocket`. Without them it registers by the API key and connects by that. Its log is what `tracing` tells.
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use serde_json::{Value, json};
use signalbox_client::Client;
use signalbox_client::agent::{Agent, Call, Credentials, Failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), signalbox_client::Error> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let hello = |call: Call| async move {
        call.context.progress(50.0, Some("thinking of a greeting"));
        let name = call.payload["name"].as_str().ok_or(Failure::new("there is no name").code("no-name"))?;
        Ok::<Value, Failure>(json!({ "text": format!("Hello, {name}!") }))
    };
    let status = |_| async { Ok::<Value, Failure>(json!({ "ok": true })) };
    let agent = Agent::new(Client::from_env()?, "hello-websocket")
        .capability("hello")
        .task("hello", hello)
        .command("status", status);
    let agent = match (std::env::var("AGENT_ID"), std::env::var("AGENT_KEY")) {
        (Ok(id), Ok(key)) => agent.registered(id).connect(Credentials::ssh_key(key)),
        _ => agent.connect(Credentials::ClientKey),
    };
    let mut running = agent.start().await?;
    println!("{} is connected", running.agent_id());
    running.ended().await;
    Ok(())
}
