//! A server's life: open what it needs, serve until told to stop, drain, close.

use std::fs::DirBuilder;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef as _;
use http::HeaderValue;
use signalbox_bus::{Bus, Options as BusOptions, WakeUps};
use signalbox_store::{Options, Store, StoreError};
use signalbox_wire::id::NodeId;
use signalbox_wire::keys::Secret;
use signalbox_wire::ssh::Sha1;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::address_file;
use crate::auth::{AnonymousAccess, Authenticator, Tries, bootstrap};
use crate::byte_budget::ByteBudget;
use crate::clock::{self, Stopwatch};
use crate::config::{Config, JobSettings};
use crate::drain::{InFlight, Step};
use crate::egress::{Egress, Names, policy};
use crate::engine::mailbox::{Post, mailbox};
use crate::engine::slots::Deliveries;
use crate::engine::{Admission, Drive};
use crate::http::body::BodyLimits;
use crate::http::docs::{self, Describe};
use crate::http::edge::tls::{self, Tls};
use crate::http::edge::{self, Edge};
use crate::http::fast_path::FastPath;
use crate::http::idempotency::{self, Idempotency};
use crate::http::route_table::RouteTable;
use crate::http::streams::Streams;
use crate::http::unknown_fields::BodyFields;
use crate::jobs::{self, Jobs};
use crate::live::channels::{self, Channels};
use crate::live::{self, Live};
use crate::lock::{self, Lock};
use crate::quota::Quotas;
use crate::surface::state::{
    self, Announcements, AppState, Limits, OperatorRetention, Readiness, SignInTerms,
};
use crate::surfaces;
use crate::telemetry::metrics::Metrics;
use crate::tools::{self, Tools};
use crate::transport::Transport;
use crate::transport::connection::Connections;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error(
        "the data directory {0} is in use by another signalbox process; stop that one or choose another --data-dir"
    )]
    Locked(PathBuf),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; if another process does, stop it, else choose another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The configuration contradicts itself.
    #[error("{0}")]
    Config(String),
    /// TLS cannot be spoken with what is configured.
    #[error("{0}")]
    Tls(String),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
}

/// A server that is ready to serve.
pub struct Server {
    config: Config,
    store: Store,
    edge: Arc<Edge>,
    state: AppState,
    routes: Router<AppState>,
    stopping: CancellationToken,
    jobs: Jobs,
    listener: TcpListener,
    address: SocketAddr,
    post: Post,
    /// Comes when the certificate is to be read again, where TLS is spoken.
    hangup: Option<Signal>,
    made: Vec<String>,
    lock: Lock,
}

/// A server that is being opened.
///
/// It is boxed, as [`Running`] is, so that the code of the whole server is compiled with this crate and not once more
/// with each crate that awaits it.
pub type Opening = Pin<Box<dyn Future<Output = Result<Server, StartError>> + Send>>;

/// What is told each step to a server's end.
type Teller = Box<dyn Fn(&str) + Send + Sync>;

/// Something that goes on until it ends by itself: a server, or the wait for what stops it.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connections that the system holds until they are accepted, at most; where agents come back all at once, more than that
/// would have to try again.
const BACKLOG: u32 = 4_096;

