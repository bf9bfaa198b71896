//! From a bare connection to a session that waits for its first command.
//!
//! Promises: a session exists only after AuthenticationOk counted, BackendKeyData and ReadyForQuery came; what the
//! server said meanwhile is kept for the client.
//! Deliberately not here: which host, and TLS.

use domain::secret::Secret;
use pgproto::backend::{
    Authentication, BackendKeyData, BackendTag, NegotiateProtocolVersion, ParameterStatus, ReadyForQuery,
    TransactionStatus,
};
use pgproto::frontend::encode;
use pgproto::startup::ProtocolVersion;

use super::auth::{Binding, Exchange, Step};
use super::error::{Error, Violation};
use super::wire::{Message, Wire};
use super::{BackendKey, Request};
use crate::proxy::stream::Stream;

/// The most notices that are kept for the client; a server has no reason to send more.
const NOTICES_MAX: usize = 64;

/// The most settings that a server may report: PostgreSQL has a dozen and a half, extensions add a few.
const SETTINGS_MAX: usize = 256;

/// Who logs in where: made once for each connect, for all hosts that are tried.
pub(super) struct Login {
    packet: Vec<u8>,
    password: Option<Secret<String>>,
}

impl Login {
    /// Reads the password and writes the startup packet.
    pub(super) async fn prepare(request: &Request<'_>) -> Result<Self, Error> {
        let mut parameters =
            vec![(b"user".as_slice(), request.role.as_bytes()), (b"database".as_slice(), request.database.as_bytes())];
        for (name, value) in request.parameters {
            // INVARIANT: of two equal names PostgreSQL takes the last: nothing here may say again who logs in, and where.
            let replication = name.eq_ignore_ascii_case("replication") && !request.replication;
            if replication || ["user", "database"].iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                return Err(Error::Parameter { name: name.clone() });
            }
            parameters.push((name.as_bytes(), value.as_bytes()));
        }
        let mut packet = Vec::new();
        // 3.0 even where the client speaks 3.2: poolers and managed servers fail on anything newer.
        encode::startup(&mut packet, ProtocolVersion::V3_0, &parameters)?;
        let failed = |cause| Error::Secret { role: request.role.to_owned(), cause };
        let password = match request.password {
            Some(source) => Some(crate::config::secret::read(source).await.map_err(failed)?),
            None => None,
        };
        Ok(Self { packet, password })
    }
}

/// A session that waits for its first command.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    /// In the order they first came, with their last value.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) notices: Vec<Vec<u8>>,
    pub(super) key: BackendKey,
    pub(super) status: TransactionStatus,
}

/// What has come so far.
#[derive(Default)]
struct Beginning {
    parameters: Vec<(String, String)>,
    notices: Vec<Vec<u8>>,
    key: Option<BackendKey>,
}

impl Session {
    /// Logs in on a connection.
    pub(super) async fn begin(stream: Stream, login: &Login, binding: Binding) -> Result<Self, Error> {
        let mut wire = Wire::new(stream);
        wire.send(&login.packet).await?;
        let mut exchange = Exchange::new(login.password.as_ref().map(|password| password.reveal().as_str()), binding);
        let mut beginning = Beginning::default();
        loop {
            let message = wire.next().await?;
            match message.tag {
                BackendTag::Authentication => {
                    let request = Authentication::parse(message.body()).map_err(Violation::from)?;
                    if let Step::Send(answer) = exchange.answer(request)? {
                        wire.send(&answer).await?;
                    }
                }
                BackendTag::NegotiateProtocolVersion if !exchange.is_over() => check_version(message.body())?,
                BackendTag::ErrorResponse => return Err(Error::refused(message.body())),
                // Before the login a notice could be anybody's: it is not shown to the client.
                BackendTag::NoticeResponse if !exchange.is_over() => {}
                BackendTag::NoticeResponse => keep_notice(&mut beginning.notices, message),
                // INVARIANT: nothing but authentication, errors and notices counts before AuthenticationOk has counted.
                _ if !exchange.is_over() => return Err(message.unexpected("before AuthenticationOk")),
                BackendTag::ParameterStatus => keep_parameter(&mut beginning.parameters, message.body())?,
                BackendTag::BackendKeyData => {
                    let key = BackendKeyData::parse(message.body()).map_err(Violation::from)?;
                    beginning.key = Some(BackendKey { pid: key.pid, secret: Secret::new(key.secret.to_vec()) });
                }
                BackendTag::ReadyForQuery => {
                    let status = ReadyForQuery::parse(message.body()).map_err(Violation::from)?.status;
                    let Beginning { parameters, notices, key } = beginning;
                    return Ok(Self { wire, parameters, notices, key: key.ok_or(Violation::NoKey)?, status });
                }
                _ => return Err(message.unexpected("before ReadyForQuery")),
            }
        }
    }

