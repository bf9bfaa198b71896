//! A small identity provider that is honest until told to lie: one switch a row.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// The device code that must never be printed.
pub(crate) const DEVICE_CODE: &str = "device-code-that-must-not-be-printed";

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

/// The running liar.
pub(crate) struct Liar {
    pub(crate) issuer: String,
    told: Arc<Told>,
    server: JoinHandle<()>,
}

struct Told {
    issuer: String,
    key: KeyPair,
    kid: Mutex<String>,
    claims: Mutex<Value>,
    always: Mutex<HashMap<String, Reply>>,
    next: Mutex<HashMap<String, VecDeque<Reply>>>,
    requests: Mutex<Vec<Request>>,
    count: watch::Sender<usize>,
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
}

impl Liar {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, issuer, None)
    }

    /// One that speaks TLS with this certificate, as `localhost`.
    pub(crate) async fn start_tls(tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        Self::serve(listener, issuer, Some(tls))
    }

    fn serve(listener: TcpListener, issuer: String, tls: Option<TlsAcceptor>) -> Self {
        let now = jiff_seconds();
        let told = Arc::new(Told {
            issuer: issuer.clone(),
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            kid: Mutex::new("one".to_owned()),
            claims: Mutex::new(
                json!({ "iss": issuer, "aud": "safe-boundary", "sub": "00u1", "iat": now, "exp": now + 300,
                "email": "alice@example.com", "email_verified": true, "groups": ["engineering"] }),
            ),
            always: Mutex::default(),
            next: Mutex::default(),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let shared = Arc::clone(&told);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &told).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &told).await;
                            }
                        }
                    }
                });
            }
        });
        Self { issuer, told, server }
    }

    /// From now on this path answers so.
    pub(crate) fn always(&self, path: &str, reply: Reply) {
        self.told.always.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// The next request for this path is answered so, once.
    pub(crate) fn next(&self, path: &str, reply: Reply) {
        self.told.next.lock().unwrap().entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Changes the discovery document, the device answer or the like: the honest one with these members.
    pub(crate) fn amend(&self, path: &str, members: &Value) {
        let mut honest = self.told.honest(path);
        honest.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.always(path, Reply::Json(200, honest));
    }

    /// Changes one claim of the tokens to come; null removes it.
    pub(crate) fn claim(&self, name: &str, value: Value) {
        let mut claims = self.told.claims.lock().unwrap();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
    }

    /// Signs under another key id from now on.
    pub(crate) fn rename_key(&self, kid: &str) {
        kid.clone_into(&mut self.told.kid.lock().unwrap());
    }

    /// A good token, to be spoiled by the caller.
    pub(crate) fn token(&self) -> String {
        self.told.token()
    }

    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.told.requests.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Waits until a path was asked for so often.
    pub(crate) async fn wait_for(&self, path: &str, times: usize) {
        let mut count = self.told.count.subscribe();
        count.wait_for(|_| self.requests(path).len() >= times).await.unwrap();
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Told {
    fn honest(&self, path: &str) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        match path {
            "/.well-known/openid-configuration" => json!({ "issuer": self.issuer, "jwks_uri": at("/jwks"),
                "token_endpoint": at("/token"), "device_authorization_endpoint": at("/device"),
                "userinfo_endpoint": at("/userinfo"),
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"] }),
            "/jwks" => {
                let x = base64_url(self.key.public_key_raw());
                json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": *self.kid.lock().unwrap(), "x": x }] })
            }
            "/device" => json!({ "device_code": DEVICE_CODE, "user_code": "ABCD-EFGH", "interval": 1, "expires_in": 60,
                "verification_uri": at("/activate"), "verification_uri_complete": at("/activate?user_code=ABCD-EFGH") }),
            "/token" => json!({ "id_token": self.token(), "access_token": "access-1", "refresh_token": "refresh-1",
                "token_type": "Bearer" }),
            "/userinfo" => json!({ "sub": "00u1", "groups": ["from-userinfo"] }),
            _ => json!({ "error": "not_found" }),
        }
    }

    fn token(&self) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.lock().unwrap().clone());
        let claims = self.claims.lock().unwrap().clone();
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&self.key.serialize_der())).unwrap()
    }

    fn reply_to(&self, path: &str) -> Reply {
        let next = self.next.lock().unwrap().get_mut(path).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.lock().unwrap().get(path).cloned())
            .unwrap_or_else(|| Reply::Json(200, self.honest(path)))
    }
}

/// Reads one request, answers it, and closes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: &Told) {
    let mut raw = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut raw).await.unwrap_or(0) == 0 {
            return;
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
    told.requests.lock().unwrap().push(Request { path: path.clone(), head, form, at: Instant::now() });
    told.count.send_modify(|count| *count += 1);
    let raw = match told.reply_to(&path) {
        Reply::Raw(raw) => raw,
        Reply::Json(status, value) => {
            match Reply::http(&format!("{status} x"), "content-type: application/json\r\n", &value.to_string()) {
                Reply::Raw(raw) => raw,
                Reply::Json(..) | Reply::Silence => return,
            }
        }
        Reply::Silence => {
            // Until the client gives up and closes.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    };
    let _ = stream.write_all(&raw).await;
    let _ = stream.shutdown().await;
}

/// A listener that nobody must ever connect to.
pub(crate) struct Trap {
    pub(crate) address: SocketAddr,
    hits: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Trap {
    pub(crate) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (count, hits) = watch::channel(0);
        let server = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.send_modify(|count| *count += 1);
            }
        });
        Self { address, hits, server }
    }

    pub(crate) fn hits(&self) -> usize {
        *self.hits.borrow()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn base64_url(bytes: impl AsRef<[u8]>) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes)
}

fn jiff_seconds() -> i64 {
    safe_boundary::clock::now().as_second()
}
