//! Why there is no connection to an upstream, for three readers: the operator's log, the record, and the person.
//!
//! Promises: each host that was tried is named with its own reason; text of a server is cleaned and cut before it is
//! kept; [`Error::client_reason`] shows neither hosts, nor text of a server, nor secrets.
//! Deliberately not here: the SQLSTATE that a client is told; it is the same for all of these.

use std::fmt;
use std::io;
use std::time::Duration;

use domain::text::is_hidden;
use pgproto::backend::{BackendError, BackendTag};
use pgproto::encode::EncodeError;
use pgproto::frame::FrameError;
use pgproto::notice::{Fields, NoticeError};
use pgproto::sqlstate::SqlState;

use super::tls;

/// The most characters of a server's message that are kept.
const MESSAGE_CHARS_MAX: usize = 500;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What happened at one host.
    #[error("{host}: {cause}")]
    At {
        /// The host, with its port and the address that was tried.
        host: String,
        /// What happened there.
        #[source]
        cause: Box<Self>,
    },
    /// What happened at each host, in the order they were tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    All(Vec<Self>),
    /// The role's password cannot be read.
    #[error("the password of role `{role}` cannot be read: {cause}")]
    Secret {
        /// The role.
        role: String,
        /// Why not.
        #[source]
        cause: crate::config::secret::Error,
    },
    /// A start-up parameter that would change who logs in, and where.
    #[error("start-up parameter `{name}` is not the client's to say")]
    Parameter {
        /// Its name.
        name: String,
    },
    /// A message of ours that cannot be written.
    #[error("the message to the server cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The name has no address.
    #[error("the host name cannot be resolved: {0}")]
    Resolve(#[source] io::Error),
    /// The connection failed.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// It took longer than `connect_timeout`.
    #[error("no session within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The connection broke off.
    #[error("the connection was lost before the session began: {0}")]
    Lost(#[source] io::Error),
    /// The server does not keep to the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(#[from] Violation),
    /// The server wants a password in a form that gives it away.
    #[error(
        "the server asks for {method} authentication, which is refused: set `password_encryption = 'scram-sha-256'`, give the role its password again, and write `scram-sha-256` in pg_hba.conf"
    )]
    WeakAuthentication {
        /// Which form.
        method: &'static str,
    },
    /// The server wants something we cannot give.
    #[error("the server asks for {method} authentication: write `scram-sha-256` or `cert` in pg_hba.conf")]
    UnknownAuthentication {
        /// What it wants.
        method: String,
    },
    /// SCRAM without a password.
    #[error("the server asks for a password, and the role has none: set `password` in `[[database.role]]`")]
    NoPassword,
    /// Channel binding is required and cannot be had, or is offered where it cannot be.
    #[error("channel binding fails: {why}")]
    ChannelBinding {
        /// Why not.
        why: &'static str,
    },
    /// The server could not prove that it knows the password: it may be somebody else.
    #[error("the server did not prove that it knows the password: {0}")]
    ServerUnproven(#[source] io::Error),
    /// Wrong password, no such role, not permitted by pg_hba.conf.
    #[error("the server refused the role: {0}")]
    LoginRefused(Refusal),
    /// No such database.
    #[error("the server does not have the database: {0}")]
    NoDatabase(Refusal),
    /// The server is full.
    #[error("the server has too many connections: {0}")]
    TooManyConnections(Refusal),
    /// The server starts, recovers or stops.
    #[error("the server is not ready: {0}")]
    NotReady(Refusal),
    /// A pooler that refuses start-up parameters.
    #[error(
        "the pooler refused a start-up parameter: {0}; connect to PostgreSQL itself, or to a pooler in session mode with `ignore_startup_parameters` naming what it does not know"
    )]
    StartupParameter(Refusal),
    /// Any other refusal.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// The server is not of the kind that `target_session_attrs` wants.
    #[error("the server is not {wanted}, which `target_session_attrs` wants")]
    NotWanted {
        /// What is wanted.
        wanted: &'static str,
    },
    /// A pooler that changes servers between transactions: one person would inherit the settings of another.
    #[error(
        "this is a pooler in transaction or statement mode, where one person inherits the settings of another: connect to PostgreSQL itself, or set `pool_mode = session`"
    )]
    TransactionPooler,
    /// A pooler whose mode could not be told.
    #[error("this is a pooler, and a second connection to tell its mode failed: {0}")]
    PoolerUnknown(#[source] Box<Self>),
}

/// How a server broke the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// The frame is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body is malformed.
    #[error(transparent)]
    Body(#[from] BackendError),
    /// The fields of an error or notice are malformed.
    #[error(transparent)]
    Notice(#[from] NoticeError),
    /// More bytes than any session's beginning needs.
    #[error("expected at most {max} bytes {of}, came more")]
    TooLarge {
        /// What has the limit.
        of: &'static str,
        /// The limit.
        max: usize,
    },
    /// A message that has no place here.
    #[error("{tag:?} came {at}")]
    Unexpected {
        /// The message.
        tag: BackendTag,
        /// Where it came.
        at: &'static str,
    },
    /// Our simplest question got no answer.
    #[error("expected one row with {expected}")]
    Answer {
        /// What it should hold.
        expected: &'static str,
    },
    /// A version that was not asked for.
    #[error("the server wants another protocol version than 3.0")]
    Version,
    /// No cancel key.
    #[error("no BackendKeyData came")]
    NoKey,
    /// More settings than any server reports.
    #[error("expected at most {max} settings of the server, came more")]
    TooManySettings {
        /// The limit.
        max: usize,
    },
}

/// What a server said when it refused; for the operator, not for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its SQLSTATE.
    pub sqlstate: Option<SqlState>,
    /// Its message, without control characters, cut.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.sqlstate.as_ref().map_or("no SQLSTATE", SqlState::as_str);
        write!(out, "{} (SQLSTATE {code})", self.message)
    }
}

