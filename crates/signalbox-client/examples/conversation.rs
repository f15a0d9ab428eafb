//! Two agents that converse: one asks the other, which answers and publishes what it said.
//! `SIGNALBOX_API_KEY=… cargo run -p signalbox-client --example conversation`
#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_client::Client;
use signalbox_client::agent::{Agent, Call, Credentials, Failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), signalbox_client::Error> {
    let client = Client::from_env()?;
    let answers = |call: Call| async move {
        let words = call.payload["text"].as_str().unwrap_or_default().split_whitespace().count();
        Ok::<Value, Failure>(json!({ "words": words }))
    };
    let counter = Agent::new(client.clone(), "counter").handler(answers).connect(Credentials::ClientKey);
    let counter = counter.start().await?;

    let (heard, mut news) = tokio::sync::mpsc::channel(16);
    let listens = move |call: Call| {
        let heard = heard.clone();
        async move {
            heard.send(call.payload).await.map_err(|_| Failure::new("nobody listens any more"))?;
            Ok::<Value, Failure>(Value::Null)
        }
    };
    let asker = Agent::new(client, "asker").subscribe("news", listens).connect(Credentials::ClientKey);
    let asker = asker.start().await?;

    let question = json!({ "text": "how many words are these" });
    let answer = asker.request(counter.agent_id(), question, Duration::from_secs(10)).await?;
    println!("the counter says: {answer}");
    counter.publish("news", json!({ "counted": answer })).await?;
    if let Some(news) = news.recv().await {
        println!("the asker hears: {news}");
    }
    for agent in [asker, counter] {
        agent.stop(Duration::from_secs(10)).await;
    }
    Ok(())
}
