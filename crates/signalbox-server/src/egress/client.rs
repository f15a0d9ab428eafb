//! One pooled HTTP client for everything that is called, with the address policy in its resolver.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use quick_cache::sync::Cache;
use signalbox_wire::id::TenantId;
use signalbox_wire::reason;
use tower::Service;
use url::Url;

use super::names::{Asker, Names};
use super::policy::Policy;
use crate::byte_budget::{ByteBudget, Share};

/// What every request that leaves carries, with a value of this process alone: a call that comes back to it
/// without a key is one that an agent or a tool was made to relay, and gets nothing that is open to people.
pub(crate) const MARK: HeaderName = HeaderName::from_static("x-signalbox-from");
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections kept for one host.
const IDLE_PER_HOST_MAX: usize = 128;

/// Addresses whose canonical forms are remembered, and bytes of one.
const TARGETS_MAX: usize = 1_024;
const TARGET_BYTES_MAX: usize = 512;
/// How long a call waits for room among what is under way.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of an answer that nobody wants which are read all the same.
const DROPPED_BYTES_MAX: usize = 64 << 10;

/// Room among the bodies and answers under way; it is given back with the last copy.
#[derive(Debug, Clone)]
pub(crate) struct Room(#[expect(dead_code, reason = "held for what it gives back")] Arc<Share>);

/// For which tenant a request is sent: goes with it, in its extensions. What it makes wait is that tenant's alone.
#[derive(Debug, Clone)]
pub(crate) struct OnBehalfOf(pub(crate) TenantId);

tokio::task_local! {
    /// Who sends the request that is under way, for the look-up of its host.
    static ASKER: TenantId;
}

/// The way out.
#[derive(Clone)]
pub(crate) struct Egress {
    policy: Policy,
    mark: HeaderValue,
    /// What bodies and answers under way may take together.
    outbound: ByteBudget,
    /// Addresses that may be called, each with its canonical form.
    targets: Arc<Cache<Uri, Uri>>,
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

/// Why a call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EgressError {
    /// The policy does not allow the address.
    #[error("the address {0}")]
    Forbidden(String),
    /// No connection could be made, or it was cut before the answer.
    #[error("{0}")]
    Refused(String),
    /// No answer came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The answer was cut or is no HTTP.
    #[error("{0}")]
    Broken(String),
    /// The bodies and answers under way leave no room for this one.
    #[error("the bodies and answers under way take all of outbound_bytes_max; try again later")]
    NoRoom,
    /// The answer is larger than what is read.
    #[error("the answer is over {0} bytes")]
    TooLarge(usize),
}

impl Egress {
    pub(crate) fn new(policy: Policy, mark: HeaderValue, outbound: ByteBudget, names: Names) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { policy, names });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build(https);
        Self { policy, mark, outbound, targets: Arc::new(Cache::new(TARGETS_MAX)), client }
    }

    /// Why `url` may not be called, as far as its text tells.
    pub(crate) fn fault(&self, url: &str) -> Option<String> {
        match Url::parse(url) {
            Ok(url) => self.policy.url_fault(&url),
            Err(error) => Some(format!("is not a URL: {error}")),
        }
    }

    /// The address to call for `url`, if it may be called: with its host in canonical form, so that no
    /// unusual spelling of an address gets past the policy.
    pub(crate) fn target(&self, url: &str) -> Result<Uri, EgressError> {
        let url =
            Url::parse(url).map_err(|error| EgressError::Forbidden(format!("is not a URL: {error}")))?;
        if let Some(fault) = self.policy.url_fault(&url) {
            return Err(EgressError::Forbidden(fault));
        }
        url.as_str().parse().map_err(|error| EgressError::Forbidden(format!("cannot be called: {error}")))
    }

    /// Room for `bytes` that are about to be made and sent, or none now. What goes with a request (in its extensions)
    /// is not drawn again.
    pub(crate) fn room_now(&self, bytes: u64) -> Option<Room> {
        let mut share = Share::default();
        self.outbound.grow(&mut share, bytes).then(|| Room(Arc::new(share)))
    }

    /// Sends a request and reads its answer whole, up to `bytes_max`.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), EgressError> {
        let _room = self.room_for(&request).await?;
        let exchange = async {
            let (status, headers, body) = self.start(request).await?;
            Ok((status, headers, self.read(body, bytes_max).await?))
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| EgressError::TimedOut(timeout))?
    }

    /// Sends a request for its status alone. A short body is read so that the connection can be used again;
    /// what comes of a long or broken one does not matter.
    pub(crate) async fn status_of(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<(StatusCode, HeaderMap), EgressError> {
        let _room = self.room_for(&request).await?;
        let exchange = async {
            let (status, headers, body) = self.start(request).await?;
            // A destination that drips its body must not hold the delivery longer than a moment.
            let _ = tokio::time::timeout(Duration::from_secs(1), drop_short(body)).await;
            Ok((status, headers))
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| EgressError::TimedOut(timeout))?
    }

    /// Sends a request whose answer may say more than its status, and reads up to `bytes_max` of that. `None` where
    /// it is longer.
    pub(crate) async fn answer_of(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<(StatusCode, HeaderMap, Option<Bytes>), EgressError> {
        let _room = self.room_for(&request).await?;
        let exchange = async {
            let (status, headers, body) = self.start(request).await?;
            match self.read(body, bytes_max).await {
                Ok(body) => Ok((status, headers, Some(body))),
                Err(EgressError::TooLarge(_)) => Ok((status, headers, None)),
                // What was said is lost: it is asked for again, and known by its id.
                Err(error) if status.is_success() => Err(error),
                Err(_) => Ok((status, headers, None)),
            }
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| EgressError::TimedOut(timeout))?
    }

    /// Room for a request's body, for as long as it is under way; it may wait a little for that.
    async fn room_for(&self, request: &Request<Full<Bytes>>) -> Result<Room, EgressError> {
        if let Some(room) = request.extensions().get::<Room>() {
            return Ok(room.clone());
        }
        let mut share = Share::default();
        let bytes = request.body().size_hint().lower();
        self.wait_for(&mut share, bytes).await?;
        Ok(Room(Arc::new(share)))
    }

    async fn wait_for(&self, share: &mut Share, bytes: u64) -> Result<(), EgressError> {
        if self.outbound.grow(share, bytes) {
            return Ok(());
        }
        let room = self.outbound.grow_when_free(share, bytes);
        tokio::time::timeout(ROOM_PATIENCE, room).await.map_err(|_| EgressError::NoRoom)
    }

    async fn read(&self, mut body: Incoming, bytes_max: usize) -> Result<Bytes, EgressError> {
        let (mut whole, mut share) = (BytesMut::new(), Share::default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| EgressError::Broken("the answer was cut short".to_owned()))?;
            if let Ok(data) = frame.into_data() {
                let bytes = whole.len() + data.len();
                if bytes > bytes_max {
                    return Err(EgressError::TooLarge(bytes_max));
                }
                self.wait_for(&mut share, bytes as u64).await?;
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.freeze())
    }

    async fn start(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Incoming), EgressError> {
        let request = self.checked(request)?;
        let asker = request.extensions().get::<OnBehalfOf>().map(|OnBehalfOf(tenant)| tenant.clone());
        let sent = self.client.request(request);
        let response = match asker {
            Some(tenant) => ASKER.scope(tenant, sent).await,
            None => sent.await,
        };
        let response = response.map_err(|error| classify(&error))?;
        let (parts, body) = response.into_parts();
        Ok((parts.status, parts.headers, body))
    }

    /// [`Self::target`] of an address that is mostly one of a few.
    fn canonical(&self, uri: &Uri) -> Result<Uri, EgressError> {
        if let Some(known) = self.targets.get(uri) {
            return Ok(known);
        }
        let text = uri.to_string();
        let target = self.target(&text)?;
        // Addresses are compared without case up to their path, and what stands before the host has one.
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if text.len() <= TARGET_BYTES_MAX && !has_user {
            self.targets.insert(uri.clone(), target.clone());
        }
        Ok(target)
    }

    fn checked(&self, mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, EgressError> {
        *request.uri_mut() = self.canonical(request.uri())?;
        request.headers_mut().insert(MARK, self.mark.clone());
        Ok(request)
    }
}

/// Reads what is left of an answer that nobody wants, if that is little.
async fn drop_short(mut body: Incoming) {
    let mut left = DROPPED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = less;
    }
}

fn classify(error: &hyper_util::client::legacy::Error) -> EgressError {
    let causes = || causes_of(error);
    if let Some(forbidden) = causes().find_map(|cause| {
        let error = cause.downcast_ref::<io::Error>()?;
        error.get_ref()?.downcast_ref::<Forbidden>().map(ToString::to_string)
    }) {
        return EgressError::Forbidden(forbidden);
    }
    let reason = reason::of(error);
    if error.is_connect() {
        EgressError::Refused(format!("no connection: {reason}"))
    } else if causes().any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)) {
        EgressError::Broken(format!("the answer is no HTTP: {reason}"))
    } else {
        EgressError::Refused(format!("the connection was cut: {reason}"))
    }
}

