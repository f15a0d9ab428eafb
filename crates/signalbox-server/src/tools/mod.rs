//! The call of a tool: its arguments are held against its schema, its endpoint is asked, its answer passed on.
//!
//! What the tool itself says, also that it failed, is a 200; that it could not be asked is a problem.

mod built_in;
mod llm;
mod schemas;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::Value;
use signalbox_core::Rejected;
use signalbox_core::decision::Tool;
use signalbox_core::due::Lane;
use signalbox_core::limits::bounded;
use signalbox_core::steps::Steps;
use signalbox_store::Store;
use signalbox_wire::agentkit::{ToolAnswer, ToolReply};
use signalbox_wire::id::{TenantId, ToolName};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

pub(crate) use self::built_in::BuiltIn;
use self::built_in::Ways;
pub(crate) use self::llm::Llm;
pub(crate) use self::schemas::Schemas;
use self::schemas::Unfitting;
use crate::egress::{Egress, EgressError, OnBehalfOf, USER_AGENT};
use crate::engine::LongWork;
use crate::http::problem::Refusal;

/// Bytes of a tool's answer that are read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Seconds after which to try a tool again that could not be reached.
const RETRY_AFTER_S: u32 = 5;

/// What a tool's endpoint gets.
#[derive(Serialize)]
struct Call<'a> {
    arguments: &'a Value,
}

/// What a call is made for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    /// The `traceparent` that goes with it.
    pub(crate) trace: Option<&'a str>,
    /// The attempt of a task that it makes: its name, the same at every try of it, and its number.
    pub(crate) attempt: Option<(&'a str, u32)>,
}

/// The tools that can be called, by agents and by workflows; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tools(Arc<Parts>);

/// What calls are made with.
pub(crate) struct Parts {
    pub(crate) store: Store,
    /// The way to the tools that clients register.
    pub(crate) egress: Egress,
    /// The way of the built-in tool that reads pages.
    pub(crate) pages: Egress,
    /// The language model, where one is configured.
    pub(crate) llm: Option<Llm>,
    /// How long a tool may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) schemas: Schemas,
    /// Where a check that takes long is made.
    pub(crate) long: LongWork,
}

impl Tools {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Calls the tool called `name` with `arguments`, which stood at `place`.
    pub(crate) async fn call(
        &self,
        tenant: &TenantId,
        name: &str,
        arguments: (&Value, &str),
        origin: Origin<'_>,
    ) -> Result<ToolAnswer, Refusal> {
        let trace = origin.trace;
        let schemas = &self.0.schemas;
        if let Some(tool) = BuiltIn::named(name) {
            self.check(|steps| schemas.check_built_in(tool, arguments, steps)).await?;
            let Parts { egress, pages, llm, timeout, .. } = &*self.0;
            let ways = Ways { tenant, egress, pages, llm: llm.as_ref(), timeout: *timeout };
            return tool.run(ways, arguments, trace).await;
        }
        let unknown = || Rejected::UnknownTool(bounded(name));
        let known = ToolName::parse(name).map_err(|_| unknown())?;
        let tool = self.0.store.tool(tenant, &known).await?.ok_or_else(unknown)?;
        self.check(|steps| schemas.check_registered(tenant, &tool, arguments, steps)).await?;
        self.ask(tenant, &tool.value, arguments.0, origin).await
    }

    /// Makes a check of arguments, one that takes long where nobody waits for the thread.
    async fn check(&self, check: impl Fn(&Steps) -> Result<(), Unfitting>) -> Result<(), Refusal> {
        let checked = match check(&Steps::quick()) {
            Err(Unfitting::TooLong) => self.0.long.run(|| check(&Steps::unbounded())).await,
            checked => checked,
        };
        checked.map_err(|unfitting| match unfitting {
            Unfitting::Refused(refusal) => refusal,
            Unfitting::TooLong => Refusal::failed("a check took more steps than there are"),
        })
    }

    /// Asks a tool's endpoint.
    async fn ask(
        &self,
        tenant: &TenantId,
        tool: &Tool,
        arguments: &Value,
        origin: Origin<'_>,
    ) -> Result<ToolAnswer, Refusal> {
        let mut request = request(tool, arguments, origin).ok_or_else(Problem::internal)?;
        request.extensions_mut().insert(OnBehalfOf(tenant.clone()));
        let asked = self.0.egress.send(request, self.0.timeout, ANSWER_BYTES_MAX).await;
        let (status, _, body) = asked.map_err(|error| unasked(tool, &error))?;
        Ok(read(tool, status, &body)?)
    }
}

fn request(tool: &Tool, arguments: &Value, origin: Origin<'_>) -> Option<Request<Full<Bytes>>> {
    let body = serde_json::to_vec(&Call { arguments }).ok()?;
    let mut request = Request::post(&tool.endpoint)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, USER_AGENT);
    if let Some(trace) = origin.trace {
        request = request.header("traceparent", trace);
    }
    if let Some((id, attempt)) = origin.attempt {
        request = request.header("x-message-id", id).header("x-attempt", attempt);
    }
    request.body(Full::new(body.into())).ok()
}

