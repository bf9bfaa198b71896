//! From the shape of the file to what it means: the checked [`Config`].
//!
//! Promises: whatever is wrong is noted at its place, all of it; nothing is repaired or guessed.
//! Deliberately not here: what needs the network or a secret; the verb `check` looks at that.

mod database;
mod idp;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::audit::record;
use ipnet::IpNet;

use super::raw::{self, Raw};
use super::source::{At, Source};
use super::{Audit, Config, Limits, SecretSource, Server, Session, secret, units};

const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// Checks all of it. What is wrong is in `source`; then the result is not to be used.
pub(super) fn config(raw: Raw, base: &Path, source: &mut Source<'_>) -> Config {
    let mut check = Check { source, base };
    let top = At::default();
    let config = Config {
        server: check.server(raw.server, &top.key("server")),
        idp: check.idp(raw.idp, &top.key("idp")),
        session: check.session(raw.session, &top.key("session")),
        limits: limits(&raw.limits),
        databases: check.databases(raw.database, &raw.groups, &top.key("database")),
        groups: raw.groups.into_iter().collect(),
        audit: check.audit(&raw.audit, &top.key("audit")),
    };
    check.ports(&config, &top.key("server").key("metrics"));
    config
}

/// Takes values apart; notes what is wrong and goes on with a placeholder, so that all mistakes are found.
struct Check<'s, 'i> {
    source: &'s mut Source<'i>,
    base: &'s Path,
}

impl Check<'_, '_> {
    fn server(&mut self, raw: raw::Server, at: &At) -> Server {
        let node = match raw.node {
            Some(node) => node,
            None => host_name().unwrap_or_default(),
        };
        if node.is_empty() || node.chars().any(char::is_control) {
            self.source.wrong(
                &at.key("node"),
                "expected a name for `server.node`, found none: add `node = \"proxy-1\"`".to_owned(),
            );
        }
        let public_url = raw.public_url.unwrap_or_else(|| format!("https://{node}:8443"));
        self.url(&public_url, &at.key("public_url"));
        if let Some(domain) = &raw.default_domain {
            self.host(domain, &at.key("default_domain"));
        }
        Server {
            tls_cert: self.file(&raw.tls_cert, &at.key("tls_cert")),
            tls_key: self.file(&raw.tls_key, &at.key("tls_key")),
            allow_plaintext: self.networks(&raw.allow_plaintext, &at.key("allow_plaintext")),
            trusted_proxies: self.networks(&raw.trusted_proxies, &at.key("trusted_proxies")),
            public_url: public_url.trim_end_matches('/').to_owned(),
            default_domain: raw.default_domain,
            drain: self.duration(&raw.drain, &at.key("drain")),
            metrics: raw.metrics.map(|text| self.address(&text, "127.0.0.1:9090", &at.key("metrics"))),
            node,
        }
    }

    /// Clients and machines that watch cannot share a port.
    fn ports(&mut self, config: &Config, at: &At) {
        let Some(metrics) = config.server.metrics else { return };
        if let Some(database) = config.databases.iter().find(|database| collide(database.listen, metrics)) {
            let message = format!(
                "expected an address of its own for `server.metrics`, found `{metrics}`, where `{}` listens",
                database.name
            );
            self.source.wrong(at, message);
        }
    }

    fn session(&mut self, raw: raw::Session, at: &At) -> Session {
        let max_age = self.positive(&raw.max_age, &at.key("max_age"));
        self.words(&raw.prompting_programs, &at.key("prompting_programs"));
        Session { max_age, prompting_programs: raw.prompting_programs }
    }

    fn audit(&mut self, raw: &raw::Audit, at: &At) -> Audit {
        let dir = self.base.join(&raw.dir);
        if dir.exists() && !dir.is_dir() {
            let message = format!("expected a folder for `audit.dir`, found a file: `{}`", dir.display());
            self.source.wrong(&at.key("dir"), message);
        }
        let segment = &raw.segment.0;
        let segment_bytes = units::size(segment).filter(|bytes| SEGMENT_BYTES.contains(bytes));
        if segment_bytes.is_none() {
            let message = format!("expected a size from `64KiB` to `1GiB` for `audit.segment`, found `{segment}`");
            self.source.wrong(&at.key("segment"), message);
        }
        let parameters = match raw.parameters {
            raw::Parameters::Full => record::Parameters::Full,
            raw::Parameters::Omit => record::Parameters::Omit,
        };
        Audit { dir, parameters, segment_bytes: segment_bytes.unwrap_or_default() }
    }

