//! From the first byte to the start-up packet: SSLRequest, GSSENCRequest, direct TLS, CancelRequest.
//!
//! Promises: it ends within its deadline; it reads not one byte more than it needs, so nothing that was sent in the clear
//! is ever taken for something sent inside TLS (CVE-2021-23222); what is not understood is closed without an answer.
//! Deliberately not here: what the packet asks for (`request.rs`).

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pgproto::startup::{self, ProtocolVersion, StartupError, StartupPacket, Untagged};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::stream::Stream;
use super::tls::ALPN;

/// How long a client may take to say what it wants, the announcement of its address included.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client wants.
#[derive(Debug)]
pub enum Opening {
    /// A session.
    Session(Stream, Packet),
    /// To cancel what a session runs.
    Cancel {
        /// Where it asked; to be closed in order.
        stream: Stream,
        /// The process id it names.
        pid: i32,
        /// The secret it names.
        secret: Vec<u8>,
    },
}

/// A start-up packet, held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The protocol it asks for.
    pub version: ProtocolVersion,
    /// Its parameters, in order.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// The server name of the TLS handshake, if the client sent one.
    pub server_name: Option<String>,
}

/// Why a connection came to nothing before its start-up packet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It took too long.
    #[error("no start-up packet within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The connection broke, or the TLS handshake failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The client closed at once, as health checks do.
    #[error("closed before a start-up packet")]
    Closed,
    /// Bytes followed SSLRequest before the handshake.
    #[error("bytes were sent before the TLS handshake")]
    Early,
    /// Direct TLS without the ALPN of PostgreSQL: another protocol's client.
    #[error("direct TLS without ALPN `postgresql`")]
    Alpn,
    /// SSLRequest or GSSENCRequest came twice, or inside TLS.
    #[error("an encryption request came twice")]
    Twice,
    /// Not a start-up packet.
    #[error("{0}")]
    Packet(StartupError, Option<Box<Stream>>),
}

/// Reads until it is clear what the client wants, until `deadline` at the latest.
///
/// # Errors
/// [`Error`]; a malformed packet brings its stream along, so that the client can be told.
pub async fn open(stream: TcpStream, tls: Arc<ServerConfig>, deadline: Instant) -> Result<Opening, Error> {
    tokio::time::timeout_at(deadline, negotiate(stream, tls)).await.unwrap_or(Err(Error::Deadline))
}

async fn negotiate(mut stream: TcpStream, tls: Arc<ServerConfig>) -> Result<Opening, Error> {
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 0 {
        return Err(Error::Closed);
    }
    if first == [TLS_HANDSHAKE] {
        let stream = Box::new(TlsAcceptor::from(tls).accept(stream).await?);
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(Error::Alpn);
        }
        return packet(Stream::Tls(Box::new(TlsStream::Server(*stream)))).await;
    }
    let mut gss_was_asked = false;
    loop {
        let raw = match untagged(&mut stream).await? {
            Ok(raw) => raw,
            Err(error) => return Err(Error::Packet(error, Some(Box::new(Stream::Plain(stream))))),
        };
        match startup::parse_untagged(&raw) {
            Ok(Some((Untagged::SslRequest, _))) => {
                if has_bytes(&stream).await {
                    return Err(Error::Early);
                }
                stream.write_all(b"S").await?;
                let stream = TlsAcceptor::from(tls).accept(stream).await?;
                return packet(Stream::Tls(Box::new(TlsStream::Server(stream)))).await;
            }
            Ok(Some((Untagged::GssEncRequest, _))) if !gss_was_asked => {
                gss_was_asked = true;
                stream.write_all(b"N").await?;
            }
            Ok(Some((Untagged::GssEncRequest, _))) => return Err(Error::Twice),
            _ => return settle(Stream::Plain(stream), &raw),
        }
    }
}

/// Inside TLS: a start-up packet or a cancel request, nothing else.
async fn packet(mut stream: Stream) -> Result<Opening, Error> {
    match untagged(&mut stream).await? {
        Ok(raw) => settle(stream, &raw),
        Err(error) => Err(Error::Packet(error, Some(Box::new(stream)))),
    }
}

fn settle(stream: Stream, raw: &[u8]) -> Result<Opening, Error> {
    let server_name = stream.server_name();
    match startup::parse_untagged(raw) {
        Ok(Some((Untagged::Startup(packet), _))) => Ok(Opening::Session(stream, Packet::hold(&packet, server_name))),
        Ok(Some((Untagged::CancelRequest { pid, secret }, _))) => {
            Ok(Opening::Cancel { stream, pid, secret: secret.to_vec() })
        }
        Ok(Some((Untagged::SslRequest | Untagged::GssEncRequest, _))) => Err(Error::Twice),
        Ok(None) => Err(Error::Closed),
        Err(error) => Err(Error::Packet(error, Some(Box::new(stream)))),
    }
}

/// Reads one untagged packet: its length is judged before anything else is read.
async fn untagged(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Result<Vec<u8>, StartupError>, Error> {
    let mut raw = vec![0; 4];
    stream.read_exact(&mut raw).await.map_err(closed)?;
    if let Err(error) = startup::parse_untagged(&raw) {
        return Ok(Err(error));
    }
    let length = raw.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
    // INVARIANT: the parser has refused lengths beyond `PACKET_BYTES_MAX`.
    raw.resize(usize::try_from(length).unwrap_or(0).clamp(4, startup::PACKET_BYTES_MAX), 0);
    stream.read_exact(raw.get_mut(4..).unwrap_or_default()).await.map_err(closed)?;
    Ok(Ok(raw))
}

fn closed(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { Error::Closed } else { Error::Io(error) }
}

/// Whether bytes have arrived already; an honest client waits for our answer to SSLRequest.
async fn has_bytes(stream: &TcpStream) -> bool {
    let mut byte = [0; 1];
    let mut buffer = tokio::io::ReadBuf::new(&mut byte);
    std::future::poll_fn(|cx| Poll::Ready(matches!(stream.poll_peek(cx, &mut buffer), Poll::Ready(Ok(1..))))).await
}

impl Packet {
    /// The last value of a parameter, as the server would take it.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        let same = |(known, _): &&(Vec<u8>, Vec<u8>)| known.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().rfind(same).map(|(_, value)| value.as_slice())
    }

    fn hold(packet: &StartupPacket<'_>, server_name: Option<String>) -> Self {
        let parameters = packet.parameters.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Self { version: packet.version, parameters, server_name }
    }
}
