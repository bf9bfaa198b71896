//! TLS towards the upstream, with libpq's meaning of each `sslmode`.
//!
//! Promises: what is verified is what the mode says, never less; certificates and keys are read at each connect, so they
//! may be replaced while the program runs; a certificate that is no authority makes no other one believed; no byte that came before the handshake is ever taken for one that came after
//! it (CVE-2021-23222).
//! Deliberately not here: when to go on without TLS; `attempt` has the order in which the modes try.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgproto::frontend::encode;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::TlsStream;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::{Certificate, Version};

use super::conninfo::{Roots, SslMode, Tls};
use super::verify::{Trust, UnusableCertificate, Verifier};

/// The protocol in ALPN: a certificate made for a web server on the same host is of no use to a man in the middle.
const ALPN: &[u8] = b"postgresql";
/// Reading the system's roots takes milliseconds, and they change a few times a year.
const SYSTEM_ROOTS_AGE_MAX: Duration = Duration::from_mins(1);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key cannot be read.
    #[error("`{}` cannot be read as PEM", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: rustls_pki_types::pem::Error,
    },
    /// A file without what it is for.
    #[error("`{}` holds no usable certificate", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The system has no roots.
    #[error("the system has no root certificates: set `sslrootcert`")]
    NoSystemRoots,
    /// Our own certificate does not fit its key, or the like.
    #[error("`sslcert` and `sslkey` are of no use")]
    ClientCertificate(#[source] rustls::Error),
    /// A host that cannot stand in a certificate.
    #[error("`{host}` is neither a host name nor an address")]
    HostName {
        /// The host.
        host: String,
    },
    /// The server answered `N`.
    #[error("the server does not offer TLS, and `sslmode` wants it")]
    NotOffered,
    /// The server answered neither `S` nor `N`. The text of an error at this point could be anybody's: it is not read.
    #[error("expected `S` or `N` as the answer to SSLRequest, found byte {found}")]
    Answer {
        /// What came.
        found: u8,
    },
    /// Bytes behind the `S` in plain text.
    #[error("the server, or someone between, sent plain bytes before the TLS handshake")]
    Injected,
    /// The certificate was made by an authority that is not trusted.
    #[error("the server's certificate was not issued by a trusted authority")]
    UnknownIssuer,
    /// The certificate is for another host.
    #[error("the server's certificate is not for this host name")]
    WrongName,
    /// The certificate is out of date.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate is from the future.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// The certificate is wrong in another way.
    #[error("the server's certificate cannot be used: {0}")]
    Certificate(String),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Handshake(error);
        };
        let rustls::Error::InvalidCertificate(problem) = inner else { return Self::Handshake(error) };
        match problem {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Other(other) => match other.0.downcast_ref::<UnusableCertificate>() {
                Some(unusable) => Self::Certificate(unusable.to_string()),
                None => Self::Certificate(other.to_string()),
            },
            other => Self::Certificate(other.to_string()),
        }
    }
}

impl Error {
    /// Whether the server's certificate is what is wrong.
    pub(super) const fn is_about_certificate(&self) -> bool {
        matches!(self, Self::UnknownIssuer | Self::WrongName | Self::Expired | Self::NotYetValid | Self::Certificate(_))
    }

    /// Whether the handshake itself failed, after which `sslmode=prefer` goes on without TLS.
    pub(super) const fn is_handshake(&self) -> bool {
        self.is_about_certificate() || matches!(self, Self::Handshake(_))
    }
}

/// Asks for TLS on a fresh connection; whether the server will.
pub(super) async fn request(stream: &mut TcpStream) -> Result<bool, Error> {
    let mut question = Vec::new();
    encode::ssl_request(&mut question);
    stream.write_all(&question).await.map_err(Error::Handshake)?;
    // Room for more than the one byte that may come: what else is already here was not sent under TLS.
    let mut answer = [0; 2];
    let count = stream.read(&mut answer).await.map_err(Error::Handshake)?;
    match (count, answer) {
        (0, _) => Err(Error::Handshake(io::ErrorKind::UnexpectedEof.into())),
        (1, [b'S', _]) => Ok(true),
        (1, [b'N', _]) => Ok(false),
        (_, [b'S' | b'N', _]) => Err(Error::Injected),
        (_, [found, _]) => Err(Error::Answer { found }),
    }
}