    /// A URL that can be trusted to lead where it says: https, or http to this machine.
    fn url(&mut self, text: &str, at: &At) -> Option<reqwest::Url> {
        let name = at.name();
        let Ok(url) = reqwest::Url::parse(text) else {
            self.source.wrong(at, format!("expected a URL such as `https://example.com` for `{name}`, found `{text}`"));
            return None;
        };
        if !(url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))) {
            let message =
                format!("expected an `https` URL for `{name}`, found `{text}`: `http` is for loopback addresses only");
            self.source.wrong(at, message);
        } else if !url.username().is_empty() || url.password().is_some() {
            // What is before the @ may be a secret: not shown.
            self.source
                .wrong(at, format!("expected a URL without user and password for `{name}`, found one with them"));
        } else if url.query().is_some() || url.fragment().is_some() {
            self.source.wrong(at, format!("expected a URL without `?` and `#` for `{name}`, found `{text}`"));
        } else {
            return Some(url);
        }
        None
    }

    fn host(&mut self, text: &str, at: &At) {
        let label = |label: &str| {
            (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            let name = at.name();
            self.source.wrong(at, format!("expected a host or domain name for `{name}`, found `{text}`"));
        }
    }

    fn networks(&mut self, raw: &[raw::Network], at: &At) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (index, raw::Network(text)) in raw.iter().enumerate() {
            match text.parse::<IpNet>() {
                Ok(network) if network != network.trunc() => {
                    let (name, trunc) = (at.name(), network.trunc());
                    let message = format!(
                        "expected a network for `{name}`, found an address in one, `{text}`: did you mean `{trunc}`?"
                    );
                    self.source.wrong(&at.index(index), message);
                }
                Ok(network) => match as_ipv4(network) {
                    None => networks.push(network),
                    Some(plain) => {
                        let name = at.name();
                        let message = format!(
                            "expected a network of IPv4 as such for `{name}`, found `{text}`: did you mean `{plain}`?"
                        );
                        self.source.wrong(&at.index(index), message);
                    }
                },
                Err(_) => {
                    let name = at.name();
                    let message = format!("expected a network such as `10.0.0.0/8` for `{name}`, found `{text}`");
                    self.source.wrong(&at.index(index), message);
                }
            }
        }
        networks
    }

    fn duration(&mut self, raw: &raw::Span, at: &At) -> Duration {
        units::duration(&raw.0).unwrap_or_else(|| {
            let (name, found) = (at.name(), &raw.0);
            let message =
                format!("expected a duration such as `30s`, `5m`, `12h` or `90d` for `{name}`, found `{found}`");
            self.source.wrong(at, message);
            Duration::ZERO
        })
    }

    fn positive(&mut self, raw: &raw::Span, at: &At) -> Duration {
        let duration = self.duration(raw, at);
        if duration.is_zero() && units::duration(&raw.0).is_some() {
            let (name, found) = (at.name(), &raw.0);
            self.source.wrong(at, format!("expected a duration above zero for `{name}`, found `{found}`"));
        }
        duration
    }

    /// A file that must be there and be readable by this process.
    fn file(&mut self, raw: &Path, at: &At) -> PathBuf {
        let path = self.base.join(raw);
        let name = at.name();
        if path.is_dir() {
            self.source.wrong(at, format!("expected a file for `{name}`, found a folder: `{}`", path.display()));
        } else if let Err(error) = File::open(&path) {
            let message =
                format!("expected a readable file for `{name}`, and `{}` cannot be opened: {error}", path.display());
            self.source.wrong(at, message);
        }
        path
    }

    fn secret(&mut self, raw: raw::Secret, at: &At) -> SecretSource {
        match raw {
            raw::Secret::Env(name) => {
                self.word(&name, &at.key("env"));
                SecretSource::Env(name)
            }
            raw::Secret::File(path) => {
                let path = self.file(&path, &at.key("file"));
                if secret::is_world_readable(&path) {
                    tracing::warn!(path = %path.display(), "everyone on this machine can read this secret: chmod 0600");
                }
                SecretSource::File(path)
            }
            raw::Secret::Command(mut argv) => {
                if let Some(program) = argv.first_mut() {
                    self.word(program, &at.key("command"));
                    // As in a shell: with a slash it is a path, without one it is looked for in PATH.
                    if program.contains('/') {
                        *program = self.base.join(&*program).to_string_lossy().into_owned();
                    }
                }
                SecretSource::Command(argv)
            }
        }
    }

    fn words(&mut self, values: &[String], at: &At) {
        for (index, value) in values.iter().enumerate() {
            self.word(value, &at.index(index));
        }
    }

    /// A text that is there, and has nothing invisible in it.
    fn word(&mut self, text: &str, at: &At) {
        let name = at.name();
        if text.trim().is_empty() {
            self.source.wrong(at, format!("expected a text for `{name}`, found an empty one"));
        } else if text.chars().any(char::is_control) {
            self.source.wrong(
                at,
                format!("expected a text without control characters for `{name}`, found `{}`", text.escape_debug()),
            );
        }
    }
}

/// Whether the system gives only one of two listeners its address. Port 0 means any free port: never the same one.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    // `0.0.0.0` stands for all addresses of IPv4, and `[::]` for them too, as Linux has it unless it is told otherwise.
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = ip == other_ip || covers(ip, other_ip) || covers(other_ip, ip);
    overlap && one.port() == other.port() && one.port() != 0
}

fn limits(raw: &raw::Limits) -> Limits {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        per_person: count(raw.per_person),
        per_address: count(raw.per_address),
        total: count(raw.total),
        pending_logins: count(raw.pending_logins),
    }
}

fn many(raw: raw::OneOrMany) -> Vec<String> {
    match raw {
        raw::OneOrMany::One(one) => vec![one],
        raw::OneOrMany::Many(many) => many,
    }
}

/// The network that is meant by one of IPv6 with addresses of IPv4 in it. Addresses are compared as IPv4: nothing matches it.
fn as_ipv4(network: IpNet) -> Option<IpNet> {
    const PREFIX_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return None };
    let address = v6.addr().to_ipv4_mapped()?;
    let length = v6.prefix_len().checked_sub(PREFIX_BITS)?;
    IpNet::new(address.into(), length).ok()
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The name that the kernel has for this machine.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
