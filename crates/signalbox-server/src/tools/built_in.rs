//! The tools that every tenant has: `echo`, `http_get` and `generic_llm_completion`. They can be neither overwritten nor deleted.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};
use http_body_util::Full;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use signalbox_wire::agentkit::{ToolAnswer, ToolView};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;

use super::llm::{self, Llm};
use crate::egress::{Egress, EgressError, OnBehalfOf, USER_AGENT};
use crate::http::problem::Refusal;

/// Bytes of a page that `http_get` reads.
const PAGE_BYTES_MAX: usize = 256 << 10;
/// The headers of a page that are passed on.
const HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::CONTENT_LANGUAGE,
];

/// What calls of built-in tools are made with.
#[derive(Clone, Copy)]
pub(super) struct Ways<'a> {
    /// Who calls.
    pub(super) tenant: &'a TenantId,
    /// The way to the tools that clients register.
    pub(super) egress: &'a Egress,
    /// The way to pages.
    pub(super) pages: &'a Egress,
    /// The language model, where one is configured.
    pub(super) llm: Option<&'a Llm>,
    /// How long a page may take.
    pub(super) timeout: Duration,
}

/// A tool that is part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BuiltIn {
    /// Answers with its arguments.
    Echo,
    /// Gets a page.
    HttpGet,
    /// Asks a language model.
    LlmCompletion,
}

impl BuiltIn {
    /// All of them, by name.
    pub(crate) const ALL: [Self; 3] = [Self::Echo, Self::HttpGet, Self::LlmCompletion];

    /// The one with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::HttpGet => "http_get",
            Self::LlmCompletion => "generic_llm_completion",
        }
    }

    /// The schema of its arguments.
    pub(crate) fn parameters(self) -> Map<String, Value> {
        let schema = match self {
            Self::Echo => json!({
                "type": "object",
                "properties": {"text": {"description": "Anything; other fields come back as well."}},
            }),
            Self::HttpGet => json!({
                "type": "object",
                "properties": {
                    "url": {"type": "string", "description": "An http or https URL.", "minLength": 1, "maxLength": 2048},
                },
                "required": ["url"],
                "additionalProperties": false,
            }),
            Self::LlmCompletion => llm::parameters(),
        };
        match schema {
            Value::Object(schema) => schema,
            _ => Map::new(),
        }
    }

    /// The tool as this surface shows it.
    pub(crate) fn view(self) -> ToolView {
        let description = match self {
            Self::Echo => "Answers with its arguments.",
            Self::HttpGet => {
                "Gets a page on a public address and answers with its status, some of its headers, and its text."
            }
            Self::LlmCompletion => {
                "Asks the language model that the operator has configured, and answers with its text as completion."
            }
        };
        ToolView {
            name: self.name().to_owned(),
            description: description.to_owned(),
            parameters: self.parameters(),
            endpoint: None,
            created_at: None,
        }
    }

    /// Runs it with arguments that fit its schema; they stood at `place`.
    pub(super) async fn run(
        self,
        ways: Ways<'_>,
        (arguments, pointer): (&Value, &str),
        trace: Option<&str>,
    ) -> Result<ToolAnswer, Refusal> {
        match self {
            Self::Echo => self.success(arguments),
            Self::LlmCompletion => self.complete(ways, arguments, trace).await,
            Self::HttpGet => {
                let request = get(ways, (arguments, pointer), trace)?;
                match ways.pages.send(request, ways.timeout, PAGE_BYTES_MAX).await {
                    Ok((status, headers, body)) => self.success(&page(status.as_u16(), &headers, &body)),
                    Err(error) => Ok(ToolAnswer::failure(self.name(), &error.to_string(), true)),
                }
            }
        }
    }

    /// Asks the language model. That it could not be asked is an answer too.
    async fn complete(
        self,
        ways: Ways<'_>,
        arguments: &Value,
        trace: Option<&str>,
    ) -> Result<ToolAnswer, Refusal> {
        let failed = |reason: &str| Ok(ToolAnswer::failure(self.name(), reason, true));
        let Some(llm) = ways.llm else { return failed(llm::NOT_CONFIGURED) };
        let mut request = match llm.request(arguments, trace) {
            Ok(request) => request,
            Err(reason) => return failed(&reason),
        };
        request.extensions_mut().insert(OnBehalfOf(ways.tenant.clone()));
        match ways.egress.send(request, llm.timeout, llm::ANSWER_BYTES_MAX).await {
            Err(error) => failed(&Llm::unasked(&error)),
            Ok((status, _, body)) => match llm.completion(status, &body) {
                Ok(completion) => self.success(&completion),
                Err(reason) => failed(&reason),
            },
        }
    }

    fn success(self, data: &Value) -> Result<ToolAnswer, Refusal> {
        let data = to_raw_value(data).map_err(|_| Problem::internal())?;
        Ok(ToolAnswer::success(self.name(), data))
    }
}

/// The request for a page; an address that may not be called is a fault of the arguments.
fn get(
    ways: Ways<'_>,
    (arguments, pointer): (&Value, &str),
    trace: Option<&str>,
) -> Result<Request<Full<Bytes>>, Refusal> {
    let url = arguments.get("url").and_then(Value::as_str).unwrap_or_default();
    let target = ways.pages.target(url).map_err(|error| {
        let message = match error {
            EgressError::Forbidden(reason) if ways.egress.target(url).is_ok() => {
                format!("{reason} by http_get, unless the operator sets http_get_private")
            }
            EgressError::Forbidden(reason) => reason,
            other => other.to_string(),
        };
        vec![Fault::new(format!("{pointer}/url"), message)]
    })?;
    let mut request = Request::get(target)
        .extension(OnBehalfOf(ways.tenant.clone()))
        .header(header::USER_AGENT, USER_AGENT);
    if let Some(trace) = trace {
        request = request.header("traceparent", trace);
    }
    Ok(request.body(Full::default()).map_err(|_| Problem::internal())?)
}

fn page(status: u16, headers: &HeaderMap, body: &[u8]) -> Value {
    let headers = HEADERS.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), Value::from(value)))
    });
    json!({
        "status": status,
        "headers": headers.collect::<Map<_, _>>(),
        "body": String::from_utf8_lossy(body),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn they_are_found_by_their_names_alone() {
        for tool in BuiltIn::ALL {
            assert_eq!(BuiltIn::named(tool.name()), Some(tool));
            assert_eq!(tool.view().endpoint, None);
        }
        assert_eq!(BuiltIn::named("Echo"), None);
    }

    #[test]
    fn a_page_is_passed_on_with_few_of_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("secret"));
        let expected = json!({"status": 404, "headers": {"content-type": "text/plain"}, "body": "a\u{fffd}"});
        assert_eq!(page(404, &headers, b"a\xff"), expected);
    }
}
