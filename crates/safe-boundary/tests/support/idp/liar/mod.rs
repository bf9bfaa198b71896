//! A small identity provider that is honest until told to lie: one switch a row. It serves plain http on loopback, https
//! under a private authority, or https under a public name behind a company's proxy, which notes whom else one wants.

mod draft;
pub(crate) mod http;
pub(crate) mod keys;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

pub(crate) use draft::{Draft, Lie};
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use http::{Reply, Request, Trap};

/// What every device code begins with; it must never be printed.
pub(crate) const DEVICE_CODE: &str = "device-code-that-must-not-be-printed";

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The name of the provider that is not on this machine, as far as its clients can see.
pub(crate) const PUBLIC_HOST: &str = "idp.example.com";

/// The running liar.
pub(crate) struct Liar {
    pub(crate) issuer: String,
    /// Where `HTTPS_PROXY` must point for the public one.
    pub(crate) gate: String,
    told: Arc<Told>,
    /// Its own thread, so that tests may block, ends with this.
    _end: oneshot::Sender<()>,
}

/// A sign-in under way.
#[derive(Default)]
struct Flow {
    answer: Option<Reply>,
    polls: Vec<Instant>,
}

struct Told {
    issuer: String,
    key: &'static KeyPair,
    kid: Mutex<String>,
    claims: Mutex<Value>,
    /// Further keys, and odd ones.
    published: Mutex<Vec<Value>>,
    amended: Mutex<HashMap<String, Value>>,
    always: Mutex<HashMap<String, Reply>>,
    next: Mutex<HashMap<String, VecDeque<Reply>>>,
    /// Whether people have to answer before there are tokens.
    holds: Mutex<bool>,
    /// By the number of the code.
    flows: Mutex<Vec<Flow>>,
    requests: Mutex<Vec<Request>>,
    /// Which hosts a client wanted to be connected with.
    wanted: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Liar {
    /// On plain http, on loopback.
    pub(crate) fn start() -> Self {
        Self::serve(None, |port| format!("http://127.0.0.1:{port}"))
    }

    /// One that speaks TLS with this certificate, as `localhost`.
    pub(crate) fn start_tls(tls: TlsAcceptor) -> Self {
        Self::serve(Some(tls), |port| format!("https://localhost:{port}"))
    }

    /// One that speaks TLS with this certificate, as [`PUBLIC_HOST`], and is reached through `HTTPS_PROXY` only.
    pub(crate) fn start_public(tls: TlsAcceptor) -> Self {
        Self::serve(Some(tls), |_| format!("https://{PUBLIC_HOST}"))
    }

    fn serve(tls: Option<TlsAcceptor>, issuer: impl Fn(u16) -> String) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Told::new(issuer(address.port())));
        let shared = Arc::clone(&told);
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let (told, tls) = (Arc::clone(&shared), tls.clone());
                        tokio::spawn(async move { told.meet(stream, tls).await });
                    }
                };
                // Nobody ever sends: it ends when the liar is dropped.
                tokio::select! {
                    () = accept => {}
                    _ = ended => {}
                }
            });
        });
        Self { issuer: told.issuer.clone(), gate: format!("http://{address}"), told, _end: end }
    }

    /// From now on this path answers so.
    pub(crate) fn always(&self, path: &str, reply: Reply) {
        self.told.always.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// The next request for this path is answered so, once.
    pub(crate) fn next(&self, path: &str, reply: Reply) {
        self.told.next.lock().unwrap().entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Changes the discovery document, the device answer or the like: the honest one with these members; null removes.
    pub(crate) fn amend(&self, path: &str, members: &Value) {
        self.told.always.lock().unwrap().remove(path);
        self.told.amended.lock().unwrap().insert(path.to_owned(), members.clone());
    }

    /// Tells the truth again at this path.
    pub(crate) fn repent(&self, path: &str) {
        self.amend(path, &json!({}));
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

    /// Publishes further keys.
    pub(crate) fn publish(&self, keys: impl IntoIterator<Item = Value>) {
        self.told.published.lock().unwrap().extend(keys);
    }

    /// Takes all keys away but its own small one.
    pub(crate) fn unpublish(&self) {
        self.told.published.lock().unwrap().clear();
    }

    /// From now on there are tokens only for codes that were answered.
    pub(crate) fn hold(&self) {
        *self.told.holds.lock().unwrap() = true;
    }

    /// The person answers the code, and the token tells this lie.
    pub(crate) fn lie(&self, code: &str, lie: &Lie) {
        self.answer_with(code, |draft| (lie.tell)(draft));
    }

    /// The person answers the code honestly.
    pub(crate) fn approve(&self, code: &str) {
        self.answer_with(code, |_| {});
    }

    /// The person answers the code, with something changed in her token.
    pub(crate) fn answer_with(&self, code: &str, change: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::new(self.told.claims_now());
        change(&mut draft);
        self.answer(code, Reply::Json(200, draft.into_answer()));
    }

    /// What the token endpoint says for this code from now on.
    pub(crate) fn answer(&self, code: &str, reply: Reply) {
        let number: usize = code.rsplit_once('-').unwrap().1.parse().unwrap();
        self.told.flows.lock().unwrap()[number].answer = Some(reply);
    }

    /// When this code was asked for.
    pub(crate) fn polls(&self, code: &str) -> Vec<Instant> {
        let number: usize = code.rsplit_once('-').unwrap().1.parse().unwrap();
        self.told.flows.lock().unwrap()[number].polls.clone()
    }

    /// How many codes were made.
    pub(crate) fn codes_made(&self) -> usize {
        self.told.flows.lock().unwrap().len()
    }

    /// How many times tokens were asked for, all codes together.
    pub(crate) fn polls_of_all(&self) -> usize {
        self.told.flows.lock().unwrap().iter().map(|flow| flow.polls.len()).sum()
    }

    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.told.requests.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Which hosts were asked of the company's proxy.
    pub(crate) fn wanted(&self) -> Vec<String> {
        self.told.wanted.lock().unwrap().clone()
    }

    /// Waits until a path was asked for so often.
    pub(crate) async fn wait_for(&self, path: &str, times: usize) {
        self.until(|| self.requests(path).len() >= times).await;
    }

    /// Waits until something is true after one of the requests.
    pub(crate) async fn until(&self, mut is_true: impl FnMut() -> bool) {
        let mut count = self.told.count.subscribe();
        count.wait_for(|_| is_true()).await.unwrap();
    }

    /// As [`Liar::until`], for tests that block.
    pub(crate) fn block_until(&self, is_true: impl FnMut() -> bool) {
        let patience = tokio::time::Duration::from_secs(60);
        let waited = async { tokio::time::timeout(patience, self.until(is_true)).await };
        runtime().block_on(waited).expect("it happens within a minute");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Told {
    fn new(issuer: String) -> Self {
        let now = safe_boundary::clock::now().as_second();
        Self {
            key: Box::leak(Box::new(keys::ed25519())),
            kid: Mutex::new("one".to_owned()),
            claims: Mutex::new(
                json!({ "iss": issuer, "aud": "safe-boundary", "sub": "00u1", "iat": now, "exp": now + 300,
                "email": "alice@example.com", "email_verified": true, "groups": ["engineering"] }),
            ),
            issuer,
            published: Mutex::default(),
            amended: Mutex::default(),
            always: Mutex::default(),
            next: Mutex::default(),
            holds: Mutex::default(),
            flows: Mutex::default(),
            requests: Mutex::default(),
            wanted: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// One connection, be it to us or through us.
    async fn meet(&self, mut stream: TcpStream, tls: Option<TlsAcceptor>) {
        let Some(tls) = tls else { return self.serve(stream).await };
        let mut first = [0; 1];
        if stream.peek(&mut first).await.is_ok_and(|read| read == 1) && first == *b"C" {
            let Some(request) = http::read(&mut stream).await else { return };
            self.wanted.lock().unwrap().push(request.path.clone());
            if request.path != format!("{PUBLIC_HOST}:443") {
                return http::answer(stream, Reply::html("403 Forbidden")).await;
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_err() {
                return;
            }
        }
        if let Ok(stream) = tls.accept(stream).await {
            self.serve(stream).await;
        }
    }

    async fn serve(&self, mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
        let Some(request) = http::read(&mut stream).await else { return };
        let reply = self.reply_to(&request);
        self.requests.lock().unwrap().push(request);
        self.count.send_modify(|count| *count += 1);
        http::answer(stream, reply).await;
    }

    fn reply_to(&self, request: &Request) -> Reply {
        let next = self.next.lock().unwrap().get_mut(&request.path).and_then(VecDeque::pop_front);
        if let Some(reply) = next.or_else(|| self.always.lock().unwrap().get(&request.path).cloned()) {
            return reply;
        }
        match (request.path.as_str(), *self.holds.lock().unwrap()) {
            ("/token", true) => self.poll(request),
            (path, _) => Reply::Json(200, self.amended(path)),
        }
    }

    /// What becomes of a code (RFC 8628 §3.5).
    fn poll(&self, request: &Request) -> Reply {
        let code = request.form.get("device_code").cloned().unwrap_or_default();
        let number = code.rsplit_once('-').and_then(|(_, number)| number.parse::<usize>().ok());
        let mut flows = self.flows.lock().unwrap();
        let Some(flow) = number.and_then(|number| flows.get_mut(number)) else { return Reply::error("invalid_grant") };
        flow.polls.push(request.at);
        flow.answer.clone().unwrap_or_else(|| Reply::error("authorization_pending"))
    }

    fn amended(&self, path: &str) -> Value {
        let mut honest = self.honest(path);
        if let Some(members) = self.amended.lock().unwrap().get(path) {
            let document = honest.as_object_mut().unwrap();
            document.extend(members.as_object().unwrap().clone());
            document.retain(|_, value| !value.is_null());
        }
        honest
    }

    fn honest(&self, path: &str) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        match path {
            DISCOVERY => json!({ "issuer": self.issuer, "jwks_uri": at("/jwks"),
                "token_endpoint": at("/token"), "device_authorization_endpoint": at("/device"),
                "userinfo_endpoint": at("/userinfo"),
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"] }),
            "/jwks" => {
                let own = keys::ed_jwk(&self.kid.lock().unwrap(), self.key);
                let all = [vec![own], self.published.lock().unwrap().clone()].concat();
                json!({ "keys": all })
            }
            "/device" => {
                let mut flows = self.flows.lock().unwrap();
                let number = flows.len();
                flows.push(Flow::default());
                json!({ "device_code": format!("{DEVICE_CODE}-{number}"), "user_code": format!("ABCD-{number}"),
                    "interval": 1, "expires_in": 60, "verification_uri": at("/activate"),
                    "verification_uri_complete": format!("{}?user_code=ABCD-{number}", at("/activate")) })
            }
            "/token" => {
                let kid = self.kid.lock().unwrap().clone();
                Draft::by_own(self.claims_now(), &kid, self.key).into_answer()
            }
            "/userinfo" => json!({ "sub": "00u1", "groups": ["from-userinfo"] }),
            _ => json!({ "error": "not_found" }),
        }
    }

    fn claims_now(&self) -> Value {
        self.claims.lock().unwrap().clone()
    }
}

pub(crate) fn base64_url(bytes: impl AsRef<[u8]>) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes)
}
