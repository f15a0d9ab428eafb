//! The schemas of tools, registered and built in.

use std::sync::Arc;

use serde_json::Value;
use signalbox_core::Versioned;
use signalbox_core::decision::Tool;
use signalbox_core::steps::Steps;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{TenantId, ToolName};

use super::built_in::BuiltIn;
use crate::engine::schema::{self, Schema, Unfit};
use crate::http::problem::Refusal;

/// Compiled schemas of tools.
#[derive(Clone, Default)]
pub(crate) struct Schemas(schema::Schemas<SchemaKey>);

/// Whose tool, and which version of it; a built-in one has neither tenant nor version.
type SchemaKey = (Option<TenantId>, ToolName, i64);

/// Why arguments cannot be passed on.
#[derive(Debug)]
pub(super) enum Unfitting {
    /// It takes more steps to tell than may be taken here.
    TooLong,
    /// They do not fit, or their schema is broken.
    Refused(Refusal),
}

impl From<Unfit> for Unfitting {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::TooLong => Self::TooLong,
            Unfit::Faults(faults) => Self::Refused(faults.into()),
        }
    }
}

impl Schemas {
    /// Holds arguments, which stood at a place, against the schema of a registered tool.
    pub(super) fn check_registered(
        &self,
        tenant: &TenantId,
        tool: &Versioned<Tool>,
        (arguments, pointer): (&Value, &str),
        steps: &Steps,
    ) -> Result<(), Unfitting> {
        let key = (Some(tenant.clone()), tool.value.name.clone(), tool.version);
        let schema = self.held(key, steps, || Schema::compile(&tool.value.parameters))?;
        Ok(schema.check(arguments, pointer, steps)?)
    }

    /// Holds arguments against the schema of a built-in tool.
    pub(super) fn check_built_in(
        &self,
        tool: BuiltIn,
        (arguments, pointer): (&Value, &str),
        steps: &Steps,
    ) -> Result<(), Unfitting> {
        let name =
            ToolName::parse(tool.name()).map_err(|error| Unfitting::Refused(Refusal::failed(error)))?;
        let schema = self.held((None, name, 0), steps, || Schema::compile(&tool.parameters()))?;
        Ok(schema.check(arguments, pointer, steps)?)
    }

    fn held(
        &self,
        key: SchemaKey,
        steps: &Steps,
        compile: impl FnOnce() -> Result<Schema, Vec<Fault>>,
    ) -> Result<Arc<Schema>, Unfitting> {
        let name = key.1.clone();
        self.0.held(key, steps, compile).map_err(|unfit| match unfit {
            Unfit::TooLong => Unfitting::TooLong,
            // It was checked when the tool was registered.
            Unfit::Faults(faults) => Unfitting::Refused(Refusal::failed(format!(
                "the schema of {name} does not compile any more: {faults:?}"
            ))),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_wire::time::Timestamp;

    use super::*;

    #[test]
    fn a_tool_that_was_registered_anew_is_checked_by_its_new_schema() {
        let schemas = Schemas::default();
        let tenant = TenantId::default_tenant();
        let tool = |version, parameters: Value| Versioned {
            version,
            value: Arc::new(Tool {
                name: ToolName::parse("t").expect("valid"),
                description: String::new(),
                parameters: parameters.as_object().cloned().unwrap_or_default(),
                endpoint: "http://127.0.0.1:9".into(),
                created_at: Timestamp::default(),
            }),
        };
        let check = |tool: &Versioned<Tool>| {
            schemas.check_registered(&tenant, tool, (&json!(5), ""), &Steps::unbounded())
        };
        assert!(check(&tool(1, json!({"type": "integer"}))).is_ok());
        assert!(check(&tool(2, json!({"type": "string"}))).is_err());
        assert!(check(&tool(1, json!({"type": "string"}))).is_ok(), "held under its version");
        let check = |steps: &Steps| schemas.check_built_in(BuiltIn::HttpGet, (&json!({"url": 5}), ""), steps);
        assert!(matches!(check(&Steps::quick()), Err(Unfitting::TooLong)), "it has to be compiled");
        for steps in [Steps::unbounded(), Steps::quick()] {
            assert!(matches!(check(&steps), Err(Unfitting::Refused(_))));
        }
    }
}
