//! One request and one answer a connection: plain, behind TLS, or through a company's proxy (CONNECT).

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// What the liar answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// JSON with a status.
    Json(u16, Value),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) form: HashMap<String, String>,
    pub(crate) at: Instant,
}

impl Reply {
    pub(crate) fn http(status: &str, headers: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        Self::Raw([head.as_bytes(), body.as_bytes()].concat())
    }

    pub(crate) fn html(status: &str) -> Self {
        Self::http(status, "content-type: text/html\r\n", "<html><body>Bad Gateway</body></html>")
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::http("302 Found", &format!("location: {to}\r\n"), "")
    }

    /// A hundred megabytes, if the client reads that much.
    pub(crate) fn endless() -> Self {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n{\"x\":\"";
        Self::Raw([&head[..], &vec![b'x'; 4 * 1024 * 1024]].concat())
    }

    pub(crate) fn truncated() -> Self {
        Self::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"issuer\":".to_vec())
    }

    pub(crate) fn error(code: &str) -> Self {
        Self::Json(400, json!({ "error": code }))
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Raw(raw) => Some(raw),
            Self::Json(status, value) => {
                Self::http(&format!("{status} x"), "content-type: application/json\r\n", &value.to_string()).bytes()
            }
            Self::Silence => None,
        }
    }
}

/// Reads one request; none when the connection ends before it is whole.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut raw = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut raw).await.unwrap_or(0) == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let form = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(Request { path, head, form, at: Instant::now() })
}

/// Answers, and closes.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: Reply) {
    match reply.bytes() {
        Some(raw) => {
            let _ = stream.write_all(&raw).await;
            let _ = stream.shutdown().await;
        }
        // Until the client gives up and closes.
        None => drop(stream.read(&mut [0; 1]).await),
    }
}

/// A listener that nobody must ever connect to.
pub(crate) struct Trap {
    pub(crate) address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&hits);
        std::thread::spawn(move || {
            while listener.accept().is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, hits }
    }

    /// How many connected so far: one of our own goes last, so that none before it can be overlooked.
    pub(crate) fn hits(&self) -> usize {
        let before = self.hits.load(Ordering::SeqCst);
        drop(std::net::TcpStream::connect(self.address).unwrap());
        while self.hits.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
        self.hits.fetch_sub(1, Ordering::SeqCst) - 1
    }
}