/// What an endpoint's answer means.
fn read(tool: &Tool, status: StatusCode, body: &[u8]) -> Result<ToolAnswer, Problem> {
    let name = &tool.name;
    if !status.is_success() {
        let detail =
            format!("Tool '{name}' answered {}; its endpoint must answer 200 with JSON.", status.as_u16());
        return Err(Problem::new(ProblemKind::ToolFailed, detail));
    }
    match ToolReply::parse(body) {
        Ok(ToolReply::Success(data)) => Ok(ToolAnswer::success(name.as_str(), data)),
        Ok(ToolReply::Error(reason)) => Ok(ToolAnswer::failure(name.as_str(), &reason, false)),
        Err(error) => {
            let detail = format!(
                "Tool '{name}' did not answer with JSON: {error}; its endpoint must answer 200 with JSON."
            );
            Err(Problem::new(ProblemKind::ToolAnsweredBadly, detail))
        }
    }
}

/// Why an endpoint could not be asked.
fn unasked(tool: &Tool, error: &EgressError) -> Problem {
    let name = &tool.name;
    match error {
        EgressError::Refused(reason) => {
            // Its path and its user may hold secrets.
            let lane = Lane::endpoint(&tool.endpoint);
            let detail = format!(
                "Tool '{name}' could not be reached at {}: {reason}; see that it runs there, and try again.",
                lane.without_path()
            );
            Problem::new(ProblemKind::ToolUnreachable, detail).retry_after(RETRY_AFTER_S)
        }
        EgressError::TimedOut(after) => {
            let detail = format!(
                "Tool '{name}' did not answer within {} s; try again, or ask the operator to raise tool_timeout.",
                after.as_secs_f32()
            );
            Problem::new(ProblemKind::ToolTimeout, detail)
        }
        EgressError::NoRoom => {
            Problem::new(ProblemKind::OutboundFull, format!("Tool '{name}' was not called: {error}."))
                .retry_after(RETRY_AFTER_S)
        }
        EgressError::Forbidden(_) => Problem::forbidden(format!(
            "Tool '{name}' may not be called: {error}; register another endpoint."
        )),
        EgressError::Broken(_) | EgressError::TooLarge(_) => {
            Problem::new(ProblemKind::ToolAnsweredBadly, format!("Tool '{name}' answered badly: {error}."))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use signalbox_wire::agentkit::ToolStatus;
    use signalbox_wire::time::Timestamp;

    use super::*;

    fn tool() -> Tool {
        Tool {
            name: ToolName::parse("add").expect("valid"),
            description: String::new(),
            parameters: Map::new(),
            endpoint: "http://127.0.0.1:9/add?x=1".into(),
            created_at: Timestamp::default(),
        }
    }

    #[test]
    fn a_tool_gets_its_arguments_and_the_trace() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let origin = Origin { trace: Some(trace), attempt: Some(("tsk_1-2", 2)) };
        let request = request(&tool(), &json!({"a": 1}), origin).expect("a request");
        assert_eq!(request.headers()["x-message-id"], "tsk_1-2");
        assert_eq!(request.headers()["x-attempt"], "2");
        assert_eq!(request.uri(), "http://127.0.0.1:9/add?x=1");
        assert_eq!(request.headers()["traceparent"], trace);
        assert_eq!(request.headers()["content-type"], "application/json");
    }

    #[test]
    fn a_tools_own_failure_is_an_answer_and_a_bad_answer_a_problem() {
        let ok = StatusCode::OK;
        assert_eq!(read(&tool(), ok, b"{\"sum\":3}").expect("an answer").status, ToolStatus::Success);
        let failed =
            read(&tool(), ok, b"{\"status\":\"error\",\"error_message\":\"no\"}").expect("an answer");
        assert_eq!(failed.error_code.as_deref(), Some("EXTERNAL_TOOL_EXECUTION_FAILED"));
        for (status, body) in [(500, "{}"), (404, "{}"), (302, "{}"), (200, "<html>"), (204, "")] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                read(&tool(), status, body.as_bytes()).expect_err("a problem").status,
                502,
                "{status}"
            );
        }
    }

    #[test]
    fn each_way_of_not_answering_has_its_status() {
        let status = |error| unasked(&tool(), &error).status;
        assert_eq!(status(EgressError::Refused("no connection".into())), 503);
        assert_eq!(status(EgressError::TimedOut(Duration::from_secs(15))), 504);
        assert_eq!(status(EgressError::Forbidden("leads elsewhere".into())), 403);
        assert_eq!(status(EgressError::Broken("cut".into())), 502);
        assert_eq!(status(EgressError::TooLarge(1)), 502);
        assert!(unasked(&tool(), &EgressError::Refused("x".into())).retry_after_s.is_some());
    }
}
