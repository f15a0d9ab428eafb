//! [`Client`]: any request of the API through the client's retries, and a session's events followed live.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use signalbox_client::{Body, EventStream, ListQuery, Method, RetryPolicy};
use tokio::sync::Mutex;

use crate::answer::Answer;
use crate::call::Call;

/// A client of one server on behalf of one caller.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Client {
    pub(crate) inner: signalbox_client::Client,
}

/// Events that come one by one.
#[pyclass(frozen, module = "agentkit._native")]
pub(crate) struct Stream(Arc<Mutex<EventStream>>);

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, api_key=None, timeout=None, attempts=None))]
    fn new(url: &str, api_key: Option<&str>, timeout: Option<f64>, attempts: Option<u32>) -> PyResult<Self> {
        // Connections are made later, but the pool's timers belong to the runtime from here on.
        let _guard = crate::runtime::handle()?;
        let mut inner = signalbox_client::Client::new(url, api_key)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        if let Some(attempts) = attempts {
            inner = inner.with_retry(RetryPolicy { attempts_max: attempts.max(1), ..RetryPolicy::default() });
        }
        Ok(Self { inner: within(inner, timeout)? })
    }

    #[getter]
    fn url(&self) -> &str {
        self.inner.base()
    }

    #[pyo3(signature = (method, path, query, body=None, content_type=None, idempotency_key=None, timeout=None))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn request(
        &self,
        method: &str,
        path: Vec<String>,
        query: Vec<(String, String)>,
        body: Option<&[u8]>,
        content_type: Option<String>,
        idempotency_key: Option<String>,
        timeout: Option<f64>,
    ) -> PyResult<Call> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| PyValueError::new_err(format!("the method '{method}': {error}")))?;
        let client = within(self.inner.clone(), timeout)?;
        let query = query.into_iter().fold(ListQuery::new(), |list, (name, value)| list.filter(name, value));
        let body = body.map(|bytes| Body {
            content_type: content_type.unwrap_or_else(|| "application/json".to_owned()),
            bytes: bytes.to_vec().into(),
        });
        Ok(Call::new(async move {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            client.request(method, &path, &query, body, idempotency_key.as_deref()).await.into()
        }))
    }

    #[pyo3(signature = (session_id, after=0))]
    fn session_events(&self, session_id: &str, after: u64) -> Stream {
        Stream(Arc::new(Mutex::new(self.inner.follow_session(session_id, after))))
    }
}

#[pymethods]
impl Stream {
    fn next(&self) -> Call {
        let stream = Arc::clone(&self.0);
        Call::new(async move {
            match stream.lock().await.next().await {
                Ok(Some(event)) => match serde_json::to_vec(&event) {
                    Ok(body) => Answer::ok(body),
                    Err(error) => Answer::unusable(error.to_string()),
                },
                Ok(None) => Answer::end(),
                Err(error) => error.into(),
            }
        })
    }
}

fn within(client: signalbox_client::Client, timeout: Option<f64>) -> PyResult<signalbox_client::Client> {
    let Some(seconds) = timeout else { return Ok(client) };
    let timeout = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("the timeout of {seconds} s: {error}")))?;
    Ok(client.with_timeout(timeout))
}