impl Error {
    /// Reads the body of an ErrorResponse that ends the attempt.
    pub(super) fn refused(body: &[u8]) -> Self {
        let fields = match Fields::parse(body) {
            Ok(fields) => fields,
            Err(error) => return Violation::from(error).into(),
        };
        let message = clean(&String::from_utf8_lossy(fields.message()));
        let sqlstate = fields.sqlstate();
        // PgBouncer has one SQLSTATE for most of what it refuses: its words must do.
        let says = |words: &str| message.contains(words);
        let kind = match sqlstate {
            Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION) => Self::LoginRefused,
            Some(SqlState::INVALID_CATALOG_NAME) => Self::NoDatabase,
            Some(SqlState::TOO_MANY_CONNECTIONS) => Self::TooManyConnections,
            Some(SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN) => Self::NotReady,
            _ if says("unsupported startup parameter") => Self::StartupParameter,
            _ if says("no such user") || says("authentication failed") => Self::LoginRefused,
            _ if says("no such database") => Self::NoDatabase,
            _ if says("no more connections allowed") => Self::TooManyConnections,
            _ => Self::Refused,
        };
        kind(Refusal { sqlstate, message })
    }

    /// The same with the place where it happened.
    pub(super) fn at(self, host: impl fmt::Display) -> Self {
        Self::At { host: host.to_string(), cause: Box::new(self) }
    }

    /// What decided: of several hosts the last one, without its place.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::At { cause, .. } => cause.cause(),
            Self::All(all) => all.last().map_or(self, Self::cause),
            other => other,
        }
    }

    /// What the server said, where it was the server that refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self.cause() {
            Self::LoginRefused(refusal)
            | Self::NoDatabase(refusal)
            | Self::TooManyConnections(refusal)
            | Self::NotReady(refusal)
            | Self::StartupParameter(refusal)
            | Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether another host could do better. A server that refused the login speaks for all of them: libpq's rule.
    pub(super) fn tries_next(&self) -> bool {
        matches!(
            self.cause(),
            Self::Resolve(_)
                | Self::Connect(_)
                | Self::Timeout(_)
                | Self::Tls(_)
                | Self::Lost(_)
                | Self::Protocol(_)
                | Self::NotReady(_)
                | Self::NotWanted { .. }
        )
    }

    /// Whether the server may decide otherwise with, or without, TLS: pg_hba.conf has lines for each.
    pub(super) fn tries_other_security(&self) -> bool {
        matches!(self, Self::LoginRefused(refusal) if refusal.sqlstate == Some(SqlState::INVALID_AUTHORIZATION))
    }

    /// The code that goes with [`Error::client_reason`]: what tools act upon is told as the server told it, a database
    /// that is to be made, a connection that is to be tried again.
    #[must_use]
    pub fn client_code(&self) -> SqlState {
        match self.cause() {
            Self::NoDatabase(_) => SqlState::INVALID_CATALOG_NAME,
            Self::TooManyConnections(_) => SqlState::TOO_MANY_CONNECTIONS,
            _ => SqlState::CONNECTION_UNESTABLISHED,
        }
    }

    /// The reason in words that a client may see.
    #[must_use]
    pub fn client_reason(&self) -> &'static str {
        match self.cause() {
            Self::At { .. } | Self::All(_) => "no server is configured",
            Self::Secret { .. } | Self::NoPassword => "the proxy has no password for the role",
            Self::Parameter { .. } | Self::Encode(_) => "the start-up parameters cannot be passed on",
            Self::Resolve(_) | Self::Connect(_) | Self::Lost(_) => "the server cannot be connected to",
            Self::Timeout(_) => "the server does not answer in time",
            Self::Tls(error) if error.is_about_certificate() => "the server's certificate is not accepted",
            Self::Tls(_) => "no TLS connection to the server",
            Self::Protocol(_) => "the server does not speak as PostgreSQL does",
            Self::WeakAuthentication { .. } | Self::UnknownAuthentication { .. } | Self::ChannelBinding { .. } => {
                "the server asks for a kind of authentication that is not accepted"
            }
            Self::ServerUnproven(_) => "the server did not prove who it is",
            Self::LoginRefused(_) => "the server refused the role",
            Self::NoDatabase(_) => "the server does not have this database",
            Self::TooManyConnections(_) => "the server has too many connections",
            Self::NotReady(_) => "the server is starting or stopping",
            Self::StartupParameter(_) => "a pooler before the server refused a start-up parameter",
            Self::Refused(_) => "the server refused the connection",
            Self::NotWanted { .. } => "no server of the wanted kind is up",
            Self::TransactionPooler | Self::PoolerUnknown(_) => "a pooler before the server mixes sessions",
        }
    }
}

/// A server's text as one line without control characters: it may hold terminal escapes.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}
