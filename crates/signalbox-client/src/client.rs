//! [`Client`]: where the server is, who calls, and how one call is built, sent and repeated. The calls
//! themselves are in one file for each kind of thing they are about.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde::Serialize;
use serde::de::DeserializeOwned;
use signalbox_wire::paging::Page;
use tracing::{debug, warn};
use url::Url;

use crate::answer::Answer;
use crate::edge;
use crate::error::Error;
use crate::retry::{Repeat, RetryPolicy};
use crate::transport::Transport;

#[cfg(test)]
mod tests;

/// What the events of requests are found by.
const TARGET: &str = "signalbox_client::request";
/// How long one attempt may take unless told otherwise: above the 15 s that a tool may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one server on behalf of one caller. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: Arc<Url>,
    pub(crate) transport: Transport,
    pub(crate) policy: RetryPolicy,
    timeout: Duration,
    /// Where the key comes from, for messages.
    key_source: Option<Arc<str>>,
}

/// Which part of a list is asked for, and by which filters.
#[derive(Debug, Clone, Default)]
pub struct ListQuery(Vec<(String, String)>);

/// The body of a [`Client::request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What it is, such as `application/json`.
    pub content_type: String,
    /// The body itself.
    pub bytes: Bytes,
}

/// The server where nothing says another.
pub const URL_DEFAULT: &str = "http://127.0.0.1:8000";

/// One call under construction.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    url: Result<Url, Error>,
    body: Option<Bytes>,
    headers: Vec<(&'static str, HeaderValue)>,
    repeat: Repeat,
}

impl Client {
    /// A client of the server at `base` (such as `http://127.0.0.1:8000`, also below a path), with an API
    /// key where the surface needs one.
    ///
    /// # Errors
    /// [`Error::Unusable`] when `base` is no http or https address or the key fits no header.
    pub fn new(base: &str, key: Option<&str>) -> Result<Self, Error> {
        let transport = Transport::new(key)?;
        let base = Arc::new(parse_base(base)?);
        Ok(Self {
            base,
            transport,
            policy: RetryPolicy::default(),
            timeout: ATTEMPT_TIMEOUT,
            key_source: None,
        })
    }

    /// A client by the environment: the server is `SIGNALBOX_URL`, else `OPSCORE_API_URL`, else [`URL_DEFAULT`]; the key
    /// is `SIGNALBOX_API_KEY`, else `OPSCORE_API_KEY`, else none. An empty variable counts as none.
    ///
    /// # Errors
    /// [`Error::Unusable`] as of [`Client::new`].
    pub fn from_env() -> Result<Self, Error> {
        let given = |names: [&'static str; 2]| {
            let values = names.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
            values.into_iter().find(|(_, value)| !value.is_empty())
        };
        let url = given(["SIGNALBOX_URL", "OPSCORE_API_URL"]).map(|(_, url)| url);
        let key = given(["SIGNALBOX_API_KEY", "OPSCORE_API_KEY"]);
        let client =
            Self::new(url.as_deref().unwrap_or(URL_DEFAULT), key.as_ref().map(|(_, key)| key.as_str()))?;
        Ok(match key {
            Some((name, _)) => client.key_from(name),
            None => client,
        })
    }

    /// The same client, whose key is said to come from there (a variable, an argument) where the server refuses it.
    #[must_use]
    pub fn key_from(mut self, source: &str) -> Self {
        self.key_source = Some(source.into());
        self
    }

    /// The key and where it comes from, for whoever has to change it.
    pub(crate) fn key_in_words(&self) -> String {
        match (&self.key_source, self.has_key()) {
            (_, false) => "a request without a key; set SIGNALBOX_API_KEY".to_owned(),
            (Some(source), true) => format!("the key of {source}"),
            (None, true) => "the key that the program gave".to_owned(),
        }
    }

    /// The same client on behalf of another caller: with another API key or token, or with none.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the key fits no header.
    pub fn with_key(mut self, key: Option<&str>) -> Result<Self, Error> {
        self.transport = self.transport.with_key(key)?;
        Ok(self)
    }

    /// The same client in another tenant; for the platform key, which may act in any.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the id fits no header.
    pub fn with_tenant(mut self, tenant_id: &str) -> Result<Self, Error> {
        let tenant =
            HeaderValue::try_from(tenant_id).map_err(|error| Error::unusable("the tenant's id", error))?;
        self.transport.tenant = Some(tenant);
        Ok(self)
    }

