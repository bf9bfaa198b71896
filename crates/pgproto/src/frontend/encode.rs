//! Client messages that the proxy itself sends upstream.
//!
//! Promises: whole messages only, appended to the buffer; sizes and zero bytes are checked (see [`crate::encode`]).
//! Deliberately not here: messages of the client that are passed on; those go as the bytes they came in.

use super::FrontendTag;
use crate::encode::{EncodeError, empty, lengthed, message};
use crate::startup::{CANCEL_CODE, CANCEL_SECRET_BYTES, PACKET_BYTES_MAX, PARAMETERS_MAX, ProtocolVersion, SSL_CODE};

/// Startup packet: who one is and the settings of the session. Order is kept; the last of two equal names counts.
pub fn startup(out: &mut Vec<u8>, version: ProtocolVersion, parameters: &[(&[u8], &[u8])]) -> Result<(), EncodeError> {
    if parameters.len() > PARAMETERS_MAX {
        return Err(EncodeError::TooMany { what: "parameters", expected: PARAMETERS_MAX, came: parameters.len() });
    }
    lengthed(out, PACKET_BYTES_MAX, |body| {
        body.u32(version.code());
        for (name, value) in parameters {
            body.name("startup parameters", name)?;
            body.text("a startup parameter", value)?;
        }
        body.byte(0);
        Ok(())
    })
}

/// Asks the server for TLS.
pub fn ssl_request(out: &mut Vec<u8>) {
    out.extend_from_slice(&8_u32.to_be_bytes());
    out.extend_from_slice(&SSL_CODE.to_be_bytes());
}

/// Asks the server to cancel what a session is running.
pub fn cancel_request(out: &mut Vec<u8>, pid: i32, secret: &[u8]) -> Result<(), EncodeError> {
    if !CANCEL_SECRET_BYTES.contains(&secret.len()) {
        return Err(EncodeError::SecretSize { came: secret.len() });
    }
    lengthed(out, PACKET_BYTES_MAX, |body| {
        body.u32(CANCEL_CODE);
        body.i32(pid);
        body.bytes(secret);
        Ok(())
    })
}

/// Runs statement text.
pub fn query(out: &mut Vec<u8>, text: &[u8]) -> Result<(), EncodeError> {
    message(out, FrontendTag::Query.byte(), |body| body.text("the statement text", text))
}

/// Prepares a statement.
pub fn parse(out: &mut Vec<u8>, name: &[u8], text: &[u8], types: &[u32]) -> Result<(), EncodeError> {
    message(out, FrontendTag::Parse.byte(), |body| {
        body.text("the statement name", name)?;
        body.text("the statement text", text)?;
        body.count("parameter types", types.len())?;
        for oid in types {
            body.u32(*oid);
        }
        Ok(())
    })
}

/// Makes a portal of a statement without parameters; results come as text.
pub fn bind(out: &mut Vec<u8>, portal: &[u8], statement: &[u8]) -> Result<(), EncodeError> {
    message(out, FrontendTag::Bind.byte(), |body| {
        body.text("the portal name", portal)?;
        body.text("the statement name", statement)?;
        body.bytes(&[0; 6]); // no parameter formats, no parameters, no result formats
        Ok(())
    })
}

/// Runs a portal; `max_rows` 0 is no limit.
pub fn execute(out: &mut Vec<u8>, portal: &[u8], max_rows: u32) -> Result<(), EncodeError> {
    let limit = i32::try_from(max_rows).map_err(|_| EncodeError::TooMany {
        what: "rows",
        expected: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
        came: usize::try_from(max_rows).unwrap_or(usize::MAX),
    })?;
    message(out, FrontendTag::Execute.byte(), |body| {
        body.text("the portal name", portal)?;
        body.i32(limit);
        Ok(())
    })
}

/// Gives up a COPY.
pub fn copy_fail(out: &mut Vec<u8>, reason: &[u8]) -> Result<(), EncodeError> {
    message(out, FrontendTag::CopyFail.byte(), |body| body.text("the reason", reason))
}

/// Answers AuthenticationCleartextPassword or AuthenticationMD5Password.
pub fn password(out: &mut Vec<u8>, password: &[u8]) -> Result<(), EncodeError> {
    message(out, FrontendTag::Password.byte(), |body| body.text("the password", password))
}

/// Chooses a SASL mechanism and sends its first message.
pub fn sasl_initial_response(
    out: &mut Vec<u8>,
    mechanism: &[u8],
    message_bytes: Option<&[u8]>,
) -> Result<(), EncodeError> {
    message(out, FrontendTag::Password.byte(), |body| {
        body.name("the mechanism", mechanism)?;
        body.nullable(message_bytes)
    })
}

/// Goes on with a SASL exchange.
pub fn sasl_response(out: &mut Vec<u8>, message_bytes: &[u8]) -> Result<(), EncodeError> {
    message(out, FrontendTag::Password.byte(), |body| {
        body.bytes(message_bytes);
        Ok(())
    })
}

/// Ends a group of extended messages.
pub fn sync(out: &mut Vec<u8>) {
    empty(out, FrontendTag::Sync.byte());
}

/// Asks for the answers so far.
pub fn flush(out: &mut Vec<u8>) {
    empty(out, FrontendTag::Flush.byte());
}

/// Leaves.
pub fn terminate(out: &mut Vec<u8>) {
    empty(out, FrontendTag::Terminate.byte());
}
