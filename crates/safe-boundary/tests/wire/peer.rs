//! A peer that says whatever it is told to, byte by byte, and sees every byte that comes back.
//!
//! Promises: a read ends after a minute, so that no test hangs.
//! Deliberately not here: manners.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::support::Stage;
use super::support::process::PATIENCE;
use super::support::psql::code_in;
use super::support::wire::{Message, fields};

pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
pub(crate) const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
pub(crate) const V3_0: [u16; 2] = [3, 0];
pub(crate) const V3_2: [u16; 2] = [3, 2];

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

pub(crate) struct Peer {
    stream: Stream,
    /// Process id and secret, once they were told.
    pub(crate) key: Vec<u8>,
}

impl Peer {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// As [`Peer::plain`], from an address of this machine (all of 127.0.0.0/8 are).
    pub(crate) fn plain_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::of(socket.into())
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Stream::Plain(stream), key: Vec::new() }
    }

    /// TLS after an SSLRequest.
    pub(crate) fn tls(stage: &Stage) -> Self {
        Self::plain(stage.proxy.address).asking_for_tls(stage)
    }

    /// SSLRequest, and TLS from here on.
    pub(crate) fn asking_for_tls(mut self, stage: &Stage) -> Self {
        self.write(&SSL_REQUEST);
        assert_eq!(self.bytes::<1>(), *b"S");
        self.encrypted(stage, &[])
    }

    /// TLS from here on; the handshake happens at the first write or read.
    pub(crate) fn encrypted(self, stage: &Stage, alpn: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        let ca = std::fs::read(stage.folder().join("ca.crt")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        let Stream::Plain(stream) = self.stream else { panic!("encrypted already") };
        Self { stream: Stream::Tls(Box::new(StreamOwned::new(connection, stream))), key: self.key }
    }

    /// A session on TLS that is ready for statements.
    pub(crate) fn signed_in(stage: &Stage, login: &str) -> Self {
        Self::signed_in_with(stage, login, V3_0, &[])
    }

    pub(crate) fn signed_in_with(stage: &Stage, login: &str, version: [u16; 2], more: &[(&str, &str)]) -> Self {
        let mut peer = Self::tls(stage);
        peer.sign_in(stage, login, version, more);
        peer
    }

    /// As [`Peer::signed_in`], with a server that may still be coming back.
    pub(crate) fn signed_in_when_possible(stage: &Stage, login: &str) -> Self {
        let begun = Instant::now();
        loop {
            let mut peer = Self::tls(stage);
            peer.write(&psql(V3_0, login, &[]));
            stage.idp.approve(&peer.prompted(), login);
            loop {
                match peer.message() {
                    ('E', body) => assert!(begun.elapsed() < PATIENCE, "{:?}", fields(&body)),
                    ('K', key) => peer.key = key,
                    ('Z', _) => return peer,
                    _ => continue,
                }
                if peer.key.is_empty() {
                    break;
                }
            }
        }
    }

    /// Starts a session here, and signs in.
    pub(crate) fn sign_in(&mut self, stage: &Stage, login: &str, version: [u16; 2], more: &[(&str, &str)]) {
        self.write(&psql(version, login, more));
        let code = self.prompted();
        stage.idp.approve(&code, login);
        self.ready();
    }

    /// Reads until a notice shows a code.
    pub(crate) fn prompted(&mut self) -> String {
        loop {
            let (tag, body) = self.message();
            assert_ne!(tag, 'E', "{:?}", fields(&body));
            if tag == 'N'
                && let Some(code) = fields(&body).get(&'M').and_then(|text| code_in(text))
            {
                return code;
            }
        }
    }

    /// Reads until ReadyForQuery; gives everything before it.
    pub(crate) fn ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let (tag, body) = self.message();
            match tag {
                'Z' => return messages,
                'K' => self.key.clone_from(&body),
                _ => {}
            }
            messages.push((tag, body));
        }
    }

    pub(crate) fn message(&mut self) -> Message {
        let head = self.bytes::<5>();
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        self.reader().read_exact(&mut body).unwrap();
        (char::from(head[0]), body)
    }

    /// Everything until the other end closes, as messages; it must be whole ones.
    pub(crate) fn last_messages(&mut self) -> Vec<Message> {
        let raw = self.until_end();
        let mut rest = raw.as_slice();
        let mut messages = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            assert!(after.len() >= length, "a message of {length} bytes was cut after {}", after.len());
            messages.push((char::from(head[0]), after[..length].to_vec()));
            rest = &after[length..];
        }
        assert!(rest.is_empty(), "half a message header at the end: {rest:?}");
        messages
    }

    /// SQLSTATE and text of the error that ends the connection, and the tags before it.
    pub(crate) fn refused(&mut self) -> (String, String, String) {
        let messages = self.last_messages();
        let tags: String = messages.iter().map(|(tag, _)| *tag).collect();
        let Some(('E', body)) = messages.last() else { panic!("no error at the end, but {tags:?}") };
        let fields = fields(body);
        assert_eq!(fields[&'S'], "FATAL", "{fields:?}");
        (fields[&'C'].clone(), fields[&'M'].clone(), tags)
    }

    /// All bytes until the other end closes, orderly or not.
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        let (mut all, mut piece) = (Vec::new(), [0; 8192]);
        loop {
            match self.reader().read(&mut piece) {
                Ok(0) => return all,
                Ok(read) => all.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("neither an end nor a byte in a minute, after {all:?}")
                }
                Err(_) => return all,
            }
        }
    }

    /// Whether the other end closes in order, on TLS with a close_notify, and says nothing before.
    pub(crate) fn closes_in_order(&mut self) -> bool {
        self.reader().read(&mut [0; 64]).is_ok_and(|read| read == 0)
    }

    /// Waits for the end, which must come within `bound`.
    pub(crate) fn ends_within(&mut self, bound: Duration, what: &str) -> Vec<u8> {
        let begun = Instant::now();
        let bytes = self.until_end();
        assert!(begun.elapsed() < bound, "{what}: closed only after {:?}", begun.elapsed());
        bytes
    }

    /// Waits for `pause` at most; whether the other end has closed by then.
    pub(crate) fn has_ended_after(&mut self, pause: Duration) -> bool {
        self.tcp().set_read_timeout(Some(pause)).unwrap();
        let read = self.reader().read(&mut [0; 64]);
        self.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader().read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes next, if it comes before the read timeout.
    pub(crate) fn try_bytes(&mut self) -> Option<[u8; 1]> {
        let mut byte = [0];
        self.reader().read_exact(&mut byte).is_ok().then_some(byte)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).unwrap();
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// As a process that is killed with unread data, or a firewall: no goodbye, only a reset.
    pub(crate) fn vanish(self) {
        socket2::SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        }
    }
}

/// A start-up packet.
pub(crate) fn startup([major, minor]: [u16; 2], parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = [major.to_be_bytes(), minor.to_be_bytes()].concat();
    for (name, value) in parameters {
        body.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    }
    body.push(0);
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

/// The start-up packet of a psql, and more.
pub(crate) fn psql(version: [u16; 2], login: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut parameters = vec![("user", login), ("database", "payments"), ("application_name", "psql")];
    parameters.extend_from_slice(more);
    startup(version, &parameters)
}

/// A cancel request.
pub(crate) fn cancel(key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + key.len()).unwrap().to_be_bytes();
    [&length[..], &80_877_102_u32.to_be_bytes(), key].concat()
}
