//! A capability of an agent, as every surface writes it: a bare name, or a name with details.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::body::{Faults, Text};

/// The most capabilities that one agent may have.
pub const CAPABILITIES_MAX: usize = 1000;

/// A capability: a bare name, or one with details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        parameters: Option<Map<String, Value>>,
        /// Its own version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
}

/// The forms of a capability, for the description of the API. The second has a name there, as generators of clients make a
/// type of it.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum CapabilityForms {
    /// Its name.
    Name(String),
    /// Its name and what is known of it.
    Detailed(CapabilityDetails),
}

/// A capability's name and what is known of it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct CapabilityDetails {
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// What it does.
    description: Option<String>,
    /// What it takes: a JSON Schema, or names with descriptions.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// Its own version.
    version: Option<String>,
}

impl PartialSchema for CapabilityBody {
    fn schema() -> RefOr<Schema> {
        CapabilityForms::schema()
    }
}

impl ToSchema for CapabilityBody {
    fn name() -> Cow<'static, str> {
        "CapabilityBody".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CapabilityForms::schemas(schemas);
        schemas.push((CapabilityDetails::name().into_owned(), CapabilityDetails::schema()));
    }
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
