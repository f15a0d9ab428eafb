//! A capability of an agent, as every surface writes it: a bare name, or a name with details.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::{Faults, Text};

/// The most capabilities that one agent may have.
pub const CAPABILITIES_MAX: usize = 1000;

/// A capability: a bare name, or one with details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CapabilityBody {
    /// Its name.
    Name(String),
    /// Its name and what is known of it.
    Detailed {
        /// Its name.
        name: String,
        /// What it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// What it takes: a JSON Schema, or names with descriptions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        parameters: Option<Map<String, Value>>,
        /// Its own version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
}

impl<T: Into<String>> From<T> for CapabilityBody {
    fn from(name: T) -> Self {
        Self::Name(name.into())
    }
}

impl CapabilityBody {
    /// The capability's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Detailed { name, .. } => name,
        }
    }

    /// Adds the faults of one capability.
    pub fn check(faults: &mut Faults, pointer: &str, value: &Value) {
        if value.is_string() {
            faults.string(pointer, value, Text::NAME);
        } else if !value.is_object() {
            faults.add(pointer, "must be a string or an object with a name");
        } else if let Some(mut fields) = faults.object(pointer, value) {
            fields.required_string("name", Text::NAME);
            fields.optional_string("description", Text::DESCRIPTION);
            fields.optional_object("parameters");
            fields.optional_string("version", Text::VERSION);
        }
    }
}
