//! The native part of the Python package `agentkit`: HTTP, WebSocket and the agent's runtime of `signalbox-client`, in
//! threads of their own.
//!
//! The invariant: no thread of the runtime takes the interpreter's lock. Python fetches what is for it and waits for it
//! without the lock, so a handler that holds the interpreter holds up no heartbeat, no reconnection and no report.

mod agent;
mod answer;
mod call;
mod client;
mod happening;
mod orders;
mod runtime;
mod waiting;
mod work;

/// The module `agentkit._native`.
#[pyo3::pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::agent::Agent;
    #[pymodule_export]
    use crate::answer::{Answer, Fault};
    #[pymodule_export]
    use crate::call::{Call, Completions};
    #[pymodule_export]
    use crate::client::{Client, Stream};
    #[pymodule_export]
    use crate::work::{Event, Work};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
