//! One request to one URL over pooled HTTP/1.1, with a deadline and a bound on the answer. Knows nothing of
//! paths, bodies or repeats.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HyperClient, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use signalbox_wire::reason;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::edge;
use crate::error::{Error, Problem};

/// The largest answer that is read, in bytes: a session with all its tasks' results fits many times over.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept; below the idle limits of common proxies.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Pooled connections and the credentials that go with every request.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    /// The tenant that the platform key acts in.
    pub(crate) tenant: Option<HeaderValue>,
    /// Gets what the server remarks on a request that it took.
    pub(crate) on_warning: fn(&str),
}

impl Transport {
    pub(crate) fn new(key: Option<&str>) -> Result<Self, Error> {
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector()?);
        Ok(Self { http, authorization: key.map(bearer).transpose()?, tenant: None, on_warning: |_| {} })
    }

    /// The same connections with other credentials.
    pub(crate) fn with_key(mut self, key: Option<&str>) -> Result<Self, Error> {
        self.authorization = key.map(bearer).transpose()?;
        Ok(self)
    }

    pub(crate) fn has_key(&self) -> bool {
        self.authorization.is_some()
    }

    /// Sends the request and reads the whole answer; an error status becomes [`Error::Problem`].
    pub(crate) async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Answer, Error> {
        let url = request.uri().to_string();
        let exchange = async {
            let (head, body) = self.open(request).await?.into_parts();
            warnings(&head.headers).for_each(self.on_warning);
            let body = read(&url, body).await?;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(within, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { url: url.clone(), after: within }))
    }

    /// Sends the request and returns once the head of a good answer is there.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.head(request, StatusCode::is_success).await
    }

    /// Sends a request to go on with another protocol; whether the server agreed the answer's status says.
    pub(crate) async fn upgrade(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let is_good = |status: &StatusCode| status.is_success() || *status == StatusCode::SWITCHING_PROTOCOLS;
        self.head(request, is_good).await
    }

    async fn head(
        &self,
        mut request: Request<Full<Bytes>>,
        is_good: fn(&StatusCode) -> bool,
    ) -> Result<Response<Incoming>, Error> {
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        }
        if let Some(tenant) = &self.tenant {
            request.headers_mut().insert("x-tenant-id", tenant.clone());
        }
        let uri = request.uri().clone();
        let response = self.http.request(request).await.map_err(|error| unreachable(&uri, &error))?;
        if is_good(&response.status()) {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = read(&uri.to_string(), body).await?;
        Err(Error::Problem(Box::new(Problem::read(head.status, &head.headers, &body, edge::now()))))
    }
}

fn connector() -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| Error::unusable("TLS", error))?;
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

/// The texts of `warning` headers, each as in `299 - "text"`.
fn warnings(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(|value| value.split_once('"')?.1.strip_suffix('"'))
}

/// The header is marked sensitive, so that printing a request or a client never shows the key.
fn bearer(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| Error::unusable("the API key", "it holds characters that no HTTP header may hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(url: &str, body: Incoming) -> Result<Bytes, Error> {
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Error::unreadable(url, format!("the answer is larger than {ANSWER_BYTES_MAX} bytes")))
        }
        Err(error) => {
            Err(Error::Unreachable { url: url.to_owned(), reason: reason::of(error.as_ref()), unsent: false })
        }
    }
}

fn unreachable(uri: &Uri, error: &HyperError) -> Error {
    Error::Unreachable { url: uri.to_string(), reason: reason::of(error), unsent: error.is_connect() }
}
