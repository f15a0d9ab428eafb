//! [`Client`]: any request of the API through the client's retries, and what the server streams (a session's events, the log).

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use signalbox_client::{Body, Error, EventStream, Feed, ListQuery, Method, RetryPolicy};
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
pub(crate) struct Stream(Arc<Mutex<Source>>);

/// Where they come from.
enum Source {
    Session(EventStream),
    Feed(Feed),
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (url, api_key=None, timeout=None, attempts=None, tenant=None, key_source=None))]
    fn new(
        url: &str,
        api_key: Option<&str>,
        timeout: Option<f64>,
        attempts: Option<u32>,
        tenant: Option<&str>,
        key_source: Option<&str>,
    ) -> PyResult<Self> {
        // Connections are made later, but the pool's timers belong to the runtime from here on.
        let _guard = crate::runtime::handle()?;
        let mut inner = signalbox_client::Client::new(url, api_key)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        if let Some(attempts) = attempts {
            inner = inner.with_retry(RetryPolicy { attempts_max: attempts.max(1), ..RetryPolicy::default() });
        }
        if let Some(source) = key_source {
            inner = inner.key_from(source);
        }
        if let Some(tenant) = tenant {
            inner = inner.with_tenant(tenant).map_err(|error| PyValueError::new_err(error.to_string()))?;
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
        let query = list_query(query);
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
        Stream::new(Source::Session(self.inner.follow_session(session_id, after)))
    }

    #[pyo3(signature = (path, query, after=0))]
    fn follow(&self, path: Vec<String>, query: Vec<(String, String)>, after: u64) -> Stream {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        Stream::new(Source::Feed(self.inner.follow(&path, &list_query(query), after)))
    }
}

impl Stream {
    fn new(source: Source) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }
}

impl Source {
    /// The next one as JSON.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Session(events) => {
                let event = events.next().await?;
                let text = event.map(|event| serde_json::to_vec(&event)).transpose();
                text.map_err(|error| Error::Unusable {
                    what: "an event".to_owned(),
                    reason: error.to_string(),
                })
            }
            Self::Feed(feed) => Ok(feed.next().await?.map(String::into_bytes)),
        }
    }
}

#[pymethods]
impl Stream {
    fn next(&self) -> Call {
        let stream = Arc::clone(&self.0);
        Call::new(async move {
            match stream.lock().await.next().await {
                Ok(Some(text)) => Answer::ok(text),
                Ok(None) => Answer::end(),
                Err(error) => error.into(),
            }
        })
    }
}

fn list_query(pairs: Vec<(String, String)>) -> ListQuery {
    pairs.into_iter().fold(ListQuery::new(), |list, (name, value)| list.filter(name, value))
}

fn within(client: signalbox_client::Client, timeout: Option<f64>) -> PyResult<signalbox_client::Client> {
    let Some(seconds) = timeout else { return Ok(client) };
    let timeout = Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("the timeout of {seconds} s: {error}")))?;
    Ok(client.with_timeout(timeout))
}
