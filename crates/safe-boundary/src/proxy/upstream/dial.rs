//! Reaching an address: DNS, TCP or a Unix socket, and TLS as `sslmode` says.
//!
//! Promises: names are looked up at each connect; silent connections are probed.
//! Deliberately not here: time limits (whoever dials has them), and logging in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::conninfo::{Host, Keepalive, Place};
use super::error::Error;
use super::tls;
use crate::descriptors;
use crate::proxy::stream::Stream;

/// One place that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => path.display().fmt(out),
        }
    }
}

/// How a TCP connection is to be secured.
#[derive(Debug, Clone)]
pub(super) enum Security {
    /// Not at all.
    Plain,
    /// By TLS, or there is no connection.
    Tls(Handshake),
    /// By TLS, unless the server says that it has none.
    TlsIfOffered(Handshake),
}

/// What a handshake needs.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// The addresses of a host, in the resolver's order.
pub(super) async fn resolve(host: &Host) -> Result<Vec<Address>, Error> {
    match (&host.place, &host.name) {
        (Place::Socket(path), _) => Ok(vec![Address::Unix(path.clone())]),
        (Place::Address(address), _) => Ok(vec![Address::Tcp(SocketAddr::new(*address, host.port))]),
        (Place::Name, name) => {
            let name = name.as_deref().unwrap_or_default();
            let found = tokio::net::lookup_host((name, host.port)).await.map_err(Error::Resolve)?;
            let found: Vec<_> = found.map(Address::Tcp).collect();
            if found.is_empty() { Err(Error::Resolve(io::ErrorKind::NotFound.into())) } else { Ok(found) }
        }
    }
}

/// Connects, and secures the connection.
pub(super) async fn dial(address: &Address, keepalive: Option<Keepalive>, security: Security) -> Result<Stream, Error> {
    let mut stream = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(Error::Connect)?;
            descriptors::leave_some(&stream).map_err(Error::Connect)?;
            return Ok(Stream::Unix(stream));
        }
        Address::Tcp(address) => TcpStream::connect(address).await.map_err(Error::Connect)?,
    };
    descriptors::leave_some(&stream).and_then(|()| tune(&stream, keepalive)).map_err(Error::Connect)?;
    let (handshake, required) = match security {
        Security::Plain => return Ok(Stream::Plain(stream)),
        Security::Tls(handshake) => (handshake, true),
        Security::TlsIfOffered(handshake) => (handshake, false),
    };
    if tls::request(&mut stream).await? {
        Ok(Stream::Tls(tls::handshake(stream, handshake.config, handshake.name).await?))
    } else if required {
        Err(tls::Error::NotOffered.into())
    } else {
        Ok(Stream::Plain(stream))
    }
}

fn tune(stream: &TcpStream, keepalive: Option<Keepalive>) -> io::Result<()> {
    // Whole batches are written at once: waiting for more to send would only add latency.
    stream.set_nodelay(true)?;
    keepalive.map_or(Ok(()), |Keepalive { idle, interval, count }| {
        let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
        SockRef::from(stream).set_tcp_keepalive(&probes)
    })
}