    /// Whether requests go out with an API key or token.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.transport.has_key()
    }

    /// The same client with another patience.
    #[must_use]
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The same client with another deadline for each attempt.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same client, which passes on what the server remarks on requests that it took: fields of a body that it does
    /// not know and that are nearly one it does.
    #[must_use]
    pub fn on_warning(mut self, tell: fn(&str)) -> Self {
        self.transport.on_warning = tell;
        self
    }

    /// The server's address as given, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether the server is alive.
    ///
    /// # Errors
    /// [`Error`] when it does not answer, or not well. Never repeated.
    pub async fn health(&self) -> Result<(), Error> {
        self.get(&["health"]).repeat(Repeat::Never).send().await.map(drop)
    }

    /// Whether the server can take work; the problem's detail names what is not ready.
    ///
    /// # Errors
    /// [`Error`] when it cannot. Never repeated.
    pub async fn ready(&self) -> Result<(), Error> {
        self.get(&["ready"]).repeat(Repeat::Never).send().await.map(drop)
    }

    /// Reads what a GET answers at a path of the API, which is given by its segments, as a type of the caller's choice.
    /// A [`serde_json::Value`] keeps also what this client does not know.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read<T: DeserializeOwned>(&self, path: &[&str], query: &ListQuery) -> Result<T, Error> {
        self.get(path).list(query).fetch().await
    }

    /// Any call of the API: for what this client has no method for, and for those who want the answer as it is. It is
    /// repeated as every call: a GET or PUT freely, a POST under its idempotency key (its own, where none is given),
    /// anything else only where the server cannot have seen it.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), signalbox_client::Error> {
    /// use signalbox_client::{Client, ListQuery, Method};
    /// let client = Client::from_env()?;
    /// let path = ["v1", "opscore", "sessions"];
    /// let answer = client.request(Method::GET, &path, &ListQuery::new().limit(5), None, None).await?;
    /// println!("{}", String::from_utf8_lossy(&answer.body));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error`]; an answer that is no success is an [`Error::Problem`], which has its body.
    pub async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &ListQuery,
        body: Option<Body>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut call = match method {
            Method::GET | Method::HEAD | Method::PUT | Method::OPTIONS => {
                self.call(method, path, Repeat::Harmless)
            }
            Method::POST if idempotency_key.is_none() => self.post(path),
            Method::POST => self.call(method, path, Repeat::Harmless),
            method => self.call(method, path, Repeat::Harmful),
        };
        if let Some(key) = idempotency_key {
            call = call.header("idempotency-key", key);
        }
        if let Some(body) = body {
            call = call.header(header::CONTENT_TYPE.as_str(), &body.content_type);
            call.body = Some(body.bytes);
        }
        call.list(query).answer().await
    }

    pub(crate) fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path, Repeat::Harmless)
    }

    /// A POST under an idempotency key of its own, so that its repeats are one call to the server.
    pub(crate) fn post(&self, path: &[&str]) -> Call<'_> {
        let mut call = self.call(Method::POST, path, Repeat::Harmless);
        if let Ok(key) = HeaderValue::try_from(edge::unique_key()) {
            call.headers.push(("idempotency-key", key));
        }
        call
    }

    /// A POST that is never repeated and leaves nothing behind on the server.
    pub(crate) fn post_once(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::POST, path, Repeat::Never)
    }

    /// A PATCH: repeated only where the server cannot have seen it.
    pub(crate) fn patch(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::PATCH, path, Repeat::Harmful)
    }

    pub(crate) fn delete(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::DELETE, path, Repeat::Harmful)
    }

    fn call(&self, method: Method, path: &[&str], repeat: Repeat) -> Call<'_> {
        Call { client: self, method, url: self.url(path), body: None, headers: Vec::new(), repeat }
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = Url::clone(&self.base);
        // A dot segment would be dropped from the path and the call would reach another resource.
        if let Some(id) = path.iter().find(|id| matches!(**id, "" | "." | "..")) {
            return Err(Error::unusable(format!("the id '{id}'"), "it cannot stand in a URL's path"));
        }
        url.path_segments_mut()
            .map_err(|()| Error::unusable(self.base.as_str(), "it cannot have a path"))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }
}

