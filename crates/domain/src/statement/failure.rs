//! What an error of the server says.
//!
//! Promises: code, message and severity are found also where only the beginning of the error is at hand.
//! Deliberately not here: what it ends (`pgproto::tracker`).

use pgproto::notice::{Fields, Severity};
use pgproto::tracker::Failure;

/// Code and message of an ErrorResponse, of which the end may be missing.
pub(super) fn failure(body: &[u8]) -> Failure {
    let fields = Fields::parse(body).ok();
    let code = fields.and_then(Fields::sqlstate).map(|code| code.as_bytes().to_vec());
    let message = fields.map(|fields| fields.message().to_vec());
    match (code, message) {
        (Some(sqlstate), Some(message)) => Failure { sqlstate, message },
        _ => prefix_failure(body),
    }
}

/// Whether the server closes the connection after this ErrorResponse. The severity comes first, so it is there also where the
/// end is missing.
pub(super) fn is_fatal(body: &[u8]) -> bool {
    let severity = prefix_field(body, b'V').or_else(|| prefix_field(body, b'S')).and_then(Severity::from_bytes);
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

/// What can be read of an ErrorResponse that is longer than we hold: code and message come first.
fn prefix_failure(body: &[u8]) -> Failure {
    let field = |kind| prefix_field(body, kind).unwrap_or_default().to_vec();
    Failure { sqlstate: field(b'C'), message: field(b'M') }
}

/// A field of an ErrorResponse, of which the end may be missing.
fn prefix_field(body: &[u8], kind: u8) -> Option<&[u8]> {
    body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[kind]))
}
