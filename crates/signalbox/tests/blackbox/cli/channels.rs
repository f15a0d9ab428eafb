//! `signalbox channels`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Cli, heads, row};
use crate::support::{PATIENCE, within};

#[test]
fn channels_are_made_published_to_and_read() {
    let cli = Cli::start();
    assert_eq!(cli.said("channels list"), "there is no channel\n");
    let made = cli.run("channels create orders.eu --max-messages 10 --description", &["Orders of Europe"]);
    assert!(made.code == Some(0) && made.stderr.contains("channel orders.eu is made"), "{made:?}");
    let table = cli.ok("channels list");
    assert_eq!(heads(&table), ["NAME", "ID", "LAST", "MADE", "DESCRIPTION"]);
    let id = cli.json("channels list")[0]["channel_id"].as_str().unwrap().to_owned();
    assert!(row(&table, "orders.eu").contains(&id), "{table}");
    assert!(cli.ok("channels show orders.eu").contains("max_messages: 10"));
    assert_eq!(cli.json(&format!("channels show {id}"))["name"], "orders.eu");
    assert!(!cli.ok_with("channels publish orders.eu", &[r#"{"order": 1}"#]).trim().is_empty());
    assert_eq!(cli.json_with("channels publish orders.eu", &["2", "--id", "mine"])["message_id"], "mine");
    let history = cli.ok("channels history orders.eu");
    assert_eq!(heads(&history), ["SEQUENCE", "AT", "FROM", "PAYLOAD"]);
    assert!(history.contains(r#"{"order":1}"#), "{history}");
    assert_eq!(cli.json("channels history orders.eu --after 1")[0]["payload"], 2);
    assert_eq!(cli.said("channels presence orders.eu"), "there is no subscriber of the channel\n");
    assert_eq!(cli.json("channels presence orders.eu"), json!([]));
    assert!(cli.said("channels delete orders.eu").contains("channel orders.eu is deleted"));
    let (told, code) = cli.refused("channels show orders.eu");
    assert!(code == 1 && told.contains("there is no channel 'orders.eu'"), "{told}");
}

#[test]
fn a_channel_is_subscribed_to() {
    let cli = Cli::start();
    cli.ok("channels create orders.eu");
    cli.ok_with("channels publish orders.eu", &["1"]);
    let mut command = cli.command("channels subscribe orders.eu --after 0 --count 2 -o json", &[]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!((&first["payload"], &first["sequence"]), (&json!(1), &json!(1)));
    assert_eq!(cli.json("channels presence orders.eu").as_array().unwrap().len(), 1);
    cli.ok_with("channels publish orders.eu", &[r#"{"n": 2}"#]);
    assert_eq!(next()["payload"]["n"], 2);
    assert!(child.wait().unwrap().success(), "it ends after so many");
    assert_eq!(cli.json("agents list"), json!([]), "its agent is gone with it");
}

#[test]
fn a_subscription_that_is_killed_leaves_no_agent() {
    let cli = Cli::start_with(&[("SIGNALBOX_EPHEMERAL_GRACE", "1s")]);
    cli.ok("channels create orders.eu");
    let mut child = cli.command("channels subscribe orders.eu", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("subscribed"));
    assert_eq!(cli.json("agents list").as_array().unwrap().len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    within(PATIENCE, "the agent to go", || {
        let agents = cli.json("agents list");
        if agents == json!([]) { Ok(()) } else { Err(agents.to_string()) }
    });
}

#[test]
fn a_subscription_whose_agent_is_removed_says_why_it_ends() {
    let cli = Cli::start();
    cli.ok("channels create orders.eu");
    let mut subscribed = cli.spawn("channels subscribe orders.eu", &[]);
    subscribed.says("subscribed");
    let id = cli.json("agents list")[0]["agentId"].as_str().unwrap().to_owned();
    cli.ok(&format!("agents remove {id}"));
    let ended = subscribed.ends();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("orders.eu is not subscribed to: "), "{ended:?}");
    assert!(!ended.stderr.contains("there is no agent"), "the reason, not the clearing up: {ended:?}");
}
