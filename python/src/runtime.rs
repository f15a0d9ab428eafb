//! The one tokio runtime of the extension, made when it is first needed, and anew in a forked process.

use std::io;

use parking_lot::Mutex;
use pyo3::PyResult;
use pyo3::exceptions::PyOSError;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that carry connections; all of them wait most of the time.
const WORKERS: usize = 2;

struct Started {
    process: u32,
    runtime: Runtime,
}

static RUNTIME: Mutex<Option<Started>> = Mutex::new(None);

/// The runtime of this process.
pub(crate) fn handle() -> PyResult<Handle> {
    let mut slot = RUNTIME.lock();
    let process = std::process::id();
    match &*slot {
        Some(started) if started.process == process => return Ok(started.runtime.handle().clone()),
        _ => {}
    }
    let cannot = |error| PyOSError::new_err(format!("the threads of agentkit cannot be started: {error}"));
    let started = Started { process, runtime: build().map_err(cannot)? };
    let handle = started.runtime.handle().clone();
    // The threads of a parent's runtime are not in this process: there is nothing to shut down.
    std::mem::forget(slot.replace(started));
    Ok(handle)
}

fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(WORKERS).thread_name("agentkit").enable_all().build()
}