/// Takes the address, without accepting anything yet.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The address of a server that has just ended is free again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Server {
    /// Opens everything: the data directory and its lock, the keys, the store, the listener.
    ///
    /// # Errors
    /// [`StartError`], which says what stands in the way and what to do about it.
    pub fn open(config: Config) -> Opening {
        Box::pin(Self::opened(config))
    }

    async fn opened(config: Config) -> Result<Self, StartError> {
        check(&config)?;
        let unusable = |source| StartError::DataDir { path: config.server.data_dir.clone(), source };
        let tls = tls(&config)?;
        // From here on, so that a SIGHUP as soon as it is ready does not end the process.
        let hangup = tls.is_some().then(|| signal(SignalKind::hangup())).transpose();
        let hangup =
            hangup.map_err(|error| StartError::Tls(format!("SIGHUP cannot be listened for: {error}")))?;
        // Before anything is made: where the address is taken, no new data directory is left behind.
        let listening = |source| StartError::Listen { address: config.server.listen, source };
        let socket = bind(config.server.listen).map_err(listening)?;
        // Only for its owner: it will hold keys and whatever agents are sent.
        DirBuilder::new().recursive(true).mode(0o700).create(&config.server.data_dir).map_err(unusable)?;
        let lock = lock::take(&config.server.data_dir).map_err(unusable)?;
        let lock = lock.ok_or_else(|| StartError::Locked(config.server.data_dir.clone()))?;
        let keys = bootstrap::keys(&config).map_err(unusable)?;
        let node = bootstrap::node(&config.server.data_dir).map_err(unusable)?;
        let store = Store::open(Options {
            queue_max: config.storage.commit_queue_max,
            queue_bytes_max: config.storage.commit_queue_bytes_max,
            cache_bytes: config.storage.cache_bytes,
            patience: config.storage.store_timeout,
            ..Options::new(config.database_url(), node.clone())
        })
        .await?;
        clock::set(&store).await?;
        // What an earlier process of this node held when it died is free again.
        store.release().await?;
        let listener = socket.listen(BACKLOG).map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        let mark = HeaderValue::from_str(node.as_str()).unwrap_or_else(|_| HeaderValue::from_static("node"));
        let quotas = Quotas::new(store.clone(), config.limits.of_tenants());
        let authenticator = Authenticator::new(
            store.clone(),
            (&keys.platform, Some(&keys.admin)),
            AnonymousAccess::new(&config, address),
            surfaces::keyless(),
            mark.clone(),
            quotas.clone(),
        );
        let stopping = CancellationToken::new();
        let routes = surfaces::routes(&config);
        let describe = surfaces::describe(&config);
        let (edge, state, jobs, post) = assemble(
            (&config, &describe),
            node,
            (&store, quotas),
            (authenticator, keys.session_webhooks),
            (mark, stopping.clone(), tls),
        );
        let url = url_here(&config, edge.tls.is_some(), address);
        address_file::write(&config.server.data_dir, &url).map_err(unusable)?;
        Ok(Self {
            store,
            edge: Arc::new(edge),
            state,
            routes: routes.merge(docs::pages(describe, config.server.public_url.as_deref())),
            config,
            stopping,
            jobs,
            listener,
            address,
            post,
            hangup,
            made: keys.made,
            lock,
        })
    }

    /// The address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client writes it.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.edge.tls.is_some(), self.address)
    }

    /// The keys that were made just now: what each is, and where it is kept.
    #[must_use]
    pub fn made_keys(&self) -> &[String] {
        &self.made
    }

    /// Serves until `stop` comes, then drains: what is in flight may finish within the configured time. Each step to the
    /// end is told, in a sentence for a person, besides what the log says.
    pub fn run(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Running {
        self.boxed(Box::pin(stop), Box::new(tell))
    }

    /// Of no type parameters: the code of a generic function is compiled, with all that it boxes, where it is called, and
    /// by the settings of that crate.
    fn boxed(self, stop: Running, tell: Teller) -> Running {
        Box::pin(self.serve(stop, tell))
    }

    async fn serve(self, stop: Running, tell: Teller) {
        let Self {
            config,
            store,
            edge,
            state,
            routes,
            stopping,
            jobs,
            listener,
            address,
            post,
            hangup,
            lock,
            ..
        } = self;
        if config.server.insecure && !address.ip().is_loopback() {
            tracing::warn!(%address, "INSECURE: everybody who can connect may do everything on the AgentKit surface");
        }
        let of = |is_configured: bool| if is_configured { "configured" } else { "of the data directory" };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            store = store.kind(),
            bus = config.server.bus.kind(),
            surfaces = ?config.server.surfaces,
            %address,
            platform_key = of(config.services.platform_key.is_some()),
            admin_key = of(config.services.opscore_api_key.is_some()),
            require_keys = config.server.require_keys,
            access = AnonymousAccess::new(&config, address).rule(),
            "serving"
        );
        let tracker = TaskTracker::new();
        tracker.spawn(state.live().clone().run());
        tracker.spawn(clock::run(store.clone(), edge.draining.clone()));
        if let (Some(tls), Some(hangup)) = (edge.tls.clone(), hangup) {
            tracker.spawn(reload_on_hangup(tls, hangup, edge.draining.clone()));
        }
        jobs::begin(&jobs).await;
        let left = CancellationToken::new();
        let here = tokio::spawn(jobs::say_here(jobs.clone(), left.clone()));
        jobs::start(&jobs, post, &tracker);
        tracker.spawn(Channels::from_ref(&state).run());
        let fast_path = FastPath::new(surfaces::fast_routes(&config, &state), &edge.metrics);
        let routes = (fast_path, router(&edge, state, routes));
        tracker.spawn(edge::serve(Arc::clone(&edge), listener, routes, tracker.clone()));
        stop.await;
        let told = |step: Step| {
            step.log();
            tell(&step.to_string());
        };
        // Whoever asks whether it is ready learns first that it will not be, and sends its requests elsewhere.
        stopping.cancel();
        told(Step::Stopping { delay: config.server.shutdown_delay });
        tokio::time::sleep(config.server.shutdown_delay).await;
        let (watch, within) = (Stopwatch::start(), config.server.shutdown_timeout);
        let open = || InFlight::now(&edge.metrics, &jobs.deliveries);
        told(Step::Draining { open: open(), within, until: clock::system() + within });
        edge.draining.cancel();
        tracker.close();
        let is_cut = tokio::time::timeout(within, tracker.wait()).await.is_err();
        left.cancel();
        let _ = here.await;
        if is_cut {
            // Nor are leases given up: what still runs may yet have its effect, and another node would repeat it now.
            told(Step::Cut { open: open(), after: within });
        } else {
            told(Step::Drained { took: watch.elapsed() });
            if let Err(error) = store.release().await {
                tracing::warn!(%error, "leases were not given up; they will run out");
            }
            if let Err(error) = store.node_left().await {
                tracing::info!(%error, "the other nodes were not told that this one has left; they will see it");
            }
        }
        if let Err(error) = store.close().await {
            tracing::warn!(%error, "the store was not closed in order; the next start recovers it");
        }
        // While the lock is held, so that it is not the file of the next process.
        address_file::remove(&config.server.data_dir);
        drop(lock);
        tracing::info!("stopped");
    }
}

