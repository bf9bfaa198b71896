//! The HTTP client for the identity provider.
//!
//! Promises: https except on loopback, no redirects, at most [`BODY_BYTES_MAX`] of an answer, at most [`TIMEOUT`]
//! for it; cloud metadata and other link-local addresses are never called, whatever a document or a name server says.
//! Behind a company's proxy (`HTTPS_PROXY`) the proxy looks names up, so the last promise is then the proxy's to keep
//! for names; literal addresses are checked all the same.
//! Deliberately not here: what the answers mean.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{RequestBuilder, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::error::{Endpoint, Error};
use crate::descriptors;
use crate::metrics::{IdpOutcome, METRICS};

/// The longest answer that is read, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long one request may take, answer included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than servers keep idle connections open: a request never meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many names are looked up at the same time: a stalled name server must not use up the threads.
const LOOKUPS_MAX: usize = 4;

/// Which addresses may be called, as the issuer's own address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The issuer is this machine: plain http to it is fine, and only then.
    loopback: bool,
    /// The issuer is itself a link-local address.
    link_local: bool,
}

/// Sends requests to the provider, within its reach.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    reach: Reach,
}

/// An answer of the provider.
pub(super) struct Reply {
    pub(super) status: u16,
    /// `Retry-After` in seconds, when it says one.
    pub(super) retry_after: Option<Duration>,
    /// The provider's clock: `Date`, when it says one.
    pub(super) date: Option<Timestamp>,
    /// Wiped when dropped: it may hold tokens.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Reach {
    /// What the issuer's address allows.
    pub(crate) fn of_issuer(issuer: &str) -> Result<Self, Error> {
        let refused = || Error::Address { endpoint: Endpoint::Discovery, address: issuer.to_owned() };
        let url = Url::parse(issuer).map_err(|_| refused())?;
        let literal = literal_of(&url);
        let reach = Self { loopback: is_loopback(&url, literal), link_local: literal.is_some_and(is_link_local) };
        reach.check(Endpoint::Discovery, issuer).map(|_| reach)
    }

    /// The address, if it may be called.
    pub(super) fn check(self, endpoint: Endpoint, address: &str) -> Result<Url, Error> {
        let refused = || Error::Address { endpoint, address: address.chars().take(200).collect() };
        let url = Url::parse(address).map_err(|_| refused())?;
        let literal = literal_of(&url);
        let loopback = is_loopback(&url, literal);
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        let host_fits = match literal {
            _ if loopback || is_local_name(&url) => self.loopback,
            Some(ip) => may_be_called(ip) || (self.link_local && is_link_local(ip)),
            None => url.has_host(),
        };
        if plain && scheme_fits && host_fits { Ok(url) } else { Err(refused()) }
    }

    /// Whether people may be sent to this address: https, or plain http where provider and page are on this machine.
    ///
    /// It is shown as it came, so it must look like what it is: `https:/x//known.example` leads to the host `x`.
    pub(super) fn is_page(self, address: &str) -> bool {
        Url::parse(address).is_ok_and(|url| {
            let local = self.loopback && is_loopback(&url, literal_of(&url));
            let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && local);
            let rest = address.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case(url.scheme()));
            let is_whole = rest.is_some_and(|(_, rest)| !rest.starts_with('/'));
            scheme_fits && is_whole && url.has_host() && url.username().is_empty() && url.password().is_none()
        })
    }
}

fn literal_of(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn is_loopback(url: &Url, literal: Option<IpAddr>) -> bool {
    literal.map_or_else(|| url.host_str() == Some("localhost"), |ip| ip.is_loopback())
}

/// Other names for this machine (RFC 6761 §6.3). Not all resolvers know that, so plain http may not go there.
fn is_local_name(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost")
}

/// Link-local addresses, where clouds answer with credentials of the machine, and the few of them that are not.
fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.octets() == [100, 100, 100, 200] || v4.octets() == [168, 63, 129, 16]
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments().starts_with(&[0xfd00, 0xec2]),
    }
}

