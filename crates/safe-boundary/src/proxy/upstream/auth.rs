//! Logging in: what the server asks, and what it is answered.
//!
//! Promises: the password itself, or an MD5 of it, never leaves; after a SCRAM exchange has begun, no AuthenticationOk
//! counts before the server has proved that it knows the password too; `channel_binding=require` is met or there is no
//! session.
//! Deliberately not here: reading and writing, and the password's source.

use std::io;

use pgproto::backend::{Authentication, BackendTag};
use pgproto::frontend::encode;
use postgres_protocol::authentication::sasl::{ChannelBinding as Gs2, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};

use super::conninfo::ChannelBinding;
use super::error::{Error, Violation, clean};

/// What ties this exchange to the connection it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// What the connection string wants.
    pub(crate) wanted: ChannelBinding,
    /// Whether the connection has TLS.
    pub(crate) tls: bool,
    /// The hash of the server's certificate, where there is one.
    pub(crate) server_end_point: Option<Vec<u8>>,
}

/// One login, as a state machine.
pub(crate) struct Exchange<'a> {
    password: Option<&'a str>,
    binding: Binding,
    state: State,
}

enum State {
    /// Nothing asked yet.
    Begun,
    /// Our first SCRAM message is out.
    First(Box<ScramSha256>),
    /// Our proof is out.
    Proof(Box<ScramSha256>),
    /// The server's proof was good.
    Proven,
    /// AuthenticationOk came.
    Over,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this and wait.
    Send(Vec<u8>),
    /// Wait.
    Wait,
    /// We are in.
    Done,
}

impl<'a> Exchange<'a> {
    pub(crate) const fn new(password: Option<&'a str>, binding: Binding) -> Self {
        Self { password, binding, state: State::Begun }
    }

    /// Whether AuthenticationOk came.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Answers one request of the server.
    pub(crate) fn answer(&mut self, request: Authentication<'_>) -> Result<Step, Error> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, request) {
            (State::Begun, Authentication::Sasl(mechanisms)) => self.begin(&mechanisms.iter().collect::<Vec<_>>()),
            (State::First(mut scram), Authentication::SaslContinue(message)) => {
                scram.update(message).map_err(|error| unproven(&error))?;
                let mut out = Vec::new();
                encode::sasl_response(&mut out, scram.message())?;
                self.state = State::Proof(scram);
                Ok(Step::Send(out))
            }
            (State::Proof(mut scram), Authentication::SaslFinal(message)) => {
                scram.finish(message).map_err(|error| unproven(&error))?;
                self.state = State::Proven;
                Ok(Step::Wait)
            }
            (State::Proven, Authentication::Ok) => Ok(Step::Done),
            // `trust`, `peer` or a client certificate: the server did not ask for a password.
            (State::Begun, Authentication::Ok) if self.binding.wanted != ChannelBinding::Require => Ok(Step::Done),
            (State::Begun, Authentication::Ok) => {
                Err(Error::ChannelBinding { why: "the server let the role in without SCRAM" })
            }
            (State::First(_) | State::Proof(_), Authentication::Ok) => {
                Err(Error::ServerUnproven(io::Error::other("AuthenticationOk came before the server's proof")))
            }
            (_, Authentication::Cleartext) => Err(Error::WeakAuthentication { method: "cleartext password" }),
            (_, Authentication::Md5(_)) => Err(Error::WeakAuthentication { method: "MD5 password" }),
            (_, Authentication::Gss | Authentication::GssContinue(_)) => unknown("GSSAPI"),
            (_, Authentication::Sspi) => unknown("SSPI"),
            (_, Authentication::KerberosV5) => unknown("Kerberos V5"),
            (_, Authentication::Other(code)) => unknown(&format!("unknown ({code})")),
            (_, Authentication::Sasl(_) | Authentication::SaslContinue(_) | Authentication::SaslFinal(_))
            | (State::Over, Authentication::Ok) => {
                Err(Violation::Unexpected { tag: BackendTag::Authentication, at: "out of turn" }.into())
            }
        }
    }

    /// Chooses a mechanism and sends the first message.
    fn begin(&mut self, offered: &[&[u8]]) -> Result<Step, Error> {
        let offers = |mechanism: &str| offered.contains(&mechanism.as_bytes());
        let plus = offers(SCRAM_SHA_256_PLUS);
        if plus && !self.binding.tls {
            return Err(Error::ChannelBinding {
                why: "the server offers it without TLS: something in between ends the TLS",
            });
        }
        let required = self.binding.wanted == ChannelBinding::Require;
        let usable = (self.binding.wanted != ChannelBinding::Disable).then(|| self.binding.server_end_point.take());
        let (mechanism, header) = match usable.flatten() {
            Some(hash) if plus => (SCRAM_SHA_256_PLUS, Gs2::tls_server_end_point(hash)),
            _ if required && plus => {
                return Err(Error::ChannelBinding { why: "the certificate's signature algorithm names no hash" });
            }
            _ if required => return Err(Error::ChannelBinding { why: "the server does not offer SCRAM-SHA-256-PLUS" }),
            // We could, the server says it cannot: if it can, someone struck the offer out, and it will notice.
            Some(_) => (SCRAM_SHA_256, Gs2::unrequested()),
            None => (SCRAM_SHA_256, Gs2::unsupported()),
        };
        if !offers(mechanism) {
            let names = offered.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(", ");
            return unknown(&format!("SASL ({})", names.escape_debug()));
        }
        let password = self.password.ok_or(Error::NoPassword)?;
        let scram = ScramSha256::new(password.as_bytes(), header);
        let mut out = Vec::new();
        encode::sasl_initial_response(&mut out, mechanism.as_bytes(), Some(scram.message()))?;
        self.state = State::First(Box::new(scram));
        Ok(Step::Send(out))
    }
}

/// The library repeats what the server gives as its reason (`e=`, RFC 5802 §7).
fn unproven(error: &io::Error) -> Error {
    Error::ServerUnproven(io::Error::new(error.kind(), clean(&error.to_string())))
}

fn unknown(method: &str) -> Result<Step, Error> {
    Err(Error::UnknownAuthentication { method: method.to_owned() })
}

#[cfg(test)]
mod tests;
