//! An agent that is reached at an endpoint: `SIGNALBOX_API_KEY=… cargo run -p signalbox-client --example hello_http`.
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use serde_json::{Value, json};
use signalbox_client::Client;
use signalbox_client::agent::{Agent, Call};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), signalbox_client::Error> {
    let hello = |call: Call| async move {
        let name = call.payload["name"].as_str().ok_or("who are you? there is no name")?;
        Ok::<Value, &str>(json!({ "text": format!("Hello, {name}!") }))
    };
    let agent = Agent::new(Client::from_env()?, "hello").capability("hello").task("hello", hello);
    let mut running = agent.start().await?;
    println!("{} is reached at {}", running.agent_id(), running.endpoint().unwrap_or_default());
    running.ended().await;
    Ok(())
}