fn causes_of<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// Resolves names and lets only allowed addresses through.
#[derive(Clone)]
struct Resolver {
    policy: Policy,
    names: Names,
}

/// That a name leads only to addresses that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("leads to {0}, which is never called from here")]
struct Forbidden(&'static str);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (policy, names) = (self.policy, self.names.clone());
        let asker = ASKER.try_with(TenantId::clone);
        let asker = asker.map_or_else(|_| Asker::unnamed(name.as_str()), Asker::Tenant);
        Box::pin(async move {
            let found = names.addresses(name.as_str(), &asker).await?;
            let mut fault = None;
            let allowed: Vec<SocketAddr> = found
                .iter()
                .filter(|address| match policy.fault(**address) {
                    None => true,
                    Some(what) => {
                        fault = Some(what);
                        false
                    }
                })
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            match fault {
                Some(what) if allowed.is_empty() => Err(io::Error::other(Forbidden(what))),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::egress::names::tests::with_slow_ones;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn request(url: String, tenant: &str) -> Request<Full<Bytes>> {
        let tenant = TenantId::parse(tenant).expect("valid");
        Request::get(url).extension(OnBehalfOf(tenant)).body(Full::default()).expect("valid")
    }

    /// The requests of one tenant to hosts whose look-up hangs leave room for those of another, also where all names
    /// are under one domain.
    #[tokio::test]
    async fn slow_names_of_one_tenant_do_not_hold_up_another() {
        let outbound = ByteBudget::unbounded();
        let egress =
            Egress::new(Policy::default(), HeaderValue::from_static("test"), outbound, with_slow_ones());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        let mut hanging = JoinSet::new();
        for number in 0..300 {
            let (egress, url) = (egress.clone(), format!("http://{number}.example.slow:{port}/"));
            hanging.spawn(async move { egress.status_of(request(url, "hostile"), TIMEOUT).await });
        }
        tokio::task::yield_now().await;
        let url = format!("http://x.example.test:{port}/");
        let (status, _) = egress.status_of(request(url, "good"), TIMEOUT).await.expect("answered");
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert!(hanging.try_join_next().is_none(), "they still wait");
    }
}
