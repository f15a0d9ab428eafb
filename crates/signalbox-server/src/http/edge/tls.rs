//! TLS on the listener: a certificate and its key from files, read again when the operator says so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What the first byte of a TLS connection is.
const HANDSHAKE: u8 = 0x16;
/// What is answered to plain HTTP.
const PLAIN: &str = "This listener speaks TLS; send the same to https:// instead of http://.";
/// How long a client that sent plain HTTP may take to read its answer, and how much of what it sends is read meanwhile.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 64 << 10);

/// A certificate with its key; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    current: RwLock<Arc<ServerConfig>>,
}

/// Where the certificate and its key are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {}: {reason}; {cure}", .path.display())]
pub(crate) struct TlsError {
    setting: &'static str,
    path: PathBuf,
    reason: String,
    cure: &'static str,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn read(files: Files) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(config(&files)?));
        Ok(Self(Arc::new(Inner { files, current })))
    }

    /// Reads the files again. Where they cannot be used, what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let config = config(&self.0.files)?;
        *self.0.current.write() = Arc::new(config);
        Ok(())
    }

    /// Where the certificate is.
    pub(crate) fn certificate(&self) -> &Path {
        &self.0.files.certificate
    }

    /// Makes a handshake. Who speaks plain HTTP is told so.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
            if first.first().is_some_and(u8::is_ascii_uppercase) {
                answer_plain(&mut stream).await?;
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is not TLS"));
        }
        let config = Arc::clone(&self.0.current.read());
        Ok(Box::new(TlsAcceptor::from(config).accept(stream).await?))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.files.fmt(f)
    }
}

/// Answers a request in plain HTTP, and reads on for a moment: what is not read would take the answer away with it.
async fn answer_plain(stream: &mut TcpStream) -> io::Result<()> {
    // A problem is text and numbers: writing it cannot fail.
    let body = serde_json::to_string(&Problem::new(ProblemKind::PlainHttp, PLAIN)).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await?;
    let rest = async {
        let (mut dropped, mut left) = ([0; 4_096], LINGER.1);
        while left > 0 {
            match stream.read(&mut dropped).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    };
    tokio::time::timeout(LINGER.0, rest).await.unwrap_or(Ok(()))
}

fn config(files: &Files) -> Result<ServerConfig, TlsError> {
    let of_certificate = |reason: String| TlsError {
        setting: "tls_cert",
        path: files.certificate.clone(),
        reason,
        cure: "give a file that can be read, with the certificate and those it follows from as PEM",
    };
    let of_key = |reason: String| TlsError {
        setting: "tls_key",
        path: files.key.clone(),
        reason,
        cure: "give a file that can be read, with the certificate's own private key as PEM, without a passphrase",
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| of_certificate(told(&error)))?;
    if certificates.is_empty() {
        return Err(of_certificate("it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| of_key(told(&error)))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(error.to_string()))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| of_key(format!("it does not go with {}: {error}", files.certificate.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("it cannot be read: {error}"),
        pem::Error::NoItemsFound => "it holds none".to_owned(),
        error => format!("it is not PEM: {error}"),
    }
}
