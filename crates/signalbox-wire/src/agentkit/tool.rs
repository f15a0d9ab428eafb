//! Registering and showing a tool, and what its call answers.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Body, Faults, Text, or_default};
use crate::raw;
use crate::time::Timestamp;

/// `POST /v1/tools`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolBody {
    /// Unique in the tenant: letters, digits and `_ . -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.-]+$", example = "calculator")]
    pub name: String,
    /// What it does.
    #[schema(max_length = 4096)]
    pub description: String,
    /// A JSON Schema of its arguments; an empty one takes any.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Where calls are POSTed.
    #[schema(max_length = 2048, example = "http://127.0.0.1:9100/add")]
    pub endpoint: String,
}

/// A tool that can be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// A JSON Schema of its arguments.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// Where calls are POSTed; null for a built-in one.
    pub endpoint: Option<String>,
    /// When it was registered; null for a built-in one.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
}

/// What a call answers: also a tool's own failure is an answer, with status 200.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ToolAnswer {
    /// How it went.
    pub status: ToolStatus,
    /// How it went, in one sentence.
    pub message: String,
    /// The tool's answer as it was; null when it failed.
    #[serde(default)]
    #[schema(value_type = Value)]
    pub data: Option<Box<RawValue>>,
    /// Why it failed, in the tool's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// `EXTERNAL_TOOL_EXECUTION_FAILED`, or `LOCAL_TOOL_EXECUTION_FAILED` for a built-in tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolStatus {
    /// The tool answered.
    Success,
    /// The tool answered that it failed.
    Error,
    /// One that this version does not know; read, and never written.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// What a tool's endpoint answered.
#[derive(Debug, Clone)]
pub enum ToolReply {
    /// An answer.
    Success(Box<RawValue>),
    /// `{"status":"error"}`, with its `error_message`.
    Error(String),
}

impl ToolReply {
    /// Reads what an endpoint answered.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        raw::check(bytes)?;
        let answer: Box<RawValue> = serde_json::from_slice(bytes)?;
        let value: Value = serde_json::from_str(answer.get())?;
        if value.get("status").and_then(Value::as_str) != Some("error") {
            return Ok(Self::Success(answer));
        }
        let reason = ["error_message", "message", "error"]
            .iter()
            .find_map(|name| value.get(name).and_then(Value::as_str))
            .unwrap_or("the tool gave no reason");
        Ok(Self::Error(reason.to_owned()))
    }
}

impl ToolAnswer {
    /// The tool answered.
    #[must_use]
    pub fn success(tool: &str, data: Box<RawValue>) -> Self {
        Self {
            status: ToolStatus::Success,
            message: format!("Tool '{tool}' executed successfully."),
            data: Some(data),
            error_message: None,
            error_code: None,
        }
    }

    /// The tool answered that it failed; `local` for a built-in one.
    #[must_use]
    pub fn failure(tool: &str, reason: &str, local: bool) -> Self {
        let place = if local { "LOCAL" } else { "EXTERNAL" };
        Self {
            status: ToolStatus::Error,
            message: format!("Tool '{tool}' failed: {reason}"),
            data: None,
            error_message: Some(reason.to_owned()),
            error_code: Some(format!("{place}_TOOL_EXECUTION_FAILED")),
        }
    }
}

impl Body for ToolBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.required_string("name", Text::TOOL);
        fields.required_string("description", Text::DESCRIPTION);
        fields.required_string("endpoint", Text::ENDPOINT);
        fields.optional_object("parameters");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::tests::faults_of;

    #[test]
    fn all_faults_of_a_tool_are_told_at_once() {
        let found = faults_of::<ToolBody>(r#"{"name":"a b","parameters":true,"endpoint":""}"#);
        let expected = [
            "/name must hold only letters, digits and _ . -",
            "/description is required",
            "/endpoint must not be empty",
            "/parameters must be an object, not a boolean",
        ];
        assert_eq!(found, expected);
        let good = r#"{"name":"a.b-c_1","description":"","endpoint":"http://a","parameters":null}"#;
        assert_eq!(faults_of::<ToolBody>(good), Vec::<String>::new());
    }

    #[test]
    fn a_tool_s_answer_is_passed_on_as_it_was_and_its_failure_told() {
        let Ok(ToolReply::Success(data)) = ToolReply::parse(b" {\"r\":1.0} ") else { panic!("no answer") };
        let written = serde_json::to_string(&ToolAnswer::success("add", data)).unwrap();
        assert!(written.ends_with(r#""data":{"r":1.0}}"#), "{written}");

        let failed = br#"{"status":"error","error_message":"division by zero"}"#;
        let Ok(ToolReply::Error(reason)) = ToolReply::parse(failed) else { panic!("no failure") };
        let written = serde_json::to_value(ToolAnswer::failure("div", &reason, false)).unwrap();
        assert_eq!(
            written,
            json!({"status": "error", "message": "Tool 'div' failed: division by zero", "data": null,
                "error_message": "division by zero", "error_code": "EXTERNAL_TOOL_EXECUTION_FAILED"})
        );
        assert!(ToolReply::parse(b"<html>").is_err());
    }
}