/// The address of a listener as a client writes it.
fn url_of(has_tls: bool, address: SocketAddr) -> String {
    let scheme = if has_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// The address for programs on this machine. A certificate is for a name, which only the public address has.
fn url_here(config: &Config, has_tls: bool, address: SocketAddr) -> String {
    let public = config.server.public_url.clone().filter(|_| has_tls);
    public.unwrap_or_else(|| url_of(has_tls, address_file::reachable(address)))
}

/// Whether the configuration can be served; all that stands in the way at once.
fn check(config: &Config) -> Result<(), StartError> {
    let mut faults = config.contradictions();
    for (key, url) in [
        ("opscore_webhook_url", &config.services.opscore_webhook_url),
        ("agentkit_api_url", &config.services.agentkit_api_url),
        ("public_url", &config.server.public_url),
    ] {
        if let Some(fault) = url.as_deref().and_then(address_fault) {
            faults.push(format!(
                "{key} {fault}; give the service's address, such as https://signalbox.example"
            ));
        }
    }
    match faults.as_slice() {
        [] => Ok(()),
        [fault] => Err(StartError::Config(fault.clone())),
        _ => Err(StartError::Config(format!(
            "the configuration contradicts itself:\n  {}",
            faults.join("\n  ")
        ))),
    }
}

/// What TLS is spoken with, where it is configured.
fn tls(config: &Config) -> Result<Option<Tls>, StartError> {
    let (Some(certificate), Some(key)) = (&config.server.tls_cert, &config.server.tls_key) else {
        return Ok(None);
    };
    let files = tls::Files { certificate: certificate.clone(), key: key.clone() };
    Tls::read(files).map(Some).map_err(|error| StartError::Tls(error.to_string()))
}

/// Reads the certificate again at each SIGHUP, until the server drains.
async fn reload_on_hangup(tls: Tls, mut hangup: Signal, draining: CancellationToken) {
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            _ = hangup.recv() => {}
        }
        let (again, certificate) = (tls.clone(), tls.certificate().display().to_string());
        match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(Ok(())) => tracing::info!(certificate, "the certificate was read again"),
            Ok(Err(error)) => {
                tracing::error!(%error, "the certificate could not be read again; the one before stays")
            }
            Err(error) => {
                tracing::error!(%error, "the certificate could not be read again; the one before stays")
            }
        }
    }
}

