//! The checked configuration: `safe-boundary.toml` after parsing.
//!
//! Promises: a [`Config`] that exists is complete and consistent; nobody validates it again.
//! Deliberately not here: reading secrets (they are read where they are used, each time), and reloading.

mod check;
pub mod error;
mod later;
mod raw;
pub mod reference;
pub mod secret;
mod shape;
mod source;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::audit::record::Parameters;
use domain::policy::role_mapping::RoleMapping;
use ipnet::IpNet;

pub(crate) use check::host_name;
pub use error::Error;

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[idp]`
    pub idp: Idp,
    /// `[session]`
    pub session: Session,
    /// `[limits]`
    pub limits: Limits,
    /// `[groups]`: readable name to what the IdP calls it.
    pub groups: Vec<(String, String)>,
    /// `[audit]`
    pub audit: Audit,
    /// `[[database]]`
    pub databases: Vec<Database>,
}

impl Config {
    /// Reads and checks a configuration file; relative paths in it are relative to it.
    ///
    /// # Errors
    /// [`Error`]: the file cannot be read, or what is wrong in it, each with line and column.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::check(path, &text)
    }

    /// Checks a text as if it were read from `path`.
    ///
    /// # Errors
    /// [`Error`] says all that is wrong in it, each with line and column.
    pub fn check(path: &Path, text: &str) -> Result<Self, Error> {
        // Absolute, so that the paths hold wherever the process goes.
        let absolute =
            std::path::absolute(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        Self::parse(path, text, base).map_err(|problems| Error::Wrong { problems })
    }

    /// Where all its secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let roles = self.databases.iter().flat_map(|database| &database.roles);
        roles.filter_map(|role| role.password.as_ref()).chain(&self.idp.client_secret)
    }

    /// Who may be which role in a database, with the groups' readable names.
    #[must_use]
    pub fn mappings(&self, database: &Database) -> Vec<RoleMapping> {
        let readable = |group: &String| {
            let named = self.groups.iter().find(|(_, id)| id == group);
            named.map_or_else(|| group.clone(), |(name, _)| name.clone())
        };
        let mapping = |role: &Role| RoleMapping {
            role: role.role.clone(),
            groups: role.groups.clone(),
            group_names: role.groups.iter().map(readable).collect(),
        };
        database.roles.iter().map(mapping).collect()
    }

    /// Three sieves, each finer: the shape first, so that meaning is only sought in what has one.
    fn parse(path: &Path, text: &str, base: &Path) -> Result<Self, Vec<error::Problem>> {
        let mut source = source::Source::parse(path.to_owned(), text).map_err(|problem| vec![problem])?;
        shape::check(&mut source);
        if !source.is_sound() {
            return Err(source.into_problems());
        }
        let raw = source.read()?;
        let config = check::config(raw, base, &mut source);
        if source.is_sound() { Ok(config) } else { Err(source.into_problems()) }
    }
}

/// `[server]`: the side that clients see.
#[derive(Clone, Debug)]
pub struct Server {
    /// Certificate chain, PEM.
    pub tls_cert: PathBuf,
    /// Its private key, PEM.
    pub tls_key: PathBuf,
    /// Networks that may connect without TLS.
    pub allow_plaintext: Vec<IpNet>,
    /// Networks whose PROXY protocol header is required, and believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The address people reach the console under; named in messages.
    pub public_url: String,
    /// Completes a login without a domain.
    pub default_domain: Option<String>,
    /// How long running sessions may go on after SIGTERM.
    pub drain: Duration,
    /// Where metrics are served; nowhere, unless it says so.
    pub metrics: Option<SocketAddr>,
    /// The name of this node in records.
    pub node: String,
}

/// Which identity provider's habits are the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Okta
    Okta,
    /// Microsoft Entra ID
    Entra,
    /// Google Workspace
    Google,
    /// Auth0
    Auth0,
    /// Keycloak
    Keycloak,
    /// Any OIDC provider
    Generic,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Okta, Self::Entra, Self::Google, Self::Auth0, Self::Keycloak, Self::Generic];

    /// The name it has in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Okta => "okta",
            Self::Entra => "entra",
            Self::Google => "google",
            Self::Auth0 => "auth0",
            Self::Keycloak => "keycloak",
            Self::Generic => "generic",
        }
    }
}

/// `[idp]`: the identity provider.
#[derive(Clone, Debug)]
pub struct Idp {
    /// Sets the defaults of the keys below.
    pub preset: Preset,
    /// Issuer identifier; https, or http on loopback.
    pub issuer: String,
    /// Our client there.
    pub client_id: String,
    /// Its secret, for IdPs that give one.
    pub client_secret: Option<SecretSource>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Path of the claim that holds the login.
    pub login_claim: String,
    /// Paths of the claims that make the subject; `["sub"]`, for Entra `["tid", "oid"]`.
    pub subject_claim: Vec<String>,
    /// Path of the claim that holds the groups.
    pub groups_claim: String,
    /// How long a person may take to sign in.
    pub login_timeout: Duration,
    /// Further roots for the IdP's certificate, PEM.
    pub ca: Option<PathBuf>,
    /// Refuse a login from `email` when `email_verified` is absent.
    pub require_verified_email: bool,
    /// Google: what the claim `hd` must equal.
    pub hosted_domain: Option<String>,
}

/// `[session]`
#[derive(Clone, Debug)]
pub struct Session {
    /// The longest a session lives.
    pub max_age: Duration,
    /// Programs, by `application_name`, that show notices while connecting.
    pub prompting_programs: Vec<String>,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions of one person.
    pub per_person: usize,
    /// Connections from one address; of IPv6 a /64 counts as one.
    pub per_address: usize,
    /// All connections.
    pub total: usize,
    /// People that are signing in at the same time, and how many sign-ins may come to nothing within a minute.
    pub pending_logins: usize,
}

/// `[audit]`
#[derive(Clone, Debug)]
pub struct Audit {
    /// Where the journal and the blobs are.
    pub dir: PathBuf,
    /// How much of bind parameters is recorded.
    pub parameters: Parameters,
    /// The size of a journal segment in bytes.
    pub segment_bytes: u64,
}

/// `[[database]]`: an upstream server that is served.
#[derive(Clone, Debug)]
pub struct Database {
    /// The name people connect to, and its name in records.
    pub name: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// TLS server name that tells databases on one port apart.
    pub hostname: Option<String>,
    /// Database names let through; `None` for all (`"*"`).
    pub databases: Option<Vec<String>>,
    /// Where the server is.
    pub upstream: crate::proxy::upstream::conninfo::Conninfo,
    /// Whether replication connections are let through.
    pub replication: bool,
    /// For policy and people.
    pub tags: Vec<(String, String)>,
    /// `[[database.role]]`, in order: the first match wins.
    pub roles: Vec<Role>,
}

/// `[[database.role]]`: groups that map to a role.
#[derive(Clone, Debug)]
pub struct Role {
    /// The PostgreSQL role.
    pub role: String,
    /// Any of these groups gives it; as the IdP calls them.
    pub groups: Vec<String>,
    /// Its password upstream.
    pub password: Option<SecretSource>,
}

/// Where a secret is read from, at each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; a final line break is not part of the secret.
    File(PathBuf),
    /// A command and its arguments; the secret is its standard output without the final line break.
    Command(Vec<String>),
}

#[cfg(test)]
mod tests;
