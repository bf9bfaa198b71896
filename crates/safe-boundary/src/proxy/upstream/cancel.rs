//! Asking a server to cancel what a session is running.
//!
//! Promises: the request goes to the address that the session has, under TLS if the session has it, so that the key is
//! no more visible than the session; it ends within ten seconds.
//! Deliberately not here: whose request it is.

use std::sync::Arc;
use std::time::Duration;

use pgproto::frontend::encode;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::BackendKey;
use super::conninfo::Tls;
use super::dial::{Address, Handshake, Security, dial};
use super::error::Error;
use super::tls;

/// The longest a cancel may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how a session can be cancelled.
#[derive(Clone, Debug)]
pub struct CancelTarget {
    pub(super) address: Address,
    /// The settings, whose files are read again, and the name to verify.
    pub(super) tls: Option<(Arc<Tls>, ServerName<'static>)>,
    pub(super) key: BackendKey,
}

impl CancelTarget {
    /// Sends the request on a connection of its own and waits until the server has taken it.
    ///
    /// # Errors
    /// When the server cannot be reached. That there was nothing to cancel is not told by PostgreSQL.
    pub async fn cancel(&self) -> Result<(), Error> {
        let sent = tokio::time::timeout(CANCEL_TIMEOUT, self.send()).await;
        sent.unwrap_or(Err(Error::Timeout(CANCEL_TIMEOUT))).map_err(|error| error.at(&self.address))
    }

    async fn send(&self) -> Result<(), Error> {
        let security = match &self.tls {
            None => Security::Plain,
            Some((tls, name)) => {
                Security::Tls(Handshake { config: tls::prepare(Arc::clone(tls)).await?, name: name.clone() })
            }
        };
        let mut stream = dial(&self.address, None, security).await?;
        let mut request = Vec::new();
        encode::cancel_request(&mut request, self.key.pid, self.key.secret.reveal())?;
        stream.write_all(&request).await.map_err(Error::Lost)?;
        stream.flush().await.map_err(Error::Lost)?;
        // The server closes when the signal is sent. It does so without the manners of TLS, which is no error here.
        let mut ignored = [0; 64];
        while stream.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
        Ok(())
    }
}
