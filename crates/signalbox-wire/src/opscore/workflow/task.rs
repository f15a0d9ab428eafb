//! A task of a definition as it is written.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::or_default;
use crate::duration::Period;

/// A task of a definition. At most one of `agentCapability`, `agentId`, `tool`, `workflow`, `wait`, `approve` and
/// `sleep` says who or what does it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowTask {
    /// Unique in the definition: letters, digits and `_ . : -`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$")]
    pub task_id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any agent that offers this may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_capability: Option<String>,
    /// Only this agent may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// This registered tool does it; its arguments are the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub tool: Option<String>,
    /// A session of this workflow does it; its input are the parameters. The id, or an object with it as `id`.
    #[serde(default, deserialize_with = "id_or_object", skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<ChildForm>)]
    pub workflow: Option<String>,
    /// It is done when a signal comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitRule>,
    /// It is done when somebody agrees to the tasks that follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<ApproveRule>,
    /// It is done after this time: a duration, or a text with `${…}` that gives one or an RFC 3339 moment.
    #[serde(default, deserialize_with = "period_or_text", skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<SleepForm>)]
    pub sleep: Option<String>,
    /// What whoever does it is given; may hold `${…}` expressions.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// The task that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_task_id: Option<String>,
    /// Tasks that must have gone well before it starts.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000)]
    pub depends_on: Vec<String>,
    /// An expression; the task is passed over when it is not true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub when: Option<String>,
    /// An expression that gives a list; the task is done once for each item, which it sees as `item` and `index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub for_each: Option<String>,
    /// How many of those may be with somebody at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max_parallel: Option<u32>,
    /// How often it is tried again, 0 to 100; 3 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub max_retries: Option<u32>,
    /// What is tried again, and after how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryBody>,
    /// How long one attempt may take from its dispatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// How long it may wait for an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_timeout: Option<Period>,
    /// How long its agent may be silent about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Period>,
    /// Among tasks that wait for the same agents the higher goes first; 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -100, maximum = 100)]
    pub priority: Option<i32>,
    /// What its failure means to the session; `fail` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// What undoes it when the session fails or is cancelled after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<CompensateBody>,
}

/// The forms that another workflow is read from, for the description of the API.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ChildForm {
    /// Its id.
    Id(String),
    /// The same in an object.
    Object {
        /// Its id.
        id: String,
    },
}

/// The forms that a sleep is read from, for the description of the API.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum SleepForm {
    /// A duration, or a text with `${…}`.
    Text(String),
    /// Seconds.
    Seconds(f64),
}

/// A wait for a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitRule {
    /// The signal's name.
    #[schema(min_length = 1, max_length = 256)]
    pub signal: String,
    /// How long it waits, from when it begins to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
}

/// A wait for somebody's consent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApproveRule {
    /// Who may consent, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub who: Option<String>,
    /// To what, in words for people; may hold `${…}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub what: Option<String>,
    /// How long it waits, from when it begins to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
}

/// What is tried again, and after how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryBody {
    /// The longest wait before the second attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Period>,
    /// How many times longer each further wait may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub factor: Option<f64>,
    /// The longest wait of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Period>,
    /// Only these failures are tried again: `error`, `timeout`, `heartbeat`, `undelivered`, or an agent's own codes.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<String>,
}

/// What a task's failure means to its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", from = "OnFailureForm")]
pub enum OnFailure {
    /// The session fails.
    Fail,
    /// What follows goes on as if the task had gone well.
    Continue,
    /// The session goes on with this task instead of what follows.
    Goto(String),
}

/// The forms that are read: beside `goto`, unknown keys are nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum OnFailureForm {
    Word(OnFailureWord),
    Goto { goto: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnFailureWord {
    Fail,
    Continue,
}

impl From<OnFailureForm> for OnFailure {
    fn from(form: OnFailureForm) -> Self {
        match form {
            OnFailureForm::Word(OnFailureWord::Fail) => Self::Fail,
            OnFailureForm::Word(OnFailureWord::Continue) => Self::Continue,
            OnFailureForm::Goto { goto } => Self::Goto(goto),
        }
    }
}

/// What undoes a task; at most one of the first three.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompensateBody {
    /// Any agent that offers this may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_capability: Option<String>,
    /// Only this agent may do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// This registered tool does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub tool: Option<String>,
    /// What whoever does it is given; `${…}` sees the task's own result too.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// How often it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub max_retries: Option<u32>,
    /// How long one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
}

fn id_or_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id),
        Some(other) => {
            let id = other.get("id").and_then(Value::as_str);
            Some(id.ok_or_else(|| de::Error::custom("must be an id, or an object with an id"))?.to_owned())
        }
    })
}

fn period_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(Period::from_value(&other).map_err(de::Error::custom)?.to_string()),
    })
}
