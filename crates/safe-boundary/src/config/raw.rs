//! The shape of `safe-boundary.toml`, as it is written. Its comments are the reference: `config schema` and
//! `docs/configuration.md` are made from them.
//!
//! Promises: a key that is here is obeyed; a key that this version cannot obey is in [`super::later`].
//! Deliberately not here: meaning. Durations, addresses, files and whatever spans several keys: [`super::check`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The configuration of Safe Boundary: one TOML file.
///
/// Unknown keys are errors. A relative path is relative to the configuration file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// The side that clients see.
    pub(super) server: Server,
    /// The identity provider (IdP): who signs people in.
    pub(super) idp: Idp,
    /// How long sessions live, and who is shown the sign-in prompt.
    #[serde(default)]
    pub(super) session: Session,
    /// How many of what. Beyond a limit, a client is told with SQLSTATE 53300.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Readable names for what the IdP calls otherwise: `on-call = "8f3c0d6e-…"`. They may stand in `groups` of a role.
    #[serde(default)]
    pub(super) groups: BTreeMap<String, String>,
    /// The record of everything that is done.
    pub(super) audit: Audit,
    /// An upstream server (cluster), and how it is reached.
    #[schemars(length(min = 1))]
    pub(super) database: Vec<Database>,
}

/// `[server]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// The certificate chain shown to clients, PEM.
    #[schemars(title = "path", example = &"server.crt")]
    pub(super) tls_cert: PathBuf,
    /// Its private key, PEM.
    #[schemars(title = "path", example = &"server.key")]
    pub(super) tls_key: PathBuf,
    /// Networks that may connect without TLS, such as `["127.0.0.0/8"]`. Everybody else is refused without it.
    #[serde(default)]
    pub(super) allow_plaintext: Vec<Network>,
    /// Networks of load balancers. They must begin each connection with a header of the PROXY protocol (version 1 or 2),
    /// and the client's address is what it says. From everybody else such a header is a violation of the protocol.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Network>,
    /// The address of the web page that later versions have. This one only names it, in what a program that cannot show a
    /// prompt is told. Default: `https://NODE:8443`.
    #[schemars(title = "URL")]
    pub(super) public_url: Option<String>,
    /// Completes a login without a domain: with `example.com`, `alice` means `alice@example.com`.
    pub(super) default_domain: Option<String>,
    /// How long running sessions may go on after SIGTERM. `"0"` ends them at once.
    #[serde(default = "default_drain")]
    pub(super) drain: Span,
    /// Where metrics (`/metrics`), `/healthz` and `/readyz` are served over plain HTTP, without asking who wants to know;
    /// keep it on loopback or on a network for machines. Default: nowhere.
    #[schemars(title = "address", example = &"127.0.0.1:9090")]
    pub(super) metrics: Option<String>,
    /// The name of this node in records. Default: the host name.
    pub(super) node: Option<String>,
}

/// `[idp]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Idp {
    /// The product; sets the defaults of the keys below.
    #[serde(default)]
    pub(super) preset: Preset,
    /// The issuer identifier, exactly as the IdP writes it in its tokens. It must be `https`, except on loopback.
    #[schemars(title = "URL", example = &"https://example.okta.com")]
    pub(super) issuer: String,
    /// The client that the IdP knows this proxy as. ID tokens must be made for it.
    #[schemars(example = &"0oa1b2c3d4")]
    pub(super) client_id: String,
    /// Its secret, for IdPs that give one to device clients. Of a `command` one runs at a time, however many people sign in,
    /// and what it has printed serves for 10 s. A sign-in waits 3 s for it; who tries again has what it printed meanwhile.
    pub(super) client_secret: Option<Secret>,
    /// The scopes to ask for. Default: by preset.
    #[schemars(length(min = 1))]
    pub(super) scopes: Option<Vec<String>>,
    /// The claim that holds the login: a path such as `email`, `realm_access.login` or `https://acme/login`.
    /// Default: by preset.
    pub(super) login_claim: Option<String>,
    /// The claim, or claims, that name a person for good: not her login, nor another name, which may become somebody else's.
    /// Default: by preset.
    pub(super) subject_claim: Option<OneOrMany>,
    /// The claim that holds the groups: a path. Absent in a token, it means no groups. Default: by preset.
    pub(super) groups_claim: Option<String>,
    /// How a person signs in. This version knows `device` (RFC 8628).
    #[serde(default)]
    pub(super) flow: Flow,
    /// How long a person may take to sign in, or the life of the IdP's code, if that is shorter.
    #[serde(default = "default_login_timeout")]
    pub(super) login_timeout: Span,
    /// Further root certificates for connections to the IdP, PEM; added to the system's.
    #[schemars(title = "path")]
    pub(super) ca: Option<PathBuf>,
    /// With `login_claim = "email"`: whether an absent `email_verified` is refused. `false` in the token is refused
    /// always. Default: by preset.
    pub(super) require_verified_email: Option<bool>,
    /// Google: the organization that the claim `hd` must name.
    pub(super) hosted_domain: Option<String>,
}

/// The products with known habits.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    Okta,
    Entra,
    Google,
    Auth0,
    Keycloak,
    #[default]
    Generic,
}

