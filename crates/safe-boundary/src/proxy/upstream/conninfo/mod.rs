//! Where an upstream is and how it is to be reached: libpq's connection string, checked.
//!
//! Promises: keywords mean what they mean to libpq, except that `sslmode` is `verify-full` unless said otherwise; what is
//! not understood is an error that names it; no value of the text is shown in an error unless it is a word of a fixed set
//! or a number.
//! Deliberately not here: connecting, reading certificate files (each connect reads them), and who logs in
//! (`[[database.role]]` says).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod keywords;
mod text;

/// A checked connection string.
#[derive(Clone, Debug)]
pub struct Conninfo {
    pub(super) hosts: Vec<Host>,
    pub(super) tls: Arc<Tls>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) target: Target,
    pub(super) connect_timeout: Duration,
    pub(super) keepalive: Option<Keepalive>,
    dbname: Option<String>,
}

/// One of the hosts to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// What its certificate must name: `host` as given. None for a socket, or where only `hostaddr` is given.
    pub(super) name: Option<String>,
    pub(super) place: Place,
    pub(super) port: u16,
}

/// How a host is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its name is looked up at each connect.
    Name,
    /// `hostaddr`, or a host that is an address.
    Address(IpAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

/// How the connection is encrypted, and what the server has to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    /// Our certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
    /// Whether the host is named in the handshake.
    pub(super) sni: bool,
}

/// `sslmode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `sslrootcert`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    /// Not given, in a mode that does not verify.
    None,
    /// The system's.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}

/// `channel_binding`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// `target_session_attrs`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// When a silent connection is probed, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
}

/// Why a connection string was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConninfoError {
    /// A keyword without a value.
    #[error("expected `keyword=value`, found no `=` in part {at} of the connection string")]
    NoEquals {
        /// Which part, from 1.
        at: usize,
    },
    /// A quote without its end.
    #[error("the quoted value of `{keyword}` has no end")]
    OpenQuote {
        /// Whose value.
        keyword: String,
    },
    /// An IPv6 address without its end.
    #[error("expected `[address]` or `[address]:port` in the host list")]
    OpenBracket,
    /// A bad percent escape.
    #[error("expected `%` and two hexadecimal digits that make UTF-8 text without NUL")]
    Percent,
    /// libpq does not know it either.
    #[error("unknown keyword `{keyword}`")]
    Unknown {
        /// The keyword.
        keyword: String,
    },
    /// libpq knows it, this program does not do it.
    #[error("`{keyword}` is a keyword of libpq that is not supported here")]
    Unsupported {
        /// The keyword.
        keyword: String,
    },
    /// Decided elsewhere.
    #[error("`{keyword}` does not belong here: {reason}")]
    Refused {
        /// The keyword.
        keyword: String,
        /// Where it is decided.
        reason: &'static str,
    },
    /// A word of a fixed set, or a number, that is none.
    #[error("`{keyword}` is `{found}`, expected {expected}")]
    Value {
        /// The keyword.
        keyword: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Lists that belong together have different lengths.
    #[error("`{keyword}` lists {found} values for {hosts} hosts")]
    Count {
        /// The keyword.
        keyword: &'static str,
        /// Its length.
        found: usize,
        /// The number of hosts.
        hosts: usize,
    },
    /// No host at all, or an empty one.
    #[error("expected `host` or `hostaddr`, with no empty entry")]
    NoHost,
    /// A name is needed to verify a certificate.
    #[error("`sslmode=verify-full` needs `host` beside `hostaddr`: the certificate is checked against it")]
    NoName,
    /// Any certificate of a public authority would pass.
    #[error(
        "`sslmode={mode}` with the system's roots proves nothing: use `verify-full`, or name your authority by `sslrootcert`"
    )]
    WeakRoots {
        /// The mode.
        mode: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("expected `sslcert` and `sslkey` together")]
    HalfPair,
    /// It cannot be had.
    #[error("`channel_binding=require` needs TLS, which neither `sslmode=disable` nor a Unix socket has")]
    BindingWithoutTls,
}

impl Conninfo {
    /// Reads a connection string; relative paths are relative to `base`.
    ///
    /// # Errors
    /// When anything in it is not understood, or contradicts itself.
    pub fn parse(text: &str, base: &Path) -> Result<Self, ConninfoError> {
        let mut keywords = keywords::Keywords::default();
        for (keyword, value) in text::read(text)? {
            keywords.take(keyword, value)?;
        }
        keywords.check(base)
    }

    /// The files of `sslrootcert` and `sslcert`, where they are files.
    #[must_use]
    pub fn certificate_files(&self) -> (Option<&Path>, Option<&Path>) {
        let roots = match &self.tls.roots {
            Roots::File(path) => Some(path.as_path()),
            Roots::System | Roots::None => None,
        };
        (roots, self.tls.client.as_ref().map(|(certificate, _)| certificate.as_path()))
    }

    /// The database that the string names.
    #[must_use]
    pub fn dbname(&self) -> Option<&str> {
        self.dbname.as_deref()
    }

    /// Whether the server must prove that it is the host it is named as.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.tls.mode == SslMode::VerifyFull
    }

    /// The certificate and key files that each connect reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (roots, certificate) = self.certificate_files();
        let key = self.tls.client.as_ref().map(|(_, key)| key.as_path());
        [roots, certificate, key].into_iter().flatten()
    }

    /// The hosts for people: `db1:5432, db2:5432`.
    #[must_use]
    pub fn hosts(&self) -> String {
        self.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.place) {
            (_, Place::Socket(path)) => write!(out, "{}", path.display()),
            (Some(name), Place::Name) => write!(out, "{name}:{}", self.port),
            (Some(name), Place::Address(address)) if address.to_string() != *name => {
                write!(out, "{name} ({})", SocketAddr::new(*address, self.port))
            }
            (_, Place::Address(address)) => SocketAddr::new(*address, self.port).fmt(out),
            (None, Place::Name) => write!(out, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests;
