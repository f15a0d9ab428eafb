//! Where the database is, and how to connect to it: the URL, TLS, and the settings of every session.
//!
//! The password goes from the URL into the driver's configuration and nowhere else: no text made here holds
//! any part of the URL but its options' names.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Connect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault;
use crate::{Options, StoreError};

/// The longest wait for one connection to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a transaction may wait for the next statement of its node: one that is frozen between two statements
/// holds up the commits of its tenants on all nodes for as long.
const FROZEN_MAX: Duration = Duration::from_secs(1);

/// A database that connections can be made to.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    settings: Arc<str>,
    pub(super) patience: Duration,
}

impl Target {
    /// Reads the URL.
    pub(super) fn new(options: &Options) -> Result<Self, StoreError> {
        let (url, ssl) = Ssl::taken_from(&options.database)?;
        let mut config: Config = url.parse().map_err(|error| {
            StoreError::Open(format!("the database URL is not one of PostgreSQL: {}", fault::text(&error)))
        })?;
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            let cure = "the database URL has more than one @: write those of the password as %40";
            return Err(StoreError::Open(cure.to_owned()));
        }
        if config.get_application_name().is_none() {
            config.application_name(format!("signalbox {}", options.node));
        }
        config.ssl_mode(if ssl.is_wanted { SslMode::Require } else { SslMode::Disable });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT_MAX.min(options.patience));
        config.keepalives_idle(Duration::from_secs(30));
        config.tcp_user_timeout(options.patience);
        let tls = if ssl.is_wanted { Some(ssl.connector()?) } else { None };
        Ok(Self { config, tls, settings: settings(options.patience).into(), patience: options.patience })
    }

    /// A new connection, ready for use. It ends when its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        match timeout(self.patience.min(CONNECT_MAX), self.attempt()).await {
            Ok(Ok((client, _connection))) => Ok(client),
            Ok(Err(error)) => Err(fault::of_connection(&error)),
            Err(_) => Err(late()),
        }
    }

    /// The first connection: what can only be cured by whoever wrote the URL is told so.
    pub(super) async fn connect_first(&self) -> Result<Client, StoreError> {
        match timeout(self.patience.min(CONNECT_MAX), self.attempt()).await {
            Ok(Ok((client, _connection))) => Ok(client),
            Ok(Err(error)) => Err(fault::of_first_connection(&error)),
            Err(_) => Err(late()),
        }
    }

    async fn attempt(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => self.attempt_over(tls.clone()).await,
            None => self.attempt_over(NoTls).await,
        }
    }

    async fn attempt_over<T>(&self, tls: T) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, connection) = self.config.connect(tls).await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = %fault::text(&error), "a connection to PostgreSQL ended");
            }
        });
        client.batch_execute(&self.settings).await?;
        Ok((client, connection))
    }
}

impl Connect for Target {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>>
    {
        Box::pin(self.attempt())
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("PostgreSQL took no connection in time".to_owned())
}

/// What every session is set to. The plans are pinned to index order: all queries here are made for it, and
/// a plan chosen while a table was small must not stay when it has grown.
fn settings(patience: Duration) -> String {
    // The server gives up a little earlier than the client: then the connection can go on being used.
    let patience_ms = (patience.as_millis() * 9 / 10).clamp(1, 86_400_000);
    let frozen_ms = patience_ms.min(FROZEN_MAX.as_millis());
    format!(
        "SET statement_timeout = {patience_ms}; SET lock_timeout = {patience_ms}; \
         SET idle_in_transaction_session_timeout = {frozen_ms}; \
         SET default_transaction_isolation = 'read committed'; \
         SET jit = off; SET plan_cache_mode = force_generic_plan; \
         SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
         SET enable_mergejoin = off; SET max_parallel_workers_per_gather = 0; \
         SELECT set_config('synchronous_commit', 'on', false) \
         WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// What the URL says of TLS. The driver knows neither `verify-full` nor `sslrootcert`.
#[derive(Debug, Default, PartialEq)]
struct Ssl {
    is_wanted: bool,
    roots: Option<PathBuf>,
}

impl Ssl {
    /// The URL without its TLS options, and those.
    fn taken_from(url: &str) -> Result<(String, Self), StoreError> {
        let mut ssl = Self::default();
        let after_credentials = url.find('@').unwrap_or(0);
        let Some(question) = url[after_credentials..].find('?').map(|at| after_credentials + at) else {
            return Ok((url.to_owned(), ssl));
        };
        let (base, query) = (&url[..question], &url[question + 1..]);
        let mut rest = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", "disable" | "allow" | "prefer")) => ssl.is_wanted = false,
                Some(("sslmode", "require" | "verify-ca" | "verify-full")) => ssl.is_wanted = true,
                Some(("sslmode", _)) => {
                    let cure =
                        "sslmode in the database URL is one of disable, prefer, require and verify-full";
                    return Err(StoreError::Open(cure.to_owned()));
                }
                Some(("sslrootcert", path)) => {
                    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
                    ssl.roots = Some(PathBuf::from(path.as_ref()));
                }
                _ => rest.push(option),
            }
        }
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok((url, ssl))
    }

    /// A connector that takes certificates of `sslrootcert`, or of the public authorities, and no others.
    fn connector(&self) -> Result<MakeRustlsConnect, StoreError> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(path) => {
                let faulty = |fault: &dyn std::fmt::Display| {
                    StoreError::Open(format!(
                        "sslrootcert {}: {fault}; give a file of PEM certificates",
                        path.display()
                    ))
                };
                for certificate in CertificateDer::pem_file_iter(path).map_err(|error| faulty(&error))? {
                    let certificate = certificate.map_err(|error| faulty(&error))?;
                    roots.add(certificate).map_err(|error| faulty(&error))?;
                }
                if roots.is_empty() {
                    return Err(faulty(&"it holds no certificate"));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Open(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use signalbox_wire::id::NodeId;

    use super::*;

    fn target(url: &str) -> Result<Target, StoreError> {
        Target::new(&Options::new(url, NodeId::parse("nod_a").expect("valid")))
    }

    #[test]
    fn tls_options_are_taken_out_of_the_url() {
        let url = "postgres://u:p%3F@h/d?connect_timeout=3&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem";
        let (rest, ssl) = Ssl::taken_from(url).expect("valid");
        assert_eq!(rest, "postgres://u:p%3F@h/d?connect_timeout=3");
        assert_eq!((ssl.is_wanted, ssl.roots.as_deref()), (true, Some(Path::new("/etc/ca.pem"))));
        let (rest, ssl) = Ssl::taken_from("postgres://u:what?@h/d?sslmode=prefer").expect("valid");
        assert_eq!((rest.as_str(), ssl.is_wanted), ("postgres://u:what?@h/d", false));
    }

    #[test]
    fn no_fault_of_the_url_shows_the_password() {
        let faulty = [
            "postgres://user:geheim@h/d?sslmode=geheim",
            "postgres://user:ge@heim@h/d",
            "postgres://user:geheim@h/d?nonsense=geheim",
            "postgres://user:geheim@h:port/d",
            "postgres://user:geheim@h/d?sslmode=verify-full&sslrootcert=/nowhere.pem",
        ];
        for url in faulty {
            let Err(error) = target(url) else { panic!("{url} is faulty") };
            let text = format!("{error} {error:?}");
            assert!(
                matches!(error, StoreError::Open(_)) && !text.contains("geheim") && !text.contains("heim"),
                "{text}"
            );
        }
        assert!(target("postgres://user:geheim@h/d?sslmode=require").is_ok());
    }
}
