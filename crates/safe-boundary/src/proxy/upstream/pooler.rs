//! Whether a pooler stands before the server, and whether its sessions are sessions.
//!
//! Promises: a pooler that gives one connection to different servers, or one server to different connections, is found
//! out; when it cannot be told, there is no session.
//! Deliberately not here: naming the product.

use std::time::Duration;

use super::error::{Error, Violation};
use super::session::Session;

/// What names the server's session. Its text says why it is in the server's log.
const WHO: &str = "SELECT pg_catalog.pg_backend_pid() /* safe-boundary: is this a pooler? */";

/// Asks a session for the process id of the server behind it.
async fn server_pid(session: &mut Session) -> Result<i32, Error> {
    let expected = "the process id of the server";
    let text = session.ask(WHO, expected).await?;
    text.parse().map_err(|_| Violation::Answer { expected }.into())
}

/// The process id that tools should be told: the server's, which under a pooler is not the one in BackendKeyData.
///
/// `another` opens a second session the same way as the first; it has `limit` for that and for its answers, because a
/// pooler without a free server lets it wait.
pub(super) async fn check<F>(session: &mut Session, another: impl FnOnce() -> F, limit: Duration) -> Result<i32, Error>
where
    F: Future<Output = Result<Session, Error>>,
{
    let pid = server_pid(session).await?;
    if pid == session.key.pid {
        return Ok(pid);
    }
    // The first session is idle now. In transaction mode its server is free, and whoever asks next gets it (or, where
    // servers take turns, gets another one each time); in session mode nobody else can.
    let asked = tokio::time::timeout(limit, async {
        let mut second = another().await?;
        let others = (server_pid(&mut second).await?, server_pid(&mut second).await?);
        Ok((second, others))
    });
    let (second, others) =
        asked.await.unwrap_or(Err(Error::Timeout(limit))).map_err(|cause| Error::PoolerUnknown(Box::new(cause)))?;
    let again = server_pid(session).await?;
    second.leave().await;
    if again == pid && others.0 == others.1 && others.0 != pid { Ok(pid) } else { Err(Error::TransactionPooler) }
}