/// The handshake itself.
pub(super) async fn handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Box<TlsStream<TcpStream>>, Error> {
    Ok(Box::new(TlsStream::Client(TlsConnector::from(config).connect(name, stream).await?)))
}

/// What is checked against the certificate, and named in the handshake.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned()).map_err(|_| Error::HostName { host: host.to_owned() })
}

/// The settings of one connect, from files as they are now.
pub(super) async fn prepare(tls: Arc<Tls>) -> Result<Arc<ClientConfig>, Error> {
    // Small files, but a disk may be slow, and the thread has other sessions.
    let read = tokio::task::spawn_blocking(move || configure(&tls)).await;
    read.unwrap_or_else(|error| Err(Error::Handshake(io::Error::other(error))))
}

fn configure(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = match &tls.roots {
        // As in libpq, a root certificate that is named is also used: `require` becomes `verify-ca`.
        Roots::File(path) => Some(Arc::new(file_roots(path)?)),
        Roots::System => Some(system_roots()?),
        Roots::None => None,
    };
    let verifier: Arc<dyn ServerCertVerifier> =
        Arc::new(Verifier::new(trust, tls.mode == SslMode::VerifyFull, provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::ClientCertificate)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| Error::File { path: key.clone(), source })?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(Error::ClientCertificate)?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = tls.sni;
    Ok(Arc::new(config))
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(found) }
}

fn file_roots(path: &Path) -> Result<Trust, Error> {
    let unusable = || Error::Empty { path: path.to_owned() };
    let named = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &named {
        // webpki believes whatever stands among its roots, also a server's own certificate: whoever has that server's
        // key would be an authority for all of them.
        if is_authority(&Certificate::from_der(certificate).map_err(|_| unusable())?) {
            roots.add(certificate.clone()).map_err(|_| unusable())?;
        }
    }
    Ok(Trust { roots, named })
}

/// Whether a certificate says that it may issue others. Authorities from before there was a way to say so are version 1.
fn is_authority(certificate: &Certificate) -> bool {
    let content = &certificate.tbs_certificate;
    match content.version {
        Version::V1 => true,
        Version::V2 | Version::V3 => matches!(content.get::<BasicConstraints>(), Ok(Some((_, says))) if says.ca),
    }
}

fn system_roots() -> Result<Arc<Trust>, Error> {
    static READ: Mutex<Option<(Instant, Arc<Trust>)>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, trust)) = read.as_ref().filter(|(at, _)| at.elapsed() < SYSTEM_ROOTS_AGE_MAX) {
        return Ok(Arc::clone(trust));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err(Error::NoSystemRoots);
    }
    let trust = Arc::new(Trust { roots, named: Vec::new() });
    *read = Some((Instant::now(), Arc::clone(&trust)));
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn only_a_certificate_that_says_so_is_an_authority() {
        use rcgen::BasicConstraints::Unconstrained;
        let made = |is_ca: IsCa| {
            let mut params = CertificateParams::new(["db.test".to_owned()]).unwrap();
            params.is_ca = is_ca;
            let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            Certificate::from_der(made.der()).unwrap()
        };
        assert!(is_authority(&made(IsCa::Ca(Unconstrained))));
        assert!(!is_authority(&made(IsCa::ExplicitNoCa)));
        assert!(!is_authority(&made(IsCa::NoCa)), "it says nothing");
        let mut old = made(IsCa::NoCa);
        old.tbs_certificate.version = Version::V1;
        old.tbs_certificate.extensions = None;
        assert!(is_authority(&old), "version 1 has no way to say so");
    }
}
