//! Messages that servers send: views of those we must read.
//!
//! Promises: a view borrows the body and is checked as a whole when it is made; a server is trusted no more than a client.
//! Deliberately not here: rows, which pass as they are; errors and notices, which are in `notice`.

pub mod encode;

use std::fmt;

use crate::body::{BodyError, Reader};
pub use crate::lists::{Format, Formats, Names, Oids};
use crate::startup::{CANCEL_SECRET_BYTES, ProtocolVersion};
pub use crate::tag::BackendTag;

/// Why the body of a server message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The fields do not fit the body.
    #[error("malformed {tag:?} message: {cause}")]
    Body {
        /// The kind of message.
        tag: BackendTag,
        /// What did not fit.
        #[source]
        cause: BodyError,
    },
    /// A transaction status that PostgreSQL does not have.
    #[error("malformed ReadyForQuery message: expected `I`, `T` or `E`, came byte {came:#04x}")]
    Status {
        /// The byte that came.
        came: u8,
    },
    /// A cancel secret is not of a size the protocol has.
    #[error("malformed BackendKeyData message: expected a secret of 4 to 256 bytes, came {came}")]
    SecretSize {
        /// Its size.
        came: usize,
    },
}

/// Reads all of a body with `read`, naming the message if something does not fit.
fn whole<'a, T>(
    tag: BackendTag,
    body: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, BodyError>,
) -> Result<T, BackendError> {
    let mut body = Reader::new(body);
    let value = read(&mut body).and_then(|value| body.end().map(|()| value));
    value.map_err(|cause| BackendError::Body { tag, cause })
}

/// What the server wants of one who logs in. `Debug` shows no exchange data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Nothing more: one is in.
    Ok,
    /// Kerberos V5, which no server asks for any more.
    KerberosV5,
    /// The password itself.
    Cleartext,
    /// The password, hashed with this salt.
    Md5([u8; 4]),
    /// GSSAPI.
    Gss,
    /// More of GSSAPI or SSPI.
    GssContinue(&'a [u8]),
    /// SSPI.
    Sspi,
    /// SASL by one of these mechanisms, best first.
    Sasl(Names<'a>),
    /// The server's next message of the SASL exchange.
    SaslContinue(&'a [u8]),
    /// The server's last message of the SASL exchange.
    SaslFinal(&'a [u8]),
    /// A request by this code, which nobody here knows.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::Authentication, body, |body| {
            Ok(match body.u32("the request code")? {
                0 => Self::Ok,
                2 => Self::KerberosV5,
                3 => Self::Cleartext,
                5 => Self::Md5(body.array("the salt")?),
                7 => Self::Gss,
                8 => Self::GssContinue(body.take_rest()),
                9 => Self::Sspi,
                10 => Self::Sasl(Names::until_empty(body, "the mechanisms")?),
                11 => Self::SaslContinue(body.take_rest()),
                12 => Self::SaslFinal(body.take_rest()),
                code => {
                    body.take_rest();
                    Self::Other(code)
                }
            })
        })
    }
}

impl fmt::Debug for Authentication<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => out.write_str("Ok"),
            Self::KerberosV5 => out.write_str("KerberosV5"),
            Self::Cleartext => out.write_str("Cleartext"),
            Self::Md5(_) => out.write_str("Md5(…)"),
            Self::Gss => out.write_str("Gss"),
            Self::GssContinue(_) => out.write_str("GssContinue(…)"),
            Self::Sspi => out.write_str("Sspi"),
            Self::Sasl(mechanisms) => write!(out, "Sasl({mechanisms:?})"),
            Self::SaslContinue(_) => out.write_str("SaslContinue(…)"),
            Self::SaslFinal(_) => out.write_str("SaslFinal(…)"),
            Self::Other(code) => write!(out, "Other({code})"),
        }
    }
}

/// A setting has this value now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::ParameterStatus, body, |body| {
            Ok(Self { name: body.text("the name")?, value: body.text("the value")? })
        })
    }
}

/// What a cancel request must say. `Debug` does not show the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process id of the server's session.
    pub pid: i32,
    /// 4 bytes on protocol 3.0, 4 to 256 on 3.2.
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        let key = whole(BackendTag::BackendKeyData, body, |body| {
            Ok(Self { pid: body.i32("the process id")?, secret: body.take_rest() })
        })?;
        if CANCEL_SECRET_BYTES.contains(&key.secret.len()) {
            Ok(key)
        } else {
            Err(BackendError::SecretSize { came: key.secret.len() })
        }
    }
}

impl fmt::Debug for BackendKeyData<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BackendKeyData").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Where a session stands with its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block is open.
    Idle,
    /// A transaction block is open.
    InTransaction,
    /// A transaction block is open and has failed; only its end is accepted.
    Failed,
}

impl TransactionStatus {
    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// The server waits for the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Where the transaction stands.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, BackendError> {
        let status = match whole(BackendTag::ReadyForQuery, body, |body| body.byte("the status"))? {
            b'I' => TransactionStatus::Idle,
            b'T' => TransactionStatus::InTransaction,
            b'E' => TransactionStatus::Failed,
            came => return Err(BackendError::Status { came }),
        };
        Ok(Self { status })
    }
}

/// A statement is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// What was done, such as `INSERT 0 5`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::CommandComplete, body, |body| Ok(Self { tag: body.text("the command tag")? }))
    }

    /// The number at the end of the tag, for commands that have one: rows returned, written or copied.
    pub fn rows(&self) -> Option<u64> {
        let (_, number) = std::str::from_utf8(self.tag).ok()?.rsplit_once(' ')?;
        // `parse` alone would take a sign
        if number.bytes().all(|byte| byte.is_ascii_digit()) { number.parse().ok() } else { None }
    }
}

/// The parameter types of a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterDescription<'a> {
    /// One for each parameter.
    pub types: Oids<'a>,
}

impl<'a> ParameterDescription<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::ParameterDescription, body, |body| {
            Ok(Self { types: Oids::read(body, "the parameter types")? })
        })
    }
}

/// A COPY begins: CopyInResponse, CopyOutResponse or CopyBothResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// The format of the data as a whole.
    pub format: Format,
    /// One for each column.
    pub columns: Formats<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Reads the body; `tag` says which of the three it is, for the error.
    pub fn parse(tag: BackendTag, body: &'a [u8]) -> Result<Self, BackendError> {
        whole(tag, body, |body| {
            let format = Format::from_code(u16::from(body.byte("the format")?));
            Ok(Self { format, columns: Formats::read(body, "the column formats")? })
        })
    }
}

/// The server speaks an older protocol than asked for, or does not know some `_pq_.` options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest version the server speaks.
    pub version: ProtocolVersion,
    /// Options it does not know.
    pub unsupported: Names<'a>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads the body. PostgreSQL writes the whole version; its documents once said the minor one, which is taken too.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::NegotiateProtocolVersion, body, |body| {
            let version = match ProtocolVersion::from_code(body.u32("the version")?) {
                ProtocolVersion { major: 0, minor } => ProtocolVersion { major: 3, minor },
                version => version,
            };
            let count = body.u32("the number of options")?;
            Ok(Self { version, unsupported: Names::counted(body, "an option", count)? })
        })
    }
}

/// A NOTIFY of some session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// Process id of the session that sent it.
    pub pid: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// What it says; may be empty.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, BackendError> {
        whole(BackendTag::NotificationResponse, body, |body| {
            let pid = body.i32("the process id")?;
            Ok(Self { pid, channel: body.text("the channel")?, payload: body.text("the payload")? })
        })
    }
}

#[cfg(test)]
mod tests;
