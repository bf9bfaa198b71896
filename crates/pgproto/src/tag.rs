//! The first bytes of messages: which kinds there are.
//!
//! Promises: a byte that begins no message of the protocol has no tag, so it cannot be passed on by accident.
//! Deliberately not here: the same byte means different messages in the two directions, so there is no common tag.

/// The kinds of messages a client may send after the startup packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrontendTag {
    /// `B`: binds values to a prepared statement and makes a portal.
    Bind,
    /// `C`: closes a prepared statement or a portal.
    Close,
    /// `d`: a piece of COPY data.
    CopyData,
    /// `c`: the COPY data is complete.
    CopyDone,
    /// `f`: the client gives up a COPY.
    CopyFail,
    /// `D`: asks for the shape of a prepared statement or portal.
    Describe,
    /// `E`: runs a portal.
    Execute,
    /// `H`: asks for the answers so far.
    Flush,
    /// `F`: calls a function by its OID.
    FunctionCall,
    /// `P`: prepares a statement.
    Parse,
    /// `p`: answers an authentication request (password, SASL, GSS).
    Password,
    /// `Q`: runs statement text.
    Query,
    /// `S`: ends a group of extended messages.
    Sync,
    /// `X`: the client leaves.
    Terminate,
}

impl FrontendTag {
    /// The kind this byte stands for; `None` for any byte that no client message begins with.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'B' => Self::Bind,
            b'C' => Self::Close,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'H' => Self::Flush,
            b'F' => Self::FunctionCall,
            b'P' => Self::Parse,
            b'p' => Self::Password,
            b'Q' => Self::Query,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            _ => return None,
        })
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Bind => b'B',
            Self::Close => b'C',
            Self::CopyData => b'd',
            Self::CopyDone => b'c',
            Self::CopyFail => b'f',
            Self::Describe => b'D',
            Self::Execute => b'E',
            Self::Flush => b'H',
            Self::FunctionCall => b'F',
            Self::Parse => b'P',
            Self::Password => b'p',
            Self::Query => b'Q',
            Self::Sync => b'S',
            Self::Terminate => b'X',
        }
    }
}

/// The kinds of messages a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendTag {
    /// `1`: a Parse is done.
    ParseComplete,
    /// `2`: a Bind is done.
    BindComplete,
    /// `3`: a Close is done.
    CloseComplete,
    /// `A`: a NOTIFY of some session.
    NotificationResponse,
    /// `c`: the COPY data is complete.
    CopyDone,
    /// `C`: a statement is done.
    CommandComplete,
    /// `d`: a piece of COPY data.
    CopyData,
    /// `D`: a row.
    DataRow,
    /// `E`: an error.
    ErrorResponse,
    /// `G`: a COPY from the client begins.
    CopyInResponse,
    /// `H`: a COPY to the client begins.
    CopyOutResponse,
    /// `I`: the statement text was empty.
    EmptyQueryResponse,
    /// `K`: what a cancel request must say.
    BackendKeyData,
    /// `n`: a Describe found no result columns.
    NoData,
    /// `N`: a notice or warning.
    NoticeResponse,
    /// `R`: an authentication request, or that it is over.
    Authentication,
    /// `S`: a setting has this value now.
    ParameterStatus,
    /// `s`: an Execute stopped at its row limit.
    PortalSuspended,
    /// `t`: the parameter types of a prepared statement.
    ParameterDescription,
    /// `T`: the columns of the rows that follow.
    RowDescription,
    /// `W`: a COPY in both directions begins (replication).
    CopyBothResponse,
    /// `V`: the result of a FunctionCall.
    FunctionCallResponse,
    /// `v`: the server speaks an older protocol, or does not know some options.
    NegotiateProtocolVersion,
    /// `Z`: the server waits for the next command.
    ReadyForQuery,
}

impl BackendTag {
    /// The kind this byte stands for; `None` for any byte that no server message begins with.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'A' => Self::NotificationResponse,
            b'c' => Self::CopyDone,
            b'C' => Self::CommandComplete,
            b'd' => Self::CopyData,
            b'D' => Self::DataRow,
            b'E' => Self::ErrorResponse,
            b'G' => Self::CopyInResponse,
            b'H' => Self::CopyOutResponse,
            b'I' => Self::EmptyQueryResponse,
            b'K' => Self::BackendKeyData,
            b'n' => Self::NoData,
            b'N' => Self::NoticeResponse,
            b'R' => Self::Authentication,
            b'S' => Self::ParameterStatus,
            b's' => Self::PortalSuspended,
            b't' => Self::ParameterDescription,
            b'T' => Self::RowDescription,
            b'W' => Self::CopyBothResponse,
            b'V' => Self::FunctionCallResponse,
            b'v' => Self::NegotiateProtocolVersion,
            b'Z' => Self::ReadyForQuery,
            _ => return None,
        })
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::ParseComplete => b'1',
            Self::BindComplete => b'2',
            Self::CloseComplete => b'3',
            Self::NotificationResponse => b'A',
            Self::CopyDone => b'c',
            Self::CommandComplete => b'C',
            Self::CopyData => b'd',
            Self::DataRow => b'D',
            Self::ErrorResponse => b'E',
            Self::CopyInResponse => b'G',
            Self::CopyOutResponse => b'H',
            Self::EmptyQueryResponse => b'I',
            Self::BackendKeyData => b'K',
            Self::NoData => b'n',
            Self::NoticeResponse => b'N',
            Self::Authentication => b'R',
            Self::ParameterStatus => b'S',
            Self::PortalSuspended => b's',
            Self::ParameterDescription => b't',
            Self::RowDescription => b'T',
            Self::CopyBothResponse => b'W',
            Self::FunctionCallResponse => b'V',
            Self::NegotiateProtocolVersion => b'v',
            Self::ReadyForQuery => b'Z',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_its_byte_and_no_other_byte_is_a_tag() {
        let frontend: Vec<u8> = (0..=u8::MAX).filter(|&byte| FrontendTag::from_byte(byte).is_some()).collect();
        let backend: Vec<u8> = (0..=u8::MAX).filter(|&byte| BackendTag::from_byte(byte).is_some()).collect();
        assert_eq!(frontend, b"BCDEFHPQSXcdfp");
        assert_eq!(backend, b"123ACDEGHIKNRSTVWZcdnstv");
        for byte in frontend {
            assert_eq!(FrontendTag::from_byte(byte).map(FrontendTag::byte), Some(byte));
        }
        for byte in backend {
            assert_eq!(BackendTag::from_byte(byte).map(BackendTag::byte), Some(byte));
        }
    }
}
