//! [`Call`]: something that the runtime does for Python, once, and that is either waited for without the interpreter's lock
//! or handed to [`Completions`], from where a thread of Python's fetches it.

use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::answer::Answer;
use crate::runtime;

/// How often a wait looks whether the user pressed Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);
/// Answers that are handed over under one taking of the interpreter's lock.
const BATCH_MAX: usize = 256;

/// Tells the answer once. Dropped before that, because the task was cancelled or panicked, it tells so: nobody waits for ever.
struct Teller<F: FnOnce(Answer)>(Option<F>);

impl<F: FnOnce(Answer)> Teller<F> {
    fn tell(mut self, answer: Answer) {
        if let Some(tell) = self.0.take() {
            tell(answer);
        }
    }
}

impl<F: FnOnce(Answer)> Drop for Teller<F> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Answer::lost(
                "the call ended without an answer: it was cancelled, or it failed inside; try it again",
            ));
        }
    }
}

type Future = Pin<Box<dyn std::future::Future<Output = Answer> + Send>>;

/// A call that is ready to go, once.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Call {
    future: Mutex<Option<Future>>,
    begun: Mutex<Option<AbortHandle>>,
}

/// The answers of calls that nobody waits for in a thread: at most as many as there are calls under way.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Completions {
    sender: Sender<(u64, Answer)>,
    receiver: Mutex<Receiver<(u64, Answer)>>,
}

impl Call {
    pub(crate) fn new(future: impl std::future::Future<Output = Answer> + Send + 'static) -> Self {
        Self { future: Mutex::new(Some(Box::pin(future))), begun: Mutex::new(None) }
    }

    /// Begins it; the answer goes to `tell`.
    fn begin(&self, tell: impl FnOnce(Answer) + Send + 'static) -> PyResult<()> {
        let future = self.future.lock().take();
        let future =
            future.ok_or_else(|| PyRuntimeError::new_err("a call is made once; make another one"))?;
        let teller = Teller(Some(tell));
        let task = runtime::handle()?.spawn(async move { teller.tell(future.await) });
        *self.begun.lock() = Some(task.abort_handle());
        Ok(())
    }

    fn abort(&self) {
        self.future.lock().take();
        if let Some(task) = self.begun.lock().take() {
            task.abort();
        }
    }
}

#[pymethods]
impl Call {
    fn wait(&self, py: Python<'_>) -> PyResult<Answer> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.begin(move |answer| drop(sender.send(answer)))?;
        let receiver = Mutex::new(receiver);
        loop {
            match py.detach(|| receiver.lock().recv_timeout(SIGNALS_EVERY)) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("the call was cancelled"));
                }
                Err(RecvTimeoutError::Timeout) => py.check_signals().inspect_err(|_| self.abort())?,
            }
        }
    }

    fn submit(&self, completions: &Completions, token: u64) -> PyResult<()> {
        let sender = completions.sender.clone();
        self.begin(move |answer| drop(sender.send((token, answer))))
    }

    fn cancel(&self) {
        self.abort();
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver: Mutex::new(receiver) }
    }

    /// Waits for an answer, and gives it with those that came beside it.
    fn next(&self, py: Python<'_>) -> Vec<(u64, Answer)> {
        py.detach(|| {
            let receiver = self.receiver.lock();
            let first = receiver.recv().ok();
            first.into_iter().chain(receiver.try_iter().take(BATCH_MAX)).collect()
        })
    }
}
