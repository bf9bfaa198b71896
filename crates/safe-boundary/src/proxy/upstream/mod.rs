//! The connection to the real database server, opened as the mapped role itself.
//!
//! Promises: a session is handed out only when the server was verified as `sslmode` says, the login was proved without
//! giving the password away, the server is of the wanted kind, and no pooler mixes its sessions with others; each host
//! has its time, and nothing waits longer.
//! Deliberately not here: who may connect as which role, and the relay.

use std::sync::Arc;
use std::time::Duration;

use domain::secret::Secret;
use domain::session::UpstreamReady;
use pgproto::backend::TransactionStatus;
use tokio::time::{Instant, timeout_at};

use crate::config::SecretSource;
use crate::proxy::stream::Stream;

mod attempt;
pub(crate) mod auth;
mod binding;
mod cancel;
pub mod conninfo;
mod dial;
mod error;
mod pooler;
mod session;

mod target;
pub mod tls;
mod verify;
mod wire;

pub use cancel::CancelTarget;
pub use error::{Error, Refusal, Violation};

use attempt::Attempt;
use conninfo::{Conninfo, Host};
use dial::Security;
use session::Login;
use target::Fit;

/// What session is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The role to log in as.
    pub role: &'a str,
    /// Where its password is; none for client certificates and `trust`.
    pub password: Option<&'a SecretSource>,
    /// The database on the server.
    pub database: &'a str,
    /// Further start-up parameters, in order: `application_name`, `safe_boundary.login`, `options`, `replication`, …
    pub parameters: &'a [(String, String)],
    /// Whether this is a replication connection. Then it is asked no questions, which it may not understand: a pooler is
    /// not looked for, and `target_session_attrs` rests on what the server reports.
    pub replication: bool,
}

/// The key of a server's session.
#[derive(Clone, Debug)]
pub struct BackendKey {
    /// Process id as BackendKeyData had it; a pooler's invention, where there is one.
    pub pid: i32,
    /// What a cancel request must know.
    pub secret: Secret<Vec<u8>>,
}

/// A session that waits for its first command.
#[derive(Debug)]
pub struct Upstream {
    /// The connection.
    pub stream: Stream,
    /// The settings that the server reported, in the order they first came, with their last value.
    pub parameters: Vec<(String, String)>,
    /// The server's key.
    pub key: BackendKey,
    /// The process id to tell the client: the server's own, also behind a pooler.
    pub pid_shown: i32,
    /// Cancels what runs here.
    pub cancel: CancelTarget,
    /// Whole NoticeResponse frames that came meanwhile.
    pub notices: Vec<Vec<u8>>,
    /// Bytes that came after the last message read: they belong to the relay.
    pub leftover: Vec<u8>,
    /// Where the transaction stands; idle, unless the server is odd.
    pub status: TransactionStatus,
}

impl UpstreamReady for Upstream {}

impl Upstream {
    /// Asks one question whose answer is one text, and ends the session.
    ///
    /// # Errors
    /// [`Error`] when the server refuses, or answers with something else than one value; `expected` says what that was.
    pub async fn ask(self, question: &'static str, expected: &'static str) -> Result<String, Error> {
        let Self { stream, parameters, key, notices, leftover, status, .. } = self;
        let mut session =
            session::Session { wire: wire::Wire::resume(stream, leftover), parameters, notices, key, status };
        let answer = session.ask(question, expected).await?;
        session.leave().await;
        Ok(answer)
    }
}

/// Opens a session: the hosts in their order, each address of each.
///
/// # Errors
/// [`Error`] says what happened at every host that was tried.
pub async fn connect(conninfo: &Conninfo, request: &Request<'_>) -> Result<Upstream, Error> {
    let login = Login::prepare(request).await?;
    let mut failures = Vec::new();
    let mut spare = None;
    for host in &conninfo.hosts {
        match Box::pin(try_host(conninfo, host, &login, request)).await {
            Ok((upstream, Fit::Wanted)) => return Ok(upstream),
            Ok((upstream, Fit::Spare)) => spare = spare.or(Some(upstream)),
            Err(error) => {
                let tries_next = error.tries_next();
                failures.push(error);
                if !tries_next {
                    break;
                }
            }
        }
    }
    spare.ok_or(Error::All(failures))
}

/// All addresses of a host within `connect_timeout`. Each gets an equal share of what is left, so that one that is
/// silent leaves time for the others.
async fn try_host(
    conninfo: &Conninfo,
    host: &Host,
    login: &Login,
    request: &Request<'_>,
) -> Result<(Upstream, Fit), Error> {
    let limit = conninfo.connect_timeout;
    let end = Instant::now() + limit;
    let resolved = timeout_at(end, dial::resolve(host)).await.unwrap_or(Err(Error::Timeout(limit)));
    let addresses = resolved.map_err(|error| error.at(host))?;
    let mut failures = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len().saturating_sub(at)).unwrap_or(u32::MAX).max(1);
        let share = end.saturating_duration_since(Instant::now()) / left;
        let attempt = Attempt { conninfo, host, address, login };
        match try_address(&attempt, request, share).await {
            Ok(found) => return Ok(found),
            Err(error) => {
                // A server that could be spoken to stands for its host.
                let settled = !error.tries_next() || matches!(error, Error::NotWanted { .. } | Error::NotReady(_));
                failures.push(if addresses.len() > 1 {
                    error.at(format_args!("{host} ({address})"))
                } else {
                    error.at(host)
                });
                if settled {
                    break;
                }
            }
        }
    }
    Err(if failures.len() == 1 { failures.remove(0) } else { Error::All(failures) })
}

async fn try_address(attempt: &Attempt<'_>, request: &Request<'_>, share: Duration) -> Result<(Upstream, Fit), Error> {
    let opened = tokio::time::timeout(share, open(attempt, request, share)).await;
    opened.unwrap_or(Err(Error::Timeout(share)))
}

/// A session at an address that has stood all tests.
async fn open(attempt: &Attempt<'_>, request: &Request<'_>, share: Duration) -> Result<(Upstream, Fit), Error> {
    let may_ask = !request.replication;
    let (mut session, security) = attempt.run().await?;
    let fit = target::fit(&mut session, attempt.conninfo.target, may_ask).await?;
    let pid_shown = if may_ask {
        pooler::check(&mut session, || attempt.another(security.clone()), share / 2).await?
    } else {
        session.key.pid
    };
    let tls = match security {
        Security::Plain => None,
        Security::Tls(handshake) | Security::TlsIfOffered(handshake) => {
            Some((Arc::clone(&attempt.conninfo.tls), handshake.name))
        }
    };
    let cancel = CancelTarget { address: attempt.address.clone(), tls, key: session.key.clone() };
    let session::Session { wire, parameters, notices, key, status } = session;
    let (stream, leftover) = wire.into_parts();
    Ok((Upstream { stream, parameters, key, pid_shown, cancel, notices, leftover, status }, fit))
}
