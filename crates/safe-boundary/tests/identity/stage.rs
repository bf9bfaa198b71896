//! The stage of a test: the built program between a client that speaks by hand, an identity provider that lies on
//! demand, and a database that notes who connects.
//!
//! Promises: everything is started for one test and ended with it.
//! Deliberately not here: what the tests compare.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use super::client::{Client, Refusal};
use super::process::{Lines, PATIENCE, Process, mortal};
use super::support::liar::{Liar, Lie, PUBLIC_HOST, keys};
use super::upstream::Upstream;

const BINARY: &str = env!("CARGO_BIN_EXE_safe-boundary");

pub(crate) const ALICE: &str = "alice@example.com";
pub(crate) const BOB: &str = "bob@example.com";

/// How many sign-ins one address may have under way: lies beyond that are told from another address.
const SIGN_INS_EACH: usize = 10;

/// How the provider is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Plain http on loopback.
    Plain,
    /// https on loopback, under a private authority.
    Tls,
    /// https under a public name, through a company's proxy that notes whom else one wants.
    Public,
}

/// Everything a test needs; fields are ended in the order they stand in.
pub(crate) struct Stage {
    process: Process,
    log: Lines,
    pub(crate) address: SocketAddr,
    pub(crate) liar: Liar,
    pub(crate) upstream: Upstream,
    folder: tempfile::TempDir,
}

/// What differs between the stages of tests.
pub(crate) struct Setting<'a> {
    pub(crate) kind: Kind,
    /// Further lines of `[idp]`.
    pub(crate) idp: &'a str,
    /// Further tables.
    pub(crate) tables: &'a str,
    pub(crate) log_level: &'a str,
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self { kind: Kind::Plain, idp: "", tables: "", log_level: "info", environment: &[] }
    }
}

impl Stage {
    pub(crate) fn start() -> Self {
        Self::with(&Setting::default())
    }

    pub(crate) fn with(setting: &Setting<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("safe-boundary-").tempdir().unwrap();
        let tls = authority(folder.path());
        let liar = match setting.kind {
            Kind::Plain => Liar::start(),
            Kind::Tls => Liar::start_tls(tls),
            Kind::Public => Liar::start_public(tls),
        };
        liar.hold();
        liar.publish([keys::rsa_jwk("rsa", &keys::RSA)]);
        let upstream = Upstream::start();
        fs::write(folder.path().join("safe-boundary.toml"), config(&liar, &upstream, setting)).unwrap();
        let mut command = mortal(BINARY);
        command.args(["serve", "--log-level", setting.log_level, "--config"]);
        command.arg(folder.path().join("safe-boundary.toml")).stderr(Stdio::piped());
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(name);
        }
        if setting.kind == Kind::Public {
            command.env("HTTPS_PROXY", &liar.gate);
        }
        command.envs(setting.environment.iter().copied());
        let mut process = Process::start(&mut command);
        let log = Lines::of(process.child().stderr.take().unwrap());
        let address = log.wait_for(|line| said(line, "listening")?["address"].as_str()?.parse().ok());
        log.wait_for(|line| said(line, "ready"));
        Self { process, log, address, liar, upstream, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of the proxy's process: `setpriv` becomes what it starts.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How many descriptors the proxy has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// How much memory the proxy has, in KiB.
    pub(crate) fn memory_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// A hundred people from one address, who have said who they are: ten names, ten times each.
    pub(crate) fn hundred(&self, from: u8) -> Vec<Client> {
        // This end has descriptors too.
        let own = std::process::id().to_string();
        assert!(Command::new("prlimit").args(["--pid", &own, "--nofile=4096:"]).status().unwrap().success());
        let one = |number: usize| {
            let mut client = Client::plain(self.address, from);
            client.ask(&format!("person{from}{}@example.com", number / SIGN_INS_EACH));
            client
        };
        (0..100).map(one).collect()
    }

    /// Everything that was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.all().join("\n")
    }

