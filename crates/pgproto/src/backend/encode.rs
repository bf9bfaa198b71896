//! Server messages that the proxy itself sends to clients.
//!
//! Promises: whole messages only, appended to the buffer; sizes and zero bytes are checked (see [`crate::encode`]).
//! Deliberately not here: messages of the upstream that are passed on; those go as the bytes they came in.

use super::{BackendTag, TransactionStatus};
use crate::encode::{EncodeError, message};
use crate::startup::{CANCEL_SECRET_BYTES, ProtocolVersion};

/// OID of the type `text`.
const TEXT_OID: u32 = 25;

/// One is in.
pub fn authentication_ok(out: &mut Vec<u8>) {
    out.extend_from_slice(&[BackendTag::Authentication.byte(), 0, 0, 0, 8, 0, 0, 0, 0]);
}

/// Asks for SASL by one of these mechanisms, best first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&[u8]]) -> Result<(), EncodeError> {
    message(out, BackendTag::Authentication.byte(), |body| {
        body.u32(10);
        for mechanism in mechanisms {
            body.name("the mechanisms", mechanism)?;
        }
        body.byte(0);
        Ok(())
    })
}

/// The next message of a SASL exchange.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, message_bytes: &[u8]) -> Result<(), EncodeError> {
    message(out, BackendTag::Authentication.byte(), |body| {
        body.u32(11);
        body.bytes(message_bytes);
        Ok(())
    })
}

/// The last message of a SASL exchange.
pub fn authentication_sasl_final(out: &mut Vec<u8>, message_bytes: &[u8]) -> Result<(), EncodeError> {
    message(out, BackendTag::Authentication.byte(), |body| {
        body.u32(12);
        body.bytes(message_bytes);
        Ok(())
    })
}

/// A setting has this value now.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
    message(out, BackendTag::ParameterStatus.byte(), |body| {
        body.text("the name", name)?;
        body.text("the value", value)
    })
}

/// What a cancel request must say.
pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, secret: &[u8]) -> Result<(), EncodeError> {
    if !CANCEL_SECRET_BYTES.contains(&secret.len()) {
        return Err(EncodeError::SecretSize { came: secret.len() });
    }
    message(out, BackendTag::BackendKeyData.byte(), |body| {
        body.i32(pid);
        body.bytes(secret);
        Ok(())
    })
}

/// The next command may come.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[BackendTag::ReadyForQuery.byte(), 0, 0, 0, 5, status.byte()]);
}

/// The newest version spoken here, and the `_pq_.` options that are not known. The whole version is written, as
/// PostgreSQL does, not the minor one alone.
pub fn negotiate_protocol_version(
    out: &mut Vec<u8>,
    newest: ProtocolVersion,
    unsupported: &[&[u8]],
) -> Result<(), EncodeError> {
    let came = unsupported.len();
    let count = u32::try_from(came).map_err(|_| EncodeError::TooMany { what: "options", expected: 100, came })?;
    message(out, BackendTag::NegotiateProtocolVersion.byte(), |body| {
        body.u32(newest.code());
        body.u32(count);
        for option in unsupported {
            body.name("the options", option)?;
        }
        Ok(())
    })
}

/// A statement is done.
pub fn command_complete(out: &mut Vec<u8>, tag: &[u8]) -> Result<(), EncodeError> {
    message(out, BackendTag::CommandComplete.byte(), |body| body.text("the command tag", tag))
}

/// The names of text columns.
pub fn row_description(out: &mut Vec<u8>, columns: &[&[u8]]) -> Result<(), EncodeError> {
    message(out, BackendTag::RowDescription.byte(), |body| {
        body.count("columns", columns.len())?;
        for name in columns {
            body.text("a column name", name)?;
            body.u32(0); // of no table
            body.u16(0); // no column of it
            body.u32(TEXT_OID);
            body.bytes(&(-1_i16).to_be_bytes()); // any size
            body.i32(-1); // no type modifier
            body.u16(0); // as text
        }
        Ok(())
    })
}

/// One row; `None` is NULL.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) -> Result<(), EncodeError> {
    message(out, BackendTag::DataRow.byte(), |body| {
        body.count("values", values.len())?;
        values.iter().try_for_each(|value| body.nullable(*value))
    })
}
