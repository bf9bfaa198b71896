//! SQLSTATE codes, and the ones we use by name.
//!
//! Promises: always five ASCII digits or capital letters.
//! Deliberately not here: the codes that only PostgreSQL itself sends.

use std::fmt;

/// A five-character code that tells a client's program what happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Nothing went wrong.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// The upstream cannot be reached.
    pub const CONNECTION_UNESTABLISHED: Self = Self(*b"08001");
    /// Something needed for the connection cannot be reached.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// The peer does not keep to the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// Not built.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// A setting or parameter has a value it cannot have.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// No prepared statement has this name.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// Who one says to be was not proved.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// A password or key is wrong.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// No portal or cursor has this name.
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    /// No such database.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// Not allowed.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// The statement cannot be read.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// Too many sessions or logins.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// A configured limit is reached.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    /// Larger than the program can take.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// The statement was cancelled.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// The session was ended from outside.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// Not ready for sessions now.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// A disk or file failed.
    pub const IO_ERROR: Self = Self(*b"58030");
    /// A fault of the program itself.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The code in these bytes, if they are one.
    pub fn from_bytes(raw: &[u8]) -> Option<Self> {
        let code = <[u8; 5]>::try_from(raw).ok()?;
        code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // INVARIANT: ASCII only, by `from_bytes` and the constants above.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The code as bytes.
    pub const fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_five_digits_or_capitals_are_a_code() {
        for (raw, code) in [
            (&b"42501"[..], Some(SqlState::INSUFFICIENT_PRIVILEGE)),
            (b"57P01", Some(SqlState::ADMIN_SHUTDOWN)),
            (b"57p01", None),
            (b"4250", None),
            (b"425011", None),
            (b"", None),
            (b"4250\0", None),
            (b"\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(SqlState::from_bytes(raw), code, "{raw:?}");
        }
        assert_eq!(SqlState::PROTOCOL_VIOLATION.to_string(), "08P01");
    }
}