impl Body {
    /// A JSON body.
    #[must_use]
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { content_type: "application/json".to_owned(), bytes: bytes.into() }
    }

    /// A YAML body, such as a workflow's definition.
    #[must_use]
    pub fn yaml(bytes: impl Into<Bytes>) -> Self {
        Self { content_type: "application/yaml".to_owned(), bytes: bytes.into() }
    }
}

impl ListQuery {
    /// Everything, from the beginning, in pages of the server's choice.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many items in this page.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        self.filter("limit", limit.to_string())
    }

    /// Go on after an earlier page.
    #[must_use]
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.filter("cursor", cursor)
    }

    /// Only items that match, such as `("capability", "summarize")`.
    #[must_use]
    pub fn filter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }
}

impl Call<'_> {
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.raw("application/json", bytes),
            Err(error) => {
                self.url = Err(Error::unusable("the body", error));
                self
            }
        }
    }

    pub(crate) fn raw(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        match HeaderValue::try_from(value) {
            Ok(value) => self.headers.push((name, value)),
            Err(error) => self.url = Err(Error::unusable(format!("the header {name}"), error)),
        }
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    pub(crate) fn list(self, query: &ListQuery) -> Self {
        query.0.iter().fold(self, |call, (name, value)| call.query(name, value))
    }

    pub(crate) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Sends the call, again where that is safe and may help, and reads the answer's body.
    pub(crate) async fn send(self) -> Result<Bytes, Error> {
        self.answer().await.map(|answer| answer.body)
    }

    /// Sends the call, again where that is safe and may help, and reads the answer.
    pub(crate) async fn answer(mut self) -> Result<Answer, Error> {
        let url = std::mem::replace(&mut self.url, Err(Error::unusable("", "")))?;
        let (method, path) = (self.method.as_str().to_owned(), url.path());
        let mut attempt = 1;
        loop {
            let request = self.request(&url)?;
            let error = match self.client.transport.fetch(request, self.client.timeout).await {
                Ok(answer) => {
                    debug!(target: TARGET, method, path, attempt, status = answer.status, "answered");
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let status = error.status();
            let Some(wait) = self.client.policy.wait(&error, attempt, self.repeat, edge::fraction()) else {
                debug!(target: TARGET, method, path, attempt, status, %error, "failed");
                return Err(error);
            };
            warn!(target: TARGET, method, path, attempt, status, retry_in = ?wait, %error, "failed, and is tried again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Sends the call and reads its JSON answer.
    pub(crate) async fn fetch<T: DeserializeOwned>(self) -> Result<T, Error> {
        let url = self.url.as_ref().map(Url::to_string).unwrap_or_default();
        let answer = self.send().await?;
        serde_json::from_slice(&answer).map_err(|error| Error::unreadable(&url, error))
    }

    /// Sends the call and reads a page of a list.
    pub(crate) async fn page<T: DeserializeOwned>(self) -> Result<Page<T>, Error> {
        self.fetch().await
    }

    /// The request as it stands, for a caller that reads the answer as it comes.
    pub(crate) fn into_request(mut self) -> Result<Request<Full<Bytes>>, Error> {
        let url = std::mem::replace(&mut self.url, Err(Error::unusable("", "")))?;
        self.request(&url)
    }

    fn request(&self, url: &Url) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|error| Error::unusable(url.as_str(), error))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

fn parse_base(base: &str) -> Result<Url, Error> {
    let fault = |reason: &str| Error::unusable(format!("the server address '{base}'"), reason);
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let url = match Url::parse(base) {
        Ok(url) if usable(&url) => url,
        // A host and a port alone; `localhost:8000` reads as an address with the scheme `localhost`.
        _ if !base.contains("://") && Url::parse(&format!("http://{base}")).is_ok_and(|url| usable(&url)) => {
            return Err(fault(&format!("write it as http://{base}")));
        }
        Ok(_) => return Err(fault("give one such as http://127.0.0.1:8000")),
        Err(error) => return Err(fault(&format!("{error}; give one such as http://127.0.0.1:8000"))),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("credentials do not belong in it; pass the API key instead"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fault("it ends with a query or fragment; leave that out"));
    }
    Ok(url)
}
