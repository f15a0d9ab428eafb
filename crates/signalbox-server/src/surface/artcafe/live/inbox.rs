//! `/api/v1/agents/{agent_id}/inbox`: what waits for an agent, by long polls, and what it says.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use signalbox_wire::body::{self, BodyError};
use signalbox_wire::problem::Problem;

use super::connect::sequence;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::live::admission::{Admitted, Verdict};
use crate::live::{Live, PollRequest};

/// Seconds that a poll waits where it does not say.
const WAIT_DEFAULT_S: u64 = 30;
/// Seconds that a poll may wait.
const WAIT_MAX_S: u64 = 60;
/// Messages of one request.
const MESSAGES_MAX: usize = 1_000;

/// What the query says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    wait: Option<String>,
    after: Option<String>,
}

/// Wait for messages to an agent
///
/// For places where WebSockets are blocked. The agent is connected by its polls, as by a WebSocket, until none has come
/// for as long as three heartbeats. Give `sequence` of the answer as `after` to the next poll: until then what was
/// answered comes again. An `after` of an earlier connection is answered with a `gap`.
#[utoipa::path(get, path = "/api/v1/agents/{agent_id}/inbox", operation_id = "poll_inbox", tag = "Connections", params(
    ("agent_id" = String, Path, description = "Which agent polls"),
    ("wait" = Option<u64>, Query, description = "Seconds to wait while there is nothing: 0 to 60, 30 where it is not said"),
    ("after" = Option<u64>, Query, description = "`sequence` of the last answer: the agent has all up to it")),
    responses(
        (status = 200, description = "`connection_id`, `sequence` and `messages`, each an envelope as over the WebSocket"),
        (status = 401, description = "No token, or a bad one", body = Problem),
        (status = 403, description = "The token of another agent", body = Problem),
        (status = 404, description = "No such agent", body = Problem),
        (status = 409, description = "Another connection or poll of the agent took over", body = Problem),
        (status = 429, description = "The tenant has as many agents connected as it may", body = Problem),
        (status = 503, description = "No further agent can be connected now", body = Problem)))]
pub(crate) async fn poll(
    State(live): State<Live>,
    context: Context<Acts>,
    Path(agent): Path,
    Query(asked): Query<Asked>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let wait = reader.read("wait", asked.wait.as_deref(), seconds);
    let after = reader.read("after", asked.after.as_deref(), sequence);
    reader.finish()?;
    let admitted = admitted(&live, &context, &agent).await?;
    let wait = Duration::from_secs(wait.unwrap_or(WAIT_DEFAULT_S));
    let inbox = live.poll(&admitted, PollRequest { wait, after }).await?;
    let bytes = inbox.messages.iter().map(|message| message.len() + 1).sum::<usize>();
    let mut text = String::with_capacity(bytes + 128);
    text.push_str("{\"connection_id\":");
    signalbox_wire::quote(&mut text, inbox.connection.as_str());
    text.push_str(&format!(",\"sequence\":{},\"messages\":", inbox.sequence));
    list(&mut text, inbox.messages.iter().map(|message| &message[..]));
    text.push('}');
    Ok(Reply::written(text))
}

/// Take messages from an agent
///
/// What its WebSocket would carry: one envelope, or a list of them. Each is answered as it would be there.
#[utoipa::path(post, path = "/api/v1/agents/{agent_id}/inbox", operation_id = "post_inbox", tag = "Connections", params(
    ("agent_id" = String, Path, description = "Which agent speaks")),
    request_body(content = Object, description = "An envelope, or a list of them"),
    responses(
        (status = 200, description = "`messages`: the answers (`ack`, `error`, `heartbeat_ack`), in order"),
        (status = 401, description = "No token, or a bad one", body = Problem),
        (status = 403, description = "The token of another agent", body = Problem),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "Neither an envelope nor a list", body = Problem)))]
pub(crate) async fn post(
    State(live): State<Live>,
    context: Context<Acts>,
    Path(agent): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let input = input.unlooked();
    let text = std::str::from_utf8(&input.bytes)
        .map_err(|_| BodyError::NotJson { detail: "The body is not UTF-8.".to_owned() })?;
    let messages: Vec<&str> = if text.trim_ascii_start().starts_with('[') {
        let listed: Vec<&RawValue> = serde_json::from_str(text)
            .map_err(|error| BodyError::NotJson { detail: format!("The body is not JSON: {error}.") })?;
        listed.into_iter().map(RawValue::get).collect()
    } else {
        body::parse_value(&input.bytes)?;
        vec![text]
    };
    if messages.len() > MESSAGES_MAX {
        let fault =
            signalbox_wire::fault::Fault::new("", format!("must have at most {MESSAGES_MAX} messages"));
        return Err(vec![fault].into());
    }
    let admitted = admitted(&live, &context, &agent).await?;
    let answers = live.take_in(&admitted, &messages).await?;
    let mut text = String::from("{\"messages\":");
    list(&mut text, answers.iter().map(|answer| &answer.text[..]));
    text.push('}');
    Ok(Reply::written(text))
}

async fn admitted(live: &Live, context: &Context<Acts>, agent: &str) -> Result<Admitted, Refusal> {
    match live.admit_caller(&context.caller, agent).await? {
        Verdict::Admitted(admitted) => Ok(admitted),
        Verdict::Refused(_, problem) => Err(problem.into()),
    }
}

/// Writes JSON texts as a list.
fn list<'t>(into: &mut String, texts: impl Iterator<Item = &'t [u8]>) {
    into.push('[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            into.push(',');
        }
        into.push_str(&String::from_utf8_lossy(text));
    }
    into.push(']');
}

fn seconds(text: &str) -> Result<u64, String> {
    let read = text.parse().ok().filter(|seconds| *seconds <= WAIT_MAX_S);
    read.ok_or_else(|| format!("must be a number of seconds from 0 to {WAIT_MAX_S}"))
}