    /// The records so far.
    pub(crate) fn trail(&self) -> Vec<Value> {
        let mut command = Command::new(BINARY);
        command.arg("audit").arg("--dir").arg(self.audit_dir()).args(["export", "--format", "json"]);
        let export = command.output().unwrap();
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let text = String::from_utf8(export.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn audit_dir(&self) -> PathBuf {
        self.folder().join("audit")
    }

    /// The last decision on record about this client.
    fn last_of(trail: &[Value], client: SocketAddr) -> &Value {
        let is_of = |record: &&Value| {
            let of = &record["client"];
            of["port"] == client.port() && of["address"] == client.ip().to_string() && record["decision"].is_object()
        };
        trail.iter().rfind(is_of).expect("a record of this client")
    }

    /// How a sign-in ended: effect and reason of the last decision about this client.
    pub(crate) fn ended(trail: &[Value], client: SocketAddr) -> (String, String) {
        let decision = &Self::last_of(trail, client)["decision"];
        let text = |name: &str| decision[name].as_str().unwrap_or_default().to_owned();
        (text("effect"), text("reason"))
    }

    /// Someone signs in honestly, and is let in.
    pub(crate) fn honest(&self, login: &str) -> Client {
        let mut client = Client::start(self, 1, login);
        let code = client.code();
        self.liar.answer_with(&code, |draft| draft.claims["email"] = login.into());
        client.ready();
        client
    }

    /// Tells each lie to a connection of its own, all at once. Each is refused as it should be, with its reason on
    /// record and nothing said to the database; the honest one of the same set-up gets in after them.
    pub(crate) fn refuses(&self, lies: &[Lie]) {
        let refusals = self.told(lies);
        let trail = self.trail();
        for (lie, (refusal, client)) in lies.iter().zip(refusals) {
            let Refusal { code, message, detail, tags } = &refusal;
            assert_eq!((code.as_str(), tags.as_str()), ("28000", "NE"), "{}: {refusal:?}", lie.what);
            assert_eq!(message, "the sign-in could not be verified", "{}", lie.what);
            // What the token says may be quoted, and must not do anything to a terminal.
            let is_plain = detail.len() < 1000 && !detail.chars().any(domain::text::is_hidden);
            assert!(is_plain && !detail.is_empty(), "{}: {detail:?}", lie.what);
            let (effect, reason) = Self::ended(&trail, client);
            assert_eq!(effect, "failed", "{}: {reason}", lie.what);
            let asked = Self::last_of(&trail, client);
            assert_eq!((&asked["client"]["login"], &asked["subject"]), (&ALICE.into(), &Value::Null), "{}", lie.what);
            assert!(reason.contains(lie.why), "{}: expected {:?} in {reason:?}", lie.what, lie.why);
        }
        drop(self.honest(ALICE));
        assert_eq!(self.upstream.connects(), 1, "nobody but the honest one came through to the database");
    }

    /// Tells each of these, which are true after all, to a connection of its own: each gets in.
    pub(crate) fn believes(&self, truths: &[Lie]) {
        for (mut client, truth) in self.waiting(truths).into_iter().zip(truths) {
            if let Err(refusal) = client.outcome() {
                panic!("{}: {refusal:?}\n{}", truth.what, self.log());
            }
        }
    }

    /// Tells each lie to a connection of its own, all at once; whether each was refused for its reason.
    pub(crate) fn refused_for(&self, lies: &[Lie]) -> bool {
        let refusals = self.told(lies);
        let trail = self.trail();
        lies.iter().zip(refusals).all(|(lie, (_, client))| Self::ended(&trail, client).1.contains(lie.why))
    }

    /// How each lie was refused, and at which end it was told.
    fn told(&self, lies: &[Lie]) -> Vec<(Refusal, SocketAddr)> {
        let refused = |(mut client, lie): (Client, &Lie)| match client.outcome() {
            Err(refusal) => (refusal, client.address),
            Ok(()) => panic!("{}: it was believed", lie.what),
        };
        self.waiting(lies).into_iter().zip(lies).map(refused).collect()
    }

    fn waiting(&self, lies: &[Lie]) -> Vec<Client> {
        let wait = |(number, lie): (usize, &Lie)| {
            let address = u8::try_from(2 + number / SIGN_INS_EACH).unwrap();
            let mut client = Client::start(self, address, ALICE);
            let code = client.code();
            self.liar.lie(&code, lie);
            client
        };
        lies.iter().enumerate().map(wait).collect()
    }
}

/// Waits until something is true that no event tells of.
pub(crate) fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// The fields of a log line that says `message`.
fn said(line: &str, message: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == message).then_some(line)
}

/// Makes the proxy's certificate and a private authority in `folder`; gives the provider's side of TLS.
fn authority(folder: &Path) -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("server.crt"), own.cert.pem()).unwrap();
    fs::write(folder.join("server.key"), own.signing_key.serialize_pem()).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("idp-ca.pem"), ca.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), PUBLIC_HOST.to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private).unwrap();
    TlsAcceptor::from(Arc::new(tls))
}

fn config(liar: &Liar, upstream: &Upstream, setting: &Setting<'_>) -> String {
    let ca = if setting.kind == Kind::Plain { "" } else { r#"ca = "idp-ca.pem""# };
    format!(
        r#"
[server]
tls_cert = "server.crt"
tls_key = "server.key"
public_url = "https://boundary.example.com"
node = "test"
drain = "1s"
allow_plaintext = ["127.0.0.0/8"]

[idp]
preset = "generic"
issuer = "{issuer}"
client_id = "safe-boundary"
scopes = ["openid", "email", "groups", "offline_access"]
{ca}
{idp}

[audit]
dir = "audit"

{tables}

[[database]]
name = "payments"
listen = "127.0.0.1:0"
upstream = "host=127.0.0.1 port={port} dbname=payments sslmode=disable"

[[database.role]]
role = "payments_rw"
groups = ["on-call"]

[[database.role]]
role = "payments_ro"
groups = ["engineering"]
"#,
        issuer = liar.issuer,
        idp = setting.idp,
        tables = setting.tables,
        port = upstream.port,
    )
}
