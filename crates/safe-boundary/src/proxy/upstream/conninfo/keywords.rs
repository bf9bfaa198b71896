//! What the keywords of a connection string mean, each alone and together.
//!
//! Promises: a string that contradicts itself, or asks for less safety than it seems to, is refused.
//! Deliberately not here: how the text is split into keywords.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ChannelBinding, Conninfo, ConninfoError, Host, Keepalive, Place, Roots, SslMode, Target, Tls};

/// The time a host gets, unless `connect_timeout` says otherwise.
const CONNECT_TIMEOUT_S: u32 = 10;
/// The port where none is given.
const PORT: u16 = 5432;
/// Where a folder holds the server's Unix socket.
const SOCKET: &str = ".s.PGSQL.";
/// What libpq knows and this program does not do: told apart from a typing error.
const UNSUPPORTED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "tcp_user_timeout",
];

/// The words that a value can be, with what they mean, behind how a message lists them.
type Words<T> = (&'static str, &'static [(&'static str, T)]);

const SSL_MODES: Words<SslMode> = (
    "disable, allow, prefer, require, verify-ca or verify-full",
    &[
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ],
);
const BINDINGS: Words<ChannelBinding> = (
    "disable, prefer or require",
    &[("disable", ChannelBinding::Disable), ("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require)],
);
const TARGETS: Words<Target> = (
    "any, read-write, read-only, primary, standby or prefer-standby",
    &[
        ("any", Target::Any),
        ("read-write", Target::ReadWrite),
        ("read-only", Target::ReadOnly),
        ("primary", Target::Primary),
        ("standby", Target::Standby),
        ("prefer-standby", Target::PreferStandby),
    ],
);
const SWITCH: Words<bool> = ("0 or 1", &[("0", false), ("1", true)]);
/// GSS encryption is never asked for, which is what both words come to without a Kerberos ticket.
const GSS_MODES: Words<()> = ("disable or prefer", &[("disable", ()), ("prefer", ())]);

/// The values as they stand in the text; of a repeated keyword the last counts, as in libpq.
#[derive(Default)]
pub(super) struct Keywords {
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
    dbname: Option<String>,
    sslmode: Option<SslMode>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    sslsni: Option<bool>,
    channel_binding: Option<ChannelBinding>,
    target: Option<Target>,
    connect_timeout: Option<u32>,
    keepalives: Option<bool>,
    idle: Option<u32>,
    interval: Option<u32>,
    count: Option<u32>,
}

impl Keywords {
    /// Takes one keyword of the text.
    pub(super) fn take(&mut self, keyword: String, value: String) -> Result<(), ConninfoError> {
        let refused = |keyword, reason| Err(ConninfoError::Refused { keyword, reason });
        match keyword.as_str() {
            "host" => self.host = text(value),
            "hostaddr" => self.hostaddr = text(value),
            "port" => self.port = text(value),
            "dbname" => self.dbname = text(value),
            "sslmode" => self.sslmode = Some(one_of("sslmode", SSL_MODES, value)?),
            "sslrootcert" => self.sslrootcert = text(value),
            "sslcert" => self.sslcert = text(value),
            "sslkey" => self.sslkey = text(value),
            "sslsni" => self.sslsni = Some(one_of("sslsni", SWITCH, value)?),
            "channel_binding" => self.channel_binding = Some(one_of("channel_binding", BINDINGS, value)?),
            "target_session_attrs" => self.target = Some(one_of("target_session_attrs", TARGETS, value)?),
            "connect_timeout" => self.connect_timeout = Some(number("connect_timeout", value)?),
            "keepalives" => self.keepalives = Some(one_of("keepalives", SWITCH, value)?),
            "keepalives_idle" => self.idle = Some(number("keepalives_idle", value)?),
            "keepalives_interval" => self.interval = Some(number("keepalives_interval", value)?),
            "keepalives_count" => self.count = Some(number("keepalives_count", value)?),
            "gssencmode" => one_of("gssencmode", GSS_MODES, value)?,
            "user" | "password" => return refused(keyword, "role and password come from `[[database.role]]`"),
            "application_name" => return refused(keyword, "it carries the login of the person"),
            known if UNSUPPORTED.contains(&known) => return Err(ConninfoError::Unsupported { keyword }),
            _ => return Err(ConninfoError::Unknown { keyword }),
        }
        Ok(())
    }

    /// Puts them together.
    pub(super) fn check(self, base: &Path) -> Result<Conninfo, ConninfoError> {
        let hosts = hosts(self.host.as_deref(), self.hostaddr.as_deref(), self.port.as_deref())?;
        let mode = self.sslmode.unwrap_or(SslMode::VerifyFull);
        let roots = roots(mode, self.sslrootcert.as_deref(), base)?;
        let client = match (self.sslcert, self.sslkey) {
            (Some(cert), Some(key)) => Some((base.join(cert), base.join(key))),
            (None, None) => None,
            _ => return Err(ConninfoError::HalfPair),
        };
        // A Unix socket has no TLS, whatever `sslmode` says; libpq's rule.
        let over_tcp = |host: &Host| !matches!(host.place, Place::Socket(_));
        if mode == SslMode::VerifyFull && hosts.iter().any(|host| over_tcp(host) && host.name.is_none()) {
            return Err(ConninfoError::NoName);
        }
        let channel_binding = self.channel_binding.unwrap_or(ChannelBinding::Prefer);
        if channel_binding == ChannelBinding::Require && (mode == SslMode::Disable || !hosts.iter().all(over_tcp)) {
            return Err(ConninfoError::BindingWithoutTls);
        }
        let seconds = |value: Option<u32>, default: u32| Duration::from_secs(value.unwrap_or(default).into());
        Ok(Conninfo {
            hosts,
            tls: Arc::new(Tls { mode, roots, client, sni: self.sslsni.unwrap_or(true) }),
            channel_binding,
            target: self.target.unwrap_or(Target::Any),
            connect_timeout: seconds(self.connect_timeout, CONNECT_TIMEOUT_S),
            keepalive: self.keepalives.unwrap_or(true).then(|| Keepalive {
                idle: seconds(self.idle, 60),
                interval: seconds(self.interval, 10),
                count: self.count.unwrap_or(6),
            }),
            dbname: self.dbname,
        })
    }
}

/// An empty value is as good as none.
fn text(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

fn one_of<T: Copy>(keyword: &'static str, words: Words<T>, found: String) -> Result<T, ConninfoError> {
    let (expected, words) = words;
    let known = words.iter().find(|(word, _)| *word == found);
    known.map(|(_, meaning)| *meaning).ok_or(ConninfoError::Value { keyword, expected, found })
}

/// A count or a number of seconds. Zero means "for ever" or "the system's" to libpq; here everything has an end.
fn number(keyword: &'static str, found: String) -> Result<u32, ConninfoError> {
    let number = found.trim().parse().ok().filter(|number| (1..=86_400).contains(number));
    number.ok_or(ConninfoError::Value { keyword, expected: "a whole number from 1 to 86400", found })
}

fn roots(mode: SslMode, sslrootcert: Option<&str>, base: &Path) -> Result<Roots, ConninfoError> {
    let weak = |mode| Err(ConninfoError::WeakRoots { mode });
    match (sslrootcert, mode) {
        (None | Some("system"), SslMode::VerifyFull) => Ok(Roots::System),
        (None | Some("system"), SslMode::VerifyCa) => weak("verify-ca"),
        (Some("system"), SslMode::Require) => weak("require"),
        (Some("system"), SslMode::Disable | SslMode::Allow | SslMode::Prefer) => weak("disable, allow or prefer"),
        (None, SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require) => Ok(Roots::None),
        (Some(path), _) => Ok(Roots::File(base.join(path))),
    }
}

fn hosts(names: Option<&str>, addresses: Option<&str>, ports: Option<&str>) -> Result<Vec<Host>, ConninfoError> {
    let list = |text: Option<&str>| -> Vec<String> {
        text.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
    };
    let (names, addresses, ports) = (list(names), list(addresses), list(ports));
    let count = names.len().max(addresses.len());
    for (keyword, found) in [("host", names.len()), ("hostaddr", addresses.len())] {
        if found != 0 && found != count {
            return Err(ConninfoError::Count { keyword, found, hosts: count });
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConninfoError::Count { keyword: "port", found: ports.len(), hosts: count });
    }
    let one = |at: usize| -> Result<Host, ConninfoError> {
        // One port stands for all hosts.
        let port = ports.get(at).or(ports.first()).map_or("", String::as_str);
        host(names.get(at).map_or("", String::as_str), addresses.get(at).map_or("", String::as_str), port)
    };
    if count == 0 { Err(ConninfoError::NoHost) } else { (0..count).map(one).collect() }
}

fn host(name: &str, address: &str, port: &str) -> Result<Host, ConninfoError> {
    let bad_port = || ConninfoError::Value { keyword: "port", expected: "1 to 65535", found: port.to_owned() };
    let port = match port {
        "" => PORT,
        text => text.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?,
    };
    let named = || Some(name.to_owned()).filter(|name| !name.is_empty());
    let place = match (name, address) {
        ("", "") => return Err(ConninfoError::NoHost),
        (folder, "") if folder.starts_with('/') => {
            let path = PathBuf::from(folder).join(format!("{SOCKET}{port}"));
            return Ok(Host { name: None, place: Place::Socket(path), port });
        }
        (name, "") => name.parse::<IpAddr>().map_or(Place::Name, Place::Address),
        (_, address) => Place::Address(address.parse().map_err(|_| ConninfoError::Value {
            keyword: "hostaddr",
            expected: "an IPv4 or IPv6 address",
            found: address.to_owned(),
        })?),
    };
    Ok(Host { name: named(), place, port })
}
