//! A psql that is nothing but the protocol, from whichever address of this machine it likes.
//!
//! Promises: a read ends after a minute; what comes before the session is kept as it came.
//! Deliberately not here: our own codec; a mistake in that one must not hide itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::process::PATIENCE;
use super::stage::Stage;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
pub(crate) struct Client {
    stream: Stream,
    /// This end of it, as the record of the other end names it.
    pub(crate) address: SocketAddr,
    /// The tags of what came since AuthenticationOk.
    tags: String,
}

/// How a connection was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: String,
    /// The tags of all messages after AuthenticationOk.
    pub(crate) tags: String,
}

/// What a person is shown.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) message: String,
    pub(crate) detail: String,
    pub(crate) hint: String,
}

impl Client {
    /// A connection from `127.0.0.FROM` without TLS, nothing sent yet.
    pub(crate) fn plain(address: SocketAddr, from: u8) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let address = stream.local_addr().unwrap();
        Self { stream: Stream::Plain(stream), address, tags: String::new() }
    }

    /// With TLS, as `login`, start-up packet sent.
    pub(crate) fn start(stage: &Stage, from: u8, login: &str) -> Self {
        let mut client = Self::plain(stage.address, from).encrypted(stage);
        client.ask(login);
        client
    }

    fn encrypted(mut self, stage: &Stage) -> Self {
        self.write(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
        let mut answer = [0];
        self.reader().read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"S", "the proxy must offer TLS");
        let mut roots = RootCertStore::empty();
        let own = fs::read(stage.folder().join("server.crt")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&own).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let Stream::Plain(stream) = self.stream else { panic!("encrypted already") };
        Self { stream: Stream::Tls(Box::new(StreamOwned::new(connection, stream))), ..self }
    }

    /// Sends the start-up packet of a psql.
    pub(crate) fn ask(&mut self, login: &str) {
        let mut body = vec![0, 3, 0, 0];
        for text in ["user", login, "database", "payments", "application_name", "psql"] {
            body.extend([text.as_bytes(), &[0]].concat());
        }
        body.push(0);
        self.write(&[&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat());
    }

    /// Reads until a person is asked to sign in.
    pub(crate) fn prompt(&mut self) -> Prompt {
        loop {
            let (tag, body) = self.message().expect("a prompt, not the end of the connection");
            let text = |name: char| fields(&body).get(&name).cloned().unwrap_or_default();
            assert_ne!(tag, 'E', "{:?}", fields(&body));
            if tag == 'N' {
                return Prompt { message: text('M'), detail: text('D'), hint: text('H') };
            }
        }
    }

    /// The code of the prompt.
    pub(crate) fn code(&mut self) -> String {
        let message = self.prompt().message;
        message.rsplit_once(" and enter ").expect("a code at the end of the message").1.to_owned()
    }

    /// Reads until the session is ready, or refused.
    pub(crate) fn outcome(&mut self) -> Result<(), Refusal> {
        loop {
            let (tag, body) = self.message().expect("a session or a refusal, not the end of the connection");
            match tag {
                'Z' => return Ok(()),
                'E' => {
                    let fields = fields(&body);
                    assert_eq!(fields[&'S'], "FATAL", "{fields:?}");
                    let text = |name: char| fields.get(&name).cloned().unwrap_or_default();
                    let tags = self.tags.clone();
                    return Err(Refusal { code: text('C'), message: text('M'), detail: text('D'), tags });
                }
                _ => {}
            }
        }
    }

    pub(crate) fn ready(&mut self) {
        self.outcome().unwrap();
    }

    pub(crate) fn refused(&mut self) -> Refusal {
        self.outcome().expect_err("it must be refused")
    }

    /// Runs a statement; whether it was answered.
    pub(crate) fn runs(&mut self, sql: &str) -> bool {
        let body = [sql.as_bytes(), &[0]].concat();
        self.write(&[&b"Q"[..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body].concat());
        self.outcome().is_ok()
    }

    /// Whether nothing has come since, and the connection is open, for this long.
    pub(crate) fn is_silent_for(&mut self, pause: Duration) -> bool {
        let tcp = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        };
        tcp.set_read_timeout(Some(pause)).unwrap();
        let waits = tcp.peek(&mut [0]).is_err();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        waits
    }

    fn message(&mut self) -> Option<(char, Vec<u8>)> {
        let mut head = [0; 5];
        self.reader().read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        self.reader().read_exact(&mut body).ok()?;
        let tag = char::from(head[0]);
        if tag != 'R' {
            self.tags.push(tag);
        }
        Some((tag, body))
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).unwrap(),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()).unwrap(),
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        }
    }
}

/// The fields of an error or a notice.
fn fields(body: &[u8]) -> BTreeMap<char, String> {
    let texts = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    texts.map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned())).collect()
}