/// The ways to sign in.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Flow {
    #[default]
    Device,
}

/// `[session]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Session {
    /// The longest that a session lives.
    pub(super) max_age: Span,
    /// The programs, by `application_name`, that show notices while connecting and so can show the sign-in prompt.
    /// Others are told what to do instead.
    #[schemars(length(min = 1))]
    pub(super) prompting_programs: Vec<String>,
}

impl Default for Session {
    fn default() -> Self {
        let programs = ["psql", "pg_dump", "pg_restore", "pgcli"];
        Self { max_age: Span("12h".to_owned()), prompting_programs: programs.map(str::to_owned).into() }
    }
}

/// `[limits]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Sessions of one person.
    #[schemars(range(min = 1))]
    pub(super) per_person: u32,
    /// Connections from one address. Of IPv6 a whole /64, which is what one host gets, counts as one.
    #[schemars(range(min = 1))]
    pub(super) per_address: u32,
    /// All connections.
    #[schemars(range(min = 1))]
    pub(super) total: u32,
    /// People who are signing in at the same time. Within a minute as many sign-ins may come to nothing: the client went
    /// away, or the provider failed.
    #[schemars(range(min = 1))]
    pub(super) pending_logins: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_person: 50, per_address: 200, total: 10_000, pending_logins: 1000 }
    }
}

/// `[audit]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    /// The folder of the journal and the large texts. It must be on a local disk, and nobody else's business (0700).
    #[schemars(title = "path", example = &"/var/lib/safe-boundary/audit")]
    pub(super) dir: PathBuf,
    /// What is recorded of bind parameters: their values, or nothing.
    #[serde(default)]
    pub(super) parameters: Parameters,
    /// How large a segment of the journal is, from `64KiB` to `1GiB`. Segments are preallocated.
    #[serde(default = "default_segment")]
    pub(super) segment: Size,
}

/// How much of bind parameters is recorded.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Parameters {
    #[default]
    Full,
    Omit,
}

/// `[[database]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    /// Its name in records and messages.
    #[schemars(example = &"payments")]
    pub(super) name: String,
    /// The address and port where clients connect. Several databases may share one, if each has a `hostname` of its own
    /// or no database name is let through by two of them.
    #[schemars(title = "address", example = &"0.0.0.0:6432")]
    pub(super) listen: String,
    /// The host name that clients connect to, sent as the TLS server name (SNI); it tells databases on one port apart. Who
    /// connects by it reaches only databases with this `hostname`. Who does not (by an address, without TLS, `sslsni=0`)
    /// reaches a database whose name no other on the port lets through, and is told to use the host name otherwise.
    pub(super) hostname: Option<String>,
    /// The database names let through; `"*"` for all. Default: `name` and the upstream's `dbname`.
    pub(super) databases: Option<OneOrMany>,
    /// Where the server is: a connection string of libpq, without a user and without a password.
    #[schemars(title = "connection string", example = &"host=db.internal dbname=payments sslmode=verify-full")]
    pub(super) upstream: String,
    /// Whether replication connections are let through.
    #[serde(default)]
    pub(super) replication: bool,
    /// Words for the policy of later versions, such as `{ environment = "production" }`. This one does nothing with them.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// Who gets in, and as whom: the first of these that matches one of the person's groups wins.
    #[schemars(length(min = 1))]
    pub(super) role: Vec<Role>,
}

/// `[[database.role]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    /// The PostgreSQL role. The proxy logs in upstream as this role itself.
    #[schemars(example = &"payments_ro")]
    pub(super) role: String,
    /// Any of these groups gives it: names from `[groups]`, or as the IdP calls them.
    #[schemars(length(min = 1), example = ["engineering"])]
    pub(super) groups: Vec<String>,
    /// Its password upstream, read again at each connect. Without one, the upstream must take the role by certificate.
    pub(super) password: Option<Secret>,
}

/// Where a secret is read from, at each use: `{ env = "NAME" }`, `{ file = "PATH" }` or `{ command = ["PROGRAM", …] }`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(title = "secret")]
pub(super) enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; one final line break is not part of the secret.
    File(PathBuf),
    /// A program and its arguments, run without a shell; the secret is what it prints, within 10 s.
    Command(#[schemars(length(min = 1))] Vec<String>),
}

/// One string, or a list of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "string or list of strings")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A number and a unit: `500ms`, `30s`, `5m`, `12h`, `90d`; or `0`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "duration")]
pub(super) struct Span(#[schemars(regex(pattern = r"^(0|[0-9]+(ms|s|m|h|d))$"))] pub(super) String);

/// A number and a unit: `64KiB`, `16MiB`, `1GiB`.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "size")]
pub(super) struct Size(#[schemars(regex(pattern = r"^[0-9]+(B|KiB|MiB|GiB)$"))] pub(super) String);

/// An address with a prefix length: `10.0.0.0/8`, `::1/128`. IPv4 as such, also where clients come in by IPv6.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "network")]
pub(super) struct Network(pub(super) String);

fn default_drain() -> Span {
    Span("30s".to_owned())
}

fn default_login_timeout() -> Span {
    Span("5m".to_owned())
}

fn default_segment() -> Size {
    Size("16MiB".to_owned())
}
