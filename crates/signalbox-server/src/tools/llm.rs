//! The language model that the built-in tool `generic_llm_completion` asks: any service that speaks OpenAI's
//! `/chat/completions`. What it asks costs the operator money, so that its key stays here: it is in no answer and no log.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use signalbox_core::limits::bounded;
use signalbox_wire::keys::Secret;

use crate::config::LlmSettings;
use crate::egress::{EgressError, USER_AGENT};

/// Characters of what the service says of a failure that are passed on.
const REASON_CHARS_MAX: usize = 500;
/// Bytes of an answer that are read.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What a call is told where no service is configured.
pub(super) const NOT_CONFIGURED: &str = "no language model is configured; the operator names an OpenAI-compatible service as llm_url, with llm_model";

/// The service, as the operator has set it.
#[derive(Clone)]
pub(crate) struct Llm {
    url: String,
    model: Option<String>,
    key: Option<Secret>,
    pub(super) timeout: Duration,
}

impl Llm {
    /// The one that is configured.
    pub(crate) fn of(settings: &LlmSettings) -> Option<Self> {
        Some(Self {
            url: format!("{}/chat/completions", settings.llm_url.as_ref()?),
            model: settings.llm_model.clone(),
            key: settings.llm_api_key.clone(),
            timeout: settings.llm_timeout,
        })
    }

    /// The request for a completion, or what its arguments lack.
    pub(super) fn request(
        &self,
        arguments: &Value,
        trace: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let body = self.asked(arguments)?;
        let mut request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        if let Some(key) = &self.key {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let mut value = value.map_err(|_| "llm_api_key cannot be sent in a header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace);
        }
        request
            .body(Full::new(body.to_string().into()))
            .map_err(|error| format!("llm_url cannot be called: {error}"))
    }

    fn asked(&self, arguments: &Value) -> Result<Value, String> {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        let model = text("model").or(self.model.as_deref());
        let model =
            model.ok_or("no model is named; give one as model, or have the operator set llm_model")?;
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let mut messages: Vec<Value> =
            text("system_prompt").map(|text| message("system", text)).into_iter().collect();
        messages.extend(arguments.get("messages").and_then(Value::as_array).cloned().unwrap_or_default());
        messages.extend(text("prompt").map(|text| message("user", text)));
        let mut asked = Map::from_iter([
            ("model".to_owned(), model.into()),
            ("messages".to_owned(), messages.into()),
            ("stream".to_owned(), false.into()),
        ]);
        for name in ["max_tokens", "temperature", "stop"] {
            if let Some(value) = arguments.get(name) {
                asked.insert(name.to_owned(), value.clone());
            }
        }
        Ok(asked.into())
    }

    /// What the service answered, in this tool's form, or why that is no completion.
    pub(super) fn completion(&self, status: StatusCode, body: &[u8]) -> Result<Value, String> {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        if !status.is_success() {
            let said =
                answer.pointer("/error/message").or_else(|| answer.get("error")).and_then(Value::as_str);
            let said = said.map(|said| format!(": {}", self.without_key(said))).unwrap_or_default();
            return Err(format!("the language model's service answered {}{said}", status.as_u16()));
        }
        let choice =
            answer.pointer("/choices/0").ok_or("the language model's service did not answer with choices")?;
        let reason = &choice["finish_reason"];
        let text = content(&choice["message"]["content"])
            .ok_or_else(|| format!("the language model answered without a text (finish_reason {reason})"))?;
        Ok(json!({
            "completion": text, "model": answer["model"], "finish_reason": reason, "usage": answer["usage"],
        }))
    }

    /// Why the service was not asked.
    pub(super) fn unasked(error: &EgressError) -> String {
        match error {
            EgressError::TimedOut(after) => format!(
                "the language model did not answer within {} s; try again, or have the operator raise llm_timeout",
                after.as_secs_f32()
            ),
            other => format!("the language model's service was not reached: {other}"),
        }
    }

    /// What the service said, cut short. Some repeat the key that they do not know.
    fn without_key(&self, said: &str) -> String {
        let said = match &self.key {
            Some(key) => said.replace(key.expose(), "[redacted]"),
            None => said.to_owned(),
        };
        bounded(&said).chars().take(REASON_CHARS_MAX).collect()
    }
}

/// A message's text: as it is, or in parts.
fn content(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            if texts.is_empty() { None } else { Some(texts.concat()) }
        }
        _ => None,
    }
}

/// The schema of the tool's arguments.
pub(super) fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "description": "What the model is asked, as a user's message after `messages`.",
                "minLength": 1},
            "system_prompt": {"type": "string", "description": "What it is told beforehand."},
            "messages": {"type": "array", "description": "A conversation before it, in OpenAI's form.", "minItems": 1,
                "items": {"type": "object", "required": ["role", "content"]}},
            "model": {"type": "string", "description": "Which model, where not the operator's.", "minLength": 1,
                "maxLength": 256},
            "max_tokens": {"type": "integer", "description": "Tokens that the answer may have.", "minimum": 1},
            "temperature": {"type": "number", "description": "How freely it answers.", "minimum": 0, "maximum": 2},
            "stop": {"description": "A text, or texts, that end the answer.", "type": ["string", "array"]},
        },
        "anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}],
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llm(model: Option<&str>) -> Llm {
        Llm {
            url: "http://127.0.0.1:9/v1/chat/completions".to_owned(),
            model: model.map(str::to_owned),
            key: Some(Secret::new("sk-secret")),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn arguments_become_a_chat() {
        let llm = llm(Some("small"));
        let arguments = json!({"prompt": "b", "system_prompt": "s", "max_tokens": 5,
            "messages": [{"role": "assistant", "content": "a"}]});
        let expected = json!({"model": "small", "stream": false, "max_tokens": 5, "messages": [
            {"role": "system", "content": "s"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]});
        assert_eq!(llm.asked(&arguments), Ok(expected));
        assert_eq!(
            llm.asked(&json!({"prompt": "x", "model": "large"})).map(|asked| asked["model"].clone()),
            Ok(json!("large"))
        );
        let unnamed = self::llm(None).asked(&json!({"prompt": "x"}));
        assert!(unnamed.is_err_and(|reason| reason.contains("llm_model")));
        let request = llm.request(&arguments, None).expect("a request");
        assert!(!format!("{:?}", request.headers()).contains("sk-secret"), "it is not shown");
    }

    #[test]
    fn only_a_text_is_a_completion() {
        let llm = llm(None);
        let read = |answer: Value| llm.completion(StatusCode::OK, answer.to_string().as_bytes());
        let message =
            |content: Value| json!({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]});
        assert_eq!(read(message(json!("hi"))).map(|read| read["completion"].clone()), Ok(json!("hi")));
        let parts = message(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]));
        assert_eq!(read(parts).map(|read| read["completion"].clone()), Ok(json!("ab")));
        for answer in [message(Value::Null), json!({}), json!([]), json!({"choices": []})] {
            assert!(read(answer.clone()).is_err(), "{answer}");
        }
        let refused = json!({"error": {"message": "no such key: sk-secret"}}).to_string();
        let refused = llm.completion(StatusCode::UNAUTHORIZED, refused.as_bytes());
        assert_eq!(
            refused,
            Err("the language model's service answered 401: no such key: [redacted]".to_owned())
        );
        assert!(llm.completion(StatusCode::BAD_GATEWAY, b"<html>").is_err());
    }
}