    /// Runs a question of ours; the first column of its only row.
    pub(super) async fn ask(&mut self, question: &'static str, expected: &'static str) -> Result<String, Error> {
        let mut out = Vec::new();
        encode::query(&mut out, question.as_bytes())?;
        self.wire.send(&out).await?;
        let mut answer = None;
        loop {
            let message = self.wire.next().await?;
            match message.tag {
                BackendTag::RowDescription | BackendTag::CommandComplete => {}
                BackendTag::DataRow => answer = first_column(message.body()),
                BackendTag::ErrorResponse => return Err(Error::refused(message.body())),
                BackendTag::NoticeResponse => keep_notice(&mut self.notices, message),
                BackendTag::ParameterStatus => keep_parameter(&mut self.parameters, message.body())?,
                BackendTag::ReadyForQuery => {
                    self.status = ReadyForQuery::parse(message.body()).map_err(Violation::from)?.status;
                    return answer.ok_or_else(|| Violation::Answer { expected }.into());
                }
                _ => return Err(message.unexpected("as the answer to a question")),
            }
        }
    }

    /// The value of a setting that the server reports.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|(each, value)| (each == name).then_some(value.as_str()))
    }

    /// Ends a session that is not used. That it may fail does not matter: the connection is closed either way.
    pub(super) async fn leave(mut self) {
        let mut out = Vec::new();
        encode::terminate(&mut out);
        let _closed_either_way = self.wire.send(&out).await;
    }
}

/// We ask for 3.0 and for no options: there is nothing to negotiate, but saying so does no harm.
fn check_version(body: &[u8]) -> Result<(), Error> {
    let answer = NegotiateProtocolVersion::parse(body).map_err(Violation::from)?;
    if answer.version == ProtocolVersion::V3_0 { Ok(()) } else { Err(Violation::Version.into()) }
}

fn keep_notice(notices: &mut Vec<Vec<u8>>, message: Message) {
    if notices.len() < NOTICES_MAX {
        notices.push(message.frame);
    }
}

fn keep_parameter(parameters: &mut Vec<(String, String)>, body: &[u8]) -> Result<(), Error> {
    let status = ParameterStatus::parse(body).map_err(Violation::from)?;
    let text = |raw| String::from_utf8_lossy(raw).into_owned();
    let (name, value) = (text(status.name), text(status.value));
    let is_full = parameters.len() >= SETTINGS_MAX;
    match parameters.iter_mut().find(|(each, _)| *each == name) {
        Some((_, old)) => *old = value,
        None if is_full => return Err(Violation::TooManySettings { max: SETTINGS_MAX }.into()),
        None => parameters.push((name, value)),
    }
    Ok(())
}

/// The first column of a DataRow as text.
fn first_column(body: &[u8]) -> Option<String> {
    let (_columns, rest) = body.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    String::from_utf8(rest.get(..length)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_reports_so_many_settings_and_no_more() {
        let mut parameters = Vec::new();
        let mut report = |number: usize, value: &str| {
            keep_parameter(&mut parameters, format!("setting{number}\0{value}\0").as_bytes())
        };
        (0..SETTINGS_MAX).for_each(|number| report(number, "old").unwrap());
        report(0, "new").unwrap();
        let error = report(SETTINGS_MAX, "old").unwrap_err();
        assert!(matches!(error, Error::Protocol(Violation::TooManySettings { max: 256 })), "{error}");
        assert_eq!(parameters.len(), SETTINGS_MAX);
        assert_eq!(parameters[0].1, "new", "one that is known may change as often as it likes");
    }

    #[test]
    fn a_row_is_read_or_refused() {
        for (body, expected) in [
            (&b"\0\x01\0\0\0\x02on"[..], Some("on")),
            (b"\0\x02\0\0\0\x0212\0\0\0\0", Some("12")),
            (b"\0\x01\xff\xff\xff\xff", None),
            (b"\0\x01\0\0\0\x03on", None),
            (b"\0\x01\0\0", None),
            (b"", None),
            (b"\0\x01\0\0\0\x01\xff", None),
        ] {
            assert_eq!(first_column(body).as_deref(), expected, "{body:?}");
        }
    }
}
