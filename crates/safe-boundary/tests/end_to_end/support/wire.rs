//! A client that is nothing but the protocol, for what real ones never send, or do not show.
//!
//! Promises: it says what it is told to, and gives back every message as it came; a read ends after a minute.
//! Deliberately not here: our own codec; a mistake in that one must not hide itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Stage;
use super::process::PATIENCE;
use super::psql::code_in;

/// A message from the server: its tag and its body.
pub(crate) type Message = (char, Vec<u8>);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
pub(crate) struct Wire {
    stream: Stream,
    /// Every code that a notice has shown.
    pub(crate) codes: Vec<String>,
    /// Process id and secret of a session that is ready.
    pub(crate) key: Vec<u8>,
}

impl Wire {
    /// A connection without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Stream::Plain(stream), codes: Vec::new(), key: Vec::new() }
    }

    /// A connection with TLS, nothing sent yet.
    pub(crate) fn tls(stage: &Stage) -> Self {
        let mut wire = Self::plain(stage.proxy.address);
        wire.write(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
        let mut answer = [0];
        wire.read_exact(&mut answer);
        assert_eq!(answer, *b"S", "the proxy must offer TLS");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(stage.folder().join("ca.crt")).unwrap()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let Stream::Plain(stream) = wire.stream else { panic!("it was just made") };
        wire.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        wire
    }

    /// A session of `login` that is ready for statements.
    pub(crate) fn signed_in(stage: &Stage, login: &str) -> Self {
        let mut wire = Self::tls(stage);
        wire.start(&[("user", login), ("database", "payments"), ("application_name", "psql")]);
        let code = wire.prompted();
        stage.idp.approve(&code, login);
        wire.ready();
        wire
    }

    /// Sends a start-up packet of protocol 3.0.
    pub(crate) fn start(&mut self, parameters: &[(&str, &str)]) {
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in parameters {
            body.extend([name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
        }
        body.push(0);
        self.write(&[&length(&body), body.as_slice()].concat());
    }

    /// Reads until a notice shows a code.
    pub(crate) fn prompted(&mut self) -> String {
        while self.codes.is_empty() {
            let (tag, body) = self.message();
            assert_ne!(tag, 'E', "{:?}", fields(&body));
        }
        self.codes[self.codes.len() - 1].clone()
    }

    /// Reads until the server is ready for a statement; gives everything before that.
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

    /// Reads until the connection ends with an error; gives its fields and the tags of what came before.
    pub(crate) fn refused(&mut self) -> (BTreeMap<char, String>, String) {
        let mut before = String::new();
        let asked = self.codes.len();
        loop {
            let (tag, body) = self.message();
            assert_eq!(self.codes.len(), asked, "a prompt instead of a refusal");
            if tag == 'E' {
                return (fields(&body), before);
            }
            before.push(tag);
        }
    }

    /// One message; notices are looked through for a code.
    pub(crate) fn message(&mut self) -> Message {
        self.try_message().expect("a message, not the end of the connection")
    }

    /// One message, or none when the connection has ended.
    pub(crate) fn try_message(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.reader().read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        self.reader().read_exact(&mut body).ok()?;
        if head[0] == b'N' {
            self.codes.extend(fields(&body).get(&'M').and_then(|text| code_in(text)));
        }
        Some((char::from(head[0]), body))
    }

    /// Whether a try to say something more still works.
    pub(crate) fn try_send(&mut self, frames: &[u8]) -> bool {
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(frames),
            Stream::Tls(stream) => stream.write_all(frames).and_then(|()| stream.flush()),
        };
        sent.is_ok()
    }

    /// Sends frames as they are, in one write.
    pub(crate) fn write(&mut self, frames: &[u8]) {
        assert!(self.try_send(frames), "the connection has ended");
    }

    /// Sends a simple query and gives its answer.
    pub(crate) fn query(&mut self, sql: &str) -> Vec<Message> {
        self.write(&query(sql));
        self.ready()
    }

    fn read_exact(&mut self, bytes: &mut [u8]) {
        self.reader().read_exact(bytes).unwrap();
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        }
    }
}

/// The fields of an error or a notice.
pub(crate) fn fields(body: &[u8]) -> BTreeMap<char, String> {
    let texts = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    texts.map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned())).collect()
}

/// The command tags and SQLSTATEs in `messages`, in order.
pub(crate) fn results(messages: &[Message]) -> Vec<String> {
    let result = |(tag, body): &Message| match tag {
        'C' => Some(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
        'E' => Some(fields(body)[&'C'].clone()),
        's' => Some("suspended".to_owned()),
        _ => None,
    };
    messages.iter().filter_map(result).collect()
}

/// The first column of each row in `messages`, as text.
pub(crate) fn values(messages: &[Message]) -> Vec<String> {
    let rows = messages.iter().filter(|(tag, _)| *tag == 'D');
    rows.map(|(_, body)| {
        let length = u32::from_be_bytes([body[2], body[3], body[4], body[5]]) as usize;
        String::from_utf8_lossy(&body[6..6 + length]).into_owned()
    })
    .collect()
}

fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).unwrap().to_be_bytes()
}

/// A frame.
pub(crate) fn frame(tag: char, body: &[u8]) -> Vec<u8> {
    [&[tag as u8][..], &length(body), body].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame('Q', &[sql.as_bytes(), &[0]].concat())
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame('P', &[name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat())
}

/// Bind of the unnamed portal to statement `name`, with text parameters.
pub(crate) fn bind(name: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    let mut body = [&[0], name.as_bytes(), &[0, 0, 0]].concat();
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(text) => {
                body.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text.as_bytes());
            }
            None => body.extend([0xff; 4]),
        }
    }
    body.extend([0, 0]);
    frame('B', &body)
}

/// Execute of the unnamed portal, at most `limit` rows; 0 for all.
pub(crate) fn execute(limit: u32) -> Vec<u8> {
    frame('E', &[&[0][..], &limit.to_be_bytes()].concat())
}

pub(crate) fn sync() -> Vec<u8> {
    frame('S', &[])
}

pub(crate) fn close_statement(name: &str) -> Vec<u8> {
    frame('C', &[b"S", name.as_bytes(), &[0]].concat())
}

/// A function call with one text-format argument.
pub(crate) fn function_call(oid: u32, argument: &str) -> Vec<u8> {
    let size = u32::try_from(argument.len()).unwrap().to_be_bytes();
    frame('F', &[&oid.to_be_bytes()[..], &[0, 0, 0, 1], &size, argument.as_bytes(), &[0, 0]].concat())
}
