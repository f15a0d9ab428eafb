//! The schemas of tools, registered and built in.

use std::sync::Arc;

use signalbox_core::Versioned;
use signalbox_core::decision::Tool;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{TenantId, ToolName};

use super::built_in::BuiltIn;
use crate::engine::schema::{self, Schema};
use crate::http::problem::Refusal;

/// Compiled schemas of tools.
#[derive(Clone, Default)]
pub(crate) struct Schemas(schema::Schemas<SchemaKey>);

/// Whose tool, and which version of it; a built-in one has neither tenant nor version.
type SchemaKey = (Option<TenantId>, ToolName, i64);

impl Schemas {
    /// The schema of a registered tool.
    pub(super) fn registered(
        &self,
        tenant: &TenantId,
        tool: &Versioned<Tool>,
    ) -> Result<Arc<Schema>, Refusal> {
        let pointer = (Some(tenant.clone()), tool.value.name.clone(), tool.version);
        self.held(pointer, || Schema::compile(&tool.value.parameters))
    }

    /// The schema of a built-in tool.
    pub(super) fn built_in(&self, tool: BuiltIn) -> Result<Arc<Schema>, Refusal> {
        let name = ToolName::parse(tool.name()).map_err(Refusal::failed)?;
        self.held((None, name, 0), || Schema::compile(&tool.parameters()))
    }

    fn held(
        &self,
        pointer: SchemaKey,
        compile: impl FnOnce() -> Result<Schema, Vec<Fault>>,
    ) -> Result<Arc<Schema>, Refusal> {
        let name = pointer.1.clone();
        // It was checked when the tool was registered.
        self.0.held(pointer, compile).map_err(|faults| {
            Refusal::failed(format!("the schema of {name} does not compile any more: {faults:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
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
            schemas.registered(&tenant, tool).expect("compiles").check(&json!(5), "")
        };
        assert!(check(&tool(1, json!({"type": "integer"}))).is_ok());
        assert!(check(&tool(2, json!({"type": "string"}))).is_err());
        assert!(check(&tool(1, json!({"type": "string"}))).is_ok(), "held under its version");
        assert!(schemas.built_in(BuiltIn::HttpGet).expect("compiles").check(&json!({"url": 5}), "").is_err());
    }
}
