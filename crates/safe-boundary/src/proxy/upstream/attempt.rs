//! One attempt at one address: with TLS, without, or first the one and then the other, as `sslmode` says.
//!
//! Promises: the modes from `require` on never go on without TLS; `prefer` and `allow` go the other way only where
//! libpq does.
//! Deliberately not here: the list of hosts.

use std::sync::Arc;

use super::auth::Binding;
use super::binding::server_end_point;
use super::conninfo::{Conninfo, Host, SslMode};
use super::dial::{Address, Handshake, Security, dial};
use super::error::Error;
use super::session::{Login, Session};
use super::tls;

/// One address of one host, and who logs in there.
pub(super) struct Attempt<'a> {
    pub(super) conninfo: &'a Conninfo,
    pub(super) host: &'a Host,
    pub(super) address: &'a Address,
    pub(super) login: &'a Login,
}

impl Attempt<'_> {
    /// Tries, and says how the session that came of it is secured.
    pub(super) async fn run(&self) -> Result<(Session, Security), Error> {
        if matches!(self.address, Address::Unix(_)) {
            return self.session(Security::Plain).await;
        }
        match self.conninfo.tls.mode {
            SslMode::Disable => self.session(Security::Plain).await,
            SslMode::Allow => match self.session(Security::Plain).await {
                Err(error) if error.tries_other_security() => {
                    let with_tls = self.session(Security::Tls(self.handshake().await?)).await;
                    // A server that has no TLS after all: what it said first is the reason.
                    with_tls.map_err(|second| match second {
                        Error::Tls(tls::Error::NotOffered) => error,
                        second => second,
                    })
                }
                result => result,
            },
            SslMode::Prefer => match self.session(Security::TlsIfOffered(self.handshake().await?)).await {
                Err(Error::Tls(error)) if error.is_handshake() => self.session(Security::Plain).await,
                Err(error) if error.tries_other_security() => self.session(Security::Plain).await,
                result => result,
            },
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                self.session(Security::Tls(self.handshake().await?)).await
            }
        }
    }

    /// A further session at the same place, secured in the same way.
    pub(super) async fn another(&self, security: Security) -> Result<Session, Error> {
        self.session(security).await.map(|(session, _)| session)
    }

    async fn session(&self, security: Security) -> Result<(Session, Security), Error> {
        let stream = dial(self.address, self.conninfo.keepalive, security.clone()).await?;
        let used = match security {
            Security::TlsIfOffered(handshake) if stream.is_tls() => Security::Tls(handshake),
            Security::TlsIfOffered(_) => Security::Plain,
            other => other,
        };
        let binding = Binding {
            wanted: self.conninfo.channel_binding,
            tls: stream.is_tls(),
            server_end_point: stream.certificate().and_then(server_end_point),
        };
        Ok((Session::begin(stream, self.login, binding).await?, used))
    }

    async fn handshake(&self) -> Result<Handshake, Error> {
        let config = tls::prepare(Arc::clone(&self.conninfo.tls)).await?;
        let name = match (&self.host.name, self.address) {
            (Some(name), _) => tls::server_name(name)?,
            (None, Address::Tcp(address)) => address.ip().into(),
            (None, Address::Unix(_)) => return Err(tls::Error::NotOffered.into()),
        };
        Ok(Handshake { config, name })
    }
}
