//! The wire form of a client's SASL answers, both in messages tagged `p`.
//!
//! Promises: nothing of the exchange is shown by `Debug`; it may be a bearer token.
//! Deliberately not here: SCRAM and OAUTHBEARER themselves; what follows an InitialResponse is a Response, which only
//! the state of the exchange can tell.

use std::fmt;

use crate::body::{BodyError, Reader};

/// Why an answer is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The fields do not fit the body.
    #[error("malformed SASLInitialResponse message: {0}")]
    Body(#[from] BodyError),
}

/// The client chooses a mechanism.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InitialResponse<'a> {
    /// The mechanism's name.
    pub mechanism: &'a [u8],
    /// The first message of the exchange, if it is sent along.
    pub data: Option<&'a [u8]>,
}

impl<'a> InitialResponse<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, SaslError> {
        let mut body = Reader::new(body);
        let mechanism = body.text("the mechanism")?;
        let data = body.nullable("the first message")?;
        body.end()?;
        Ok(Self { mechanism, data })
    }
}

impl fmt::Debug for InitialResponse<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "InitialResponse({})", String::from_utf8_lossy(self.mechanism))
    }
}

/// The client goes on: the whole body is its message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// The message.
    pub data: &'a [u8],
}

impl<'a> Response<'a> {
    /// Takes the body as it is.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { data: body }
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Response({} bytes)", self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_answer_is_a_mechanism_and_perhaps_a_message() {
        for (body, expected) in [
            (&b"SCRAM-SHA-256\0\0\0\0\x03n,,"[..], Ok((&b"SCRAM-SHA-256"[..], Some(&b"n,,"[..])))),
            (b"X\0\0\0\0\0", Ok((b"X", Some(b"")))),
            (b"X\0\xff\xff\xff\xff", Ok((b"X", None))),
            (b"X\0\xff\xff\xff\xfe", Err(BodyError::NegativeLength { what: "the first message", came: -2 })),
            (b"X\0\0\0\0\x02a", Err(BodyError::Short { what: "the first message", expected: 2, came: 1 })),
            (b"X\0\0\0\0\x01ab", Err(BodyError::Trailing { came: 1 })),
            (b"X", Err(BodyError::NoTerminator { what: "the mechanism", came: 1 })),
        ] {
            let came = InitialResponse::parse(body).map(|answer| (answer.mechanism, answer.data));
            assert_eq!(came, expected.map_err(SaslError::Body), "{body:?}");
        }
    }

    #[test]
    fn a_bearer_token_is_not_shown() {
        let answer = InitialResponse { mechanism: b"OAUTHBEARER", data: Some(b"n,,\x01auth=Bearer abc\x01\x01") };
        assert_eq!(format!("{answer:?} {:?}", Response::new(b"abc")), "InitialResponse(OAUTHBEARER) Response(3 bytes)");
    }
}