/// Why the address of another service can never be called, if so.
fn address_fault(url: &str) -> Option<String> {
    match Url::parse(url) {
        Ok(url) => policy::Policy::default().url_fault(&url),
        Err(error) => Some(format!("is not a URL: {error}")),
    }
}

/// The bus of this node. One between nodes need not be there yet.
fn bus(config: &Config, node: &NodeId) -> Bus {
    let options = BusOptions {
        prefix: config.server.bus_subject_prefix.clone(),
        name: format!("signalbox {node}"),
        seed: u64::try_from(clock::seed_128() & u128::from(u64::MAX)).unwrap_or_default(),
    };
    Bus::connect(&config.server.bus, options)
}

fn assemble(
    (config, describe): (&Config, &Describe),
    node: NodeId,
    (store, quotas): (&Store, Quotas),
    (authenticator, notice_secret): (Authenticator, Secret),
    (mark, stopping, tls): (HeaderValue, CancellationToken, Option<Tls>),
) -> (Edge, AppState, Jobs, Post) {
    let (policy, metrics, draining) =
        (config.policy(), Metrics::new(clock::system()), CancellationToken::new());
    let bus = bus(config, &node);
    let wake_ups = WakeUps::new(bus.clone(), node.clone());
    let connections = Connections::new(bus.clone(), metrics.live().buffered());
    let deliveries = Deliveries::new(
        config.delivery.deliveries_max,
        config.tools.tool_calls_max,
        config.delivery.deliveries_per_destination_max,
    );
    let (mailbox, post) = mailbox(metrics.clone());
    let drive = Drive::new(
        store.clone(),
        wake_ups.clone(),
        policy.clone(),
        node.clone(),
        deliveries.clone(),
        (mailbox, quotas.clone()),
        metrics.clone(),
    );
    let body_limits = BodyLimits {
        bytes_max: config.http.body_bytes_max,
        timeout: config.http.body_timeout,
        budget: ByteBudget::new(config.http.inbound_bytes_max, metrics.inbound()),
    };
    let outbound = ByteBudget::new(config.http.outbound_bytes_max, metrics.outbound());
    let allowed = policy::Policy {
        forbid_loopback: config.egress.egress_forbid_loopback,
        forbid_private: config.egress.egress_forbid_private,
    };
    let names = Names::of_system(metrics.name_lookups());
    let egress = Egress::new(allowed, mark.clone(), outbound.clone(), names.clone());
    // Where the callers are programs of this machine, they reach as much without asking.
    let reads_private = config.egress.http_get_private || authenticator.is_for_this_machine();
    let for_pages = if reads_private { allowed } else { policy::Policy::PUBLIC };
    let tools = Tools::new(tools::Parts {
        store: store.clone(),
        egress: egress.clone(),
        pages: Egress::new(for_pages, mark.clone(), outbound.clone(), names.clone()),
        llm: tools::Llm::of(&config.llm),
        timeout: config.tools.tool_timeout,
        schemas: tools::Schemas::default(),
        long: drive.long_work().clone(),
    });
    let edge = Edge {
        connections_max: config.http.connections_max,
        header_timeout: config.http.header_timeout,
        keep_alive_timeout: config.http.keep_alive_timeout,
        body_timeout: config.http.body_timeout,
        tls,
        metrics: metrics.clone(),
        authenticator: authenticator.clone(),
        idempotency: Idempotency {
            store: store.clone(),
            metrics: metrics.clone(),
            limits: body_limits.clone(),
            in_flight: idempotency::InFlight::default(),
        },
        draining: draining.clone(),
    };
    let services = Egress::new(policy::Policy::default(), mark, outbound, names);
    let jobs = Jobs::new(jobs::Parts {
        config: JobSettings::new(config),
        policy,
        store: store.clone(),
        drive: drive.clone(),
        authenticator: authenticator.clone(),
        transport: Transport::new(
            config,
            (egress.clone(), services.clone()),
            notice_secret,
            connections.clone(),
        ),
        quotas: quotas.clone(),
        services,
        tools: tools.clone(),
        deliveries,
        metrics: metrics.clone(),
        draining: draining.clone(),
    });
    let admission =
        Admission::new(store.clone(), config.delivery.waiting_per_destination_max, quotas.clone());
    let channels = Channels::new(channels::Parts {
        store: store.clone(),
        drive: drive.clone(),
        bus: bus.clone(),
        node: node.clone(),
        connections: connections.clone(),
        quotas: quotas.clone(),
        admission: admission.clone(),
        draining: draining.clone(),
    });
    let live = Live::new(live::Parts {
        store: store.clone(),
        drive: drive.clone(),
        authenticator: authenticator.clone(),
        connections,
        channels: channels.clone(),
        quotas: quotas.clone(),
        node,
        settings: config.live.clone(),
        figures: metrics.live(),
        draining,
    });
    let state = AppState::new(state::Parts {
        live: live.clone(),
        store: store.clone(),
        drive,
        channels,
        admission,
        streams: Streams {
            store: store.clone(),
            wake_ups,
            authenticator: authenticator.clone(),
            metrics: metrics.clone(),
            draining: live.draining().clone(),
        },
        authenticator,
        egress,
        tools,
        quotas,
        metrics,
        body_limits,
        route_table: RouteTable::of(Arc::clone(describe)),
        body_fields: BodyFields::of(Arc::clone(describe)),
        limits: Limits { payload_bytes_max: config.http.payload_bytes_max },
        retention: OperatorRetention {
            sessions: config.retention.retention_sessions,
            events: config.retention.retention_events,
            messages: config.retention.retention_messages,
        },
        announcements: Announcements {
            secret: config.services.opscore_webhook_secret.clone(),
            calls_endpoints: config.dispatches_through().is_none(),
        },
        readiness: Readiness { stopping, bus },
        sign_in: SignInTerms {
            tries: Arc::new(Tries::new(
                config.sign_in.sign_in_tries_per_agent,
                config.sign_in.sign_in_tries_per_address,
            )),
            sha1: if config.sign_in.allow_sha1_signatures { Sha1::Allowed } else { Sha1::Refused },
            token_key_rotation: config.sign_in.token_key_rotation,
        },
    });
    (edge, state, jobs, post)
}

/// All routes of the surfaces that are served.
fn router(edge: &Arc<Edge>, state: AppState, routes: Router<AppState>) -> Router {
    routes
        .fallback(edge::no_route)
        .method_not_allowed_fallback(edge::no_method)
        .layer(edge::Around(Arc::clone(edge)))
        .with_state(state)
}
