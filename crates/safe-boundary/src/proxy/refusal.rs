//! What a client is told when it goes no further: the table of messages, in one place.
//!
//! Promises: each says what is wrong and what to do now; none carries a secret, or a server's host name or text.
//! Deliberately not here: deciding to refuse.

use domain::identity::login::LoginError;
use domain::policy::decide::Denial;
use domain::session::ToClient;
use pgproto::notice::{Notice, Severity};
use pgproto::sqlstate::SqlState;
use pgproto::startup::StartupError;

use super::announced;
use super::request::RequestError;
use super::route::NoRoute;

/// Why a client goes no further.
#[derive(Debug)]
pub enum Refusal {
    /// Plaintext where TLS is required.
    TlsRequired,
    /// A trusted proxy that announces no client.
    Unannounced(announced::Error),
    /// A start-up packet that is none.
    Malformed(StartupError),
    /// A start-up packet that asks for what cannot be.
    Request(RequestError),
    /// A name that cannot be a login.
    Login(LoginError, Option<String>),
    /// A session key; nobody has one with that name.
    Key(String),
    /// A program that shows no prompt.
    CannotPrompt {
        /// The login it asked for.
        login: String,
        /// Where keys are made.
        public_url: String,
    },
    /// More than `[limits]` has room for.
    TooMany(&'static str),
    /// More sessions than one person may have.
    TooManySessions {
        /// Who has them.
        login: String,
        /// How many she has.
        count: usize,
        /// How many she may have.
        limit: usize,
    },
    /// The code was not answered in time.
    SignInExpired,
    /// The person or the IdP said no.
    SignInRefused,
    /// Someone else signed in.
    AnotherPerson {
        /// Who.
        signed_in_as: String,
        /// Who was asked for.
        asked_for: String,
    },
    /// The IdP cannot be reached.
    IdpUnreachable,
    /// The IdP's answer cannot be believed, or it refuses our client: the operator's log says which.
    IdpUnfit(String),
    /// No such database here, or no single one; what she may reach, with the host names that people connect to.
    UnknownDatabase(String, NoRoute, Vec<String>),
    /// Policy says no.
    Denied {
        /// The database.
        database: String,
        /// Who.
        login: String,
        /// Why.
        denial: Denial,
        /// Under which id the record is found.
        request: String,
    },
    /// Replication where it is not offered.
    Replication(String),
    /// The database cannot be reached; why, in safe words and as a code.
    Upstream(String, &'static str, SqlState),
    /// The record cannot be written.
    Journal,
    /// The client spoke while a person was asked.
    Spoke,
    /// The client broke the protocol in a session.
    Violation(String),
    /// The connection to the database broke in a session.
    UpstreamLost(String),
    /// The session's time is over.
    Ended(&'static str),
}

impl ToClient for Refusal {
    fn to_client(&self) -> Notice {
        let fatal = |sqlstate: SqlState, message: String| Notice::new(Severity::Fatal, sqlstate, message);
        let identity = |message: String| fatal(SqlState::INVALID_AUTHORIZATION, message);
        let violation = |message: String| fatal(SqlState::PROTOCOL_VIOLATION, format!("protocol violation: {message}"));
        match self {
            Self::TlsRequired => identity("TLS is required: add sslmode=require".to_owned()),
            Self::Unannounced(error) => violation(error.to_string()),
            Self::Malformed(error) => violation(error.to_string()),
            Self::Request(error) => self.request(error),
            Self::Login(error, domain) => {
                let domain = domain.as_deref().unwrap_or("example.com");
                identity(format!("connect as you@{domain}")).detail(error.to_string()).hint(
                    "The user name is the name you sign in with at your company, for example psql -U you@example.com.",
                )
            }
            Self::Key(name) => fatal(SqlState::INVALID_PASSWORD, format!("session key \"{name}\" is not valid")),
            Self::CannotPrompt { login, public_url } => identity(format!(
                "this program cannot show a sign-in prompt: make a key for it at {public_url}/me and connect as \"{login}/NAME\""
            )),
            Self::TooMany(what) => fatal(SqlState::TOO_MANY_CONNECTIONS, format!("too many {what}"))
                .hint("Close what you no longer need, or try again in a moment."),
            Self::TooManySessions { login, count, limit } => too_many_sessions(login, *count, *limit),
            Self::SignInExpired => identity("sign-in expired".to_owned()).hint("Connect again to get a new code."),
            Self::SignInRefused => identity("sign-in was refused".to_owned())
                .hint("It was declined at the identity provider. Connect again to get a new code."),
            Self::AnotherPerson { signed_in_as, asked_for } => {
                identity(format!("signed in as \"{signed_in_as}\", not \"{asked_for}\""))
                    .hint("Connect as the person who signs in, or sign out at the identity provider first.")
            }
            Self::IdpUnreachable => {
                fatal(SqlState::CONNECTION_FAILURE, "the identity provider cannot be reached".to_owned())
                    .hint("Nobody can sign in until it can. Try again in a moment.")
            }
            Self::IdpUnfit(reason) => {
                identity("the sign-in could not be verified".to_owned()).detail(reason.clone()).hint(
                    "The operator of this proxy finds the cause in its log; \"safe-boundary check\" names the remedy.",
                )
            }
            Self::UnknownDatabase(name, why, reachable) => unknown_database(name, *why, reachable),
            Self::Denied { database, login, denial, request } => fatal(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("access to database \"{database}\" is denied for \"{login}\""),
            )
            .detail(format!("{} (request {request})", denial.reason))
            .hint(denial.remedy.clone()),
            Self::Replication(name) => fatal(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("replication connections to database \"{name}\" are not allowed"),
            ),
            Self::Upstream(name, reason, sqlstate) => {
                fatal(*sqlstate, format!("database \"{name}\" cannot be reached")).detail(*reason)
            }
            Self::Journal => {
                fatal(SqlState::IO_ERROR, "the audit log cannot be written; the statement was not run".to_owned())
            }
            Self::Spoke => violation("unexpected message before the session".to_owned()),
            Self::Violation(what) => violation(what.clone()),
            Self::UpstreamLost(name) => {
                fatal(SqlState::CONNECTION_FAILURE, format!("the connection to database \"{name}\" was lost"))
            }
            Self::Ended(why) => fatal(SqlState::ADMIN_SHUTDOWN, format!("your access ended: {why}")),
        }
    }
}

impl Refusal {
    /// The reason, for the record of a client that was nobody yet.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TlsRequired => "plaintext, and TLS is required",
            Self::Request(RequestError::Forbidden(_) | RequestError::Option(_)) => {
                "a start-up parameter is not allowed"
            }
            Self::Request(_) => "the start-up packet cannot be served",
            Self::Key(_) => "the session key is not valid",
            Self::Login(..) => "the user name cannot be a login",
            Self::CannotPrompt { .. } => "the program cannot show a sign-in prompt",
            Self::TooMany(what) => what,
            _ => "refused at start-up",
        }
    }

    fn request(&self, error: &RequestError) -> Notice {
        let sqlstate = match error {
            RequestError::Version(..) => SqlState::FEATURE_NOT_SUPPORTED,
            RequestError::NoUser => SqlState::INVALID_AUTHORIZATION,
            RequestError::Encoding(_) | RequestError::TooLong { .. } => SqlState::PROTOCOL_VIOLATION,
            RequestError::Forbidden(_) | RequestError::Option(_) => SqlState::INSUFFICIENT_PRIVILEGE,
        };
        Notice::new(Severity::Fatal, sqlstate, error.to_string())
    }
}

fn unknown_database(name: &str, why: NoRoute, reachable: &[String]) -> Notice {
    let message = format!("database \"{name}\" is not served here");
    let notice = Notice::new(Severity::Fatal, SqlState::INVALID_CATALOG_NAME, message);
    let (notice, how) = match why {
        NoRoute::Unknown => (notice, ""),
        NoRoute::Ambiguous => (
            notice.detail(
                "Several databases have this name, each under a host name of its own, and this connection does not say one.",
            ),
            "Connect with TLS, by the host name. ",
        ),
    };
    match reachable {
        [] => notice,
        names => notice.hint(format!("{how}You may reach: {}.", names.join(", "))),
    }
}

fn too_many_sessions(login: &str, count: usize, limit: usize) -> Notice {
    let message = format!("too many sessions: \"{login}\" has {count} of the {limit} that one person may have");
    Notice::new(Severity::Fatal, SqlState::TOO_MANY_CONNECTIONS, message).hint(
        "Close one. In a session that you have, pg_stat_activity shows those in the same server by application_name, and \
         pg_terminate_backend(pid) ends one of the same role.",
    )
}