fn may_be_called(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !is_link_local(ip) && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl Http {
    /// Prepares the client; reads root certificates, talks to nobody.
    pub(super) fn new(issuer: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let reach = Reach::of_issuer(issuer)?;
        let roots = roots(ca)?;
        if roots.is_empty() && !reach.loopback {
            return Err(Error::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .https_only(!reach.loopback)
            .dns_resolver(Arc::new(Resolver { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }))
            .user_agent(concat!("safe-boundary/", env!("CARGO_PKG_VERSION")));
        if reach.loopback {
            // A company's proxy (HTTPS_PROXY) leads out; it does not lead back to this machine.
            builder = builder.no_proxy();
        }
        Ok(Self { client: builder.build().map_err(Error::Setup)?, reach })
    }

    /// What may be called.
    pub(super) const fn reach(&self) -> Reach {
        self.reach
    }

    /// A GET request for JSON.
    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone()).header("accept", "application/json")
    }

    /// A POST request with a form.
    pub(super) fn post(&self, url: &Url, form: &[(&str, &str)]) -> RequestBuilder {
        self.client.post(url.clone()).header("accept", "application/json").form(form)
    }

    /// Sends a request and reads the whole answer, whatever its status but a redirect.
    pub(super) async fn send(&self, endpoint: Endpoint, request: RequestBuilder) -> Result<Reply, Error> {
        let begun = Instant::now();
        let reply = match descriptors::some_left() {
            Ok(()) => exchange(endpoint, request).await,
            Err(source) => Err(Error::NoDescriptors { endpoint, source }),
        };
        let outcome = reply.as_ref().map_or_else(IdpOutcome::from, |reply| reply.status.into());
        METRICS.idp.asked(endpoint, outcome, begun.elapsed());
        reply
    }

    /// Sends a request and wants a plain success.
    pub(super) async fn fetch(&self, endpoint: Endpoint, request: RequestBuilder) -> Result<Zeroizing<Vec<u8>>, Error> {
        let reply = self.send(endpoint, request).await?;
        match reply.status {
            200 => Ok(reply.body),
            status if is_busy(status) => Err(Error::Busy { endpoint, status }),
            status => Err(Error::Status { endpoint, status }),
        }
    }
}

async fn exchange(endpoint: Endpoint, request: RequestBuilder) -> Result<Reply, Error> {
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            Error::Slow { endpoint, after: TIMEOUT }
        } else {
            Error::Unreachable { endpoint, source: error.without_url() }
        }
    };
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(Error::Redirect { endpoint, status: status.as_u16() });
    }
    let seconds = |value: &reqwest::header::HeaderValue| value.to_str().ok()?.trim().parse().ok();
    let retry_after = response.headers().get("retry-after").and_then(seconds).map(Duration::from_secs);
    let date = response
        .headers()
        .get("date")
        .and_then(|value| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.to_str().ok()?).ok());
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
            return Err(Error::TooLarge { endpoint });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status: status.as_u16(), retry_after, date, body })
}

/// Whether a status means "not now" and not "never".
pub(super) const fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// The system's roots (`SSL_CERT_FILE` is honoured) and those of `idp.ca`.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(error = %error, "some root certificates of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca {
        let wrong = |source| Error::Roots { path: path.to_owned(), source };
        let pem = std::fs::read(path).map_err(wrong)?;
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| wrong(io::Error::other(error)))?;
            roots.add(certificate).map_err(|error| wrong(io::Error::other(error)))?;
            found = true;
        }
        if !found {
            return Err(wrong(io::Error::other("no certificate in it")));
        }
    }
    Ok(roots)
}

/// Looks names up and leaves out addresses that must not be called.
struct Resolver {
    lookups: Arc<Semaphore>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let host = name.as_str().to_owned();
            // The permit goes with the thread: a caller that gave up does not make room for another stalled lookup.
            let lookup = tokio::task::spawn_blocking(move || {
                let found = (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter);
                drop(permit);
                found
            });
            let usable: Vec<_> = lookup.await??.into_iter().filter(|at| may_be_called(at.ip())).collect();
            if usable.is_empty() {
                let text = "the name has no address that may be called";
                return Err(Box::<dyn StdError + Send + Sync>::from(text));
            }
            let addresses: Addrs = Box::new(usable.into_iter().map(|at: SocketAddr| at));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_within_the_issuers_reach_are_called() {
        let check = |issuer: &str, address: &str, expected: bool| {
            let reach = Reach::of_issuer(issuer).unwrap();
            assert_eq!(reach.check(Endpoint::Keys, address).is_ok(), expected, "{issuer} -> {address}");
        };
        let public = "https://idp.example.com/tenant";
        check(public, "https://keys.example.net/jwks?x=1", true);
        check(public, "https://10.0.0.7/jwks", true);
        check(public, "http://idp.example.com/jwks", false);
        check(public, "http://127.0.0.1/jwks", false);
        check(public, "https://127.0.0.1/jwks", false);
        check(public, "https://localhost/jwks", false);
        check(public, "https://localhost./jwks", false);
        check(public, "https://LOCALHOST/jwks", false);
        check(public, "https://idp.localhost/jwks", false);
        check(public, "https://[::1]/jwks", false);
        check(public, "https://169.254.169.254/latest", false);
        check(public, "https://[::ffff:169.254.169.254]/latest", false);
        check(public, "https://[fe80::1]/jwks", false);
        check(public, "https://[fd00:ec2::254]/latest", false);
        check(public, "https://100.100.100.200/latest", false);
        check(public, "https://0.0.0.0/jwks", false);
        check(public, "https://0xa9fea9fe/latest", false);
        check(public, "https://2852039166/latest", false);
        check(public, "https://alice:pw@idp.example.com/jwks", false);
        check(public, "https://idp.example.com/jwks#x", false);
        check(public, "file:///etc/passwd", false);
        check(public, "/jwks", false);
        check(public, "", false);
        check("http://127.0.0.1:8080", "http://127.0.0.1:9090/jwks", true);
        check("http://127.0.0.1:8080", "http://localhost/jwks", true);
        check("http://127.0.0.1:8080", "http://idp.example.com/jwks", false);
        check("http://localhost", "http://[::1]/jwks", true);
        check("http://localhost", "http://idp.localhost/jwks", false);
        check("http://localhost", "https://169.254.169.254/", false);
        check("https://169.254.1.1", "https://169.254.1.1/jwks", true);
        for issuer in ["http://idp.example.com", "ftp://127.0.0.1", "idp.example.com", "https://0.0.0.0", ""] {
            assert!(Reach::of_issuer(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn people_are_sent_to_addresses_that_look_like_what_they_are() {
        for (address, expected) in [
            ("https://idp.example.com/device", true),
            ("HTTPS://idp.example.com/device?c=1", true),
            ("https://idp.example.com", true),
            ("http://idp.example.com/device", false),
            ("https:idp.example.com", false),
            ("https:/idp.example.com", false),
            ("https:/evil.example//https://idp.example.com", false),
            ("https:///idp.example.com", false),
            ("https://idp.example.com@evil.example/", false),
            ("javascript://idp.example.com/%0aalert(1)", false),
        ] {
            assert_eq!(Reach::of_issuer("https://idp.example.com").unwrap().is_page(address), expected, "{address}");
        }
    }

    #[test]
    fn names_that_lead_to_metadata_addresses_lead_nowhere() {
        for (ip, expected) in [
            ("93.184.216.34", true),
            ("10.1.2.3", true),
            ("127.0.0.1", true),
            ("169.254.169.254", false),
            ("168.63.129.16", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("0.0.0.0", false),
            ("::", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(may_be_called(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
